"""A pass that a checkpoint repeats runs on the backend that it ran on the first time.

``torch.utils.checkpoint`` runs a part of a model once more during the backward pass, and expects it
to save the same tensors. What was in force around the first run, such as ``unrolled.backend``, is
then over. It has no place to note such things but its own frame, which its hooks on saved tensors
hold; where we don't find it there, the choice is that of the moment.
"""

from __future__ import annotations

from typing import Any

import torch


class _Names(list[str]):
    """The backends of the passes of a checkpoint's first run, and how far each rerun has come."""

    def __init__(self) -> None:
        super().__init__()
        self.again: dict[int, int] = {}


def repeated(name: str) -> str:
    """``name``, which is noted in a checkpoint's first run; in a rerun the name of the first."""
    hooks: Any = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is None:
        return name
    pack = getattr(hooks[0], "__wrapped__", hooks[0])
    if getattr(pack, "__module__", None) != "torch.utils.checkpoint":
        return name
    closure = dict(zip(pack.__code__.co_freevars, pack.__closure__ or (), strict=True))
    if "frame" in closure:
        _names(closure["frame"].cell_contents).append(name)
        return name
    if "target_frame_ref" not in closure:
        return name
    names = _names(closure["target_frame_ref"].cell_contents())
    rerun = torch._C._current_graph_task_id()
    number = names.again.get(rerun, 0)
    names.again[rerun] = number + 1
    return names[number] if number < len(names) else name


def _names(frame: Any) -> _Names:
    names = getattr(frame, "unrolled_backends", None)
    if names is None:
        names = frame.unrolled_backends = _Names()
    return names
