"""The picture of the steps: series on top, every gate and state of every unit beneath."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from unrolled.cells import Description
from unrolled.cells.ranges import ANY, ranges
from unrolled.errors import abridged
from unrolled.inspect.scene import Array, Layer, Series
from unrolled.inspect.view import View

# Okabe & Ito's palette: told apart with any colour vision.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARK = "#a51d51"
SERIES, HEAT = 1.4, 1.2
"""Heights of the rows, in inches."""


def steps_picture(view: View, title: str) -> Figure:
    """Inputs, targets and predictions, then a heat map for each gate and state."""
    recorded, layer = view.recorded, view.layer
    lines = [
        [line for line in recorded.series if line.kind == "input"],
        [line for line in recorded.series if line.kind != "input"],
    ]
    lines = [some for some in lines if some]
    heights = [SERIES] * len(lines) + [HEAT] * len(layer.values)
    figure = Figure(figsize=(9.0, 1.3 + sum(heights)), dpi=144, layout="constrained")
    figure.suptitle(f"{title}\n{_subtitle(view)}", fontsize=11, parse_math=False)
    # A column of their own for the colour bars, so that all time axes are equally long.
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights, width_ratios=[60, 1])
    axes = [figure.add_subplot(grid[0, 0])]
    axes += [figure.add_subplot(grid[row, 0], sharex=axes[0]) for row in range(1, len(heights))]
    steps = recorded.first + np.arange(recorded.steps)
    for ax, some in zip(axes, lines, strict=False):
        _draw_series(ax, steps, some)
    order = unit_order(layer)
    for row, (name, values) in enumerate(layer.values.items(), start=len(lines)):
        low, high, colors = _colors(recorded.cell, name, values)
        image = _draw_heat(axes[row], name, values, order, recorded.first)
        image.set_cmap(colors)
        image.set_clim(low, high)
        figure.colorbar(image, cax=figure.add_subplot(grid[row, 1]))
    for ax in axes:
        ax.axvline(view.step, color=MARK, lw=0.9)
        ax.tick_params(labelbottom=ax is axes[-1])
    axes[0].set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[-1].set_xlabel(f"step (the line: step {view.step})")
    return figure


def _subtitle(view: View) -> str:
    layer = f"layer {view.layer.layer}"
    if view.recorded.sizes.directions > 1:
        layer += f", {view.layer.direction}"
    if view.layer.time_constants is None:
        return f"{layer}; units by number"
    return f"{layer}; units by time constant, the longest on top"


def unit_order(layer: Layer) -> NDArray[np.int64]:
    """The units by falling time constant, or by number where there is none [H]."""
    constants = layer.time_constants
    if constants is None:
        return np.arange(next(iter(layer.values.values())).shape[1])
    return np.argsort(-np.nan_to_num(constants, nan=-1.0, posinf=np.inf), kind="stable")


def _draw_series(ax: Axes, steps: NDArray[np.int64], lines: Sequence[Series]) -> None:
    """A colour for each name; predictions are dashed, over their targets."""
    colors = dict(zip(dict.fromkeys(line.name for line in lines), LINES, strict=False))
    one = len({line.name for line in lines}) == 1 and lines[0].kind != "input"
    handles = []
    for line in lines:
        predicted = line.kind == "prediction"
        color = colors.get(line.name, LINES[-1])
        if one:  # a target and its prediction are told apart by colour as well
            color = LINES[1] if predicted else LINES[6]
        handles += ax.plot(
            steps,
            line.values,
            color=color,
            lw=1.3,
            ls="--" if predicted else "-",
            marker="." if len(steps) <= 60 else "",
        )
    legend = ax.legend(
        handles,
        ["series"] * len(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=8,
        borderaxespad=0.1,
    )
    for text, line in zip(legend.get_texts(), lines, strict=True):
        # A label of a name that begins with _ would be left out.
        text.set_text(f"{abridged(line.name)} ({line.kind})")
        text.set_parse_math(False)  # a column's name may hold dollars
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _colors(cell: Description, name: str, values: Array) -> tuple[float, float, str]:
    """The least and the most that a line's colours show, and which: by its range, if it has one."""
    low, high = ranges(cell).get(name, ANY)
    known = np.abs(values[np.isfinite(values)])
    largest = float(known.max()) or 1.0 if len(known) else 1.0
    if low == 0:
        return 0.0, 1.0 if high == 1 else largest, "viridis"
    is_gate = (low, high) == (-1.0, 1.0) and name in cell.named
    return (-1.0, 1.0, "RdBu_r") if is_gate else (-largest, largest, "RdBu_r")


def _draw_heat(
    ax: Axes, name: str, values: Array, order: NDArray[np.int64], first: int
) -> AxesImage:
    """Units from the top down, steps from left to right; a projected state has units of its own."""
    units = values.shape[1]
    rows = values[:, order].T if units == len(order) else values.T
    extent = (first - 0.5, first + len(values) - 0.5, units - 0.5, -0.5)
    image = ax.imshow(
        rows,
        aspect="auto",
        interpolation="nearest",
        extent=extent,
    )
    ax.set_ylabel(f"{name}\n{units} units")
    ax.set_yticks([])
    return image
