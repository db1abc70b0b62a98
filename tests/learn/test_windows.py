"""Parts and windows. The cells of these tables say where they stand, so a window can be read.

Every cell is 10,000 · group + place within the group, and a window is right when its cells count
up by one, within one group, within one part, and with no dropped row among them.
"""

import numpy as np
import polars as pl
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.utils._python_dispatch import TorchDispatchMode

from unrolled.errors import InputError
from unrolled.learn.table import read_table
from unrolled.learn.windows import check_complete, gather, goals_of, prepare, split

FRACTIONS = (0.6, 0.2, 0.2)
GROUP = 10_000


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


def numbered(rng, sizes, missing=0.0):
    """A table of interleaved groups with these many rows, a share of the inputs missing."""
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    place = np.empty(len(labels))
    for group, size in enumerate(sizes):
        place[labels == group] = np.arange(size)
    cells = GROUP * labels + place
    holes = rng.random(len(labels)) < missing
    frame = pl.DataFrame({"g": labels, "a": np.where(holes, np.nan, cells), "b": cells})
    return read_table(frame, inputs=["a"], targets=["b"], group="g")


def cut(table, missing="error"):
    spans = split(table.spans, FRACTIONS)
    return spans, prepare(table, spans, missing)


def part_of(table, spans):
    """For each row of the table, which part it belongs to."""
    owner = np.full(len(table.rows), -1)
    for index, part in enumerate(spans):
        for start, stop in part:
            owner[start:stop] = index
    return owner


SIZES = pytest.mark.parametrize("sizes", [[120], [50, 70, 1, 33], [9, 200, 2, 2]])
WINDOWS = pytest.mark.parametrize("window", [1, 2, 7])


@SIZES
def test_the_parts_are_consecutive_in_time_and_cover_every_row_once(rng, sizes):
    table = numbered(rng, sizes)
    spans, _ = cut(table)
    owner = part_of(table, spans)
    assert (owner >= 0).all()
    assert sum(stop - start for part in spans for start, stop in part) == sum(sizes)
    for start, stop in table.spans:
        assert (np.diff(owner[start:stop]) >= 0).all()


def test_the_parts_have_the_shares_that_were_asked_for(rng):
    spans, _ = cut(numbered(rng, [100, 1000]))
    rows = [sum(stop - start for start, stop in part) for part in spans]
    assert rows == [660, 220, 220]


@SIZES
@WINDOWS
@pytest.mark.parametrize("missing", ["error", "drop", "interpolate"])
def test_no_window_straddles_a_border(rng, sizes, window, missing):
    table = numbered(rng, sizes, missing=0.0 if missing == "error" else 0.15)
    spans, parts = cut(table, missing)
    owner = part_of(table, spans)
    met = 0
    for index, part in enumerate(parts):
        ends = torch.from_numpy(part.ends(window))
        rows = gather(torch.arange(len(table.rows)).unsqueeze(1), ends, window)[..., 0].numpy()
        cells = gather(torch.from_numpy(part.table.inputs), ends, window)[..., 0].numpy()
        assert np.isfinite(cells).all()
        np.testing.assert_allclose(np.diff(cells, axis=1), 1.0)  # and so of one group
        assert (owner[rows] == index).all()
        met += len(ends)
    assert met > 0


@SIZES
@WINDOWS
def test_no_window_is_forgotten(rng, sizes, window):
    table = numbered(rng, sizes)
    _, parts = cut(table)
    for part in parts:
        possible = sum(max(0, stop - start - window + 1) for start, stop in part.spans)
        assert len(part.ends(window)) == possible


@SIZES
@WINDOWS
def test_dropping_loses_just_the_windows_with_a_missing_row(rng, sizes, window):
    table = numbered(rng, sizes, missing=0.1)
    spans, parts = cut(table, "drop")
    for part, stretches in zip(parts, spans, strict=True):
        whole = [
            start + window - 1 + place
            for start, stop in stretches
            if stop - start >= window
            for place, cells in enumerate(sliding_window_view(table.inputs[start:stop, 0], window))
            if np.isfinite(cells).all()
        ]
        np.testing.assert_array_equal(part.ends(window), whole)


@SIZES
@pytest.mark.parametrize("ahead", [0, 1, 5])
@pytest.mark.parametrize("missing", ["error", "drop"])
def test_ahead_never_crosses_a_border(rng, sizes, ahead, missing):
    table = numbered(rng, sizes, missing=0.1 if missing == "drop" else 0.0)
    spans, parts = cut(table, missing)
    owner = part_of(table, spans)
    goals = goals_of(parts, ahead)[:, 0]
    known = np.flatnonzero(np.isfinite(goals))
    np.testing.assert_array_equal(goals[known], table.targets[known, 0] + ahead)
    np.testing.assert_array_equal(owner[known], owner[known + ahead])
    # and no row between the window and its goal was dropped
    for step in range(ahead + 1):
        assert np.isfinite(table.inputs[known + step]).all()


def test_a_goal_is_known_wherever_its_row_is_in_the_stretch(rng):
    table = numbered(rng, [30, 12])
    _, parts = cut(table)
    ahead = 3
    expected = sum(max(0, b - a - ahead) for part in parts for a, b in part.spans)
    assert np.isfinite(goals_of(parts, ahead)).sum() == expected


@SIZES
def test_interpolation_is_numpys_within_each_part_alone(rng, sizes):
    table = numbered(rng, sizes, missing=0.3)
    table.inputs[:] = rng.normal(size=table.inputs.shape) * np.sign(table.inputs)  # NaN stays
    spans, parts = cut(table, "interpolate")
    for part, stretches in zip(parts, spans, strict=True):
        expected = []
        for start, stop in stretches:
            column = table.inputs[start:stop, 0]
            known = np.flatnonzero(np.isfinite(column))
            if len(known) == 0:
                continue
            first, last = known[0], known[-1] + 1
            expected.append((start + first, start + last))
            filled = np.interp(np.arange(first, last), known, column[known])
            np.testing.assert_array_equal(
                part.table.inputs[start + first : start + last, 0], filled
            )
        assert list(part.spans) == expected


def test_interpolation_leaves_the_callers_table_alone(rng):
    table = numbered(rng, [60], missing=0.3)
    before = table.inputs.copy()
    cut(table, "interpolate")
    np.testing.assert_array_equal(table.inputs, before)


@pytest.mark.parametrize("missing", ["drop", "interpolate"])
@pytest.mark.parametrize("ahead", [0, 2])
def test_a_filled_row_is_never_scored(rng, missing, ahead):
    """What it holds comes from later rows as well: a prediction there would know the future."""
    table = numbered(rng, [100], missing=0.2)
    _, parts = cut(table, missing)
    filled = np.isnan(table.inputs[:, 0])
    assert filled.any()
    assert np.isnan(goals_of(parts, ahead)[filled]).all()
    for part in parts:
        assert not filled[part.ends(3)].any()


def test_windows_may_hold_a_filled_row_before_their_end(rng):
    table = numbered(rng, [100], missing=0.2)
    kept = [sum(len(p.ends(5)) for p in cut(table, m)[1]) for m in ("drop", "interpolate")]
    assert kept[1] > kept[0]


def test_an_unknown_target_is_no_goal(rng):
    table = numbered(rng, [50])
    table.targets[[3, 40]] = [[np.nan], [np.inf]]
    goals = goals_of(cut(table)[1], 0)
    assert np.isnan(goals[[3, 40]]).all()
    assert np.isfinite(goals).sum() == 48


class Operations(TorchDispatchMode):
    """Notes every operation of torch with the shapes of what it reads."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append((str(func), [tuple(a.shape) for a in args if hasattr(a, "shape")]))
        return func(*args, **(kwargs or {}))


def test_a_batch_of_windows_is_gathered_by_one_indexing_call():
    values = torch.arange(1000.0).unsqueeze(1)
    ends = torch.tensor([9, 500, 999])
    with Operations() as operations:
        windows = gather(values, ends, 10)
    # The table is met once, whatever the number of windows, and by nothing but the indexing.
    assert [name for name, shapes in operations.seen if (1000, 1) in shapes] == [
        "aten.index.Tensor"
    ]
    assert windows.shape == (3, 10, 1)
    assert windows[:, -1, 0].tolist() == [9.0, 500.0, 999.0]
    assert windows[:, 0, 0].tolist() == [0.0, 491.0, 990.0]


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_cutting_a_table_up_copies_none_of_it(rng, missing):
    table = numbered(rng, [60, 40], missing=0.1 if missing == "drop" else 0.0)
    for part in cut(table, missing)[1]:
        assert part.table.inputs is table.inputs
        assert part.table.targets is table.targets


@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "the value is missing"), (-np.inf, "the value is -inf")]
)
@pytest.mark.parametrize("kind", ["input", "target"])
def test_an_unknown_value_is_named_by_the_files_row(rng, value, what, kind):
    table = numbered(rng, [20, 30])
    place = 35  # in the second group
    column = {"input": "a", "target": "b"}[kind]
    {"input": table.inputs, "target": table.targets}[kind][place] = value
    message = f"{kind} column '{column}', row {table.rows[place]}: {what}"
    with pytest.raises(InputError, match=rf"{message} \(1 such rows\)\. Choose --missing drop"):
        check_complete(table, ["a"], ["b"], with_targets=True)


def test_the_first_unknown_value_of_the_file_is_named(rng):
    table = numbered(rng, [20, 30])
    places = [45, 4, 30]
    table.inputs[places] = np.nan
    first = table.rows[places].min()
    with pytest.raises(InputError, match=rf"row {first}: .* \(3 such rows\)"):
        check_complete(table, ["a"], ["b"], with_targets=True)


def test_an_unknown_target_matters_in_training_alone(rng):
    table = numbered(rng, [20])
    table.targets[3] = np.nan
    check_complete(table, ["a"], ["b"], with_targets=False)
