// What was measured of the memory: gradient by lag, spectrum, time constants, pinned gates.

const MARGIN = { left: 52, right: 14, top: 18, bottom: 34 };

/** The frame of a chart in real pixels: its scales are functions of a value. */
function frame(width, height, label, x, y) {
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  const scale = ({ low, high, log }, from, to) => (value) => {
    const [a, b, v] = log ? [low, high, value].map(Math.log10) : [low, high, value];
    return from + (b > a ? (v - a) / (b - a) : 0.5) * (to - from);
  };
  const [sx, sy] = [scale(x, left, right), scale(y, bottom, top)];
  for (const tick of y.ticks) {
    picture.append(svg("line", { class: "grid", x1: left, x2: right, y1: sy(tick), y2: sy(tick) }));
    picture.append(svg("text", { class: "tick", x: left - 6, y: sy(tick), dy: "0.35em", "text-anchor": "end" }, y.format(tick)));
  }
  for (const tick of x.ticks)
    picture.append(svg("text", { class: "tick", x: sx(tick), y: bottom + 16, "text-anchor": "middle" }, x.format(tick)));
  picture.append(svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }));
  picture.append(svg("text", { class: "tick", x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, x.name));
  return { picture, sx, sy, left, right, top, bottom };
}

function roundTicks(low, high, most) {
  const raw = (high - low) / Math.max(1, most) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const every = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const ticks = [];
  for (let at = Math.ceil(low / every - 1e-9); at * every <= high + every * 1e-9; at++) ticks.push(at * every);
  return ticks;
}

/** Powers of ten; where there are few of them, 2 and 5 times these as well. */
function decades(low, high, most) {
  if (high / low < 1000) {
    const powers = Array.from({ length: 6 }, (_, n) => 10 ** (Math.floor(Math.log10(low)) + n));
    return powers.flatMap((power) => [power, 2 * power, 5 * power]).filter((at) => at >= low * 0.999 && at <= high * 1.001);
  }
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const every = Math.max(1, Math.ceil((last - first + 1) / most));
  const ticks = [];
  for (let power = last; power >= first; power -= every) ticks.push(10 ** power);
  return ticks;
}

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
function powerOfTen(value) {
  const power = Math.round(Math.log10(value));
  if (Math.abs(power) < 3) return String(Number(value.toPrecision(1)));
  return `10${[...String(power)].map((c) => SUPERSCRIPT[c]).join("")}`;
}

function drawLag(place, width) {
  const d = DATA.diagnosis;
  const share = (values) => values && Array.from(values, (value) => value / values[0]);
  const [gradient, saliency] = [share(unpack(d.gradient_by_lag)), share(unpack(d.saliency_by_lag))];
  const usable = (value) => Number.isFinite(value) && value > 1e-30;
  const all = [...gradient, ...(saliency ?? []), d.horizon_share].filter(usable);
  const [low, high] = [Math.min(...all), Math.max(...all, 1)].map(Math.log10);
  const range = { low: 10 ** Math.floor(low), high: 10 ** Math.ceil(high), log: true };
  const last = gradient.length - 1;
  const places = { lags: last, left: brief(gradient[last]), horizon: d.horizon, share: `${brief(100 * d.horizon_share)}%` };
  const chart = frame(
    width, 260, say(d.horizon < last ? "lag_label" : "lag_label_whole", places),
    { low: 0, high: last, ticks: roundTicks(0, last, width / 80), format: String, name: say("lag_axis") },
    { ...range, ticks: decades(range.low, range.high, 7), format: powerOfTen },
  );
  const { picture, sx, sy, left, right, top, bottom } = chart;
  const line = (values, role) => {
    const points = values.flatMap((value, lag) => (usable(value) ? [`${sx(lag).toFixed(1)},${sy(value).toFixed(1)}`] : []));
    picture.append(svg("polyline", { class: `series ${role}`, points: points.join(" ") }));
  };
  const level = sy(d.horizon_share);
  picture.append(svg("line", { class: "mark", x1: left, x2: right, y1: level, y2: level }));
  picture.append(svg("line", { class: "mark strong", x1: sx(d.horizon), x2: sx(d.horizon), y1: top, y2: bottom }));
  const late = d.horizon > last / 2;
  const at = { class: "note", x: sx(d.horizon) + (late ? -6 : 6), y: bottom - 8, "text-anchor": late ? "end" : "start" };
  picture.append(svg("text", at, say(d.horizon < last ? "horizon" : "horizon_whole", places)));
  if (saliency) line(saliency, "input");
  line(gradient, "gradient");
  const keys = [["gradient", "lag_gradient"], ...(saliency ? [["input", "lag_saliency"]] : [])];
  place.replaceChildren(picture, node("p", { class: "keys" }, ...keys.map(([role, key]) => node("span", { class: `key ${role}` }, say(key)))));
  picture.addEventListener("pointermove", (event) => {
    const x = ((event.clientX - picture.getBoundingClientRect().left - left) / (right - left)) * last;
    const lag = Math.max(0, Math.min(last, Math.round(x)));
    tip(event, `${say("lag_axis")} ${lag} · ${say("lag_gradient")} ${show(gradient[lag])}${saliency ? ` · ${say("lag_saliency")} ${show(saliency[lag])}` : ""}`);
  });
  picture.addEventListener("pointerleave", (event) => tip(event, null));
}

function drawSpectrum(place, width) {
  const exponents = Array.from(unpack(DATA.diagnosis.exponents));
  const known = exponents.filter(Number.isFinite);
  const [low, high] = [Math.min(...known, 0), Math.max(...known, 0)];
  const places = { largest: show(exponents[0]), count: exponents.length };
  const { picture, sx, sy } = frame(
    width, 260, say("spectrum_label", places),
    { low: 0.3, high: exponents.length + 0.7, ticks: roundTicks(1, exponents.length, 6).filter(Number.isInteger), format: String, name: say("spectrum_axis") },
    { low: low - 0.04 * (high - low), high, ticks: roundTicks(low, high, 5), format: brief },
  );
  exponents.forEach((value, index) => {
    if (!Number.isFinite(value)) return;
    const x = sx(index + 1);
    picture.append(svg("line", { class: "stem", x1: x, x2: x, y1: sy(0), y2: sy(value) }));
    picture.append(svg("circle", { class: "dot", cx: x, cy: sy(value), r: 2.5 }));
  });
  picture.append(svg("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: sy(0), y2: sy(0) }));
  picture.append(svg("text", { class: "note", x: width - MARGIN.right, y: MARGIN.top - 5, "text-anchor": "end" }, `λ₁ = ${show(exponents[0])}`));
  place.replaceChildren(picture);
}

/** A histogram for each of the three answers, one above the other on one axis. */
function drawConstants(place, width) {
  const kinds = Object.entries(DATA.diagnosis.time_constants).map(([kind, packed]) => [kind, Array.from(unpack(packed)).filter((v) => v > 0)]);
  const finite = kinds.flatMap(([, values]) => values.filter(Number.isFinite));
  if (!finite.length) return place.closest("figure").remove();
  const half = (value, round) => 10 ** (round(Math.log10(value) * 2) / 2);
  const low = half(Math.min(...finite), Math.floor);
  const high = Math.max(half(Math.max(...finite), Math.ceil), low * 10);
  const bins = Math.max(8, Math.min(30, Math.floor(width / 16)));
  const count = (values) => {
    const found = new Array(bins).fill(0);
    for (const value of values) {
      const at = Number.isFinite(value) ? (Math.log10(value / low) / Math.log10(high / low)) * bins : bins;
      found[Math.max(0, Math.min(bins - 1, Math.floor(at)))] += 1;
    }
    return found;
  };
  const median = (values) => {
    const ordered = [...values].sort((a, b) => a - b);
    const middle = (ordered.length - 1) / 2;
    return (ordered[Math.floor(middle)] + ordered[Math.ceil(middle)]) / 2;
  };
  const label = kinds.map(([kind, values]) => say("constants_label", { kind: say(`constants_${kind}`), median: show(median(values)), units: values.length })).join(" ");
  const height = 84 * kinds.length + MARGIN.bottom + 8;
  const { picture, sx } = frame(
    width, height, label,
    { low, high, log: true, ticks: decades(low, high, 8), format: powerOfTen, name: say("constants_axis") },
    { low: 0, high: 1, ticks: [], format: String },
  );
  kinds.forEach(([kind, values], row) => {
    const base = 84 * (row + 1) + 4;
    const counts = count(values);
    const most = Math.max(...counts);
    const edge = (bin) => sx(low * (high / low) ** (bin / bins));
    counts.forEach((n, bin) => {
      const size = (n / most) * 50;
      if (n) picture.append(svg("rect", { class: `bar ${kind}`, x: edge(bin) + 0.5, y: base - size, width: edge(bin + 1) - edge(bin) - 1, height: size }));
    });
    picture.append(svg("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: base, y2: base }));
    picture.append(svg("text", { class: "note", x: MARGIN.left, y: base - 58 }, `${say(`constants_${kind}`)} · ${say("median")} ${show(median(values))}`));
    picture.append(svg("text", { class: "tick", x: MARGIN.left - 6, y: base - 44, "text-anchor": "end" }, String(most)));
  });
  place.replaceChildren(picture);
}

/** For each layer and gate the share of the time at which it is pinned low, open, pinned high. */
function drawPinned(place) {
  const rows = DATA.diagnosis.saturation.map(({ layer, gate, low, high }) => {
    const name = `${say("layer")} ${layer}, ${gate}`;
    const percent = (share) => `${(100 * share).toFixed(0)}%`;
    const part = (kind, share) => node("i", { class: kind, style: `width:${100 * share}%` });
    const bar = node("div", { class: "pinned", "aria-hidden": "true" }, part("low", low), part("open", 1 - low - high), part("high", high));
    return node("tr", {}, node("th", { scope: "row" }, name), node("td", { class: "number" }, percent(low)), node("td", { class: "wide" }, bar), node("td", { class: "number" }, percent(high)));
  });
  if (!rows.length) return place.closest("figure").remove();
  const heads = ["gate", "pinned_low", "pinned_between", "pinned_high"].map((key) => node("th", { scope: "col" }, say(key)));
  place.append(node("table", {}, node("thead", {}, node("tr", {}, ...heads)), node("tbody", {}, ...rows)));
}

function startCharts() {
  const drop = (id) => find(id).closest("figure").remove();
  responsive(find("lag"), (width) => drawLag(find("lag"), width));
  if (DATA.diagnosis.exponents) responsive(find("spectrum"), (width) => drawSpectrum(find("spectrum"), width));
  else drop("spectrum");
  if (Object.keys(DATA.diagnosis.time_constants).length)
    responsive(find("constants"), (width) => drawConstants(find("constants"), width));
  else drop("constants");
  drawPinned(find("pinned"));
}
