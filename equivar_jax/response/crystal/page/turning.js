// How the reader turns and enlarges the crystal: by pointer, wheel or keyboard.

function rotate(right, down) {
  const turned = multiply(turn("y", right), multiply(turn("x", down), view.rotation));
  view.rotation = orthonormal(turned);
  if (!view.playing) draw();
}

function zoomBy(factor) {
  view.zoom = Math.min(Math.max(view.zoom * factor, 0.4), 6);
  if (!view.playing) draw();
}

function handleKey(event) {
  const step = 0.12;
  const actions = {
    ArrowLeft: () => rotate(-step, 0),
    ArrowRight: () => rotate(step, 0),
    ArrowUp: () => rotate(0, -step),
    ArrowDown: () => rotate(0, step),
    "+": () => zoomBy(1.15),
    "=": () => zoomBy(1.15),
    "-": () => zoomBy(1 / 1.15),
    " ": () => setPlaying(!view.playing),
  };
  if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[event.key]();
}

// One pointer turns; two pointers on a touch screen zoom.
function followPointers(canvas) {
  const pointers = new Map();
  const spread = () => {
    const [one, other] = [...pointers.values()];
    return Math.hypot(one.x - other.x, one.y - other.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const apart = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (apart) zoomBy(spread() / apart);
    else rotate((event.clientX - before.x) * 0.009, (event.clientY - before.y) * 0.009);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
}

function handleWheel(event) {
  event.preventDefault();
  zoomBy(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 60) * 0.002));
}
