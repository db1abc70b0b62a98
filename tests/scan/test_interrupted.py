"""Ctrl-C during a long pass of the core."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.scan import native

if not native.is_built():
    pytest.skip("built without a compiler", allow_module_level=True)

# Passes that take tens of seconds on any machine, unless somebody ends them.
LONG = {"steps": 60_000, "rows": 8, "size": 256}


@pytest.fixture(autouse=True)
def python_handles_it() -> Iterator[None]:
    """Who is started in the background by a shell has Ctrl-C ignored, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def long_pass() -> tuple[unrolled.LSTM, Tensor]:
    module = unrolled.LSTM(4, LONG["size"])
    return module, torch.randn(1, LONG["rows"], 4).expand(LONG["steps"], -1, -1)


def seconds_until_interrupted(run: Callable[[], object]) -> float:
    """How long after the signal the call ended; it has to end by it."""
    sent = []

    def send() -> None:
        time.sleep(0.5)
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run()
        return time.monotonic() - sent[0]
    finally:
        thread.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forward_pass_ends(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    module, x = long_pass()
    with torch.no_grad():
        # Generous beside the second that is promised: the machine may be busy.
        assert seconds_until_interrupted(lambda: module(x)) < 10
        assert module(x[:3])[0].isfinite().all()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_backward_pass_ends(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    module, x = long_pass()
    loss = module(x[: LONG["steps"] // 6])[0].sum()
    assert seconds_until_interrupted(loss.backward) < 10
    assert all(weight.grad is None for weight in module.parameters())


def test_a_handler_that_does_not_raise_is_called_and_the_pass_goes_on() -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: called.append(number))
    try:
        module, x = long_pass()
        x = x[: LONG["steps"] // 30]
        timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with torch.no_grad():
            found, _ = module(x)
        timer.join()
        time.sleep(0)
        with torch.no_grad():
            expected, _ = module(x)
    finally:
        signal.signal(signal.SIGINT, before)
    assert called == [signal.SIGINT]
    assert torch.equal(found, expected)
