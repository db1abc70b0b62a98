// The network unrolled over the steps, and the stack with the shapes of its tensors.

function text(x, y, content, attributes = {}) {
  return svg("text", { x, y, "text-anchor": "middle", ...attributes }, content);
}

function arrow(points, role) {
  return [
    svg("polyline", { class: `wire ${role}`, points: points.join(" ") }),
    svg("polygon", { class: `head ${role}`, points: arrowHead(...points.slice(-2)) }),
  ];
}

/** The size of letters in which a name fits into a box, near enough: 14 pixels if it can be. */
const lettering = (name, width) => Math.min(14, (1.5 * (width - 6)) / name.length).toFixed(1);

function drawUnrolled(width) {
  const layer = current();
  const reverse = layer.direction === "reverse";
  const states = recorded.states.map(({ name }) => name).reverse();
  const output = recorded.states[0];
  const cells = Math.max(3, Math.min(9, 2 * Math.floor(width / 300) + 1));
  const pitch = width / cells;
  const box = [Math.min(96, pitch * 0.52), Math.max(58, 30 * states.length)];
  const top = 66;
  const height = top + box[1] + 76;
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": say("unrolled_label", {
      step: state.step + recorded.first,
      hidden: show(layer.value(output.name, state.step, state.unit)),
    }),
  });
  const half = (cells - 1) / 2;
  const first = Math.max(0, Math.min(state.step - half, recorded.steps - cells));
  const apart = states.length > 1 ? (box[1] - 26) / (states.length - 1) : 0;
  const level = (index) => (states.length > 1 ? top + 14 + index * apart : top + box[1] / 2);
  for (let place = 0; place < cells; place++) {
    const step = first + place;
    if (step >= recorded.steps) break;
    const x = pitch * (place + 0.5);
    const at = (role) => layer.value(role, step, state.unit);
    const now = step === state.step;
    const [left, right] = [x - box[0] / 2, x + box[0] / 2];
    const group = svg("g", { class: now ? "step now" : "step", "data-step": step });
    // What the step receives comes from the edge of the cell before, or from the picture's.
    states.forEach((role, index) => {
      const y = level(index);
      const gap = pitch - box[0];
      const points = reverse ? [[right + gap - 2, y], [right + 1, y]] : [[left - gap + 2, y], [left - 1, y]];
      if (place === 0 && !reverse) points[0] = [2, y];
      if (place === cells - 1 && reverse) points[0] = [width - 2, y];
      group.append(...arrow(points, roleOf(role)));
      const middle = (points[0][0] + points[1][0]) / 2;
      const edge = (place === 0 && !reverse) || (place === cells - 1 && reverse);
      const space = Math.abs(points[0][0] - points[1][0]);
      const { symbol } = recorded.states.find(({ name }) => name === role);
      const label = !edge || space > 44 ? show(at(beforeOf(role))) : symbol[0];
      group.append(text(middle, y - 6, label, { class: `value ${roleOf(role)}` }));
    });
    group.append(
      ...arrow([[x, top + box[1] + 48], [x, top + box[1] + 1]], "read"),
      ...arrow([[x, top - 1], [x, 34]], "hidden"),
      svg("rect", { class: "body", x: left, y: top, width: box[0], height: box[1], rx: 10 }),
      text(x, top + box[1] / 2 - 4, recorded.cell, { class: "symbol", style: `font-size: ${lettering(recorded.cell, box[0])}px` }),
      text(x, top + box[1] / 2 + 15, `t = ${step + recorded.first}`, { class: "muted" }),
      text(x, 24, `${output.symbol} ${show(at(output.name))}`, { class: "value hidden" }),
      text(x, top + box[1] + 66, Number.isNaN(read(step)) ? "x" : `x ${show(read(step))}`, { class: "value read" }),
    );
    group.addEventListener("click", () => change({ step }));
    picture.append(group);
  }
  find("unrolled").replaceChildren(picture);
}

/** [T, B, I] and the like: the letters, and under them the numbers. */
function shape(letters) {
  const sizes = recorded.sizes;
  const values = {
    T: sizes.steps, B: sizes.batch, I: sizes.inputs, H: sizes.hidden, P: sizes.output,
    D: sizes.directions, L: sizes.layers,
  };
  const product = (part) => part.split("·").reduce((whole, name) => whole * (values[name] ?? Number(name)), 1);
  return `[${letters.join(", ")}] = [${letters.map(product).join(", ")}]`;
}

function stackShapes() {
  const { batch_first: first, directions } = recorded.sizes;
  const { out } = recorded;
  const rows = (last) => (first ? ["B", "T", last] : ["T", "B", last]);
  const state = (last) => ["L·D", "B", last];
  return {
    input: shape(rows("I")),
    between: shape(rows(directions > 1 ? `D·${out}` : out)),
    states: recorded.states.map(({ symbol, letter }) => [symbol, shape(state(letter))]),
  };
}

function drawStack(width) {
  const sizes = recorded.sizes;
  const shapes = stackShapes();
  const [high, gap, pad] = [46, 44, 40];
  const shown = Math.min(sizes.layers, 8);
  const height = pad + 30 + shown * (high + gap) + pad + 20;
  // Names of the states stand beside the boxes where there is room, else below the picture.
  const wide = width > 760;
  const middle = width / 2;
  const across = Math.min(wide ? width * 0.36 : width * 0.6, 380);
  const single = sizes.directions > 1 ? across / 2 - 8 : across;
  const states = (n) => shapes.states.map(([symbol, of]) => `${symbol}${n} ${of}`);
  const label = say("stack_label", {
    layers: sizes.layers,
    directions: sizes.directions,
    input: shapes.input,
    output: shapes.between,
    states: states("₀").join(", "),
  });
  const below = wide ? 0 : 20 + 32 * shapes.states.length;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height + below}`, width, height: height + below, role: "img", "aria-label": label });
  let y = height - pad - 20;
  picture.append(text(middle, y + 34, `input ${shapes.input}`, { class: "value read" }));
  for (let level = 0; level < shown; level++) {
    const top = y - gap - high + 14;
    picture.append(...arrow([[middle, y + 14], [middle, top + high + 1]], level ? "hidden" : "read"));
    for (let direction = 0; direction < sizes.directions; direction++) {
      const index = level * sizes.directions + direction;
      const left = sizes.directions > 1 ? middle - across / 2 + direction * (single + 16) : middle - across / 2;
      const group = svg("g", { class: index === state.layer ? "step now" : "step" });
      const name = sizes.directions > 1 ? `${say("layer")} ${level} ${direction ? "←" : "→"}` : `${say("layer")} ${level}`;
      group.append(
        svg("rect", { class: "body", x: left, y: top, width: single, height: high, rx: 10 }),
        text(left + single / 2, top + high / 2 + 5, name, { class: "symbol" }),
      );
      group.addEventListener("click", () => change({ layer: index }));
      picture.append(group);
    }
    const [left, right] = [middle - across / 2, middle + across / 2];
    const line = top + high / 2;
    picture.append(
      ...arrow([[left - 46, line], [left - 1, line]], "cell"),
      ...arrow([[right + 1, line], [right + 46, line]], "cell"),
    );
    if (level < shown - 1)
      picture.append(text(middle + 10, top - 12, shapes.between, { class: "value hidden", "text-anchor": "start" }));
    if (level === shown - 1 && wide) {
      states("₀").forEach((of, at) => picture.append(text(left - 54, line - 4 + 20 * at, of, { class: "value cell", "text-anchor": "end" })));
      states("ₙ").forEach((of, at) => picture.append(text(right + 54, line - 4 + 20 * at, of, { class: "value cell", "text-anchor": "start" })));
    }
    y = top - 14;
  }
  picture.append(
    ...arrow([[middle, y + 14], [middle, y - 12]], "hidden"),
    text(middle, y - 22, `output ${shapes.between}`, { class: "value hidden" }),
  );
  if (!wide)
    [...states("₀").map((of) => `→ ${of}`), ...states("ₙ").map((of) => `${of} →`)].forEach((of, at) =>
      picture.append(text(middle, height + 16 * at + 8, of, { class: "value cell" })),
    );
  find("stack").replaceChildren(picture);
}

function startNetwork() {
  let unrolledWidth = 0;
  let stackWidth = 0;
  responsive(find("unrolled"), (width) => drawUnrolled((unrolledWidth = width)));
  responsive(find("stack"), (width) => drawStack((stackWidth = width)));
  listeners.push((changed) => {
    if (unrolledWidth) drawUnrolled(unrolledWidth);
    if (stackWidth && changed.includes("layer")) drawStack(stackWidth);
  });
}
