"""The pictures of the formal languages: accuracy by length, and gradient by lag."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unrolled.learn.plot import CURVES
from unrolled.model.choice import title
from unrolled.reproduce.hierarchy import LANGUAGES, Language
from unrolled.reproduce.languages import CELLS, Accuracy
from unrolled.reproduce.languages_page import best, of
from unrolled.reproduce.results import lags_of

ACROSS = 5
"""So many panels stand in a line."""

ACROSS_LENGTHS = "length of the string; of anbn and anbncn n"
PUBLISHED = "published, mean of the longer ones"

LOWEST, HIGHEST = 1e-6, 1e3
"""Shares of the gradient beyond these are not seen."""

COLORS = dict(zip(CELLS, (*CURVES, "#E69F00"), strict=True))
STYLES = dict(zip(CELLS, ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))), strict=True))
"""Of each cell, so that it is told apart without its colour, too."""

Draw = Callable[[Axes, Language, Sequence[Accuracy]], None]


def accuracy_picture(records: Sequence[Accuracy]) -> Figure:
    """Accuracy by length, a panel for each language: the best trial of each cell.

    Published means stand as diamonds at the right, in the colours of the cells.
    """
    figure = _panels(records, _draw_accuracy, ACROSS_LENGTHS, "accuracy")
    marks = [
        Line2D([], [], color="white", mec="black", ls="", marker="D", ms=5, label=PUBLISHED),
        Line2D([], [], color="0.35", lw=1.1, ls="--", label="chance"),
        Line2D([], [], color="0.85", lw=8, label="lengths that were learned"),
    ]
    _legend(figure, marks)
    return figure


def memory_picture(records: Sequence[Accuracy]) -> Figure:
    """Gradient by lag after training, a panel for each language: the best trial of each cell."""
    figure = _panels(records, _draw_memory, "lag", "share of the gradient")
    _legend(figure, [])
    return figure


def _panels(records: Sequence[Accuracy], draw: Draw, across: str, up: str) -> Figure:
    lines = -(-len(LANGUAGES) // ACROSS)
    figure = Figure(figsize=(13.0, 0.8 + 2.2 * lines), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, ACROSS, squeeze=False).ravel()
    for ax, language in zip(axes, LANGUAGES.values(), strict=False):
        draw(ax, language, records)
        ax.set_title(f"{language.name}\n{language.level}", fontsize=9, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    for ax in axes[len(LANGUAGES) :]:
        ax.set_axis_off()
    figure.supxlabel(across, fontsize=10)
    figure.supylabel(up, fontsize=10)
    return figure


def _draw_accuracy(ax: Axes, language: Language, records: Sequence[Accuracy]) -> None:
    task = language.task()
    ax.axvspan(0, task.length, color="0.85", lw=0, zorder=0)
    ax.axhline(task.chance.score, color="0.35", lw=1.1, ls="--")
    for cell in CELLS:
        if trials := of(records, language, cell):
            ranges = best(trials).by_range()
            middles = [(one.first + one.last) / 2 for one in ranges]
            values = [one.accuracy for one in ranges]
            ax.plot(middles, values, color=COLORS[cell], ls=STYLES[cell], lw=1.6, marker=".")
    for name, percent in language.published._asdict().items():
        color = COLORS[title(name)]
        ax.plot(language.farthest, percent / 100, "D", color=color, mec="black", clip_on=False)
    ax.set_ylim(-0.03, 1.05)
    ax.set_xlim(0, language.farthest)


def _draw_memory(ax: Axes, language: Language, records: Sequence[Accuracy]) -> None:
    for cell in CELLS:
        if trials := of(records, language, cell):
            trial = best(trials)
            gradient: list[float] = json.loads(trial.gradient)
            shares = [max(value, 0.0) / (gradient[0] or 1.0) for value in gradient]
            lags = lags_of(trial.steps)
            ax.plot(lags, shares, color=COLORS[cell], ls=STYLES[cell], lw=1.6)
    ax.set_yscale("log")
    ax.set_ylim(LOWEST, HIGHEST)


def _legend(figure: Figure, more: Sequence[Line2D]) -> None:
    """One for the whole picture."""
    cells = [
        Line2D([], [], color=COLORS[cell], ls=STYLES[cell], lw=1.6, label=cell) for cell in CELLS
    ]
    figure.legend(handles=[*cells, *more], loc="outside upper right", ncols=8, frameon=False)
