"""What the site needs beyond MkDocs: figures, formulas as MathML, nothing from the network."""

from __future__ import annotations

import html
import json
import logging
import os
import re
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

log = logging.getLogger("mkdocs.hooks.unrolled")

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>', re.S
)
DRAWN = re.compile(
    r'^(?P<cell>```python exec="1" html="1"[^\n]*\n.*?\n)```\n(?:\n\*(?P<caption>[^*]+)\*\n)?',
    re.S | re.M,
)
SHOW = "print(__import__('drawing').{}, {!r}))  # markdown-exec: hide\n"
MADE = {"unrolled.report(": "live(report", "unrolled.draw(": "drawn(drawing"}
FIGURE = "picture(figure"
BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")
HAN = re.compile(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])")
REQUEST = re.compile(
    r"<(?:script|link|img|iframe|source|video|audio)\b[^>]*?\b(?:src|href)=[\"']?"
    r"((?:https?:)?//[^\"' >]+)"
)


def on_startup(**_: Any) -> None:
    """Sets up what the cells run in: a warning in one of them is an error, as in the tests."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # passes this small only lose by being shared
    sys.path.insert(0, str(Path(__file__).parent))
    import_module("drawing")
    warnings.filterwarnings("error", module=r"_code_block_")
    warnings.filterwarnings("error", module=r"unrolled\.")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Has each cell show its ``figure``, or the ``report`` or ``drawing`` that it makes.

    The caption beneath says what is to be seen.
    """

    def shown(found: re.Match[str]) -> str:
        if found["caption"] is None:
            log.warning("%s: a figure has no *caption* beneath it", page.file.src_uri)
            return found[0]
        caption = " ".join(found["caption"].split())
        made = next((made for call, made in MADE.items() if call in found["cell"]), FIGURE)
        return f"{found['cell']}{SHOW.format(made, caption)}```\n\n*{caption}*\n{{.caption}}\n"

    if page.file.src_uri.startswith("zh/"):
        markdown = BREAK.sub("", markdown)  # a browser would show a space there
    return DRAWN.sub(shown, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas become MathML, which browsers draw by themselves."""
    return FORMULA.sub(_mathml, content)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Says which pages are Chinese, so that browsers take the right glyphs."""
    if page.file.src_uri.startswith("zh/"):
        return re.sub(r'<html lang="en"', '<html lang="zh"', output, count=1)
    return output


def on_post_build(config: Any, **_: Any) -> None:
    """Makes Chinese to be found, and warns of whatever a page would fetch from elsewhere."""
    # A Chinese text has no spaces: to the search each of its characters is a word.
    path = Path(config.site_dir) / "search/search_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    for entry in index["docs"]:
        entry.update({key: HAN.sub("\u200b", entry[key]) for key in ("title", "text")})
    path.write_text(json.dumps(index), encoding="utf-8")
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        for address in REQUEST.findall(path.read_text(encoding="utf-8")):
            log.warning("%s would be fetched from the network: %s", path.name, address)


def _mathml(found: re.Match[str]) -> str:
    latex = html.unescape(found["latex"]).strip()
    block = found["open"] == "["
    mathml = convert(latex, display="block" if block else "inline")
    if "\\" in mathml or "<mi>&</mi>" in mathml:
        log.warning("not understood in a formula: %s", latex)
    return f'<div class="formula">{mathml}</div>' if block else mathml
