"""Shows the figure that a cell of the tutorial has drawn, or the report that it has made."""

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


def picture(figure: Figure, alt: str) -> str:
    """The figure as an element that holds all of it; ``alt`` says what is to be seen."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    data = base64.b64encode(file.getvalue()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    return f'<img class="figure" alt="{escape(alt, quote=True)}" src="{source}">'


def live(report: str, title: str) -> str:
    """The report as a page within the page; ``title`` says what is to be seen."""
    source = escape(report, quote=True)
    return f'<iframe class="report" title="{escape(title, quote=True)}" srcdoc="{source}"></iframe>'
