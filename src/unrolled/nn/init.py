"""Initial values that go with a cell's equations, set in place as those of :mod:`torch.nn.init`.

They take ``unrolled.RNN``, ``LSTM`` and ``GRU``, torch's own, and any ``unrolled.Recurrent``. Which
rows belong to a forget gate, and which matrices are recurrent, is told by the cell's equations, so
that a cell of one's own is as good as one that is known. Each function sets what it names, in all
layers and directions, and leaves the rest; they can be called one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from unrolled.cells import Description
from unrolled.cells.built_in import BUILT_IN
from unrolled.cells.description import HIDDEN, Form, Product, Weight
from unrolled.cells.roles import Gate, Memory, memories, recurrent_parts
from unrolled.errors import InputError
from unrolled.nn.described import Recurrent

RecurrentModule = torch.nn.RNNBase | Recurrent


def unit_forget_bias_(module: RecurrentModule, value: float = 1.0) -> None:
    """Sets the bias of the forget gates, so that a cell begins by keeping its state.

    Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
    architectures", section 3; Gers, Schmidhuber & Cummins 2000 had it first. A gate that keeps the
    more the smaller it is, such as that of (1 − g)·h + g·new, gets the bias −1. Of torch's GRU it
    is the update gate. Where a gate has two biases, the first is set and the other 0.

    Args:
        module: a recurrent module.
        value: of the bias.

    Raises:
        InputError: the cell has no forget gate, or it has no bias.
        TypeError: the module is no recurrent one.
    """
    target = _Target.of(module)
    for memory in _memories(target.cell):
        for gate in memory.forget:
            for layer in target.layers():
                _set_bias(target, layer, gate, torch.tensor(float(value)))


def chrono_(module: RecurrentModule, longest: int, generator: Generator | None = None) -> None:
    """Draws biases with which the units' memories last from 1 to ``longest`` steps.

    Tallec & Ollivier 2018, "Can recurrent neural networks warp time?", arXiv 1804.11188, section 2:
    the bias of a forget gate is log U(1, longest − 1), and that of the input gate minus that, unit
    by unit. A cell with one gate for both, such as a GRU, has that of the forget gate: + where the
    gate keeps the old state, as torch's update gate does, and − where it lets in the new. Where a
    gate has two biases, the first is set and the other 0.

    Args:
        module: a recurrent module.
        longest: T_max, the steps over which something may have to be remembered; at least 2.
        generator: draws the numbers; torch's own if None.

    Raises:
        InputError: the cell has no forget gate, or a gate has no bias, or ``longest`` is below 2.
        TypeError: the module is no recurrent one.
    """
    if isinstance(longest, bool) or not longest >= 2:
        raise InputError(f"longest should be a number of steps of at least 2, got {longest!r}")
    target = _Target.of(module)
    for memory in _memories(target.cell):
        for layer in target.layers():
            units = layer.units[memory.forget[0].of.size]
            room = torch.empty(units, dtype=torch.float64)
            steps = room.uniform_(1, longest - 1, generator=generator)
            for gate in memory.forget:
                _set_bias(target, layer, gate, steps.log())
            for gate in memory.input:
                if gate.of.biases:  # a cell may let in all there is
                    _set_bias(target, layer, gate, -steps.log())


def orthogonal_(
    module: RecurrentModule, gain: float = 1.0, generator: Generator | None = None
) -> None:
    """Makes the recurrent matrices orthogonal, each gate's by itself.

    Saxe, McClelland & Ganguli 2014, arXiv 1312.6120, drawn by :func:`torch.nn.init.orthogonal_`:
    a matrix that is no square has orthonormal rows or columns, one in blocks has blocks that are
    orthogonal.

    Args:
        module: a recurrent module.
        gain: what the matrices are multiplied by.
        generator: draws the numbers; torch's own if None.

    Raises:
        InputError: no matrix of the cell is recurrent, or what is learned is not what multiplies.
        TypeError: the module is no recurrent one.
    """
    _fill_recurrent(
        module, lambda part: torch.nn.init.orthogonal_(part, gain=gain, generator=generator)
    )


def identity_(module: RecurrentModule, scale: float = 1.0) -> None:
    """Makes the recurrent matrices the identity, each gate's by itself.

    Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of rectified linear
    units", arXiv 1504.00941, for an RNN with relu. The paper also begins with biases of 0, which
    are left as they are here.

    Args:
        module: a recurrent module.
        scale: what the matrices are multiplied by; the paper has 0.01 for short memories.

    Raises:
        InputError: no matrix of the cell is recurrent, or what is learned is not what multiplies.
        TypeError: the module is no recurrent one.
    """
    _fill_recurrent(module, lambda part: torch.nn.init.eye_(part).mul_(scale))


@dataclass(frozen=True)
class _Layer:
    """One layer in one direction: what stands behind its parameters' names, and its sizes."""

    suffix: str
    units: dict[str, int]


@dataclass(frozen=True)
class _Target:
    """A module with the description of its cell."""

    module: RecurrentModule
    cell: Description

    @classmethod
    def of(cls, module: RecurrentModule) -> _Target:
        if isinstance(module, Recurrent):
            return cls(module, module.cell)
        if not isinstance(module, torch.nn.RNNBase):
            raise TypeError(
                "a recurrent module was expected (RNN, LSTM, GRU or Recurrent), got "
                f"{type(module).__name__}. Of a larger model give the recurrent module in it"
            )
        known = BUILT_IN[module.mode]
        return cls(module, known.described(bias=module.bias, projected=module.proj_size > 0))

    def layers(self) -> Iterator[_Layer]:
        module = self.module
        if isinstance(module, Recurrent):
            units = dict(module.units)
        else:
            units = {HIDDEN: module.hidden_size, "proj": module.proj_size}
        for layer in range(module.num_layers):
            for suffix in ("", "_reverse") if module.bidirectional else ("",):
                yield _Layer(f"_l{layer}{suffix}", units)

    def rows(self, layer: _Layer, weight: Weight, part: int) -> Tensor:
        """Some of a parameter's rows, to be written to."""
        name = weight.name + layer.suffix
        if name not in self.module._parameters:
            raise InputError(
                f"{name} is parametrized: what is written to it is lost. Set the initial values "
                "before it is parametrized"
            )
        sizes = [layer.units[p.size] for p in weight.parts]
        parameter: Tensor = getattr(self.module, name)
        return parameter.narrow(0, sum(sizes[:part]), sizes[part])


def check(preset: str, cell: Description) -> None:
    """That a cell has what one of these functions sets, asked before there is a module.

    Args:
        preset: the function's name, without the underscore at the end.
        cell: the cell.

    Raises:
        InputError: it has not.
    """
    if preset in ("unit_forget_bias", "chrono"):
        _memories(cell)
    else:
        _recurrent(cell)


def _memories(cell: Description) -> tuple[Memory, ...]:
    found = memories(cell)
    if not found:
        raise InputError(
            f"{cell.name} has no forget gate: there is no sum in its equations by which a "
            "state is kept or let go. Choose a cell with one, or other initial values"
        )
    for memory in found:
        for gate in memory.forget:
            if not gate.of.biases:
                raise InputError(
                    f"{cell.name}: the forget gate of the state {memory.state} has no bias. "
                    "Make the cell with biases: bias=True"
                )
    return found


@torch.no_grad()
def _set_bias(target: _Target, layer: _Layer, gate: Gate, values: Tensor) -> None:
    """The gate's biases add up to ``values`` as it opens the more the larger they are."""
    weights = target.cell.weights_by_name
    for place, bias in enumerate(gate.of.biases):
        rows = target.rows(layer, weights[bias.weight], bias.part)
        rows.copy_(values * gate.sign if place == 0 else torch.zeros(()))


def _recurrent(cell: Description) -> tuple[Product, ...]:
    found = recurrent_parts(cell)
    if not found:
        raise InputError(
            f"{cell.name} has no recurrent matrix: none of its matrices multiplies a state. "
            "Choose a cell with one, or other initial values"
        )
    for product in found:
        form = cell.weights_by_name[product.weight].form
        if form != Form(blocks=form.blocks):
            raise InputError(
                f"{cell.name}: {product.weight} is learned in another form than it multiplies "
                f"({form}). Choose other initial values"
            )
    return found


@torch.no_grad()
def _fill_recurrent(module: RecurrentModule, fill: Callable[[Tensor], Tensor]) -> None:
    """Calls ``fill`` on each part of each recurrent matrix; of one in blocks on each block."""
    target = _Target.of(module)
    for product in _recurrent(target.cell):
        weight = target.cell.weights_by_name[product.weight]
        for layer in target.layers():
            rows = target.rows(layer, weight, product.part)
            for block in rows.chunk(weight.form.blocks):
                fill(block)
