"""What torch.compile is told about this package, without importing Dynamo, which takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def constant(function: _Function) -> _Function:
    """A function that runs when a call of it is compiled; compiled code keeps the result.

    ``torch.compiler.assume_constant_result`` is the same after an import of all of Dynamo.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
