// Who changed what, newest first.
import { ask } from "./control.js";
import { plainText } from "./columns.js";

const list = document.getElementById("entries");
const scope = document.getElementById("history-scope");
const all = document.getElementById("history-all");
let record = null;

export async function showHistory(baseId, onPick) {
  const only = record ? `&record=${record.id}` : "";
  const entries = await ask("GET", `bases/${baseId}/history?limit=100${only}`);
  scope.textContent = record ? `of ${record.name}` : "of the whole base";
  all.hidden = !record;
  list.replaceChildren(...entries.map((entry) => shown(entry, onPick)));
  if (!entries.length) list.append(made("li", "none", "Nothing has changed yet."));
}

export function historyOf(id, name) {
  record = id ? { id, name } : null;
}

function shown(entry, onPick) {
  const item = document.createElement("li");
  const by = made("div", "by");
  const api = entry.source !== "client";
  const time = made("time", "", entry.time.slice(11, 19));
  time.title = entry.time;
  by.append(made("span", `source ${api ? "api" : "person"}`, api ? "API" : "person"), made("b", "", entry.person), time);
  item.append(by);
  for (const change of entry.changes.slice(0, 5)) item.append(changed(change, onPick));
  if (entry.changes.length > 5) item.append(made("div", "change", `and ${entry.changes.length - 5} more records`));
  return item;
}

function changed(change, onPick) {
  const box = made("div", "change", `${change.kind} `);
  const name = plainText(change.name) || "unnamed record";
  const link = made("button", "", name);
  if (change.record) link.onclick = () => onPick(change.record, name);
  box.append(change.record ? link : name);
  const cells = made("ul", "cells");
  for (const cell of change.kind === "edited" ? change.cells : []) {
    const line = made("li");
    line.append(made("span", "field", `${cell.field}: `));
    if (plainText(cell.before)) line.append(made("del", "", short(cell.before)), " ");
    line.append(plainText(cell.after) ? made("ins", "", short(cell.after)) : made("span", "field", "empty"));
    cells.append(line);
  }
  box.append(cells);
  return box;
}

const short = (value) => {
  const text = plainText(value);
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
};

function made(tag, className = "", text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
