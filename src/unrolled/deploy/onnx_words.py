"""What messages about ONNX files quote from them."""

from __future__ import annotations

from typing import Any


def shown(name: Any) -> str:
    """A name out of a file as a message shows it: on one line, and not too long."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-10:]}"


def first_words(error: BaseException) -> str:
    """The beginning of another library's message, on one line."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    return " ".join(text.split())[:160] or type(error).__name__
