"""Drop-in recurrent modules: torch.nn's arguments, weights, shapes and numbers."""

from unrolled.nn import init
from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell
from unrolled.nn.described import Recurrent
from unrolled.nn.recurrent import GRU, LSTM, RNN
from unrolled.nn.which import which_backend

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Recurrent",
    "init",
    "which_backend",
]


def __dir__() -> list[str]:
    return sorted(__all__)
