"""What a model's recurrent modules did at every step, as one value that can be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from unrolled.cells import Description
from unrolled.cells.stored import from_json, to_json
from unrolled.errors import InputError
from unrolled.summary import Summarised, short

if TYPE_CHECKING:
    import polars

FORMAT = "unrolled-trace-2"
Direction = Literal["forward", "reverse"]
Kind = Literal["value", "gradient", "carried"]
KEYED = ("values", "gradients", "carried", "initial")


class Key(NamedTuple):
    """Whose numbers: the module by its path in the model, its layer, its direction, the gate.

    The path is ``""`` where the model is itself the module. Gates have the field's names: LSTM
    ``input``, ``forget``, ``candidate``, ``output``, ``cell``, ``hidden``; GRU ``reset``,
    ``update``, ``candidate``, ``hidden``; RNN ``hidden``. Of a cell that is written down they are
    the names in its equations.
    """

    module: str
    layer: int
    direction: Direction
    gate: str

    def __str__(self) -> str:
        return f"{self.module or 'the model'}, layer {self.layer}, {self.direction}, {self.gate}"


@dataclass(frozen=True, repr=False)
class Given(Summarised):
    """What a module was, and what it was given.

    Attributes:
        name: the cell's: of ours torch's, "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        cell: its equations, which say what the recorded lines are.
        units: how many numbers each of the cell's sizes has in the first layer.
        batch_first: whether the model hands it rows before steps.
        input: what it read [T, B, I], NaN where a row has no such step.
        starts: the steps at which its calls begin: (0,) where it was called once.
        constants: what it was given that does not change over time, by name [calls, B, ·].
    """

    name: str
    cell: Description
    units: Mapping[str, int]
    batch_first: bool
    input: Tensor
    starts: tuple[int, ...]
    constants: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Trace(Summarised):
    """What was recorded; see :func:`unrolled.record`.

    Attributes:
        values: the gates, after their activation, and the states after every step [T, B, H] (a
            projected hidden state [T, B, P]); of a cell that is written down every line that has a
            name in its equations, and every state. NaN where a row has no such step.
        gradients: with ``gradients=True``, the gradient of the loss by each state at every step,
            shaped alike: by all that hangs on it, as :meth:`torch.Tensor.retain_grad` would have
            it.
        carried: the same by the state as it is handed on to the next step alone, which is the
            gradient by ``h_0, c_0`` of a pass over the steps that follow. That of the joint state
            (all states together) is what flows back through time.
        masks: for each module, which steps the rows have [T, B].
        output: the model's output as it returned it, detached.
        given: for each module, what it is and what it read.
        initial: the states that each of a module's calls began with [calls, B, H].
    """

    values: Mapping[Key, Tensor]
    masks: Mapping[str, Tensor]
    output: Any
    gradients: Mapping[Key, Tensor] = field(default_factory=dict)
    carried: Mapping[Key, Tensor] = field(default_factory=dict)
    given: Mapping[str, Given] = field(default_factory=dict)
    initial: Mapping[Key, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = (f"{name or 'the model'}: {self._shown(name)}" for name in self.modules)
        also = [kind for kind in ("gradients", "carried") if getattr(self, kind)]
        more = f", with {' and '.join(also)}" if also else ""
        return f"Trace({'; '.join(shown)}{more}; output={short(self.output)})"

    def _shown(self, module: str) -> str:
        """What was recorded of one module, in words and without its numbers."""
        keys = [key for key in self.values if key.module == module]
        name = self.given[module].name if module in self.given else "recurrent"
        units = max(self.values[key].shape[-1] for key in keys)
        steps, batch = self.masks[module].shape
        layers = 1 + max(key.layer for key in keys)
        both = " in both directions" if any(key.direction == "reverse" for key in keys) else ""
        gates = ", ".join(dict.fromkeys(key.gate for key in keys))
        return f"{name}, L={layers}{both}, [T={steps}, B={batch}, H={units}] of {gates}"

    @property
    def modules(self) -> list[str]:
        """The paths of the recorded modules, in the order in which they ran."""
        return list(self.masks)

    def get(
        self,
        gate: str,
        module: str | None = None,
        layer: int = 0,
        direction: Direction = "forward",
        kind: Kind = "value",
    ) -> Tensor:
        """One gate or state over time [T, B, H].

        Args:
            gate: its name, see :class:`Key`.
            module: the module's path; None where there is one module only.
            layer: from 0.
            direction: "forward" or "reverse".
            kind: "value", or "gradient" or "carried", see :class:`Trace`.

        Raises:
            InputError: there is no such thing; says what there is.
        """
        module = self.named(module)
        found = {"value": self.values, "gradient": self.gradients, "carried": self.carried}[kind]
        key = Key(module, layer, direction, gate)
        if key in found:
            return found[key]
        if not found:
            raise InputError("the trace has no gradients: record with gradients=True")
        near = [k for k in found if k.module == module] or list(found)
        there = "; ".join(str(k) for k in near)
        raise InputError(f"the trace has no {kind} of {key}. It has: {there}")

    def before(
        self,
        state: str,
        module: str | None = None,
        layer: int = 0,
        direction: Direction = "forward",
    ) -> Tensor:
        """A state as each step received it [T, B, H], NaN where a row has no such step.

        That is the one after the step before, or the one that the call began with. In the reverse
        direction the step before is the later one.

        Args:
            state: its name: "hidden", "cell", or what the cell's equations call it.
            module: as in :meth:`get`, and so ``layer`` and ``direction``.
            layer: from 0.
            direction: "forward" or "reverse".

        Raises:
            InputError: there is no such state, or the trace does not say what it began with.
        """
        module = self.named(module)
        after, mask = self.get(state, module, layer, direction), self.masks[module]
        key = Key(module, layer, direction, state)
        if key not in self.initial or module not in self.given:
            raise InputError(f"the trace does not say what the {key} began with")
        received = torch.full_like(after, float("nan"))
        starts = self.given[module].starts
        for call, (start, stop) in enumerate(pairwise((*starts, len(after)))):
            rows = mask[start].nonzero().flatten()
            if direction == "forward":
                first = torch.full_like(rows, start)
                received[start + 1 : stop] = after[start : stop - 1]
            else:
                first = start + mask[start:stop, rows].sum(0) - 1
                received[start : stop - 1] = after[start + 1 : stop]
            received[first, rows] = self.initial[key][call, rows]
        return received.masked_fill(~mask.unsqueeze(-1), float("nan"))

    def named(self, module: str | None) -> str:
        """The path of the module that is meant: the one given, or the only one there is.

        Raises:
            InputError: there is no such module, or none is given and there are several.
        """
        if module is None and len(self.modules) == 1:
            return self.modules[0]
        if module is None or module not in self.masks:
            raise InputError(
                f"the trace has {len(self.modules)} recurrent modules: say which, "
                f"module=one of {self.modules}, got {module!r}"
            )
        return module

    def to_frame(self) -> polars.DataFrame:
        """A tidy table, a row for each number of each step that is there.

        Columns ``module``, ``layer``, ``direction``, ``gate``, ``sequence`` (the row of the
        batch), ``step``, ``unit``, ``value``; with gradients, ``gradient`` and ``carried``, null
        for a gate, which is no state.
        """
        import polars

        frames = []
        for key, value in self.values.items():
            step, sequence = self.masks[key.module].nonzero(as_tuple=True)
            units = value.shape[-1]

            def column(tensor: Tensor | None, at: Any = (step, sequence)) -> Any:
                if tensor is None:
                    return polars.lit(None, dtype=polars.Float64)
                return polars.Series(tensor[at].flatten().double().cpu().numpy())

            columns = {
                "sequence": sequence.repeat_interleave(units).cpu().numpy(),
                "step": step.repeat_interleave(units).cpu().numpy(),
                "unit": list(range(units)) * len(step),
                "value": column(value),
            }
            frame = polars.DataFrame(columns).select(
                polars.lit(key.module).alias("module"),
                polars.lit(key.layer).alias("layer"),
                polars.lit(key.direction).alias("direction"),
                polars.lit(key.gate).alias("gate"),
                polars.all(),
            )
            if self.gradients:
                frame = frame.with_columns(
                    gradient=column(self.gradients.get(key)), carried=column(self.carried.get(key))
                )
            frames.append(frame)
        return polars.concat(frames)

    def save(self, path: str | Path) -> None:
        """Writes the trace as a safetensors file, without pickle."""
        tensors: dict[str, Tensor] = {}

        def put(tensor: Tensor) -> str:
            name = str(len(tensors))
            tensors[name] = tensor.detach().contiguous().clone()
            return name

        def shape_of(value: Any) -> Any:
            if isinstance(value, Tensor):
                return put(value)
            return [shape_of(v) for v in value] if isinstance(value, tuple | list) else None

        index = {
            kind: [[*key, put(tensor)] for key, tensor in getattr(self, kind).items()]
            for kind in KEYED
        }
        head = {
            **index,
            "given": [
                {
                    "module": module,
                    "name": given.name,
                    "cell": to_json(given.cell),
                    "units": dict(given.units),
                    "batch_first": given.batch_first,
                    "input": put(given.input),
                    "starts": given.starts,
                    "constants": {name: put(value) for name, value in given.constants.items()},
                }
                for module, given in self.given.items()
            ],
            "masks": [[module, put(mask)] for module, mask in self.masks.items()],
            "output": shape_of(self.output),
        }
        save_file(tensors, path, {"format": FORMAT, "trace": json.dumps(head)})

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Reads what :meth:`save` wrote.

        Raises:
            InputError: the file holds no trace.
        """
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("format") != FORMAT:
                    raise InputError(f"{path}: a trace was expected, written by Trace.save")
                head = json.loads(file.metadata()["trace"])
                # An open file has keys, but is no mapping to iterate over.
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from error
        except Exception as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: a trace was expected, and this is none: {error}") from error

        def value_of(shape: Any) -> Any:
            if isinstance(shape, str):
                return tensors[shape]
            return None if shape is None else tuple(value_of(part) for part in shape)

        index = {kind: {Key(*key): tensors[name] for *key, name in head[kind]} for kind in KEYED}
        given = {
            given["module"]: Given(
                name=given["name"],
                cell=from_json(given["cell"], f"{path}: cell", "Record it anew"),
                units=given["units"],
                batch_first=given["batch_first"],
                input=tensors[given["input"]],
                starts=tuple(given["starts"]),
                constants={name: tensors[at] for name, at in given["constants"].items()},
            )
            for given in head["given"]
        }
        masks = {module: tensors[name] for module, name in head["masks"]}
        return cls(masks=masks, output=value_of(head["output"]), given=given, **index)
