"""The picture of a watched training: the gradient's norm, its reach into the past, the gates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from unrolled.learn.plot import CURVES
from unrolled.learn.watch import Explosion, Record, Snapshot

EXPLODED = "#000000"
MOST_LINES = 6
"""Of the gradient by lag: so many of the snapshots, spread over the training."""
MOST_LAYERS = 4
"""Whose gates are drawn."""


def draw_watch(path: Path, records: Sequence[Record]) -> None:
    """Writes a PNG; the file is left out if no snapshot was taken."""
    snapshots = [record for record in records if isinstance(record, Snapshot)]
    explosions = [record for record in records if isinstance(record, Explosion)]
    if not snapshots:
        return
    layers = [*snapshots[0].gates][:MOST_LAYERS]
    heights = [2.4, 2.8] + [2.0] * len(layers)
    figure = Figure(figsize=(9.0, 0.8 + 1.15 * sum(heights)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("What happened on the way", fontsize=13, fontweight="bold")
    axes: list[Axes] = list(figure.subplots(len(heights), 1, height_ratios=heights))
    _draw_norm(axes[0], snapshots, explosions)
    _draw_lags(axes[1], snapshots)
    for ax, layer in zip(axes[2:], layers, strict=True):
        _draw_gates(ax, snapshots, layer)
        ax.sharex(axes[0])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path)


def _draw_norm(ax: Axes, snapshots: Sequence[Snapshot], explosions: Sequence[Explosion]) -> None:
    updates = [snapshot.update for snapshot in snapshots]
    looks = product(("--", ":", "-."), CURVES[1:])
    for (dashes, color), layer in zip(looks, snapshots[0].layer_norms, strict=False):
        norms = [_drawable(snapshot.layer_norms[layer]) for snapshot in snapshots]
        ax.plot(updates, norms, color=color, lw=1.0, ls=dashes, label=layer)
    norms = [_drawable(snapshot.gradient_norm) for snapshot in snapshots]
    marker = "." if len(snapshots) <= 80 else ""
    ax.plot(updates, norms, color=CURVES[0], lw=1.6, marker=marker, label="all weights")
    for index, explosion in enumerate(explosions):
        label = "explosion" if index == 0 else None
        ax.axvline(explosion.update, color=EXPLODED, lw=0.6, label=label)
        ax.plot(explosion.update, _drawable(explosion.gradient_norm), "x", color=EXPLODED)
    ax.set_yscale("log")
    ax.set_xlabel("update")
    ax.set_ylabel("gradient norm")
    ax.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def _draw_lags(ax: Axes, snapshots: Sequence[Snapshot]) -> None:
    """From the first snapshot, light, to the last, dark."""
    count = min(MOST_LINES, len(snapshots))
    chosen = [snapshots[i] for i in np.linspace(0, len(snapshots) - 1, count).astype(int)]
    for shade, snapshot in zip(np.linspace(0.3, 1.0, count), chosen, strict=True):
        by_lag = [_drawable(value) for value in snapshot.gradient_by_lag]
        marker = "." if len(by_lag) <= 80 else ""
        ax.semilogy(
            by_lag,
            color=colormaps["Blues"](float(shade)),
            lw=1.4,
            marker=marker,
            label=f"update {snapshot.update}",
        )
    ax.set_xlabel("lag: steps before the end of the window")
    ax.set_ylabel("gradient of the loss\nby the state there")
    ax.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def _draw_gates(ax: Axes, snapshots: Sequence[Snapshot], layer: str) -> None:
    updates = [snapshot.update for snapshot in snapshots]
    for color, gate in zip(CURVES, snapshots[0].gates[layer], strict=False):
        found = [snapshot.gates[layer][gate] for snapshot in snapshots]
        ax.plot(updates, [one.mean for one in found], color=color, lw=1.4, label=gate)
        ax.plot(updates, [one.saturated for one in found], color=color, lw=1.0, ls=":")
    ax.set_xlabel("update")
    ax.set_ylabel(f"{layer}\nmean of each gate\n(dotted: saturated)")
    ax.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 1.0))


def _drawable(value: float) -> float:
    """NaN, which is left out, for what a logarithmic axis has no place for."""
    return value if math.isfinite(value) and value > 0 else math.nan
