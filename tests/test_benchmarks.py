"""The scripts of benchmarks/ run and print their tables. What times they print, no test asks."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

import unrolled

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"
KINDS = [[module, what] for module in ("LSTM", "GRU") for what in ("forward", "step")]


@pytest.fixture
def main_of(monkeypatch):
    """A script's main function, in this process: importing torch anew takes seconds."""
    monkeypatch.syspath_prepend(SCRIPTS)
    yield lambda script: importlib.import_module(script).main
    torch.set_num_threads(1)


def rows(printed: str) -> list[list[str]]:
    """The cells of each row of the tables, without the headings."""
    lines = [line for line in printed.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def test_the_table_against_torch(main_of, capsys):
    main_of("modules")(threads=[1], pairs=1, only="GRU I1 H32 B1 T1 ")  # not T10 and T100
    printed = capsys.readouterr().out
    found = rows(printed)
    assert [row[:5] for row in found] == [
        ["GRU", "I1 H32 B1 T1", "float32", "1", what] for what in ("forward", "step")
    ]
    for row in found:
        theirs, ours, ratio = map(number, row[5:8])
        assert ratio == pytest.approx(theirs / ours, rel=0.1, abs=0.01)  # whole µs
    assert re.search(r"^forward: geometric mean .* \(GRU I1 H32 B1 T1, 1 threads\)$", printed, re.M)


@pytest.mark.parametrize(
    "only", ["LSTM I1 H32 B32 T10 ", "GRU I32 H128 B32 T100 L2 dropout 0.2 bidirectional"]
)
def test_the_table_against_onnx_runtime(main_of, capsys, only):
    main_of("ort")(threads=[2], pairs=1, only=only)
    printed = capsys.readouterr().out
    (found,) = rows(printed)
    assert f"{found[0]} {found[1]}" == only.strip()
    assert found[2:4] == ["float32", "2"]
    theirs, ours, ratio = map(number, found[4:])
    assert ratio == pytest.approx(theirs / ours, rel=0.1, abs=0.01)
    assert "onnxruntime" in printed


def test_the_tables_of_products_in_8_bits(main_of, capsys):
    main_of("int8")(threads=[1], pairs=1, only="LSTM I1 H32 B32 T10 ")
    of_module, *of_streams = rows(capsys.readouterr().out)
    assert of_module[:3] == ["LSTM", "I1 H32 B32 T10", "1"]
    share, peer, off, peer_off = map(number, of_module[3:])
    assert min(share, peer) > 0
    assert 0 < off < peer_off
    for found in of_streams:
        whole, narrow, ratio = map(number, found[2:])
        assert ratio == pytest.approx(narrow / whole, rel=0.1, abs=0.05)


def test_a_peer_that_says_something_else_is_not_timed(main_of, capsys, monkeypatch):
    main = main_of("ort")
    monkeypatch.setitem(main.__globals__["GATES"], "GRU", (0, 1, 2))  # torch's order, not ONNX's
    with pytest.raises(SystemExit, match=r"GRU I1 H32 B1 T1: the two differ by"):
        main(threads=[1], pairs=1, only="GRU I1 H32 B1 T1 ")
    assert not capsys.readouterr().out


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux's mark is read")
def test_the_table_of_memory():
    """As a user calls it: its processes import the script that started them."""
    command = [sys.executable, str(SCRIPTS / "memory.py"), "--only", "RNN I64 H64 B256 T50"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (found,) = rows(done.stdout)
    assert found[:4] == ["RNN", "I64 H64 B256 T50", "float32", "1"]
    theirs, ours, ratio = map(number, found[4:])
    # The output alone is there at the end, and no pass keeps a hundred times that.
    output = 64 * 256 * 50 * 4 / 2**20
    assert output < theirs < 100 * output
    assert output < ours < 100 * output
    assert ratio == pytest.approx(ours / theirs, abs=0.02)


def test_the_table_and_the_picture_of_time_against_steps(main_of, capsys, tmp_path):
    picture = tmp_path / "linear.png"
    main_of("linear")(longest=100, runs=1, out=picture)
    found = rows(capsys.readouterr().out)
    single, ragged = found[:4], found[4:]
    assert [row[:2] + row[3:4] for row in single] == [[*kind, "100"] for kind in KINDS]
    batches = len(ragged) // len(KINDS)
    assert [row[:2] for row in ragged[::batches]] == KINDS
    sums = [number(row[3]) for row in ragged[:batches]]
    assert sums == sorted(set(sums))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("script", ["modules", "ort", "memory"])
def test_a_shape_that_is_not_there(main_of, script):
    with pytest.raises(SystemExit, match="no shape contains 'H33'"):
        main_of(script)(only="H33")


def test_the_table_of_what_recording_costs(main_of, capsys):
    main_of("recording")(threads=[1], pairs=1, only="GRU I1 H32 B32 T10 ")
    (found,) = rows(capsys.readouterr().out)
    recorded, plain, ratio = map(number, found[4:])
    assert ratio == pytest.approx(recorded / plain, rel=0.1, abs=0.01)


def test_the_tables_of_streams(main_of, capsys):
    main_of("stream")(pairs=1, steps=100, only="LSTM H32 ")
    printed = capsys.readouterr().out
    of_step, of_batches, in_core, in_python = rows(printed)
    assert of_step[:1] + of_step[2:3] == ["LSTM I1 H32", "201"]
    core, _, share, python, _, theirs, above, ratio = map(number, of_step[1:])
    assert above == pytest.approx(python - core, abs=1)
    assert ratio == pytest.approx(theirs / python, rel=0.01, abs=1)
    assert share > 0
    assert len(of_batches) == 8
    for found in (in_core, in_python):
        times = [number(cell) for cell in found[2:]]
        assert times == sorted(times)
    assert re.search(r"^start-up: to a run's first output \S+ s \(\S+ s busy\);", printed, re.M)


def test_the_tables_of_streams_of_described_cells(main_of, capsys):
    main_of("stream_cells")(pairs=1, only="GRU I1 H32 ")
    beside, alone, *others = rows(capsys.readouterr().out)
    assert [beside[0], alone[0], *(row[0] for row in others)] == [
        "GRU I1 H32", "GRU I1 H32", "MinGRU I1 H32"
    ]  # fmt: skip
    built_in, equations, more, ratio = map(number, beside[1:])
    assert more == pytest.approx(equations - built_in, abs=1)
    assert ratio == pytest.approx(equations / built_in, rel=0.02)
    core, python, module, times = map(number, alone[1:])
    assert 0 < core < python < module
    assert times == pytest.approx(module / python, abs=1)


def test_a_stream_of_equations_that_differs_is_not_timed(main_of, capsys, monkeypatch):
    main = main_of("stream_cells")
    monkeypatch.setattr(unrolled.Recurrent, "load_state_dict", Mock())
    with pytest.raises(SystemExit, match="differs from"):
        main(pairs=1, only="GRU I1 H32 ")
    assert not capsys.readouterr().out
