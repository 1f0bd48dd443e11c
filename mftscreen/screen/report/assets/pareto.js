// Two properties against each other, with the best compromises.
function costOf({ name }) {
  const { values, sign, centre, half_width: half } = columns.get(name);
  if (centre === null) return (row) => sign * values[row];
  return (row) => Math.max(Math.abs(values[row] - centre) - half, 0);
}

// The candidates that no other one beats in both; of equals, all.
function paretoFront(rows, first, second) {
  const [a, b] = [costOf(first), costOf(second)];
  const sorted = [...rows].sort((i, j) => a(i) - a(j) || b(i) - b(j));
  const front = [];
  let least = Infinity;
  for (const row of sorted) {
    const last = front.at(-1);
    const equal = front.length && a(row) === a(last) && b(row) === b(last);
    if (b(row) < least || equal) front.push(row);
    least = Math.min(least, b(row));
  }
  return front;
}

function drawPareto(chart, [first, second], rows, selected) {
  if (![first, second].every(({ name }) => columns.has(name))) {
    showNothing("pareto", "No candidate has a value of both.");
    return;
  }
  byId("pareto").classList.remove("empty");
  const value = ({ name }) => (row) => valueOf(name, row);
  const [x, y] = [value(first), value(second)];
  const usable = rows.filter((row) => x(row) !== null && y(row) !== null);
  const ranked = usable.filter((row) => valueOf("rank", row) !== null);
  // what is as good as any other within its bounds is nothing to compromise on
  const contest = [first, second].every(({ name }) => columns.get(name).aim);
  const front = contest ? paretoFront(ranked, first, second) : [];
  // a staircase is the border only where both are to be high or low
  const { centre: target, sign } = columns.get(first.name);
  const stairs = target === null && columns.get(second.name).centre === null;
  front.sort((i, j) => x(i) - x(j) || sign * (y(i) - y(j)));
  const line = {
    name: `Pareto front (${count(front.length)})`,
    type: typeFor(usable),
    mode: stairs ? "lines+markers" : "markers",
    x: front.map(x),
    y: front.map(y),
    hoverinfo: "skip",
    line: { color: colour("ink"), width: 1.5, shape: sign > 0 ? "hv" : "vh" },
    marker: {
      symbol: "circle-open",
      size: 12,
      color: colour("ink"),
      line: { width: 1.5 },
    },
  };
  chart.draw(
    [...(contest ? [line] : []), ...candidates(usable, x, y)],
    layout({
      showlegend: true,
      uirevision: `${first.name} ${second.name}`,
      xaxis: axis(withUnit(first)),
      yaxis: axis(withUnit(second)),
    }),
    selected,
  );
  byId("pareto-note").textContent =
    (contest
      ? "Pareto front: ranked candidates that none of those shown beats in both. "
      : "") + POINTS_NOTE;
}
