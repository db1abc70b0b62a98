"""A recurrent stack with a linear read-out: the model that is trained and saved."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from unrolled.cells import Description
from unrolled.cells.built_in import BUILT_IN, OF_RUNS
from unrolled.cells.in_runs import Layers, equations_of
from unrolled.model.choice import Choice, title
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.checks import Lengths
from unrolled.nn.recurrent import MODULES
from unrolled.resources import LARGEST_SIZE, MOST_LAYERS
from unrolled.runfile import expected_tensors


class NetworkConfig(BaseModel):
    """Everything needed to build the network again, weights aside.

    ``cell`` is a name, or the description of a cell that needs no more than an input and numbers
    of units; ``sizes`` has those of its own sizes, by their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cell: Choice
    input_size: int = Field(gt=0, le=LARGEST_SIZE)
    hidden_size: int = Field(gt=0, le=LARGEST_SIZE)
    sizes: dict[str, Annotated[int, Field(gt=0, le=LARGEST_SIZE)]] = Field(default_factory=dict)
    output_size: int = Field(gt=0, le=LARGEST_SIZE)
    num_layers: int = Field(default=1, gt=0, le=MOST_LAYERS)
    bidirectional: bool = False
    dropout: float = Field(default=0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _cell_fits(self) -> NetworkConfig:
        self.layers().check()
        return self

    @property
    def title(self) -> str:
        """What to call the network: LSTM, PeepholeLSTM."""
        return title(self.cell)

    def layers(self) -> Layers:
        """The recurrent layers, as they stand in a file."""
        return Layers(
            equations_of(self.cell),
            self.input_size,
            self.hidden_size,
            self.num_layers,
            self.bidirectional,
            self.sizes,
        )

    def count_weights(self) -> int:
        """How many numbers a network of this kind has to learn, without building it."""
        layers = self.layers()
        tensors = expected_tensors(self.model_dump(), (), layers.width)
        readout = [kind.shape for name, kind in tensors if name.startswith("network.")]
        return layers.count_weights() + sum(map(math.prod, readout))

    def numbers_per_step(self, *, keeps: bool) -> int:
        """How many numbers a pass holds at once for each step of each row, at least.

        Args:
            keeps: whether for a backward pass: the gates and states of every layer, of a described
                cell the states alone. Without, it is the outputs of one layer.
        """
        layers, cell = self.layers(), self.cell
        if not keeps:
            between = layers.width
        else:
            each = (
                sum(layers.units[state.size] for state in cell.states)
                if isinstance(cell, Description)
                else self.hidden_size * (1 + len(BUILT_IN[OF_RUNS[cell]].gates))
            )
            between = self.num_layers * (2 if self.bidirectional else 1) * each
        return self.input_size + between + self.output_size


class ReadOut(torch.nn.Linear):
    """A linear layer; outside training, a row's result does not depend on the rows beside it.

    A matrix product sums in an order that depends on the number of rows. In single precision two
    orders differ in the last places; in double precision, by nothing that the rounding to single
    shows. The recurrent modules need no such care: their core sums every row alike. In training,
    where nobody compares rows, the layer stays in the numbers' own precision, which is faster; and
    on an accelerator, which may have no other.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[..., H] to [..., O]."""
        if self.training or input.device.type != "cpu":
            return super().forward(input)
        bias = None if self.bias is None else self.bias.double()
        output = torch.nn.functional.linear(input.double(), self.weight.double(), bias)
        return output.to(input.dtype)


Precision = Literal["float32", "bf16"]


class Network(torch.nn.Module):
    """O_t = V·S_t + b on top of the recurrent state S_t.

    Attributes:
        precision: what the recurrent products multiply in training, "bf16" for bfloat16; outside of
            it, and in the read-out, it is the weights' own dtype. It is set by who trains, and not
            saved.
    """

    precision: Precision = "float32"

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        cell, sizes = config.cell, (config.input_size, config.hidden_size)
        options: dict[str, Any] = {
            "num_layers": config.num_layers,
            "batch_first": True,
            "dropout": config.dropout,
            "bidirectional": config.bidirectional,
        }
        self.recurrent: RNN | LSTM | GRU | Recurrent
        if isinstance(cell, Description):
            options |= {f"{name}_size": number for name, number in config.sizes.items()}
            self.recurrent = Recurrent(cell, *sizes, **options)
        else:
            known = BUILT_IN[OF_RUNS[cell]]
            self.recurrent = MODULES[known.name](*sizes, **known.settings, **options)
        self.directions = 2 if config.bidirectional else 1
        self.readout = ReadOut(config.layers().width, config.output_size)

    def forward(
        self, input: Tensor, hx: Any = None, lengths: Lengths | None = None
    ) -> tuple[Tensor, Any]:
        """Reads out every step.

        Args:
            input: [B, T, I].
            hx: the recurrent module's state, zeros if None.
            lengths: each row's number of real steps [B]; what stands past them is not read.

        Returns:
            The outputs [B, T, O], without meaning past a row's length, and the last state.
        """
        states, last = self._recur(input, hx, lengths)
        return self.readout(states), last

    def final(self, input: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Reads out each row's last state, in both directions if there are two.

        The reverse direction's last state is the one that has seen the whole row.

        Args:
            input: [B, T, I].
            lengths: as in :meth:`forward`.

        Returns:
            The outputs [B, O].
        """
        _, last = self._recur(input, None, lengths)
        hidden = last[0] if isinstance(last, tuple) else last
        top = hidden[-self.directions :]
        output: Tensor = self.readout(top.transpose(0, 1).flatten(1))
        return output

    def _recur(self, input: Tensor, hx: Any, lengths: Lengths | None) -> tuple[Tensor, Any]:
        """The states at every step, and the last ones, in the weights' own dtype."""
        if self.precision == "float32" or not self.training:
            states, last = self.recurrent(input, hx, lengths)
            return states, last
        dtype = self.readout.weight.dtype
        with torch.autocast("cpu", torch.bfloat16):
            states, last = self.recurrent(input, hx, lengths)
        several = isinstance(last, tuple)
        widened = tuple([state.to(dtype) for state in (last if several else (last,))])
        return states.to(dtype), widened if several else widened[0]

    def count_weights(self) -> int:
        """How many numbers training adjusts."""
        return sum(weight.numel() for weight in self.parameters())
