"""Writes what ``unrolled tasks`` found: the numbers and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unrolled.learn.comparison import CompareSettings, Course
from unrolled.learn.comparison_plot import as_memory, draw_comparison
from unrolled.learn.results import write_json
from unrolled.runfile import METRICS, PICTURE
from unrolled.tasks import LOSSES, Task


def save_comparison(
    name: str,
    task: Task,
    settings: CompareSettings,
    courses: Sequence[Course],
    folder: Path,
) -> None:
    """The files of ``unrolled tasks``, into a folder that is there: numbers and a picture."""
    write_json(
        folder / METRICS,
        {
            "task": name,
            "length": getattr(task, "length", None),
            "loss": LOSSES[task.kind],
            "score": task.measure,
            "chance": {"loss": task.chance.loss, "score": task.chance.score},
            "solved": task.solved,
            "settings": settings.model_dump(),
            "cells": {course.cell: _metrics(course, task) for course in courses},
        },
    )
    draw_comparison(folder / PICTURE, heading(name, task), task, courses)


def heading(name: str, task: Task) -> str:
    """The task in a line."""
    length = getattr(task, "length", None)
    return f"{name}{'' if length is None else f', length {length}'}: {task.summary}"


def _metrics(course: Course, task: Task) -> dict[str, Any]:
    return {
        "loss": course.loss,
        "score": course.score,
        "solved": course.score >= task.solved,
        "weights": course.weights,
        "seconds": round(course.seconds, 2),
        "steps": course.steps,
        "losses": course.losses,
        "scores": course.scores,
        "before": _memory(course.before),
        "after": _memory(course.after),
    }


def _memory(measured: Any) -> dict[str, Any] | None:
    memory = as_memory(measured)
    if memory is None:
        return None
    return {
        "gradient_by_lag": memory.gradient_by_lag.tolist(),
        "horizon": memory.horizon,
        "letter": str(measured).splitlines(),
    }
