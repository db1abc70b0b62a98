"""What a stream runs, as plain values: the layers with their weights, and what stands around them.

NumPy alone: a plan is read from a run folder, taken from a torch module or from a saved stream, and
whoever made it, the stream knows no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.cells.built_in import BUILT_IN
from unrolled.cells.description import Description
from unrolled.cells.stored import to_json
from unrolled.runfile import GREATEST

Array = NDArray[Any]

ACTIVATIONS = (
    "tanh",
    "sigmoid",
    "relu",
    "leaky_relu",
    "elu",
    "silu",
    "softplus",
    "gelu",
    "gelu_tanh",
)
"""The activations between layers; ``leaky_relu``, ``elu`` and ``softplus`` have a parameter."""


SCALERS = ("input.mean", "input.scale", "target.mean", "target.scale")
"""A run's scalers, as its file names them after ``scaler.``."""


class Weights(NamedTuple):
    """One layer's, in torch's layout: ``ih`` [G·H, I], ``hh`` [G·H, P], ``hr`` [P, H]."""

    ih: Array
    hh: Array
    bias_ih: Array | None = None
    bias_hh: Array | None = None
    hr: Array | None = None


@dataclass(frozen=True, eq=False)
class Recurrent:
    """A recurrent module of one direction: ``cell`` is torch's ``mode``, ``name`` its place.

    ``int8`` says whether its products are in 8 bits.
    """

    cell: str
    weights: tuple[Weights, ...]
    name: str = ""
    int8: bool = False

    @property
    def output_size(self) -> int:
        """P: the size of the hidden state."""
        return int(self.weights[-1].hh.shape[1])

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states of a layer, in their order."""
        return BUILT_IN[self.cell].states

    @property
    def numbers(self) -> int:
        """How many numbers a row takes, at least."""
        cell = BUILT_IN[self.cell]
        besides = len(cell.states) - 1  # states of H numbers, beside the hidden one
        return sum(
            2 * weights.hh.shape[1] + besides * (len(weights.ih) // len(cell.gates))
            for weights in self.weights
        )


@dataclass(frozen=True, eq=False)
class Described:
    """A module of a cell that is written down, in one direction.

    ``units`` says how many numbers each size has in the first layer, ``weights`` what multiplies in
    each layer, by the names in ``cell``, which has no forms any more; ``name`` is its place.
    """

    cell: Description
    units: Mapping[str, int]
    weights: tuple[Mapping[str, Array], ...]
    name: str = ""

    @property
    def output_size(self) -> int:
        """P: the size of the first state."""
        return self.units[self.cell.output.size]

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the states of a layer, in their order."""
        return tuple(state.name for state in self.cell.states)

    @property
    def numbers(self) -> int:
        """How many numbers a row takes, at least."""
        carried = (self.cell.output, *self.cell.states, *self.cell.constants)
        return len(self.weights) * sum(self.units[quantity.size] for quantity in carried)


@dataclass(frozen=True, eq=False)
class Linear:
    """y = W·x + b with ``weight`` [O, I] and ``bias`` [O] or None."""

    weight: Array
    bias: Array | None


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Over ``size`` numbers, F, as torch's; ``weight`` and ``bias`` [F] or None."""

    size: int
    weight: Array | None
    bias: Array | None
    epsilon: float


@dataclass(frozen=True)
class Activation:
    """One of :data:`ACTIVATIONS`, with its parameter."""

    kind: str
    parameter: float = 0.0


Layer = Recurrent | Described | Linear | LayerNorm | Activation


def called(layer: Layer) -> str:
    """A layer in a word: LSTM, PeepholeLSTM, Linear, tanh."""
    match layer:
        case Recurrent(cell, int8=int8):
            return f"{cell} in 8 bits" if int8 else cell
        case Described(cell):
            return cell.name
        case Activation(kind):
            return kind
    return type(layer).__name__


def fault_of_scalers(arrays: Mapping[str, Array]) -> str | None:
    """Why the scalers, by their names of :data:`SCALERS`, can't be any; None if they can."""
    for name in SCALERS:
        if not np.isfinite(arrays[name]).all():
            return f"scaler.{name} is not finite"
        if name.endswith("scale") and not arrays[name].all():
            return f"scaler.{name} has a zero"
    return None


@dataclass(frozen=True, eq=False)
class Scales:
    """A run's scalers, float64, and which columns are changes.

    ``differs`` [I] says which input enters as its change from the row before; ``base`` [O] is the
    input whose value is added to an output, or -1.
    """

    input_mean: Array
    input_scale: Array
    output_mean: Array
    output_scale: Array
    differs: tuple[bool, ...]
    base: tuple[int, ...]

    @classmethod
    def of(
        cls, arrays: Mapping[str, Array], differs: Sequence[bool], base: Sequence[int]
    ) -> Scales:
        """With the scalers as a run's file names them: ``input.mean`` and so on.

        Raises:
            ValueError: they are no scalers.
        """
        if fault := fault_of_scalers(arrays):
            raise ValueError(fault)
        input_mean, input_scale, output_mean, output_scale = (
            np.asarray(arrays[name], np.float64) for name in SCALERS
        )
        return cls(input_mean, input_scale, output_mean, output_scale, tuple(differs), tuple(base))

    def arrays(self) -> dict[str, Array]:
        """The scalers by these names."""
        of_all = (self.input_mean, self.input_scale, self.output_mean, self.output_scale)
        return dict(zip(SCALERS, of_all, strict=True))

    @property
    def limit(self) -> Array:
        """[I]: the greatest magnitude that a number may enter with.

        Beyond it the scaled number, or a sum that it goes into, may be more than float32 can say;
        the states would be infinite or NaN from there on.
        """
        greatest = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            return np.minimum(GREATEST / 2 * np.abs(self.input_scale), greatest)


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that a stream needs to know of a model.

    ``inputs`` and ``targets`` are a table's columns, ``group`` the one that told its series apart,
    ``ahead`` how many rows later the target stands; empty, None and 0 where the model is no run.
    """

    dtype: str
    input_size: int
    output_size: int
    layers: tuple[Layer, ...]
    scales: Scales | None = None
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    group: str | None = None
    ahead: int = 0

    @property
    def number(self) -> np.dtype[Any]:
        """What the network computes in."""
        return np.dtype(self.dtype)

    @property
    def outside(self) -> np.dtype[Any]:
        """What comes out: float64 where scalers are around the network."""
        return np.dtype("float64" if self.scales else self.dtype)

    @property
    def recurrent(self) -> list[Recurrent | Described]:
        """The recurrent modules, in their order."""
        return [layer for layer in self.layers if isinstance(layer, Recurrent | Described)]

    @property
    def has_differences(self) -> bool:
        """Whether an input enters as its change from the row before."""
        return self.scales is not None and any(self.scales.differs)


def pack(plan: Plan) -> tuple[dict[str, Any], dict[str, Array]]:
    """The plan as what JSON can say, and its arrays by name."""
    arrays: dict[str, Array] = {}
    layers = []
    for place, layer in enumerate(plan.layers):
        described, held = _packed(layer)
        layers.append(described)
        arrays |= {f"layers.{place}.{name}": v for name, v in held.items() if v is not None}
    model: dict[str, Any] = {
        name: getattr(plan, name)
        for name in ("dtype", "input_size", "output_size", "inputs", "targets", "group", "ahead")
    }
    if plan.scales is not None:
        model |= {"differs": plan.scales.differs, "base": plan.scales.base}
        arrays |= {f"scaler.{name}": array for name, array in plan.scales.arrays().items()}
    return model | {"layers": layers}, arrays


def _packed(layer: Layer) -> tuple[dict[str, Any], dict[str, Array | None]]:
    match layer:
        case Recurrent(cell, weights, name, int8):
            held = [of_layer._asdict() for of_layer in weights]
            more = {"int8": True} if int8 else {}  # older versions know of none, and refuse it
            return {"cell": cell, "depth": len(held), "name": name, **more}, _by_depth(held)
        case Described(cell, units, multiplied, name):
            sizes = {size: units[size] for size in cell.sizes}
            described = {"equations": to_json(cell), "units": sizes, "depth": len(multiplied)}
            return described | {"name": name}, _by_depth(multiplied)
        case Linear(weight, bias):
            return {"linear": True}, {"weight": weight, "bias": bias}
        case LayerNorm(size, weight, bias, epsilon):
            norm = {"layer_norm": size, "epsilon": epsilon}
            return norm, {"weight": weight, "bias": bias}
        case Activation(kind, parameter):
            return {"activation": kind, "parameter": parameter}, {}


def _by_depth(layers: Sequence[Mapping[str, Array | None]]) -> dict[str, Array | None]:
    return {
        f"{depth}.{name}": values
        for depth, of_layer in enumerate(layers)
        for name, values in of_layer.items()
    }


def same(a: Plan, b: Plan) -> bool:
    """Whether two plans say the same to the last bit."""
    (a_described, a_arrays), (b_described, b_arrays) = pack(a), pack(b)
    return (
        a_described == b_described
        and a_arrays.keys() == b_arrays.keys()
        and all(np.array_equal(a_arrays[name], b_arrays[name]) for name in a_arrays)
    )
