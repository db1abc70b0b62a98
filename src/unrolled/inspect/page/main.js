// The controls, and what starts the rest.

function startControls() {
  const [slider, play, unit, layer, order] = ["step", "play", "unit", "layer", "order"].map(find);
  const last = recorded.steps - 1;
  slider.max = last;
  const option = (value, label) => node("option", { value }, label);

  const fillUnits = () => {
    const { units, constants } = current();
    const name = (at) => (constants ? `${at} (τ ${show(constants[at])})` : String(at));
    const options = Array.from({ length: units }, (_, at) => option(at, name(at)));
    unit.replaceChildren(option(-1, say("mean_option")), ...options);
    if (state.unit >= units) change({ unit: -1 });
    unit.value = state.unit;
    const orders = ["number", ...(constants ? ["constants"] : []), "spread"];
    if (!order.children.length) order.append(...orders.map((key) => option(key, say(`order_${key}`))));
  };
  layers.forEach((each, index) => {
    const direction = recorded.sizes.directions > 1 ? `, ${say(each.direction)}` : "";
    layer.append(option(index, `${each.layer}${direction}`));
  });
  find("pick-layer").hidden = layers.length < 2;

  const go = (step) => change({ step: Math.max(0, Math.min(last, step)) });
  slider.addEventListener("input", () => go(Number(slider.value)));
  unit.addEventListener("change", () => change({ unit: Number(unit.value) }));
  layer.addEventListener("change", () => change({ layer: Number(layer.value) }));
  order.addEventListener("change", () => change({ order: order.value }));
  const colours = find("colours");
  colours.append(...["full", "data"].map((key) => option(key, say(`colours_${key}`))));
  colours.addEventListener("change", () => change({ colours: colours.value }));

  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = say("play");
    // Spoken at every step it would never end.
    find("sentence").setAttribute("aria-live", "polite");
  };
  const start = () => {
    if (state.step === last) go(0);
    find("sentence").setAttribute("aria-live", "off");
    play.textContent = say("pause");
    timer = setInterval(() => (state.step < last ? go(state.step + 1) : stop()), 250);
  };
  play.addEventListener("click", () => (timer === null ? start() : stop()));

  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("select, input")) return;
    go(state.step + by);
    event.preventDefault();
  });

  const update = (changed) => {
    if (changed.includes("layer")) {
      layer.value = state.layer;
      fillUnits();
    }
    unit.value = state.unit;
    slider.value = state.step;
    const step = state.step + recorded.first;
    find("where").textContent = say("where", { step, last: last + recorded.first });
    slider.setAttribute("aria-valuetext", say("step_number", { step }));
  };
  listeners.push(update);
  update(["layer"]);
}

if (recorded) {
  startControls();
  startCell();
  startNetwork();
  startHeat();
}
if (DATA.diagnosis) startCharts();
