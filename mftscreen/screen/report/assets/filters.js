// What is typed above a column becomes a test of a row, or a problem.
const HINTS = {
  number: ">1, 0..2",
  interval: ">1, 0..2",
  flag: "y / n",
  text: "contains",
  formula: "O, Ga As, -Pb",
};

const EXPECTED = {
  number: "write >1, <=2, 0..2 or a number as it is shown",
  interval: "write >1, <=2, 0..2 or a number that the interval is to hold",
  flag: "write y or n",
  formula: "write elements as O, Ga As or -Pb (without), or a formula as =MgO",
};

const SYMBOL = /[A-Z][a-z]?/g;
const ELEMENTS = new Set(PERIODIC_TABLE.join(" ").match(SYMBOL));
const elementsOf = new Map();

// The elements of a formula: CoO holds Co and O, but CO does not hold Co.
function formulaElements(formula) {
  if (!elementsOf.has(formula)) {
    elementsOf.set(formula, new Set(formula.match(SYMBOL)));
  }
  return elementsOf.get(formula);
}

function readElements(wanted) {
  const terms = wanted.split(/[\s,;]+/).filter(Boolean);
  const tests = terms.map((term) => {
    if (term.startsWith("=")) return (formula) => formula === term.slice(1);
    const without = term.startsWith("-");
    const symbols = term.slice(without).match(SYMBOL) ?? [];
    if (symbols.join("") !== term.slice(without) || !symbols.length) return undefined;
    if (!symbols.every((symbol) => ELEMENTS.has(symbol))) return undefined;
    return (formula) =>
      symbols.every((symbol) => formulaElements(formula).has(symbol) !== without);
  });
  if (tests.includes(undefined)) return undefined;
  return (value) => value !== null && tests.every((test) => test(value));
}

const toNumber = (text) => (text.trim() === "" ? NaN : Number(text));

// Bounds hold for an interval if they hold for all of it.
function readNumbers(wanted, { decimals, highs, values }) {
  const ends = (row) => [values[row], (highs ?? values)[row]];
  const range = wanted.split("..");
  if (range.length === 2) {
    const [least, most] = range.map(toNumber);
    if (!(least <= most)) return undefined;
    return (low, row) => least <= low && ends(row)[1] <= most;
  }
  const [, sign, text] = wanted.match(/^(<=|>=|<|>|=)?(.*)$/s);
  const bound = toNumber(text);
  if (Number.isNaN(bound)) return undefined;
  const same = highs
    ? (low, row) => low <= bound && bound <= highs[row]
    : (value) => written(value, decimals) === written(bound, decimals);
  return (
    {
      "<": (low, row) => ends(row)[1] < bound,
      "<=": (low, row) => ends(row)[1] <= bound,
      ">": (low) => low > bound,
      ">=": (low) => low >= bound,
    }[sign] ?? same
  );
}

// Returns a test of value and row; null for no filter, undefined for what is unreadable.
function readFilter(text, column) {
  const wanted = text.trim();
  if (wanted === "") return null;
  if (column.kind === "flag") {
    const flag = ["yes", "no"].find((word) => word.startsWith(wanted.toLowerCase()));
    return flag && ((value) => value === (flag === "yes"));
  }
  if (column.kind === "formula") return readElements(wanted);
  if (column.kind === "text") {
    if (wanted.startsWith("=")) return (value) => value === wanted.slice(1);
    const part = wanted.toLowerCase();
    return (value) => value !== null && value.toLowerCase().includes(part);
  }
  const test = readNumbers(wanted, column);
  return test && ((value, row) => value !== null && test(value, row));
}
