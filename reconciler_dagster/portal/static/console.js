"use strict";

// Works without this file too; it only saves presses.
document.documentElement.classList.add("scripted");

for (const select of document.querySelectorAll("select[data-submits]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}

// What was typed before htmx listened is searched for all the same.
window.addEventListener("load", () => {
  for (const field of document.querySelectorAll("form[hx-get] input[type=search]")) {
    if (field.value !== field.defaultValue) {
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }
});

// The portal hands its token over behind the #, which no server and no log ever sees. It is put
// into the field, and the person decides whether to sign in with it.
const token = document.getElementById("token");
const handed = /^#token=([\w.-]+)$/.exec(window.location.hash);
if (token && handed) {
  token.closest("details")?.setAttribute("open", "");
  token.value = handed[1];
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
}
