// Everything over the time axis: input, target and prediction, and a heat map for each gate.

const GUTTER = 46;
/** From 0 to 1, and from −1 over 0 to 1: a picture's colours in light and in dark. */
const COLOURS = {
  light: { sequential: ["#f4f6f9", "#6fa3d6", "#0b3d78"], diverging: ["#a8480c", "#f4f6f9", "#1c5fa8"] },
  dark: { sequential: ["#171c24", "#2f6fae", "#cfe6ff"], diverging: ["#f5a052", "#171c24", "#6fb4ff"] },
};
const dark = matchMedia("(prefers-color-scheme: dark)");

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** 256 colours through three stops. */
function ramp(stops) {
  const ends = stops.map(rgb);
  return Array.from({ length: 256 }, (_, index) => {
    const place = index / 127.5;
    const from = Math.min(1, Math.floor(place));
    return ends[from].map((channel, c) => Math.round(channel + (ends[from + 1][c] - channel) * (place - from)));
  });
}

/** The range of a line's colours: its own where that is bounded, or as far as its values go. */
function rangeOf(layer, gate) {
  const known = layer.arrays[gate].filter(Number.isFinite);
  const [low, high] = [known.reduce((a, b) => Math.min(a, b), 0), known.reduce((a, b) => Math.max(a, b), 0)];
  const most = Math.max(-low, high) || 1;
  const [least, greatest] = recorded.lines[gate].range;
  if (least === 0 && greatest === 1) {
    const from = known.reduce((a, b) => Math.min(a, b), high);
    return state.colours === "full" || from === high ? [0, 1] : [from, high];
  }
  if (least === 0) return [0, most];
  const isOutput = gate === recorded.states[0].name && most <= 1;
  const isGate = least === -1 && greatest === 1 && !recorded.states.some(({ name }) => name === gate);
  return (isGate || isOutput) && state.colours === "full" ? [-1, 1] : [-most, most];
}

function tip(event, content) {
  const place = find("tip");
  place.hidden = content === null;
  if (content === null) return;
  place.textContent = content;
  const { width, height } = place.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - width - 6);
  const top = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
  place.style.left = `${Math.max(4, left)}px`;
  place.style.top = `${top}px`;
}

/** What is under the pointer: steps from left to right, rows from the top down. */
function under(event, place, rows) {
  const { left, top, width, height } = place.getBoundingClientRect();
  const index = (at, size, count) => Math.max(0, Math.min(count - 1, Math.floor((at / size) * count)));
  return [index(event.clientX - left, width, recorded.steps), index(event.clientY - top, height, rows)];
}

function stepByPointer(place, describe) {
  place.addEventListener("click", (event) => change({ step: under(event, place, 1)[0] }));
  place.addEventListener("pointermove", (event) => tip(event, describe(event)));
  place.addEventListener("pointerleave", (event) => tip(event, null));
}

/** A plot with the cursor of the current step over it. */
function onTimeAxis(content, height, ...gutter) {
  const cursor = node("div", { class: "cursor" });
  const plot = node("div", { class: "plot", style: `height:${height}px` }, content, cursor);
  const row = node("div", { class: "row" }, node("div", { class: "gutter" }, ...gutter), plot);
  const move = () => {
    cursor.style.left = `${((state.step + 0.5) / recorded.steps) * 100}%`;
  };
  listeners.push(move);
  move();
  return [row, plot];
}

function drawSeries() {
  const panels = new Map();
  for (const line of series) {
    const key = line.kind === "input" ? `input ${line.name}` : `target ${line.name}`;
    panels.set(key, [...(panels.get(key) ?? []), line]);
  }
  const ordered = [...panels.values()].sort((a, b) => (a[0].kind === "input") - (b[0].kind === "input"));
  for (const lines of ordered) {
    const known = lines.flatMap((line) => [...line.values].filter(Number.isFinite));
    if (!known.length) continue;
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const height = lines[0].kind === "input" ? 64 : 96;
    const inner = height - 10;
    const y = (value) => 5 + (high > low ? (1 - (value - low) / (high - low)) * inner : inner / 2);
    const picture = svg("svg", { viewBox: `0 0 ${recorded.steps} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const line of lines) {
      const parts = [[]];
      line.values.forEach((value, step) => {
        if (Number.isFinite(value)) parts.at(-1).push(`${step + 0.5},${y(value).toFixed(2)}`);
        else if (parts.at(-1).length) parts.push([]);
      });
      for (const part of parts.filter((points) => points.length))
        picture.append(svg("polyline", { class: `series ${line.kind}`, points: part.join(" ") }));
    }
    const [row, plot] = onTimeAxis(picture, height, node("span", {}, brief(high)), node("span", {}, brief(low)));
    stepByPointer(plot, (event) => {
      const [step] = under(event, plot, 1);
      const values = lines.map((line) => `${say(line.kind)} ${show(line.values[step])}`).join(" · ");
      return `${lines[0].name} · ${say("step_number", { step: step + recorded.first })} · ${values}`;
    });
    const keys = lines.map((line) => node("span", { class: `key ${line.kind}` }, say(line.kind)));
    const caption = node("div", { class: "caption" }, node("b", {}, lines[0].name), " ", ...keys);
    find("series").append(node("div", { class: "panel" }, caption, row));
  }
}

function brief(value) {
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e5 || size < 1e-2) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll("-", "−");
}

class HeatMap {
  constructor(gate) {
    this.gate = gate;
    this.canvas = node("canvas", { role: "img" });
    this.legend = node("span", { class: "legend" });
    this.top = node("span", {});
    this.bottom = node("span", {});
    const [row, plot] = onTimeAxis(this.canvas, 10, this.top, this.bottom);
    this.plot = plot;
    stepByPointer(plot, (event) => this.describe(event));
    plot.addEventListener("dblclick", (event) => change({ unit: this.order[under(event, plot, this.order.length)[1]] }));
    const caption = node("div", { class: "caption" }, node("b", {}, titleOf(gate)), this.legend);
    this.panel = node("div", { class: "panel" }, caption, row);
  }

  draw() {
    const layer = current();
    const [gate, canvas, steps] = [this.gate, this.canvas, recorded.steps];
    const units = layer.width(gate);
    this.order = units === layer.units ? layer.order(state.order) : Array.from({ length: units }, (_, at) => at);
    const [low, high] = rangeOf(layer, gate);
    const stops = COLOURS[dark.matches ? "dark" : "light"][low < 0 ? "diverging" : "sequential"];
    const colours = ramp(stops);
    [canvas.width, canvas.height] = [steps, units];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const image = context.createImageData(steps, units);
    const values = layer.arrays[gate];
    this.order.forEach((unit, y) => {
      for (let step = 0; step < steps; step++) {
        const share = (values[step * units + unit] - low) / (high - low);
        const colour = colours[Math.max(0, Math.min(255, Math.round(share * 255)))];
        if (colour) image.data.set([...colour, 255], 4 * (y * steps + step));
      }
    });
    context.putImageData(image, 0, 0);
    const height = Math.max(24, Math.min(320, units * Math.max(2, Math.min(10, Math.round(110 / units)))));
    this.plot.style.height = `${height}px`;
    this.top.textContent = `${say("unit")} ${this.order[0]}`;
    this.bottom.textContent = units > 1 ? `${this.order.at(-1)}` : "";
    const bar = node("i", { style: `background:linear-gradient(90deg,${stops.join(",")})` });
    this.legend.replaceChildren(brief(low), bar, brief(high));
    const places = { gate: titleOf(gate), units, steps, low: brief(low), high: brief(high) };
    canvas.setAttribute("aria-label", say("heat_label", places));
  }

  describe(event) {
    const [step, row] = under(event, this.plot, this.order.length);
    const unit = this.order[row];
    const constants = current().constants;
    const tau = constants && unit < constants.length ? ` · τ = ${show(constants[unit])}` : "";
    const value = show(current().value(this.gate, step, unit));
    const where = `${say("step_number", { step: step + recorded.first })} · ${say("unit")} ${unit}`;
    return `${titleOf(this.gate)} · ${where} · ${value}${tau}`;
  }
}

/** Numbers under the last plot: a few round steps. */
function timeAxis() {
  const axis = node("div", { class: "ticks", "aria-hidden": "true" });
  responsive(axis, (width) => {
    const most = Math.max(2, Math.floor(width / 70));
    const raw = recorded.steps / most;
    const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
    const every = Math.max(1, [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw));
    const ticks = [];
    for (let step = Math.ceil(recorded.first / every) * every; step < recorded.first + recorded.steps; step += every) {
      const left = ((step - recorded.first + 0.5) / recorded.steps) * 100;
      ticks.push(node("span", { style: `left:${left}%` }, String(step)));
    }
    axis.replaceChildren(...ticks);
  });
  return node("div", { class: "row" }, node("div", { class: "gutter" }, say("step")), axis);
}

function startHeat() {
  drawSeries();
  const maps = layers[0].gates.map((gate) => new HeatMap(gate));
  find("heat").append(...maps.map((map) => map.panel), timeAxis());
  const draw = () => maps.forEach((map) => map.draw());
  listeners.push((changed) => {
    if (["layer", "order", "colours"].some((key) => changed.includes(key))) draw();
  });
  dark.addEventListener("change", draw);
  draw();
}
