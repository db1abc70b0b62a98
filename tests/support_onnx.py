"""Runs exported models in ONNX Runtime, on tensors, with the states by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

import unrolled

TAKEN = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int32)": np.int32}
"""The types of a graph's inputs."""

ALL = torch.tensor([-1])
"""As ``lengths``: every row is whole."""


class Exported:
    """A model exported to a file, checked in full, and loaded again by ONNX Runtime."""

    def __init__(self, model: Any, path: Path, **options: Any) -> None:
        unrolled.export_onnx(model, path, **options)
        self.load(path)

    @classmethod
    def at(cls, path: Path) -> Exported:
        """A file that is there already."""
        made = cls.__new__(cls)
        made.load(path)
        return made

    def load(self, path: Path) -> None:
        self.model = onnx.load(path)
        onnx.checker.check_model(self.model, full_check=True)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    @property
    def inputs(self) -> dict[str, list[Any]]:
        return {port.name: port.shape for port in self.session.get_inputs()}

    @property
    def outputs(self) -> dict[str, list[Any]]:
        return {port.name: port.shape for port in self.session.get_outputs()}

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def nodes(self, operator: str) -> list[onnx.NodeProto]:
        return [node for node in self.model.graph.node if node.op_type == operator]

    def __call__(self, input: Any, lengths: Tensor = ALL, **states: Any) -> tuple[Tensor, ...]:
        """The output and the last states, in the graph's order.

        Arrays are cast to the numbers that the graph takes.
        """
        feed = {"input": input, "lengths": lengths.int(), **states}
        feed = {name: np.asarray(value) for name, value in feed.items()}
        taken = {port.name: TAKEN[port.type] for port in self.session.get_inputs()}
        feed = {name: value.astype(taken[name]) for name, value in feed.items()}
        return tuple(torch.from_numpy(value) for value in self.session.run(None, feed))


def named(hx: Any) -> dict[str, Tensor]:
    """A module's state by the names that its graph has for it."""
    states = hx if isinstance(hx, tuple) else (hx,)
    return dict(zip(("h_0", "c_0"), states, strict=False))


@torch.no_grad()
def run(module: nn.Module, *args: Any) -> tuple[Tensor, ...]:
    """The module's output and last states, flat."""
    output, last = module(*args)
    return (output, *last) if isinstance(last, tuple) else (output, last)
