"""``unrolled demo``."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from unrolled.cli.display import progress, screen
from unrolled.cli.process import NOTHING_KEPT
from unrolled.learn.results import save_wave
from unrolled.learn.wave import CELLS, EPOCHS, SETTLING, WaveResult, train_wave
from unrolled.output import replacing
from unrolled.runfile import RUN_FILES


def run_demo(out: Path, *, seed: int, overwrite: bool) -> None:
    """Trains the three networks, prints their table and writes the folder."""
    with replacing(out, overwrite=overwrite, stale=RUN_FILES) as draft:
        results = []
        for cell in CELLS:
            with progress(f"{cell.upper():4}", EPOCHS) as on_epoch:
                results.append(train_wave(cell, seed=seed, on_epoch=on_epoch))
            if results[-1].history.interrupted:
                # Half of a comparison is none: leave, rather than go on to the next network.
                raise KeyboardInterrupt(NOTHING_KEPT)
        save_wave(results, draft)
    screen.print(_table(results))
    screen.print(
        f"The error is the mean square over {len(results[0].t) - SETTLING} later steps, at phases "
        f"that training never met, after {SETTLING} steps that settle the state."
    )
    screen.print(f"Wrote {out}/: look at {out / 'picture.png'}", soft_wrap=True)


def _table(results: list[WaveResult]) -> Table:
    table = Table(title="cos t from sin t")
    table.add_column("network")
    for column in ("unseen error", "weights", "seconds"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            result.cell.upper(),
            f"{result.error:.1e}",
            f"{result.run.network.count_weights():,}",
            f"{result.seconds:.1f}",
        )
    return table
