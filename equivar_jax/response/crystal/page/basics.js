"use strict";
// What all parts of the page share: the results, elements, and numbers as text.

const results = JSON.parse(document.getElementById("results").textContent);
const AXES = ["x", "y", "z"];
const THZ = 0.0299792458; // speed of light in cm per ps: one cm⁻¹ in THz
const MEV = 0.1239841984; // h c: one cm⁻¹ in meV
const PER_CM = "cm⁻¹";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false)
      node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// Texts become text nodes, so that nothing in a file's name is ever read as HTML.
function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  const space = document.getElementById("namespace").namespaceURI;
  return fill(document.createElementNS(space, tag), attributes, children);
}

function place(id, ...children) {
  document.getElementById(id).replaceChildren(...children.flat(Infinity).filter(Boolean));
}

function absent(...reason) {
  return element("p", { class: "absent" }, ...reason);
}

// With a true minus sign, and no sign before a zero.
function fixed(value, digits) {
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

function superscript(power) {
  return String(power).replace(/[-\d]/g, (sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]));
}

// Three or four significant digits, for numbers of any size.
function short(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) {
    const [digits, power] = value.toExponential(2).split("e");
    return `${digits.replace("-", "−")} × 10${superscript(Number(power))}`;
  }
  return fixed(value, size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

// The standard deviation decides the digits: it has two significant ones, unless that were more digits than
// are of use. What symmetry makes zero is a zero.
function withStd(value, std, digits) {
  if (std === null || std === undefined) return fixed(value, digits);
  const smallest = 0.5 * 10 ** -digits;
  if (std < smallest && Math.abs(value) < smallest) return "0";
  const needed = std < smallest ? digits : Math.min(Math.max(1 - Math.floor(Math.log10(std)), 0), digits);
  return `${fixed(value, needed)} ± ${fixed(std, needed)}`;
}

// Imaginary frequencies are negative numbers in the results, and have an i here.
function wavenumber(value, digits = 1) {
  return value < -0.5 * 10 ** -digits ? `${fixed(-value, digits)}i` : fixed(Math.max(value, 0), digits);
}

// At Γ, where a mode without a restoring force leaves no finite answer to a static field.
function isSoft() {
  const isImaginary = results.modes.some((mode) => mode.wavenumber_per_cm < 0);
  return isImaginary || (results.epsilon_inf !== null && results.epsilon_0 === null);
}

function isUnstable() {
  return results.imaginary.length > 0 || isSoft();
}

// Elements with the most frequent first, which have the colours in this order.
function elementsByNumber() {
  const counts = new Map();
  for (const symbol of results.structure.symbols) counts.set(symbol, (counts.get(symbol) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]).map(([symbol]) => symbol);
}

// The colours are properties of the style sheet, so that they follow light, dark and paper.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function elementColourName(symbol) {
  return `series-${elementsByNumber().indexOf(symbol) % 7}`;
}

function trace(tensor) {
  return tensor[0][0] + tensor[1][1] + tensor[2][2];
}

function table(caption, heads, rows, attributes = {}) {
  const headCells = heads.map((head) => element("th", { scope: "col" }, head));
  return element(
    "table",
    attributes,
    caption ? element("caption", {}, caption) : null,
    element("thead", {}, element("tr", {}, headCells)),
    element("tbody", {}, rows),
  );
}

// A wide table scrolls in its own box, also by the keyboard.
function scrolling(label, content) {
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, content);
}

// Of a symmetric and an electronic name: ε with a subscript.
function epsilon(index) {
  return ["ε", element("sub", {}, index)];
}
