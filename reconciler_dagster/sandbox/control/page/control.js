// Speaks to the control API.
export async function ask(method, path, body) {
  const answer = await fetch(`/sandbox/api/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const content = await answer.json();
  if (!answer.ok) {
    const { detail } = content;
    throw new Error(typeof detail === "string" ? detail : JSON.stringify(detail));
  }
  return content;
}

export const part = encodeURIComponent;
