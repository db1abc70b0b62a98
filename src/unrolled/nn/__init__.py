"""Drop-in recurrent modules: torch.nn's arguments, weights, shapes and numbers."""

from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell
from unrolled.nn.recurrent import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
