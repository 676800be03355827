// Axes of a plot, and how a pointer or the keyboard reads values off it.

const MARGIN = { left: 62, right: 24, top: 10, bottom: 44 };

// Round numbers inside a range, about as many as asked for.
function ticksOf(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw * 0.999) * power;
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(k * step);
  return {
    ticks,
    digits: Math.max(
      0,
      Math.ceil(-Math.log10(step) - 1e-9) + (String(step / power).startsWith("2.5") ? 1 : 0),
    ),
  };
}

// A range with a little room, and with zero where values come near to it.
function rangeOf(values, floor = null) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > 0 && low < 0.5 * high) low = 0;
  if (high < 0 && high > 0.5 * low) high = 0;
  if (floor !== null) low = Math.min(low, floor);
  const room = 0.05 * (high - low || Math.abs(high) || 1);
  return [low === 0 ? 0 : low - room, high === 0 ? 0 : high + room];
}

function scaleOf([low, high], [from, to]) {
  const scale = (value) => from + ((value - low) / (high - low)) * (to - from);
  scale.invert = (pixel) => low + ((pixel - from) / (to - from)) * (high - low);
  scale.domain = [low, high];
  scale.range = [from, to];
  return scale;
}

function frame(box) {
  return svg("rect", {
    class: "frame",
    x: box.left,
    y: box.top,
    width: box.right - box.left,
    height: box.bottom - box.top,
  });
}

// As in the pictures of the package, ticks point inwards.
function bottomAxis(scale, box, label, count) {
  const { ticks, digits } = ticksOf(...scale.domain, count);
  const marks = ticks.map((tick) => [
    svg("line", { class: "tick", x1: scale(tick), x2: scale(tick), y1: box.bottom, y2: box.bottom - 5 }),
    svg("text", { x: scale(tick), y: box.bottom + 16, "text-anchor": "middle" }, fixed(tick, digits)),
  ]);
  return [
    marks,
    svg(
      "text",
      { class: "label", x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" },
      label,
    ),
  ];
}

// Large and small numbers are given in units of a power of ten, which the label has.
function leftAxis(scale, box, text, count = 5) {
  const [low, high] = scale.domain;
  const size = Math.log10(Math.max(Math.abs(low), Math.abs(high)));
  const power = size >= 4 || size < -2 ? 3 * Math.floor(size / 3) : 0;
  const unit = 10 ** power;
  const inUnits = ticksOf(low / unit, high / unit, count);
  const [ticks, digits] = [inUnits.ticks.map((tick) => tick * unit), inUnits.digits];
  const label = power === 0 ? text : text.replace("(", `(10${superscript(power)} `);
  const marks = ticks.map((tick) => [
    svg("line", { class: "tick", x1: box.left, x2: box.left + 5, y1: scale(tick), y2: scale(tick) }),
    svg(
      "text",
      { x: box.left - 7, y: scale(tick), "text-anchor": "end", "dominant-baseline": "central" },
      fixed(tick / unit, digits),
    ),
  ]);
  const middle = (box.top + box.bottom) / 2;
  return [
    marks,
    svg(
      "text",
      { class: "label", transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" },
      label,
    ),
  ];
}

function zeroLine(scale, box) {
  const [low, high] = scale.domain;
  if (!(low < 0 && high > 0)) return null;
  return svg("line", { class: "zero", x1: box.left, x2: box.right, y1: scale(0), y2: scale(0) });
}

function pathOf(xs, ys, xScale, yScale) {
  return xs.map((x, k) => `${k ? "L" : "M"}${xScale(x).toFixed(1)} ${yScale(ys[k]).toFixed(1)}`).join("");
}

function nearestIndex(sorted, value) {
  let [low, high] = [0, sorted.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}

// A plot is drawn again when its width changes, so that its letters keep their size. `render(width)` returns
// {picture, state, read(state), cursor(state), at(x, y), move(key, state, step)}; see curves.js.
function plot(label, height, legend, render) {
  const picture = svg("svg", {
    role: "slider",
    tabindex: "0",
    "aria-label": label,
    class: "plot",
    "aria-valuemin": "0",
  });
  const readout = element(
    "p",
    { class: "readout quiet" },
    "Point at the plot, or focus it and use the arrow keys.",
  );
  const figure = element("figure", {}, legend, picture, readout);
  const current = { drawing: null, cursor: null, state: null };
  const show = (state) => {
    current.state = state;
    current.cursor?.remove();
    current.cursor = current.drawing.cursor(state);
    picture.append(current.cursor);
    const text = current.drawing.read(state);
    readout.textContent = text;
    readout.classList.remove("quiet");
    picture.setAttribute("aria-valuetext", text);
    picture.setAttribute("aria-valuenow", String(state.index));
  };
  const hide = () => {
    current.cursor?.remove();
    current.cursor = null;
  };
  const redraw = () => {
    const width = Math.max(figure.clientWidth, 240);
    current.drawing = render(width);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("aria-valuemax", String(current.drawing.last));
    picture.setAttribute("aria-valuenow", String(current.state?.index ?? 0));
    picture.replaceChildren(...current.drawing.parts.flat(Infinity).filter(Boolean));
  };
  listen(picture, current, show, hide);
  new ResizeObserver(redraw).observe(figure);
  return figure;
}

function listen(picture, current, show, hide) {
  const toPoint = (event) => {
    const area = picture.getBoundingClientRect();
    const { width, height } = picture.viewBox.baseVal;
    return [
      ((event.clientX - area.left) / area.width) * width,
      ((event.clientY - area.top) / area.height) * height,
    ];
  };
  for (const kind of ["pointermove", "pointerdown"]) {
    picture.addEventListener(kind, (event) => show(current.drawing.at(...toPoint(event))));
  }
  picture.addEventListener("pointerleave", hide);
  picture.addEventListener("blur", hide);
  picture.addEventListener("focus", () => {
    if (picture.matches(":focus-visible")) show(current.state ?? current.drawing.first);
  });
  picture.addEventListener("keydown", (event) => {
    const moved = current.drawing.move(
      event.key,
      current.state ?? current.drawing.first,
      event.shiftKey ? 10 : 1,
    );
    if (!moved || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    show(moved);
  });
}

// Left and right go along the curve, Home and End to its ends.
function moveAlong(key, index, last, step) {
  const moved = { ArrowLeft: index - step, ArrowRight: index + step, Home: 0, End: last }[key];
  return moved === undefined ? null : Math.min(Math.max(moved, 0), last);
}
