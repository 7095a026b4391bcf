// How a field becomes a column of the grid: editor, filter, look.
const COLOURS = {
  blue: ["#d1e2ff", "#0b3b82"],
  cyan: ["#c4ecff", "#07496b"],
  teal: ["#c1f5f0", "#0a4f49"],
  green: ["#cff5d1", "#0d5121"],
  yellow: ["#ffeab6", "#6b4a05"],
  orange: ["#ffe0cc", "#7a2f07"],
  red: ["#ffd4e0", "#8a1138"],
  pink: ["#fad2fc", "#711077"],
  purple: ["#e0dafd", "#3b2590"],
  gray: ["#e5e9f0", "#41454d"],
};
const MARKS = {
  number: "#", currency: "$", percent: "%", rating: "★", checkbox: "☑", singleSelect: "◉",
  multipleSelects: "◉", date: "▦", dateTime: "▦", formula: "ƒ", lookup: "ƒ", rollup: "ƒ", count: "ƒ",
  createdTime: "▦", lastModifiedTime: "▦", multipleRecordLinks: "⇄", email: "@", phoneNumber: "☏",
  url: "↗", multilineText: "¶", richText: "¶",
};
const WIDTHS = { email: 240, phoneNumber: 160, url: 220, multilineText: 240, checkbox: 120, number: 120 };
const NUMBERS = ["number", "currency", "percent", "duration", "rating", "count", "autoNumber"];
const READ_ONLY = ["multipleRecordLinks", "multipleAttachments", "singleCollaborator",
  "multipleCollaborators", "barcode"];

export function column(field, primary) {
  const type = field.options?.result?.type ?? field.type;
  const made = {
    field: field.id,
    headerName: field.name,
    headerTooltip: `${field.name} — ${field.type}`,
    headerComponentParams: { innerHeaderComponent: Header, mark: MARKS[field.type] ?? "A" },
    editable: !field.computed && !READ_ONLY.includes(field.type),
    valueGetter: ({ data }) => data.cells[field.id] ?? null,
    valueSetter: ({ data, newValue }) => {
      data.cells[field.id] = newValue;
      return true;
    },
    filter: "agTextColumnFilter",
    width: Math.min(Math.max(field.name.length * 8 + 70, WIDTHS[field.type] ?? 150), 270),
    cellClass: field.computed ? "computed" : "",
    pinned: primary ? "left" : null,
  };
  if (NUMBERS.includes(type)) {
    return { ...made, filter: "agNumberColumnFilter", cellEditor: "agNumberCellEditor",
      cellClass: `${made.cellClass} number`, valueFormatter: plain };
  }
  switch (type) {
    case "checkbox":
      return { ...made, cellDataType: "boolean", cellRenderer: "agCheckboxCellRenderer",
        valueGetter: ({ data }) => data.cells[field.id] ?? false };
    case "singleSelect":
    case "multipleSelects":
      return select(made, field);
    case "dateTime":
    case "createdTime":
    case "lastModifiedTime":
      return { ...made, width: 170, valueFormatter: ({ value }) => moment(value),
        cellEditorParams: { useFormatter: true },
        valueParser: ({ newValue }) => written(newValue) };
    case "multilineText":
    case "richText":
      return { ...made, cellEditor: "agLargeTextCellEditor", cellEditorPopup: true,
        cellEditorParams: { maxLength: 100000 }, valueFormatter: plain };
    default:
      return { ...made, valueFormatter: plain };
  }
}

function select(made, field) {
  const choices = field.options.choices ?? [];
  const colours = new Map(choices.map((choice) => [choice.name, COLOURS[shade(choice.color)]]));
  const pills = ({ value }) => {
    const box = document.createElement("span");
    for (const name of [value ?? []].flat()) box.append(pill(name, colours.get(name)));
    return box;
  };
  const many = field.type === "multipleSelects";
  return {
    ...made,
    width: 170,
    cellRenderer: pills,
    cellEditor: many ? "agTextCellEditor" : "agSelectCellEditor",
    cellEditorParams: many ? { useFormatter: true } : { values: [null, ...choices.map((c) => c.name)] },
    valueFormatter: plain,
    valueParser: ({ newValue }) =>
      many ? String(newValue ?? "").split(",").map((one) => one.trim()).filter(Boolean) : newValue,
  };
}

const shade = (color) => (color ?? "gray").replace(/(Light|Dark|Bright).*$/, "").toLowerCase();

function pill(name, colours) {
  const made = document.createElement("span");
  made.className = "pill";
  made.textContent = name;
  [made.style.background, made.style.color] = colours ?? COLOURS.gray;
  return made;
}

const moment = (value) => (value ? value.replace("T", " ").replace(/(:\d\d)?\.\d+Z$/, "") : "");

function written(text) {
  if (!text) return null;
  const tidy = text.trim().replace(" ", "T");
  return /Z|[+-]\d\d:?\d\d$/.test(tidy) ? tidy : `${tidy}Z`;
}

export function plainText(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(plainText).join(", ");
  if (typeof value === "object") {
    return value.name ?? value.filename ?? value.text ?? value.label ?? value.error ?? value.specialValue ?? value.id ?? "";
  }
  return String(value);
}

const plain = ({ value }) => plainText(value);

class Header {
  init({ displayName, mark }) {
    this.gui = document.createElement("span");
    const type = document.createElement("span");
    type.className = "type";
    type.textContent = mark;
    this.gui.append(type, displayName);
  }
  getGui() { return this.gui; }
  refresh() { return false; }
}
