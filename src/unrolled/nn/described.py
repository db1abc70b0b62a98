"""A recurrent module for any cell that can be written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.utils.rnn import PackedSequence

from unrolled.cells import Cell, Description, layers, options
from unrolled.cells.description import HIDDEN, INPUT, ONE
from unrolled.nn import calls
from unrolled.nn.checks import Lengths, checked_recompute_every
from unrolled.nn.tools import ForTools
from unrolled.scan import Spec, State, compiling, forms


class Recurrent(ForTools):
    """Layers of a cell that is given as equations, run over sequences as torch's modules do it.

    Args:
        cell: a :class:`~unrolled.cells.Cell`, its class, or its description.
        input_size: I, the numbers that stand at each step of the input.
        hidden_size: H, the numbers of a state, but for those of another size.
        num_layers: L; each layer reads the outputs of the one below.
        batch_first: whether input and output are [B, T, ·] instead of [T, B, ·].
        dropout: the probability with which an output between two layers is zeroed in training.
        bidirectional: whether each layer also reads its input from the end (D = 2, else 1).
        device: where the weights are made.
        dtype: of the weights.
        recompute_every: None, or K: between the forward and the backward pass the compiled core
            keeps the states at every K-th step alone, and then repeats K steps at a time; see
            :class:`~unrolled.nn.RNN`. A pass that does not run on the compiled core ignores it.
        sizes: those that the cell has besides, each by its name and ``_size``: ``proj_size=8``.

    Call:
        ``output, state = module(input, hx=None, lengths=None, **constants)`` with ``input``
        [T, B, I], unbatched [T, I], or a PackedSequence; ``hx`` a tuple with each of the cell's
        states [L·D, B, ·], zeros if None; ``lengths`` [B], integers from 0 to T in any order: how
        many steps of each row are real; and the cell's constants by their names, each [B, ·].
        ``output`` is the first state at every step, [T, B, D·H], and ``state`` each of the states
        after every row's own last step, as ``hx``.

    The parameters are those of the cell with ``_l0`` behind their names, ``_l1`` for the layer
    above, and ``_reverse`` behind that for the other direction. They begin with the values that the
    cell gives them, the others uniform within ±1/√H, as torch's.

    Raises:
        CellError: the cell's equations say what a cell can't do.
        TypeError: a size of the cell is missing, or one is given that it does not have.
        ValueError: a size is not a number of at least 1 (the input's of at least 0).
    """

    def __init__(
        self,
        cell: Cell | type[Cell] | Description,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        recompute_every: int | None = None,
        **sizes: int,
    ) -> None:
        super().__init__()
        self.cell = options.described(cell)
        for constant in self.cell.constants:
            if constant.name in ("self", "input", "hx", "lengths"):
                raise ValueError(
                    f"{self.cell.name} has a constant named {constant.name}, which is an argument "
                    "of the call already. Give the constant another name"
                )
        self.units = _units(self.cell, input_size, hidden_size, sizes)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers = _at_least("num_layers", num_layers, 1)
        self.batch_first, self.bidirectional = batch_first, bidirectional
        if not isinstance(dropout, float | int) or not 0 <= dropout <= 1:
            raise ValueError(f"dropout should be a probability, from 0 to 1, got {dropout!r}")
        self.dropout = float(dropout)
        self.recompute_every = checked_recompute_every(recompute_every)
        self._names: list[dict[str, str]] = []
        spec = self.spec()
        if fault := layers.fault_of_layers(self.cell, self.units, self.num_layers, spec.directions):
            raise ValueError(fault)
        for layer in range(num_layers):
            units = spec.units_of(layer)
            for suffix in ("", "_reverse")[: spec.directions]:
                self._register(units, f"_l{layer}{suffix}", {"device": device, "dtype": dtype})
        self.reset_parameters()

    def _register(self, units: dict[str, int], suffix: str, options: dict[str, Any]) -> None:
        """The parameters of one layer in one direction, and what they have beside them."""
        names = {}
        for weight in self.cell.weights:
            room = torch.empty(layers.shape(weight, units), **options)
            names[weight.name] = weight.name + suffix
            self.register_parameter(weight.name + suffix, Parameter(room))
            for name in layers.given(weight):
                names[name] = name + suffix
                self.register_buffer(name + suffix, forms.beside(name, weight, units, room))
        self._names.append(names)

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        within = 1.0 / math.sqrt(self.hidden_size)
        for names in self._names:
            for weight in self.cell.weights:
                parameter = getattr(self, names[weight.name])
                with torch.no_grad():
                    if weight.initial is None:
                        parameter.uniform_(-within, within)
                    else:
                        parameter.fill_(weight.initial)

    def flatten_parameters(self) -> None:
        """Does nothing: what torch's modules have for cuDNN, so that code may call it."""

    def extra_repr(self) -> str:
        """The arguments, as torch's modules show them."""
        shown = [self.cell.name, str(self.input_size), str(self.hidden_size)]
        if self.num_layers != 1:
            shown.append(f"num_layers={self.num_layers}")
        shown += [f"{n}=True" for n in ("batch_first", "bidirectional") if getattr(self, n)]
        if self.dropout:
            shown.append(f"dropout={self.dropout}")
        if self.recompute_every is not None:
            shown.append(f"recompute_every={self.recompute_every}")
        others = {n: s for n, s in self.units.items() if n not in (INPUT, HIDDEN, ONE)}
        return ", ".join(shown + [f"{name}_size={units}" for name, units in others.items()])

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Sequence[Tensor] | Tensor | None = None,
        lengths: Lengths | None = None,
        **constants: Tensor,
    ) -> tuple[Any, State]:
        """The outputs and the last states; see the class."""
        is_ragged = lengths is not None or isinstance(input, PackedSequence)
        if is_ragged and torch.compiler.is_compiling():
            # How many steps there are is in the numbers, which a compiler does not see.
            # torch has no types for it.
            run: Any = torch.compiler.disable(self._forward)  # type: ignore[no-untyped-call]
            output, last = run(input, hx, lengths, constants)
            return output, last
        return self._forward(input, hx, lengths, constants)

    def _forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any,
        lengths: Lengths | None,
        constants: dict[str, Any],
    ) -> tuple[Any, State]:
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError(
                    "lengths was given with a PackedSequence, which carries its own lengths. "
                    "Pass the padded tensor with lengths, or the PackedSequence alone"
                )
            self._check_width("input", input.data, (None,), INPUT)
            batch = int(input.batch_sizes[0])
            return self._run(input, lengths, batch, hx, constants)
        if isinstance(input, Tensor) and input.dim() == 2:
            return self._unbatched(input, hx, lengths, constants)
        self._check_width("input", input, (None, None), INPUT)
        batch, time = input.shape[:2] if self.batch_first else reversed(input.shape[:2])
        if time == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        return self._run(input, lengths, batch, hx, constants)

    def _unbatched(
        self, input: Tensor, hx: Any, lengths: Lengths | None, constants: dict[str, Any]
    ) -> tuple[Tensor, State]:
        """``input`` [T, I], each state [L·D, ·] and each constant [·]."""
        dim = 0 if self.batch_first else 1
        if hx is not None:
            hx = [s.unsqueeze(1) if isinstance(s, Tensor) else s for s in _listed(hx)]
        constants = {
            name: value.unsqueeze(0) if isinstance(value, Tensor) else value
            for name, value in constants.items()
        }
        output, last = self._forward(input.unsqueeze(dim), hx, lengths, constants)
        return output.squeeze(dim), tuple(state.squeeze(1) for state in last)

    def _run(
        self,
        input: Tensor | PackedSequence,
        lengths: Lengths | None,
        batch: int,
        hx: Any,
        constants: dict[str, Any],
    ) -> tuple[Any, State]:
        state = self._states(hx, batch)
        given = self._constants(constants, batch) if constants or self.cell.constants else []
        spec, dropout = self.spec(), self.dropout if self.training else 0.0
        weights = self._weights(spec)
        return calls.run(
            spec, calls.Call(input, lengths, self.batch_first, state, given, weights, dropout)
        )

    def _weights(self, spec: Spec) -> list[Tensor]:
        """What multiplies in each layer and direction, in the order of the cell's weights."""
        plain: dict[str, Any] = self._parameters
        found = []
        for kind, names in zip(spec.kinds, self._names, strict=True):
            values = {  # by name: some may be computed
                k: plain[n] if n in plain else getattr(self, n) for k, n in names.items()
            }
            if kind.has_forms:
                values = forms.multiplies(self.cell, values, kind.units)
            found += [values[name] for name in kind.weights]
        return found

    def spec(self) -> Spec:
        """What a call runs, as it would now."""
        return _spec(
            self.cell,
            tuple(self.units.items()),
            self.num_layers,
            self.bidirectional,
            self.training,
            checked_recompute_every(self.recompute_every),
        )

    # --- checks ---------------------------------------------------------------------------------

    def _states(self, hx: Any, batch: int) -> State | None:
        if hx is None:
            return None
        given = _listed(hx)
        depth = self.num_layers * (2 if self.bidirectional else 1)
        names = ", ".join(state.name for state in self.cell.states)
        if len(given) != len(self.cell.states):
            raise ValueError(
                f"hx should be a tuple with {len(self.cell.states)} states ({names}), "
                f"got {len(given)}"
            )
        for state, tensor in zip(self.cell.states, given, strict=True):
            self._check_width(f"hx, the state {state.name}", tensor, (depth, batch), state.size)
        return tuple(given)

    def _constants(self, given: dict[str, Any], batch: int) -> list[Tensor]:
        known = [constant.name for constant in self.cell.constants]
        for name in given:
            if name not in known:
                raise TypeError(
                    f"{self.cell.name} has no constant named {name}. "
                    f"{'It has ' + ', '.join(known) if known else 'It takes none'}"
                )
        found = []
        for constant in self.cell.constants:
            if constant.name not in given:
                raise TypeError(
                    f"{self.cell.name} needs {constant.name}, a tensor "
                    f"[{batch}, {self.units[constant.size]}]: "
                    f"module(input, {constant.name}=...)"
                )
            self._check_width(constant.name, given[constant.name], (batch,), constant.size)
            found.append(given[constant.name])
        return found

    def _check_width(
        self, name: str, tensor: Any, before: tuple[int | None, ...], size: str
    ) -> None:
        """That it is a tensor of these dimensions, None for any number, and of this size."""
        shape = [*before, self.units[size]]
        if not isinstance(tensor, Tensor):
            shown = self._shown(shape, size)
            raise TypeError(f"{name} should be a tensor {shown}, got {type(tensor).__name__}")
        fits = tensor.dim() == len(shape) and all(
            wanted is None or wanted == found
            for wanted, found in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            shown = self._shown(shape, size)
            raise RuntimeError(f"{name} should have shape {shown}, got {list(tensor.shape)}")

    def _shown(self, shape: Sequence[int | None], size: str) -> str:
        """A shape in words: written only where it is shown, since Dynamo can't write a symbol."""
        letters = iter(("BT" if self.batch_first else "TB") if size == INPUT else "")
        return f"[{', '.join(next(letters, '·') if n is None else str(n) for n in shape)}]"


_made_spec = lru_cache(maxsize=256)(Spec)
"""Specs are values: made once for all calls that are alike."""


@compiling.constant
def _spec(*values: Any) -> Spec:
    return _made_spec(*values)


def _listed(hx: Any) -> list[Any]:
    """The states of ``hx``, which is one itself where a cell has no other."""
    return list(hx) if isinstance(hx, tuple | list) else [hx]


def _units(
    cell: Description, input_size: int, hidden_size: int, sizes: dict[str, int]
) -> dict[str, int]:
    """How many numbers each size has."""
    given = {f"{INPUT}_size": input_size, f"{HIDDEN}_size": hidden_size, **sizes}
    needed = {f"{size}_size": size for size in cell.sizes}
    for name in given:
        if name not in needed:
            _refuse_size(cell, f"has no {name}")
    for name in needed:
        if name not in given:
            _refuse_size(cell, f"needs {name}, a number of at least 1")
    found = {
        size: _at_least(name, given[name], 0 if size == INPUT else 1)
        for name, size in needed.items()
    }
    return {**found, ONE: 1}


def _refuse_size(cell: Description, why: str) -> NoReturn:
    raise TypeError(
        f"{cell.name} {why}. Its sizes: {', '.join(f'{size}_size' for size in cell.sizes)}"
    )


def _at_least(name: str, value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} should be a whole number of at least {least}, got {value!r}")
    return value
