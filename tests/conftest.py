"""One thread, and fresh random numbers that can be had again.

Every run draws a new seed and prints it in pytest's header; every test seeds torch from it and
from its own name. To repeat a run: ``UNROLLED_TEST_SEED=<the seed> pytest ...``.
"""

import os
import random
import signal
import zlib
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
import torch

from unrolled.deploy import stepping

VARIABLE = "UNROLLED_TEST_SEED"

USUAL: dict[int, Any] = {signal.SIGINT: signal.default_int_handler}
if hasattr(signal, "SIGHUP"):
    USUAL[signal.SIGHUP] = signal.SIG_DFL
"""What these signals do where nobody has said anything."""


def pytest_configure(config: pytest.Config) -> None:
    # In the environment, so that the workers of pytest-xdist inherit the seed that is printed.
    os.environ.setdefault(VARIABLE, str(random.SystemRandom().randrange(2**31)))
    # The tensors of the tests are tiny, and the workers share the cores.
    torch.set_num_threads(1)
    # Under nohup, or behind an & in a script, signals are ignored from the start, and programs that
    # the tests start would go on ignoring them, as they should.
    for number, usual in USUAL.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    # torch's own LSTM, which the tests measure ours by, says this once in each process.
    config.addinivalue_line(
        "filterwarnings", "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
    )


def pytest_report_header() -> str:
    return f"seed: {VARIABLE}={os.environ[VARIABLE]}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Says in the last line of all how many tests were left out, and why."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of pytest-xdist
        return
    reports = reporter.stats.get("skipped", [])
    # Where a test says why, or a file, which is left out as one.
    why = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if why:
        reasons = "; ".join(f"{count} - {reason}" for reason, count in why.most_common())
        reporter.write_line(f"left out: {why.total()} ({reasons})")
    else:
        reporter.write_line("left out: none")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number of this run and this test alone."""
    return int(os.environ[VARIABLE]) ^ zlib.crc32(request.node.nodeid.encode())


@pytest.fixture(autouse=True)
def _seeded(seed: int) -> None:
    torch.manual_seed(seed)


@pytest.fixture(params=["compiled", "numpy"])
def stepper(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both of what can take a stream's steps."""
    if request.param == "numpy":
        monkeypatch.setattr(stepping, "compiled", None)
    elif stepping.compiled is None:
        pytest.skip("the stepper was not built: there was no compiler")
    return str(request.param)
