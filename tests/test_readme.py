"""The READMEs say the same, and what they show runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch._dynamo

import unrolled
from support_learn import quick, wave_frame
from support_stream import make_run, write_run
from unrolled.learn.comparison import CompareSettings
from unrolled.learn.results import save_training
from unrolled.learn.train import train_table
from unrolled.scan import native
from unrolled.tasks import PUBLISHED, TASKS, make_task

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"))
)


def code_blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def without_comments(code: str) -> str:
    return re.sub(r"\s*#.*", "", code)


@pytest.mark.parametrize("name", READMES)
def test_the_python_of_the_readme_runs_and_learns(name, capsys):
    code, of_cell = code_blocks(name, "python")
    exec(compile(code, name, "exec"), {})
    assert float(capsys.readouterr().out) > 0.8
    names: dict[str, Any] = {}
    exec(compile(of_cell, name, "exec"), names)
    assert names["output"].shape == (16, 100, 64)


def test_the_python_of_the_training_page_runs(capsys):
    (code,) = code_blocks("docs/train.md", "python")
    t = np.arange(400) * 0.3
    names = {"frame": pl.DataFrame({"sin": np.sin(t), "cos": np.cos(t)})}
    exec(compile(code, "docs/train.md", "exec"), names)
    assert float(capsys.readouterr().out) < 0.1
    assert names["predictions"].columns == ["row", "cos", "cos_predicted"]


def test_the_python_of_the_memory_page_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = code_blocks("docs/memory.md", "python")
    exec(compile(code, "docs/memory.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("torch.Size([60, 8, 16])")
    assert "Horizon" in printed
    assert (tmp_path / "report.html").exists()


def test_the_python_of_the_page_on_looking_into_a_run_runs(tmp_path, monkeypatch):
    (code,) = code_blocks("docs/inspect.md", "python")
    monkeypatch.chdir(tmp_path)
    frame = wave_frame(1000)
    Path("demo").mkdir()
    save_training(train_table(frame, quick(test=0.3)), Path("demo"))
    exec(compile(code, "docs/inspect.md", "exec"), {})
    assert len(list((tmp_path / "figures").iterdir())) == 5


def test_the_python_of_the_page_on_exporting_runs(tmp_path, monkeypatch, capsys):
    """Each block goes on from the one before."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in code_blocks("docs/export.md", "python"):
        exec(compile(code, "docs/export.md", "exec"), names)
    error, columns, window, ports, modules, changed = capsys.readouterr().out.splitlines()
    assert abs(float(error)) < 30  # of a cosine that goes from -300 to 300
    assert columns.startswith("[{'name': 'cos', 'unit': None, 'mean': ")
    assert window == "16"
    assert ports == "['input', 'lengths', 'static', 'hidden_0', 'cell_0']"
    assert names["output"].shape == (3, 20, 64)
    assert modules == changed == "{'recurrent.l0': LSTM(1, 16)}"


@pytest.mark.skipif(not native.is_built(), reason="built without a compiler")
def test_the_python_of_the_compiling_page_runs(capsys):
    """Each block goes on from the one before."""
    names: dict[str, Any] = {}
    with torch._dynamo.config.patch(allow_rnn=False):
        for code in code_blocks("docs/compile.md", "python"):
            exec(compile(code, "docs/compile.md", "exec"), names)
    assert float(capsys.readouterr().out) < 1e-6
    assert names["output"].shape == (1, 1, 16)


@pytest.mark.skipif(not native.is_built(), reason="built without a compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning:torch")
def test_the_python_of_the_tools_page_runs(capsys):
    """Each block goes on from the one before, and asserts what it claims."""
    names: dict[str, Any] = {}
    for code in code_blocks("docs/tools.md", "python"):
        exec(compile(code, "docs/tools.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == ["Replaced: 1", "  lstm  LSTM", "Left: 0"]


def test_the_python_of_the_page_on_pieces_runs(capsys):
    (code,) = code_blocks("docs/parallel.md", "python")
    exec(compile(code, "docs/parallel.md", "exec"), {})
    assert capsys.readouterr().out.startswith("InPieces(pieces=")


@pytest.mark.skipif(not native.is_built(), reason="built without a compiler")
def test_the_python_of_the_page_on_bfloat16_runs(capsys):
    (code,) = code_blocks("docs/bfloat16.md", "python")
    exec(compile(code, "docs/bfloat16.md", "exec"), {})
    assert capsys.readouterr().out.startswith("torch.bfloat16 native")


def test_the_first_python_of_the_converting_page_runs(capsys):
    """The others need packages that are not here: ``make bench-convert`` runs them."""
    code, *_ = code_blocks("docs/convert.md", "python")
    exec(compile(code, "docs/convert.md", "exec"), {})
    *report, difference = capsys.readouterr().out.splitlines()
    assert report == ["Replaced: 1", "  encoder  LSTM", "Left: 0"]
    assert float(difference) < 1e-5


def test_the_python_of_the_page_on_tasks_runs():
    code, *others = code_blocks("docs/tasks.md", "python")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/tasks.md", "exec"), names)
    shapes = [list(names[name].shape) for name in ("inputs", "target", "lengths", "mask")]
    assert str(shapes)[1:-1] in code
    for code in others:
        exec(compile(code, "docs/tasks.md", "exec"), names)
    assert str(list(names["batch"].inputs.shape)) in others[-1]


def test_the_python_of_the_page_on_streams_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run", make_run("gru", inputs=["a"], input_size=1))
    unrolled.Stream("run").save("run.state")
    names: dict[str, Any] = {}
    for code in code_blocks("docs/stream.md", "python"):
        exec(compile(code, "docs/stream.md", "exec"), names)
    assert names["y"].shape == (3,)
    assert names["done"] == 0


def test_the_page_on_tasks_has_every_task_and_commands_that_exist():
    text = (ROOT / "docs/tasks.md").read_text(encoding="utf-8")
    assert not [name for name in TASKS if f"`{name}`" not in text]
    for name, scores in PUBLISHED.items():
        assert re.search(
            rf"^\| `{name}` .* \| {scores.rnn} \| {scores.lstm} \|$", text, re.MULTILINE
        )
        chance = f"{make_task(name).chance.score:.0%}".rstrip("%")
        assert re.search(rf"^\| `{name}` \|[^|]*\| {chance} \|", text, re.MULTILINE)
    commands = re.findall(r"^unrolled tasks (\S+)(.*)$", text, flags=re.MULTILINE)
    for name, flags in commands:
        assert name == "--list" or name in TASKS
        assert set(re.findall(r"--[a-z-]+", flags)) <= {
            *("--length", "--cell"),
            *(f"--{field.replace('_', '-')}" for field in CompareSettings.model_fields),
        }


@pytest.mark.parametrize("language", ["sh", "python"])
def test_both_readmes_show_the_same_code(language):
    english, chinese = (
        [without_comments(block) for block in code_blocks(name, language)] for name in READMES
    )
    assert english == chinese


@pytest.mark.parametrize("name", [*READMES, *PAGES])
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose)
    ours = [link for link in links if not link.startswith("https://")]
    missing = [link for link in ours if not ((ROOT / name).parent / link).exists()]
    assert not missing


def test_the_torch_that_is_pinned_is_the_one_that_is_tested():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"torch=={torch.__version__.split('+')[0]}" in pins
