"""One recurrent pass over a batch of sequences: what is computed, and by whom.

* ``spec``: the options of a pass and what it is given, as plain values.
* ``sequences``: a batch of sequences in the layout of the pass, dense or ragged.
* ``reference``: the equations in plain torch; the oracle, and the fallback.
* ``kernels``: the same pass by torch's own kernels.
* ``compiled``: the same pass on the compiled core.
* ``engine``: picks one of them. Callers use this and nothing below it.
"""

from unrolled.scan.engine import is_native_forced, run, run_cell
from unrolled.scan.sequences import Sequences, dense, ragged
from unrolled.scan.spec import Given, Spec, State, of_kernel

__all__ = [
    "Given",
    "Sequences",
    "Spec",
    "State",
    "dense",
    "is_native_forced",
    "of_kernel",
    "ragged",
    "run",
    "run_cell",
]
