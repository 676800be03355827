// What there is to draw of a crystal: atoms with their images, bonds, edges of the cell.

const ON_FACE = 1e-3; // in units of the cell's edge

// Places of one atom in so many cells, with both ends where the atom lies on a face.
function imagesOf(position, repeat) {
  const along = position.map((value) => {
    let start = value - Math.floor(value + ON_FACE);
    if (Math.abs(start) < ON_FACE) start = 0;
    const places = [];
    for (let place = start; place <= repeat + ON_FACE; place++) places.push(place);
    return places;
  });
  return along[0].flatMap((x) => along[1].flatMap((y) => along[2].map((z) => [x, y, z])));
}

function buildAtoms(structure, repeat) {
  return structure.scaled_positions.flatMap((position, index) =>
    imagesOf(position, repeat).map((place) => ({
      index,
      symbol: structure.symbols[index],
      at: combine(place, structure.cell_A),
    })),
  );
}

// The distance from each atom to its nearest neighbour, images of the cell included.
function nearestDistances(structure) {
  const shifts = [-1, 0, 1].flatMap((x) => [-1, 0, 1].flatMap((y) => [-1, 0, 1].map((z) => [x, y, z])));
  return structure.scaled_positions.map((here) => {
    let nearest = Infinity;
    for (const there of structure.scaled_positions) {
      const apart = minus(there, here).map((value) => value - Math.round(value));
      for (const shift of shifts) {
        const distance = Math.hypot(
          ...combine(
            apart.map((value, k) => value + shift[k]),
            structure.cell_A,
          ),
        );
        if (distance > 1e-3) nearest = Math.min(nearest, distance);
      }
    }
    return nearest;
  });
}

// Two atoms are bound if each is among the nearest neighbours of the other, to within 15 %.
function buildBonds(atoms, nearest) {
  const bonds = [];
  for (let i = 0; i < atoms.length; i++) {
    for (let j = 0; j < i; j++) {
      const reach = 1.15 * Math.min(nearest[atoms[i].index], nearest[atoms[j].index]);
      if (Math.hypot(...minus(atoms[i].at, atoms[j].at)) < reach) bonds.push([i, j]);
    }
  }
  return bonds;
}

// Edges in short pieces, so that an atom hides only the pieces behind it.
function buildEdges(cell, repeat) {
  const pieces = [];
  const corners = Array.from({ length: repeat + 1 }, (_, k) => k);
  for (const axis of [0, 1, 2]) {
    for (const one of corners) {
      for (const other of corners) {
        for (let step = 0; step < 16 * repeat; step++) {
          const ends = [step / 16, (step + 1) / 16].map((along) => {
            const place = [0, 0, 0];
            place[axis] = along;
            place[(axis + 1) % 3] = one;
            place[(axis + 2) % 3] = other;
            return combine(place, cell);
          });
          pieces.push(ends);
        }
      }
    }
  }
  return pieces;
}

function buildScene(structure, repeat) {
  const nearest = nearestDistances(structure);
  const atoms = buildAtoms(structure, repeat);
  const middle = combine([repeat / 2, repeat / 2, repeat / 2], structure.cell_A);
  const edges = buildEdges(structure.cell_A, repeat);
  const reach = Math.max(...edges.map(([end]) => Math.hypot(...minus(end, middle))));
  return { atoms, bonds: buildBonds(atoms, nearest), edges, middle, reach, spacing: Math.min(...nearest) };
}

// The axes of the cell seen a little from above and from the side, c upwards.
function firstRotation(cell) {
  const up = cell[2];
  const start = orthonormal([
    minus(cell[0], combine([dotProduct(cell[0], up) / dotProduct(up, up)], [up])),
    up,
  ]);
  return multiply(turn("x", 0.26), multiply(turn("y", -0.5), start));
}

function dotProduct(one, other) {
  return one.reduce((sum, value, k) => sum + value * other[k], 0);
}
