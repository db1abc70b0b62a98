"""The report: a trace, a diagnosis or both as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import unrolled
from unrolled.cells.ranges import ANY, ranges
from unrolled.inspect.diagnosis import Diagnosis
from unrolled.inspect.drawing import DRAWINGS
from unrolled.inspect.flow_layout import lay_out
from unrolled.inspect.flow_picture import style as flow_style
from unrolled.inspect.flow_picture import svg
from unrolled.inspect.known import line_title, title_of
from unrolled.inspect.letter import letter
from unrolled.inspect.scene import Layer, Recorded, Scene, Series, scene
from unrolled.inspect.trace import Trace
from unrolled.inspect.words import PAGE, Language, checked_language, phrase

SCRIPTS = ("data.js", "cell.js", "network.js", "heat.js", "charts.js", "main.js")

SCRIPT = """
"use strict";
(() => {{
{parts}
}})();
"""


def report(
    subject: Trace | Diagnosis,
    path: str | Path | None = None,
    *surplus: object,
    diagnosis: Diagnosis | None = None,
    module: str | None = None,
    row: int = 0,
    target: Tensor | None = None,
    series: Sequence[Series] | None = None,
    title: str | None = None,
    note: str = "",
    language: str = "en",
) -> str:
    """Writes a report as one HTML file, to be opened in any browser, from disk.

    It has the cell as the textbooks draw it, live over the time steps, the network unrolled, its
    layers with the shapes of their tensors, a heat map of every gate, and what was measured of its
    memory.

    Args:
        subject: what :func:`unrolled.record` or :func:`unrolled.diagnose` returned.
        path: the file; None writes none.
        surplus: nothing; who gives a model and its input is told what to give.
        diagnosis: of the same model, beside a trace.
        module: the recurrent module to show; None where there is one only.
        row: the row of the batch to show. Of more than 1,000 steps the last are shown.
        target: what the model should have given out [T, B, O], or [B, T, O] where the module reads
            rows first: drawn beside the model's output.
        series: what to draw over the steps, in place of what the module read and the output.
        title: of the page; the cell's name by default.
        note: a sentence under it.
        language: "en" or "zh".

    Returns:
        The HTML.

    Raises:
        TypeError: it was given a model, or more than a subject and a path.
        InputError: there is no such row, module or language, or the target does not fit.
    """
    if surplus or isinstance(subject, torch.nn.Module):
        raise TypeError(
            "report takes what was recorded of a model, and a path, in place of the model and its "
            "input: unrolled.report(unrolled.record(model, x), path), with "
            "diagnosis=unrolled.diagnose(model, x) if wanted"
        )
    known = checked_language(language)
    shown = scene(
        subject,
        diagnosis=diagnosis,
        module=module,
        row=row,
        target=target,
        series=series,
        title=title,
        note=note,
    )
    page = html(shown, known)
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page


def html(shown: Scene, language: Language = "en") -> str:
    """The page of a scene, see :func:`report`."""
    words = {key: phrase(PAGE, key, language) for key in PAGE}
    body = ""
    if shown.recorded is not None:
        if shown.recorded.out == "P":
            words["stack_text"] = words["stack_text_projected"]
        body += _filled(_part("recorded.html"), words)
    if shown.diagnosis is not None:
        body += _filled(_part("diagnosis.html"), words, letter=_letter(shown.diagnosis, language))
    style = f"\n{_part('style.css')}\n"
    if shown.recorded is not None and shown.recorded.textbook is None:
        style += f"{flow_style()}\n"
    script = SCRIPT.format(parts="\n".join(map(_part, SCRIPTS)))
    return _filled(
        _part("page.html"),
        words,
        lang={"en": "en", "zh": "zh-Hans"}[language],
        title=escape(shown.title),
        facts=escape(_facts(shown, words)),
        note=f'<p class="facts">{escape(shown.note)}</p>' if shown.note else "",
        footer=words["footer"].format(version=unrolled.__version__),
        style=style,
        style_hash=_named_by_hash(style),
        body=body,
        script=script,
        script_hash=_named_by_hash(script),
        data=_json(_data(shown, words, language)),
    )


def _facts(shown: Scene, words: Mapping[str, str]) -> str:
    if shown.recorded is None:
        d = shown.diagnosis
        assert d is not None
        return words["facts_diagnosis"].format(cell=title_of(d.cell), steps=d.steps)
    recorded, sizes = shown.recorded, shown.recorded.sizes

    def counted(name: str, n: int) -> str:
        return words[f"{name}_one" if n == 1 else f"{name}_many"].format(n=n)

    return words["facts"].format(
        cell=title_of(recorded.name),
        layers=counted("layer", sizes.layers),
        directions=counted("direction", sizes.directions),
        inputs=sizes.inputs,
        hidden=sizes.hidden,
        row=recorded.row,
        batch=sizes.batch,
        first=recorded.first,
        last=recorded.first + recorded.steps - 1,
    )


def _letter(d: Diagnosis, language: Language) -> str:
    text = letter(d, language)

    def points(heading: str, sentences: Sequence[str]) -> str:
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        return f"<h3>{escape(heading)}</h3><ul>{items}</ul>" if sentences else ""

    return (
        f'<div class="letter"><p><b>{escape(text.headline)}</b></p>'
        f"{points(text.measured, text.findings)}{points(text.to_try, text.advice)}</div>"
    )


def _data(shown: Scene, words: Mapping[str, str], language: Language) -> dict[str, Any]:
    """What the page's scripts read."""
    return {
        "words": words,
        "recorded": shown.recorded and _recorded(shown.recorded, language),
        "diagnosis": shown.diagnosis and _diagnosis(shown.diagnosis, language),
    }


def _recorded(recorded: Recorded, language: Language) -> dict[str, Any]:
    cell, book = recorded.cell, recorded.textbook
    within, lines = ranges(cell), recorded.layers[0].values
    return {
        "textbook": book and book.split("_")[0],
        "cell": title_of(recorded.name).split()[0],
        "states": [asdict(state) for state in recorded.states],
        "out": recorded.out,
        "lines": {
            name: {
                "title": line_title(cell, name, language),
                "range": [end if isfinite(end) else None for end in within.get(name, ANY)],
            }
            for name in lines
        },
        "sizes": asdict(recorded.sizes),
        "first": recorded.first,
        "steps": recorded.steps,
        "layers": [_layer(layer) for layer in recorded.layers],
        "series": [
            {"name": line.name, "kind": line.kind, "values": _packed(line.values)}
            for line in recorded.series
        ],
        "drawing": book and asdict(DRAWINGS[book]),
        "flow": None if book else svg(lay_out(cell), cell, within_page=True),
    }


def _layer(layer: Layer) -> dict[str, Any]:
    constants = layer.time_constants
    return {
        "layer": layer.layer,
        "direction": layer.direction,
        "values": {gate: _packed(values) for gate, values in layer.values.items()},
        "received": {state: _packed(values) for state, values in layer.received.items()},
        "constants": None if constants is None else _packed(constants),
    }


def _diagnosis(d: Diagnosis, language: Language) -> dict[str, Any]:
    saliency = d.saliency_by_lag
    return {
        "gradient_by_lag": _packed(_doubles(d.gradient_by_lag)),
        "saliency_by_lag": None if saliency is None else _packed(_doubles(saliency)),
        "horizon": d.horizon,
        "horizon_share": d.horizon_share,
        "exponents": None if d.lyapunov is None else _packed(_doubles(d.lyapunov.exponents)),
        "time_constants": {
            name: _packed(_doubles(values.flatten())) for name, values in d.time_constants.items()
        },
        "saturation": [
            {
                "layer": layer,
                "gate": line_title(d.description, gate, language),
                "low": float(pinned.low.mean()),
                "high": float(pinned.high.mean()),
            }
            for (layer, gate), pinned in d.saturation.items()
        ],
    }


def _doubles(values: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.detach().cpu().double().numpy()
    return found


def _packed(values: NDArray[Any]) -> dict[str, Any]:
    """Exactly, and in half the space that digits would take."""
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return {"bytes": values.itemsize, "data": base64.b64encode(plain.tobytes()).decode()}


def _json(data: Any) -> str:
    """So that nothing in it can end the script that holds it."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _named_by_hash(text: str) -> str:
    """An inline script or style as a Content-Security-Policy names it: this one and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files("unrolled.inspect").joinpath("page", name).read_text(encoding="utf-8")


def _filled(template: str, words: Mapping[str, str], **parts: str) -> str:
    """Every ``{{name}}`` of the template, by the parts and else by the words."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        return parts[name] if name in parts else escape(words[name])

    return re.sub(r"\{\{(\w+)\}\}", part, template)
