"""Described cells against the packages that ship them: python benchmarks/peers.py, and --help.

Each row is a training step (forward, and backward to every weight) of a package's own class or
function on a CPU, at the sizes of the package's own example, beside ours of the same equations and
weights: the shipped cells, and two that are written here in the library's vocabulary.
``theirs/ours`` above 1 means that ours is faster; it is the median over pairs of runs in one
process. flashrnn's example takes its vanilla backend a minute a step, and so has three pairs.

Before anything is timed, outputs and the gradients of every weight and of the input are compared in
double precision, with weights as they begin and with weights so large that gates are shut and the
stabiliser is at work; if they differ the script ends there with exit code 1. So each package is an
oracle of our cells that we did not write.

``xlstm`` and ``flashrnn`` begin behind the product with the input, which they leave to their
caller: it is done by torch's ``linear`` in front of them, as their users do it. ``neuralhydrology``
runs without its head. Left out is ``ncps``'s LTC: each pair of its units has a sigmoid of its own,
which no sum of products says.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Annotated, Any, ClassVar

import torch
import typer
from flashrnn import flashrnn
from ncps.torch import CfC
from neuralhydrology.modelzoo.ealstm import EALSTM
from neuralhydrology.utils.config import Config
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.functional import linear as product
from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig

import unrolled
from report import Pairs, Threads, table, time_cells, versions, wide_console
from timing import timed_pairs
from unrolled import Cell, cells
from unrolled.cells import Form, linear, sigmoid, tanh

Names = Annotated[list[str] | None, typer.Option(help="Only these, repeated for several.")]
TOLERANCE = 1e-9
"""How far the two may be apart in double precision, as a share of a tensor's largest entry."""

SPREADS = (1, 4)
"""What the weights are multiplied by, after torch's law, when the two are compared."""

COMPARED = 20
"""Over so many steps: with large weights some cells are chaotic, and roundings grow in them."""


@dataclass(frozen=True)
class Sizes:
    """I inputs, H units, B rows of T steps, what else a cell has, and how large its weights are."""

    inputs: int
    hidden: int
    batch: int
    steps: int
    heads: int = 1
    static: int = 0
    spread: int = 1

    def __str__(self) -> str:
        shown = f"I{self.inputs} H{self.hidden} B{self.batch} T{self.steps}"
        shown += f" {self.heads} heads" if self.heads > 1 else ""
        return shown + (f" S{self.static}" if self.static else "")


@dataclass(frozen=True)
class HeadsLSTM(Cell):
    """The LSTM of flashrnn: each head's units see the units of that head alone."""

    heads: int = 1

    def step(self, x: Any, hidden: Any, cell: Any) -> Any:
        form = Form(blocks=self.heads)
        entry = sigmoid(linear(x) + linear(hidden, bias=False, form=form))
        forget = sigmoid(linear(x) + linear(hidden, bias=False, form=form))
        candidate = tanh(linear(x) + linear(hidden, bias=False, form=form))
        output = sigmoid(linear(x) + linear(hidden, bias=False, form=form))
        cell = forget * cell + entry * candidate
        return output * tanh(cell), cell


class ClosedForm(Cell):
    """Closed-form continuous time: Hasani et al. 2022, arXiv 2106.13898, at steps of the time 1.

    With a layer before the three heads, as ncps has it unless it is told otherwise.
    """

    def step(self, x: Any, hidden: Any) -> Any:
        backbone = 1.7159 * tanh(0.666 * linear(x, hidden, size="backbone"))
        first = tanh(linear(backbone))
        second = tanh(linear(backbone))
        slope = linear(backbone)
        offset = linear(backbone)
        time = sigmoid(slope + offset)
        return first * (1 - time) + time * second


class Peer(ABC):
    """A package's implementation, and our cell with the same weights and input.

    Attributes:
        sizes: those of the package's own examples.
        most_pairs: how many pairs of runs are enough.
        module: ours.
        x: the input [T, B, I].
        weights: theirs, in their layout.
    """

    sizes: ClassVar[list[Sizes]]
    most_pairs: ClassVar[int] = sys.maxsize
    weights: list[Tensor]

    def __init__(self, sizes: Sizes, module: unrolled.Recurrent, **constants: Tensor) -> None:
        self.module, self.constants = module, constants
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(sizes.spread)
        self.ours_by_name = {n[:-3]: p.detach() for n, p in module.named_parameters()}
        dtype = next(module.parameters()).dtype
        self.x = torch.randn(sizes.steps, sizes.batch, sizes.inputs, dtype=dtype)
        self.along = torch.randn(sizes.steps, sizes.batch, sizes.hidden, dtype=dtype)

    def ours(self) -> list[Tensor]:
        """The output, and the gradients of our weights."""
        output = self.module(self.x, **self.constants)[0]
        weights = [*self.module.parameters()]
        return [output, *torch.autograd.grad(output, weights + self._input(), self.along)]

    def theirs(self) -> list[Tensor]:
        """The output, and the gradients of their weights."""
        output = self.run()
        return [output, *torch.autograd.grad(output, self.weights + self._input(), self.along)]

    def _input(self) -> list[Tensor]:
        """The input, if its gradient is asked for."""
        return [self.x] if self.x.requires_grad else []

    @abstractmethod
    def run(self) -> Tensor:
        """Their output, [T, B, H]."""

    @abstractmethod
    def in_our_layout(self, theirs: list[Tensor]) -> Mapping[str, Tensor]:
        """The gradients of their weights as those of ours, by our names."""

    def insist_on_agreement(self) -> None:
        """Ends the script where an output or a gradient differs by too much."""
        self.x.requires_grad_()
        (output, *gradients, of_input), (their_output, *of_weights, their_input) = (
            self.ours(),
            self.theirs(),
        )
        by_name = self.in_our_layout(of_weights)
        pairs = {"the output": (output, their_output), "the input": (of_input, their_input)}
        for name, gradient in zip(self.ours_by_name, gradients, strict=True):
            pairs[name] = gradient, by_name[name]
        for name, (our, their) in pairs.items():
            apart = ((our - their).abs().max() / their.abs().max().clamp(min=1)).item()
            if not apart <= TOLERANCE:
                sys.exit(f"{type(self).__name__}: {name} differs by {apart:.1e}, over {TOLERANCE}")


def leaf(tensor: Tensor) -> Parameter:
    """A weight of theirs, laid out anew."""
    return Parameter(tensor.detach().clone(memory_format=torch.contiguous_format))


class XlstmSLSTM(Peer):
    """The cell of an ``sLSTMLayer``; sizes of the README's ``xLSTMBlockStack``."""

    sizes: ClassVar = [Sizes(128, 128, 4, 256, heads=4)]

    def __init__(self, sizes: Sizes, dtype: torch.dtype) -> None:
        cell = cells.SLSTM(heads=sizes.heads)
        super().__init__(sizes, unrolled.Recurrent(cell, sizes.inputs, sizes.hidden, dtype=dtype))
        config = sLSTMCellConfig(
            hidden_size=sizes.hidden,
            num_heads=sizes.heads,
            backend="vanilla",
            input_shape="SBGNH",
            output_shape="SBH",
        )
        self.heads = sizes.heads
        self.cell = sLSTMCell(config).to(dtype)
        ours = self.ours_by_name
        self.of_input = leaf(ours["weight_ih"])
        with torch.no_grad():
            self.cell._recurrent_kernel_.copy_(self._stacked(ours["weight_hh"]))
            self.cell._bias_.copy_(ours["bias_ih"])
        self.weights = [self.of_input, self.cell._recurrent_kernel_, self.cell._bias_]

    def _stacked(self, weight: Tensor) -> Tensor:
        """From [4·H, H / heads] to [heads, 4·H / heads, H / heads], or back."""
        small = weight.shape[-1]
        if weight.dim() == 2:
            by_head = weight.view(4, self.heads, small, small).transpose(0, 1)
            return by_head.reshape(self.heads, 4 * small, small)
        by_gate = weight.view(self.heads, 4, small, small).transpose(0, 1)
        return by_gate.reshape(4 * self.heads * small, small)

    def run(self) -> Tensor:
        output: Tensor = self.cell(product(self.x, self.of_input))[0]
        return output

    def in_our_layout(self, theirs: list[Tensor]) -> Mapping[str, Tensor]:
        of_input, recurrent, bias = theirs
        return {"weight_ih": of_input, "weight_hh": self._stacked(recurrent), "bias_ih": bias}


class FlashRNN(Peer):
    """The function ``flashrnn`` on its backend ``vanilla``; sizes of the README's example."""

    sizes: ClassVar = [Sizes(768, 768, 8, 1024, heads=3)]
    most_pairs: ClassVar = 3
    function: ClassVar[str]
    cell: ClassVar[type[Any]]

    def __init__(self, sizes: Sizes, dtype: torch.dtype) -> None:
        cell = self.cell(heads=sizes.heads)
        super().__init__(sizes, unrolled.Recurrent(cell, sizes.inputs, sizes.hidden, dtype=dtype))
        each = sizes.hidden // sizes.heads
        ours = self.ours_by_name
        self.gates = 4, sizes.heads, each
        self.weights = [
            leaf(ours["weight_ih"]),
            leaf(ours["weight_hh"].view(*self.gates, each)),
            leaf(ours["bias_ih"].view(self.gates)),
        ]

    def run(self) -> Tensor:
        of_input, recurrent, bias = self.weights
        read = product(self.x.transpose(0, 1), of_input).unflatten(-1, self.gates)
        states, _ = flashrnn(read, recurrent, bias, function=self.function, backend="vanilla")
        return states[0].flatten(-2).transpose(0, 1)

    def in_our_layout(self, theirs: list[Tensor]) -> Mapping[str, Tensor]:
        of_input, recurrent, bias = theirs
        return {
            "weight_ih": of_input,
            "weight_hh": recurrent.flatten(0, 2),
            "bias_ih": bias.flatten(),
        }


class FlashSLSTM(FlashRNN):
    function: ClassVar = "slstm"
    cell: ClassVar = cells.SLSTM


class FlashLSTM(FlashRNN):
    function: ClassVar = "lstm"
    cell: ClassVar = HeadsLSTM


class NoHead(nn.Module):
    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        del hidden
        return {}


class HydrologyEALSTM(Peer):
    """Sizes of the examples: that of 531 basins, and as many units as that of one basin has."""

    sizes: ClassVar = [Sizes(5, 128, 256, 365, static=26), Sizes(5, 20, 256, 365, static=26)]

    def __init__(self, sizes: Sizes, dtype: torch.dtype) -> None:
        module = unrolled.Recurrent(
            cells.EALSTM, sizes.inputs, sizes.hidden, static_size=sizes.static, dtype=dtype
        )
        static = torch.randn(sizes.batch, sizes.static, dtype=dtype)
        super().__init__(sizes, module, static=static)
        config = Config(
            {
                "model": "ealstm",
                "head": "regression",
                "hidden_size": sizes.hidden,
                "dynamic_inputs": [str(i) for i in range(sizes.inputs)],
                "static_attributes": [str(i) for i in range(sizes.static)],
                "target_variables": ["discharge"],
            }
        )
        self.model = EALSTM(config).to(dtype)
        self.model.head = NoHead()
        gates, gate = self.model.dynamic_gates, self.model.input_gate
        self.weights = [gates.weight_ih, gates.weight_hh, gates.bias, gate.weight, gate.bias]
        ours = self.ours_by_name
        named = ("weight_ih", "weight_hh", "bias_ih", "weight_static", "bias_static")
        with torch.no_grad():
            for theirs, name in zip(self.weights, named, strict=True):
                theirs.copy_(ours[name] if "static" in name else _f_o_g(ours[name]).t())
        self.static = static

    def run(self) -> Tensor:
        apart = self.x.transpose(0, 1).split(1, -1)
        given = {"x_s": self.static, "x_d": {str(i): one for i, one in enumerate(apart)}}
        output: Tensor = self.model(given)["h_n"]
        return output.transpose(0, 1)

    def in_our_layout(self, theirs: list[Tensor]) -> Mapping[str, Tensor]:
        of_input, recurrent, bias, of_static, static_bias = theirs
        return {
            "weight_ih": _f_o_g(of_input.t()),
            "weight_hh": _f_o_g(recurrent.t()),
            "bias_ih": _f_o_g(bias),
            "weight_static": of_static,
            "bias_static": static_bias,
        }


def _f_o_g(rows: Tensor) -> Tensor:
    """The last two of three gates exchanged: ours are forget, candidate and output."""
    first, second, third = rows.chunk(3)
    return torch.cat([first, third, second])


class NcpsCfC(Peer):
    """Sizes of the class's own example."""

    sizes: ClassVar = [Sizes(20, 50, 2, 3)]

    def __init__(self, sizes: Sizes, dtype: torch.dtype) -> None:
        module = unrolled.Recurrent(
            ClosedForm, sizes.inputs, sizes.hidden, backbone_size=128, dtype=dtype
        )
        super().__init__(sizes, module)
        self.model = CfC(sizes.inputs, sizes.hidden, batch_first=False).to(dtype)
        cell = self.model.rnn_cell
        self.begin = torch.zeros(sizes.batch, sizes.hidden, dtype=dtype)
        layers = [cell.backbone[0], cell.ff1, cell.ff2, cell.time_a, cell.time_b]
        self.weights = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        ours = self.ours_by_name
        before = torch.cat([ours["weight_ih"], ours["weight_hh"]], 1), ours["bias_ih"]
        behind = zip(ours["weight_backbone"].chunk(4), ours["bias_backbone"].chunk(4), strict=True)
        with torch.no_grad():
            for layer, (weight, bias) in zip(layers, [before, *behind], strict=True):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)

    def run(self) -> Tensor:
        output: Tensor = self.model(self.x, self.begin)[0]
        return output

    def in_our_layout(self, theirs: list[Tensor]) -> Mapping[str, Tensor]:
        weight, bias, *behind = theirs
        of_input, recurrent = weight.split(self.x.shape[-1:] + self.begin.shape[-1:], 1)
        return {
            "weight_ih": of_input,
            "bias_ih": bias,
            "weight_hh": recurrent,
            "weight_backbone": torch.cat(behind[::2]),
            "bias_backbone": torch.cat(behind[1::2]),
        }


PEERS: dict[str, type[Any]] = {
    "xlstm sLSTMCell": XlstmSLSTM,
    "flashrnn slstm": FlashSLSTM,
    "flashrnn lstm": FlashLSTM,
    "neuralhydrology EALSTM": HydrologyEALSTM,
    "ncps CfC": NcpsCfC,
}


def main(threads: Threads = None, pairs: Pairs = 9, peer: Names = None) -> None:
    console = wide_console()
    names = peer or list(PEERS)
    for name in names:
        for spread in SPREADS:
            torch.manual_seed(0)
            small = Sizes(5, 12, 3, COMPARED, heads=3, static=4, spread=spread)
            PEERS[name](small, torch.float64).insist_on_agreement()
    for count in threads or [1, 2]:
        torch.set_num_threads(count)
        result = table(
            f"Described cells against packages, training, {count} threads",
            ("package", "shape"),
            ("theirs µs", "ours µs", "theirs/ours"),
        )
        ratios = []
        for name in names:
            for sizes in PEERS[name].sizes:
                one = PEERS[name](sizes, torch.float32)
                times = timed_pairs(one.ours, one.theirs, min(pairs, one.most_pairs))
                ratios.append(times.ratio)
                result.add_row(name, str(sizes), *time_cells(times))
        console.print(result)
        console.print(f"least {min(ratios):.2f}, geometric mean {geometric_mean(ratios):.2f}")
    console.print(versions(f"{pairs} pairs"))


if __name__ == "__main__":
    typer.run(main)
