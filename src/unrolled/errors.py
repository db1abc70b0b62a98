"""The package's exceptions: for what a user gave and can mend, and for a training gone wrong."""


class InputError(ValueError):
    """A file, a table or a setting can't be used as it is.

    The message names the thing, says what was expected and what came, and the repair, in one line.
    """


def clip(value: object, most: int = 160) -> str:
    """What is told of something that somebody gave: one line, of at most so many letters."""
    words = " ".join(str(value).split())
    return words if len(words) <= most else f"{words[:most]}…"


def abridged(text: str, most: int = 40) -> str:
    """A name that is drawn: of a long one the beginning and the end, which tell it from others."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


class DivergedError(RuntimeError):
    """Training met a number that is not finite; the message says where, why, and the repair."""
