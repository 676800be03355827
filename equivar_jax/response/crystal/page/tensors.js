// Dielectric tensors and Born effective charges, as tables of 3 x 3.

// The standard deviation is below its number, which keeps the columns narrow.
function tensorCell(value, std, digits) {
  const [number, deviation] = withStd(value, std, digits).split(" ± ");
  return element(
    "td",
    { class: "number" },
    number,
    deviation ? element("small", {}, ` ± ${deviation}`) : null,
  );
}

function tensorTable(caption, tensor, std, [rowName, columnName], digits) {
  const rows = tensor.map((row, a) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, `${rowName}${AXES[a]}`),
      row.map((value, b) => tensorCell(value, std?.[a][b], digits)),
    ),
  );
  const corner = element("td", {});
  const head = element(
    "tr",
    {},
    corner,
    AXES.map((axis) => element("th", { scope: "col", class: "number" }, `${columnName}${axis}`)),
  );
  return element(
    "table",
    { class: "tensor" },
    element("caption", {}, caption),
    element("thead", {}, head),
    element("tbody", {}, rows),
  );
}

function tensorCard(index, title, key, reason) {
  const tensor = results[key];
  const caption = [epsilon(index), element("span", { class: "quiet" }, ` ${title}`)];
  if (!tensor)
    return element("div", { class: "card" }, element("p", { class: "caption" }, caption), absent(reason));
  return element(
    "div",
    { class: "card scroll", tabindex: "0", role: "region", "aria-label": title },
    tensorTable(caption, tensor, results[`${key}_std`], ["", ""], 3),
  );
}

function showTensors() {
  const unknown = "It was neither given nor predicted.";
  const unstable =
    "Not defined: a mode at Γ has no restoring force, so that no finite displacement answers a static field.";
  const reason = isSoft() ? unstable : unknown;
  place(
    "tensors",
    element(
      "div",
      { class: "cards wide" },
      tensorCard("0", "static, fixed cell", "epsilon_0", reason),
      tensorCard("∞", "electronic, clamped ions", "epsilon_inf", unknown),
      tensorCard("ionic", "sum over modes", "epsilon_ionic", reason),
    ),
  );
}

function chargeCard(tensor, atom) {
  const symbol = results.structure.symbols[atom];
  const std = results.born_effective_charges_std_e?.[atom];
  const swatch = element("span", {
    class: `swatch fill-${elementColourName(symbol)}`,
    "aria-hidden": "true",
  });
  const caption = [
    swatch,
    element("strong", {}, `${symbol} `),
    element("span", { class: "quiet" }, `atom ${atom + 1} · trace/3 = ${signed(trace(tensor) / 3)} e`),
  ];
  return element(
    "div",
    { class: "card scroll", tabindex: "0", role: "region", "aria-label": `Born charge of atom ${atom + 1}` },
    tensorTable(caption, tensor, std, ["E ", "u "], 3),
  );
}

function signed(value) {
  const text = fixed(value, 3);
  return value > 0 ? `+${text}` : text;
}

// The charges of a large cell are many; they are folded away there.
function showCharges() {
  const tensors = results.born_effective_charges_e;
  const cards = element("div", { class: "cards" }, tensors.map(chargeCard));
  const sum = AXES.map((_, a) =>
    AXES.map((__, b) => tensors.reduce((total, tensor) => total + tensor[a][b], 0)),
  );
  const largest = Math.max(...sum.flat().map(Math.abs));
  place(
    "charges",
    element(
      "p",
      { class: "quiet" },
      "In e. Rows: direction of the field (E); columns: direction of the displacement (u) of the atom. " +
        "The largest component of the sum " +
        `over all atoms, which charge neutrality makes zero, is ${fixed(largest, 4)} e.`,
    ),
    tensors.length > 12
      ? element("details", {}, element("summary", {}, `Tensors of all ${tensors.length} atoms`), cards)
      : cards,
  );
}
