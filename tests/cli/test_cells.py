"""``unrolled train --cell`` with any cell, ``--init``, and what the run folder then is good for."""

import json
import subprocess

import numpy as np
import polars as pl
import pytest
import torch

from support_cli import program, run
from support_learn import wave_frame, write_wave
from support_onnx import Exported
from unrolled.model import load_run
from unrolled.nn import Recurrent

QUICK = ["--window", 6, "--hidden-size", 4, "--epochs", 2, "--threads", 1]
COLUMNS = ["--input", "sin", "--target", "cos"]
CELL = """\
import unrolled
from unrolled.cells import linear, sigmoid, tanh, weight


class PeepholeLSTM(unrolled.Cell):
    def step(self, x, h, c):
        p_i, p_f, p_o = weight(), weight(), weight()
        i = sigmoid(linear(x, h) + p_i * c)
        f = sigmoid(linear(x, h) + p_f * c)
        c = f * c + i * tanh(linear(x, h))
        o = sigmoid(linear(x, h) + p_o * c)
        return o * tanh(c), c
"""


NARROW = """\
import unrolled
from unrolled.cells import linear, tanh


class Narrow(unrolled.Cell):
    sizes = {"h": "small"}

    def step(self, x, h):
        wide = tanh(linear(x, h, size="hidden"))
        return tanh(linear(wide, size="small"))
"""


TWO = [
    ["--cell", "MGU", "--num-layers", 2],
    ["--cell", "ProjectedLSTM", "--size", "proj=3", "--num-layers", 2],
]
OF_ANY = pytest.mark.parametrize("flags", TWO, ids=lambda flags: flags[1])


@pytest.fixture
def data(tmp_path):
    return write_wave(tmp_path / "wave.csv")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mycell.py"
    path.write_text(CELL)
    return path


@pytest.fixture
def narrow(tmp_path):
    path = tmp_path / "narrow.py"
    path.write_text(NARROW)
    return f"{path}:Narrow"


@pytest.fixture
def trained(unrolled, data, tmp_path):
    """Trains with these flags; gives the run folder and what was printed."""

    def train(*flags):
        out = tmp_path / "run"
        outcome = unrolled("train", data, *COLUMNS, "--out", out, *QUICK, *flags)
        assert outcome.code == 0, outcome.err
        return out, outcome.out

    return train


@pytest.mark.parametrize(
    "flags",
    [
        ["--cell", "PeepholeLSTM"],
        ["--cell", "MGU", "--num-layers", 2, "--dropout", 0.2],
        ["--cell", "SLSTM", "--bidirectional"],
        ["--cell", "ProjectedLSTM", "--size", "proj=3", "--num-layers", 2, "--bidirectional"],
    ],
    ids=lambda flags: " ".join(map(str, flags)),
)
def test_a_shipped_cell_is_trained_and_predicts(unrolled, trained, data, tmp_path, flags):
    folder, printed = trained(*flags)
    assert f"The {flags[1]} LOSES to" in printed
    assert load_run(folder).network.config.title == flags[1]
    assert unrolled("predict", folder, data, "--out", tmp_path / "p.csv").code == 0
    mine, kept = (pl.read_csv(path) for path in (tmp_path / "p.csv", folder / "predictions.csv"))
    assert mine[-len(kept) :].equals(kept)


def test_a_folder_needs_no_file_of_the_cells(unrolled, trained, data, file, tmp_path):
    folder, _ = trained("--cell", f"{file}:PeepholeLSTM")
    file.write_text("raise SystemExit('it is executed')")
    assert unrolled("predict", folder, data, "--out", tmp_path / "p.csv").code == 0
    assert len(pl.read_csv(tmp_path / "p.csv")) == len(wave_frame()) - 5


def test_a_class_of_ones_own_gives_the_shipped_cells_numbers(trained, file):
    folder, _ = trained("--cell", "PeepholeLSTM")
    shipped = (folder / "predictions.csv").read_bytes()
    folder, _ = trained("--cell", f"{file}:PeepholeLSTM", "--overwrite")
    assert (folder / "predictions.csv").read_bytes() == shipped


def test_the_settings_have_the_cells_name(trained, file):
    folder, _ = trained("--cell", f"{file}:PeepholeLSTM")
    assert json.loads((folder / "metrics.json").read_text())["settings"]["cell"] == "PeepholeLSTM"


def test_a_run_with_a_size_of_the_cells_own_has_torchs_numbers(trained):
    folder, _ = trained("--cell", "ProjectedLSTM", "--size", "proj=3", "--num-layers", 2)
    network = load_run(folder).network
    lstm = torch.nn.LSTM(1, 4, num_layers=2, proj_size=3, batch_first=True)
    lstm.load_state_dict(network.recurrent.state_dict())
    x = torch.linspace(-1, 1, 20).reshape(2, 10, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[0], network.readout(lstm(x)[0]))


def test_a_class_of_ones_own_has_a_size_of_its_own(trained, narrow):
    folder, _ = trained("--cell", narrow, "--size", "small=2")
    network = load_run(folder).network
    assert isinstance(network.recurrent, Recurrent)
    assert network.recurrent.units["small"] == network.readout.in_features == 2


def test_a_missing_size_is_named_with_the_flag(unrolled, data):
    outcome = unrolled("train", data, *COLUMNS, "--out", "run", "--cell", "ProjectedLSTM")
    assert outcome.code == 2
    assert outcome.err.strip().endswith(
        "ProjectedLSTM has a size of its own, proj, and it is not given. "
        "Add --size proj=8, or another number"
    )


@pytest.mark.parametrize(("name", "sizes"), [("MGU", []), ("Narrow", ["--size", "small=2"])])
def test_it_is_inspected(trained, narrow, monkeypatch, name, sizes):
    cell = narrow if name == "Narrow" else name
    folder, _ = trained("--cell", cell, *sizes, "--num-layers", "2")
    monkeypatch.chdir(folder.parent)
    outcome = run("inspect", folder, "--png", "pictures", "--steps", "20")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"The {name} at 'recurrent', over 20 steps")
    page = (folder.parent / "report.html").read_text()
    assert (
        f"<title>{name}: one step</title>"
        in json.loads(page.partition('id="data">')[2].partition("</script>")[0])["recorded"]["flow"]
    )
    assert (folder.parent / "pictures" / "cell.svg").read_text().startswith("<svg")


def test_it_is_watched(trained):
    folder, _ = trained("--cell", "MGU", "--watch")
    first = json.loads((folder / "watch.jsonl").read_text().splitlines()[0])
    assert first["gates"]["recurrent layer 0"].keys() == {"forget", "candidate"}
    assert first["states"]["recurrent layer 0"].keys() == {"hidden"}
    assert first["layer_norms"].keys() == {"recurrent layer 0", "read-out"}


@OF_ANY
def test_it_is_streamed(trained, flags):
    folder, _ = trained(*flags)
    x = np.linspace(-1, 1, 9)
    lines = "".join(f"{value!r}\n" for value in x.tolist())
    done = subprocess.run(
        program("stream", folder), input=lines, capture_output=True, text=True, check=True
    )
    found = [float(line) for line in done.stdout.splitlines()]
    loaded = load_run(folder)
    scaled = loaded.input_scaler.transform(x[:, None])
    with torch.no_grad():
        output, _ = loaded.network(torch.from_numpy(scaled).float()[None])
    expected = loaded.target_scaler.inverse(output[0].double().numpy())[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@OF_ANY
def test_it_is_exported(trained, flags):
    folder, _ = trained(*flags)
    file = folder.parent / "model.onnx"
    assert run("export", folder, file).code == 0
    loaded = load_run(folder)
    x = torch.linspace(-1, 1, 12).reshape(1, 12, 1)
    scaled = loaded.input_scaler.transform(x.numpy())
    with torch.no_grad():
        expected, _ = loaded.network(torch.from_numpy(scaled).float())
    expected = loaded.target_scaler.inverse(expected.numpy())
    module = loaded.network.recurrent
    assert isinstance(module, Recurrent)
    zeros = {
        f"{state.name}_0": torch.zeros(2, 1, module.units[state.size])
        for state in module.cell.states
    }
    found, *_ = Exported.at(file)(x, torch.tensor([12]), **zeros)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_initial_values_are_in_the_settings_and_take_effect(trained):
    found = []
    for flags in ([], ["--init", "orthogonal", "--init", "chrono", "--overwrite"]):
        folder, _ = trained("--epochs", 1, "--learning-rate", 1e-9, *flags)
        settings = json.loads((folder / "metrics.json").read_text())["settings"]
        assert settings["init"] == flags[1:4:2]
        found.append(load_run(folder).network.recurrent.get_parameter("weight_hh_l0"))
    plain, orthogonal = (weight[:4] @ weight[:4].T for weight in found)
    torch.testing.assert_close(orthogonal, torch.eye(4), atol=1e-4, rtol=0)
    assert not torch.allclose(plain, torch.eye(4), atol=1e-2)


def test_chrono_spreads_memories_over_the_window(trained):
    folder, _ = trained("--epochs", 1, "--learning-rate", 1e-9, "--init", "chrono")
    bias = load_run(folder).network.recurrent.get_parameter("bias_ih_l0")
    steps = bias[4:8].exp()
    assert ((steps > 0.999) & (steps < 5.001)).all()
    torch.testing.assert_close(bias[:4], -bias[4:8], atol=1e-5, rtol=0)
