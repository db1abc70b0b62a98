"""A run folder is read without torch as it is read with it; and a stream needs no torch at all."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import unrolled
from support_run import edit, reseal
from support_stream import make_run, rows, write_run
from unrolled import cells
from unrolled.cells import Form, linear, tanh
from unrolled.deploy.modules import plan_of
from unrolled.deploy.plain import read_run
from unrolled.deploy.plan import same
from unrolled.model import load_run

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Dale(cells.Cell):
    """Signs and a mask stand beside what is learned."""

    def step(self, x, h):
        form = Form(excitatory=0.5, masked=True)
        return tanh(linear(x) + linear(h, bias=False, form=form))


WRITTEN = {
    "peephole": cells.PeepholeLSTM,
    "in blocks": cells.SLSTM(heads=5),
    "antisymmetric": cells.AntisymmetricRNN,
    "with signs and a mask": Dale,
    "with zoneout": cells.zoneout(cells.LSTM, cell=0.2),
}
"""Cells that are written down."""


def called(value) -> str | None:
    return next((name for name, cell in WRITTEN.items() if cell is value), None)


@pytest.fixture(params=["lstm", "peephole"])
def folder(request, tmp_path):
    cell = WRITTEN.get(request.param, request.param)
    return write_run(tmp_path / "run", make_run(cell, group="who", ahead=2, difference=True))


def replace_weights(folder, change) -> None:
    arrays = load_file(folder / WEIGHTS)
    change(arrays)
    save_file(arrays, folder / WEIGHTS)
    reseal(folder)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", *WRITTEN.values()], ids=called)
@pytest.mark.parametrize("difference", [False, True])
def test_it_is_the_plan_of_what_load_run_gives(cell, difference, tmp_path):
    run = make_run(cell, num_layers=2, difference=difference, group="who")
    folder = write_run(tmp_path / "run", run)
    assert same(read_run(folder), plan_of(load_run(folder)))


def test_another_run_is_another_plan(folder, tmp_path):
    other = write_run(tmp_path / "other", make_run())
    assert not same(read_run(folder), read_run(other))


DAMAGE = {
    "no folder": lambda folder: folder.rename(folder.with_name("elsewhere")),
    "no config": lambda folder: (folder / CONFIG).unlink(),
    "half a config": lambda folder: (folder / CONFIG).write_text('{"format":'),
    "no config of ours": lambda folder: (folder / CONFIG).write_text("[1]"),
    "another version": lambda folder: edit(folder, lambda c: c.update(format_version=1)),
    "no cell": lambda folder: edit(folder, lambda c: c["network"].pop("cell")),
    "no such cell": lambda folder: edit(folder, lambda c: c["network"].update(cell="elman")),
    "a cell of a number": lambda folder: edit(folder, lambda c: c["network"].update(cell=3)),
    "no layers": lambda folder: edit(folder, lambda c: c["network"].update(num_layers=0)),
    "no number": lambda folder: edit(folder, lambda c: c["network"].update(hidden_size="many")),
    "no such setting": lambda folder: edit(folder, lambda c: c["table"].update(colour="red")),
    "no inputs": lambda folder: edit(folder, lambda c: c["table"].update(inputs=[])),
    "too many inputs": lambda folder: edit(folder, lambda c: c["table"]["inputs"].append("c")),
    "rows before now": lambda folder: edit(folder, lambda c: c["table"].update(ahead=-1)),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "half the weights": lambda folder: os.truncate(folder / WEIGHTS, 200),
    "a weight less": lambda folder: replace_weights(folder, lambda a: a.popitem()),
    "a weight more": lambda folder: replace_weights(folder, lambda a: a.update(x=np.zeros(1))),
    "another size": lambda folder: edit(folder, lambda c: c["network"].update(hidden_size=6)),
    "not finite": lambda folder: replace_weights(
        folder, lambda a: a.update({"scaler.input.mean": np.array([0.0, np.nan])})
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_load_run_refuses_is_refused_here(folder, damage):
    DAMAGE[damage](folder)
    with pytest.raises(unrolled.InputError) as with_torch:
        load_run(folder)
    with pytest.raises(unrolled.InputError) as without:
        unrolled.Stream(folder)
    assert "\n" not in str(without.value)
    assert str(folder) in str(without.value)
    # The repair is the same.
    repairs = [str(error.value).rsplit(". ", 1)[-1] for error in (with_torch, without)]
    assert repairs[0] == repairs[1]


def of_cell(change):
    """Changes the description in a config."""
    return lambda folder: edit(folder, lambda c: change(c["network"]["cell"]))


DAMAGED_CELL = {
    "a newer version": of_cell(lambda cell: cell.update(format=99)),
    "a line of no operation": of_cell(lambda cell: cell["lines"][1].update(operation="system")),
    "a state too few": of_cell(lambda cell: cell["next"].pop()),
    "a name that is none": of_cell(lambda cell: cell["weights"][0].update(name="../x")),
    "another weight": of_cell(lambda cell: cell["weights"][0]["form"].update(masked=True)),
    "blocks that do not fit": of_cell(lambda cell: cell["weights"][1]["form"].update(blocks=4)),
    "a size of its own": of_cell(
        lambda cell: cell["draws"].append(
            {"name": "drawn", "size": "proj", "law": "normal", "parameter": 1.0, "each": "step",
             "resting": 0.0}
        )
    ),
    "a constant": of_cell(lambda cell: cell["constants"].append({"name": "s", "size": "hidden"})),
    "nothing": of_cell(lambda cell: cell.clear()),
    "a list": lambda folder: edit(folder, lambda c: c["network"].update(cell=[])),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED_CELL)
def test_a_cell_that_load_run_refuses_is_refused_here(tmp_path, damage):
    folder = write_run(tmp_path / "run", make_run(cells.PeepholeLSTM))
    DAMAGED_CELL[damage](folder)
    messages = []
    for read in (load_run, unrolled.Stream):
        with pytest.raises(unrolled.InputError) as error:
            read(folder)
        messages.append(str(error.value))
    assert "\n" not in messages[1]
    assert str(folder) in messages[1]
    assert messages[0].rsplit(". ", 1)[-1] == messages[1].rsplit(". ", 1)[-1]


@pytest.mark.parametrize(
    "sizes",
    [{}, {"proj": 3, "q": 1}, {"proj": 0}, {"proj": True}, {"proj": "3"}, {"proj": 3.0},
     {"proj": 10**30}, [3], None, {"proj": 4}],
    ids=str,
)  # fmt: skip
def test_sizes_that_load_run_refuses_are_refused_here(tmp_path, sizes):
    run = make_run(cells.ProjectedLSTM, sizes={"proj": 3})
    folder = write_run(tmp_path / "run", run)
    edit(folder, lambda c: c["network"].update(sizes=sizes))
    for read in (load_run, unrolled.Stream):
        with pytest.raises(unrolled.InputError, match=r"\. Restore the "):
            read(folder)


def test_a_bidirectional_run_is_refused_with_the_reason(folder):
    edit(folder, lambda c: c["network"].update(bidirectional=True))
    with pytest.raises(unrolled.InputError, match=r"bidirectional, and its reverse .* predict"):
        unrolled.Stream(folder)


WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError("there is no " + name, name=name)
sys.meta_path.insert(0, Refuse())
from unrolled.deploy.stream import Stream
import numpy as np
stream = Stream({folder!r})
y = stream.step_many(np.load({rows!r}))
np.save({out!r}, y)
stream.save({state!r})
assert np.array_equal(Stream.load({state!r}).step(np.ones(2)), stream.step(np.ones(2)))
try:
    Stream(object())
except ValueError as error:
    assert "can't be streamed where there is no" in str(error), error
print(stream.backend)
"""
HEAVY = {"torch", "pydantic", "polars", "sklearn", "narwhals", "typer", "rich", "matplotlib"}


@pytest.mark.parametrize("more", [set(), {"unrolled._stepper"}], ids=["compiled", "numpy"])
def test_it_runs_where_numpy_and_safetensors_are_all_there_is(folder, tmp_path, more):
    paths = {name: str(tmp_path / name) for name in ("rows", "out", "state")}
    paths = {name: path + ".npy" for name, path in paths.items()}
    np.save(paths["rows"], rows(20, 2))
    code = WITHOUT.format(blocked=HEAVY, folder=str(folder), **paths)
    if more:
        code = code.replace(f'name.split(".")[0] in {HEAVY}', f"name in {HEAVY | more}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    here = unrolled.Stream(folder)
    expected = here.backend if not more else "numpy"
    assert done.stdout.strip() == expected
    if expected == here.backend:
        np.testing.assert_array_equal(np.load(paths["out"]), here.step_many(rows(20, 2)))
