// What the report holds. Text of candidates and of the model card reaches the page by
// way of textContent alone, never as HTML.
const byId = (id) => document.getElementById(id);

function create(tag, text = "", className = "") {
  const element = document.createElement(tag);
  if (text !== "") element.textContent = text;
  if (className) element.className = className;
  return element;
}

async function inflate(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (c) => c.charCodeAt(0));
  byId(id).remove();
  const gunzip = new DecompressionStream("gzip");
  return new Response(new Blob([bytes]).stream().pipeThrough(gunzip)).text();
}

// plotly reads its own small HTML in titles
const plain = (text) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const count = (number) => number.toLocaleString("en");

const report = JSON.parse(await inflate("data"));
const columns = new Map(report.columns.map((column) => [column.name, column]));
const nRows = report.n_rows;
const valueOf = (name, row) => columns.get(name)?.values[row] ?? null;

function format(value, digits = 4) {
  if (value === null) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(digits)));
}

const withUnit = ({ label, unit }) => (unit === "1" ? label : `${label} (${unit})`);
