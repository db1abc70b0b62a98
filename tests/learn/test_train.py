"""Training from a table and predicting another, in the table's own units."""

import numpy as np
import polars as pl
import pytest
import torch
from torch.testing import assert_close

from support_learn import quick, r2_of, score_of, wave_frame
from support_nn import grad_of
from unrolled.errors import DivergedError, InputError
from unrolled.learn.dataset import read_dataset
from unrolled.learn.features import base, features
from unrolled.learn.predict import predict_table
from unrolled.learn.train import masked_mse, train_table, window_losses
from unrolled.model import Network, NetworkConfig, TableConfig


def walk(rows=160, seed=0):
    """A random walk beside its steps: a series with a trend."""
    steps = np.random.default_rng(seed).normal(0.5, 1.0, size=rows)
    return pl.DataFrame({"level": np.cumsum(steps), "other": steps})


LEVEL = {"input": ["level", "other"], "target": ["level"], "ahead": 1}


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_same_seed_gives_the_same_weights_and_another_does_not(cell, bidirectional):
    changes = {"cell": cell, "bidirectional": bidirectional, "dropout": 0.3, "num_layers": 2}
    weights = []
    for seed in (1, 1, 2):
        torch.rand(3)  # whatever the caller drew before
        run = train_table(wave_frame(), quick(seed=seed, **changes)).run
        weights.append(torch.cat([w.flatten() for w in run.network.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    train_table(wave_frame(), quick())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_few_epochs_learn_the_wave_in_its_own_units(precision):
    settings = {"cell": "gru", "hidden_size": 16, "epochs": 30, "precision": precision}
    training = train_table(wave_frame(400), quick(learning_rate=0.02, batch_size=32, **settings))
    assert r2_of(training.scores["cos"]) > 0.99
    assert score_of(training.scores["cos"]).rmse < 20.0  # of a wave that goes from -340 to 260
    assert abs(training.predicted.mean() - training.truth.mean()) < 20.0


def test_every_window_is_met_once_an_epoch_in_a_new_order():
    settings = quick(window=3, batch_size=7)
    seen = []

    class Spy(Network):
        def forward(self, input, hx=None, lengths=None):
            seen.append(input[:, -1, 0])
            return super().forward(input, hx, lengths)

    network = Spy(NetworkConfig(cell="rnn", input_size=1, hidden_size=2, output_size=1))
    rows = torch.arange(100.0).unsqueeze(1)
    ends = np.arange(10, 60)
    generator = torch.Generator().manual_seed(0)
    orders = []
    for _ in range(2):
        seen.clear()
        list(window_losses(network, rows, rows, ends, settings, generator))
        assert [len(batch) for batch in seen] == [7] * 7 + [1]
        orders.append(torch.cat(seen))
        assert_close(orders[-1].sort().values, torch.arange(10.0, 60.0))
    assert not torch.equal(*orders)


def test_a_bidirectional_window_is_scored_at_its_end_alone():
    """Its earlier steps have seen later rows: for them a goal ahead is no secret."""
    network = Network(
        NetworkConfig(cell="gru", input_size=1, hidden_size=2, output_size=1, bidirectional=True)
    )
    rows, goals = torch.randn(20, 1), torch.full((20, 1), torch.nan)
    goals[9] = 3.0
    settings = quick(window=5, bidirectional=True)
    (loss,) = window_losses(network, rows, goals, np.array([9]), settings, torch.Generator())
    expected = (network.final(rows[5:10].unsqueeze(0)) - 3.0).square().squeeze()
    assert_close(loss, expected)


def test_unknown_goals_count_for_nothing():
    output, goal = torch.randn(4, 3), torch.randn(4, 3)
    goal[1, 2] = goal[3, 0] = torch.nan
    output.requires_grad_()
    loss = masked_mse(output, goal)
    loss.backward()
    known = ~goal.isnan()
    expected = sum((o - g) ** 2 for o, g in zip(output[known], goal[known], strict=True)) / 10
    assert_close(loss, expected)
    assert (grad_of(output)[~known] == 0).all()


def test_a_learning_rate_far_too_large_stops_with_the_step_and_the_cause():
    with pytest.raises(DivergedError, match=r"in epoch 1, step \d+: .*--learning-rate"):
        train_table(wave_frame(), quick(learning_rate=1e30, batch_size=16))


def test_a_difference_enters_for_the_columns_that_are_targets_alone():
    config = TableConfig(
        inputs=["level", "other"], targets=["level"], window=3, ahead=1, difference=True
    )
    values = walk().to_numpy()
    read = features(values, config)
    assert np.isnan(read[0, 0])
    np.testing.assert_allclose(read[1:, 0], np.diff(values[:, 0]))
    np.testing.assert_array_equal(read[:, 1], values[:, 1])
    np.testing.assert_array_equal(base(values, config)[:, 0], values[:, 0])


def test_without_difference_the_columns_are_what_they_are():
    config = TableConfig(inputs=["level", "other"], targets=["level"], window=3, ahead=1)
    values = walk().to_numpy()
    assert features(values, config) is values
    np.testing.assert_array_equal(base(values, config), np.zeros((160, 1)))


def test_a_network_that_says_nothing_new_predicts_the_last_value_and_the_mean_change():
    """With zero weights a difference's prediction is where the series is, plus its mean step."""
    training = train_table(walk(), quick(difference=True, **LEVEL))
    run = training.run
    for weight in run.network.parameters():
        torch.nn.init.zeros_(weight)
    level = walk()["level"].to_numpy()
    predicted = predict_table(run, walk()).frame
    rows = predicted["row"].to_numpy() - 1
    change = (level[1:] - level[:-1])[:111].mean()  # the training part's 112 rows
    np.testing.assert_allclose(predicted["level_predicted"], level[rows] + change, rtol=0.01)


@pytest.mark.parametrize("difference", [False, True])
def test_predictions_move_with_the_tables_level_only_by_differences(difference):
    training = train_table(walk(), quick(difference=difference, **LEVEL))
    lifted = walk().with_columns(pl.col("level") + 1000.0)
    low, high = (
        predict_table(training.run, f).frame["level_predicted"].to_numpy() for f in (walk(), lifted)
    )
    same = np.allclose(high - low, 1000.0, atol=0.1)
    assert same == difference


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize("ahead", [1, 3])
def test_predicting_the_training_table_repeats_the_test_predictions(difference, ahead):
    settings = quick(**{**LEVEL, "ahead": ahead, "difference": difference})
    training = train_table(walk(), settings)
    frame = predict_table(training.run, walk()).frame
    by_row = dict(zip(frame["row"], frame["level_predicted"], strict=True))
    rows = training.table.rows[training.test_rows]
    again = np.array([by_row[row] for row in rows.tolist()])
    np.testing.assert_allclose(again, training.predicted[:, 0], rtol=1e-5, atol=1e-5)


def test_a_difference_needs_one_row_more():
    training = train_table(walk(), quick(difference=True, window=6, **LEVEL))
    assert predict_table(training.run, walk()).frame["row"][0] == 7
    with pytest.raises(InputError, match="has 6 rows, fewer than the 7 that the run needs"):
        predict_table(training.run, walk(6))


def test_the_first_change_of_a_group_is_not_from_the_group_before():
    frame = pl.concat(
        [
            walk(120, seed).with_columns(pl.col("level") + 1e6 * seed, g=pl.lit(str(seed)))
            for seed in range(3)
        ]
    )
    training = train_table(frame, quick(difference=True, group="g", **LEVEL))
    # A jump from group to group, of a million, would be all there is to such a scale.
    assert training.run.input_scaler.scale[0] < 2.0
    assert training.run.target_scaler.scale[0] < 2.0
    assert score_of(training.scores["level"]).rmse < 10.0


def test_the_forecast_past_the_end_of_the_table_is_there():
    training = train_table(walk(), quick(**{**LEVEL, "ahead": 3}))
    frame = predict_table(training.run, walk()).frame
    assert frame["row"].to_list() == list(range(6, 161))
    assert frame["for_row"].to_list() == [*range(9, 161), None, None, None]
    assert frame["level"].to_list()[-3:] == [None] * 3
    level = walk()["level"].to_list()
    assert frame["level"].to_list()[:-3] == level[8:]
    assert frame["level_predicted"].null_count() == 0


def test_predictions_of_groups_keep_the_tables_order_and_never_look_across():
    frame = pl.concat([walk(100, seed).with_columns(g=pl.lit(seed)) for seed in range(2)])
    order = np.random.default_rng(0).permutation(np.repeat([0, 1], 100))
    rows = [iter(range(100)), iter(range(100, 200))]
    mixed = frame[[next(rows[group]) for group in order]]
    training = train_table(mixed, quick(group="g", **LEVEL))
    together = predict_table(training.run, mixed).frame
    assert together["row"].is_sorted()
    for group in range(2):
        alone = predict_table(training.run, mixed.filter(pl.col("g") == group)).frame
        mine = together.filter(pl.col("g") == group)
        np.testing.assert_allclose(
            mine["level_predicted"], alone["level_predicted"], rtol=1e-5, atol=1e-5
        )
        assert mine["level"].to_list() == alone["level"].to_list()


def test_a_table_without_the_targets_is_predicted_all_the_same():
    training = train_table(wave_frame(), quick())
    with_truth = predict_table(training.run, wave_frame()).frame
    without = predict_table(training.run, wave_frame().drop("cos")).frame
    assert without.columns == ["row", "cos_predicted"]
    assert with_truth.columns == ["row", "cos", "cos_predicted"]
    assert without["cos_predicted"].to_list() == with_truth["cos_predicted"].to_list()


@pytest.mark.parametrize("missing", [None, "drop", "interpolate"])
def test_predicting_does_about_missing_values_what_it_is_told(missing):
    training = train_table(wave_frame(), quick())
    holed = wave_frame().with_columns(
        pl.when(pl.int_range(200) == 100).then(None).otherwise(pl.col("sin")).alias("sin")
    )
    if missing is None:
        with pytest.raises(InputError, match=r"input column 'sin', row 101: the value is missing"):
            predict_table(training.run, holed)
        return
    predictions = predict_table(training.run, holed, missing=missing)
    rows = set(predictions.frame["row"].to_list())
    # Neither predicts at the row itself; dropping loses every window that it is in.
    lost = {101} if missing == "interpolate" else set(range(101, 107))
    assert set(range(6, 201)) - rows == lost
    assert predictions.without == 5 + len(lost)


def test_an_interrupted_training_is_scored_and_says_so():
    def interrupt(history):
        if len(history.validation) == 3:
            raise KeyboardInterrupt

    training = train_table(wave_frame(), quick(epochs=50), on_epoch=interrupt)
    assert training.history.interrupted
    assert len(training.history.validation) == 3
    assert score_of(training.scores["cos"]).rmse > 0


def test_early_stopping_looks_at_the_validation_part_alone():
    """Other test rows, the same weights."""
    settings = quick(epochs=4)
    frame = wave_frame()
    other = frame.with_columns(pl.when(pl.int_range(200) < 170).then("sin").otherwise(0.5))
    one, two = (train_table(f, settings).run.network.state_dict() for f in (frame, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert len(read_dataset(frame, settings).ends[2]) == 25
