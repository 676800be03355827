// How sure the numbers are, how they were made, and what their units mean.

function showCertainty() {
  const { std } = results;
  if (!std) {
    place(
      "certainty",
      element(
        "p",
        {},
        "There is no committee of networks here, so that no number has a standard deviation. A missing " +
          "± does not mean that a number is exact.",
      ),
    );
    return;
  }
  const apart =
    Math.abs(std.times_apart - 1) < 5e-3
      ? "The members are taken as they are."
      : "Members that learnt from the same data are too near to each other: they were first moved " +
        `${fixed(std.times_apart, 2)} times as far apart, which is the calibration of the committee.`;
  place(
    "certainty",
    element(
      "p",
      {},
      `± is the standard deviation over the ${std.members} members of a committee of networks. ` +
        `Everything was computed with the tensors of each member, and their answers were compared. ${apart}`,
    ),
    element(
      "p",
      {},
      "It speaks of the Born effective charges, and of the electronic dielectric tensor where that was " +
        "predicted, alone. Errors of the forces, of the structure, and of the density functional that " +
        "the networks learnt from are not in it; so frequencies of transverse modes have no ±.",
    ),
  );
}

function fact(name, ...value) {
  return element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "words" }, value));
}

function relaxationText() {
  const found = results.relaxation;
  if (!found) return "The structure was taken as it was given.";
  const how = found.cell ? "positions and cell" : "positions in a fixed cell";
  const lengths = (values) => values.map((value) => fixed(value, 3)).join(", ");
  const moves =
    `The largest force went from ${short(found.largest_force_before_eV_per_A)} to ` +
    `${short(found.largest_force_eV_per_A)} eV/Å; the largest displacement is ` +
    `${short(found.largest_displacement_A)} Å.`;
  const strain = found.cell
    ? ` The volume changed by ${fixed(found.volume_change_percent, 2)} %, the edges from ` +
      `${lengths(found.lengths_before_A)} to ${lengths(found.lengths_A)} Å.`
    : "";
  return (
    `${found.converged ? "Converged" : "Not converged"} after ${found.steps} steps of ${how}. ` +
    `${moves}${strain}`
  );
}

function supercellText() {
  const found = results.supercell;
  if (!found) return "None: the force constants were given, or are those of the cell itself.";
  const { matrix } = found;
  const isDiagonal = matrix.every((row, a) => row.every((value, b) => a === b || value === 0));
  const shape = isDiagonal
    ? matrix.map((row, a) => row[a]).join(" × ")
    : `[${matrix.map((row) => row.join(" ")).join("; ")}]`;
  return (
    `${shape} cells of ${found.atoms} atoms, ${found.displacements} displacements of ` +
    `${short(found.distance_A)} Å; its shortest lattice vector has ${fixed(found.shortest_vector_A, 2)} Å.`
  );
}

function showMade() {
  const { equivar_jax: version, checkpoint, potential, command, settings } = results.made_by;
  const listed = Object.entries(settings).map(([name, value]) =>
    fact(element("code", {}, name), typeof value === "string" ? value : JSON.stringify(value)),
  );
  place(
    "made",
    element("pre", { tabindex: "0", "aria-label": "Command" }, element("code", {}, command)),
    table(
      null,
      ["What", "How"],
      [
        fact("equivar_jax", version),
        fact(
          "Network",
          checkpoint === "shipped" ? "the one that comes with the package" : (checkpoint ?? "none"),
        ),
        fact("Potential", potential ?? "none: the forces were given"),
        fact("Relaxation", relaxationText()),
        fact("Supercell", supercellText()),
      ],
      { class: "facts" },
    ),
    listed.length
      ? element(
          "details",
          {},
          element("summary", {}, `All ${listed.length} settings`),
          table(null, ["Setting", "Value"], listed, { class: "facts" }),
        )
      : null,
  );
}

function showUnits() {
  const items = [
    [
      element("strong", {}, "Born effective charges "),
      "Z[field, displacement] in e: the first index is the direction of the field or of the " +
        "polarisation, the second that in which the atom moves. V dP = e Σ Z u, and the force in a " +
        "field E is F = e Zᵀ E.",
    ],
    [
      element("strong", {}, "Dielectric tensors "),
      "are relative to vacuum, of a cell that keeps its shape: ",
      epsilon("0"),
      " = ",
      epsilon("∞"),
      " + ",
      epsilon("ionic"),
      ". Strains, which add to the static tensor of a piezoelectric crystal, are not in it.",
    ],
    [element("strong", {}, "Axes "), "x, y and z are Cartesian, those of the cell in results.json."],
    [
      element("strong", {}, "Wavenumbers "),
      `are in ${PER_CM}: 1 ${PER_CM} = 0.02998 THz = 0.12398 meV. An i marks an imaginary frequency, ` +
        "which is a negative number in results.json; the structure is unstable along such a mode.",
    ],
    [
      element("strong", {}, "Modes "),
      "TO: transverse, without a macroscopic field. LO: longitudinal, with the field of a wave vector " +
        "that goes to zero along a direction.",
    ],
    [
      element("strong", {}, "Intensities "),
      "are integrated over wavenumbers with the natural logarithm, averaged over directions, in km per " +
        "mole of primitive cells.",
    ],
  ];
  place(
    "units",
    element(
      "ul",
      {},
      items.map((item) => element("li", {}, item)),
    ),
  );
}
