"""Run folders of cells that are written down: nothing is run, nothing is believed."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch

from support_run import edit
from unrolled import cells
from unrolled.cells import Form, linear, tanh
from unrolled.errors import InputError
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, load_run, save_run

SIZES = {"input_size": 2, "hidden_size": 6, "output_size": 1}


class Dale(cells.Cell):
    """Signs and a mask stand beside its weights."""

    def step(self, x, h):
        form = Form(excitatory=0.5, masked=True)
        return tanh(linear(x) + linear(h, bias=False, form=form))


class Narrow(cells.Cell):
    """Its states have three sizes, and the output is not of hidden_size."""

    sizes: ClassVar = {"h": "proj", "m": "memory"}

    def step(self, x, h, c, m):
        m = tanh(linear(x, m, size="memory"))
        c = 0.5 * c + tanh(linear(x, h, m))
        return linear(c, size="proj"), c, m


CELLS = {
    "peephole": cells.PeepholeLSTM,
    "in blocks": cells.SLSTM(heads=3),
    "with signs and a mask": Dale,
    "with zoneout": cells.zoneout(cells.LSTM, cell=0.2),
    "of one number for all": cells.LeakyRNN,
    "with a size of its own": cells.ProjectedLSTM,
    "with two sizes of its own": Narrow,
}
OWN = {cells.ProjectedLSTM: {"proj": 3}, Narrow: {"proj": 3, "memory": 4}}
"""The sizes of those that have any."""


def own(cell) -> dict[str, int]:
    return OWN.get(cell, {}) if isinstance(cell, type) else {}


def make_run(cell, **more) -> Run:
    network = Network(NetworkConfig(cell=cell, sizes=own(cell), **SIZES, **more)).eval()
    table = TableConfig(inputs=["a", "b"], targets=["y"], window=4)
    scalers = [Scaler(np.zeros(n), np.ones(n)) for n in (2, 1)]
    return Run(network, table, *scalers)


@pytest.fixture
def folder(tmp_path):
    save_run(make_run(cells.PeepholeLSTM), tmp_path)
    return tmp_path


def described(content):
    return content["network"]["cell"]


def refusal(folder) -> str:
    with pytest.raises(InputError) as caught:
        load_run(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("more", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_a_loaded_run_gives_identical_predictions(tmp_path, cell, more):
    run = make_run(cell, **more)
    save_run(run, tmp_path)
    loaded = load_run(tmp_path)
    assert loaded.network.config == run.network.config
    x = torch.randn(3, 7, 2)
    with torch.no_grad():
        assert torch.equal(loaded.network(x)[0], run.network(x)[0])
        assert torch.equal(loaded.network.final(x), run.network.final(x))


@pytest.mark.parametrize("more", [{}, {"num_layers": 3, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_the_weights_are_counted_without_building_them(cell, more):
    config = NetworkConfig(cell=cell, sizes=own(cell), **SIZES, **more)
    assert config.count_weights() == Network(config).count_weights()


def test_both_directions_read_the_whole_row():
    network = make_run(cells.MGU, bidirectional=True).network
    x, lengths = torch.randn(2, 5, 2), [3, 5]
    padded = network.final(x, lengths)
    for row, length in enumerate(lengths):
        alone = network.final(x[row : row + 1, :length])
        torch.testing.assert_close(padded[row : row + 1], alone)


def test_the_config_is_the_description_in_jsons_values(folder):
    stored = described(json.loads((folder / "config.json").read_text()))
    assert stored["name"] == "PeepholeLSTM"
    assert [state["name"] for state in stored["states"]] == ["hidden", "cell"]


def test_a_description_of_a_newer_version_is_named(folder):
    edit(folder, lambda c: described(c).update(format=99))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'config.json'}: network.cell: its format is 99")
    assert message.endswith("Install a newer one")


DAMAGE = {
    "a line of no operation": lambda cell: cell["lines"][1].update(operation="system"),
    "a state too few": lambda cell: cell["next"].pop(),
    "no lines": lambda cell: cell.pop("lines"),
    "a name that is none": lambda cell: cell["weights"][0].update(name="../x"),
    "a number for a name": lambda cell: cell.update(name=3),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_description_names_the_file_and_the_place(folder, damage):
    edit(folder, lambda c: damage(described(c)))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'config.json'}: network.cell")
    assert message.endswith("Restore the file, or train again")


UNFIT = {
    "another constant": (
        lambda cell: cell["constants"].append({"name": "static", "size": "static"}),
        "reads static",
    ),
    "another size": (
        lambda cell: cell["draws"].append(
            {"name": "drawn", "size": "proj", "law": "normal", "parameter": 1.0, "each": "step",
             "resting": 0.0}
        ),
        "a size of its own, proj",
    ),
    "blocks that do not fit": (
        lambda cell: cell["weights"][1]["form"].update(blocks=4), "in 4 blocks"
    ),
    "two weights of one name": (
        lambda cell: (
            cell["weights"][1]["form"].update(excitatory=0.5),
            cell["weights"][3].update(name="sign_weight_hh"),
            [line.update(operands=["sign_weight_hh" if o == "peephole_input" else o
                                   for o in line["operands"]])
             for line in cell["lines"] if "operands" in line],
        ),
        "two weights of one name",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), UNFIT.values(), ids=UNFIT)
def test_a_cell_that_no_network_can_have_is_refused(folder, change, words):
    edit(folder, lambda c: change(described(c)))
    message = refusal(folder)
    assert message.startswith(f"{folder / 'config.json'}: ")
    assert words in message


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({}, "a size of its own, proj, and it is not given"),
        ({"proj": 3, "q": 1}, "no size 'q'"),
        ({"proj": 0}, "0"),
        ({"proj": True}, "sizes"),
        ({"proj": "3"}, "sizes"),
        ({"proj": 10**30}, "sizes"),
        ([3], "sizes"),
        ({"proj": 4}, "does not hold what"),
    ],
    ids=str,
)
def test_sizes_that_are_not_the_cells_are_refused(tmp_path, sizes, words):
    save_run(make_run(cells.ProjectedLSTM), tmp_path)
    edit(tmp_path, lambda c: c["network"].update(sizes=sizes))
    assert words in refusal(tmp_path)


def test_a_folder_without_sizes_is_read(folder):
    edit(folder, lambda c: c["network"].pop("sizes"))
    assert load_run(folder).network.config.sizes == {}


def test_a_weight_that_the_description_has_not_is_refused(folder):
    edit(folder, lambda c: c["network"].update(cell="lstm"))
    assert refusal(folder).startswith(f"{folder / 'model.safetensors'}: does not hold what")


def test_a_network_too_large_for_the_memory_is_refused_before_it_is_built(folder):
    edit(folder, lambda c: c["network"].update(hidden_size=10_000_000))
    assert refusal(folder).startswith(f"{folder / 'model.safetensors'}: does not hold what")


def test_a_description_that_was_changed_is_refused(folder):
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"operation": "sigmoid"', '"operation": "tanh"', 1))
    assert "was changed after it was written" in refusal(folder)
