"""Parts of a table in time, what is done about missing values, and windows over the rest.

A prediction for row t is made from the window of rows t − W + 1 … t. Everything here is an index:
the table itself is neither copied nor cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import InputError
from unrolled.learn.columns import Array
from unrolled.learn.table import Span, Table
from unrolled.model.folder import Missing

Rows = NDArray[np.int64]
"""Places of rows in a table, as :class:`Table` orders them."""


def split(spans: Sequence[Span], fractions: Sequence[float]) -> list[list[Span]]:
    """Cuts each series in time into consecutive parts with these fractions of its rows.

    Returns one list of spans for each fraction.
    """
    edges = np.concatenate([[0.0], np.cumsum(fractions)])
    parts: list[list[Span]] = [[] for _ in fractions]
    for start, stop in spans:
        cuts = (start + np.round(edges * (stop - start))).astype(int).tolist()
        for part, first, last in zip(parts, cuts[:-1], cuts[1:], strict=True):
            part.append((first, last))
    return parts


@dataclass(frozen=True)
class Part:
    """Rows of a table that belong together (the training part, say).

    ``spans`` are stretches without a gap: no window crosses their borders. ``filled`` [N] marks
    the rows, of the whole table, in which an input was interpolated: what such a row holds comes
    from later rows as well, so that no window ends in it.
    """

    table: Table
    spans: tuple[Span, ...]
    filled: NDArray[np.bool_]

    def ends(self, history: int) -> Rows:
        """The rows that have ``history`` rows up to and with themselves in their stretch [n]."""
        ends = [np.arange(start + history - 1, stop) for start, stop in self.spans]
        rows: Rows = np.concatenate([np.empty(0, dtype=np.int64), *ends])
        return rows[~self.filled[rows]]


def prepare(table: Table, parts: Sequence[Sequence[Span]], missing: Missing) -> list[Part]:
    """Does what ``missing`` says about NaN and infinity in the inputs, in each part by itself.

    ``error`` expects none (:func:`check_complete` refuses them); ``drop`` leaves the rows out and
    cuts the series there; ``interpolate`` fills them in a straight line between the neighbours in
    the same span, and leaves out what has a neighbour on one side only. A missing target is no
    error beside the last two: its row is read as an input, but neither trained on nor scored.
    """
    known = np.asarray(np.isfinite(table.inputs).all(axis=1))
    if missing == "error":
        return [Part(table, tuple(spans), np.zeros_like(known)) for spans in parts]
    if missing == "drop":
        return [
            Part(table, tuple(run for span in spans for run in _runs(known, span)), ~known)
            for spans in parts
        ]
    whole = replace(table, inputs=table.inputs.copy())
    return [
        Part(whole, tuple(run for span in spans for run in _fill(whole.inputs, span)), ~known)
        for spans in parts
    ]


def goals_of(parts: Sequence[Part], ahead: int) -> Array:
    """The target of the prediction made at each row, ``ahead`` rows on [N, O].

    NaN where that row is beyond the stretch, its target is missing, or the row was filled.
    """
    goals = np.full_like(parts[0].table.targets, np.nan)
    for part in parts:
        for start, stop in part.spans:
            later = part.table.targets[start + ahead : stop]
            goals[start : start + len(later)] = np.where(np.isfinite(later), later, np.nan)
        goals[part.filled] = np.nan
    return goals


def check_complete(
    table: Table, inputs: Sequence[str], targets: Sequence[str], *, with_targets: bool
) -> None:
    """That no input is NaN or infinite, and no target either if they are needed.

    Raises:
        InputError: names the first such cell.
    """
    kinds = [("input", inputs, table.inputs)]
    if with_targets:
        kinds.append(("target", targets, table.targets))
    for kind, names, values in kinds:
        wrong = np.argwhere(~np.isfinite(values))
        if len(wrong):
            row, column = wrong[np.argmin(table.rows[wrong[:, 0]])]
            value = values[row, column]
            what = "is missing" if np.isnan(value) else f"is {value}"
            raise InputError(
                f"{table.name}: {kind} column {names[column]!r}, row {table.rows[row]}: the value "
                f"{what} ({len(np.unique(wrong[:, 0]))} such rows). Choose --missing drop to leave "
                "them out, or --missing interpolate to fill inputs in"
            )


def gather(values: Tensor, ends: Tensor, window: int) -> Tensor:
    """The windows of ``values`` [N, F] that end in the rows ``ends`` [B]: [B, W, F], one call."""
    return values[ends.unsqueeze(1) + torch.arange(1 - window, 1, device=ends.device)]


def _fill(inputs: Array, span: Span) -> list[Span]:
    """Interpolates ``inputs`` [N, I] in place within a span; the stretch that has all values."""
    part = inputs[slice(*span)]
    first, last = 0, len(part)
    for column in part.T:
        known = np.flatnonzero(np.isfinite(column))
        if len(known) == 0:
            return []
        column[:] = np.interp(np.arange(len(column)), known, column[known])
        first, last = max(first, int(known[0])), min(last, int(known[-1]) + 1)
    return [(span[0] + first, span[0] + last)] if first < last else []


def _runs(known: NDArray[np.bool_], span: Span) -> list[Span]:
    """The stretches of known rows in a span."""
    edges = np.zeros(span[1] - span[0] + 2, dtype=np.int8)
    edges[1:-1] = known[slice(*span)]
    turns = np.flatnonzero(np.diff(edges)).reshape(-1, 2) + span[0]
    return [(int(start), int(stop)) for start, stop in turns]
