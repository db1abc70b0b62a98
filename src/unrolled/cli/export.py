"""``unrolled export``."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import numpy as np
from rich.table import Table

from unrolled.cli.display import notes, screen
from unrolled.deploy.onnx_export import build, write
from unrolled.deploy.onnx_graph import Storage
from unrolled.deploy.onnx_quantize import TOLERANCE, Measured, export_quantized, predict_windows
from unrolled.deploy.parts import parts_of
from unrolled.errors import InputError
from unrolled.learn.results import SAMPLE
from unrolled.learn.samples import Sample, sample_of
from unrolled.model import Run, load_run
from unrolled.model.folder import Missing


def run_export(
    folder: Path,
    out: Path,
    *,
    stateful: bool,
    storage: Storage,
    data: Path | None,
    missing: str | None,
    tolerance: float | None,
    overwrite: bool,
) -> None:
    """Writes the ONNX file, and prints how it compares with the run."""
    if missing is not None and missing not in get_args(Missing):
        raise InputError(
            f"--missing: one of {', '.join(get_args(Missing))} was expected, got {missing!r}"
        )
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists. Name another file, or add --overwrite")
    run = load_run(folder)
    sample, reason = _sample(run, folder, data, cast("Missing | None", missing))
    if storage == "float32":
        _export_whole(run, out, sample, reason, stateful=stateful)
        return
    if sample is None:
        columns = ", ".join(dict.fromkeys(run.table.inputs + run.table.targets))
        raise InputError(
            f"the loss of {storage} weights can't be measured: {reason}. Give test rows with "
            f"--data, a table with the columns {columns}"
        )
    allowed = TOLERANCE if tolerance is None else tolerance
    measured = export_quantized(
        run, out, storage, sample.windows, sample.truth, stateful=stateful, tolerance=allowed
    )
    screen.print(_table(measured, run.table.targets, sample))
    screen.print(
        f"Wrote {out}: {measured.bytes_after:,} bytes with {storage} weights, "
        f"{measured.bytes_before:,} with float32",
        soft_wrap=True,
    )


def _sample(
    run: Run, folder: Path, data: Path | None, missing: Missing | None
) -> tuple[Sample | None, str]:
    """The windows to measure on; None and why, if the run's own rows will not do."""
    if data is not None:
        return sample_of(run, data, missing=missing), ""
    if not (folder / SAMPLE).is_file():
        return None, f"the run has no {SAMPLE}"
    try:
        return sample_of(run, folder / SAMPLE, missing=missing), ""
    except InputError as error:
        return None, str(error)


def _export_whole(
    run: Run, out: Path, sample: Sample | None, reason: str, *, stateful: bool
) -> None:
    model = build(parts_of(run), stateful=stateful)
    predicted = None if sample is None else predict_windows(model, sample.windows)
    write(model, out)
    if sample is None or predicted is None:
        notes.print(f"Not compared with the run: {reason}. Give rows with --data", soft_wrap=True)
    else:
        apart = np.abs(predicted - sample.predicted).max(axis=0)
        spreads = sample.truth.std(axis=0)
        for name, largest, spread in zip(run.table.targets, apart, spreads, strict=True):
            screen.print(
                f"{name} in ONNX Runtime, on {len(sample.windows)} windows: at most {largest:.1e} "
                f"from the run's own predictions (the target's spread is {spread:.3g})",
                soft_wrap=True,
            )
    screen.print(f"Wrote {out}: {model.ByteSize():,} bytes", soft_wrap=True)


def _table(measured: Measured, targets: list[str], sample: Sample) -> Table:
    rows_of = f"{len(sample.windows)} windows of {Path(sample.name).name}"
    table = Table(title=f"RMSE in the table's units, on {rows_of}")
    table.add_column("target")
    for column in ("float32", measured.storage, "growth", "largest change"):
        table.add_column(column, justify="right")
    rows = zip(
        targets,
        measured.rmse_before,
        measured.rmse_after,
        measured.growth,
        measured.deviation,
        strict=True,
    )
    for name, before, after, growth, deviation in rows:
        row = (f"{before:.4g}", f"{after:.4g}", f"{growth:+.2%}", f"{deviation:.2g}")
        table.add_row(name, *row)
    return table
