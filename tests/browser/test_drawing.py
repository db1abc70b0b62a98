"""The drawing of a cell in a real browser: no letter is wider than it was taken for."""

from html import escape
from itertools import combinations

import pytest
from axe_playwright_python.sync_playwright import Axe

import unrolled
from support_cells import SHIPPED

FRAMES = """(name) => [...document.querySelectorAll(name)].map((element) => {
  const { x, y, width, height } = element.getBBox();
  return [x, y, x + width, y + height];
})"""
every_cell = pytest.mark.parametrize("cell", SHIPPED, ids=lambda cell: cell.__name__)


def page(cell):
    picture = unrolled.draw(cell)
    title = escape(cell.__name__)
    return f'<!doctype html><html lang="en"><title>{title}</title><main>{picture}</main></html>'


@every_cell
def test_no_text_lies_on_another(cell, visit):
    frames = visit(page(cell)).evaluate(FRAMES, "text")
    # A line of text is higher than its letters.
    letters = [(left, top + 4, right, bottom - 4) for left, top, right, bottom in frames]
    assert letters
    for one, other in combinations(letters, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart


@every_cell
def test_every_box_holds_its_text(cell, visit):
    found = visit(page(cell))
    boxes = found.evaluate(FRAMES, "rect.node")
    texts = found.evaluate(FRAMES, "rect.node + text")
    assert len(boxes) == len(texts) > 0
    for box, text in zip(boxes, texts, strict=True):
        assert box[0] < text[0]
        assert text[2] < box[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(scheme, visit):
    found = visit(page(unrolled.cells.SLSTM), scheme=scheme)
    results = Axe().run(found, options={"runOnly": ["wcag2a", "wcag2aa"]})
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize(
    ("scheme", "color"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(15, 19, 26)")]
)
def test_the_page_is_as_its_reader_likes_it(scheme, color, visit):
    found = visit(page(unrolled.cells.GRU), scheme=scheme)
    fill = found.eval_on_selector("rect.page", "(element) => getComputedStyle(element).fill")
    assert fill == color
