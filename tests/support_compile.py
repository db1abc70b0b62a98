"""What the tests of torch.compile and torch.export share."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch.fx import Graph, GraphModule, Node


class Recorder:
    """A backend of torch.compile that keeps the graphs it runs: a forward one, a backward one."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.backend = aot_autograd(fw_compiler=self._compile, bw_compiler=self._compile)

    def _compile(self, module: GraphModule, inputs: Any) -> Callable[..., Any]:
        del inputs
        self.graphs.append(module.graph)
        return make_boxed_func(module.forward)


def calls(graph: Graph) -> list[Node]:
    """All that the graph calls, but for taking a result out of several."""
    nodes = [node for node in graph.nodes if node.op == "call_function"]
    return [node for node in nodes if node.target is not operator.getitem]


def our_calls(graph: Graph) -> list[Node]:
    """The calls of this package's operators."""
    return [node for node in calls(graph) if str(node.target).startswith("unrolled.")]
