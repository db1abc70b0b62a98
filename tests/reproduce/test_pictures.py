"""The pictures show the trials: what is drawn is read back from the figures."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from support_results import ROW_OF, TRIAL, trials
from unrolled.reproduce.modern import NETWORKS
from unrolled.reproduce.pictures import (
    COLOR,
    ELSEWHERE,
    NOT_RUN,
    STYLE,
    memory_picture,
    sequences_picture,
)
from unrolled.reproduce.published import ROWS
from unrolled.reproduce.results import lags_of
from unrolled.reproduce.statistics import Table
from unrolled.reproduce.tables import MODERN, OF_1997, Result

PLACE = ROWS.index(ROW_OF["4-100"])
GRU = [*NETWORKS][1]


def points(ax: Axes, marker: str, color: str) -> NDArray[np.float64]:
    """All [n, 2] that are drawn so."""
    drawn = [line for line in ax.lines if (line.get_marker(), line.get_color()) == (marker, color)]
    return np.concatenate([np.empty((0, 2)), *map(places, drawn)])


def places(line: Line2D) -> NDArray[np.float64]:
    """The points [n, 2] of a line."""
    return np.asarray(line.get_xydata(), dtype=np.float64)


def curves(ax: Axes) -> list[Line2D]:
    """The lines with more points than a mark or a straight line."""
    return [line for line in ax.lines if len(places(line)) > 2]


def texts(ax: Axes, place: float) -> list[str]:
    """What is written in a strip."""
    return [t.get_text() for t in ax.texts if abs(getattr(t, "xy", (0, -9))[1] - place) < 0.5]


def panel(run: list[Result]) -> Axes:
    """That of the row in the picture of the gradients."""
    axes: Axes = memory_picture(Table(run)).axes[PLACE]
    return axes


def test_every_trial_is_a_point_in_the_strip_of_its_row() -> None:
    run = [replace(TRIAL, seed=seed, sequences=10_000 * 2**seed) for seed in range(5)]
    faithful, modern = sequences_picture(Table(run)).axes
    found = points(faithful, "o", COLOR[OF_1997])
    assert sorted(found[:, 0]) == [10_000, 20_000, 40_000, 80_000, 160_000]
    assert (abs(found[:, 1] - PLACE) < 0.5).all()
    (median,) = (line for line in faithful.lines if line.get_linewidth() > 2)
    assert [*places(median)[:, 0]] == [40_000, 40_000]
    assert not any(len(points(modern, "o", color)) for color in COLOR.values())


def test_every_row_has_its_published_figure() -> None:
    faithful, _ = sequences_picture(Table([])).axes
    published = [places(line) for line in faithful.lines if line.get_marker() == "D"]
    assert [*map(tuple, np.concatenate(published))] == [
        (row.sequences, place) for place, row in enumerate(ROWS)
    ]


def test_failed_trials_stand_at_the_right_edge_with_their_number() -> None:
    run = [*trials(2), *trials(3, first=2, solved=False, sequences=370_000)]
    faithful, _ = sequences_picture(Table(run)).axes
    ((x, y),) = points(faithful, "x", COLOR[OF_1997])
    assert y == PLACE
    largest = max(row.sequences for row in ROWS)
    assert largest < x < faithful.get_xlim()[1]
    assert texts(faithful, PLACE) == ["3"]
    assert len(points(faithful, "o", COLOR[OF_1997])) == 2


def test_failures_of_networks_of_today_stand_apart() -> None:
    """Each with room for its number, which is higher than a lane."""
    run = [t for n in NETWORKS for t in trials(10, column=MODERN, network=n, solved=False)]
    figure = sequences_picture(Table(run))
    _, modern = figure.axes
    figure.draw_without_rendering()
    drawn = [t for t in modern.texts if t.get_text() == "10"]
    boxes = [t.get_window_extent() for t in drawn]
    marks = [modern.transData.transform(points(modern, "x", COLOR[n]))[0, 0] for n in NETWORKS]
    edges = [x for mark, box in zip(marks, boxes, strict=True) for x in (mark, box.x0, box.x1)]
    assert edges == sorted(edges)
    assert edges[-1] <= modern.get_window_extent().x1


def test_networks_of_today_have_lanes_of_their_own() -> None:
    run = [t for name in NETWORKS for t in trials(10, column=MODERN, network=name)]
    _, modern = sequences_picture(Table(run)).axes
    lanes = [points(modern, "o", COLOR[name])[:, 1] for name in NETWORKS]
    assert [len(lane) for lane in lanes] == [10] * len(NETWORKS)
    assert all(one.max() < next_one.min() for one, next_one in pairwise(lanes))


def test_a_strip_without_trials_says_why() -> None:
    faithful, modern = sequences_picture(Table(trials(1))).axes
    for place, row in enumerate(ROWS):
        assert texts(faithful, place) == ([] if place == PLACE else [NOT_RUN])
        assert texts(modern, place) == [ELSEWHERE if row.task is None else NOT_RUN]


def test_the_gradient_is_drawn_from_lag_1_on() -> None:
    (line,) = curves(panel(trials(3)))
    lags = np.array(lags_of(TRIAL.steps)[1:])
    np.testing.assert_allclose(places(line), np.column_stack([lags, 0.9**lags]))
    assert line.get_color() == COLOR[OF_1997]


@pytest.mark.parametrize(
    ("horizon", "marker", "share"),
    [(46, "o", 0.01), (0, "o", 0.01), (TRIAL.steps, ">", 0.9**TRIAL.steps)],
)
def test_the_horizon_is_a_mark_on_the_curve(horizon: int, marker: str, share: float) -> None:
    run = trials(3, horizon=horizon, column=MODERN, network=GRU)
    assert points(panel(run), marker, COLOR[GRU]) == pytest.approx(
        np.array([[max(horizon, 1), share]])
    )


def test_an_exploding_gradient_keeps_its_mark_within_the_panel() -> None:
    gradient = json.dumps([1.5**lag for lag in lags_of(TRIAL.steps)])
    ax = panel(trials(3, horizon=TRIAL.steps, gradient=gradient))
    ((_, share),) = points(ax, ">", COLOR[OF_1997])
    assert share == ax.get_ylim()[1] == 1e6


def test_a_panel_without_trials_says_so() -> None:
    figure = memory_picture(Table(trials(1)))
    said = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert said == [[] if place == PLACE else [NOT_RUN] for place in range(len(ROWS))]


def test_no_two_networks_look_alike() -> None:
    run = [t for name in NETWORKS for t in trials(1, column=MODERN, network=name)]
    drawn = curves(panel([*trials(1), *run]))
    assert len({line.get_color() for line in drawn}) == len(COLOR)
    assert len({*map(str, STYLE.values())}) == len(COLOR)
