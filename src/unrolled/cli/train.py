"""``unrolled train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from unrolled.cli.display import notes, progress, screen
from unrolled.cli.process import exit_code
from unrolled.errors import DivergedError
from unrolled.learn.baselines import Score, beaten_by
from unrolled.learn.dataset import read_dataset
from unrolled.learn.loop import History
from unrolled.learn.results import save_training
from unrolled.learn.settings import read_settings
from unrolled.learn.train import Training, check_fits, network_config, train_dataset
from unrolled.learn.watch import Explosion, Record
from unrolled.learn.watch_files import write_lines
from unrolled.output import check_apart, replacing
from unrolled.resources import check_disk
from unrolled.runfile import LINES, PICTURE, RUN_FILES, WATCH_PICTURE, files_of

NAMES = {"mean": "the mean", "last value": "the last value", "ridge": "ridge regression"}


def run_train(flags: dict[str, Any], config: Path | None, *, overwrite: bool) -> None:
    """Trains, prints the network beside its baselines, and writes the run folder."""
    data, out, settings = read_settings(flags, config)
    sources = {"the table": data, **({} if config is None else {"the config": config})}
    for path in [*files_of(out).values(), *([_beside(out)] if settings.watch else [])]:
        check_apart(path, sources)
    watched: list[Record] = []
    with replacing(out, overwrite=overwrite, stale=RUN_FILES) as draft:
        dataset = read_dataset(data, settings)
        check_fits(dataset, settings)
        weights = 4 * network_config(settings).count_weights()
        check_disk(draft, weights, f"{out}: the weights", "Make room, or name another with --out")
        epochs, most = 0, settings.fit_settings(len(dataset.ends[0])).epochs

        def note(history: History) -> None:
            nonlocal epochs
            epochs = len(history.validation)
            on_epoch(history)

        try:
            with progress(settings.title, most) as on_epoch:
                training = train_dataset(dataset, settings, note, watched.append)
            save_training(training, draft)
        except DivergedError as error:
            raise DivergedError(f"{error}{_left(watched, out)}") from error
        except KeyboardInterrupt:
            # Or a second one, while the best weights so far were scored and written.
            when = "" if epochs else " before the first epoch was done"
            raise KeyboardInterrupt(f"interrupted{when}: nothing was kept") from None
    for target, scores in training.scores.items():
        screen.print(_table(training, target, scores))
        screen.print(verdict(settings.title, target, scores))
    history = training.history
    screen.print(
        f"{training.run.network.count_weights():,} weights, {len(history.validation)} epochs "
        f"(best: {history.best_epoch + 1}), {training.seconds:.1f} s."
    )
    _print_explosions([record for record in watched if isinstance(record, Explosion)], out)
    pictures = [out / PICTURE, *([out / WATCH_PICTURE] if watched else [])]
    looking = " and ".join(map(str, pictures))
    screen.print(f"Wrote {out}/: look at {looking}", soft_wrap=True)
    if history.interrupted:
        notes.print("interrupted: kept the best weights so far")
        raise typer.Exit(exit_code())


def _print_explosions(explosions: list[Explosion], out: Path) -> None:
    """The first in one line, and how many more there were."""
    if explosions:
        more = f" ({len(explosions) - 1} more in {out / LINES})" if len(explosions) > 1 else ""
        screen.print(f"Watched: {explosions[0]}{more}", soft_wrap=True)


def _left(watched: list[Record], out: Path) -> str:
    """Writes what a training that came to nothing has shown, beside the folder; says where."""
    if not watched:
        return ""
    path = _beside(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_lines(path, watched)
    except OSError as error:
        return f". What was watched can't be written to {path}: {error.strerror or error}"
    return f". What was watched until then is in {path}"


def _beside(out: Path) -> Path:
    """Where the records of a training go that leaves no folder."""
    place = out if out.name not in ("", "..") else out.resolve()
    return place.parent / f"{place.name}.{LINES}"


def verdict(network: str, target: str, scores: dict[str, Score | None]) -> str:
    """In plain words, whether the network is worth having for this target."""
    losses = beaten_by(scores)
    mine = scores["network"]
    if not losses or mine is None:
        return f"The {network} beats every baseline on {target!r}."
    best = min((scores[name] for name in losses), key=lambda s: s.rmse if s else 0.0)
    names = " and ".join(NAMES[name] for name in losses)
    factor = "beyond"
    if best and best.rmse > 0:
        ratio = mine.rmse / best.rmse
        factor = f"{ratio:,.0f} times" if ratio >= 100 else f"{ratio:.2f} times"
    return (
        f"The {network} LOSES to {names} on {target!r}: its error is {factor} the best of theirs. "
        "Use the simpler model, or change the window, the inputs or the network."
    )


def _table(training: Training, target: str, scores: dict[str, Score | None]) -> Table:
    table = Table(title=f"{target} on the last {training.counts['test']} windows (test)")
    table.add_column("predicted by")
    for column in ("RMSE", "MAE", "R²"):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        label = training.settings.title if name == "network" else NAMES[name]
        if score is None:
            table.add_row(label, "–", "–", "–")
        else:
            r2 = "–" if score.r2 is None else f"{score.r2:.3f}"
            table.add_row(label, f"{score.rmse:.4g}", f"{score.mae:.4g}", r2)
    if scores["last value"] is None:
        table.caption = "the last value is not known when predicting: the target is no input"
    return table
