"""The package's exceptions: for what a user gave and can mend, and for a training gone wrong."""


class InputError(ValueError):
    """A file, a table or a setting can't be used as it is.

    The message names the thing, says what was expected and what came, and the repair, in one line.
    """


class DivergedError(RuntimeError):
    """Training met a number that is not finite; the message says where, why, and the repair."""
