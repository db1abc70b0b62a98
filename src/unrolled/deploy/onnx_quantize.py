"""ONNX files with weights of 8 or 16 bits, and what that costs a trained run in accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.deploy.onnx_export import build, write
from unrolled.deploy.onnx_extra import need
from unrolled.deploy.onnx_graph import Storage
from unrolled.deploy.parts import parts_of
from unrolled.errors import InputError
from unrolled.model import Run

Array = NDArray[np.float64]

AT_ONCE = 1024
"""Windows in one call."""
TOLERANCE = 0.1
"""By what share of itself the error may grow, unless told otherwise."""
FARTHEST = 0.01
"""Of the standard deviation of what is predicted: how far a file's predictions may be from its
run's, root mean square. Rounding alone comes to a thousandth of that, or less."""
ROUNDING = 1e-6
"""Of a target's spread: an error below it is float32's own, and grows by chance."""


@dataclass(frozen=True)
class Measured:
    """A run in ONNX Runtime, with float32 weights and with those stored, on the same windows.

    Attributes:
        storage: how the weights are stored.
        bytes_before: of the file with float32 weights.
        bytes_after: of the file as it is.
        rmse_before: with float32 weights, root mean square error of each target in its units [O].
        rmse_after: the same of the file as it is [O].
        deviation: the largest difference between the two's predictions, in the units [O].
        spread: the standard deviation of each target [O].
    """

    storage: Storage
    bytes_before: int
    bytes_after: int
    rmse_before: Array
    rmse_after: Array
    deviation: Array
    spread: Array

    @property
    def growth(self) -> Array:
        """By what share of itself each target's error has grown [O]; negative if it shrank."""
        floor = np.maximum(ROUNDING * self.spread, np.finfo(np.float64).tiny)
        before = np.maximum(self.rmse_before, floor)
        grown: Array = np.maximum(self.rmse_after, floor) / before - 1.0
        return grown


def export_quantized(
    run: Run,
    path: str | Path,
    storage: Storage,
    windows: Array,
    truth: Array,
    *,
    predicted: Array,
    stateful: bool = True,
    double: bool = False,
    tolerance: float = TOLERANCE,
) -> Measured:
    """Writes a run as :func:`~unrolled.export_onnx` does, with smaller weights, and measures both.

    The weights of all products are stored in fewer bits and made float32 again when the model is
    loaded; biases and scalers stay as they are. So every runtime can run it, as fast as with
    float32 weights, and what is lost is what rounding the weights loses.

    Args:
        run: a trained run.
        path: the file to write; one that exists is replaced.
        storage: "bfloat16", half the size, or "int8", a quarter, with a scale for each row.
        windows: inputs [n, W, I] in the table's units, as
            :class:`~unrolled.learn.samples.Sample` has them.
        truth: the targets [n, O].
        predicted: what the run itself makes of the windows [n, O].
        stateful: as in :func:`~unrolled.export_onnx`.
        double: as there.
        tolerance: by what share of itself the root mean square error of any target may grow.

    Raises:
        InputError: the error grows by more; or what :func:`~unrolled.export_onnx` and
            :func:`check_faithful` say. No file is written then.
    """
    parts = parts_of(run)
    before = build(parts, stateful=stateful, double=double)
    after = build(parts, stateful=stateful, storage=storage, double=double)
    found = [predict_windows(model, windows) for model in (before, after)]
    check_faithful(run, found[0], predicted, double=double)
    rmse = [np.sqrt(((values - truth) ** 2).mean(axis=0)) for values in found]
    measured = Measured(
        storage=storage,
        bytes_before=before.ByteSize(),
        bytes_after=after.ByteSize(),
        rmse_before=rmse[0],
        rmse_after=rmse[1],
        deviation=np.abs(found[1] - found[0]).max(axis=0),
        spread=truth.std(axis=0),
    )
    _refuse_loss(measured, run.table.targets, tolerance)
    write(after, Path(path))
    return measured


def check_faithful(run: Run, found: Array, predicted: Array, *, double: bool) -> None:
    """That a file with float32 weights predicts as its run does.

    Args:
        run: the run.
        found: what the file makes of some windows [n, O].
        predicted: what the run makes of them [n, O].
        double: whether the file takes float64.

    Raises:
        InputError: of a target they are further apart than :data:`FARTHEST`.
    """
    apart = np.sqrt(((found - predicted) ** 2).mean(axis=0))
    for name, far, scale in zip(
        run.table.targets, apart, np.abs(run.target_scaler.scale), strict=True
    ):
        if not far <= FARTHEST * scale:  # so that NaN is refused as well
            repair = (
                "The network makes much of rounding: predict with unrolled predict or stream"
                if double
                else "Take and give float64: --double, or double=True"
            )
            raise InputError(
                f"{name!r}: in ONNX Runtime the predictions are {far:.2g} (root mean square) from "
                f"the run's own, and {FARTHEST * scale:.2g} is allowed, {FARTHEST:.0%} of what it "
                f"predicts varies by. {repair}"
            )


def _refuse_loss(measured: Measured, targets: list[str], tolerance: float) -> None:
    for column, name in enumerate(targets):
        before, after = measured.rmse_before[column], measured.rmse_after[column]
        growth = measured.growth[column]
        if not growth <= tolerance:  # so that NaN is refused as well
            raise InputError(
                f"with {measured.storage} weights the error (RMSE) of {name!r} grows from "
                f"{before:.4g} to {after:.4g}, by {100 * growth:.3g}%, and "
                f"{100 * tolerance:.3g}% is allowed. Allow more with --tolerance, or keep more bits"
            )


def predict_windows(model: Any, windows: Array) -> Array:
    """What an exported run predicts at the end of each window [n, O], by ONNX Runtime.

    Args:
        model: an ``onnx.ModelProto`` of a run.
        windows: inputs [n, W, I], or [n, W + 1, I] for a run that reads changes.
    """
    runtime = need("onnxruntime")
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    taken = next(port.type for port in session.get_inputs() if port.name == "input")
    number = np.float64 if taken == "tensor(double)" else np.float32
    outputs = [
        session.run(["output"], _feed(session, chunk.astype(number)))[0]
        for chunk in _chunks(windows)
    ]
    made: Array = np.concatenate([o if o.ndim == 2 else o[:, -1] for o in outputs])
    return made.astype(np.float64)


def _chunks(windows: Array) -> Iterator[Array]:
    for start in range(0, len(windows), AT_ONCE):
        yield windows[start : start + AT_ONCE]


def _feed(session: Any, windows: NDArray[np.floating]) -> dict[str, Any]:
    """All inputs of the graph: whole rows, zero states, and the row before if it is one."""
    feed: dict[str, Any] = {"input": windows, "lengths": np.array([-1], dtype=np.int32)}
    for port in session.get_inputs():
        if port.name == "row_0":
            feed |= {"row_0": windows[:, 0], "input": windows[:, 1:]}
        elif port.name not in feed:
            depth, _, width = port.shape
            feed[port.name] = np.zeros((depth, len(windows), width), dtype=np.float32)
    return feed
