"""Shows the figure that a page's code has drawn, the drawing of a cell, or the report."""

from __future__ import annotations

import base64
import io
from html import escape

import matplotlib
from matplotlib.figure import Figure

matplotlib.use("agg")
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "unrolled",  # the same picture is the same file
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


SMALLEST = 0.7
"""To so much of its size the drawing of a cell is made smaller where the page is narrow."""


def picture(figure: Figure, alt: str) -> str:
    """The figure as an element that holds all of it; ``alt`` says what is to be seen."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    data = base64.b64encode(file.getvalue()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    return f'<img class="figure" alt="{escape(alt, quote=True)}" src="{source}">'


def drawn(svg: str, alt: str) -> str:
    """The drawing of a cell; ``alt`` says what is to be seen.

    It becomes no smaller than can be read: what is wider than the page is moved.
    """
    width = float(svg.partition('width="')[2].partition('"')[0])
    size = f"width: {width:g}px; min-width: {SMALLEST * width:.0f}px"
    source = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    text = escape(alt, quote=True)
    image = f'<img style="{size}" alt="{text}" src="{source}">'
    return f'<div class="drawing" role="region" aria-label="{text}" tabindex="0">{image}</div>'


def live(report: str, title: str) -> str:
    """The report as a page within the page; ``title`` says what is to be seen."""
    source = escape(report, quote=True)
    return f'<iframe class="report" title="{escape(title, quote=True)}" srcdoc="{source}"></iframe>'
