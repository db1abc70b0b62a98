// The page's data, and small things that everything uses.

const DATA = JSON.parse(document.getElementById("data").textContent);
const NONE = "—";

/** An array from Python: its bytes an element, and its bytes in base64. */
function unpack(packed) {
  if (packed === null) return null;
  const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
  return new (packed.bytes === 4 ? Float32Array : Float64Array)(bytes.buffer);
}

/** A phrase in the page's language, its {places} filled in. */
function say(key, places = {}) {
  return DATA.words[key].replace(/\{(\w+)\}/g, (_, name) => places[name]);
}

/** Three decimals; of what is too small for that two digits, of what is too large three. */
function show(value) {
  if (Number.isNaN(value)) return NONE;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text = value.toFixed(3);
  if (size >= 100) text = value.toPrecision(3);
  else if (size > 0 && size < 0.0005) text = value.toExponential(1);
  return text.replaceAll("-", "−").replace("e+", "e");
}

function element(space, name, attributes, children) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    // The page's Content-Security-Policy forbids style attributes, not what a script sets so.
    if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
const svg = (name, attributes = {}, ...children) =>
  element("http://www.w3.org/2000/svg", name, attributes, children);
const node = (name, attributes = {}, ...children) => element(null, name, attributes, children);
const find = (id) => document.getElementById(id);

/** What a state before the step is called; no line is called so. */
const beforeOf = (state) => (DATA.recorded.textbook ? `${state}_before` : `${state}[t−1]`);

/** A layer in one direction: any quantity of any step and unit. */
class Layer {
  constructor(packed, steps) {
    this.layer = packed.layer;
    this.direction = packed.direction;
    this.steps = steps;
    this.gates = Object.keys(packed.values);
    this.constants = unpack(packed.constants);
    this.arrays = {};
    for (const [gate, values] of Object.entries(packed.values)) this.arrays[gate] = unpack(values);
    for (const [state, values] of Object.entries(packed.received))
      this.arrays[beforeOf(state)] = unpack(values);
    this.units = DATA.recorded.sizes.hidden;
    if (DATA.recorded.textbook) this.combine();
  }

  /** What the textbooks' drawings show besides. */
  combine() {
    const { forget, input, candidate, output, update, cell } = this.arrays;
    const combine = (first, second, how) => first.map((value, at) => how(value, second[at]));
    const times = (a, b) => a * b;
    if (forget && output) {
      this.arrays.kept = combine(forget, this.arrays.cell_before, times);
      this.arrays.written = combine(input, candidate, times);
      this.arrays.shown = cell.map(Math.tanh);
    }
    if (update) {
      this.arrays.kept = combine(update, this.arrays.hidden_before, times);
      this.arrays.written = combine(update, candidate, (z, n) => (1 - z) * n);
    }
  }

  has(role) {
    return role in this.arrays;
  }

  width(role) {
    return this.arrays[role].length / this.steps;
  }

  /** One unit's value, or the mean over the units where `unit` is −1. */
  value(role, step, unit) {
    const values = this.arrays[role];
    const width = this.width(role);
    if (unit >= width) return NaN;
    if (unit >= 0) return values[step * width + unit];
    let sum = 0;
    for (let at = step * width; at < (step + 1) * width; at++) sum += values[at];
    return sum / width;
  }

  /** The units in the order in which to draw them. */
  order(by) {
    const units = Array.from({ length: this.units }, (_, unit) => unit);
    if (by === "constants" && this.constants) {
      const at = (unit) => (Number.isNaN(this.constants[unit]) ? -1 : this.constants[unit]);
      units.sort((a, b) => at(b) - at(a));
    }
    if (by === "spread") {
      const spread = units.map((unit) => this.spread(unit));
      units.sort((a, b) => spread[b] - spread[a]);
    }
    return units;
  }

  spread(unit) {
    let sum = 0;
    let squares = 0;
    for (let step = 0; step < this.steps; step++) {
      const value = this.value(recorded.states[0].name, step, unit);
      if (Number.isNaN(value)) return -1;
      sum += value;
      squares += value * value;
    }
    return squares / this.steps - (sum / this.steps) ** 2;
  }
}

const recorded = DATA.recorded;
const layers = recorded ? recorded.layers.map((packed) => new Layer(packed, recorded.steps)) : [];
const series = recorded
  ? recorded.series.map((line) => ({ ...line, values: unpack(line.values) }))
  : [];

/** What the page shows; `change` sets parts of it and tells those who listen. */
const top = layers.findLastIndex((layer) => layer.direction === "forward");
const state = { step: 0, unit: -1, layer: top, order: "number", colours: "full" };
const listeners = [];
function change(parts) {
  const changed = Object.keys(parts).filter((key) => state[key] !== parts[key]);
  Object.assign(state, parts);
  if (changed.length) for (const listen of listeners) listen(changed);
}
const current = () => layers[state.layer];

/** In the reverse direction the step before is the later one. */
const turned = (text) =>
  current().direction === "reverse" ? text.replaceAll("ₜ₋₁", "ₜ₊₁").replaceAll("[t−1]", "[t+1]") : text;

/** What a line is called, and the colour of what it is: a textbook's role, the output, a state, a gate. */
const titleOf = (name) => recorded.lines[name].title;
function roleOf(name) {
  if (recorded.textbook) return name;
  const place = recorded.states.findIndex((state) => [state.name, beforeOf(state.name)].includes(name));
  if (place >= 0) return place ? "cell" : "hidden";
  return recorded.lines[name].range[0] === 0 ? "forget" : "candidate";
}

/** x_t, of a module with one input. */
function read(step) {
  const inputs = series.filter((line) => line.kind === "input");
  return recorded.sizes.inputs === 1 && inputs.length === 1 && current().layer === 0
    ? inputs[0].values[step]
    : NaN;
}

/** Draws now, and anew whenever the place's width changes. */
function responsive(place, draw) {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(place.clientWidth);
    if (now && now !== width) draw((width = now));
  }).observe(place);
}
