"""Watching a training: it changes nothing, what it says is true, and explosions have a name."""

import json
import math
import sys
import types
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from support_learn import quick, wave_frame
from unrolled.errors import DivergedError
from unrolled.learn.estimator import SequenceRegressor
from unrolled.learn.loop import Update
from unrolled.learn.train import train_table
from unrolled.learn.watch import (
    Explosion,
    GateStatistics,
    Probe,
    Record,
    Snapshot,
    StateStatistics,
    Watcher,
    layer_of,
)
from unrolled.learn.watch_files import save_watch, write_events, write_lines
from unrolled.model import Network, NetworkConfig
from unrolled.runfile import EVENT_FILE


def network_of(cell="lstm", **changes):
    torch.manual_seed(0)
    sizes = {"input_size": 2, "hidden_size": 3, "output_size": 1}
    return Network(NetworkConfig(cell=cell, **sizes, **changes))


def watcher_of(network, every=1000, steps=5, lengths=None):
    records: list[Record] = []
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(4, steps, 2, generator=generator)
    probe = Probe(inputs, torch.randn(4, 1, generator=generator), lengths)
    return Watcher(network, probe, every, records.append), records


def fill(network, value, **of_weights):
    """Gradients of this value, and of another for some weights (dots as double underscores)."""
    for name, weight in network.named_parameters():
        weight.grad = torch.full_like(weight, of_weights.get(name.replace(".", "__"), value))


def seen(network, watcher, *values, **of_weights):
    for value in values:
        fill(network, value, **of_weights)
        watcher.see(Update(1, watcher.updates + 1, 0.5))


def explosions(records):
    return [record for record in records if isinstance(record, Explosion)]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_who_is_watched_learns_the_same_weights(cell, bidirectional):
    changes = {"cell": cell, "bidirectional": bidirectional, "dropout": 0.3, "num_layers": 2}
    alone, watched = (
        train_table(wave_frame(), quick(watch=watch, watch_every=2, **changes))
        for watch in (False, True)
    )
    one, two = (training.run.network.state_dict() for training in (alone, watched))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert alone.watched == ()
    assert [record.update for record in watched.watched] == [1, 2, 4, 6]


@pytest.mark.parametrize("target", ["step", "sequence"])
def test_an_estimator_that_is_watched_predicts_the_same_from_ragged_rows(target):
    random = np.random.default_rng(0)
    X = [random.normal(size=(length, 2)) for length in (3, 7, 5, 4, 6, 7, 2, 5, 6, 3)]
    y = [row[:, 0] for row in X] if target == "step" else [row.sum() for row in X]
    settings: dict[str, Any] = {"hidden_size": 3, "epochs": 4, "batch_size": 4, "random_state": 0}
    alone = SequenceRegressor(**settings).fit(X, y)
    watched = SequenceRegressor(**settings, watch=True, watch_every=4).fit(X, y)
    for one, two in zip(alone.predict(X), watched.predict(X), strict=True):
        np.testing.assert_array_equal(one, two)
    assert alone.watch_ == []
    assert [record.update for record in watched.watch_] == [1, 4, 8]
    snapshots = [record for record in watched.watch_ if isinstance(record, Snapshot)]
    assert snapshots == watched.watch_
    assert len(snapshots[0].gradient_by_lag) == 7


def test_the_first_update_and_every_nth_are_recorded_with_their_place():
    training = train_table(wave_frame(), quick(watch=True, watch_every=5, batch_size=32))
    places = [(record.update, record.epoch, record.step) for record in training.watched]
    assert places == [(1, 1, 1), (5, 1, 5), (10, 2, 5)]
    first = training.watched[0]
    assert first.gradient_norm <= training.history.gradient_norm[0]
    assert math.isfinite(first.loss)


def test_a_look_leaves_mode_random_numbers_and_gradients_alone():
    network = network_of(num_layers=2, dropout=0.5).train()
    watcher, records = watcher_of(network, every=1)
    state = torch.get_rng_state()
    seen(network, watcher, 0.1)
    assert isinstance(records[0], Snapshot)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert network.recurrent.training
    assert all(bool((weight.grad == 0.1).all()) for weight in network.parameters())


def test_norms_are_those_of_weights_and_layers():
    network = network_of(num_layers=2, bidirectional=True)
    watcher, records = watcher_of(network)
    seen(network, watcher, 0.1, readout__bias=3.0)
    found, sizes = records[0], {n: w.numel() for n, w in network.named_parameters()}
    assert list(found.layer_norms) == [
        "recurrent layer 0", "recurrent layer 0, reverse",
        "recurrent layer 1", "recurrent layer 1, reverse", "read-out",
    ]  # fmt: skip
    assert found.weight_norms["readout.bias"] == pytest.approx(3.0)
    for name in ("recurrent.weight_hh_l1_reverse", "readout.weight"):
        assert found.weight_norms[name] == pytest.approx(0.1 * sizes[name] ** 0.5)
    for total, parts in (
        (found.gradient_norm, found.layer_norms),
        (found.gradient_norm, found.weight_norms),
    ):
        assert total**2 == pytest.approx(sum(part**2 for part in parts.values()))


@pytest.mark.parametrize("lengths", [None, [5, 2, 4, 1]])
def test_the_gradient_by_lag_is_autograds_of_the_loss_at_the_end(lengths):
    network = network_of("rnn")
    rows = [5] * 4 if lengths is None else lengths
    watcher, records = watcher_of(
        network, lengths=None if lengths is None else torch.tensor(lengths)
    )
    seen(network, watcher, 0.0)
    w = network.recurrent
    norms = []
    outputs, states = [], []
    for row, length in zip(watcher.probe.inputs, rows, strict=True):
        h, path = torch.zeros(3), []
        for x in row[:length]:
            h = torch.tanh(w.weight_ih_l0 @ x + w.bias_ih_l0 + w.weight_hh_l0 @ h + w.bias_hh_l0)
            path.append(h)
        states.append(path)
        outputs.append(network.readout(h))
    loss = (torch.stack(outputs) - watcher.probe.goals).square().mean()
    for path in states:
        by_state = torch.autograd.grad(loss, path, retain_graph=True)
        norms.append([float(g.norm()) for g in reversed(by_state)])
    found = records[0].gradient_by_lag
    assert found[0] == pytest.approx(np.mean([row[0] for row in norms]), rel=1e-4)
    for lag in range(1, 5):  # grows as the mean of the rows that reach so far
        reach = [row for row in norms if len(row) > lag]
        growth = sum(row[lag] for row in reach) / sum(row[lag - 1] for row in reach)
        assert found[lag] / found[lag - 1] == pytest.approx(growth, rel=1e-4)


def test_gates_and_states_are_what_the_weights_make_them():
    network = network_of("lstm")
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.recurrent.bias_ih_l0[:3] = torch.tensor([-9.0, 0.0, 9.0])  # the input gate
        network.recurrent.bias_ih_l0[6:9] = 1.0  # the candidate
    watcher, records = watcher_of(network, steps=1)
    seen(network, watcher, 0.0)
    gates, states = records[0].gates["recurrent layer 0"], records[0].states["recurrent layer 0"]
    assert list(gates) == ["input", "forget", "candidate", "output"]
    assert gates["input"].mean == pytest.approx(0.5)
    assert gates["input"].saturated == pytest.approx(2 / 3)
    assert gates["forget"] == GateStatistics(0.5, 0.0)
    assert gates["candidate"].mean == pytest.approx(math.tanh(1))
    cells = torch.sigmoid(torch.tensor([-9.0, 0.0, 9.0])) * math.tanh(1)
    assert states["cell"].mean == pytest.approx(float(cells.mean()))
    assert states["cell"].deviation == pytest.approx(float(cells.std(correction=0)))


def test_unknown_goals_at_the_end_count_for_nothing():
    network = network_of()
    watcher, records = watcher_of(network)
    watcher.probe.goals[1:] = math.nan
    seen(network, watcher, 0.0)
    alone = Watcher(
        network, Probe(watcher.probe.inputs[:1], watcher.probe.goals[:1]), 1, records.append
    )
    seen(network, alone, 0.0)
    whole, one = (torch.tensor(record.gradient_by_lag) for record in records)
    assert_close(whole * 4, one)


def test_an_explosion_is_named_between_two_snapshots():
    network = network_of(num_layers=2)
    watcher, records = watcher_of(network)
    seen(network, watcher, *[0.01] * 20)
    seen(network, watcher, 0.01, recurrent__weight_hh_l1=50.0)
    seen(network, watcher, 0.01)
    assert [record.kind for record in records] == ["snapshot", "explosion"]
    found = records[1]
    assert (found.update, found.layer) == (21, "recurrent layer 1")
    assert found.weight == "recurrent.weight_hh_l1"
    assert found.share == pytest.approx(1.0, abs=1e-4)
    assert found.gradient_norm == pytest.approx(300.0, rel=1e-4)
    assert str(found).startswith(
        "the gradient exploded in epoch 1, step 21 (update 21): norm 300, "
        f"{300 / found.median:,.0f} times the median; 100% of its square in recurrent layer 1"
    )


@pytest.mark.parametrize(("calm", "times", "named"), [(19, 200, 0), (20, 99, 0), (20, 101, 1)])
def test_it_takes_a_median_of_twenty_and_a_hundred_times_that(calm, times, named):
    network = network_of()
    watcher, records = watcher_of(network)
    seen(network, watcher, *[0.01] * calm, 0.01 * times)
    assert len(explosions(records)) == named


def test_the_median_follows_the_training():
    network = network_of()
    watcher, records = watcher_of(network)
    seen(network, watcher, *[10.0] * 250, *[0.001] * 150)
    assert explosions(records) == []
    seen(network, watcher, 1.0)
    assert len(explosions(records)) == 1


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_is_not_finite_is_named_at_once_and_where_the_backward_pass_met_it(value):
    network = network_of(num_layers=2)
    watcher, records = watcher_of(network)
    broken = {"recurrent__weight_hh_l0": math.nan, "recurrent__weight_ih_l1": value}
    seen(network, watcher, 0.01, **broken)
    (found,) = explosions(records)
    assert (found.update, found.layer, found.share) == (1, "recurrent layer 1", None)
    assert "not finite in recurrent layer 1 (recurrent.weight_ih_l1)" in str(found)


def test_a_norm_that_overflows_single_precision_has_its_layer_all_the_same():
    network = network_of()
    watcher, records = watcher_of(network)
    seen(network, watcher, 1e24, readout__weight=1e25)
    (found,) = explosions(records)
    assert found.gradient_norm == math.inf
    assert found.layer == "read-out"
    assert 0.5 < found.share < 1.0


def test_a_training_that_diverges_says_which_step_and_layer_to_look_at():
    records: list[Record] = []
    settings = quick(watch=True, learning_rate=1e30, batch_size=16)
    with pytest.raises(DivergedError) as caught:
        train_table(wave_frame(), settings, on_record=records.append)
    message = str(caught.value)
    assert message.startswith("the loss became ")
    assert "Watched: the last gradient was that of epoch 1, step 1 (update 1): norm " in message
    assert isinstance(records[0], Snapshot)
    norms = records[0].layer_norms
    layer = max(norms, key=norms.__getitem__)
    assert f"of its square in {layer} (" in message


def test_an_explosion_that_ends_the_training_is_in_the_message():
    network = network_of()
    watcher, _ = watcher_of(network)
    assert watcher.last_words() == "Watched: there was no update before"
    seen(network, watcher, 1e25)
    for weight in network.parameters():
        weight.grad = None
    assert watcher.last_words().startswith("Watched: the gradient exploded in epoch 1, step 1")


def test_an_estimator_that_diverges_keeps_what_it_saw():
    estimator = SequenceRegressor(watch=True, learning_rate=1e30, hidden_size=3, random_state=0)
    X = np.random.default_rng(0).normal(size=(80, 5))
    with pytest.raises(DivergedError, match="Watched: "):
        estimator.fit(X, X[:, 0])
    assert isinstance(estimator.watch_[0], Snapshot)


def test_watch_every_is_a_whole_number():
    X = np.zeros((4, 5))
    with pytest.raises(ValueError, match="watch_every should be a whole number of at least 1"):
        SequenceRegressor(watch=True, watch_every=0).fit(X, X[:, 0])


def test_weights_of_other_places_are_called_as_they_are():
    assert layer_of("recurrent.weight_ih_l12") == "recurrent layer 12"
    assert layer_of("recurrent.bias_hh_l0_reverse") == "recurrent layer 0, reverse"
    assert layer_of("recurrent.log_time_constant_l1") == "recurrent layer 1"
    assert layer_of("readout.bias") == "read-out"
    assert layer_of("head.0.weight") == "head.0"
    assert layer_of("weight") == "weight"


def snapshot(update=1, **changes):
    layer = "recurrent layer 0"
    values = {
        "update": update, "epoch": 1, "step": update, "loss": 0.5, "gradient_norm": 2.0,
        "layer_norms": {layer: 2.0}, "weight_norms": {"recurrent.weight_hh_l0": 2.0},
        "gradient_by_lag": [1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02],
        "gates": {layer: {"update": GateStatistics(0.4, 0.1)}},
        "states": {layer: {"hidden": StateStatistics(0.1, 0.7)}},
    }  # fmt: skip
    return Snapshot(**{**values, **changes})


def explosion(norm=math.inf):
    return Explosion(3, 1, 3, 0.5, norm, None, "recurrent layer 0", "recurrent.weight_hh_l0", None)


def test_a_line_a_record_with_null_for_what_is_no_number(tmp_path):
    broken = snapshot(2, loss=math.nan, gradient_by_lag=[math.nan, -math.inf])
    write_lines(tmp_path / "watch.jsonl", [snapshot(), broken, explosion()])
    text = (tmp_path / "watch.jsonl").read_text()
    assert not any(word in text for word in ("NaN", "Infinity"))
    first, second, third = map(json.loads, text.splitlines())
    assert first["gates"] == {"recurrent layer 0": {"update": {"mean": 0.4, "saturated": 0.1}}}
    assert (second["loss"], second["gradient_by_lag"]) == (None, [None, None])
    assert (third["kind"], third["gradient_norm"]) == ("explosion", None)
    assert next(iter(first)) == "kind"


class Writer:
    """What stands in for TensorBoard's: keeps what it is told."""

    told: list[Any]

    def __init__(self, folder):
        from pathlib import Path

        Path(folder).mkdir()
        (Path(folder) / "events.out.tfevents.123.here").write_text("")

    def add_scalar(self, tag, value, step):
        self.told.append((tag, value, step))

    def add_text(self, tag, text, step):
        self.told.append((tag, text, step))

    def close(self):
        self.told.append("closed")


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(Writer, "told", [], raising=False)
    fake = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    write_events(tmp_path / "tensorboard", [snapshot(50), explosion()])
    assert Writer.told == [
        ("loss", 0.5, 50),
        ("gradient_norm/all", 2.0, 50),
        ("gradient_norm/recurrent_layer_0", 2.0, 50),
        ("gradient_by_lag/0", 1.0, 50),
        ("gradient_by_lag/1", 0.5, 50),
        ("gradient_by_lag/2", 0.3, 50),
        ("gradient_by_lag/4", 0.1, 50),
        ("gradient_by_lag/6", 0.02, 50),
        ("gate_mean/recurrent_layer_0/update", 0.4, 50),
        ("gate_saturated/recurrent_layer_0/update", 0.1, 50),
        ("state_mean/recurrent_layer_0/hidden", 0.1, 50),
        ("state_deviation/recurrent_layer_0/hidden", 0.7, 50),
        ("explosion", str(explosion()), 3),
        "closed",
    ]
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == [EVENT_FILE]


def test_without_tensorboard_there_are_no_events(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    save_watch([snapshot()], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["watch.jsonl", "watch.png"]


def test_tensorboard_itself_reads_the_events(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write_events(tmp_path / "tensorboard", [snapshot(1), snapshot(50, gradient_norm=3.0)])
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("gradient_norm/all")]
    assert found == [(1, 2.0), (50, 3.0)]


@pytest.mark.parametrize(
    "records",
    [
        [snapshot()],
        [snapshot(), explosion(), explosion(500.0), *map(snapshot, range(10, 90, 10))],
        [snapshot(gradient_norm=math.nan, gradient_by_lag=[math.nan] * 3)],
        [snapshot(gates={})],
    ],
    ids=["one", "explosions", "not finite", "no gates"],
)
def test_the_picture_is_a_png_whatever_happened(tmp_path, monkeypatch, records):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    save_watch(records, tmp_path)
    assert min(matplotlib.image.imread(tmp_path / "watch.png").shape[:2]) > 400
