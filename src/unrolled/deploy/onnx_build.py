"""The graph of a whole model: its modules between lengths, states and a table's units."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_graph import LAST, Graph, Storage
from unrolled.deploy.onnx_nodes import add_end, add_plain, add_recurrent, states_of
from unrolled.deploy.onnx_rows import LENGTHS, Ran, add_lengths
from unrolled.deploy.parts import Module, Parts, numbers_of
from unrolled.errors import InputError
from unrolled.model import Scaler
from unrolled.nn import Recurrent


class Port(NamedTuple):
    """An input or output of the graph; an axis with a name may have any length."""

    name: str
    kind: str
    shape: list[str | int]
    doc: str


class GraphBuilder:
    """Adds a model's parts to a graph; see :func:`unrolled.deploy.onnx_export.export_onnx`.

    The parts are ones that :func:`unrolled.deploy.onnx_check.check` lets pass.
    """

    def __init__(self, parts: Parts, *, stateful: bool, storage: Storage, double: bool) -> None:
        self.parts, self.stateful = parts, stateful
        is_double = numbers_of(parts) == torch.float64
        self._network = "DOUBLE" if is_double else "FLOAT"
        # What stands around the network, in the table's units.
        self._kind = "DOUBLE" if double or is_double else "FLOAT"
        self._number: Any = np.float64 if double or is_double else np.float32
        self.batch_first = parts.recurrent[0][1].batch_first
        self.graph = Graph(storage, double=is_double)
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self._changes: list[bool] = []
        if parts.table is not None and parts.table.difference:
            self._changes = [name in parts.table.targets for name in parts.table.inputs]

    def build(self) -> Any:
        """The graph, as an ``onnx.GraphProto``."""
        read = self._add_input()
        rows, steps = self._add_row_before(read)
        self._add_lengths(steps)
        if self._changes:
            read = self._add_changes(rows, steps)
        read = self._scaled(read)
        for name, part in self.parts.modules:
            if isinstance(part, nn.Dropout):  # what is written is what eval() computes
                continue
            prefix = f"{name}." if name else ""
            if not isinstance(part, Module):
                read = add_plain(self.graph, prefix, part, read)
                continue
            ran = self._add_recurrent(prefix, part, read)
            is_top = name == self.parts.recurrent[-1][0]
            at_end = self.parts.at_end and is_top
            read = add_end(self.graph, prefix, ran) if at_end else ran.output
        read = self._in_units(read)
        if self._changes:
            read = self._add_base(steps, read)
        self._add_output(read)
        return self._as_graph()

    def _add_input(self) -> str:
        """What the graph reads, by time [T, B, I]."""
        width = self.parts.inputs
        # A graph without states can't be given the row before the first other than among them.
        time = "rows" if self._changes and not self.stateful else "time"
        doc = self._columns("inputs")
        if not self.batch_first:
            self.inputs.append(Port("input", self._kind, [time, "batch", width], doc))
            return "input"
        self.inputs.append(Port("input", self._kind, ["batch", time, width], doc))
        return self.graph.node("Transpose", ["input"], "input.by_time", perm=(1, 0, 2))

    def _add_output(self, read: str) -> None:
        width, doc = self.parts.outputs, self._columns("targets")
        if self.parts.at_end:
            self.graph.node("Identity", [read], "output")
            port = Port("output", self._kind, ["batch", width], doc)
        elif self.batch_first:
            self.graph.node("Transpose", [read], "output", perm=(1, 0, 2))
            port = Port("output", self._kind, ["batch", "time", width], doc)
        else:
            self.graph.node("Identity", [read], "output")
            port = Port("output", self._kind, ["time", "batch", width], doc)
        self.outputs.insert(0, port)

    def _columns(self, which: str) -> str:
        """What stands at each step, in words; empty for a model that knows of no table."""
        table = self.parts.table
        return "" if table is None else f"{', '.join(getattr(table, which))}, in the table's units"

    def _add_lengths(self, steps: str) -> None:
        doc = "each row's number of real steps, -1 for all; or one number for every row"
        self.inputs.append(Port("lengths", "INT32", ["batch or 1"], doc))
        add_lengths(self.graph, steps)

    def _add_row_before(self, read: str) -> tuple[str, str]:
        """All rows, for changes one more [T + 1, B, I], and those of the steps [T, B, I]."""
        graph = self.graph
        if not self._changes:
            return read, read
        if not self.stateful:
            return read, graph.slice(read, "rows_after_the_first", 1, LAST)
        shape: list[str | int] = ["batch", self.parts.inputs]
        self.inputs.append(Port("row_0", self._kind, shape, "the row before the first"))
        graph.node("Unsqueeze", ["row_0", graph.indices("axis.0", [0])], "row_0.step")
        rows = graph.node("Concat", ["row_0.step", read], "all_rows", axis=0)
        self.outputs.append(Port("row_n", self._kind, shape, "each row's last real one"))
        return rows, read

    def _add_changes(self, rows: str, steps: str) -> str:
        """The columns that are both read and predicted as their change from the row before."""
        graph = self.graph
        before = graph.slice(rows, "rows_before", 0, -1)
        is_change = graph.constant("is_change", self._changes, np.bool_)
        nothing = graph.constant("nothing", 0.0, self._number)
        taken = graph.node("Where", [is_change, before, nothing], "taken_off")
        graph.node("Transpose", [rows], "rows_by_batch", perm=(1, 0, 2))
        graph.node("Cast", [LENGTHS], "lengths64", to=need("onnx").TensorProto.INT64)
        graph.node("Unsqueeze", ["lengths64", graph.indices("axis.1", [1])], "places")
        # Of T + 1 rows, that of a row's last real step; of one without steps, the row before.
        graph.node("GatherND", ["rows_by_batch", "places"], "last_row", batch_dims=1)
        if self.stateful:
            graph.node("Identity", ["last_row"], "row_n")
        return graph.node("Sub", [steps, taken], "changes")

    def _add_base(self, steps: str, read: str) -> str:
        """What a predicted change starts from, added to it."""
        table = self.parts.table
        assert table is not None
        same = [[name == target for target in table.targets] for name in table.inputs]
        start = "last_row" if self.parts.at_end else steps
        base = self.graph.node(
            "MatMul", [start, self.graph.constant("same", same, self._number)], "base"
        )
        return self.graph.node("Add", [read, base], "level")

    def _scaled(self, read: str) -> str:
        if (scaler := self.parts.input_scaler) is not None:
            mean, scale = self._constants("input", scaler)
            centred = self.graph.node("Sub", [read, mean], "input.centred")
            read = self.graph.node("Div", [centred, scale], "input.scaled")
        return self._cast(read, "input.network", self._network)

    def _in_units(self, read: str) -> str:
        read = self._cast(read, "target.double", self._kind)
        if (scaler := self.parts.target_scaler) is None:
            return read
        mean, scale = self._constants("target", scaler)
        spread = self.graph.node("Mul", [read, scale], "target.spread")
        return self.graph.node("Add", [spread, mean], "target.units")

    def _cast(self, read: str, name: str, kind: str) -> str:
        """Between the table's numbers and the network's, where they are not the same."""
        if self._kind == self._network:
            return read
        return self.graph.node("Cast", [read], name, to=getattr(need("onnx").TensorProto, kind))

    def _constants(self, name: str, scaler: Scaler) -> tuple[str, str]:
        mean = self.graph.constant(f"{name}.mean", scaler.mean, self._number)
        return mean, self.graph.constant(f"{name}.scale", scaler.scale, self._number)

    def _add_recurrent(self, prefix: str, part: Module, read: str) -> Ran:
        """A recurrent module, with its states as inputs and outputs if the graph has any.

        The states' names, and those of a cell's constants, have the module's in front only where
        there are several modules.
        """
        of_several = prefix if len(self.parts.recurrent) > 1 else ""
        states = states_of(part)
        given = {s.name: f"{of_several}{s.name}_0" for s in states} if self.stateful else {}
        constants = self._add_constants(of_several, part)
        ran = add_recurrent(self.graph, prefix, part, read, given, constants)
        depth = part.num_layers * (1 + part.bidirectional)
        for state in states if self.stateful else []:
            doc = f"{state.doc} of each layer and direction"
            shape: list[str | int] = [depth, "batch", state.units]
            before, after = given[state.name], f"{of_several}{state.name}_n"
            self.inputs.append(Port(before, self._network, shape, f"{doc}, before the first step"))
            self.outputs.append(
                Port(after, self._network, shape, f"{doc}, after the last real step")
            )
            self.graph.node("Concat", ran.last[state.name], after, axis=0)
        return ran

    def _add_constants(self, prefix: str, part: Module) -> dict[str, str]:
        """A cell's constants as inputs."""
        if not isinstance(part, Recurrent):
            return {}
        for constant in part.cell.constants:
            shape: list[str | int] = ["batch", part.units[constant.size]]
            doc = f"{constant.name} of {part.cell.name}, the same at every step"
            self.inputs.append(Port(f"{prefix}{constant.name}", self._network, shape, doc))
        return {constant.name: f"{prefix}{constant.name}" for constant in part.cell.constants}

    def _as_graph(self) -> Any:
        helper, types = need("onnx.helper"), need("onnx").TensorProto
        self._check_names()
        ports = [
            [
                helper.make_tensor_value_info(name, getattr(types, kind), shape, doc)
                for name, kind, shape, doc in some
            ]
            for some in (self.inputs, self.outputs)
        ]
        graph = self.graph
        return helper.make_graph(graph.nodes, "unrolled", *ports, list(graph.constants.values()))

    def _check_names(self) -> None:
        """That no constant of a cell has the name of another input, or of an output."""
        names = [port.name for port in (*self.inputs, *self.outputs)]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"the graph would have {name} twice among its inputs (input, lengths, the "
                    "constants of cells, states with _0) and outputs (output, states with _n). "
                    "Give the cell's constant or state another name"
                )
