"""``unrolled predict``."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from unrolled.cli.display import notes, screen
from unrolled.errors import InputError
from unrolled.learn.predict import predict_table
from unrolled.model import load_run
from unrolled.model.folder import Missing, check_free_file


def run_predict(run: Path, data: Path, out: Path, *, missing: str | None, overwrite: bool) -> None:
    """Predicts and writes the CSV file."""
    if missing is not None and missing not in get_args(Missing):
        raise InputError(
            f"--missing: one of {', '.join(get_args(Missing))} was expected, got {missing!r}"
        )
    check_free_file(out, overwrite=overwrite)
    predictions = predict_table(load_run(run), data, missing=cast("Missing | None", missing))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(predictions.frame.write_csv().encode())
    if predictions.without:
        notes.print(
            f"{predictions.without} rows have no prediction of their own: "
            "no whole window ends in them"
        )
    screen.print(f"Wrote {len(predictions.frame)} predictions to {out}", soft_wrap=True)
