// How the reader plays a mode, and chooses what is drawn.

let lastFrame = null;

function animate(time) {
  if (!view.playing) return;
  if (lastFrame !== null)
    view.phase += (2 * Math.PI * VIBRATIONS_PER_SECOND * Math.min(time - lastFrame, 100)) / 1000;
  lastFrame = time;
  draw();
  requestAnimationFrame(animate);
}

function setPlaying(playing) {
  const starts = playing && !view.playing && view.mode !== null;
  view.playing = playing && view.mode !== null;
  const button = document.getElementById("play");
  button.textContent = view.playing ? "❚❚ Pause" : "▶ Play";
  button.disabled = view.mode === null;
  if (starts) {
    lastFrame = null;
    requestAnimationFrame(animate);
  } else {
    draw();
  }
}

// Choosing the chosen mode again puts the atoms at rest. Who wants little motion gets arrows until they play.
function chooseMode(index) {
  view.mode = view.mode === index ? null : index;
  view.phase = 0;
  markMode(view.mode);
  document.getElementById("mode-text").replaceChildren(...modeDescription());
  setPlaying(view.mode !== null && !wantsLittleMotion.matches);
}

function modeDescription() {
  if (view.mode === null) return ["Atoms at rest."];
  const mode = results.modes[view.mode];
  const dipole = mode.mode_effective_charge_e_per_sqrt_u;
  const isSilent = Math.hypot(...dipole) < 5e-3;
  return [
    element("strong", {}, `Mode ${view.mode + 1}`),
    mode.irrep ? [" (", ...irrepNodes(mode.irrep), ")"] : [],
    `: ${wavenumber(mode.wavenumber_per_cm)} ${PER_CM}, ${wavenumber(mode.frequency_THz, 2)} THz`,
    mode.wavenumber_per_cm < 0 ? ", unstable" : "",
    isSilent
      ? ". It has no dipole."
      : `. Its dipole is (${dipole.map((value) => fixed(value, 2)).join(", ")}) e/√u.`,
  ]
    .flat()
    .filter(Boolean);
}

function choice(name, legend, options, chosen, change) {
  const inputs = options.map(([value, text]) => {
    const input = element("input", { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => change(value));
    return element("label", {}, input, text);
  });
  return element("fieldset", {}, element("legend", {}, legend), inputs);
}

function toggle(text, key) {
  const input = element("input", { type: "checkbox", checked: view[key] });
  input.addEventListener("change", () => {
    view[key] = input.checked;
    draw();
  });
  return element("label", {}, input, text);
}

function setRepeat(value) {
  view.repeat = Number(value);
  view.scene = buildScene(results.structure, view.repeat);
  draw();
}

function resetView() {
  view.rotation = firstRotation(results.structure.cell_A);
  view.zoom = 1;
  draw();
}

function amplitudeSlider() {
  const slider = element("input", {
    type: "range",
    id: "amplitude",
    min: "0",
    max: "0.8",
    step: "0.05",
    value: String(view.amplitude),
  });
  slider.addEventListener("input", () => {
    view.amplitude = Number(slider.value);
    draw();
  });
  return element("label", { class: "slider" }, "Amplitude", slider);
}

function button(id, text, action) {
  const made = element("button", { type: "button", id }, text);
  made.addEventListener("click", action);
  return made;
}

// The mean charges, which the colours stand for.
function elementLegend() {
  const { structure, born_effective_charges_e: tensors } = results;
  const entries = elementsByNumber().map((symbol) => {
    const own = tensors.filter((_, atom) => structure.symbols[atom] === symbol);
    const mean = own.reduce((sum, tensor) => sum + trace(tensor) / 3, 0) / own.length;
    const text = `${mean > 0 ? "+" : ""}${fixed(mean, 2)} e`;
    return element(
      "li",
      {},
      element("span", { class: `swatch fill-${elementColourName(symbol)}`, "aria-hidden": "true" }),
      element("strong", {}, symbol),
      ` ${text}`,
    );
  });
  return element(
    "ul",
    { class: "legend", "aria-label": "Elements with the mean of their Born effective charges" },
    entries,
  );
}

function structureControls() {
  const shapes = [
    ["ellipsoids", "ellipsoids"],
    ["spheres", "spheres"],
  ];
  const changeShape = (value) => {
    view.shape = value;
    draw();
  };
  return element(
    "div",
    { class: "controls" },
    element(
      "div",
      {},
      button("play", "▶ Play", () => setPlaying(!view.playing)),
      amplitudeSlider(),
      toggle("arrows", "arrows"),
      button("reset", "Reset view", resetView),
    ),
    element(
      "div",
      {},
      choice("shape", "Atoms as", shapes, view.shape, changeShape),
      choice(
        "repeat",
        "Cells",
        [
          ["1", "1"],
          ["2", "2 × 2 × 2"],
        ],
        "1",
        setRepeat,
      ),
      toggle("symbols", "labels"),
    ),
  );
}

function showStructure() {
  const help = "Drag or use the arrow keys to turn, wheel or + and − to zoom, space bar to play.";
  const canvas = element("canvas", {
    id: "crystal",
    tabindex: "0",
    role: "img",
    "aria-label": `Primitive cell of ${results.formula}. ${help}`,
  });
  Object.assign(view, {
    canvas,
    scene: buildScene(results.structure, 1),
    rotation: firstRotation(results.structure.cell_A),
  });
  place(
    "structure",
    element(
      "figure",
      { class: "crystal" },
      canvas,
      element(
        "figcaption",
        {},
        elementLegend(),
        element("p", { id: "mode-text", "aria-live": "polite" }, "Atoms at rest."),
      ),
    ),
    structureControls(),
    element(
      "p",
      { class: "quiet" },
      `${help} The ellipsoid of an atom is {Z u, |u| = 1} with its Born effective charge Z, all on one ` +
        "scale.",
    ),
  );
  canvas.addEventListener("keydown", handleKey);
  canvas.addEventListener("wheel", handleWheel, { passive: false });
  followPointers(canvas);
  setPlaying(false);
  new ResizeObserver(draw).observe(canvas);
}
