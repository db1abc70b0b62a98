"""What was watched, as files: a line a record, a picture, and TensorBoard's events."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unrolled.learn.watch import Explosion, Record, Snapshot
from unrolled.learn.watch_plot import draw_watch
from unrolled.runfile import EVENT_FILE, EVENTS, LINES, WATCH_PICTURE


def save_watch(records: Sequence[Record], folder: Path) -> None:
    """All of them into a folder that exists; the events where ``tensorboard`` is installed."""
    write_lines(folder / LINES, records)
    draw_watch(folder / WATCH_PICTURE, records)
    write_events(folder / EVENTS, records)


def write_lines(path: Path, records: Sequence[Record]) -> None:
    """One JSON object a line; what is not finite is null."""
    path.write_text("".join(f"{_line(record)}\n" for record in records), encoding="utf-8")


def _line(record: Record) -> str:
    return json.dumps({"kind": record.kind, **_finite(asdict(record))}, allow_nan=False)


def write_events(folder: Path, records: Sequence[Record]) -> None:
    """TensorBoard's file into ``folder``, which is made; nothing where it can't be imported."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception:  # not installed, or not whole: never worth the run
        return
    writer = SummaryWriter(str(folder))
    for record in records:
        if isinstance(record, Explosion):
            writer.add_text("explosion", str(record), record.update)
        else:
            for tag, value in scalars(record):
                writer.add_scalar(tag, value, record.update)
    writer.close()
    for path in folder.glob("*tfevents*"):
        path.replace(folder / EVENT_FILE)


def scalars(snapshot: Snapshot) -> Iterator[tuple[str, float]]:
    """TensorBoard's names and values; of the lags 0, 1, 2, 4, 8 … and the last."""
    yield "loss", snapshot.loss
    yield "gradient_norm/all", snapshot.gradient_norm
    for layer, norm in snapshot.layer_norms.items():
        yield f"gradient_norm/{_tag(layer)}", norm
    last = len(snapshot.gradient_by_lag) - 1
    for lag in sorted({0, last, *(2**power for power in range(last.bit_length()))}):
        yield f"gradient_by_lag/{lag}", snapshot.gradient_by_lag[lag]
    for layer, gates in snapshot.gates.items():
        for gate, found in gates.items():
            yield f"gate_mean/{_tag(layer)}/{gate}", found.mean
            yield f"gate_saturated/{_tag(layer)}/{gate}", found.saturated
    for layer, states in snapshot.states.items():
        for state, spread in states.items():
            yield f"state_mean/{_tag(layer)}/{state}", spread.mean
            yield f"state_deviation/{_tag(layer)}/{state}", spread.deviation


def _tag(layer: str) -> str:
    return re.sub(r"\W+", "_", layer)


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
