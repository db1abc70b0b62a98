"""A table made ready for training, and what is wrong with one that can't be."""

import numpy as np
import polars as pl
import pytest

from support_learn import quick, r2_of, wave_frame
from unrolled.errors import InputError
from unrolled.learn.dataset import read_dataset
from unrolled.learn.train import train_table
from unrolled.model import Scaler


def refusal(frame, **changes) -> str:
    with pytest.raises(InputError) as caught:
        read_dataset(frame, quick(**changes))
    message = str(caught.value)
    assert message.startswith("the table: ")
    assert "\n" not in message
    return message


def test_the_parts_follow_each_other_in_time():
    dataset = read_dataset(wave_frame(200), quick(window=6))
    train, validation, test = dataset.ends
    # 70, 15 and 15 % of 200 rows, less the five that no whole window ends in.
    assert (train[0], train[-1]) == (5, 139)
    assert (validation[0], validation[-1]) == (145, 169)
    assert (test[0], test[-1]) == (175, 199)
    np.testing.assert_array_equal(dataset.learned, np.arange(140))


def test_the_shares_are_the_users():
    dataset = read_dataset(wave_frame(200), quick(window=1, validation=0.25, test=0.5))
    assert [len(rows) for rows in dataset.ends] == [50, 50, 100]


def test_each_group_is_cut_in_time_by_itself():
    frame = wave_frame(200).with_columns(g=pl.Series(["x", "y"] * 100))
    dataset = read_dataset(frame, quick(window=1, group="g"))
    train, validation, test = (dataset.table.rows[rows] for rows in dataset.ends)
    assert train.max() == 140
    assert validation.min() == 141
    assert test.min() == 171
    assert len(train) == 140


def test_a_group_with_too_few_rows_contributes_no_windows_and_harms_nobody():
    long = wave_frame(200).with_columns(g=pl.lit("long"))
    short = wave_frame(5).with_columns(g=pl.lit("short"))
    frame = pl.concat([short.head(3), long, short.tail(2)])
    with_short = read_dataset(frame, quick(group="g"))
    alone = read_dataset(long, quick(group="g"))
    assert [len(rows) for rows in with_short.ends] == [len(rows) for rows in alone.ends]


def test_only_the_rows_whose_goal_is_known_are_scored():
    frame = wave_frame(200).with_columns(
        cos=pl.when(pl.int_range(200) % 3 == 0).then(None).otherwise(pl.col("cos"))
    )
    dataset = read_dataset(frame, quick(missing="drop"))
    for rows in dataset.ends:
        assert (rows % 3 != 0).all()


def test_a_row_is_scored_where_one_of_several_targets_is_known():
    frame = wave_frame(200).with_columns(
        second=pl.when(pl.int_range(200) % 2 == 0).then(None).otherwise(pl.col("cos"))
    )
    dataset = read_dataset(frame, quick(target=["cos", "second"], missing="drop"))
    assert len(dataset.ends[0]) == 135


@pytest.mark.parametrize("difference", [False, True])
def test_the_scaling_is_fitted_on_the_training_part_alone(difference):
    """Rows of the other parts may hold anything: the scalers stay what they were."""
    columns = {"input": ["sin", "cos"], "ahead": 1, "difference": difference}
    frame = wave_frame(200)
    wild = frame.with_columns(
        pl.when(pl.int_range(200) < 140).then(pl.col(name)).otherwise(pl.col(name) * -1e6 + 7.0)
        for name in frame.columns
    )
    calm, upset = (train_table(f, quick(epochs=1, **columns)).run for f in (frame, wild))
    for one, other in (
        (calm.input_scaler, upset.input_scaler),
        (calm.target_scaler, upset.target_scaler),
    ):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.scale, other.scale)


def test_the_scaling_is_that_of_the_training_rows():
    frame = wave_frame(200)
    run = train_table(frame, quick(epochs=1)).run
    expected = Scaler.fit(frame["sin"].to_numpy()[:140, np.newaxis])
    np.testing.assert_array_equal(run.input_scaler.mean, expected.mean)
    np.testing.assert_array_equal(run.input_scaler.scale, expected.scale)


@pytest.mark.parametrize("part", ["training", "validation", "test"])
@pytest.mark.parametrize("window", [40, 300])
def test_a_part_shorter_than_a_window_is_named_with_the_repair(part, window):
    shares = {"training": (0.4, 0.5), "validation": (0.1, 0.4), "test": (0.4, 0.1)}[part]
    rows = {40: 200, 300: 1500}[window]
    message = refusal(wave_frame(rows), window=window, validation=shares[0], test=shares[1])
    assert f"the longest stretch in the {part} part has" in message
    assert f"fewer than a window of {window}. Shorten --window" in message
    assert (f"raise --{part}" in message) == (part != "training")


@pytest.mark.parametrize("extra", [{"ahead": 300}, {"ahead": 25, "input": ["sin", "cos"]}])
def test_a_part_shorter_than_the_way_ahead_says_so(extra):
    assert "Shorten --window or --ahead" in refusal(wave_frame(200), **extra)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_few_rows_are_too_few(rows):
    message = refusal(wave_frame(rows))
    assert f"training part has {round(0.7 * rows)} rows, fewer than a window of 6" in message


@pytest.mark.parametrize("column", ["sin", "cos"])
def test_a_constant_column_is_refused(column):
    message = refusal(wave_frame(200).with_columns(pl.lit(3.5).alias(column)))
    assert f"column '{column}' is constant in the training part (always 3.5)" in message
    assert message.endswith("Leave it out")


def test_a_column_that_is_constant_only_where_training_looks_is_refused():
    step = pl.when(pl.int_range(200) < 150).then(1.0).otherwise(2.0)
    assert "is constant in the training part" in refusal(wave_frame(200).with_columns(sin=step))


@pytest.mark.parametrize("missing", ["error", "drop", "interpolate"])
@pytest.mark.parametrize("column", ["sin", "cos"])
def test_a_column_without_a_known_value_is_named(column, missing):
    frame = wave_frame(200).with_columns(pl.lit(None, dtype=pl.Float64).alias(column))
    message = refusal(frame, missing=missing)
    assert message.endswith(f"column '{column}' has no known value in any row. Leave it out")


@pytest.mark.parametrize(
    ("part", "first", "last"), [("training", 0, 140), ("validation", 140, 170), ("test", 170, 200)]
)
def test_a_target_that_is_empty_in_one_part_is_named_with_the_part(part, first, last):
    """One of two targets: the other gives every window something to be scored by."""
    inside = pl.int_range(200).is_between(first, last, closed="left")
    frame = wave_frame(200).with_columns(second=pl.when(inside).then(None).otherwise(pl.col("cos")))
    message = refusal(frame, target=["cos", "second"], missing="drop")
    assert f"target column 'second' has no known value at the end of a window in the {part}" in (
        message
    )


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["sin", "cos"])
def test_an_unknown_value_stops_unless_the_user_chooses(column, value):
    frame = wave_frame(200).with_columns(
        pl.when(pl.int_range(200) == 11).then(value).otherwise(pl.col(column)).alias(column)
    )
    message = refusal(frame)
    assert f"column '{column}', row 12: the value is " in message
    assert "--missing drop" in message
    assert "--missing interpolate" in message
    for missing in ("drop", "interpolate"):
        read_dataset(frame, quick(missing=missing))


SPREADS = {
    "tiny": (0.0, 1e-300),
    "squares that underflow": (0.0, 1e-162),
    "subnormal in double precision": (0.0, 1e-315),
    "the least": (0.0, 5e-324),
    "tiny with an offset": (3e-200, 1e-200),
    "below single precision": (0.0, 1e-39),
}


@pytest.mark.parametrize("column", ["sin", "cos"])
@pytest.mark.parametrize(("offset", "size"), SPREADS.values(), ids=SPREADS)
def test_a_spread_that_single_precision_does_not_hold_is_refused(column, offset, size):
    """Whatever is made of the column, an ONNX file or a score, would hold nothing of it."""
    values = offset + size * np.round(np.arange(200) % 7 - 3.0)
    frame = wave_frame().with_columns(pl.Series(column, values))
    with pytest.raises(InputError, match=f"column '{column}' varies by .* too little for single"):
        train_table(frame, quick())


@pytest.mark.parametrize(("offset", "size"), SPREADS.values(), ids=SPREADS)
def test_changes_that_single_precision_does_not_hold_are_refused(offset, size):
    values = offset + size * np.round(np.arange(200) % 7 - 3.0)
    frame = pl.DataFrame({"sin": values})
    with pytest.raises(InputError, match="column 'sin' varies by"):
        train_table(frame, quick(target=["sin"], ahead=1, difference=True))


@pytest.mark.parametrize("column", ["sin", "cos"])
@pytest.mark.parametrize(("offset", "size"), [(1e16, 2.0), (1.0, 2e-16), (-1e30, 2e14)])
def test_a_spread_at_the_level_of_rounding_is_refused(column, offset, size):
    values = offset + size * (np.arange(200) % 2)
    assert len(set(values)) == 2
    frame = wave_frame().with_columns(pl.Series(column, values))
    with pytest.raises(InputError, match=f"column '{column}' varies in the last digits"):
        train_table(frame, quick())


@pytest.mark.parametrize("step", [0.1, 1 / 3, -1e-5])
def test_changes_at_the_level_of_rounding_are_refused(step):
    frame = wave_frame().select("sin", cos=step * pl.int_range(pl.len()))
    settings = {"input": ["sin", "cos"], "target": ["cos"], "ahead": 1, "difference": True}
    with pytest.raises(InputError, match="changes of column 'cos' differ in the last digits of"):
        train_table(frame, quick(**settings))
    noisy = frame.with_columns(cos=pl.col("cos") + 1e-9 * pl.col("sin"))
    assert train_table(noisy, quick(epochs=1, **settings))


@pytest.mark.parametrize(("offset", "size"), [(0.0, 1e-35), (0.0, 1e38), (1e9, 1.0), (1e12, 1e2)])
def test_a_column_of_any_size_that_single_precision_holds_is_learned_alike(offset, size):
    plain = wave_frame().select(sin=pl.col("cos") / 512, cos=pl.col("sin") / 32)
    far = plain.with_columns(sin=offset + size * pl.col("sin"), cos=offset + size * pl.col("cos"))
    r2 = [r2_of(train_table(frame, quick()).scores["cos"]) for frame in (plain, far)]
    assert r2[1] == pytest.approx(r2[0], abs=2e-3)
