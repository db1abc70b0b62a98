"""The cells that textbooks draw, whatever a model calls them, and how a cell is called in words."""

from __future__ import annotations

from functools import cache
from itertools import product

from unrolled.cells import Description
from unrolled.cells.built_in import BUILT_IN, PROJECTED
from unrolled.inspect.words import PAGE, Language, phrase


def title_of(name: str) -> str:
    """What to call a cell in a heading."""
    return BUILT_IN[name].title if name in BUILT_IN else name


@cache
def textbook(cell: Description) -> str | None:
    """Torch's name of a cell that has a drawing in the textbooks; None of any other."""
    for mode, known in BUILT_IN.items():
        for bias, projected in product((True, False), (True, False)):
            is_made = not projected or mode in PROJECTED
            if is_made and known.described(bias=bias, projected=projected) == cell:
                return mode
    return None


def line_title(
    cell: Description, name: str, language: Language, otherwise: str = "line_named"
) -> str:
    """What to call a recorded line.

    Args:
        cell: whose.
        name: its name in the equations.
        language: of the page.
        otherwise: the phrase for a line of a cell that no textbook has, which goes by its name.
    """
    key = f"gate_{name}"
    if textbook(cell) is not None and key in PAGE:
        return phrase(PAGE, key, language)
    return phrase(PAGE, otherwise, language).format(name=name)
