// The periodic table: which elements occur, and a filter by them.
const PERIODIC_TABLE = [
  "H . . . . . . . . . . . . . . . . He",
  "Li Be . . . . . . . . . . B C N O F Ne",
  "Na Mg . . . . . . . . . . Al Si P S Cl Ar",
  "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr",
  "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe",
  "Cs Ba . Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn",
  "Fr Ra . Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og",
  ". . . . . . . . . . . . . . . . . .",
  ". . La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu .",
  ". . Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr .",
];

function elementCell(symbol, seen, trained, onPress) {
  const number = seen[symbol] ?? 0;
  const cell = create(number ? "button" : "div", symbol, "element");
  cell.append(create("small", number ? count(number) : ""));
  const known = !trained || trained.has(symbol);
  cell.classList.toggle("trained", Boolean(trained?.has(symbol)));
  cell.classList.toggle("present", number > 0);
  cell.classList.toggle("new", number > 0 && !known);
  cell.dataset.symbol = symbol;
  cell.title =
    `${symbol}: in ${count(number)} candidates` +
    (trained ? `, ${known ? "in" : "not in"} the training set` : "");
  if (!number) return cell;
  cell.type = "button";
  cell.setAttribute("aria-pressed", "false");
  cell.addEventListener("click", () => onPress(symbol));
  if (known) {
    const share = Math.log1p(number) / Math.log1p(Math.max(...Object.values(seen)));
    cell.style.setProperty("--share", `${Math.round(8 + 72 * share ** 2)}%`);
    cell.classList.toggle("much", share ** 2 > 0.75);
  }
  return cell;
}

// Shows the tiles; what they do is to add an element to the filter or to take it away.
function showElements(onPress) {
  const { seen, trained: list } = report.elements;
  const trained = list && new Set(list);
  for (const line of PERIODIC_TABLE) {
    for (const symbol of line.split(" ")) {
      byId("elements").append(
        symbol === "."
          ? create("div", "", "element gap")
          : elementCell(symbol, seen, trained, onPress),
      );
    }
  }
  const keys = [["element present", "in candidates (number; more colour: in more)"]];
  if (trained) {
    keys.push(
      ["element trained", "in the training set"],
      ["element new", "in candidates but not in the training set"],
    );
  }
  for (const [name, text] of keys) {
    const item = create("span", "", "key");
    item.append(create("span", "", `${name} swatch`), text);
    byId("elements-note").append(item);
  }
}

// A filter with one more element, or without it if it is there.
function toggleElement(text, symbol) {
  const terms = text.split(/[\s,;]+/).filter(Boolean);
  const kept = terms.filter((term) => term !== symbol);
  return (kept.length < terms.length ? kept : [...terms, symbol]).join(" ");
}

function markElements(text) {
  const terms = new Set(text.split(/[\s,;]+/));
  for (const cell of byId("elements").querySelectorAll("button")) {
    cell.setAttribute("aria-pressed", String(terms.has(cell.dataset.symbol)));
  }
}
