// Tables of the transverse and the longitudinal modes.

// "E1g" is written with the digit and the letters after the first one as a subscript.
function irrepNodes(irrep) {
  return [irrep[0], irrep.length > 1 ? element("sub", {}, irrep.slice(1)) : null];
}

function lineText(line, std) {
  return line < 0 ? wavenumber(line) : withStd(line, std, 1);
}

function intensityCell(mode) {
  return element(
    "td",
    { class: "number" },
    withStd(mode.intensity_km_per_mol, mode.intensity_std_km_per_mol, 1),
  );
}

function modeRow(mode, index) {
  const button = element(
    "button",
    { type: "button", "aria-pressed": "false", "aria-label": `Show mode ${index + 1}` },
    String(index + 1),
  );
  const diagonal = AXES.map((_, axis) =>
    element("td", { class: "number" }, mode.contribution ? fixed(mode.contribution[axis][axis], 2) : "—"),
  );
  return element(
    "tr",
    { "data-mode": index, class: mode.wavenumber_per_cm < 0 ? "unstable" : null },
    element("th", { scope: "row" }, button),
    element(
      "td",
      { class: "number" },
      wavenumber(mode.wavenumber_per_cm),
      mode.wavenumber_per_cm < 0 ? element("span", { class: "word" }, " unstable") : null,
    ),
    element("td", {}, mode.irrep ? irrepNodes(mode.irrep) : "—"),
    element("td", {}, mode.infrared_active ? "yes" : element("span", { class: "quiet" }, "no")),
    intensityCell(mode),
    diagonal,
  );
}

function modeHead() {
  const one = (text, more = {}) => element("th", { scope: "col", rowspan: "2", ...more }, text);
  return element(
    "thead",
    {},
    element(
      "tr",
      {},
      one("Mode"),
      one(["TO", element("br"), element("small", {}, PER_CM)], { class: "number" }),
      one("Irrep"),
      one(["IR", element("br"), "active"]),
      one(["Intensity", element("br"), element("small", {}, "km/mol")], { class: "number" }),
      element("th", { scope: "colgroup", colspan: "3", class: "number" }, "Contribution to ", epsilon("0")),
    ),
    element(
      "tr",
      {},
      AXES.map((axis) => element("th", { scope: "col", class: "number" }, axis + axis)),
    ),
  );
}

// A click anywhere on a row chooses its mode; the button in it serves the keyboard.
function showModes(choose) {
  const rows = results.modes.map(modeRow);
  const body = element("tbody", {}, rows);
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) choose(Number(row.dataset.mode));
  });
  const acoustic = results.acoustic_left_out_per_cm.map((value) => wavenumber(value)).join(", ");
  place(
    "modes",
    element("h3", {}, "Transverse modes at Γ"),
    element("p", { class: "quiet" }, "Choose a row to see how the atoms move."),
    results.modes.length
      ? scrolling("Transverse modes", element("table", { class: "modes" }, modeHead(), body))
      : absent("A cell of one atom has no optical modes."),
    element(
      "p",
      { class: "quiet after" },
      `Acoustic modes, left out of the table: ${acoustic} ${PER_CM}; zero if the forces had no errors.`,
    ),
  );
}

function markMode(index) {
  for (const row of document.querySelectorAll("tr[data-mode]")) {
    const isChosen = Number(row.dataset.mode) === index;
    row.classList.toggle("chosen", isChosen);
    row.querySelector("button").setAttribute("aria-pressed", String(isChosen));
  }
}

function showLongitudinal() {
  const rows = results.longitudinal.map((way) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, way.direction),
      element(
        "td",
        { class: "vector" },
        `(${way.vector.map((value) => fixed(value, Number.isInteger(value) ? 0 : 3)).join(", ")})`,
      ),
      element(
        "td",
        { class: "lines" },
        way.lines_per_cm.length
          ? way.lines_per_cm.map((line, k) =>
              element("span", { class: "line" }, lineText(line, way.std_per_cm?.[k])),
            )
          : "no mode with a dipole along it",
      ),
    ),
  );
  place(
    "longitudinal",
    element("h3", {}, "Longitudinal modes at Γ"),
    rows.length
      ? scrolling("Longitudinal modes", table(null, ["Wave vector along", "Vector", `LO (${PER_CM})`], rows))
      : absent("Longitudinal modes need Born effective charges and the electronic dielectric tensor."),
  );
}
