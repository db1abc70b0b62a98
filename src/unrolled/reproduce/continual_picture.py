"""The picture of continual prediction: how long networks follow streams, and how soon."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unrolled.learn.plot import CURVES
from unrolled.reproduce.continual import Continual
from unrolled.reproduce.continual_kinds import KINDS, LIMITS
from unrolled.reproduce.continual_page import ENDINGS, PUBLISHED, of
from unrolled.reproduce.pictures import DOTS, spread
from unrolled.reproduce.pictures import PUBLISHED as COLOR_OF_PUBLISHED

COLOR = dict(zip(ENDINGS, (CURVES[2], CURVES[0], "0.55"), strict=True))
MARK = dict(zip(ENDINGS, ("o", "s", "v"), strict=True))
HEIGHT = 0.62
"""Of a strip, of which there is one for each kind of network."""


def continual_picture(records: Sequence[Continual]) -> Figure:
    """Two panels with a strip for each kind.

    Left: the symbols for which each network follows test streams. Right: the streams that the
    perfect ones learned from.
    """
    figure = Figure(figsize=(12.0, 4.6), dpi=DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    lengths, streams = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, kind in enumerate(KINDS):
        trials, published = of(records, kind), PUBLISHED[kind]
        _draw_lengths(lengths, trials, place)
        _draw_streams(streams, trials, place)
        for value in (published.good_length, published.rest_length):
            _draw_published(lengths, value, place)
        _draw_published(streams, published.streams, place)
    lengths.axvline(LIMITS.good, color="0.35", lw=1.1, ls="--")
    lengths.set_title("symbols for which test streams are followed, mean", fontsize=10, loc="left")
    lengths.set_xlim(1, 1.6 * LIMITS.longest)
    streams.set_title("streams that the perfect ones learned from", fontsize=10, loc="left")
    streams.set_xlim(100, 1.3 * LIMITS.streams)
    for ax in (lengths, streams):
        ax.set_xscale("log")
        ax.grid(axis="x", alpha=0.3)
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
    lengths.set_yticks(range(len(KINDS)), [_title(kind) for kind in KINDS])
    lengths.set_ylim(len(KINDS) - 0.5, -0.5)
    figure.legend(handles=_marks(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def _title(kind: str) -> str:
    return kind.replace(" with ", "\nwith ").replace(" and ", "\nand ")


def _draw_lengths(ax: Axes, trials: Sequence[Continual], place: int) -> None:
    across = place + HEIGHT * spread(len(trials))
    for ending in ENDINGS:
        which = [number for number, trial in enumerate(trials) if trial.ending == ending]
        values = [max(1.0, trials[number].length) for number in which]
        color, mark = COLOR[ending], MARK[ending]
        ax.plot(values, across[which], mark, color=color, ms=4.5, mew=0, alpha=0.6, zorder=2)


def _draw_streams(ax: Axes, trials: Sequence[Continual], place: int) -> None:
    perfect = [trial.streams for trial in trials if trial.ending == "perfect"]
    if perfect:
        across = place + HEIGHT * spread(len(perfect))
        color = COLOR["perfect"]
        ax.plot(perfect, across, "o", color=color, ms=4.5, mew=0, alpha=0.6, zorder=2)
        ends = [place - HEIGHT / 2, place + HEIGHT / 2]
        ax.plot([np.mean(perfect)] * 2, ends, color=color, lw=2.4, zorder=3)
    text = f"{len(perfect)} of {len(trials)} are perfect" if trials else "not run yet"
    at = (0.01, place - 0.42)
    ax.text(*at, text, color="0.35", fontsize=8, transform=ax.get_yaxis_transform())


def _draw_published(ax: Axes, value: int | None, place: int) -> None:
    if value is not None:
        ax.plot(value, place, "D", color=COLOR_OF_PUBLISHED, mec="black", ms=7, zorder=4)


def _marks() -> list[Line2D]:
    return [
        *(
            Line2D([], [], color=COLOR[ending], marker=MARK[ending], ls="", mew=0, label=ending)
            for ending in ENDINGS
        ),
        Line2D([], [], color=COLOR["perfect"], marker="|", ls="", ms=11, mew=2.4, label="mean"),
        Line2D([], [], color=COLOR_OF_PUBLISHED, marker="D", ls="", mec="black",
               label="published mean"),
    ]  # fmt: skip
