// Title, summary, sources of the ingredients, and what the reader must not miss.

function formulaNodes(formula) {
  return formula.split(/(\d+)/).map((part) => (/^\d+$/.test(part) ? element("sub", {}, part) : part));
}

// "P6_3/mmc" has a screw axis as a subscript, "Fm-3m" a rotoinversion with a bar over its digit.
function spaceGroupNodes(symbol) {
  return symbol.split(/(_\d|-\d)/).map((part) => {
    if (/^_\d$/.test(part)) return element("sub", {}, part[1]);
    if (/^-\d$/.test(part)) return element("span", { class: "bar", "aria-label": `${part[1]} bar` }, part[1]);
    return part;
  });
}

// The diagonal of a tensor, with equal components written once.
function diagonalLines(tensor, std) {
  const groups = [];
  for (const axis of [0, 1, 2]) {
    const group = groups.find(
      (found) => Math.abs(tensor[found[0]][found[0]] - tensor[axis][axis]) < (5e-3 * trace(tensor)) / 3,
    );
    if (group) group.push(axis);
    else groups.push([axis]);
  }
  return groups.map((group) => {
    const value = withStd(tensor[group[0]][group[0]], std?.[group[0]][group[0]], 2);
    const names = groups.length === 1 ? "" : ` ${group.map((axis) => AXES[axis] + AXES[axis]).join(", ")}`;
    return element("span", { class: "line" }, value, element("span", { class: "quiet nowrap" }, names));
  });
}

function strongestTransverse() {
  const active = results.modes.filter((mode) => mode.infrared_active);
  return active.reduce(
    (best, mode) => (!best || mode.intensity_km_per_mol > best.intensity_km_per_mol ? mode : best),
    null,
  );
}

// A longitudinal mode is a zero of q·ε(ω)·q. Its weight in the loss function Im(−1/ε) is 1 / (dε/dω²), up to
// a
// factor that is the same for all, with dε/dω² = sum over modes of S / (ω_TO² − ω²)², S = (Z_m·q)².
function longitudinalWeight(line, vector) {
  const length = Math.hypot(...vector);
  let slope = 0;
  for (const mode of results.modes) {
    const square = mode.wavenumber_per_cm * Math.abs(mode.wavenumber_per_cm);
    const along = mode.mode_effective_charge_e_per_sqrt_u.reduce(
      (sum, value, axis) => sum + value * vector[axis],
      0,
    );
    slope += (along / length / (square - line * Math.abs(line))) ** 2;
  }
  return 1 / slope;
}

function strongestLongitudinal() {
  let best = null;
  for (const way of results.longitudinal) {
    way.lines_per_cm.forEach((line, k) => {
      const weight = longitudinalWeight(line, way.vector);
      if (!best || weight > best.weight * (1 + 1e-6)) {
        best = { weight, line, std: way.std_per_cm?.[k], direction: way.direction };
      }
    });
  }
  return best;
}

function summaryEntry(name, note, ...value) {
  return element(
    "div",
    {},
    element("dt", {}, name),
    element("dd", {}, value, note ? element("small", {}, note) : null),
  );
}

function tensorEntry(index, note, tensor, std, reason) {
  if (!tensor) return summaryEntry(epsilon(index), reason, "—");
  return summaryEntry(epsilon(index), note, diagonalLines(tensor, std));
}

function showTitle() {
  const { formula, spacegroup, structure } = results;
  place("title", formulaNodes(formula));
  const atoms = structure.symbols.length;
  place(
    "subtitle",
    element("span", { class: "space-group" }, spaceGroupNodes(spacegroup.symbol)),
    ` (space group ${spacegroup.number}) · ${atoms} ${atoms === 1 ? "atom" : "atoms"} in the primitive ` +
      "cell, " +
      `${fixed(structure.volume_A3, 2)} Å³`,
  );
  const badge = isUnstable()
    ? element(
        "span",
        { class: "badge bad" },
        results.imaginary.length ? "Unstable: imaginary modes" : "Unstable",
      )
    : element("span", { class: "badge good" }, "Stable");
  place("stability", badge);
}

function showSummary() {
  const transverse = strongestTransverse();
  const longitudinal = strongestLongitudinal();
  const { epsilon_0, epsilon_0_std, epsilon_inf, epsilon_inf_std } = results;
  place(
    "summary",
    tensorEntry(
      "0",
      "static, fixed cell",
      epsilon_0,
      epsilon_0_std,
      isSoft() ? "not defined: unstable" : "not known",
    ),
    tensorEntry("∞", "electronic", epsilon_inf, epsilon_inf_std, "not known"),
    transverse
      ? summaryEntry(
          "Strongest TO",
          transverse.irrep ? ["irrep ", irrepNodes(transverse.irrep)] : null,
          `${wavenumber(transverse.wavenumber_per_cm)} ${PER_CM}`,
        )
      : summaryEntry("Strongest TO", "no mode is infrared active", "—"),
    longitudinal
      ? summaryEntry(
          "Strongest LO",
          `along ${longitudinal.direction}`,
          `${lineText(longitudinal.line, longitudinal.std)} ${PER_CM}`,
        )
      : summaryEntry("Strongest LO", "none", "—"),
  );
}

function showIngredients() {
  const rows = results.ingredients.map(({ name, source }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name[0].toUpperCase() + name.slice(1)),
      element("td", { class: "words" }, source),
    ),
  );
  place("ingredients", table(null, ["Ingredient", "Source"], rows, { class: "facts" }));
}

function imaginaryNotice() {
  const rows = results.imaginary.map((mode) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, mode.where),
      element("td", { class: "number" }, wavenumber(mode.wavenumber_per_cm)),
      element("td", { class: "words" }, mode.pattern),
      element("td", { class: "words" }, mode.meaning),
    ),
  );
  const heads = ["Wave vector", PER_CM, "How the atoms move", "What it means"];
  return element(
    "div",
    { class: "notice bad", role: "note" },
    element("h2", {}, "Unstable: imaginary modes"),
    element(
      "p",
      {},
      "The energy of the structure falls along these modes; an i marks their frequencies. ",
      results.epsilon_0 ? null : "The static dielectric tensor is not defined.",
    ),
    scrolling("Imaginary modes", table(null, heads, rows)),
  );
}

function showNotices() {
  const notices = results.imaginary.length ? [imaginaryNotice()] : [];
  for (const text of results.warnings) {
    notices.push(
      element("p", { class: "notice warning", role: "note" }, element("strong", {}, "Warning: "), text),
    );
  }
  place("notices", notices);
}
