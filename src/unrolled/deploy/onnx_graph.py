"""An ONNX graph in the making: nodes, constants, and how weights are stored."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from unrolled.deploy.onnx_extra import need

Storage = Literal["float32", "bfloat16", "int8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
STEPS_OF_INT8 = 127
LAST = int(np.iinfo(np.int64).max)
"""As the end of a slice: to the last."""


class Graph:
    """Collects nodes and constants; every value is known by its name.

    Args:
        storage: how the weights of products are stored. ``bfloat16`` and ``int8`` are converted
            to float32 in the graph, by nodes of constants alone, which a runtime folds when it
            loads the model: the file is smaller, and what is computed is float32.
        double: whether what is computed is float64; without, as said above, it is float32.
    """

    def __init__(self, storage: Storage = "float32", *, double: bool = False) -> None:
        self.storage, self.double = storage, double
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._made: set[str] = set()
        self._helper = need("onnx.helper")
        self._numpy = need("onnx.numpy_helper")
        self._types = need("onnx").TensorProto
        self.kind: int = self._types.DOUBLE if double else self._types.FLOAT

    def within(self) -> Graph:
        """A graph in a node of this one: with nodes of its own, and the same constants."""
        found = copy(self)
        found.nodes = []
        return found

    def has(self, name: str) -> bool:
        """Whether there is a value of this name."""
        return name in self._made or name in self.constants

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output; gives the output's name."""
        self.add(output, operator, inputs, [output], **attributes)
        return output

    def add(
        self,
        name: str,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        **attributes: Any,
    ) -> None:
        """Adds a node called ``name``."""
        node = self._helper.make_node(operator, inputs, outputs, name=name, **attributes)
        self.nodes.append(node)
        self._made.update(outputs)

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        """Adds a constant, once; gives its name. Without a type it is of the graph's numbers."""
        if dtype is None:
            dtype = np.float64 if self.double else np.float32
        if isinstance(values, Tensor):
            values = values.detach().cpu().numpy()
        if name not in self.constants:
            array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
            # ascontiguousarray makes a vector of a number.
            self.constants[name] = self._numpy.from_array(array.reshape(np.shape(values)), name)
        return name

    def indices(self, name: str, values: Any) -> str:
        """Adds a constant of whole numbers, as shapes and axes are."""
        return self.constant(name, values, np.int64)

    def slice(self, read: str, output: str, start: int, stop: int) -> str:
        """``read`` from ``start`` to ``stop`` along its first axis."""
        limits = [self.indices(f"{output}.{n}", [at]) for n, at in (("from", start), ("to", stop))]
        return self.node("Slice", [read, *limits, self.indices("axis.0", [0])], output)

    def weight(self, name: str, values: Tensor) -> str:
        """Adds the weight of a product [..., rows, columns] in the graph's storage.

        In ``int8`` each row has a scale of its own, and is symmetric about zero.
        """
        values = values.detach().cpu()
        if self.storage == "float32":
            return self.constant(name, values)
        if self.storage == "bfloat16":
            # Rounded to nearest by torch; NumPy has no such type.
            bits = values.to(torch.bfloat16).contiguous().view(torch.int16).numpy()
            self.constants[f"{name}.bfloat16"] = self._helper.make_tensor(
                f"{name}.bfloat16", self._types.BFLOAT16, bits.shape, bits.tobytes(), raw=True
            )
            return self.node("Cast", [f"{name}.bfloat16"], name, to=self.kind)
        largest = values.abs().amax(dim=-1, keepdim=True)
        scale = torch.where(largest > 0, largest / STEPS_OF_INT8, 1.0)
        steps = (values / scale).round().clamp(-STEPS_OF_INT8, STEPS_OF_INT8)
        self.constant(f"{name}.int8", steps.to(torch.int8), np.int8)
        self.constant(f"{name}.scale", scale)
        self.node("Cast", [f"{name}.int8"], f"{name}.steps", to=self.kind)
        return self.node("Mul", [f"{name}.steps", f"{name}.scale"], name)
