"""One recurrent pass over a batch of sequences: what is computed, and by whom.

* ``spec``: the cells (their gates and states) and the options of a pass, as plain values.
* ``sequences``: a batch of sequences in the layout of the pass, dense or ragged.
* ``reference``: the equations in plain torch; the oracle, and the fallback.
* ``kernels``: the same pass by torch's own kernels.
* ``engine``: picks one of them. Callers use this and nothing below it.
"""

from unrolled.scan.engine import is_native_forced, run, run_cell, run_described
from unrolled.scan.sequences import Sequences, dense, ragged
from unrolled.scan.spec import CELLS, Cell, Spec, State, Weights

__all__ = [
    "CELLS",
    "Cell",
    "Sequences",
    "Spec",
    "State",
    "Weights",
    "dense",
    "is_native_forced",
    "ragged",
    "run",
    "run_cell",
    "run_described",
]
