// What is laid on the canvas: lines, shaded ellipses, symbols, arrows.

function drawLine(context, from, to, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
}

// Light comes from the upper left, whichever way the ellipse lies.
function drawEllipse(context, at, shape, scale, colours) {
  const [long, short] = [Math.max(shape.long * scale, 1.5), Math.max(shape.short * scale, 1.5)];
  context.save();
  context.translate(at.x, at.y);
  context.rotate(-shape.angle);
  const light = [
    -0.42 * Math.cos(shape.angle) + 0.45 * Math.sin(shape.angle),
    -0.42 * Math.sin(shape.angle) - 0.45 * Math.cos(shape.angle),
  ];
  context.scale(long, short);
  const shade = context.createRadialGradient(light[0], light[1], 0.05, 0, 0, 1.05);
  shade.addColorStop(0, colours.light);
  shade.addColorStop(0.45, colours.fill);
  shade.addColorStop(1, colours.dark);
  context.fillStyle = shade;
  context.beginPath();
  context.arc(0, 0, 1, 0, 2 * Math.PI);
  context.fill();
  context.restore();
  context.strokeStyle = view.colours.outline;
  context.lineWidth = 0.8;
  context.beginPath();
  context.ellipse(at.x, at.y, long, short, -shape.angle, 0, 2 * Math.PI);
  context.stroke();
}

// On its atom, or beside one that is smaller than the letters.
function drawLabel(context, at, text, size, shape, scale) {
  const isBeside = shape.short * scale < 0.75 * size;
  const x = isBeside ? at.x + shape.long * scale + 0.5 * size : at.x;
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = isBeside ? 3 : 2.2;
  context.lineJoin = "round";
  context.strokeStyle = isBeside ? view.colours.paper : "rgba(0, 0, 0, 0.6)";
  context.strokeText(text, x, at.y);
  context.fillStyle = isBeside ? view.colours.ink : "white";
  context.fillText(text, x, at.y);
}

function drawArrow(context, from, to) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  if (length < 9) return;
  const [dx, dy] = [(to.x - from.x) / length, (to.y - from.y) / length];
  const head = Math.min(10, 0.5 * length);
  const neck = { x: to.x - head * dx, y: to.y - head * dy };
  for (const [style, extra] of [
    [view.colours.paper, 3],
    [view.colours.ink, 0],
  ]) {
    drawLine(context, from, neck, style, 2.4 + extra);
    context.fillStyle = style;
    context.lineWidth = extra;
    context.beginPath();
    context.moveTo(to.x, to.y);
    context.lineTo(neck.x - 0.45 * head * dy, neck.y + 0.45 * head * dx);
    context.lineTo(neck.x + 0.45 * head * dy, neck.y - 0.45 * head * dx);
    context.closePath();
    context.fill();
    if (extra) context.stroke();
  }
}
