"""``unrolled doctor``: what runs here, and whether it is right."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from unrolled.cli import doctor
from unrolled.deploy import stepping
from unrolled.scan import layer, native

needs_core = pytest.mark.skipif(not native.is_built(), reason="built without a compiler")


@needs_core
def test_it_says_what_runs_and_that_it_is_right(capsys):
    doctor.run_doctor(seconds=1.0)
    printed = capsys.readouterr().out
    assert native.isas()[native.isa()] in printed
    assert "random passes agree with the reference" in printed
    assert stepping.backend() in printed


@needs_core
def test_a_core_that_is_wrong_is_found(monkeypatch, capsys):
    forward = layer.Scan.forward

    def wrong(self, layout, data, initial, output, last, kept):
        forward(self, layout, data, initial, output, last, kept)
        last[0].mul_(1.001)

    monkeypatch.setattr(layer.Scan, "forward", wrong)
    with pytest.raises(typer.Exit) as ended:
        doctor.run_doctor(seconds=10.0)
    assert ended.value.exit_code == 1
    assert "WRONG" in capsys.readouterr().out


def test_without_a_core_there_is_nothing_to_check(monkeypatch, capsys):
    monkeypatch.setattr(native, "_core", None)
    doctor.run_doctor(seconds=10.0)
    printed = capsys.readouterr().out
    assert "not built" in printed
    assert "every pass runs on the reference" in printed


@needs_core
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is loaded")
def test_the_core_runs_on_the_openmp_runtime_of_torch():
    """In a process of its own: scikit-learn, which other tests load, brings another."""
    code = (
        "import torch, unrolled; unrolled.LSTM(8, 64)(torch.randn(50, 32, 8));"
        "from unrolled.nn.selfcheck import openmp_runtimes; print(len(openmp_runtimes()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1"
