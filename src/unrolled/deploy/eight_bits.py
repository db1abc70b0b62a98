"""A plan whose recurrent layers have products in 8 bits, and those products, in NumPy.

What is computed is said in :mod:`unrolled.scan.eight_bits`, to the same numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unrolled.deploy.plan import Array, Described, Layer, Plan, Recurrent, Weights
from unrolled.errors import InputError

MOST, NOTHING = 127, 1e-30
LONGEST = 2**16
"""So many products in 8 bits are summed in 32 bits."""


def quantized(x: Array) -> tuple[Array, Array]:
    """Whole numbers of ``x`` [..., n], in its dtype, and their scales [..., 1]."""
    most = np.abs(x).max(axis=-1, keepdims=True, initial=0)
    is_there = ~(most < NOTHING)
    with np.errstate(invalid="ignore"):
        scale = np.where(is_there, most / x.dtype.type(MOST), x.dtype.type(0))
        inverse = np.where(is_there, MOST / np.where(is_there, most, 1), 0).astype(x.dtype)
        return np.rint(x * inverse), scale


def product(x: Array, matrix: Array) -> Array:
    """``x @ matrix.T`` in 8 bits."""
    (rows, of_rows), (columns, of_columns) = quantized(x), quantized(matrix)
    exact = rows.astype(np.float64) @ columns.astype(np.float64).T
    found: Array = exact.astype(x.dtype) * (of_rows * of_columns.T)
    return found


def in_eight_bits(plan: Plan) -> Plan:
    """The same plan with products in 8 bits, and weights that 8 bits can say.

    Raises:
        InputError: it has a cell that is written down, too many inputs or units, or is in float64.
    """
    if plan.dtype != "float32":
        raise InputError(
            f"int8=True is for numbers in float32, and the model's are {plan.dtype}. Convert it "
            "with model.float()"
        )
    return replace(plan, layers=tuple([_narrowed(layer) for layer in plan.layers]))


def _narrowed(layer: Layer) -> Layer:
    match layer:
        case Described(cell):
            raise InputError(
                f"int8=True is for RNN, LSTM and GRU, and the model has a cell {cell.name}. Leave "
                "it out"
            )
        case Recurrent(weights=weights):
            return replace(layer, weights=tuple(map(_representable, weights)), int8=True)
    return layer


def _representable(weights: Weights) -> Weights:
    """The weights as :func:`unrolled.quantize` keeps them."""
    matrices = {"ih": weights.ih, "hh": weights.hh, "hr": weights.hr}
    longest = max(matrix.shape[1] for matrix in matrices.values() if matrix is not None)
    if longest > LONGEST:
        raise InputError(
            f"int8=True is for up to {LONGEST} inputs and units, and the model has {longest}. "
            "Leave it out"
        )
    narrow = {}
    for name, matrix in matrices.items():
        if matrix is not None:
            whole, scale = quantized(matrix)
            narrow[name] = whole * scale
    return weights._replace(**narrow)
