"""The run folder: what was saved comes back, and what was damaged is refused by name."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from support_run import edit, reseal
from unrolled.errors import InputError
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, load_run, save_run

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def make_run(cell="lstm", *, hidden_size=5, num_layers=1, bidirectional=False) -> Run:
    network = Network(
        NetworkConfig(
            cell=cell,
            input_size=2,
            hidden_size=hidden_size,
            output_size=3,
            num_layers=num_layers,
            bidirectional=bidirectional,
        )
    )
    table = TableConfig(inputs=["a", "b"], targets=["x", "y", "z"], window=4, group="who", ahead=2)
    rng = np.random.default_rng(0)
    scalers = [Scaler(rng.normal(size=n), rng.uniform(0.1, 9.0, size=n)) for n in (2, 3)]
    return Run(network.eval(), table, *scalers)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    save_run(make_run(), folder)
    return folder


def refusal(folder) -> str:
    """The message that loading ``folder`` is refused with: one line."""
    with pytest.raises(InputError) as caught:
        load_run(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit_weights(folder, change) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    reseal(folder)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_loaded_run_gives_identical_predictions(tmp_path, cell, num_layers, bidirectional):
    run = make_run(cell, num_layers=num_layers, bidirectional=bidirectional)
    save_run(run, tmp_path)
    loaded = load_run(tmp_path)
    x = torch.randn(3, 7, 2)
    with torch.no_grad():
        assert torch.equal(loaded.network(x)[0], run.network(x)[0])
        assert torch.equal(loaded.network.final(x), run.network.final(x))


def test_a_loaded_run_has_the_same_table_and_scalers_to_the_last_bit(tmp_path):
    run = make_run()
    save_run(run, tmp_path)
    loaded = load_run(tmp_path)
    assert loaded.table == run.table
    for mine, theirs in (
        (loaded.input_scaler, run.input_scaler),
        (loaded.target_scaler, run.target_scaler),
    ):
        np.testing.assert_array_equal(mine.mean, theirs.mean)
        np.testing.assert_array_equal(mine.scale, theirs.scale)


def test_a_loaded_run_is_ready_to_predict(folder):
    assert not load_run(folder).network.training


def test_loading_leaves_the_callers_random_numbers_alone_in_what_it_returns(folder):
    torch.manual_seed(1)
    first = load_run(folder).network.state_dict()
    torch.manual_seed(2)
    second = load_run(folder).network.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_neither_file_is_a_pickle_and_loading_never_unpickles(folder, monkeypatch):
    for name in (CONFIG, WEIGHTS):
        content = (folder / name).read_bytes()
        assert not zipfile.is_zipfile(io.BytesIO(content))  # what torch.save writes
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever pickle says to no pickle
            pickle.loads(content)

    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    load_run(folder)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, -300, -1])
def test_weights_cut_short_anywhere_are_refused(folder, kept):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    message = refusal(folder)
    assert message.startswith(f"{path}: cut short or damaged")
    assert "train again" in message


def test_weights_with_bytes_too_many_are_refused(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes() + b"\0")
    assert refusal(folder).startswith(f"{path}: cut short or damaged")


@pytest.mark.parametrize("kept", [0, 1, 10, 200, -3])
def test_a_config_cut_short_anywhere_is_refused(folder, kept):
    path = folder / CONFIG
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(folder).startswith(f"{path}: not whole JSON")


@pytest.mark.parametrize("content", ["[]", "3", "null", '"unrolled-run"', "{}", '{"format": "x"}'])
def test_a_config_of_something_else_is_refused(folder, content):
    (folder / CONFIG).write_text(content)
    assert refusal(folder).startswith(f"{folder / CONFIG}: not the config of an unrolled run")


def test_a_config_that_is_not_utf8_is_refused(folder):
    (folder / CONFIG).write_bytes(b"\xff\xfe{}")
    assert refusal(folder).startswith(f"{folder / CONFIG}: not whole JSON")


@pytest.mark.parametrize("version", [0, 1, 3, "2", 2.0, True, None])
def test_another_format_version_names_both_and_the_repair(folder, version):
    def change(config):
        config.update(format_version=version, unrolled_version="7.8.9")

    edit(folder, change)
    message = refusal(folder)
    assert message.startswith(f"{folder / CONFIG}: has format version {version!r}")
    assert "reads 2" in message
    assert "7.8.9" in message


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda c: c.update(colour="red"), "colour"),
        (lambda c: c["network"].update(colour="red"), "network.colour"),
        (lambda c: c["table"].update(colour="red"), "table.colour"),
        (lambda c: c["table"].pop("window"), "table.window"),
        (lambda c: c.pop("network"), "network"),
        (lambda c: c["network"].update(hidden_size=-1), "network.hidden_size"),
        (lambda c: c["network"].update(hidden_size=5.5), "network.hidden_size"),
        (lambda c: c["network"].update(cell="transformer"), "network.cell"),
        (lambda c: c["table"].update(window=0), "table.window"),
        (lambda c: c["table"].update(inputs=[]), "table.inputs"),
        (lambda c: c["table"].update(missing="guess"), "table.missing"),
    ],
)
def test_a_config_with_a_wrong_entry_names_the_entry(folder, change, where):
    edit(folder, change)
    assert refusal(folder).startswith(f"{folder / CONFIG}: {where}: ")


@pytest.mark.parametrize("column", ["inputs", "targets"])
def test_a_config_with_other_columns_than_its_network_is_refused(folder, column):
    edit(folder, lambda c: c["table"][column].append("one more"))
    message = refusal(folder)
    assert message.startswith(f"{folder / CONFIG}: ")
    assert "inputs" in message
    assert "targets" in message


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder / name}: missing")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_folder_in_the_place_of_a_file_is_refused(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refusal(folder).startswith(f"{folder / name}: ")


def test_weights_of_another_size_are_refused(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    save_run(make_run(hidden_size=6), other)
    (other / WEIGHTS).replace(folder / WEIGHTS)
    message = refusal(folder)
    assert message.startswith(f"{folder / WEIGHTS}: does not hold what config.json describes")
    assert "[24, 2]" in message  # what it holds: 4 gates of 6 units
    assert "[20, 2]" in message  # what it should


def test_weights_of_another_cell_of_the_same_size_are_refused(folder):
    edit(folder, lambda c: c["network"].update(cell="gru"))
    assert refusal(folder).startswith(f"{folder / WEIGHTS}: ")


def test_a_network_too_large_for_the_memory_is_refused_before_it_is_built(folder):
    edit(folder, lambda c: c["network"].update(hidden_size=10_000_000))
    assert refusal(folder).startswith(f"{folder / WEIGHTS}: ")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.pop("network.readout.bias"), "network.readout.bias is missing"),
        (lambda t: t.pop("scaler.input.mean"), "scaler.input.mean is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "'extra' belongs to another network"),
        (
            lambda t: t.update({"scaler.target.scale": torch.ones(1, dtype=torch.float64)}),
            "scaler.target.scale",
        ),
        (
            lambda t: t.update({"network.readout.bias": t["network.readout.bias"].double()}),
            "network.readout.bias",
        ),
        (lambda t: t["network.readout.bias"].fill_(torch.nan), "is not finite"),
        (lambda t: t["scaler.input.scale"].fill_(torch.inf), "is not finite"),
        (lambda t: t["scaler.target.scale"].zero_(), "scaler.target.scale has a zero"),
    ],
)
def test_a_tensor_that_is_not_as_described_is_named(folder, change, fault):
    edit_weights(folder, change)
    message = refusal(folder)
    assert message.startswith(f"{folder / WEIGHTS}: ")
    assert fault in message


def test_what_is_not_a_folder_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, tmp_path / "nowhere"):
        assert refusal(path).startswith(f"{path}: no such run folder")


def test_a_path_may_be_a_string(folder):
    assert load_run(str(folder)).table.window == 4


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_named_by_a_text_or_a_path(tmp_path, kind):
    save_run(make_run(), kind(tmp_path))
    assert load_run(kind(tmp_path)).table == make_run().table
