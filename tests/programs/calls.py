"""Modules, and calls of them: where the input and the states come from, and how it is called."""

from __future__ import annotations

from typing import Any

from programs.drawing import Drawing, Module, Often, Shape, Value

CELLS: dict[str, Any] = {
    "RNN": Often(3, ("RNN", "")),
    "RNN_relu": Often(2, ("RNN", ', nonlinearity="relu"')),
    "LSTM": Often(5, ("LSTM", "")),
    "LSTM_projected": Often(3, ("LSTM", ", proj_size=P")),
    "GRU": Often(4, ("GRU", "")),
    "RNNCell": Often(1, ("RNNCell", "")),
    "RNNCell_relu": Often(1, ("RNNCell", ', nonlinearity="relu"')),
    "LSTMCell": Often(1, ("LSTMCell", "")),
    "GRUCell": Often(1, ("GRUCell", "")),
}

MODULES = dict.fromkeys(
    ["num_layers", "bidirectional", "no_bias", "batch_first", "dropout", "recompute_every"]
)

# Of an input or a state, of the same shape.
LAYOUTS: dict[str, str] = {
    "strided": "strided({v})",
    "transposed": "transposed({v})",
    "offset": "offset({v})",
    "expanded": "expanded({v})",
    "negated": "torch._neg_view({v})",
    "detached": "{v}.detach()",
    "clone": "{v}.clone()",
    "narrowed": "torch.cat([{v}, {v}]).narrow(0, 0, {v}.shape[0])",
    "of_imaginary": "torch.complex({v}, 2 * {v}).imag",
    "flipped": "{v}.flip(0)",
    "squashed": "torch.tanh({v})",
    "unfolded": "torch.cat([{v}, {v}], -1).unfold(-1, {v}.shape[-1], 1).select(-2, 0)",
}

CONTEXTS: dict[str, Any] = {
    "plain": Often(34, None),
    "no_grad": "with torch.no_grad():",
    "inference_mode": Often(0.3, "with torch.inference_mode():"),
    "enable_grad": Often(0.5, "with torch.enable_grad():"),
    "anomaly": Often(0.7, "with torch.autograd.detect_anomaly(check_nan=False):"),
    "saved_as_they_are": Often(0.5, "with saved_tensors_hooks(lambda t: t, lambda t: t):"),
    "saved_as_clones": Often(0.5, "with saved_tensors_hooks(lambda t: t.clone(), lambda t: t):"),
    "saved_strided": "with saved_tensors_hooks(lambda t: t.detach(), strided):",
    "saved_transposed": "with saved_tensors_hooks(lambda t: t.detach(), transposed):",
    "saved_offset": "with saved_tensors_hooks(lambda t: t.detach(), offset):",
    "saved_on_cpu": Often(0.5, "with save_on_cpu():"),
    "saved_in_bytes": Often(0.5, "with saved_tensors_hooks(to_bytes, from_bytes):"),
}

FORMS: dict[str, Any] = {
    "dense": Often(16, "{m}({args})"),
    "unbatched": Often(4, "{m}({args})"),
    "packed": Often(5, ""),
    "lengths": Often(4, ""),
    "loop": Often(2, ""),
    "checkpoint": Often(1.5, "checkpoint({m}, {args}, use_reentrant=False)"),
    "checkpoint_reentrant": Often(1, "checkpoint({m}, {args}, use_reentrant=True)"),
    "functional_call": Often(2, "functional_call({m}, scaled({m}, 0.8), ({args},))"),
}


def module(d: Drawing) -> None:
    """A module. The second is often alike the first, so that it can share what the first has."""
    entry, (kind, options) = d.entry(CELLS)
    name, width = d.new("m"), d.pick(["I", "H"])
    is_cell, features = kind.endswith("Cell"), [f"cell:{entry}"]
    layers, chosen = 1, {"bidirectional": False, "batch_first": False}
    if d.random() < 0.2:
        options += ", bias=False"
        features.append("module:no_bias")
    if not is_cell:
        if d.random() < 0.3:
            layers = 2
            options += ", num_layers=2"
            features.append("module:num_layers")
            if d.random() < 0.4:
                options += ", dropout=0.4"
                features.append("module:dropout")
        for option, likely in (("bidirectional", 0.2), ("batch_first", 0.3)):
            if d.random() < likely:
                chosen[option] = True
                options += f", {option}=True"
                features.append(f"module:{option}")
    projected = entry == "LSTM_projected"
    if projected and d.size("P") >= d.size("H"):
        projected, options = False, options.replace(", proj_size=P", "")
    d.modules.append(Module(name, kind, width, layers, projected=projected, **chosen))
    d.emit(f"{name} = nn.{kind}({width}, H{options}, **kind)", *features)
    if not is_cell and d.random() < 0.2:
        d.emit(f"recompute_every({name}, {d.pick([1, 2, 3])})", "module:recompute_every")


def source(d: Drawing, shape: Shape, role: str) -> Value:
    """An input or a state: a new leaf, or what earlier steps have given, perhaps in another layout.

    A state is taken from an earlier call's where there is one of its shape.
    """
    same = d.same_shape(shape, "state") if role == "state" and d.random() < 0.7 else []
    same = same or d.same_shape(shape)
    chance = d.random()
    if same and chance < (0.6 if role == "state" else 0.45):
        value = d.pick(same)
        d.note(f"source:{value.role}")
    elif d.values and chance > 0.75:
        other = d.some()
        assert other is not None
        value = d.add(d.new("x"), shape, "other", tracked=other.tracked)
        d.emit(f"{value.name} = fit({other.name}, {', '.join(shape)})", "source:fit")
    else:
        value = d.leaf(shape)
    if d.random() < 0.2:
        entry, template = d.entry(LAYOUTS)
        name = d.new("x")
        d.emit(f"{name} = {template.format(v=value.name)}", f"layout:{entry}")
        tracked = value.tracked and entry != "detached"
        value = d.add(name, shape, "other", tracked=tracked)
    return value


def states(d: Drawing, m: Module, rows: Shape) -> list[Value]:
    """The initial states, none for zeros; at times one tensor is both, or each is of the input."""
    shapes = m.states(rows)
    if d.random() < 0.25:
        return []
    given = [source(d, shapes[0], "state")]
    if len(shapes) == 2:
        alike = shapes[0] == shapes[1] and d.random() < 0.15
        if alike:
            d.note("source:one_for_both")
        given.append(given[0] if alike else source(d, shapes[1], "state"))
    return given


def as_hx(m: Module, given: list[str]) -> str:
    return f"({', '.join(given)})" if m.has_cell_state else given[0]


def call(d: Drawing, m: Module | None = None) -> None:
    """A call of a module, in one of the forms and contexts."""
    m = m or d.pick(d.modules)
    form, template = d.entry(FORMS)
    # With lengths torch's module is called on a PackedSequence, which a hook of it would see.
    if (m.is_cell and form == "packed") or (form == "lengths" and (m.is_cell or m.hooked)):
        form, template = "dense", FORMS["dense"].entry
    rows: Shape = () if form == "unbatched" else ("B",)
    x = source(d, m.input(rows), "input")
    given = states(d, m, rows)
    names = [value.name for value in given]
    hx = as_hx(m, names) if given else ""
    args = f"{x.name}, {hx}" if hx else x.name
    tracked, features = m.trained or any(v.tracked for v in (x, *given)), [f"form:{form}"]
    output, last = d.new("y"), [d.new(p) for p in "hc"[: len(m.states(rows))]]
    shape, target = m.output(rows), as_hx(m, last)
    result = target if m.is_cell else f"{output}, {target}"
    if form == "packed":
        _packed(d, m, x, hx, output, target)
    elif form == "lengths":
        lengths = _lengths(d)
        line = f"{result} = with_lengths({m.name}, {x.name}, {hx or None}, {lengths})"
        context(d, line, *features)
    elif form == "loop":
        _loop(d, m, x, names, output, last)
    else:
        line = f"{result} = {template.format(m=m.name, args=args)}"
        tracked = context(d, line, *features) and tracked
    if not m.is_cell and form != "packed":
        d.add(output, shape, "output", tracked=tracked)
    for name, state in zip(last, m.states(rows), strict=True):
        d.add(name, state, "state", tracked=tracked)


def context(d: Drawing, line: str, *features: str) -> bool:
    """A line, perhaps in a ``with`` block; whether its results may have gradients."""
    entry, opening = d.entry(CONTEXTS)
    source = line if opening is None else f"{opening}\n    {line}"
    d.emit(source, *features, f"context:{entry}")
    return entry not in ("no_grad", "inference_mode")


def _lengths(d: Drawing) -> list[int]:
    return [d.choose.randint(1, d.sizes["T"]) for _ in range(d.sizes["B"])]


def _packed(d: Drawing, m: Module, x: Value, hx: str, output: str, target: str) -> None:
    lengths, packed, result = _lengths(d), d.new("p"), d.new("q")
    if d.random() < 0.5:
        lengths.sort(reverse=True)
    is_sorted = lengths == sorted(lengths, reverse=True) and d.random() < 0.7
    d.emit(
        f"{packed} = pack_padded_sequence({x.name}, {lengths}, batch_first={m.batch_first}, "
        f"enforce_sorted={is_sorted})",
    )
    args = f"{packed}, {hx}" if hx else packed
    context(d, f"{result}, {target} = {m.name}({args})", "form:packed")
    d.packed += [packed, result]
    if d.random() < 0.5:
        d.emit(f"{output} = {result}.data", "form:packed_data")
        d.add(output, (str(sum(lengths)), m.output(("B",))[-1]), "output", tracked=True)
    else:
        padded = f"pad_packed_sequence({result}, batch_first={m.batch_first}, total_length=T)"
        d.emit(f"{output} = {padded}[0]", "form:packed_padded")
        d.add(output, m.output(("B",)), "output", tracked=True)


def _loop(d: Drawing, m: Module, x: Value, given: list[str], output: str, last: list[str]) -> None:
    """The output is the next input, and the states go on."""
    shape = ", ".join(x.shape)
    new, target = f"next_{output}", as_hx(m, last)
    begin = [f"{name} = {state}" for name, state in zip(last, given, strict=False)]
    lines = begin or [
        f"{name} = torch.zeros({', '.join(state)}, **kind)"
        for name, state in zip(last, m.states(("B",)), strict=True)
    ]
    called = f"{m.name}({new}, {target})"
    read = last[0] if m.is_cell else output
    result = target if m.is_cell else f"{output}, {target}"
    lines += [
        f"{new} = {x.name}",
        "for _ in range(2):",
        f"    {result} = {called}",
        f"    {new} = fit({read}, {shape})",
    ]
    d.emit("\n".join(lines), "form:loop")
