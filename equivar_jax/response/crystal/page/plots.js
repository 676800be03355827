// The plots of the page, and what stands in the place of those that there are no data for.

function whyNoResponse() {
  return isSoft()
    ? "Not shown: the structure has an unstable mode at Γ, so that its response to light is not defined."
    : "Not computed: this needs Born effective charges and the electronic dielectric tensor.";
}

function showBands() {
  const { bands, dos } = results;
  const notes = [];
  if (!bands)
    notes.push(
      absent("There are no bands: force constants at Γ alone give none; they need those of a supercell."),
    );
  if (!dos) notes.push(absent("There is no density of states; it needs force constants of a supercell."));
  const unit = dos
    ? element("p", { class: "quiet" }, `Density of states (DOS) in states per primitive cell and ${PER_CM}.`)
    : null;
  if (bands) place("bands", notes, bandPlot(bands, dos), unit);
  else place("bands", notes, dos ? dosPlot(dos) : null, unit);
}

function dosPlot(dos) {
  return curvePlot({
    label: "Phonon density of states",
    x: dos.wavenumber_per_cm,
    series: dosSeries(dos),
    xLabel: `Wavenumber (${PER_CM})`,
    yLabel: "DOS (per cell and cm⁻¹)",
    describe: (k) => dosText(dos, dos.wavenumber_per_cm[k]).replace(" · ", ""),
  });
}

function polarLines() {
  return {
    transverse: results.modes.filter((mode) => mode.infrared_active).map((mode) => mode.wavenumber_per_cm),
    longitudinal: results.longitudinal.flatMap((way) => way.lines_per_cm),
  };
}

function opticalPlot(data, groups, name, key, extra = {}) {
  const x = data.wavenumber_per_cm;
  const series = groups.map((group) => ({ ...group, values: data[key][group.axis] }));
  const describe = (k) =>
    `${fixed(x[k], 1)} ${PER_CM} · ${series.map((one) => `${one.name} ${short(one.values[k])}`).join(" · ")}`;
  const figure = curvePlot({
    label: name,
    x,
    series,
    xLabel: `Wavenumber (${PER_CM})`,
    yLabel: name,
    describe,
    hasLegend: true,
    ...extra,
  });
  return element("div", {}, element("h3", {}, name), figure);
}

function showOptics() {
  const data = results.dielectric_function;
  if (!data) {
    place("optics", absent(whyNoResponse()));
    return;
  }
  const groups = axisSeries(data.real, data.imaginary);
  const width = fixed(data.linewidth_per_cm, 1);
  place(
    "optics",
    element(
      "p",
      { class: "quiet" },
      `Every line has the width ${width} ${PER_CM} (full width at half maximum), which is chosen, not ` +
        "computed. ",
      element("span", { class: "nowrap" }, "▼ infrared active TO modes,"),
      " ",
      element("span", { class: "nowrap" }, "○ LO modes of all directions in the table."),
    ),
    element(
      "div",
      { class: "plots three" },
      opticalPlot(data, groups, "Real part of ε(ω)", "real"),
      opticalPlot(data, groups, "Imaginary part of ε(ω)", "imaginary"),
      opticalPlot(data, groups, "Reflectivity", "reflectivity", { range: [-0.1, 1.02], marks: polarLines() }),
    ),
  );
}

function showInfrared() {
  const data = results.infrared;
  if (!data) {
    place("infrared", absent(whyNoResponse()));
    return;
  }
  const [x, values] = [data.wavenumber_per_cm, data.absorption_per_cm];
  const describe = (k) =>
    `${fixed(x[k], 1)} ${PER_CM} (${fixed(x[k] * THZ, 2)} THz) · α n = ${short(values[k])} ${PER_CM}`;
  place(
    "infrared",
    element(
      "p",
      { class: "quiet" },
      "Absorption coefficient times refractive index, averaged over directions, at a resolution of " +
        `${fixed(data.resolution_per_cm, 1)} ${PER_CM}.`,
    ),
    curvePlot({
      label: "Infrared spectrum",
      x,
      series: [{ name: "α n", values, colour: "series-0" }],
      xLabel: `Wavenumber (${PER_CM})`,
      yLabel: `α n (${PER_CM})`,
      describe,
    }),
  );
}

function thermalPlot(data, [name, symbol], key, unit, place) {
  const [x, values] = [data.temperature_K, data[key]];
  const figure = curvePlot({
    label: name,
    x,
    series: [{ name, values, colour: place }],
    xLabel: "Temperature (K)",
    yLabel: `${symbol} (${unit})`,
    height: 260,
    describe: (k) => `${fixed(x[k], 0)} K · ${symbol} = ${short(values[k])} ${unit}`,
  });
  return element("div", {}, element("h3", {}, name), figure);
}

function showThermal() {
  const data = results.thermal;
  if (!data) {
    const reason = isUnstable()
      ? "an unstable structure has no harmonic free energy."
      : "they need phonons at all wave vectors, from force constants of a supercell.";
    place("thermal", absent(`There are no thermal properties: ${reason}`));
    return;
  }
  place(
    "thermal",
    element(
      "p",
      { class: "quiet" },
      "Of the vibrations in the harmonic approximation, per mole of primitive cells.",
    ),
    element(
      "div",
      { class: "plots three" },
      thermalPlot(data, ["Free energy", "F"], "free_energy_kJ_per_mol", "kJ/mol", "series-0"),
      thermalPlot(data, ["Entropy", "S"], "entropy_J_per_K_per_mol", "J/(K mol)", "series-2"),
      thermalPlot(
        data,
        ["Heat capacity at constant volume", "C"],
        "heat_capacity_J_per_K_per_mol",
        "J/(K mol)",
        "series-3",
      ),
    ),
  );
}
