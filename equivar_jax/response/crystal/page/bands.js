// Phonon bands along a path, and beside them the density of states on the same axis.

// A digit after the letter of a special point is written as a subscript.
function pointName(name) {
  return name.replace(/_/g, "").replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
}

// The segments one after the other on one axis, however each of them counts its distance.
function layPath(segments) {
  let start = 0;
  const laid = segments.map(({ distance_per_A: distance, ...rest }) => {
    const along = distance.map((value) => start + value - distance[0]);
    start = along[along.length - 1];
    return { ...rest, along };
  });
  const stops = [{ x: 0, name: pointName(segments[0].from) }];
  laid.forEach(({ to, joined, along }, k) => {
    const next = laid[k + 1];
    const name = next && !joined ? `${pointName(to)}|${pointName(next.from)}` : pointName(to);
    stops.push({ x: along[along.length - 1], name });
  });
  return { laid, stops, length: start };
}

function bandValues({ segments }) {
  return segments.flatMap((segment) => segment.wavenumbers_per_cm.flat());
}

// Rounding puts acoustic modes just below zero; the axis starts at zero unless a mode is truly imaginary.
function bandRange(values) {
  const [low, high] = rangeOf(values);
  const lowest = values.reduce((least, value) => Math.min(least, value), 0);
  return [lowest > -2 ? 0 : low, high];
}

function unstableArea(scale, box) {
  if (scale.domain[0] >= 0) return null;
  const bottom = box.bottom - scale(0);
  return [
    svg("rect", {
      class: "unstable-area",
      x: box.left,
      y: scale(0),
      width: box.right - box.left,
      height: bottom,
    }),
    bottom > 16
      ? svg("text", { class: "unstable-word", x: box.left + 10, y: box.bottom - 6 }, "imaginary: unstable")
      : null,
  ];
}

// A label that would overlap the one before it goes to a lower row.
function stopMarks(stops, scale, box) {
  const ends = [-Infinity, -Infinity, -Infinity];
  return stops.map(({ x, name }) => {
    const half = 4.5 * name.length;
    const row = Math.max(
      0,
      ends.findIndex((end) => scale(x) - half > end + 3),
    );
    ends[row] = scale(x) + half;
    return [
      svg("line", { class: "zero", x1: scale(x), x2: scale(x), y1: box.top, y2: box.bottom }),
      svg(
        "text",
        { class: "label", x: scale(x), y: box.bottom + 15 + 13 * row, "text-anchor": "middle" },
        name,
      ),
    ];
  });
}

function dosSeries(dos) {
  const elements = Object.entries(dos.elements).map(([symbol, values]) => ({
    name: symbol,
    values,
    colour: elementColourName(symbol),
  }));
  return [{ name: "total", values: dos.total, colour: "ink" }, ...elements];
}

function drawDos(dos, scale, box) {
  const most = Math.max(...dos.total) * 1.06 || 1;
  const across = scaleOf([0, most], [box.left, box.right]);
  const [low, high] = scale.domain;
  const kept = dos.wavenumber_per_cm
    .map((value, k) => k)
    .filter((k) => dos.wavenumber_per_cm[k] >= low && dos.wavenumber_per_cm[k] <= high);
  const ys = kept.map((k) => dos.wavenumber_per_cm[k]);
  const curves = dosSeries(dos).map(({ values, colour: place }) =>
    svg("path", {
      class: `curve thin stroke-${place}`,
      d: pathOf(
        kept.map((k) => values[k]),
        ys,
        across,
        scale,
      ),
    }),
  );
  const middle = (box.left + box.right) / 2;
  return [
    curves,
    frame(box),
    svg("text", { class: "label", x: middle, y: box.bottom + 17, "text-anchor": "middle" }, "DOS"),
  ];
}

function bandText(path, { segment, index, band }) {
  const { from, to, along, wavenumbers_per_cm: values } = path.laid[segment];
  const value = values[index][band];
  const share = along.length > 1 ? (along[index] - along[0]) / (along[along.length - 1] - along[0]) : 0;
  return (
    `${pointName(from)} to ${pointName(to)}, ${fixed(100 * share, 0)} % of the way · band ${band + 1}: ` +
    `${wavenumber(value)} ${PER_CM} = ${wavenumber(value * THZ, 2)} THz = ${wavenumber(value * MEV, 1)} meV`
  );
}

function dosText(dos, energy) {
  if (!dos) return "";
  const k = nearestIndex(dos.wavenumber_per_cm, energy);
  const shares = Object.entries(dos.elements).map(([symbol, values]) => `${symbol} ${short(values[k])}`);
  return (
    ` · DOS at ${wavenumber(dos.wavenumber_per_cm[k])} ${PER_CM}: ${short(dos.total[k])} ` +
    `(${shares.join(", ")})`
  );
}

// All points of the path in a row, so that the keyboard goes from one segment to the next.
function pointsOf(path) {
  return path.laid.flatMap(({ along }, segment) => along.map((x, index) => ({ x, segment, index })));
}

function bandPlot(bands, dos, height = 440) {
  const path = layPath(bands.segments);
  const points = pointsOf(path);
  const places = points.map(({ x }) => x);
  const valuesAt = (k) => path.laid[points[k].segment].wavenumbers_per_cm[points[k].index];
  const stateOf = (k, band) => ({ ...points[k], index: k, place: points[k].index, band });
  const range = bandRange(bandValues(bands));
  const render = (width) => {
    const split = dos ? width - Math.max(90, 0.24 * width) : width - MARGIN.right;
    const box = { left: MARGIN.left, right: split, top: MARGIN.top, bottom: height - MARGIN.bottom };
    const side = { ...box, left: split + 12, right: width - MARGIN.right };
    const xScale = scaleOf([0, path.length], [box.left, box.right]);
    const yScale = scaleOf(range, [box.bottom, box.top]);
    const curves = path.laid.flatMap(({ along, wavenumbers_per_cm: values }) =>
      values[0].map((_, band) =>
        svg("path", {
          class: "curve thin stroke-series-0",
          d: pathOf(
            along,
            values.map((row) => row[band]),
            xScale,
            yScale,
          ),
        }),
      ),
    );
    const parts = [
      unstableArea(yScale, box),
      stopMarks(path.stops, xScale, box),
      zeroLine(yScale, box),
      leftAxis(yScale, box, `Wavenumber (${PER_CM})`, 7),
      curves,
      frame(box),
      dos ? drawDos(dos, yScale, side) : null,
    ];
    return {
      parts,
      last: places.length - 1,
      first: stateOf(0, 0),
      ...bandReader(path, dos, { box, side, xScale, yScale, places, valuesAt, stateOf }),
    };
  };
  return plot(
    "Phonon bands. Left and right move along the path, up and down change the band.",
    height,
    dos ? legendOf(dosSeries(dos)) : null,
    render,
  );
}

function bandReader(path, dos, { box, side, xScale, yScale, places, valuesAt, stateOf }) {
  const cursor = ({ index, band, energy }) => {
    const value = energy ?? valuesAt(index)[band];
    const across = svg("line", {
      class: "crosshair",
      x1: box.left,
      x2: dos ? side.right : box.right,
      y1: yScale(value),
      y2: yScale(value),
    });
    if (energy !== undefined) return svg("g", { class: "cursor" }, across);
    const x = xScale(places[index]);
    const along = svg("line", { class: "crosshair", x1: x, x2: x, y1: box.top, y2: box.bottom });
    return svg(
      "g",
      { class: "cursor" },
      across,
      along,
      svg("circle", { class: "dot fill-series-0", cx: x, cy: yScale(value), r: 4 }),
    );
  };
  const at = (pixelX, pixelY) => {
    const energy = Math.min(Math.max(yScale.invert(pixelY), yScale.domain[0]), yScale.domain[1]);
    if (dos && pixelX > side.left) return { ...stateOf(0, 0), energy };
    const k = nearestIndex(places, xScale.invert(pixelX));
    const distances = valuesAt(k).map((value) => Math.abs(value - energy));
    return stateOf(k, distances.indexOf(Math.min(...distances)));
  };
  const read = (state) => {
    if (state.energy !== undefined) return dosText(dos, state.energy).replace(" · ", "");
    return bandText(path, { ...state, index: state.place }) + dosText(dos, valuesAt(state.index)[state.band]);
  };
  const move = (key, { index, band }, step) => {
    const sideways = moveAlong(key, index, places.length - 1, step);
    if (sideways !== null) return stateOf(sideways, band);
    const change = { ArrowUp: 1, ArrowDown: -1 }[key];
    if (change === undefined) return null;
    return stateOf(index, Math.min(Math.max(band + change, 0), valuesAt(index).length - 1));
  };
  return { cursor, at, read, move };
}
