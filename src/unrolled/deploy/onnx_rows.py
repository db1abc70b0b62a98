"""What every recurrent part of a graph reads and gives: each row's steps, outputs and last states.

Names in here hold a dot, so that none is that of a cell's constant, which is an input by its name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_graph import Graph

LENGTHS = "lengths.of_rows"
"""Each row's number of steps, int32 [B]."""
BATCH, TIME = "lengths.batch", "lengths.time"
"""B, int64 [1], and T, int32 [1]."""


@dataclass(frozen=True)
class Ran:
    """What a recurrent module gives: its output [T, B, D·H], and by state each layer's last."""

    output: str
    last: dict[str, list[str]]


def add_lengths(graph: Graph, steps: str) -> None:
    """Each row's number of steps, from the graph's input ``lengths`` and those in ``steps`` [T, …].

    An input that may be left out would need a constant to fall back on. ONNX Runtime warns of
    those at every loading, and other runtimes take them for constants. So ``lengths`` has to be
    given, and −1 stands for all, in one number for all rows if so wished.
    """
    shape = graph.node("Shape", [steps], "lengths.shape")
    graph.node("Gather", [shape, graph.indices("axis.0", [0])], "lengths.time64")
    graph.node("Cast", ["lengths.time64"], TIME, to=need("onnx").TensorProto.INT32)
    graph.node("Gather", [shape, graph.indices("axis.1", [1])], BATCH)
    everything = graph.constant("lengths.all", [-1], np.int32)
    graph.node("Equal", ["lengths", everything], "lengths.are_all")
    graph.node("Where", ["lengths.are_all", TIME, "lengths"], "lengths.given")
    graph.node("Expand", ["lengths.given", BATCH], LENGTHS)


def are_empty(graph: Graph) -> str:
    """Whether a row has no steps, [B, 1]."""
    name = "lengths.are_empty"
    if not graph.has(name):
        nothing = graph.constant("lengths.none", [0], np.int32)
        graph.node("Equal", [LENGTHS, nothing], "lengths.are_none")
        graph.node("Unsqueeze", ["lengths.are_none", graph.indices("axis.1", [1])], name)
    return name


def are_real(graph: Graph) -> str:
    """Whether a step is one of the row's own, [T, B, 1]."""
    name = "lengths.are_real"
    if not graph.has(name):
        end = graph.node("Squeeze", [TIME], "lengths.end")
        first, one = (
            graph.constant(f"lengths.{word}", at, np.int32)
            for word, at in (("first", 0), ("apart", 1))
        )
        graph.node("Range", [first, end, one], "lengths.steps")
        at = graph.indices("axes.1_2", [1, 2])
        steps = graph.node("Unsqueeze", ["lengths.steps", at], "lengths.step")
        ends = graph.node("Unsqueeze", [LENGTHS, graph.indices("axis.1", [1])], "lengths.ends")
        graph.node("Less", [steps, ends], name)
    return name
