// The structure of a candidate: atoms as spheres, bonds, the edges of the cell.
const SPHERE_SCALE = 0.42;
const FINE_ATOMS = 300;
const ZOOM = 2.8;

// An icosahedron whose faces are divided `levels` times, on the unit sphere.
function sphere(levels) {
  const t = (1 + Math.sqrt(5)) / 2;
  const unit = (v) => v.map((x) => x / Math.hypot(...v));
  const corners = [
    [-1, t, 0],
    [1, t, 0],
    [-1, -t, 0],
    [1, -t, 0],
    [0, -1, t],
    [0, 1, t],
    [0, -1, -t],
    [0, 1, -t],
    [t, 0, -1],
    [t, 0, 1],
    [-t, 0, -1],
    [-t, 0, 1],
  ].map(unit);
  let faces = [
    [0, 11, 5],
    [0, 5, 1],
    [0, 1, 7],
    [0, 7, 10],
    [0, 10, 11],
    [1, 5, 9],
    [5, 11, 4],
    [11, 10, 2],
    [10, 7, 6],
    [7, 1, 8],
    [3, 9, 4],
    [3, 4, 2],
    [3, 2, 6],
    [3, 6, 8],
    [3, 8, 9],
    [4, 9, 5],
    [2, 4, 11],
    [6, 2, 10],
    [8, 6, 7],
    [9, 8, 1],
  ];
  for (let level = 0; level < levels; level++) {
    const known = new Map();
    const middle = (a, b) => {
      const key = a < b ? `${a},${b}` : `${b},${a}`;
      if (!known.has(key)) {
        known.set(
          key,
          corners.push(unit(corners[a].map((x, k) => x + corners[b][k]))) - 1,
        );
      }
      return known.get(key);
    };
    faces = faces.flatMap(([a, b, c]) => {
      const [ab, bc, ca] = [middle(a, b), middle(b, c), middle(c, a)];
      return [
        [a, ab, ca],
        [b, bc, ab],
        [c, ca, bc],
        [ab, bc, ca],
      ];
    });
  }
  return { corners, faces };
}

function spheres(symbol, centres, { corners, faces }) {
  const [radius, color] = report.elements.styles[symbol];
  const mesh = { x: [], y: [], z: [], i: [], j: [], k: [] };
  for (const centre of centres) {
    const first = mesh.x.length;
    for (const corner of corners) {
      mesh.x.push(centre[0] + SPHERE_SCALE * radius * corner[0]);
      mesh.y.push(centre[1] + SPHERE_SCALE * radius * corner[1]);
      mesh.z.push(centre[2] + SPHERE_SCALE * radius * corner[2]);
    }
    for (const [a, b, c] of faces) {
      mesh.i.push(first + a);
      mesh.j.push(first + c);
      mesh.k.push(first + b);
    }
  }
  return {
    type: "mesh3d",
    ...mesh,
    color,
    name: symbol,
    hoverinfo: "name",
    lighting: { ambient: 0.55, diffuse: 0.6, specular: 0.25, roughness: 0.5 },
    // from the eye: in an orthographic scene plotly's light comes from the other side
    lightposition: { x: 0, y: 0, z: -1e5 },
  };
}

function segments(pairs, line) {
  const along = (k) => pairs.flatMap(([a, b]) => [a[k], b[k], null]);
  return {
    type: "scatter3d",
    mode: "lines",
    x: along(0),
    y: along(1),
    z: along(2),
    line,
    hoverinfo: "skip",
  };
}

function structureTraces({ symbols, positions, bonds, cell }) {
  const ball = sphere(positions.length > FINE_ATOMS ? 1 : 2);
  const traces = [...new Set(symbols)].map((symbol) =>
    spheres(
      symbol,
      positions.filter((_, k) => symbols[k] === symbol),
      ball,
    ),
  );
  const ends = bonds.map(([a, b]) => [positions[a], positions[b]]);
  traces.push(segments(ends, { color: colour("bond"), width: 6 }));
  if (!cell) return traces;
  const corner = (bits) =>
    [0, 1, 2].map((k) => cell.reduce((sum, v, n) => sum + ((bits >> n) & 1) * v[k], 0));
  const edges = [...Array(8).keys()].flatMap((bits) =>
    [1, 2, 4]
      .filter((bit) => !(bits & bit))
      .map((bit) => [corner(bits), corner(bits | bit)]),
  );
  traces.push(segments(edges, { color: colour("quiet"), width: 2 }));
  const tips = [1, 2, 4].map(corner).map((tip) => tip.map((x) => 1.07 * x));
  traces.push({
    type: "scatter3d",
    mode: "text",
    text: ["a", "b", "c"],
    textfont: { color: colour("ink") },
    hoverinfo: "skip",
    x: tips.map((p) => p[0]),
    y: tips.map((p) => p[1]),
    z: tips.map((p) => p[2]),
  });
  return traces;
}

// The sides of what is drawn, scaled to fill the viewer.
function proportions({ positions, cell }) {
  const ends = [...positions, ...(cell ?? [])];
  const sides = [0, 1, 2].map((k) => {
    const along = ends.map((place) => place[k]);
    return Math.max(...along) - Math.min(...along) + 1;
  });
  const [x, y, z] = sides.map((side) => (ZOOM * side) / Math.hypot(...sides));
  return { x, y, z };
}

// Not plotly's legend, in which white atoms have no outline.
function atomKeys({ symbols }) {
  return [...new Set(symbols)].map((symbol) => {
    const item = create("span", "", "key");
    const swatch = create("span", "", "swatch atom");
    swatch.style.background = report.elements.styles[symbol][1];
    item.append(swatch, symbol);
    return item;
  });
}

function drawStructure(row) {
  const structure = report.structures[row];
  const [box, note] = [byId("viewer"), byId("viewer-note")];
  box.hidden = !structure;
  byId("viewer-legend").replaceChildren(...(structure ? atomKeys(structure) : []));
  if (!structure) {
    note.textContent = `No structure is kept for this row. ${report.structures_note}`;
    return;
  }
  const hidden = { visible: false };
  Plotly.react(
    box,
    structureTraces(structure),
    layout({
      uirevision: row,
      margin: { l: 0, r: 0, t: 0, b: 0 },
      showlegend: false,
      scene: {
        xaxis: hidden,
        yaxis: hidden,
        zaxis: hidden,
        aspectmode: "manual",
        aspectratio: proportions(structure),
        camera: {
          projection: { type: "orthographic" },
          eye: { x: 1.15, y: 0.6, z: 0.45 },
        },
      },
    }),
    { ...CONFIG, displayModeBar: false },
  );
  const atoms = `${structure.n_atoms} ${structure.n_atoms === 1 ? "atom" : "atoms"}`;
  note.textContent =
    (structure.cell
      ? `${atoms} in the cell; those on its faces are shown on both sides. `
      : `${atoms}. `) + "Sticks are bonds. Drag to turn, scroll to zoom.";
}
