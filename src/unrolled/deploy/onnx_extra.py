"""What ``pip install 'unrolled[onnx]'`` brings, imported when it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from unrolled.errors import InputError


def need(name: str) -> Any:
    """The module ``onnx`` or ``onnxruntime``, or one within.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise InputError(
            f"the package {package} is needed for this, and can't be imported ({error}). "
            "Install it: pip install 'unrolled[onnx]'"
        ) from error
