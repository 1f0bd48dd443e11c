// Puts the page together and keeps its parts in step.
function showHead() {
  byId("title").textContent = report.title;
  byId("command").textContent = report.command;
  byId("how").hidden = report.command === null;
  byId("verdict").textContent = report.verdict;
  byId("remarks").append(...report.remarks.map((remark) => create("li", remark)));
  byId("rests").hidden = !report.remark_details.length;
  byId("rests").append(...report.remark_details.map((text) => create("p", text)));
  byId("goals").append(
    ...report.above_table.filter(Boolean).map((fact) => create("li", fact)),
  );
  const trust = columns.get("trust")?.values ?? [];
  const facts = [
    [nRows, "candidates"],
    [
      nRows - report.n_failed - report.n_filtered - report.n_fast_only,
      "predicted",
    ],
    [trust.filter((each) => each === "flagged").length, "flagged"],
    [report.n_failed, "failed"],
  ];
  const untested = trust.filter((each) => each === "untested").length;
  if (untested) facts.push([untested, "untested"]);
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

// What a model was made from, and what was not asked for, is rarely read.
const FOLDED = new Set(["provenance", "force_field", "force_field_domains"]);

function showCard(card) {
  const fold = create("details");
  const heads = Object.keys(card.properties).join(", ");
  fold.append(create("summary", `${card.name}: ${heads}`), cardEntries(card));
  byId("card").append(fold);
}

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
    .map((column) => [column.title, cellText(column, row)])
    .filter(([, text]) => text !== "")
    .flatMap(([title, text]) => [create("dt", title), create("dd", text)]);
  byId("details").replaceChildren(...entries);
}

// What tints of rows mean, for those that there are.
function showTints() {
  const meanings = {
    flagged: "flagged: unlike what the model has learned from; do not trust the value",
    untested: "untested: nothing can tell whether the model has learned from such",
  };
  const trust = new Set(columns.get("trust")?.values);
  for (const [name, meaning] of Object.entries(meanings)) {
    if (!trust.has(name)) continue;
    const item = create("span", "", "key");
    item.append(create("span", "", `tint swatch ${name}`), meaning);
    byId("tints").append(item);
  }
}

// What is asked of molecules differs: they have neither cells nor such matrices.
function hideWhatIsNotThere() {
  byId("map-section").hidden = report.molecules && !report.map;
  byId("scatter-section").hidden = report.molecules && !columns.has("ood_p_value");
  byId("pareto-section").hidden = report.properties.length < 2;
  document.body.classList.toggle("several", report.properties.length > 1);
}

async function start() {
  showHead();
  showTints();
  hideWhatIsNotThere();
  report.cards.forEach(showCard);
  byId("table-note").textContent = report.table_note;

  const code = create("script");
  code.textContent = await inflate("plotly");
  document.head.append(code);

  let selected = null;
  let property = report.properties[0];
  let pair = report.properties.slice(0, 2);
  const value = ({ name }, row) => valueOf(name, row);
  const at = (...place) => (place.includes(null) ? null : place);
  const scatter = new PointChart(
    "scatter",
    (row) => at(logP(row), value(property, row)),
    select,
  );
  const map = new PointChart("map", (row) => mapPlaces.get(row), select);
  const pareto = new PointChart(
    "pareto",
    (row) => at(value(pair[0], row), value(pair[1], row)),
    select,
  );
  const table = new Table(byId("table"), { onSelect: select, onFilter: drawCharts });
  const someP = columns.has("ood_p_value");

  function drawCharts() {
    const rows = Array.from(table.view);
    byId("shown").textContent = `${count(rows.length)} of ${count(nRows)} rows`;
    byId("clear").hidden = table.filters.size === 0;
    byId("problem").textContent = table.problems().join(" ");
    byId("trusted").setAttribute("aria-pressed", String(table.textOf("trust") === "=ok"));
    markElements(table.textOf("formula"));
    if (pair.length > 1) drawPareto(pareto, pair, rows, selected);
    if (someP) drawScatter(scatter, property, rows, selected);
    if (report.map) drawMap(map, rows, selected);
    drawDistribution(property, rows);
  }

  function select(row) {
    selected = row;
    table.select(row);
    for (const chart of [scatter, map, pareto]) chart.select(row);
    showDetails(row);
    drawStructure(row);
  }

  if (!someP) showNothing("scatter", "No candidate has an OOD p-value.");
  if (report.map) {
    byId("map-note").textContent =
      `${report.map.description}. On the map: ${count(mapPlaces.size)} of ` +
      `${count(nRows)} candidates, coloured by their p-values. Distances mean ` +
      `little: p-values come from the full matrices. ${POINTS_NOTE}`;
  } else showNothing("map", "No map was made for this report.");
  showFailures(table);
  showElements((symbol) =>
    table.filter("formula", toggleElement(table.textOf("formula"), symbol)),
  );
  byId("clear").addEventListener("click", () => table.clear());
  byId("trusted").hidden = !columns.has("trust");
  byId("trusted").addEventListener("click", () =>
    table.filter("trust", table.textOf("trust") === "=ok" ? "" : "=ok"),
  );
  const choose = (id, chosen, onChange) => {
    byId(id).append(
      ...report.properties.map(({ label, name }) => new Option(label, name)),
    );
    byId(id).selectedIndex = chosen;
    byId(id).addEventListener("change", ({ target }) => {
      onChange(report.properties[target.selectedIndex]);
      drawCharts();
    });
  };
  byId("choice").hidden = report.properties.length < 2;
  choose("property", 0, (other) => (property = other));
  byId("axes").hidden = report.properties.length < 3;
  choose("pareto-x", 0, (other) => (pair = [other, pair[1]]));
  choose("pareto-y", 1, (other) => (pair = [pair[0], other]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawCharts();
    if (selected !== null) drawStructure(selected);
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
