// Puts the page together and keeps its parts in step.
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

function showHead() {
  byId("title").textContent = report.title;
  byId("command").textContent = report.command;
  byId("how").hidden = report.command === null;
  const flags = columns.get("ood")?.values ?? [];
  const facts = [
    [nRows, "candidates"],
    [
      nRows - report.n_failed - report.n_filtered - report.n_fast_only,
      "predicted",
    ],
    [flags.filter((flag) => flag === true).length, "out of distribution"],
    [report.n_failed, "failed"],
  ];
  if (report.n_fast_only) {
    facts.push([report.n_fast_only, "seen by the fast model only"]);
  }
  if (report.n_filtered) facts.push([report.n_filtered, "left out"]);
  for (const [number, what] of facts) {
    const item = create("li");
    item.append(create("b", count(number)), what);
    byId("summary").append(item);
  }
  byId("copy").addEventListener("click", () => {
    getSelection().selectAllChildren(byId("command"));
    document.execCommand("copy"); // the clipboard API is not there for local files
    byId("copy").textContent = "Copied";
  });
}

function showFailures(table) {
  const box = byId("failures");
  if (!report.failures.length) {
    box.append(create("p", "None.", "note"));
    return;
  }
  const list = create("table");
  const header = create("tr");
  header.append(...["", "Status", "Reason"].map((text) => create("th", text)));
  list.append(header);
  for (const { status, reason, count: number } of report.failures) {
    const line = create("tr");
    const button = create("button", status);
    button.type = "button";
    button.title = "Show these rows in the table";
    button.addEventListener("click", () => {
      table.filter("status", `=${status}`);
      table.box.scrollIntoView({ block: "center" });
    });
    const cell = create("td");
    cell.append(button);
    line.append(create("td", count(number)), cell, create("td", reason));
    list.append(line);
  }
  box.append(list);
  if (report.failures_left) {
    box.append(create("p", `and ${count(report.failures_left)} more reasons`, "note"));
  }
}

function elementCell(symbol, seen, trained) {
  const number = seen[symbol] ?? 0;
  const cell = create("div", symbol, "element");
  cell.append(create("small", number ? count(number) : ""));
  const known = !trained || trained.has(symbol);
  cell.classList.toggle("trained", Boolean(trained?.has(symbol)));
  cell.classList.toggle("present", number > 0);
  cell.classList.toggle("new", number > 0 && !known);
  if (number && known) {
    const share = Math.log1p(number) / Math.log1p(Math.max(...Object.values(seen)));
    cell.style.backgroundColor = `rgb(0 114 178 / ${0.08 + 0.72 * share ** 2})`;
    cell.classList.toggle("dark", share ** 2 > 0.75);
  }
  cell.title =
    `${symbol}: in ${count(number)} candidates` +
    (trained ? `, ${known ? "in" : "not in"} the training set` : "");
  return cell;
}

function showElements() {
  const { seen, trained: list } = report.elements;
  const trained = list && new Set(list);
  for (const line of PERIODIC_TABLE) {
    for (const symbol of line.split(" ")) {
      const gap = symbol === ".";
      byId("elements").append(
        gap ? create("div", "", "element gap") : elementCell(symbol, seen, trained),
      );
    }
  }
  const keys = [["element present", "in candidates (number, darker: more)"]];
  if (trained) {
    keys.push(
      ["element trained", "in the training set"],
      ["element new", "in candidates but not in the training set"],
    );
  }
  for (const [name, text] of keys) {
    const key = create("span", "", `${name} key`);
    if (name.endsWith("present")) key.style.backgroundColor = "rgb(0 114 178 / 0.4)";
    byId("elements-note").append(key, text);
  }
}

// What a model was made from is long and rarely read.
const FOLDED = new Set(["provenance"]);

function cardEntries(values) {
  const list = create("div", "", "entries");
  for (const [key, value] of Object.entries(values)) {
    const nested = value !== null && typeof value === "object";
    if (
      nested &&
      !(Array.isArray(value) && value.every((v) => typeof v !== "object"))
    ) {
      const fold = create("details");
      fold.open = !FOLDED.has(key);
      fold.append(create("summary", key), cardEntries(value));
      list.append(fold);
    } else {
      const text = nested ? value.join(", ") : format(value, 5);
      list.append(create("span", key, "key-name"), create("span", text));
    }
  }
  return list;
}

function showDetails(row) {
  const entries = report.columns
    .filter(({ values }) => values[row] !== null && values[row] !== "")
    .flatMap(({ name, values }) => [
      create("dt", name),
      create("dd", format(values[row], 7)),
    ]);
  byId("details").replaceChildren(...entries);
}

async function start() {
  showHead();
  byId("card").append(...report.cards.map(cardEntries));
  showElements();
  byId("table-note").textContent = report.table_note;

  const code = create("script");
  code.textContent = await inflate("plotly");
  document.head.append(code);

  let selected = null;
  let property = report.properties[0];
  const place = (row) => {
    const at = [logP(row), valueOf(property.name, row)];
    return at.includes(null) ? null : at;
  };
  const scatter = new PointChart("scatter", place, select);
  const map = new PointChart("map", (row) => mapPlaces.get(row), select);
  const table = new Table(byId("table"), { onSelect: select, onFilter: drawCharts });
  const hasP = columns.has("ood_p_value");

  function drawCharts() {
    const rows = Array.from(table.view);
    byId("shown").textContent = `${count(rows.length)} of ${count(nRows)} rows`;
    byId("clear").hidden = table.filters.size === 0;
    if (hasP) drawScatter(scatter, property, rows, selected);
    if (hasP && report.map) drawMap(map, rows, selected);
    drawDistribution(property, rows);
  }

  function select(row) {
    selected = row;
    table.select(row);
    scatter.select(row);
    map.select(row);
    showDetails(row);
    drawStructure(row);
  }

  if (!hasP) showNothing("scatter", "The model has no reference set, so no p-values.");
  if (report.map) {
    byId("map-note").textContent =
      `${report.map.description}. On the map: ${count(mapPlaces.size)} of ` +
      `${count(nRows)} candidates; the filters of the table hold here, too.`;
  } else showNothing("map", "No map was made for this report.");
  showFailures(table);
  byId("clear").addEventListener("click", () => table.clear());
  byId("choice").hidden = report.properties.length < 2;
  byId("property").append(
    ...report.properties.map(({ label, name }) => new Option(label, name)),
  );
  byId("property").addEventListener("change", ({ target }) => {
    property = report.properties[target.selectedIndex];
    drawCharts();
  });
  table.draw();
  drawCharts();
  if (nRows) select(0);
  byId("alarm").hidden = true;
  document.documentElement.dataset.ready = "true";
}

start().catch((error) => {
  byId("alarm").textContent = `This report could not be shown: ${error.message}`;
  throw error;
});
