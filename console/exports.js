/** Saving what is on the screen. Nothing leaves this machine for it. */

import {h} from "./dom.js";
import {ExactNumber, render} from "./exact.js";
import {count} from "./text.js";

/** Those of the API's own CSV (docs/api.md), so that both can be loaded alike. */
export const INCIDENT_COLUMNS = [
  "id", "sequence", "ingested_at", "timestamp", "type", "priority", "employee_id",
  "source_ip", "internal_ip", "machine_ip", "ip", "identifier", "reported_by",
];
const OTHER = "other";
// A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection); the wide ones count as well.
const FORMULA_STARTS = new Set("=+-@＝＋－＠");
const SKIPPED = /[\p{C}\p{Z}]/u;

/** Two buttons that save `rows()`, flat objects, as CSV and as JSON. */
export function exportButtons(name, word, rows, columns = INCIDENT_COLUMNS) {
  const save = (form) => {
    const [type, text] =
      form === "csv" ? ["text/csv", renderCsv(rows(), columns)] : ["application/json", renderJson(rows())];
    download(`${name}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}Z.${form}`, type, text);
  };
  const what = count(rows().length, word);
  return h(
    "div",
    {class: "exports", role: "group", "aria-label": `Export ${what}`},
    h("span", {}, `Export ${what}:`),
    h("button", {type: "button", id: `${name}-csv`, onclick: () => save("csv")}, "CSV"),
    h("button", {type: "button", id: `${name}-json`, onclick: () => save("json")}, "JSON"),
  );
}

/** `{"data": [...]}` with a row a line and the upstream's own digits. */
export function renderJson(rows) {
  return `{"data": [\n${rows.map(render).join(",\n")}\n]}\n`;
}

/** RFC 4180 with a header line; no cell begins as a formula does. */
export function renderCsv(rows, columns = INCIDENT_COLUMNS) {
  const line = (row) => {
    const others = Object.fromEntries(Object.entries(row).filter(([name]) => !columns.includes(name)));
    const cells = columns.map((name) => cell(Object.hasOwn(row, name) ? row[name] : null));
    return [...cells, Object.keys(others).length ? cell(render(others)) : ""].map(quote).join(",");
  };
  return [[...columns, OTHER].join(","), ...rows.map(line), ""].join("\r\n");
}

function cell(value) {
  if (value === null || value === undefined) {
    return "";
  }
  if (typeof value === "string") {
    // JSON can escape half a character, CSV can't.
    const text = value.toWellFormed?.() ?? value;
    return mayBeFormula(text) ? `'${text}` : text;
  }
  return value instanceof ExactNumber ? value.text : render(value);
}

function mayBeFormula(text) {
  const first = [...text].find((each) => !SKIPPED.test(each));
  return FORMULA_STARTS.has(first) || /^[\t\r\n]/.test(text);
}

function quote(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], {type}));
  h("a", {href: address, download: name}).click();
  // The download has begun by then.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
