"""The picture of a comparison: error and score over training, and how far each cell's memory goes.

What was measured before and after training is drawn if it has two attributes: ``gradient_by_lag``
[lags], how much the last output depends on the input or state so many steps before, from lag 0 on;
and ``horizon``, the lag, or None, up to which that counts for something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unrolled.learn.columns import Array
from unrolled.learn.comparison import Course
from unrolled.learn.plot import CURVES
from unrolled.model.choice import NAMES
from unrolled.tasks import LOSSES, Task

COLORS = dict(zip(NAMES, CURVES, strict=False))


@dataclass(frozen=True)
class Memory:
    """How far a network's memory goes: the gradient at each lag [lags], and the horizon."""

    gradient_by_lag: Array
    horizon: float | None


def as_memory(measured: Any) -> Memory | None:
    """What ``measure`` returned, if it has the two attributes."""
    if not hasattr(measured, "gradient_by_lag"):
        return None
    horizon = getattr(measured, "horizon", None)
    return Memory(
        np.asarray(measured.gradient_by_lag, dtype=np.float64),
        None if horizon is None else float(horizon),
    )


def draw_comparison(path: Path, title: str, task: Task, courses: Sequence[Course]) -> None:
    """Writes a PNG.

    Args:
        path: where to.
        title: above it all.
        task: for its chance level and the names of its measures.
        courses: one for each cell.
    """
    has_memory = any(as_memory(course.after) for course in courses)
    rows = 3 if has_memory else 2
    figure = Figure(figsize=(9.0, 0.8 + 2.9 * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    grid = figure.add_gridspec(rows, 2)
    loss, score = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, :])
    _draw_losses(loss, task, courses)
    _draw_scores(score, task, courses)
    axes = [loss, score]
    if has_memory:
        before = figure.add_subplot(grid[2, 0])
        after = figure.add_subplot(grid[2, 1], sharey=before)
        _draw_memory(before, "before training", courses, lambda course: course.before)
        _draw_memory(after, "after training", courses, lambda course: course.after)
        axes += [before, after]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path)


def _draw_losses(ax: Axes, task: Task, courses: Sequence[Course]) -> None:
    for course in courses:
        ax.semilogy(course.steps, course.losses, color=COLORS[course.cell], lw=1.6)
    ax.axhline(task.chance.loss, color="0.35", lw=1.1, ls="--")
    ax.set_ylabel(LOSSES[task.kind])
    ax.tick_params(labelbottom=False)
    ax.set_title("error on sequences not trained on", fontsize=10, loc="left")
    _legend(ax, courses)


def _draw_scores(ax: Axes, task: Task, courses: Sequence[Course]) -> None:
    for course in courses:
        ax.plot(course.steps, course.scores, color=COLORS[course.cell], lw=1.6)
    ax.axhline(task.chance.score, color="0.35", lw=1.1, ls="--")
    ax.axhline(task.solved, color="0.35", lw=1.1, ls=":")
    ax.set_ylim(-0.03, 1.05)
    ax.set_ylabel("score (a share)")
    ax.set_xlabel("updates of the weights")
    ax.set_title(task.measure, fontsize=10, loc="left")


def _legend(ax: Axes, courses: Sequence[Course]) -> None:
    """One for the whole picture: the cells, chance, solved."""
    for course in courses:
        ax.plot([], [], color=COLORS[course.cell], lw=1.6, label=course.cell.upper())
    ax.plot([], [], color="0.35", lw=1.1, ls="--", label="chance")
    ax.plot([], [], color="0.35", lw=1.1, ls=":", label="solved")
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(courses) + 2,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.6,
        columnspacing=1.2,
    )


def _draw_memory(
    ax: Axes, when: str, courses: Sequence[Course], of: Callable[[Course], Any]
) -> None:
    """The gradient at each lag, and the horizon as a line down from the curve."""
    for course in courses:
        memory = as_memory(of(course))
        if memory is None:
            continue
        color, gradient = COLORS[course.cell], memory.gradient_by_lag
        ax.semilogy(np.where(gradient > 0, gradient, np.nan), color=color, lw=1.6)
        if memory.horizon is not None:
            ax.axvline(memory.horizon, color=color, lw=1.1, ls="-.")
    ax.set_xlabel("lag (steps back from the end)")
    ax.set_ylabel("gradient")
    ax.set_title(f"gradient by lag {when} (-·- horizon)", fontsize=10, loc="left")
