"""The site's pages: the same cells in both languages, a page for each command, every public name.

That the cells run, and that every link and anchor leads somewhere, is checked where the site is
built: `make site`.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main

import unrolled
import unrolled.tasks
from unrolled.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CHAPTERS = sorted(path.name for path in (DOCS / "tutorial").glob("*.md"))
LANGUAGES = ("tutorial", "zh/tutorial")
COMMANDS = sorted(typer.main.get_group(app).commands)
TERMS = {
    "tutorial": (
        *("time steps", "input size", "hidden size", "hidden state", "cell state", "forget gate"),
        *("memory (input) gate", "output gate", "vanishing and exploding gradient"),
        "long-term dependence",
    ),
    "zh/tutorial": (
        *("时间步", "输入大小", "隐藏大小", "隐藏状态", "细胞状态", "遗忘门", "记忆门（输入门）"),
        *("输出门", "梯度消失与梯度爆炸", "长期依赖"),
    ),
}


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def cells(page: str) -> list[tuple[str, str]]:
    """The options and the code of the cells that run, without the comments."""
    found = re.findall(r"^```python (exec=.*?)\n(.*?)^```$", text(page), re.M | re.S)
    return [(options, re.sub(r"\s*# .*", "", code)) for options, code in found]


def anchors(page: str) -> list[str]:
    """What the headings are called in links: what they say in English, or what they name."""

    def slug(heading: str) -> str:
        return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())

    without_code = re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S)
    headings = re.findall(r"^## (.+?)(?: \{#(.+)\})?$", without_code, flags=re.M)
    return [name or slug(heading) for heading, name in headings]


def test_both_tutorials_have_the_same_pages():
    assert sorted(path.name for path in (DOCS / "zh/tutorial").glob("*.md")) == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_both_tutorials_run_the_same_cells(chapter):
    english, chinese = (cells(f"{language}/{chapter}") for language in LANGUAGES)
    in_english = [
        (o.replace('"zh-', '"'), code.replace(', language="zh"', "")) for o, code in chinese
    ]
    assert in_english == english
    assert english or chapter == "index.md"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_both_tutorials_have_the_same_sections_and_formulas(chapter):
    english, chinese = (f"{language}/{chapter}" for language in LANGUAGES)
    assert anchors(chinese) == anchors(english)
    formulas = [re.findall(r"^\$\$(.+)\$\$$", text(page), re.M) for page in (english, chinese)]
    assert formulas[0] == formulas[1]


def test_the_page_on_cells_is_the_same_in_both_languages():
    english, chinese = "write-your-own-cell.md", "zh/write-your-own-cell.md"
    assert [(o.replace('"zh-', '"'), code) for o, code in cells(chinese)] == cells(english)
    assert anchors(chinese) == anchors(english)
    assert text(chinese).count("\n| ") == text(english).count("\n| ")
    formulas = [re.findall(r"^\$\$(.+)\$\$$", text(page), re.M) for page in (english, chinese)]
    assert formulas[0] == formulas[1] != []


def test_the_python_of_the_page_on_cells_runs(capsys):
    """Each cell of code goes on from the one before, and asserts what it claims."""
    names: dict[str, Any] = {}
    for _, code in cells("write-your-own-cell.md"):
        exec(compile(code, "write-your-own-cell.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "f = 1 − i\n" in printed
    assert re.search(r"^picks, line 9: h is one vector\.", printed, re.M)
    assert names["drawing"] == unrolled.draw(names["ScalarLSTM"])


def test_the_page_on_cells_has_every_word_of_the_language():
    """What a cell can be written with, and what can be put around one."""
    functions = [
        name for name in unrolled.cells.__all__ if inspect.isfunction(getattr(unrolled.cells, name))
    ]
    table = text("write-your-own-cell.md").partition("{#words}")[2].partition("\n## ")[0]
    said = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`(.+?)`", table))))
    assert len(functions) > 20
    assert set(functions) - said == {"absolute"}  # which is abs


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tutorials_words_lead_to_where_they_are_explained(language):
    index = text(f"{language}/index.md")
    links = dict(re.findall(r"^\| \[(.+?)\]\((.+?)\)", index, re.M))
    assert sorted(links) == sorted(TERMS[language])
    for target in links.values():
        page, anchor = target.split("#")
        assert anchor in anchors(f"{language}/{page}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_tutorial_has_every_argument_of_torchs_lstm(language):
    page = text(f"{language}/shapes.md")
    of_base = list(inspect.signature(torch.nn.RNNBase.__init__).parameters)
    for name in [*of_base[2:], "recompute_every"]:  # after self and mode
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_how_to(command):
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (page,) = re.findall(rf"^ +- unrolled {command}: (\S+)$", navigation, re.M)
    assert re.search(rf"^unrolled {command}\b", text(page), re.M)
    assert f"[`unrolled {command}`]" in text("howto/index.md")


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", pages, re.M))
    tables = {f"unrolled.tasks.{name}" for name in ("LOSSES", "PUBLISHED", "TASKS", "Rng")}
    public = {f"unrolled.{name}" for name in unrolled.__all__}
    public |= {f"unrolled.tasks.{name}" for name in unrolled.tasks.__all__}
    assert public - tables <= shown
    listed = re.findall(r"`(\w+)`", text("api/index.md"))
    assert set(unrolled.__all__) <= set(listed)


@pytest.mark.parametrize("page", ["index.md", "howto/doctor.md", "api/cells.md"])
def test_the_python_of_other_pages_runs(page, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", text(page), re.M | re.S)
    exec(compile(code, page, "exec"), {})
    assert capsys.readouterr().out
