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

from unrolled.cells.cell import Cell as Cell
from unrolled.cells.coupled import CIFG as CIFG
from unrolled.cells.description import Description as Description
from unrolled.cells.elman import RNN as RNN
from unrolled.cells.entity_aware import EALSTM as EALSTM
from unrolled.cells.gru import GRU as GRU
from unrolled.cells.gru import GRUResetBefore as GRUResetBefore
from unrolled.cells.independent import IndRNN as IndRNN
from unrolled.cells.language import CellError as CellError
from unrolled.cells.language import absolute as absolute
from unrolled.cells.language import exp as exp
from unrolled.cells.language import hard_sigmoid as hard_sigmoid
from unrolled.cells.language import hard_tanh as hard_tanh
from unrolled.cells.language import linear as linear
from unrolled.cells.language import log as log
from unrolled.cells.language import mask as mask
from unrolled.cells.language import maximum as maximum
from unrolled.cells.language import mean as mean
from unrolled.cells.language import minimum as minimum
from unrolled.cells.language import noise as noise
from unrolled.cells.language import relu as relu
from unrolled.cells.language import sigmoid as sigmoid
from unrolled.cells.language import sign as sign
from unrolled.cells.language import softplus as softplus
from unrolled.cells.language import softsign as softsign
from unrolled.cells.language import sqrt as sqrt
from unrolled.cells.language import tanh as tanh
from unrolled.cells.language import variance as variance
from unrolled.cells.language import weight as weight
from unrolled.cells.language import where as where
from unrolled.cells.lstm import LSTM as LSTM
from unrolled.cells.lstm import ProjectedLSTM as ProjectedLSTM
from unrolled.cells.lstm1997 import LSTM1997 as LSTM1997
from unrolled.cells.minimal import JANET as JANET
from unrolled.cells.minimal import MGU as MGU
from unrolled.cells.minimal import MinGRU as MinGRU
from unrolled.cells.minimal import MinLSTM as MinLSTM
from unrolled.cells.normalised import LayerNormLSTM as LayerNormLSTM
from unrolled.cells.peephole import PeepholeLSTM as PeepholeLSTM
