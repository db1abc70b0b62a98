"""Pictures of a scene that stand still, for papers: by matplotlib, as PNG and SVG."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unrolled.errors import InputError, abridged
from unrolled.inspect.drawing import DRAWINGS
from unrolled.inspect.flow_picture import draw
from unrolled.inspect.memory_picture import memory_picture
from unrolled.inspect.network_picture import network_picture, stack_picture
from unrolled.inspect.painter import cell_picture
from unrolled.inspect.scene import Scene
from unrolled.inspect.steps_picture import steps_picture
from unrolled.inspect.view import View

# What the writer would otherwise stamp: two runs give the same bytes.
UNDATED = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_pictures(
    scene: Scene,
    folder: str | Path,
    *,
    step: int | None = None,
    unit: int | None = None,
    layer: int = -1,
    formats: Sequence[str] = ("png", "svg"),
) -> list[Path]:
    """Writes what a report shows as pictures.

    ``cell``: the textbook drawing with the values of a step; of a cell that no textbook draws the
    drawing of its equations, as SVG alone. ``steps``: inputs, target and
    prediction over the steps, and every gate and state of every unit beneath. ``network``: the
    network unrolled around the step. ``stack``: its layers and directions with the shapes of their
    tensors. ``memory``: gradient by lag, Lyapunov spectrum, time constants. What the scene lacks
    gives no picture.

    Args:
        scene: see :func:`unrolled.inspect.scene.scene`.
        folder: where to; made if it is not there, and files of these names are replaced.
        step: of the row's own; None for the shown one at which the units write most in the mean,
            of a cell without gates that at which its state changes most.
        unit: from 0; None for the mean over the units.
        layer: its place in ``scene.recorded.layers``, where the directions of a layer follow each
            other.
        formats: of "png", "svg" and "pdf".

    Returns:
        The files, in this order.

    Raises:
        InputError: there is no such step, unit, layer or format.
    """
    for name in formats:
        if name not in UNDATED:
            raise InputError(f"formats: of {', '.join(UNDATED)} was expected, got {name!r}")
    figures: dict[str, Callable[[], Figure]] = {}
    title = abridged(scene.title, 110)
    if scene.recorded is not None:
        view = View.of(scene.recorded, step=step, unit=unit, layer=layer)
        if view.recorded.textbook is not None:
            drawing = DRAWINGS[view.recorded.textbook]
            figures["cell"] = lambda: cell_picture(drawing, view.values(), view.heading)
        figures["steps"] = lambda: steps_picture(view, title)
        figures["network"] = lambda: network_picture(view)
        figures["stack"] = lambda: stack_picture(view)
    if (diagnosis := scene.diagnosis) is not None:
        figures["memory"] = lambda: memory_picture(diagnosis, title)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if scene.recorded is not None and "cell" not in figures and "svg" in formats:
        drawn = [folder / "cell.svg"]
        draw(scene.recorded.cell, drawn[0])
    return drawn + [
        path
        for name, make in figures.items()
        for path in _saved(make(), [folder / f"{name}.{kind}" for kind in formats])
    ]


def _saved(figure: Figure, paths: Sequence[Path]) -> Sequence[Path]:
    FigureCanvasAgg(figure)
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "unrolled"}):
        # A name in a script that the font lacks is drawn as boxes, which anyone can see.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        if figure.get_layout_engine() is not None:
            _lay_out(figure)
        for path in paths:
            kind = path.suffix[1:]
            figure.savefig(path, format=kind, metadata=UNDATED[kind])
    return paths


def _lay_out(figure: Figure) -> None:
    """Once, and rounded: the solver's last digits are not the same in every run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        left, bottom, width, height = (round(v, 6) for v in ax.get_position().bounds)
        ax.set_position((left, bottom, width, height))
