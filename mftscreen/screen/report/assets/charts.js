// Scatter plots and the histogram. Colours: Okabe and Ito's, which differ with any
// colour vision; what is flagged or untested also has another shape.
const MANY_POINTS = 5000;
const CONFIG = { displaylogo: false, responsive: true };

// A colour of the style sheet, which has others for dark screens.
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// What the marks of candidates look like, and their names in legends.
const MARKS = [
  { trust: "ok", name: "like the training set", symbol: "circle", ink: "mark-ok" },
  { trust: "untested", name: "untested", symbol: "square-open", ink: "mark-untested" },
  {
    trust: "flagged",
    name: "flagged: unlike the training set",
    symbol: "diamond",
    ink: "mark-flagged",
  },
];

function layout(extra) {
  return {
    font: { family: "system-ui, DejaVu Sans, sans-serif", size: 12, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet") },
    margin: { l: 62, r: 16, t: 10, b: 48 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    hovermode: "closest",
    ...extra,
  };
}

function axis(title, extra = {}) {
  const quiet = { gridcolor: colour("grid"), zeroline: false, linecolor: colour("edge") };
  return { title: { text: plain(title) }, ...quiet, showline: true, ...extra };
}

// A logarithmic axis of p-values: plotted is log10 p, labelled is p.
function decades(logs) {
  const lowest = logs.reduce((least, log) => Math.min(least, log), -1);
  const ticks = [];
  for (let tick = 0; tick >= Math.floor(lowest); tick--) ticks.push(tick);
  const labels = ticks.map((tick) => String(Number((10 ** tick).toPrecision(1))));
  return { lowest, tickvals: ticks, ticktext: labels };
}

const logP = (row) => {
  const p = valueOf("ood_p_value", row);
  return p > 0 ? Math.log10(p) : null;
};

// The SVG of many points would be slow; in one chart all are of one type, as one of
// them would be above the other.
const typeFor = (rows) => (rows.length > MANY_POINTS ? "scattergl" : "scatter");

function points(name, rows, x, y, type, marker) {
  const big = type === "scattergl";
  return {
    name: `${name} (${count(rows.length)})`,
    type,
    mode: "markers",
    x: rows.map(x),
    y: rows.map(y),
    customdata: rows,
    hoverinfo: "none",
    marker: { size: big ? 4 : 7, opacity: big ? 0.6 : 0.85, ...marker },
  };
}

// Returns the marks that there are, with their rows.
function byTrust(rows) {
  return MARKS.map((mark) => ({
    ...mark,
    rows: rows.filter((row) => valueOf("trust", row) === mark.trust),
  })).filter((mark) => mark.rows.length);
}

// The traces of candidates, those that are flagged on top.
function candidates(rows, x, y) {
  const type = typeFor(rows);
  return byTrust(rows).map(({ name, rows, symbol, ink }) =>
    points(name, rows, x, y, type, { color: colour(ink), symbol }),
  );
}

function showNothing(id, why) {
  byId(id).classList.add("empty");
  byId(`${id}-note`).textContent = why;
}

class PointChart {
  constructor(id, place, onSelect) {
    this.box = byId(id);
    this.place = place;
    this.onSelect = onSelect;
    this.drawn = false;
  }

  draw(traces, plotLayout, selected) {
    Plotly.react(
      this.box,
      traces,
      { ...plotLayout, shapes: this.ring(selected) },
      CONFIG,
    );
    if (this.drawn) return;
    this.drawn = true;
    const tip = byId("tip");
    this.box.on("plotly_click", ({ points: [point] }) =>
      this.onSelect(point.customdata),
    );
    this.box.on("plotly_unhover", () => (tip.hidden = true));
    this.box.on("plotly_hover", ({ points: [point], event }) => {
      tip.textContent = describe(point.customdata);
      tip.hidden = false;
      const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
      tip.style.left = `${left}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
  }

  // A shape, as another trace would have all points computed anew.
  ring(row) {
    const at = row === null ? null : this.place(row);
    if (!at) return [];
    return [8, 9.5].map((radius, outer) => ({
      type: "circle",
      xsizemode: "pixel",
      ysizemode: "pixel",
      xanchor: at[0],
      yanchor: at[1],
      x0: -radius,
      x1: radius,
      y0: -radius,
      y1: radius,
      line: { color: colour(outer ? "paper" : "ink"), width: 2 },
    }));
  }

  select(row) {
    if (this.drawn) Plotly.relayout(this.box, { shapes: this.ring(row) });
  }
}

function describe(row) {
  const known = report.properties.filter(({ name }) => columns.has(name));
  const values = known.map(({ name, label, unit }) => {
    const column = columns.get(name);
    const interval = columns.get(`${name}_interval`);
    const range = interval ? cellText(interval, row) : "";
    const text = `${cellText(column, row)}${unit === "1" ? "" : ` ${unit}`}`;
    return `${label}: ${text}${range && ` (${range})`}`;
  });
  const p = valueOf("ood_p_value", row);
  return [
    `${valueOf("id", row)}  ${valueOf("formula", row) ?? ""}`,
    ...values,
    `trust: ${valueOf("trust", row)}${p === null ? "" : `, OOD p ${format(p, 3)}`}`,
  ].join("\n");
}

function drawScatter(chart, property, rows, selected) {
  const { name } = property;
  const predicted = rows.filter((row) => valueOf(name, row) !== null);
  const usable = predicted.filter((row) => logP(row) !== null);
  const { lowest, ...ticks } = decades(usable.map(logP));
  chart.draw(
    candidates(usable, logP, (row) => valueOf(name, row)),
    layout({
      showlegend: true,
      uirevision: name,
      xaxis: axis("OOD p-value (low: unlike the training set)", {
        ...ticks,
        range: [lowest - 0.15, 0.1],
      }),
      yaxis: axis(withUnit(property)),
    }),
    selected,
  );
  const left = predicted.length - usable.length;
  byId("scatter-note").textContent =
    `${POINTS_NOTE}` +
    (left ? ` Not drawn: ${count(left)} predicted candidates without a p-value.` : "");
}

const POINTS_NOTE =
  "The ring is around the selected candidate; a click on a point selects its row. " +
  "The filters of the table hold here, too.";

function drawDistribution(property, rows) {
  const { name, edges, training } = property;
  if (!edges) {
    showNothing("distribution", "No value was predicted.");
    return;
  }
  const values = rows
    .map((row) => valueOf(name, row))
    .filter((value) => value !== null);
  const n = edges.length - 1;
  const step = (edges[n] - edges[0]) / n;
  const counts = new Array(n).fill(0);
  for (const value of values) {
    const bin = Math.floor((value - edges[0]) / step);
    counts[Math.max(0, Math.min(bin, n - 1))]++;
  }
  const percent = (some) => {
    const total = some.reduce((sum, one) => sum + one, 0);
    return some.map((one) => (100 * one) / (total || 1));
  };
  const x = counts.map((_, k) => edges[0] + (k + 0.5) * step);
  const traces = [
    {
      name: `predictions (${count(values.length)})`,
      x,
      y: percent(counts),
      mode: "lines",
      line: { color: colour("mark-ok"), width: 2.5, shape: "hvh" },
      hovertemplate: "%{x:.3g}: %{y:.1f} % of the predictions<extra></extra>",
    },
  ];
  if (training) {
    traces.unshift({
      name: "training targets",
      x,
      y: percent(training),
      type: "bar",
      width: step,
      marker: { color: colour("bar") },
      hovertemplate: "%{x:.3g}: %{y:.1f} % of the training set<extra></extra>",
    });
  }
  Plotly.react(
    "distribution",
    traces,
    layout({
      uirevision: name,
      xaxis: axis(withUnit(property)),
      yaxis: axis("share (%)", { rangemode: "tozero" }),
    }),
    CONFIG,
  );
  byId("distribution-note").textContent =
    "The filters of the table hold for the predictions. The outermost bins hold all " +
    "that lies beyond them." +
    (training ? "" : " The training targets are not known.");
}
