"""The pictures of the tables: sequences to success, and the gradient by lag."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from unrolled.learn.comparison_plot import COLORS
from unrolled.learn.plot import TARGET
from unrolled.reproduce.modern import NETWORKS, as_shipped
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.statistics import (
    Array,
    Table,
    horizon,
    median_gradient,
)
from unrolled.reproduce.tables import OF_1997, Result

DOTS = 120
"""A picture's dots per inch."""

LATER = "#CC79A7"
COLOR = {OF_1997: TARGET} | {
    name: COLORS[cell] if begin is as_shipped else LATER for name, (cell, begin) in NETWORKS.items()
}
STYLE = dict(zip(COLOR, ("-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1))), strict=True))
"""Of each network, so that it is told apart without its colour, too."""

BESIDE: dict[str, Any] = {"va": "center_baseline", "textcoords": "offset points"}
ABOVE: dict[str, Any] = {"fontsize": 9, "ha": "center", "va": "bottom"}
ACROSS = 4
"""So many panels stand in a line."""
LOWEST, HIGHEST = 1e-6, 1e6
"""Shares of the gradient beyond these are not seen."""
HORIZON_SHARE = 0.01
"""The horizon of ``diagnose`` is where the gradient is this share of that at lag 0."""

PUBLISHED = "#E69F00"
NOT_RUN = "not run yet"
ELSEWHERE = "same task as another row"

# --- sequences to success -------------------------------------------------------------------------


def sequences_picture(table: Table) -> Figure:
    """A strip for each row: its trials, their median, and the published figure."""
    figure = Figure(figsize=(12.0, 1.6 + 0.36 * len(ROWS)), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    faithful, modern = figure.subplots(1, 2, sharey=True)
    of_1997 = {OF_1997: [table.faithful(row) for row in ROWS]}
    _draw_strips(faithful, of_1997, [row.sequences for row in ROWS])
    faithful.set_title("faithful: the LSTM of 1997", fontsize=11, loc="left")
    for place, row in enumerate(ROWS):
        faithful.plot(row.sequences, place, "D", color=PUBLISHED, mec="black", ms=6, zorder=4)
    today = {name: [table.modern(row, name) for row in ROWS] for name in NETWORKS}
    _draw_strips(modern, today, [])
    modern.set_title("modern", fontsize=11, loc="left")
    left = modern.get_xlim()[0]
    for place, row in enumerate(ROWS):
        if row.task is None:
            _note(modern, left, place, ELSEWHERE)
        elif not any(trials[place] for trials in today.values()):
            _note(modern, left, place, NOT_RUN)
        if not table.faithful(row):
            _note(faithful, row.sequences, place, NOT_RUN)
    faithful.set_yticks(range(len(ROWS)), [_title(row) for row in ROWS], parse_math=False)
    faithful.set_ylim(len(ROWS) - 0.5, -0.5)
    figure.legend(handles=_marks(), loc="outside lower center", ncols=7, frameon=False)
    return figure


def _title(row: Row) -> str:
    return f"{row.experiment}: {row.setting}"


def _draw_strips(
    ax: Axes, networks: Mapping[str, Sequence[Sequence[Result]]], others: Sequence[float]
) -> None:
    """A lane in each row's strip for each network, and the failed trials in a band at the right.

    Args:
        ax: what is drawn on.
        networks: by name, the trials of each row.
        others: further numbers of sequences that need room.
    """
    solved = [t.sequences for rows in networks.values() for row in rows for t in row if t.solved]
    low, high = _decades([*solved, *others])
    band = (10.0**high, 10.0 ** (high + (0.12 + 0.07 * len(networks)) * (high - low)))
    for place in range(0, len(ROWS), 2):
        ax.axhspan(place - 0.5, place + 0.5, color="0.95", lw=0, zorder=0)
    ax.axvspan(*band, color="0.85", lw=0, zorder=1)
    height = 0.8 / len(networks)
    for number, (name, rows) in enumerate(networks.items()):
        shift = (number - (len(networks) - 1) / 2) * height
        # Beside each other, too: the lanes are lower than a number.
        at = band[0] * (band[1] / band[0]) ** ((number + 0.15) / len(networks))
        for place, trials in enumerate(rows):
            _draw_lane(ax, trials, place + shift, 0.8 * height, at, COLOR[name])
    ax.set_xscale("log")
    ax.set_xlim(10.0**low, band[1])
    ax.xaxis.set_major_locator(FixedLocator([10.0**power for power in range(low, high + 1)]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="x", alpha=0.4)
    ax.text(math.sqrt(math.prod(band)), 1.0, "failed", **ABOVE, transform=ax.get_xaxis_transform())
    ax.set_xlabel("sequences to success")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _draw_lane(
    ax: Axes,
    trials: Sequence[Result],
    y: float,
    height: float,
    at: float,
    color: str,
) -> None:
    """The solved trials where they succeeded, their median, and how many failed ``at`` a place."""
    solved = [trial.sequences for trial in trials if trial.solved]
    if solved:
        around = y + height * spread(len(solved))
        ax.plot(solved, around, "o", color=color, alpha=0.45, ms=3.5, mew=0, zorder=2)
        ends = [y - height / 2, y + height / 2]
        ax.plot([np.median(solved)] * 2, ends, color=color, lw=2.4, zorder=3)
    failed = len(trials) - len(solved)
    if failed:
        ax.plot(at, y, "x", color=color, ms=4, mew=1.1, zorder=2)
        ax.annotate(str(failed), (at, y), (5, 0), **BESIDE, fontsize=7, color=color)


def _decades(numbers: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the numbers; around a thousand if there are none."""
    known = numbers or [1000.0]
    low = math.ceil(math.log10(min(known))) - 1
    return low, max(low + 1, math.ceil(math.log10(max(known))))


def spread(count: int) -> Array:
    """Offsets within ± 0.4, neighbours far apart, the same each time."""
    golden = (math.sqrt(5) - 1) / 2
    return np.arange(count, dtype=np.float64) * golden % 1 * 0.8 - 0.4


def _note(ax: Axes, x: float, y: float, text: str) -> None:
    """To the right of a place."""
    ax.annotate(text, (x, y), (8, 0), **BESIDE, fontsize=8, color="0.4")


def _marks() -> list[Line2D]:
    return [
        Line2D([], [], color="0.3", marker="o", ls="", ms=4, alpha=0.6, label="trial"),
        Line2D([], [], color="0.3", marker="|", ls="", ms=11, mew=2.4, label="median"),
        Line2D([], [], color=PUBLISHED, marker="D", ls="", mec="black", label="published"),
        Line2D([], [], color="0.3", marker="x", ls="", ms=5, label="failed"),
        *(Line2D([], [], color=COLOR[name], lw=4, label=name) for name in NETWORKS),
    ]


# --- gradient by lag ------------------------------------------------------------------------------


def memory_picture(table: Table) -> Figure:
    """A panel for each row: the median gradient by lag, each network's horizon marked."""
    rows = math.ceil(len(ROWS) / ACROSS)
    figure = Figure(figsize=(12.0, 1.2 + 2.0 * rows), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, ACROSS, sharey=True, squeeze=False)
    for ax in panels.flat[len(ROWS) :]:
        ax.set_axis_off()
    for ax, row in zip(panels.flat, ROWS, strict=False):
        networks = {OF_1997: table.faithful(row)}
        networks |= {name: table.modern(row, name) for name in NETWORKS}
        _draw_memory(ax, {name: trials for name, trials in networks.items() if trials})
        ax.set_title(_in_lines(_title(row)), fontsize=8, loc="left", parse_math=False)
    panels[0, 0].set_ylim(LOWEST, min(panels[0, 0].get_ylim()[1], HIGHEST))
    figure.supylabel("gradient, as a share of that at lag 0", fontsize=10)
    figure.supxlabel("lag (steps back from the end)", fontsize=10)
    figure.legend(handles=_curves(), loc="outside upper center", ncols=6, frameon=False)
    return figure


def _in_lines(title: str) -> str:
    """No "N = 3" is broken."""
    return fill(title.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"), 44)


def _draw_memory(ax: Axes, networks: Mapping[str, Sequence[Result]]) -> None:
    """From lag 1 on, since at lag 0 the share is 1."""
    ax.set_xscale("log")
    ax.set_yscale("log")
    for name, trials in networks.items():
        lags, shares = median_gradient(trials)
        ax.plot(lags[1:], shares[1:], color=COLOR[name], ls=STYLE[name], lw=1.5)
        reached = horizon(trials)
        mark = ">" if reached.is_open else "o"
        share = np.interp(reached.steps, lags, shares) if reached.is_open else HORIZON_SHARE
        at = (max(reached.steps, 1), min(float(share), HIGHEST))
        ax.plot(*at, mark, color=COLOR[name], mec="white", ms=7, clip_on=False, zorder=3)
    if networks:
        ax.axhline(HORIZON_SHARE, color="0.4", lw=0.9, ls=":")
    else:
        ax.text(0.5, 0.5, NOT_RUN, ha="center", color="0.4", transform=ax.transAxes)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    ax.xaxis.set_major_formatter("{x:,g}")
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(alpha=0.25)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _curves() -> list[Line2D]:
    return [
        *(Line2D([], [], color=COLOR[name], ls=STYLE[name], label=name) for name in COLOR),
        Line2D([], [], color="0.3", marker="o", ls="", label="horizon"),
        Line2D([], [], color="0.3", marker=">", ls="", label="horizon beyond the sequences"),
    ]
