// A plot of curves over one axis, with the values of all of them under the pointer.

function legendOf(series) {
  return element(
    "ul",
    { class: "legend" },
    series.map(({ name, colour: place, dash }) =>
      element(
        "li",
        {},
        svg(
          "svg",
          { class: "key", width: 24, height: 10, "aria-hidden": "true" },
          svg("line", {
            x1: 1,
            x2: 23,
            y1: 5,
            y2: 5,
            class: `curve stroke-${place}${dash ? " dashed" : ""}`,
          }),
        ),
        name,
      ),
    ),
  );
}

// Transverse modes have filled triangles above the axis, longitudinal ones open circles.
function markLines(marks, scale, box) {
  if (!marks) return [];
  const [low, high] = scale.domain;
  const inside = (line) => line >= low && line <= high;
  const triangle = (x) => `${x - 4},${box.bottom - 9} ${x + 4},${box.bottom - 9} ${x},${box.bottom - 1}`;
  return [
    marks.transverse
      .filter(inside)
      .map((line) => svg("polygon", { class: "mark", points: triangle(scale(line)) })),
    marks.longitudinal
      .filter(inside)
      .map((line) => svg("circle", { class: "mark open", cx: scale(line), cy: box.bottom - 5, r: 3.6 })),
  ];
}

// `series` are {name, values, colour, dash}; `describe(index)` is what the reader is told of a point.
function curvePlot({
  label,
  x,
  series,
  xLabel,
  yLabel,
  describe,
  range = null,
  marks = null,
  hasLegend = series.length > 1,
  height = 300,
}) {
  const render = (width) => {
    const box = {
      left: MARGIN.left,
      right: width - MARGIN.right,
      top: MARGIN.top,
      bottom: height - MARGIN.bottom,
    };
    const xScale = scaleOf([x[0], x[x.length - 1]], [box.left, box.right]);
    const values = function* () {
      for (const one of series) yield* one.values;
    };
    const yScale = scaleOf(range ?? rangeOf(values()), [box.bottom, box.top]);
    const last = x.length - 1;
    const parts = [
      zeroLine(yScale, box),
      bottomAxis(xScale, box, xLabel, Math.max(3, Math.min(8, Math.floor(width / 90)))),
      leftAxis(yScale, box, yLabel),
      series.map(({ values: ys, colour: place, dash }) =>
        svg("path", {
          class: `curve stroke-${place}${dash ? " dashed" : ""}`,
          d: pathOf(x, ys, xScale, yScale),
        }),
      ),
      markLines(marks, xScale, box),
      frame(box),
    ];
    const cursor = ({ index }) => {
      const at = xScale(x[index]);
      const dots = series.map(({ values: ys, colour: place }) =>
        svg("circle", { class: `dot fill-${place}`, cx: at, cy: yScale(ys[index]), r: 3.8 }),
      );
      return svg(
        "g",
        { class: "cursor" },
        svg("line", { class: "crosshair", x1: at, x2: at, y1: box.top, y2: box.bottom }),
        dots,
      );
    };
    return {
      parts,
      last,
      first: { index: 0 },
      cursor,
      read: ({ index }) => describe(index),
      at: (pixel) => ({ index: nearestIndex(x, xScale.invert(pixel)) }),
      move: (key, state, step) => {
        const index = moveAlong(key, state.index, last, step);
        return index === null ? null : { index };
      },
    };
  };
  return plot(label, height, hasLegend ? legendOf(series) : null, render);
}

// Axes with the same curve share one, as x and y in a hexagonal crystal.
function axisSeries(...functions) {
  const groups = [];
  const largest = Math.max(
    ...functions.flatMap((one) =>
      AXES.map((axis) => one[axis].reduce((most, value) => Math.max(most, Math.abs(value)), 0)),
    ),
  );
  const isSame = (one, other) =>
    functions.every((all) => all[one].every((value, k) => Math.abs(value - all[other][k]) < 1e-4 * largest));
  for (const axis of AXES) {
    const group = groups.find((found) => isSame(found[0], axis));
    if (group) group.push(axis);
    else groups.push([axis]);
  }
  return groups.map((group, k) => ({
    axis: group[0],
    name: group.map((axis) => axis + axis).join(" = "),
    colour: `series-${k}`,
  }));
}
