"""A stream on disk: stopped and resumed it is the one that never stopped, whatever stopped it."""

import copy
import errno
import functools
import json
import os
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from torch import nn

import unrolled
from fuzz.target_stream_file import SEEDS, VALID
from support_stream import make_run, rows, write_run
from unrolled import cells
from unrolled.runfile import RUN_FILES


def bits(array: np.ndarray) -> bytes:
    return array.tobytes()


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("kind", ["stack", "run", "differences", "cells", "run of a cell"])
def test_resumed_it_goes_on_to_the_same_bits(kind, at, tmp_path):
    model = {
        "stack": nn.Sequential(
            unrolled.LSTM(2, 9, num_layers=2, proj_size=4), nn.ELU(0.5), nn.LayerNorm(4),
            unrolled.GRU(4, 3), nn.Linear(3, 3),
        ).eval(),
        "run": make_run("gru"),
        "differences": make_run(difference=True),
        "cells": nn.Sequential(
            unrolled.Recurrent(cells.SLSTM(heads=2), 2, 4, 2), nn.Tanh(),
            unrolled.Recurrent(cells.EALSTM, 4, 3, static_size=2),
        ).eval(),
        "run of a cell": make_run(cells.zoneout(cells.MGU, hidden=0.1), difference=True),
    }[kind]  # fmt: skip
    x = rows(15, 3, 2)
    given = {"2.static": rows(3, 2)} if kind == "cells" else None
    stream = unrolled.Stream(model, 3, given)
    stream.step_many(x[:at])
    stream.save(tmp_path / "s")
    resumed = unrolled.Stream.load(tmp_path / "s")
    assert resumed.is_of_same_model(stream)
    assert (repr(resumed), resumed.inputs, resumed.ahead) == (
        repr(stream), stream.inputs, stream.ahead
    )  # fmt: skip
    assert bits(resumed.step_many(x[at:])) == bits(stream.step_many(x[at:]))
    for held, expected in ((resumed.state, stream.state), (resumed.constants, stream.constants)):
        assert all(bits(held[name]) == bits(values) for name, values in expected.items())


def test_saving_replaces_the_file_and_leaves_nothing_else(tmp_path):
    stream = unrolled.Stream(unrolled.GRU(1, 4))
    for x in (0.1, 0.2):
        stream.step(x)
        stream.save(tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert unrolled.Stream.load(tmp_path / "s").state["steps"] == 2


@pytest.fixture
def folder(tmp_path):
    """A run folder with all that a training may write."""
    made = write_run(tmp_path / "run", make_run())
    for name in RUN_FILES[2:]:
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text("of the run")
    return made


def under_every_name(path: Path) -> list[Path]:
    linked, second = path.parent / "a link", path.parent / "a second name"
    linked.symlink_to(path)
    os.link(path, second)
    return [path, path.parent / ".." / path.parent.name / path.name, linked, second]


def saver(kind: str, folder: Path):
    """What writes a file, made from a run folder or from what was saved in it."""
    if kind == "export_onnx":
        pytest.importorskip("onnx")
        return functools.partial(unrolled.export_onnx, folder)
    stream = unrolled.Stream(os.path.relpath(folder))
    if kind == "loaded":
        stream.save(folder / "state")
        stream = unrolled.Stream.load(folder / "state")
    return copy.copy(stream).save if kind == "copied" else stream.save


@pytest.mark.parametrize("kind", ["stream", "copied", "loaded", "export_onnx"])
@pytest.mark.parametrize("name", RUN_FILES)
def test_no_file_of_the_run_that_it_was_made_from_is_replaced(folder, name, kind, monkeypatch):
    write = saver(kind, folder)
    before = (folder / name).read_bytes()
    if kind != "export_onnx":
        monkeypatch.chdir(folder)  # a path that is relative leads elsewhere now
    for place in under_every_name(folder / name):
        words = f"{place}: is the run's {name}"
        with pytest.raises(unrolled.InputError, match=f"^{re.escape(words)}.* would be lost"):
            write(place)
        assert (folder / name).read_bytes() == before
    unrolled.load_run(folder)


@pytest.mark.parametrize("kind", ["stream", "copied", "loaded", "export_onnx"])
def test_a_file_of_its_own_may_lie_beside_the_run_and_be_replaced(folder, kind):
    write = saver(kind, folder)
    for _ in range(2):
        write(folder / "state")
    unrolled.load_run(folder)


@pytest.mark.parametrize("name", ["state", "model.safetensors", "config.json"])
def test_what_a_stream_was_loaded_from_is_replaced_whatever_it_is_called(tmp_path, name):
    """No run is there: a name alone makes no file one of a run's."""
    unrolled.Stream(make_run()).save(tmp_path / name)
    stream = unrolled.Stream.load(tmp_path / name)
    stream.step([0.5, 0.5])
    stream.save(tmp_path / name)
    (tmp_path / "sample.csv").write_text("a,b")
    stream.save(tmp_path / "sample.csv")
    assert unrolled.Stream.load(tmp_path / name).state["steps"] == 1


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_file_that_is_cut_short(tmp_path, size):
    path = tmp_path / "s"
    unrolled.Stream(unrolled.GRU(1, 4)).save(path)
    os.truncate(path, size if size >= 0 else path.stat().st_size - 1)
    with pytest.raises(unrolled.InputError, match="not a whole stream"):
        unrolled.Stream.load(path)


def test_a_flipped_bit_anywhere_is_refused_or_harmless(tmp_path, seed):
    """Harmless are the few places that say nothing, such as a blank."""
    stream, path = unrolled.Stream(make_run(difference=True)), tmp_path / "s"
    stream.step_many(rows(3, 2))
    stream.save(path)
    whole = path.read_bytes()
    expected, accepted = stream.step_many(rows(3, 2)), 0
    for place in range(seed % 4, len(whole), 4):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            read = unrolled.Stream.load(path)
        except unrolled.InputError:
            continue
        accepted += 1
        assert bits(read.step_many(rows(3, 2))) == bits(expected)
    assert accepted < 20


def test_a_cell_of_a_newer_version_is_named(tmp_path):
    path = tmp_path / "s"
    path.write_bytes(SEEDS["equations of a newer version"]())
    words = r"equations: its format is 99, and this version .* Install a newer one$"
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.Stream.load(path)


@pytest.mark.parametrize("name", [name for name in SEEDS if name not in VALID])
def test_a_hostile_file_is_refused_in_one_line(tmp_path, name):
    path = tmp_path / "s"
    path.write_bytes(SEEDS[name]())
    with pytest.raises(unrolled.InputError, match=re.escape(f"{path}: ")) as error:
        unrolled.Stream.load(path)
    assert "\n" not in str(error.value)


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path):
    """JSON's empty objects are twenty times as large in memory."""
    header = b'{"a":[' + b"{}," * 5_000_000 + b"{}]}"
    (tmp_path / "s").write_bytes(len(header).to_bytes(8, "little") + header)
    tracemalloc.start()
    try:
        with pytest.raises(unrolled.InputError, match="not a whole stream"):
            unrolled.Stream.load(tmp_path / "s")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10**6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "s")
    with pytest.raises(unrolled.InputError, match="is no regular file"):
        unrolled.Stream.load(tmp_path / "s")


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "s").symlink_to(tmp_path / "other" / "t")
    unrolled.Stream(unrolled.GRU(1, 4)).save(tmp_path / "s")
    assert (tmp_path / "s").is_symlink()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["t"]


def test_what_was_saved_stays_where_it_cannot_be_written(tmp_path, monkeypatch):
    stream, path = unrolled.Stream(unrolled.GRU(1, 4)), tmp_path / "s"
    stream.save(path)
    whole = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    stream.step(0.5)
    with pytest.raises(unrolled.InputError, match=f"{path}: can't be written: No space left"):
        stream.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "batch_size", [0, True, np.True_, 1.5, np.float64(2), "2", 2**31, 10**5000], ids=range(8)
)
def test_a_batch_of_no_size(batch_size):
    with pytest.raises(unrolled.InputError, match="batch_size should be a whole number"):
        unrolled.Stream(unrolled.GRU(1, 4), batch_size)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.array])
def test_a_batch_of_numpys_numbers(kind):
    stream = unrolled.Stream(unrolled.GRU(1, 4), kind(2))
    assert (stream.batch_size, type(stream.batch_size)) == (2, int)


def test_a_batch_beyond_memory_is_told_before_it_is_taken(monkeypatch):
    monkeypatch.setattr("unrolled.resources.available_memory", lambda: 10**6)
    with pytest.raises(unrolled.InputError, match=r"a stream of 1000000 rows would take at least "):
        unrolled.Stream(unrolled.GRU(1, 4), 10**6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", -1), ("steps", 0.5), ("steps", 2.0**60), ("hidden", np.nan), ("hidden", 1e39),
     ("cell", np.inf), ("last", np.inf), ("last", 1e300)],
)  # fmt: skip
def test_a_state_that_no_run_comes_to_is_refused(name, value):
    stream = unrolled.Stream(make_run(difference=True))
    state = stream.state
    state[name] = state[name].astype(float)
    state[name].flat[0] = value
    with pytest.raises(unrolled.InputError, match=f"{name} is "):
        stream.state = state
    assert stream.state["steps"] == 0


def stored(tensors=None, **metadata):
    return tensors or {"x": np.zeros(1)}, metadata


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (stored(), "not a stream's file"),
        (stored(format="unrolled-stream", format_version="1"), "has format version '1', and this"),
        (stored(format="unrolled-stream", format_version="2", model="{}"), "damaged"),
    ],
)
def test_a_file_of_something_else(tmp_path, content, words):
    tensors, metadata = content
    save_file(tensors, tmp_path / "s", metadata=metadata)
    with pytest.raises(unrolled.InputError, match=words):
        unrolled.Stream.load(tmp_path / "s")


@pytest.mark.parametrize("name", ["state.hidden", "state.steps", "model.layers.0.0.hh"])
@pytest.mark.parametrize("change", ["missing", "another shape"])
def test_a_file_whose_arrays_do_not_fit(tmp_path, name, change):
    path = tmp_path / "s"
    unrolled.Stream(unrolled.GRU(1, 4)).save(path)
    tensors, metadata = load_file(path), _metadata(path)
    tensors[name] = np.zeros((2, 3, 4), tensors[name].dtype)
    if change == "missing":
        del tensors[name]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(unrolled.InputError, match="damaged"):
        unrolled.Stream.load(path)


def _metadata(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"]


def test_there_is_no_file(tmp_path):
    with pytest.raises(unrolled.InputError, match=r"no such file\. Stream\.save makes one"):
        unrolled.Stream.load(tmp_path / "s")


# A process of its own, with one thread and without torch, so that it may fork: a child reads the
# rows from the last saved state on, saves every few, and is killed, wherever it is just then.
LIVES = """
import io, os, random, signal, sys, time
from pathlib import Path
from unrolled.deploy.serve import open_stream, serve
from unrolled.deploy.stream import Stream
run, state, folder, seed = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
lines = (folder / "rows.csv").read_bytes().splitlines(keepends=True)
random.seed(int(seed))
kills = life = 0
done = False
while not done:
    begin = int(Stream.load(state).state["steps"][0]) if state.exists() else 0
    output = folder / f"{life:04}.{begin}"
    child = os.fork()
    if child == 0:
        with output.open("wb") as out:
            stream, _ = open_stream(run, state)
            assert int(stream.state["steps"][0]) == begin
            source = io.BytesIO(b"".join(lines[begin:]))
            serve(stream, source, out, print, state=state, save_every=3)
        os._exit(0)
    if kills < 200:
        time.sleep(random.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    kills += os.WIFSIGNALED(status)
    done = not os.WIFSIGNALED(status) and kills >= 200
    life += 1
    if not done and not os.WIFSIGNALED(status):  # it was through before it was killed: once more
        state.unlink()
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")
def test_killed_200_times_at_random_points_it_ends_in_the_same_bits(tmp_path, seed):
    run = write_run(tmp_path / "run", make_run(num_layers=2, difference=True))
    x = rows(5000, 2)
    state, outputs = tmp_path / "state", tmp_path / "outputs"
    outputs.mkdir()
    (outputs / "rows.csv").write_text("".join(f"{a!r},{b!r}\n" for a, b in x.tolist()))
    done = subprocess.run(
        [sys.executable, "-c", LIVES, run, state, outputs, str(seed)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "200\n"

    stream = unrolled.Stream(run)
    expected = stream.step_many(x)
    ended = unrolled.Stream.load(state).state
    assert all(bits(ended[name]) == bits(array) for name, array in stream.state.items())
    for path in outputs.glob("*.[0-9]*"):
        begin = int(path.name.split(".")[1])
        whole = path.read_text().split("\n")[:-1]  # the last line may be cut
        given = np.array([line.split(",") for line in whole], float).reshape(-1, 3)
        np.testing.assert_array_equal(given, expected[begin : begin + len(given)])
