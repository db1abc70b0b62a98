"""``repr`` of values that hold arrays: what they are and how large, not their numbers."""

from __future__ import annotations

import reprlib
from dataclasses import fields
from typing import Any


class _Short(reprlib.Repr):
    """Tensors and arrays by their kind, dtype and shape; of long collections the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.maxdict = self.maxlist = self.maxtuple = 6
        self.maxstring = self.maxother = 200

    def repr_Tensor(self, value: Any, _level: int) -> str:  # noqa: N802 - reprlib finds it so
        return f"Tensor({list(value.shape)}, {str(value.dtype).removeprefix('torch.')})"

    def repr_ndarray(self, value: Any, _level: int) -> str:
        return f"ndarray({list(value.shape)}, {value.dtype})"


short = _Short().repr


class Summarised:
    """A base of dataclasses (with ``repr=False``) that hold arrays."""

    def __repr__(self) -> str:
        shown = (f"{f.name}={short(getattr(self, f.name))}" for f in fields(self) if f.repr)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"
