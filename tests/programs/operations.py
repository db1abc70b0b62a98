"""What is computed from outputs and states before it is read again or differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from programs.drawing import Drawing, Shape


def same(shape: Shape) -> Shape:
    return shape


# What is written, and the shape that it has.
OPERATIONS: dict[str, tuple[str, Callable[[Shape], Shape]]] = {
    "relu": ("torch.relu({v})", same),
    "tanh": ("torch.tanh({v})", same),
    "exp": ("({v} * 0.5).clamp(max=1).exp()", same),
    "product": ("{v} * {w}", same),
    "square": ("{v} * {v}", same),
    "sum_of_two": ("{v} + {w}", same),
    "stack": ("torch.stack([{v}, {w}]).sum(0)", same),
    "cat": ("torch.cat([{v}, {w}])[1:][:len({v})]", same),
    "softmax": ("{v}.softmax(-1)", same),
    "cumsum": ("{v}.cumsum(0)", same),
    "dropout": ("F.dropout({v}, 0.3)", same),
    "where": ("torch.where({v} > 0, {v}, {w})", same),
    "layer_norm": ("F.layer_norm({v} + noise({v}), {v}.shape[-1:])", same),
    "noise": ("{v} + noise({v})", same),
    "matmul": ("{v} @ {v}.transpose(-1, -2)", lambda s: (*s[:-1], s[-2])),
    "linear": ("F.linear({v}, torch.randn(3, {v}.shape[-1], **kind))", lambda s: (*s[:-1], "3")),
    "last": ("{v}[-1]", lambda s: s[1:]),
    "first_alone": ("{v}[:1]", lambda s: ("1", *s[1:])),
    "unbind": ("{v}.unbind(0)[0]", lambda s: s[1:]),
    "max": ("{v}.max(0).values", lambda s: s[1:]),
    "mean": ("{v}.mean(0)", lambda s: s[1:]),
    "sum": ("{v}.sum(0, keepdim=True)", lambda s: ("1", *s[1:])),
    "index": ("{v}[torch.tensor([0, -1, 0])]", lambda s: ("3", *s[1:])),
    "transpose": ("{v}.transpose(0, -1)", lambda s: (s[-1], *s[1:-1], s[0])),
    "flatten": ("{v}.reshape(-1)[:1]", lambda _: ("1",)),
    "view": ("{v}.view(-1)[:1]", lambda _: ("1",)),
    "alias": ("{v}.view_as({v})", same),
    "detach": ("{v}.detach()", same),
    "detach_and_begin": ("{v}.detach().requires_grad_()", same),
    "clone": ("{v}.clone()", same),
    "stopped": ("Stopped.apply({v})", same),
}

_TWO_DIMENSIONS = ("matmul", "last", "unbind", "max", "mean", "transpose")
_RARE = ("view",)


def operation(d: Drawing) -> None:
    """A new value from one or two that there are."""
    value = d.some()
    if value is None:
        return
    entry: Any
    entry, (template, shaped) = d.entry(OPERATIONS)
    if entry in _RARE and d.random() < 0.7:
        return
    if entry in _TWO_DIMENSIONS and len(value.shape) < 2:
        return
    others = d.same_shape(value.shape)
    name = d.new("z")
    d.emit(f"{name} = {template.format(v=value.name, w=d.pick(others).name)}", f"operation:{entry}")
    tracked = value.tracked and entry != "detach"
    d.add(name, shaped(value.shape), "other", tracked=tracked or entry == "detach_and_begin")
