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

// Decimals for about so many digits of most numbers of a column; null for whole ones.
function decimalsOf({ kind, values }) {
  const digits = { number: 4, interval: 3 }[kind];
  const found = values.filter((value) => value !== null);
  if (!digits || (kind === "number" && found.every(Number.isInteger))) return null;
  const sizes = found.map(Math.abs).sort((a, b) => a - b);
  const middle = sizes[Math.floor(sizes.length / 2)] || 1;
  return Math.max(0, Math.min(digits - 1 - Math.floor(Math.log10(middle)), 8));
}

// The same decimals in a column, but no number that is not zero as zero.
function written(value, decimals) {
  if (decimals === null) return String(value);
  const text = value.toFixed(decimals);
  const lost = (value !== 0 && Number(text) === 0) || Math.abs(value) >= 1e7;
  return lost ? String(Number(value.toPrecision(2))) : text;
}

for (const column of report.columns) column.decimals = decimalsOf(column);

// The text of a cell.
function cellText({ kind, values, highs, decimals }, row) {
  const value = values[row];
  if (value === null) return "";
  if (kind === "interval") {
    return `${written(value, decimals)} – ${written(highs[row], decimals)}`;
  }
  return kind === "number" ? written(value, decimals) : format(value);
}

const withUnit = ({ label, unit }) => (unit === "1" ? label : `${label} (${unit})`);
