"""The package's exceptions: for what a user gave and can mend, and for a training gone wrong."""

import re


class InputError(ValueError):
    """A file, a table or a setting can't be used as it is.

    The message names the thing, says what was expected and what came, and the repair, in one line.
    """


def clip(value: object, most: int = 160) -> str:
    """What is told of something that somebody gave: one line, of at most so many letters."""
    words = " ".join(str(value).split())
    return words if len(words) <= most else f"{words[:most]}…"


UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, of a terminal and of the direction of writing, breaks of lines, halves of letters."""


HALVES = re.compile("[\ud800-\udfff]")
"""Of letters that UTF-16 writes as two: alone they are none."""


def fault_of_text(text: str) -> str | None:
    """What a text file, in UTF-8, can't hold of a text; None if it can hold it all."""
    if "\0" in text:
        return "a byte 0, which no text file has"
    if found := HALVES.search(text):
        return f"half a letter (U+{ord(found[0]):04X}), which UTF-8 has not"
    return None


def visible(text: str, keep: str = "") -> str:
    """The text with what a terminal would obey instead of showing it escaped, but for ``keep``."""
    return UNSEEN.sub(lambda m: m[0] if m[0] in keep else repr(m[0])[1:-1], text)


def abridged(text: str, most: int = 40) -> str:
    """A name that is drawn: of a long one the beginning and the end, which tell it from others."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


class DivergedError(RuntimeError):
    """Training met a number that is not finite; the message says where, why, and the repair."""
