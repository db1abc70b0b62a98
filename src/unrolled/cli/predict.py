"""``unrolled predict``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast, get_args

import polars as pl

from unrolled.cli.display import notes, screen
from unrolled.errors import InputError
from unrolled.learn.predict import predict_table
from unrolled.learn.source import PARQUET, TEXT
from unrolled.model import load_run
from unrolled.model.folder import Missing
from unrolled.output import check_apart, check_suffix, writing
from unrolled.runfile import files_of


def run_predict(run: Path, data: Path, out: Path, *, missing: str | None, overwrite: bool) -> None:
    """Predicts and writes the table, in the format that its name says."""
    if missing is not None and missing not in get_args(Missing):
        raise InputError(
            f"--missing: one of {', '.join(get_args(Missing))} was expected, got {missing!r}"
        )
    suffix = check_suffix(out, (*TEXT, *PARQUET))
    check_apart(out, {"the table": data, **files_of(run)})
    with writing(out, overwrite=overwrite) as draft:
        predictions = predict_table(load_run(run), data, missing=cast("Missing | None", missing))
        draft.write_bytes(_as_file(predictions.frame, suffix))
    if predictions.without:
        notes.print(
            f"{predictions.without} rows have no prediction of their own: "
            "no whole window ends in them"
        )
    screen.print(f"Wrote {len(predictions.frame)} predictions to {out}", soft_wrap=True)


def _as_file(frame: pl.DataFrame, suffix: str) -> bytes:
    if suffix in PARQUET:
        file = io.BytesIO()
        frame.write_parquet(file)
        return file.getvalue()
    return frame.write_csv(separator="\t" if suffix == ".tsv" else ",").encode()
