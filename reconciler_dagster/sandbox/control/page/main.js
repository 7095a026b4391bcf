// The page of the person at the Airtable screen: a grid that follows every change.
import { ask, part } from "./control.js";
import { column, plainText } from "./columns.js";
import { historyOf, showHistory } from "./history.js";

const POLL = 1000;
const at = (id) => document.getElementById(id);
const person = () => at("person").value.trim() || "Ann";

let base, table, primary, seen, grid;

const path = (rest) => `bases/${base.id}/tables/${table.id}/${rest}`;

function notify(text, bad = false) {
  at("notice").textContent = text;
  at("notice").className = bad ? "bad" : "";
  at("notice").hidden = false;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => (at("notice").hidden = true), bad ? 7000 : 3000);
}

/** Carry out an act, say so if it is refused, and show what came of it. */
async function act(work) {
  try {
    await work();
  } catch (error) {
    notify(error.message, true);
  }
  await follow();
}

function makeGrid() {
  grid = agGrid.createGrid(at("grid"), {
    theme: agGrid.themeQuartz.withParams({
      fontFamily: "inherit", fontSize: 13, rowHeight: 34, headerHeight: 38, accentColor: "#166ee1", wrapperBorder: false,
      wrapperBorderRadius: 0, columnBorder: true, headerBackgroundColor: "#f6f8fc", headerFontWeight: 600,
    }),
    getRowId: ({ data }) => data.id,
    selectionColumnDef: { pinned: "left", width: 44, suppressHeaderMenuButton: true },
    rowSelection: { mode: "multiRow", headerCheckbox: true, selectAll: "filtered" },
    defaultColDef: { sortable: true, resizable: true, floatingFilter: true, suppressFloatingFilterButton: true,
      suppressHeaderFilterButton: true, enableCellChangeFlash: true },
    onCellEditingStarted: () => setTimeout(openPicker),
    stopEditingWhenCellsLoseFocus: true,
    cellFlashDuration: 1500,
    animateRows: false,
    onCellValueChanged: ({ data, colDef, newValue, oldValue }) => {
      if (newValue === oldValue) return;
      const value = newValue === "" || newValue === undefined ? null : newValue;
      act(async () => {
        try {
          const fields = { [colDef.field]: value };
          await ask("PATCH", path(`records/${data.id}`), { fields, person: person() });
        } catch (error) {
          data.cells[colDef.field] = oldValue;
          grid.applyTransaction({ update: [data] });
          throw error;
        }
      });
    },
    onSelectionChanged: () => {
      const chosen = grid.getSelectedRows();
      at("delete").disabled = !chosen.length;
      at("delete").textContent = chosen.length > 1 ? `Delete ${chosen.length}` : "Delete";
      if (chosen.length === 1) pick(chosen[0].id, nameOf(chosen[0]));
    },
    onModelUpdated: count,
  });
}

/** A select's choices unfold at once; the grid itself asks for one more click. */
function openPicker() {
  const picker = document.querySelector(".ag-cell-inline-editing .ag-picker-field-wrapper");
  if (picker?.getAttribute("aria-expanded") === "false") picker.dispatchEvent(new MouseEvent("mousedown", { bubbles: true }));
}

const nameOf = (row) => plainText(row.cells[primary]) || "unnamed record";

function count() {
  if (!grid || !table) return;
  const shown = grid.getDisplayedRowCount();
  let all = 0;
  grid.forEachNode(() => (all += 1));
  const of = shown === all ? "" : ` of ${all.toLocaleString("en")}`;
  at("count").textContent = `${shown.toLocaleString("en")}${of} records`;
}

function pick(id, name) {
  historyOf(id, name);
  showHistory(base.id, pick);
  const row = id && grid.getRowNode(id);
  if (row) grid.ensureNodeVisible(row);
}

async function open(chosenBase, chosenTable) {
  [base, table] = [chosenBase, chosenTable];
  historyOf(null);
  location.hash = `${base.id}/${table.id}`;
  at("base-name").textContent = base.name;
  at("base-id").textContent = base.id;
  at("tables").replaceChildren(
    ...base.tables.map((one) => {
      const tab = document.createElement("button");
      tab.textContent = one.name;
      if (one.id === table.id) tab.setAttribute("aria-current", "page");
      tab.onclick = () => open(base, one);
      return tab;
    }),
  );
  await loadAll();
}

/** Scroll to the field that was named; one named before the fields were there is gone to when they are. */
function goToField() {
  const wanted = at("field").value.toLowerCase();
  const found = (grid.getColumnDefs() ?? []).find((one) => one.headerName.toLowerCase() === wanted);
  if (!found) return;
  grid.ensureColumnVisible(found.field, "start");
  grid.flashCells({ columns: [found.field], flashDuration: 1200 });
  at("field").value = "";
}

async function loadAll() {
  const fields = await ask("GET", path("fields"));
  const answer = await ask("GET", path("rows"));
  primary = fields[0].id;
  seen = answer.transaction;
  grid.setGridOption("columnDefs", fields.map((field, index) => column(field, index === 0)));
  grid.setGridOption("rowData", answer.rows);
  at("field-names").replaceChildren(...fields.map((field) => new Option(field.name)));
  goToField();
  await showHistory(base.id, pick);
}

/** Bring the grid up to date with what API clients and other people have done. */
async function follow() {
  const answer = await ask("GET", path(`rows?after=${seen}`));
  if (answer.transaction === seen) return;
  if (answer.all) return loadAll();
  seen = answer.transaction;
  const known = (row) => grid.getRowNode(row.id) !== undefined;
  grid.applyTransaction({
    update: answer.rows.filter(known),
    add: answer.rows.filter((row) => !known(row)),
    addIndex: 0,
    remove: answer.gone.filter((id) => grid.getRowNode(id)).map((id) => ({ id })),
  });
  await showHistory(base.id, pick);
}

async function tick() {
  try {
    const status = await ask("GET", "status");
    at("clock").textContent = `${status.now.slice(0, 10)} ${status.now.slice(11, 19)} UTC`;
    await follow();
    at("live").className = "live";
    at("live").textContent = "live";
  } catch {
    at("live").className = "live off";
    at("live").textContent = "no answer";
  }
  setTimeout(tick, POLL);
}

at("add").onclick = () =>
  act(async () => {
    const { id } = await ask("POST", path("records"), { fields: {}, person: person() });
    await follow();
    grid.ensureNodeVisible(grid.getRowNode(id), "top");
    grid.startEditingCell({ rowIndex: grid.getRowNode(id).rowIndex, colKey: primary });
  });
at("delete").onclick = () =>
  act(async () => {
    const chosen = grid.getSelectedRows();
    for (const row of chosen) await ask("DELETE", path(`records/${row.id}?by=${part(person())}`));
    notify(`Deleted ${chosen.length === 1 ? nameOf(chosen[0]) : `${chosen.length} records`}`);
  });
at("undo").onclick = () => act(() => ask("POST", `bases/${base.id}/undo?by=${part(person())}`));
at("search").oninput = () => grid.setGridOption("quickFilterText", at("search").value);
at("field").onchange = goToField;
at("history-all").onclick = () => pick(null);
at("toggle-history").onclick = () => {
  const hidden = at("history").toggleAttribute("hidden");
  at("toggle-history").setAttribute("aria-pressed", String(!hidden));
};

async function start() {
  agGrid.ModuleRegistry?.registerModules([agGrid.AllCommunityModule]);
  makeGrid();
  const { bases } = await ask("GET", "status");
  const [baseId, tableId] = location.hash.slice(1).split("/");
  const chosen = bases.find((one) => one.id === baseId) ?? bases[0];
  at("base").hidden = bases.length < 2;
  at("base").replaceChildren(...bases.map((one) => new Option(`${one.name} (${one.id})`, one.id, false, one.id === chosen.id)));
  at("base").onchange = () => {
    const other = bases.find((one) => one.id === at("base").value);
    open(other, other.tables[0]);
  };
  await open(chosen, chosen.tables.find((one) => one.id === tableId) ?? chosen.tables[0]);
  tick();
}

start();
