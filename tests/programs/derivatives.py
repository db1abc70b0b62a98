"""What is differentiated, how often, and by which of torch's ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from programs.calls import as_hx, call, source, states
from programs.drawing import Drawing, Often

TERMS = (
    "{v}.sum()",
    "{v}.square().sum()",
    "{v}.square().sum()",
    "torch.tanh({v}).sum()",
    "(noise({v}) * {v}).sum()",
    "{v}[0].sum()",
    "{v}[..., -1].square().mean()",
)


def loss(d: Drawing) -> str | None:
    """A sum over one to three values; None where there is nothing to differentiate."""
    terms = []
    for _ in range(d.pick([1, 1, 2, 2, 3])):
        value = d.some(tracked=True)
        if value is None:
            return None
        terms.append(d.pick(TERMS).format(v=value.name))
    name = d.new("loss")
    d.emit(f"{name} = {' + '.join(terms)}")
    return name


def inputs(d: Drawing) -> str:
    """What to differentiate by: some of the values, weights, or both, as a list."""
    chosen: list[str] = []
    if d.random() < 0.7:
        chosen += [f"*{m.name}.parameters()" for m in d.modules if d.random() < 0.8]
    elif d.random() < 0.5:
        m = d.pick(d.modules)
        chosen += [f"{m.name}.{weight}" for weight in m.weights if d.random() < 0.6]
    tracked = [v for v in d.values if v.tracked]
    leaves = [v for v in tracked if v.role == "leaf"]
    chosen += [v.name for v in leaves if d.random() < 0.8]
    if tracked and d.random() < 0.3:
        chosen.append(d.pick(tracked).name)
    if not chosen:
        chosen = [v.name for v in tracked] or [f"*{d.modules[0].name}.parameters()"]
    return f"[{', '.join(dict.fromkeys(chosen))}]"


def retain(d: Drawing) -> bool:
    """Whether to keep the graph: mostly where another derivative follows that will need it."""
    return d.goes_on and d.random() < 0.95


def _of_loss(*lines: str) -> Callable[[Drawing], None]:
    """Of a sum over values."""

    def emit(d: Drawing) -> None:
        if (name := loss(d)) is None:
            return
        g, names = d.new("g"), {"loss": name, "inputs": inputs(d), "retain": retain(d)}
        names |= {"g": g, "gg": f"{g}_2", "ggg": f"{g}_3", "m": d.pick(d.modules).name}
        for line in lines:
            d.emit(line.format(**names), "derivative")

    return emit


def _again(*lines: str) -> Callable[[Drawing], None]:
    """Of a gradient that has a graph of its own."""
    return _of_loss("{g} = grad({loss}, {inputs}, create_graph=True)", *lines)


def _of_output(line: str) -> Callable[[Drawing], None]:
    """Of a tensor, with gradients that are given."""

    def emit(d: Drawing) -> None:
        value = d.some(tracked=True)
        if value is None:
            return
        names = {"v": value.name, "inputs": inputs(d), "g": d.new("g"), "d": d.new("d")}
        d.emit(line.format(**names, retain=retain(d)), "derivative")

    return emit


def _given(gradient: str, options: str = "") -> Callable[[Drawing], None]:
    return _of_output(
        f"{{d}} = {gradient}\n"
        f"{{g}} = grad({{v}}, {{inputs}}, grad_outputs={{d}}, retain_graph={{retain}}{options})"
    )


def _maml(d: Drawing) -> None:
    m = d.pick(d.modules)
    if m.parametrized or (name := loss(d)) is None:
        return
    g, fast, outer = d.new("g"), d.new("fast"), d.new("loss")
    line = f"{g} = grad({name}, [*{m.name}.parameters()], create_graph=True)"
    d.emit(line, "derivative")
    d.emit(f"{fast} = fast_weights({m.name}, {g})")
    x = source(d, m.input(("B",)), "input")
    d.emit(f"{outer} = total(functional_call({m.name}, {fast}, ({x.name},)))", "derivative")
    d.emit(f"{outer}.backward(retain_graph={retain(d)})", "derivative")


def _functional(line: str) -> Callable[[Drawing], None]:
    """Of a module as a function of its input."""

    def emit(d: Drawing) -> None:
        # torch.vmap, which is a loop for torch's modules, knows no full backward hook.
        fit = [m for m in d.modules if not (m.parametrized or (m.hooked and "by_sample" in line))]
        if not fit:
            return
        m = d.pick(fit)
        if m.layers == 2:
            d.emit(f"{m.name}.eval()")
        x, given = source(d, m.input(("B",)), "input"), states(d, m, ("B",))
        hx = as_hx(m, [value.name for value in given]) if given else "None"
        names = {"m": m.name, "x": x.name, "hx": hx, "g": d.new("g")}
        d.emit(line.format(**names), "derivative")

    return emit


def _once_more(d: Drawing) -> None:
    """A second call after a backward pass through the first, which goes on from its states."""
    _of_loss("{loss}.backward(retain_graph=True)")(d)
    call(d, d.pick(d.modules))
    _of_loss("{loss}.backward()")(d)


DERIVATIVES: dict[str, Any] = {
    "backward": Often(8, _of_loss("{loss}.backward(retain_graph={retain})")),
    "backward_inputs": Often(
        2, _of_loss("{loss}.backward(inputs={inputs}, retain_graph={retain})")
    ),
    "backward_create_graph": _of_loss("{loss}.backward(create_graph=True)"),
    "backward_twice": Often(0.7, _of_loss("{loss}.backward()", "{loss}.backward()")),
    "backward_twice_retained": _of_loss(
        "{loss}.backward(retain_graph=True)", "{loss}.backward(retain_graph={retain})"
    ),
    "once_more": _once_more,
    "anomaly": Often(
        0.5,
        _of_loss(
            "with torch.autograd.detect_anomaly(check_nan=False):\n"
            "    {loss}.backward(retain_graph={retain})"
        ),
    ),
    "sgd": _of_loss(
        "{loss}.backward(retain_graph={retain})",
        "torch.optim.SGD({m}.parameters(), 0.1).step()",
    ),
    "zero_grad": Often(0.5, _of_loss("{loss}.backward(retain_graph={retain})", "{m}.zero_grad()")),
    "grad": Often(5, _of_loss("{g} = grad({loss}, {inputs}, retain_graph={retain})")),
    "grad_unused_refused": Often(0.5, _of_loss("{g} = grad({loss}, {inputs}, allow_unused=False)")),
    "grad_materialized": _of_loss(
        "{g} = grad({loss}, {inputs}, materialize_grads=True, retain_graph={retain})"
    ),
    "grad_batched": _given("torch.randn(2, *{v}.shape, **kind)", ", is_grads_batched=True"),
    "grad_given_strided": _given("strided(noise({v}))"),
    "grad_given_negated": _given("torch._neg_view(noise({v}))"),
    "grad_given_expanded": _given("torch.ones((), **kind).expand_as({v})"),
    "double_backward_trick": Often(
        1,
        _of_output("{g} = forward_by_backward({v}, {inputs})"),
    ),
    "penalty": Often(
        4,
        _again("{gg} = grad({loss} + squared({g}), {inputs}, retain_graph={retain})"),
    ),
    "penalty_backward": Often(3, _again("({loss} + squared({g})).backward(retain_graph={retain})")),
    "hessian_product": Often(2, _again("{gg} = grad(dot({g}), {inputs}, retain_graph=True)")),
    "hessian_products_batched": Often(
        0.5,
        _again(
            "{gg} = grad([next(nested({g}))], {inputs}, "
            "grad_outputs=[torch.randn(2, *next(nested({g})).shape, **kind)], "
            "is_grads_batched=True)"
        ),
    ),
    "third": Often(
        0.7,
        _again(
            "{gg} = grad(squared({g}), {inputs}, create_graph=True)",
            "{ggg} = grad(squared({gg}), {inputs}, retain_graph={retain})",
        ),
    ),
    "graph_unused": Often(1, _again("{loss}.backward(retain_graph={retain})")),
    "maml": Often(1.5, _maml),
    "func_grad": Often(
        0.4,
        _functional("{g} = torch.func.grad(lambda x: total({m}(x, {hx})))({x}.detach())"),
    ),
    "func_grad_of_grad": Often(
        0.3,
        _functional(
            "{g} = torch.func.grad(lambda x: total(torch.func.grad("
            "lambda x: total({m}(x, {hx})))(x)))({x}.detach())"
        ),
    ),
    "func_grad_of_weights": Often(
        0.4,
        _functional(
            "{g} = torch.func.grad(lambda w: total(functional_call({m}, w, ({x}, {hx}))))("
            "scaled({m}, 0.9))"
        ),
    ),
    "vjp": Often(
        0.4,
        _functional(
            "{g} = torch.func.vjp(lambda x: first({m}(x, {hx})), {x})\n"
            "{g} = [{g}[0], {g}[1](torch.ones_like({g}[0]))]"
        ),
    ),
    "jvp": Often(
        0.4,
        _functional(
            "{g} = torch.func.jvp(lambda x: first({m}(x, {hx})), ({x},), (torch.ones_like({x}),))"
        ),
    ),
    "jacrev": Often(
        0.3, _functional("{g} = torch.func.jacrev(lambda x: first({m}(x, {hx})))({x})")
    ),
    "jacfwd": Often(
        0.2, _functional("{g} = torch.func.jacfwd(lambda x: first({m}(x, {hx})))({x})")
    ),
    "vmap": Often(
        0.4,
        _functional(
            "{g} = by_sample(lambda x: tuple(nested({m}(x, {hx}))), torch.stack([{x}, 2 * {x}]), "
            "{m})"
        ),
    ),
    "vmap_of_grad": Often(
        0.4,
        _functional(
            "{g} = by_sample(torch.func.grad(lambda x: total({m}(x, {hx}))), "
            "torch.stack([{x}, 2 * {x}]).detach(), {m})"
        ),
    ),
    "dual": Often(
        0.4,
        _functional("{g} = dual(lambda x: {m}(x, {hx}), {x}, torch.ones_like({x}))"),
    ),
    "hessian": Often(
        0.15,
        _functional("{g} = torch.autograd.functional.hessian(lambda x: total({m}(x, {hx})), {x})"),
    ),
    "hvp": Often(
        0.3,
        _functional(
            "{g} = torch.autograd.functional.hvp(lambda x: total({m}(x, {hx})), {x}, "
            "torch.ones_like({x}))"
        ),
    ),
    "jacobian": Often(
        0.2,
        _functional(
            "{g} = torch.autograd.functional.jacobian(lambda x: first({m}(x, {hx})), {x}, "
            "create_graph=True)"
        ),
    ),
    "jacobian_vectorized": Often(
        0.2,
        _functional(
            "{g} = torch.autograd.functional.jacobian(lambda x: first({m}(x, {hx})), {x}, "
            "vectorize=True)"
        ),
    ),
}


def derivative(d: Drawing) -> None:
    entry, emit = d.entry(DERIVATIVES)
    before = len(d.steps)
    emit(d)
    if len(d.steps) > before:
        d.mark(before, f"derivative:{entry}")
