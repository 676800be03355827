// The crystal in three dimensions on a canvas: ellipsoids of the charges, vibrations, rotation, zoom.

const VIBRATIONS_PER_SECOND = 0.7; // on the screen, for all modes alike
const LARGEST_ELLIPSOID = 0.36; // half axis in units of the shortest distance
const SPHERE = 0.24;

const view = {
  rotation: null,
  zoom: 1,
  repeat: 1,
  shape: "ellipsoids",
  labels: true,
  arrows: true,
  mode: null,
  playing: false,
  amplitude: 0.3,
  phase: 0,
  scene: null,
  canvas: null,
  colours: {},
};

const wantsLittleMotion = window.matchMedia("(prefers-reduced-motion: reduce)");

function readColours() {
  view.colours = {
    ink: colour("ink"),
    quiet: colour("quiet"),
    paper: colour("paper"),
    outline: colour("outline"),
  };
  for (const symbol of elementsByNumber()) {
    const fill = colour(elementColourName(symbol));
    const mixed = (share, other) => `color-mix(in srgb, ${fill} ${share}%, ${other})`;
    view.colours[symbol] = {
      fill,
      light: mixed(45, "white"),
      dark: mixed(62, "black"),
      bond: mixed(55, view.colours.paper),
    };
  }
}

// Displacements of a mode, the largest of which is 1. All images of an atom move together at Γ.
function pattern() {
  if (view.mode === null) return null;
  const moves = results.modes[view.mode].displacements_per_sqrt_u;
  const largest = Math.max(...moves.map((move) => Math.hypot(...move))) || 1;
  return moves.map((move) => move.map((value) => value / largest));
}

// The ellipsoids have one scale for all atoms, so that their sizes can be compared.
function shapes() {
  const size = view.scene.spacing;
  if (view.shape === "spheres") {
    const sphere = [
      [SPHERE * size, 0, 0],
      [0, SPHERE * size, 0],
      [0, 0, SPHERE * size],
    ];
    return results.born_effective_charges_e.map(() => sphere);
  }
  const tensors = results.born_effective_charges_e;
  const scale = (LARGEST_ELLIPSOID * size) / (Math.max(...tensors.map(longestAxis)) || 1);
  return tensors.map((tensor) => tensor.map((row) => row.map((value) => value * scale)));
}

// Pixels per Å at which the crystal fills the canvas as it is first seen, and still nearly fits when turned.
function fittingScale(width, height) {
  const { edges, middle, reach, spacing } = view.scene;
  const start = firstRotation(results.structure.cell_A);
  const seen = edges.map(([end]) => apply(start, minus(end, middle)));
  const extent = (axis) => Math.max(...seen.map((point) => Math.abs(point[axis]))) + 0.5 * spacing;
  return Math.min(width / 2 / extent(0), height / 2 / extent(1), (0.7 * Math.min(width, height)) / reach);
}

function makeCamera(width, height) {
  const scale = view.zoom * fittingScale(width, height);
  return {
    scale,
    // On the screen x is to the right and y down; depth grows towards the reader.
    see: (point) => {
      const [x, y, depth] = apply(view.rotation, minus(point, view.scene.middle));
      return { x: width / 2 + scale * x, y: height / 2 - scale * y, depth };
    },
  };
}

// Everything with its depth, in the order in which a painter lays it on: what is nearer hides what is behind.
function paintings(camera) {
  const { scene } = view;
  const moves = pattern();
  const swing = moves && view.mode !== null ? view.amplitude * Math.sin(view.phase) : 0;
  const solids = shapes();
  const outlines = solids.map((tensor) => outline(tensor, view.rotation));
  const places = scene.atoms.map(({ index, at }) => (moves ? combine([1, swing], [at, moves[index]]) : at));
  const list = [];
  const longest = Math.max(...solids.map(longestAxis));
  for (const [one, other] of scene.edges) {
    if (isInside(combine([0.5, 0.5], [one, other]), places, solids, longest)) continue;
    const [from, to] = [camera.see(one), camera.see(other)];
    list.push({
      depth: (from.depth + to.depth) / 2,
      paint: (context) => drawLine(context, from, to, view.colours.quiet, 1),
    });
  }
  for (const [i, j] of scene.bonds)
    addBond(list, camera, solids, scene.atoms[i], scene.atoms[j], places[i], places[j]);
  const size = Math.max(9, Math.min(17, 0.22 * camera.scale * scene.spacing));
  const hasArrows = view.arrows && moves;
  scene.atoms.forEach(({ index, symbol }, k) => {
    const at = camera.see(places[k]);
    list.push({
      depth: at.depth,
      paint: (context) => drawEllipse(context, at, outlines[index], camera.scale, view.colours[symbol]),
    });
    if (view.labels && !hasArrows)
      list.push({
        depth: at.depth,
        paint: (context) => drawLabel(context, at, symbol, size, outlines[index], camera.scale),
      });
    if (hasArrows) addArrow(list, camera, places[k], moves[index]);
  });
  return list.sort((one, other) => one.depth - other.depth);
}

// Whether a point of an edge is inside an atom, which the painter's order alone would not hide.
function isInside(point, places, solids, longest) {
  return view.scene.atoms.some(({ index }, k) => {
    const at = places[k];
    if ((point[0] - at[0]) ** 2 + (point[1] - at[1]) ** 2 + (point[2] - at[2]) ** 2 > longest ** 2)
      return false;
    const apart = minus(point, at);
    const distance = Math.hypot(...apart);
    return (
      distance < 1e-9 ||
      distance <
        reachAlong(
          solids[index],
          apart.map((value) => value / distance),
        )
    );
  });
}

// A bond goes from one surface to the other, each half of it with the colour of its atom.
function addBond(list, camera, solids, atom, partner, one, other) {
  const apart = minus(other, one);
  const length = Math.hypot(...apart);
  const direction = apart.map((value) => value / length);
  const [start, end] = [
    reachAlong(solids[atom.index], direction),
    length - reachAlong(solids[partner.index], direction),
  ];
  if (start >= end) return;
  const at = (distance) => combine([1, distance], [one, direction]);
  const middle = at((start + end) / 2);
  for (const [owner, surface] of [
    [atom, at(start)],
    [partner, at(end)],
  ]) {
    const [from, to] = [camera.see(surface), camera.see(middle)];
    const style = view.colours[owner.symbol].bond;
    list.push({
      depth: (from.depth + to.depth) / 2,
      paint: (context) => drawLine(context, from, to, style, 0.09 * camera.scale),
    });
  }
}

function addArrow(list, camera, place, move) {
  const length = 0.75 * view.scene.spacing;
  const [from, to] = [camera.see(place), camera.see(combine([1, length], [place, move]))];
  list.push({ depth: Math.max(from.depth, to.depth), paint: (context) => drawArrow(context, from, to) });
}

// The directions of the Cartesian axes, to which the tensors belong, in the lower left corner.
function drawAxes(context, height) {
  const origin = { x: 46, y: height - 46 };
  const order = [0, 1, 2].sort((one, other) => view.rotation[2][one] - view.rotation[2][other]);
  for (const axis of order) {
    const [x, y] = [view.rotation[0][axis], view.rotation[1][axis]];
    drawLine(context, origin, { x: origin.x + 28 * x, y: origin.y - 28 * y }, view.colours.ink, 1.6);
    context.font = "italic 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = view.colours.ink;
    context.fillText(AXES[axis], origin.x + 37 * x, origin.y - 37 * y);
  }
}

function draw() {
  const { canvas } = view;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const density = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineCap = "round";
  for (const { paint } of paintings(makeCamera(width, height))) paint(context);
  drawAxes(context, height);
}
