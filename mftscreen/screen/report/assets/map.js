// The map of orbital field matrices.
const mapPlaces = new Map(
  report.map?.rows.map((row, k) => [row, [report.map.x[k], report.map.y[k]]]),
);

function drawMap(chart, rows, selected) {
  const { reference, axes } = report.map;
  const shown = rows.filter((row) => mapPlaces.has(row) && logP(row) !== null);
  // the lowest p-values are drawn last and so on top
  shown.sort((a, b) => logP(b) - logP(a));
  const { lowest, ...ticks } = decades(shown.map(logP));
  const coloured = (some, extra) => ({
    color: some.map(logP),
    colorscale: "Viridis",
    cmin: lowest,
    cmax: 0,
    ...extra,
  });
  const [x, y] = [0, 1].map((k) => (row) => mapPlaces.get(row)[k]);
  const outline = shown.length > MANY_POINTS ? 0 : 1.2;
  const type = typeFor({ length: Math.max(shown.length, reference.x.length) });
  const background = {
    name: `training set (${count(reference.x.length)})`,
    type,
    mode: "markers",
    hoverinfo: "skip",
    ...reference,
    marker: { size: 4, color: colour("mark-training") },
  };
  const bare = { showticklabels: false, ticks: "", showgrid: false };
  const bar = {
    title: { text: "OOD p-value", side: "right" },
    thickness: 12,
    ...ticks,
  };
  const traces = byTrust(shown).map(({ trust, name, rows, symbol }, k) =>
    points(
      name,
      rows,
      x,
      y,
      type,
      coloured(rows, {
        symbol,
        line: { width: trust === "flagged" ? outline : 0, color: colour("ink") },
        ...(k ? {} : { colorbar: bar }),
      }),
    ),
  );
  chart.draw(
    [background, ...traces],
    layout({
      showlegend: true,
      uirevision: "map",
      xaxis: axis(axes[0], bare),
      yaxis: axis(axes[1], { ...bare, scaleanchor: "x" }),
    }),
    selected,
  );
}
