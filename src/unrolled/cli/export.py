"""``unrolled export``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast, get_args

import numpy as np
from rich.table import Table

from unrolled.cli.display import notes, screen
from unrolled.deploy.onnx_export import build, write
from unrolled.deploy.onnx_graph import Storage
from unrolled.deploy.onnx_quantize import (
    TOLERANCE,
    Measured,
    check_faithful,
    export_quantized,
    predict_windows,
)
from unrolled.deploy.parts import parts_of
from unrolled.errors import InputError
from unrolled.learn.samples import Sample, sample_of
from unrolled.model import Run, load_run
from unrolled.model.folder import Missing, read_sample
from unrolled.output import check_apart, check_suffix, writing
from unrolled.runfile import SAMPLE, files_of

NAMED = "the argument OUT"


def run_export(
    folder: Path,
    out: Path,
    *,
    stateful: bool,
    double: bool,
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
    check_suffix(out, (".onnx",), NAMED)
    check_apart(out, {**({} if data is None else {"the table": data}), **files_of(folder)}, NAMED)
    with writing(out, overwrite=overwrite, flag=NAMED) as draft:
        run = load_run(folder)
        measured = storage != "float32"
        sample, reason = _sample(
            run, folder, data, cast("Missing | None", missing), with_truth=measured
        )
        if storage == "float32":
            found = _export_whole(run, draft, sample, reason, stateful=stateful, double=double)
        else:
            allowed = TOLERANCE if tolerance is None else tolerance
            found = _export_small(
                run,
                draft,
                storage,
                sample,
                reason,
                stateful=stateful,
                double=double,
                tolerance=allowed,
            )
    for line in found.told:
        screen.print(line, soft_wrap=True)
    screen.print(f"Wrote {out}: {found.size}", soft_wrap=True)


class _Found(NamedTuple):
    """What is said of a file that is written: how it compares, and its size."""

    told: list[str | Table]
    size: str


def _sample(
    run: Run, folder: Path, data: Path | None, missing: Missing | None, *, with_truth: bool
) -> tuple[Sample | None, str]:
    """The windows to measure on; None and why, if the run's own rows will not do."""
    if data is not None:
        return sample_of(run, data, missing=missing, with_truth=with_truth), ""
    if not (folder / SAMPLE).is_file():
        return None, f"the run has no {SAMPLE}"
    rows = read_sample(folder)
    try:
        return sample_of(run, rows, missing=missing, with_truth=with_truth), ""
    except InputError as error:
        return None, str(error)


def _export_whole(
    run: Run, draft: Path, sample: Sample | None, reason: str, *, stateful: bool, double: bool
) -> _Found:
    model = build(parts_of(run), stateful=stateful, double=double)
    predicted = None if sample is None else predict_windows(model, sample.windows)
    if sample is not None and predicted is not None:
        check_faithful(run, predicted, sample.predicted, double=double)
    write(model, draft)
    told: list[str | Table] = []
    if sample is None or predicted is None:
        notes.print(f"Not compared with the run: {reason}. Give rows with --data", soft_wrap=True)
    else:
        apart = np.abs(predicted - sample.predicted).max(axis=0)
        spreads = sample.truth.std(axis=0)  # NaN where no target is known
        for name, largest, spread in zip(run.table.targets, apart, spreads, strict=True):
            known = f" (the target's spread is {spread:.3g})" if np.isfinite(spread) else ""
            told.append(
                f"{name} in ONNX Runtime, on {len(sample.windows)} windows: at most {largest:.1e} "
                f"from the run's own predictions{known}"
            )
    return _Found(told, f"{model.ByteSize():,} bytes")


def _export_small(
    run: Run,
    draft: Path,
    storage: Storage,
    sample: Sample | None,
    reason: str,
    *,
    stateful: bool,
    double: bool,
    tolerance: float,
) -> _Found:
    if sample is None:
        columns = ", ".join(dict.fromkeys(run.table.inputs + run.table.targets))
        raise InputError(
            f"the loss of {storage} weights can't be measured: {reason}. Give test rows with "
            f"--data, a table with the columns {columns}"
        )
    measured = export_quantized(
        run,
        draft,
        storage,
        sample.windows,
        sample.truth,
        predicted=sample.predicted,
        stateful=stateful,
        double=double,
        tolerance=tolerance,
    )
    return _Found(
        [_table(measured, run.table.targets, sample)],
        f"{measured.bytes_after:,} bytes with {storage} weights, "
        f"{measured.bytes_before:,} with float32",
    )


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
