"""``unrolled tasks``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from unrolled.cli.display import progress, screen
from unrolled.cli.process import NOTHING_KEPT
from unrolled.errors import InputError
from unrolled.inspect.diagnose import diagnose
from unrolled.inspect.diagnosis import Diagnosis
from unrolled.learn.comparison import (
    Course,
    check_fits,
    has_forget_bias,
    read_compare_settings,
    split,
    train_cell,
)
from unrolled.learn.comparison_results import heading, save_comparison
from unrolled.model.choice import NAMES, CellName
from unrolled.output import replacing
from unrolled.tasks import LOSSES, TASKS, Task, make_task

BETTER = 0.9
"""A loss below so much of that of chance is no accident of the test sequences."""

LASTING = 5.0
"""A forget gate of this bias keeps a half of the cell for a hundred steps."""


def list_tasks() -> None:
    """Prints the tasks, a line each."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "asks for"):
        table.add_column(column, no_wrap=True)
    table.add_column("chance", justify="right")
    for name in TASKS:
        task = make_task(name)
        table.add_row(name, task.summary, f"{task.chance.score:.0%}")
    screen.print(table)
    screen.print("One of them: unrolled tasks NAME. What each is, and its source: docs/tasks.md")


def run_tasks(
    name: str | None,
    length: int | None,
    cells: Sequence[str],
    out: Path | None,
    flags: dict[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Trains the cells side by side, prints their table and writes the folder."""
    if name is None:
        raise InputError("the task's name is missing. For their list: unrolled tasks --list")
    task, known = make_task(name, length), _check_cells(cells)
    settings = read_compare_settings(flags)
    folder = Path(name) if out is None else out
    for cell in known:
        check_fits(task, cell, settings)
    with replacing(folder, overwrite=overwrite) as draft:
        courses = []
        for cell in known:
            with progress(f"{cell.upper():4}", len(split(settings.steps)), "checks") as on_check:
                courses.append(train_cell(task, cell, settings, diagnose, on_check))
            if courses[-1].interrupted:
                # Half of a comparison is none.
                raise KeyboardInterrupt(NOTHING_KEPT)
        save_comparison(name, task, settings, courses, draft)
    screen.print(_table(name, task, courses))
    screen.print(
        f"The error is the {LOSSES[task.kind]}, the score the share of "
        f"{task.measure}, on {settings.test_size:,} new sequences; each cell had "
        f"{settings.steps:,} updates of {settings.batch_size} sequences."
    )
    for course in courses:
        screen.print(memory(course))
    if hint := forgetful(task, settings.forget_bias, courses):
        screen.print(hint)
    screen.print(f"Wrote {folder}/: look at {folder / 'picture.png'}", soft_wrap=True)


def memory(course: Course) -> str:
    """Why it came so: how far the gradient reached, before training and after."""
    gradient = course.after.gradient_by_lag
    left = float(gradient[-1] / gradient[0]) if float(gradient[0]) > 0 else 0.0
    return (
        f"{course.cell.upper()}: the gradient's horizon is {_reach(course.before)} steps before "
        f"training and {_reach(course.after)} after; {len(gradient) - 1} steps back a share of "
        f"{left:.1e} of it is left ({course.after.verdict})."
    )


def _reach(diagnosis: Diagnosis) -> str:
    """The horizon, with a plus where it is the whole window."""
    last = len(diagnosis.gradient_by_lag) - 1
    return f"{diagnosis.horizon}+" if diagnosis.horizon >= last else f"{diagnosis.horizon}"


def forgetful(task: Task, bias: float, courses: Sequence[Course]) -> str | None:
    """What to try if the LSTM has not solved the task and began by forgetting."""
    failed = any(has_forget_bias(c.cell) and c.score < task.solved for c in courses)
    if not failed or bias >= LASTING:
        return None
    kept = 1 / (1 + math.exp(-bias))
    return (
        f"The LSTM's forget gate began with the bias {bias:g}, which keeps {kept:.0%} of the cell "
        f"from step to step; with --forget-bias {LASTING:g} it keeps "
        f"{1 / (1 + math.exp(-LASTING)):.0%}, as the LSTM of 1997 kept all."
    )


def _check_cells(cells: Sequence[str]) -> list[CellName]:
    for place, cell in enumerate(cells):
        if cell not in NAMES:
            raise InputError(f"--cell: one of {', '.join(NAMES)} was expected, got {cell!r}")
        if cell in cells[:place]:
            raise InputError(f"--cell: {cell!r} is named twice. Name each cell once")
    return [*cells]


def _table(name: str, task: Task, courses: Sequence[Course]) -> Table:
    table = Table(title=heading(name, task))
    table.add_column("network")
    for column in ("error", "score", "horizon", "weights", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for course in courses:
        table.add_row(
            course.cell.upper(),
            f"{course.loss:.2e}",
            f"{course.score:.1%}",
            _reach(course.after),
            f"{course.weights:,}",
            f"{course.seconds:.1f}",
            verdict(task, course),
        )
    table.add_row("chance", f"{task.chance.loss:.2e}", f"{task.chance.score:.1%}", "", "", "", "")
    return table


def verdict(task: Task, course: Course) -> str:
    """In plain words, what came of it."""
    if course.score >= task.solved:
        return f"solved ({task.solved:.1%} or more)"
    if course.loss < BETTER * task.chance.loss:
        return f"better than chance, not solved ({task.solved:.1%})"
    return "no better than chance"
