import pytest

from support_cli import Command


@pytest.fixture
def unrolled(monkeypatch, capsys):
    """The command, called in this process: ``unrolled("train", "t.csv", ...)``."""
    return Command(monkeypatch, capsys)
