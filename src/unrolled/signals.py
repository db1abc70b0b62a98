"""The signals that ask a command to end, so that it may save what it has."""

from __future__ import annotations

import signal


def ending() -> list[signal.Signals]:
    """SIGINT and SIGTERM, and SIGHUP, which a terminal sends as it is closed.

    Not SIGHUP where it is ignored, as under ``nohup``: who said so wants the command to go on.
    Windows has none.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    hang_up: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        numbers.append(hang_up)
    return numbers
