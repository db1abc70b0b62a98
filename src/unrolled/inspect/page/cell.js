// The textbook drawing of the cell, with the values of the step.

const GATE = [56, 34];
const RADIUS = 12;

function arrowHead([x0, y0], [x1, y1]) {
  const length = Math.hypot(x1 - x0, y1 - y0) || 1;
  const [dx, dy] = [(x1 - x0) / length, (y1 - y0) / length];
  const corner = (side) => `${x1 - 8 * dx + side * dy * 4},${y1 - 8 * dy - side * dx * 4}`;
  return `${x1},${y1} ${corner(1)} ${corner(-1)}`;
}

/** Paints a drawing once; returns what sets its values. */
function paintCell(place, drawing) {
  const [x, y, width, height] = drawing.body;
  const picture = svg("svg", { viewBox: `0 0 ${drawing.width} ${drawing.height}`, role: "img" });
  picture.append(svg("rect", { class: "body", x, y, width, height, rx: 16 }));
  const wires = drawing.wires.map((wire) => {
    const points = wire.points.slice();
    if (wire.arrow) {
      // The line ends inside the head, so that a thick one does not stick out of its point.
      const [[x0, y0], [x1, y1]] = points.slice(-2);
      const length = Math.hypot(x1 - x0, y1 - y0);
      points[points.length - 1] = [x1 - ((x1 - x0) / length) * 5, y1 - ((y1 - y0) / length) * 5];
    }
    const line = svg("polyline", { class: `wire ${wire.role}`, points: points.join(" ") });
    picture.append(line);
    if (wire.arrow) {
      const head = arrowHead(...wire.points.slice(-2));
      picture.append(svg("polygon", { class: `head ${wire.role}`, points: head }));
    }
    return [wire.role, line];
  });
  for (const { center: [cx, cy], text, wide } of drawing.operations) {
    picture.append(
      svg("ellipse", { class: "operation", cx, cy, rx: wide ? RADIUS * 2 : RADIUS, ry: RADIUS }),
      svg("text", { class: "symbol", x: cx, y: cy, dy: "0.35em" }, text),
    );
  }
  const fills = drawing.gates.map((gate) => {
    const [left, top] = [gate.center[0] - GATE[0] / 2, gate.center[1] - GATE[1] / 2];
    const fill = svg("rect", { class: `fill ${gate.role}`, x: left, width: GATE[0] });
    const shape = { x: left, y: top, width: GATE[0], height: GATE[1] };
    const label = { class: "symbol", x: gate.center[0], y: gate.center[1], dy: "0.35em" };
    picture.append(
      svg("rect", { class: "gate", ...shape }),
      fill,
      svg("rect", { class: `gate outline ${gate.role}`, ...shape }),
      svg("text", label, gate.text),
    );
    return [gate, fill, top];
  });
  const values = drawing.values.map(({ at: [tx, ty], symbol, role, anchor }) => {
    const number = svg("tspan", { class: "number", "data-role": role });
    const name = svg("tspan");
    const text = svg("text", { class: `value ${role}`, x: tx, y: ty, "text-anchor": anchor });
    text.append(name, " ", number);
    picture.append(text);
    return [role, symbol, name, number];
  });
  place.replaceChildren(picture);

  return (valueOf, label) => {
    picture.setAttribute("aria-label", label);
    for (const [role, line] of wires) {
      if (role === "read") continue; // in whatever units
      const size = Math.min(1, Math.abs(valueOf(role)) || 0);
      line.style.strokeWidth = (1.5 + 3.5 * size).toFixed(2);
    }
    for (const [gate, fill, top] of fills) {
      const value = Math.max(-1, Math.min(1, valueOf(gate.role) || 0));
      const scale = gate.signed ? GATE[1] / 2 : GATE[1];
      const zero = gate.signed ? top + GATE[1] / 2 : top + GATE[1];
      fill.setAttribute("y", value > 0 ? zero - value * scale : zero);
      fill.setAttribute("height", Math.abs(value) * scale);
    }
    for (const [role, symbol, name, number] of values) {
      name.textContent = turned(symbol);
      const value = valueOf(role);
      // Several inputs have no one number.
      number.textContent = role === "read" && Number.isNaN(value) ? "" : show(value);
    }
  };
}

const LEAST_FLOW = 0.7;

/** The drawing of any other cell, made of its equations. */
function paintFlow(place, drawing) {
  const box = node("div", { class: "flow", tabindex: 0 });
  box.innerHTML = drawing;
  place.replaceChildren(box);
  place.closest(".columns").classList.add("stacked");
  const picture = box.querySelector("svg");
  // As small as its text can still be read; beyond that it is scrolled.
  picture.style.minWidth = `${LEAST_FLOW * picture.getAttribute("width")}px`;
  return (_, label) => picture.setAttribute("aria-label", label);
}

/** The same as a table, grouped by what the gates are for. */
const GROUPS = {
  LSTM: [
    ["forget_gate", ["forget", "cell_before", "kept"]],
    ["memory_gate", ["input", "candidate", "written"]],
    ["cell_state", ["cell"]],
    ["output_gate", ["output", "shown", "hidden"]],
  ],
  GRU: [
    ["reset_gate", ["reset"]],
    ["update_gate", ["update", "hidden_before", "kept"]],
    ["candidate_heading", ["candidate", "written"]],
    ["hidden_state", ["hidden"]],
  ],
  RNN: [["hidden_state", ["hidden_before", "hidden"]]],
};

/** Of any other cell: the states before the step, its lines, and the states after it. */
function groupsOf(states) {
  const names = states.map((state) => state.name);
  const lines = Object.keys(recorded.lines).filter((name) => !names.includes(name));
  const groups = [["states_before", names.map(beforeOf)], ["lines", lines], ["states_after", names]];
  return groups.filter(([, roles]) => roles.length);
}

function nameOf(kind, role) {
  if (!kind) return recorded.states.some(({ name }) => name === role) ? `${role}[t]` : role;
  const projected = role === "hidden" && recorded.sizes.output !== recorded.sizes.hidden;
  return say(`${kind}_${role}${projected ? "_projected" : ""}`);
}

/** The step in a sentence. */
function sentenceOf(kind, places) {
  if (kind) return say(`${kind}_sentence`, places);
  const changes = recorded.states.map(({ name }) => say("state_change", { state: name, before: places[beforeOf(name)], after: places[name] }));
  return say("other_sentence", { ...places, changes: changes.join(say("and")) });
}

function startCell() {
  const kind = recorded.textbook;
  const paint = kind ? paintCell(find("cell"), recorded.drawing) : paintFlow(find("cell"), recorded.flow);
  const body = find("quantities").tBodies[0];
  const cells = [];
  for (const [group, roles] of kind ? GROUPS[kind] : groupsOf(recorded.states)) {
    const heading = node("th", { colspan: 3, scope: "rowgroup" }, say(group));
    body.append(node("tr", { class: "group" }, heading));
    for (const role of roles) {
      const value = node("td", { class: "number", "data-quantity": role });
      const bar = node("span", { class: `meter ${roleOf(role)}` });
      const name = nameOf(kind, role);
      const label = node("th", { scope: "row" });
      body.append(node("tr", {}, label, value, node("td", { class: "track" }, bar)));
      cells.push([role, name, label, value, bar]);
    }
  }
  const update = () => {
    const layer = current();
    const valueOf = (role) => {
      if (role === "read") return read(state.step);
      return layer.has(role) ? layer.value(role, state.step, state.unit) : NaN;
    };
    const places = { step: state.step + recorded.first, whose: whose() };
    for (const role of Object.keys(layer.arrays)) places[role] = show(valueOf(role));
    const sentence = sentenceOf(kind, places);
    find("sentence").textContent = sentence;
    paint(valueOf, `${say("cell_label", { cell: recorded.cell })} ${sentence}`);
    for (const [role, name, label, value, bar] of cells) {
      label.textContent = turned(name);
      const number = valueOf(role);
      value.textContent = show(number);
      const size = Math.min(1, Math.abs(number) || 0) * 50;
      bar.style.left = `${number < 0 ? 50 - size : 50}%`;
      bar.style.width = `${size}%`;
    }
  };
  listeners.push(update);
  update();
}

const whose = () =>
  state.unit < 0 ? say("the_mean", { units: current().units }) : say("the_unit", { unit: state.unit });
