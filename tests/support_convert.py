"""Models to convert, and what to look at in them."""

from __future__ import annotations

from abc import ABC

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.utils import parametrizations

from support_nn import tensors, total

INPUTS, HIDDEN, STEPS, BATCH = 2, 6, 7, 3


class Seq2Seq(nn.Module):
    """A model as people write it: an encoder, a decoder's cell, and what is not recurrent."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(INPUTS, HIDDEN, 2, batch_first=True, dropout=0.3)
        self.decoder = nn.ModuleDict({"cell": nn.GRUCell(HIDDEN, HIDDEN)})
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        output, _ = self.encoder(x)
        return self.head(self.decoder["cell"](output[:, -1]))


class Initialised(nn.LSTM):
    """A subclass that leaves the pass to torch."""

    def reset_parameters(self):
        super().reset_parameters()
        self.get_parameter("bias_hh_l0").data.fill_(1.0)

    def half(self):
        return self.hidden_size // 2


class Scaled(nn.GRU):
    """One that does not."""

    def forward(self, input, hx=None):
        output, last = super().forward(input, hx)
        return 2 * output, last


class Lenient(nn.LSTM):
    """Nor this one: torch's forward calls what is changed here."""

    def check_forward_args(self, input, hidden, batch_sizes):
        pass


class Mixed(ABC, nn.RNN):
    pass


class Running(nn.GRU):
    """One whose own names are among those that our modules use."""

    def _weights(self):
        return "running"


class Lazy(nn.modules.lazy.LazyModuleMixin, nn.GRU):
    pass


def batch():
    return torch.randn(BATCH, STEPS, INPUTS)


def sharded():
    """With the class that FSDP2's ``fully_shard`` gives to a module."""
    module = nn.LSTM(INPUTS, HIDDEN)
    module.__class__ = type("FSDPLSTM", (FSDPModule, nn.LSTM), {})
    return module


def with_attribute(name):
    module = nn.LSTM(INPUTS, HIDDEN)
    setattr(module, name, "the user's")
    return module


def parametrized(module, name="weight_hh_l0"):
    return parametrizations.weight_norm(module, name)


def outputs_and_gradients(module, x, hx=None):
    """In the order in which the parameters are registered."""
    found = tensors(module(x) if hx is None else module(x, hx))
    loss = total(output.square().sum() for output in found)
    return found + list(torch.autograd.grad(loss, list(module.parameters())))
