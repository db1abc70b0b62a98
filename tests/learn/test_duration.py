"""How many epochs ``auto`` stands for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support_learn import quick, wave_frame
from unrolled.errors import InputError
from unrolled.learn import loop, train
from unrolled.learn.duration import AUTO, resolve
from unrolled.learn.loop import FitSettings, History
from unrolled.learn.settings import TrainSettings, read_settings
from unrolled.model import Network


@pytest.mark.parametrize(
    ("sequences", "batch_size", "expected"),
    [
        (1, 32, (2000, 500)),
        (160, 32, (400, 100)),
        (161, 32, (334, 84)),
        (640, 32, (100, 25)),
        (33 * 32, 32, (100, 16)),
        (34 * 32, 32, (100, 15)),
        (10_000_000, 32, (100, 15)),
    ],
)
def test_small_data_get_the_updates_they_need_and_large_data_no_more_epochs(
    sequences: int, batch_size: int, expected: tuple[int, int]
) -> None:
    assert resolve(AUTO, AUTO, sequences, batch_size) == expected


@pytest.mark.parametrize("patience", [None, 3])
def test_what_is_said_holds_whatever_the_data(patience: int | None) -> None:
    assert resolve(7, patience, 1, 32) == (7, patience)


def test_a_small_tables_windows_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """70 rows, of which 44 windows train: one update an epoch."""
    met: list[FitSettings] = []

    def fit(network: Network, settings: FitSettings, **functions: Any) -> History:
        met.append(settings)
        return loop.fit(network, settings=replace(settings, epochs=1), **functions)

    monkeypatch.setattr(train, "fit", fit)
    train.train_table(wave_frame(70), quick(epochs="auto"))
    assert [(settings.epochs, settings.patience) for settings in met] == [(2000, 500)]


def test_auto_in_a_file_and_a_number_on_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('data="d.csv"\nout="o"\ninput="a"\ntarget="b"\nepochs="auto"\npatience=4\n')
    _, _, settings = read_settings({"patience": "auto"}, config)
    assert (settings.epochs, settings.patience) == ("auto", "auto")
    _, _, settings = read_settings({"epochs": 9}, config)
    assert (settings.epochs, settings.patience) == (9, 4)


@pytest.mark.parametrize("name", ["epochs", "patience"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "automatic"])
def test_another_word_or_number_is_refused_with_both_that_are_possible(
    name: str, value: object
) -> None:
    flags = {"data": "d.csv", "out": "o", "input": "a", "target": "b", name: value}
    with pytest.raises(InputError, match=rf"--{name}: Input should be .* or 'auto', got"):
        read_settings(flags, None)


def test_the_defaults_are_auto() -> None:
    settings = TrainSettings(input=["a"], target=["b"])
    fit = settings.fit_settings(1600)
    assert (fit.epochs, fit.patience) == (100, 20)
