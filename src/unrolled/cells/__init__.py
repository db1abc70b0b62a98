"""Recurrent cells as equations: the language they are written in, and those that are known.

A cell is a class with a method ``step``, in Python's operators and the functions here::

    from unrolled.cells import Cell, linear, sigmoid, tanh

    class MinimalGatedUnit(Cell):
        def step(self, x, h):
            forget = sigmoid(linear(x, h))
            reset = forget * h
            candidate = tanh(linear(x, reset))
            return (1 - forget) * h + forget * candidate
"""

from typing import TYPE_CHECKING

from unrolled.lazy import attributes

if TYPE_CHECKING:
    from unrolled.cells.cell import Cell
    from unrolled.cells.coupled import CIFG
    from unrolled.cells.description import Description, Form
    from unrolled.cells.elman import RNN
    from unrolled.cells.entity_aware import EALSTM
    from unrolled.cells.gru import GRU, GRUResetBefore
    from unrolled.cells.independent import IndRNN
    from unrolled.cells.language import (
        absolute,
        detach,
        exp,
        hard_sigmoid,
        hard_tanh,
        linear,
        log,
        mask,
        maximum,
        mean,
        minimum,
        noise,
        relu,
        sigmoid,
        sign,
        softplus,
        softsign,
        sqrt,
        tanh,
        variance,
        weight,
        where,
    )
    from unrolled.cells.leaky import AntisymmetricRNN, LeakyRNN
    from unrolled.cells.lstm import LSTM, ProjectedLSTM
    from unrolled.cells.lstm1997 import LSTM1997, TruncatedLSTM1997
    from unrolled.cells.minimal import JANET, MGU, MinGRU, MinLSTM
    from unrolled.cells.normalised import LayerNormLSTM
    from unrolled.cells.odyssey import (
        FGR,
        NFG,
        NIAF,
        NIG,
        NOAF,
        NOG,
        NP,
        PeepholeCIFG,
        VanillaLSTM,
    )
    from unrolled.cells.options import variational_dropout, zoneout
    from unrolled.cells.peephole import PeepholeLSTM
    from unrolled.cells.slstm import SLSTM
    from unrolled.cells.values import CellError

_HOMES = {
    "cell": ("Cell",),
    "coupled": ("CIFG",),
    "description": ("Description", "Form"),
    "elman": ("RNN",),
    "entity_aware": ("EALSTM",),
    "gru": ("GRU", "GRUResetBefore"),
    "independent": ("IndRNN",),
    "language": (
        "absolute",
        "detach",
        "exp",
        "hard_sigmoid",
        "hard_tanh",
        "linear",
        "log",
        "mask",
        "maximum",
        "mean",
        "minimum",
        "noise",
        "relu",
        "sigmoid",
        "sign",
        "softplus",
        "softsign",
        "sqrt",
        "tanh",
        "variance",
        "weight",
        "where",
    ),
    "leaky": ("AntisymmetricRNN", "LeakyRNN"),
    "lstm": ("LSTM", "ProjectedLSTM"),
    "lstm1997": ("LSTM1997", "TruncatedLSTM1997"),
    "minimal": ("JANET", "MGU", "MinGRU", "MinLSTM"),
    "normalised": ("LayerNormLSTM",),
    "odyssey": ("FGR", "NFG", "NIAF", "NIG", "NOAF", "NOG", "NP", "PeepholeCIFG", "VanillaLSTM"),
    "options": ("variational_dropout", "zoneout"),
    "peephole": ("PeepholeLSTM",),
    "slstm": ("SLSTM",),
    "values": ("CellError",),
}

__all__ = [
    "CIFG",
    "EALSTM",
    "FGR",
    "GRU",
    "JANET",
    "LSTM",
    "LSTM1997",
    "MGU",
    "NFG",
    "NIAF",
    "NIG",
    "NOAF",
    "NOG",
    "NP",
    "RNN",
    "SLSTM",
    "AntisymmetricRNN",
    "Cell",
    "CellError",
    "Description",
    "Form",
    "GRUResetBefore",
    "IndRNN",
    "LayerNormLSTM",
    "LeakyRNN",
    "MinGRU",
    "MinLSTM",
    "PeepholeCIFG",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "TruncatedLSTM1997",
    "VanillaLSTM",
    "absolute",
    "detach",
    "exp",
    "hard_sigmoid",
    "hard_tanh",
    "linear",
    "log",
    "mask",
    "maximum",
    "mean",
    "minimum",
    "noise",
    "relu",
    "sigmoid",
    "sign",
    "softplus",
    "softsign",
    "sqrt",
    "tanh",
    "variance",
    "variational_dropout",
    "weight",
    "where",
    "zoneout",
]

__getattr__, __dir__ = attributes(__name__, _HOMES)
