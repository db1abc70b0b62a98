"""Initial values and memory, for people: what the page says of the trials, and their picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unrolled.learn.plot import CURVES
from unrolled.reproduce.course import NEVER
from unrolled.reproduce.initial import (
    CLEARLY,
    NETWORKS,
    SEEDS,
    TASKS,
    TRAINING,
    UPDATES,
    Outcome,
)
from unrolled.reproduce.results import lags_of

SHOWN = 1000
"""The length whose gradients are drawn."""

STYLES = ("-", "--", ":")
"""Of a cell's initial values, from the last in :data:`NETWORKS` back."""


def _cell_of(name: str) -> str:
    return name.split(",")[0]


COLORS = dict(zip(dict.fromkeys(map(_cell_of, NETWORKS)), CURVES, strict=True))


def text() -> str:
    """How the trials are run, and what they can't say."""
    budget = ", ".join(f"{n:,} at T = {length:,}" for length, n in UPDATES.items())
    of_cells = {_cell_of(name): start.rate for name, start in NETWORKS.items()}
    rates = ", ".join(f"{rate:g} for {cell}" for cell, rate in of_cells.items())
    return (
        f"Each network has {TRAINING.hidden_size} hidden units and is trained by Adam on batches "
        f"of {TRAINING.batch_size} new sequences, with the norm of the gradient clipped to "
        f"{TRAINING.clip:g}. The rates are fixed: {rates}. So is the number of updates: {budget}. "
        "The papers' networks were larger and were trained for longer: what is not learned here "
        "may be learned with their budgets. chrono draws memories up to the length of the "
        "sequence. The identity RNN has relu and begins with biases of 0, as in Le et al.; the "
        "matrix that reads the input is torch's.\n\n"
        f"A network beats chance clearly when its loss at a check is below {CLEARLY:g} of "
        f"chance's. Each number is the median of {len(SEEDS)} trials."
    )


def table(records: Sequence[Outcome]) -> str:
    """Three tables in Markdown for each task that there are trials of."""
    parts = []
    for task in TASKS:
        some = [record for record in records if record.task == task]
        if some:
            for heading, cell in (
                ("loss at the end as a share of chance's", _share),
                ("sequences to beating chance clearly / to solving the task", _sequences),
                ("horizon in steps, before → after training", _horizon),
            ):
                parts.append(f"**{task.capitalize()}**: {heading}\n\n{_grid(some, cell)}")
    return "\n\n".join(parts) + "\n"


def _grid(records: Sequence[Outcome], cell: Callable[[list[Outcome]], str]) -> str:
    lengths = sorted({record.length for record in records})
    lines = [
        "| network | " + " | ".join(f"T = {length:,}" for length in lengths) + " |",
        "| --- |" + " --- |" * len(lengths),
    ]
    for name in NETWORKS:
        groups = [_of(records, name, length) for length in lengths]
        cells = [cell(group) if group else "" for group in groups]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _of(records: Sequence[Outcome], name: str, length: int) -> list[Outcome]:
    return [r for r in records if (r.network, r.length) == (name, length)]


def _share(group: list[Outcome]) -> str:
    diverged = len(group) - len(_finite(group))
    if diverged:
        return f"{diverged} of {len(group)} diverged"
    shares = [record.share for record in group]
    return f"{median(shares):.2g} ({min(shares):.2g} to {max(shares):.2g})"


def _sequences(group: list[Outcome]) -> str:
    both = [record.beaten for record in group], [record.solved for record in group]
    return " / ".join(_after(counts) for counts in both)


def _after(counts: list[int]) -> str:
    """The median of those that came to it, and how many these are if not all."""
    found = [count for count in counts if count != NEVER]
    if not found:
        return "never"
    share = "" if len(found) == len(counts) else f" ({len(found)} of {len(counts)})"
    return f"{median(found):,.0f}{share}"


def _horizon(group: list[Outcome]) -> str:
    before = f"{median(record.horizon_before for record in group):,.0f}"
    after = [record.horizon_after for record in _finite(group)]
    return f"{before} → {median(after):,.0f}" if after else f"{before} → diverged"


def _finite(group: list[Outcome]) -> list[Outcome]:
    return [record for record in group if record.horizon_after != NEVER]


# --- the picture --------------------------------------------------------------------------------


def draw(path: Path, records: Sequence[Outcome], shown: int = SHOWN) -> None:
    """Writes a PNG: the loss by length, and the gradient by lag before and after training.

    Args:
        path: where to.
        records: the trials.
        shown: the length whose gradients are drawn.
    """
    figure = Figure(figsize=(13.0, 7.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(TASKS), 3)
    for (loss, before, after), task in zip(axes, TASKS, strict=True):
        some = [record for record in records if record.task == task]
        _draw_losses(loss, some)
        loss.set_title(f"{task}: loss at the end", fontsize=10, loc="left")
        at = [record for record in some if record.length == shown]
        _draw_gradients(before, at, lambda record: record.gradient_before)
        _draw_gradients(after, at, lambda record: record.gradient_after)
        for ax, when in ((before, "before"), (after, "after")):
            title = f"{task}, T = {shown:,}: gradient {when} training"
            ax.set_title(title, fontsize=10, loc="left")
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, format="png")  # whatever a draft's name ends in


def _looks() -> Iterator[tuple[str, str, str]]:
    """Each network's name, colour and line style."""
    for cell, color in COLORS.items():
        names = [name for name in NETWORKS if _cell_of(name) == cell]
        yield from zip(names, [color] * len(names), reversed(STYLES[: len(names)]), strict=True)


def _draw_losses(ax: Axes, records: Sequence[Outcome]) -> None:
    for name, color, style in _looks():
        medians = {
            length: median(record.share for record in finite)
            for length in sorted({record.length for record in records})
            if (finite := _finite(_of(records, name, length)))
        }
        lengths, shares = list(medians), list(medians.values())
        ax.plot(lengths, shares, color=color, ls=style, marker=".", lw=1.5, label=name)
    ax.axhline(1.0, color="0.35", lw=1.1, label="chance")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(list(UPDATES), [f"{length:,}" for length in UPDATES])
    ax.minorticks_off()
    ax.set_xlabel("T")
    ax.set_ylabel("share of chance's loss")


def _draw_gradients(
    ax: Axes, records: Sequence[Outcome], gradient: Callable[[Outcome], str]
) -> None:
    """As shares of that at lag 0, the median over the trials."""
    for name, color, style in _looks():
        curves = [
            np.array(json.loads(gradient(record)))
            for record in records
            if record.network == name and gradient(record) != "[]"
        ]
        if curves:
            lags = lags_of(next(r.steps for r in records if r.network == name))
            shares = np.median([curve / curve[0] for curve in curves], axis=0)
            ax.plot(lags, np.where(shares > 0, shares, np.nan), color=color, ls=style, lw=1.5)
    ax.set_xscale("symlog", linthresh=1.0)
    ax.set_yscale("log")
    ax.set_ylim(1e-12, 1e3)
    ax.set_xlabel("lag (steps back from the end)")
    ax.set_ylabel("share of that at lag 0")
