// Vectors, rotations, and the outline of an ellipsoid.

function combine(coefficients, vectors) {
  return [0, 1, 2].map((axis) => vectors.reduce((sum, vector, k) => sum + coefficients[k] * vector[axis], 0));
}

function apply(matrix, vector) {
  return matrix.map((row) => row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]);
}

function multiply(one, other) {
  return one.map((row) =>
    [0, 1, 2].map((column) => row.reduce((sum, value, k) => sum + value * other[k][column], 0)),
  );
}

function minus(one, other) {
  return one.map((value, axis) => value - other[axis]);
}

// A turn about the axis to the right (x), or the one upwards (y), of the screen.
function turn(axis, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return axis === "x"
    ? [
        [1, 0, 0],
        [0, c, -s],
        [0, s, c],
      ]
    : [
        [c, 0, s],
        [0, 1, 0],
        [-s, 0, c],
      ];
}

// Rounding of many small turns would shear the picture; Gram and Schmidt's method mends it.
function orthonormal([first, second]) {
  const length = Math.hypot(...first);
  const right = first.map((value) => value / length);
  const overlap = right.reduce((sum, value, k) => sum + value * second[k], 0);
  const rest = second.map((value, k) => value - overlap * right[k]);
  const height = Math.hypot(...rest);
  const up = rest.map((value) => value / height);
  const towards = [
    right[1] * up[2] - right[2] * up[1],
    right[2] * up[0] - right[0] * up[2],
    right[0] * up[1] - right[1] * up[0],
  ];
  return [right, up, towards];
}

// The ellipsoid {Z u, |u| = 1} seen along an axis has the outline {A u, |u| = 1}, A = P Z with the 2 x 3
// matrix P
// of the axes to the right and upwards. It is the ellipse whose half axes are the square roots of the
// eigenvalues of A Aᵀ, along the eigenvectors.
function outline(tensor, rotation) {
  const [right, up] = multiply(rotation, tensor);
  const dot = (one, other) => one.reduce((sum, value, k) => sum + value * other[k], 0);
  const [xx, xy, yy] = [dot(right, right), dot(right, up), dot(up, up)];
  const mean = (xx + yy) / 2;
  const half = Math.hypot((xx - yy) / 2, xy);
  return {
    long: Math.sqrt(mean + half),
    short: Math.sqrt(Math.max(mean - half, 0)),
    angle: Math.atan2(2 * xy, xx - yy) / 2,
  };
}

// How far the ellipsoid reaches along a direction d of length 1: 1 / |Z⁻¹ d|. One that is flat reaches
// nowhere.
function reachAlong(tensor, direction) {
  const crossed = (one, other) => [
    one[1] * other[2] - one[2] * other[1],
    one[2] * other[0] - one[0] * other[2],
    one[0] * other[1] - one[1] * other[0],
  ];
  const columns = [0, 1, 2].map((axis) => tensor.map((row) => row[axis]));
  const adjugate = [
    crossed(columns[1], columns[2]),
    crossed(columns[2], columns[0]),
    crossed(columns[0], columns[1]),
  ];
  const determinant = columns[0].reduce((sum, value, k) => sum + value * adjugate[0][k], 0);
  return Math.abs(determinant) / (Math.hypot(...apply(adjugate, direction)) || 1);
}

// The longest half axis of the ellipsoid: the root of the largest eigenvalue of Z Zᵀ, by powers of it.
function longestAxis(tensor) {
  const square = tensor.map((row) =>
    tensor.map((other) => row.reduce((sum, value, k) => sum + value * other[k], 0)),
  );
  let vector = [0.62, 0.55, 0.56];
  let size = 0;
  for (let step = 0; step < 50; step++) {
    vector = apply(square, vector);
    size = Math.hypot(...vector);
    if (size === 0) return 0;
    vector = vector.map((value) => value / size);
  }
  return Math.sqrt(size);
}
