"""The picture of a result: target against prediction, the error beneath, the training curve."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unrolled.errors import abridged
from unrolled.learn.columns import Array

# Okabe & Ito's palette: told apart with any colour vision.
TARGET, PREDICTION, ERROR = "#000000", "#D55E00", "#0072B2"
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@dataclass(frozen=True)
class Panel:
    """One target over time: ``x``, ``truth`` and ``predicted`` are [n], NaN where unknown.

    The first ``settling`` steps are shaded, and their error, which nobody scores, is not drawn.
    """

    name: str
    x: Array
    truth: Array
    predicted: Array
    x_label: str
    settling: int = 0


def draw_result(
    path: Path,
    title: str,
    panels: Sequence[Panel],
    curves: Mapping[str, Sequence[float]],
    *,
    curve_label: str,
) -> None:
    """Writes a PNG: for each panel prediction and error over time, then the training curves.

    Args:
        path: where to.
        title: above it all.
        panels: one for each target.
        curves: by name, one value for each epoch; drawn on a logarithmic axis.
        curve_label: what the curves' values are.
    """
    heights = [3.0, 1.2] * len(panels) + [2.0]
    figure = Figure(figsize=(9.0, 0.8 + 1.15 * sum(heights)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(abridged(title, 80), fontsize=13, fontweight="bold", parse_math=False)
    axes: list[Axes] = list(figure.subplots(len(heights), 1, height_ratios=heights))
    for index, panel in enumerate(panels):
        _draw_panel(axes[2 * index], axes[2 * index + 1], panel)
    _draw_curves(axes[-1], curves, curve_label)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which anyone can see.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(path)


def _draw_panel(above: Axes, beneath: Axes, panel: Panel) -> None:
    marker = "." if len(panel.x) <= 80 else ""
    above.plot(panel.x, panel.truth, color=TARGET, lw=1.6, marker=marker, label="target")
    above.plot(
        panel.x,
        panel.predicted,
        color=PREDICTION,
        lw=1.4,
        ls="--",
        marker=marker,
        label="prediction",
    )
    above.set_ylabel(abridged(panel.name), parse_math=False)  # a column's name may hold dollars
    above.tick_params(labelbottom=False)
    above.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False)
    error = (panel.predicted - panel.truth)[panel.settling :]
    x = panel.x[panel.settling :]
    beneath.axhline(0.0, color="0.6", lw=0.8)
    beneath.fill_between(x, 0.0, error, color=ERROR, alpha=0.3, lw=0)
    beneath.plot(x, error, color=ERROR, lw=1.0)
    if panel.settling:
        for ax in (above, beneath):
            ax.axvspan(panel.x[0], x[0], color="0.9", lw=0)
        beneath.text(
            panel.x[panel.settling // 2],
            0.5,
            "settling",
            ha="center",
            va="center",
            color="0.4",
            transform=beneath.get_xaxis_transform(),
        )
    beneath.set_ylabel("error")
    beneath.set_xlabel(panel.x_label)
    beneath.sharex(above)
    beneath.xaxis.set_major_locator(MaxNLocator(integer=True))
    above.margins(x=0.01)


def _draw_curves(ax: Axes, curves: Mapping[str, Sequence[float]], label: str) -> None:
    for color, (name, values) in zip(CURVES, curves.items(), strict=False):
        ax.semilogy(np.arange(1, len(values) + 1), values, color=color, lw=1.4, label=name)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(label)
    ax.legend(frameon=False, ncols=len(curves))
