"""A sequence in pieces side by side comes to what the module comes to, whatever the module does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.cells import EALSTM, zoneout
from unrolled.deploy import in_time_plan, in_time_rows
from unrolled.deploy.in_time import InPieces, parallel_in_time
from unrolled.errors import InputError

STEPS = 500


def module(kind: str, **options: Any) -> Any:
    torch.manual_seed(3)
    if kind == "Recurrent":
        return unrolled.Recurrent(unrolled.cells.IndRNN, 3, 5, **options).eval()
    return getattr(unrolled, kind)(3, 5, **options).eval()


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def listed(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)


def check(found: tuple[Tensor, Any, InPieces], expected: tuple[Tensor, Any]) -> None:
    """Whether the results are those of the module, of the same kinds, within 1e-6."""
    assert type(found[1]) is type(expected[1])
    for a, b in zip(
        [found[0], *listed(found[1])], [expected[0], *listed(expected[1])], strict=True
    ):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "Recurrent"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (STEPS, 1, 3)),
        ({}, (STEPS, 4, 3)),
        ({}, (STEPS, 3)),
        ({"batch_first": True}, (2, STEPS, 3)),
        ({"batch_first": True}, (STEPS, 3)),
        ({"num_layers": 2}, (STEPS, 2, 3)),
    ],
)
def test_it_is_what_the_module_gives(
    kind: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    model, sequence = module(kind, **options), data(*shape)
    found = parallel_in_time(model, sequence, pieces=6, warm_up=50)
    with torch.no_grad():
        check(found, model(sequence))
    assert not found[0].requires_grad


def test_the_first_state_is_the_callers() -> None:
    model, sequence = module("LSTM", proj_size=2), data(STEPS, 2, 3)
    hx = data(1, 2, 2), data(1, 2, 5)
    found = parallel_in_time(model, sequence, hx, pieces=4, warm_up=9)
    with torch.no_grad():
        check(found, model(sequence, hx))


def test_constants_stay_with_their_rows() -> None:
    torch.manual_seed(3)
    model = unrolled.Recurrent(EALSTM, 3, 5, static_size=2).eval()
    sequence, static = data(STEPS, 3, 3), data(3, 2)
    found = parallel_in_time(model, sequence, static=static, pieces=4, warm_up=60)
    with torch.no_grad():
        check(found, model(sequence, static=static))


def test_torchs_own_modules_are_taken() -> None:
    torch.manual_seed(3)
    model, sequence = torch.nn.GRU(3, 5).eval(), data(STEPS, 1, 3)
    found = parallel_in_time(model, sequence, pieces=4, warm_up=60)
    with torch.no_grad():
        check(found, model(sequence))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(("pieces", "warm_up"), [(1, 0), (2, 0), (7, 3), (STEPS, 0), (450, 50)])
def test_with_a_tolerance_of_0_every_bit_is_the_modules(
    kind: str, pieces: int, warm_up: int
) -> None:
    model, sequence = module(kind), data(STEPS, 2, 3)
    output, last, _ = parallel_in_time(model, sequence, pieces=pieces, warm_up=warm_up, tolerance=0)
    with torch.no_grad():
        expected, expected_last = model(sequence)
    assert torch.equal(output, expected)
    assert all(map(torch.equal, listed(last), listed(expected_last)))


def keeping() -> Any:
    """An LSTM that forgets nothing."""
    model = module("LSTM")
    with torch.no_grad():
        model.bias_ih_l0[5:10] = 30.0
        model.weight_ih_l0[5:10] = 0.0
        model.weight_hh_l0[5:10] = 0.0
    return model


def chaotic() -> Any:
    """A network whose states drift apart wherever they begin."""
    model = module("RNN")
    with torch.no_grad():
        model.weight_hh_l0.mul_(20.0)
    return model


@pytest.mark.parametrize("made", [keeping, chaotic])
@pytest.mark.parametrize("warm_up", [0, 20])
def test_what_does_not_forget_is_run_again(made: Any, warm_up: int) -> None:
    model, sequence = made(), data(STEPS, 1, 3)
    found = parallel_in_time(model, sequence, pieces=5, warm_up=warm_up)
    with torch.no_grad():
        check(found, model(sequence))
    assert found[2].repeated > 0


def test_a_switch_that_was_thrown_before_the_warm_up_is_found() -> None:
    """Only the first input sets the state; a state of zero would stay zero."""
    model: Any = unrolled.RNN(1, 1, bias=False).eval()
    with torch.no_grad():
        model.weight_ih_l0.fill_(1.0)
        model.weight_hh_l0.fill_(2.0)
    sequence = torch.zeros(STEPS, 1, 1)
    sequence[0] = 1.0
    output, _, how = parallel_in_time(model, sequence, pieces=10, warm_up=5)
    with torch.no_grad():
        assert torch.equal(output, model(sequence)[0])
    assert how.repeated == 9


def test_a_piece_that_forgets_late_is_run_again_up_to_there() -> None:
    model, sequence = keeping(), data(STEPS, 1, 3)
    with torch.no_grad():
        model.weight_ih_l0[5:10, 0] = -100.0
    sequence[:, 0, 0] = 0.0
    sequence[250, 0, 0] = 1.0  # all is forgotten here
    found = parallel_in_time(model, sequence, pieces=2, warm_up=100)
    with torch.no_grad():
        check(found, model(sequence))
    assert found[2].repeated <= 1


def test_what_is_not_a_number_is_so_from_there_on() -> None:
    model, sequence = module("GRU"), data(STEPS, 1, 3)
    sequence[200] = torch.nan
    found = parallel_in_time(model, sequence, pieces=5, warm_up=20)
    with torch.no_grad():
        check(found, model(sequence))
    assert found[0][200:].isnan().all()


def test_the_difference_that_is_left_is_told() -> None:
    model, sequence = module("LSTM"), data(STEPS, 1, 3)
    close = parallel_in_time(model, sequence, pieces=5, warm_up=60)[2]
    coarse = parallel_in_time(model, sequence, pieces=5, warm_up=3, tolerance=0.5)[2]
    assert close.difference <= 1e-6
    assert close.difference < coarse.difference <= 0.5


# --- the trial ------------------------------------------------------------------------------------


@pytest.fixture
def short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of sequences that are not worth one."""
    monkeypatch.setattr(in_time_plan, "SHORTEST", 1)
    monkeypatch.setattr(in_time_plan, "SOONEST", 0.0)
    monkeypatch.setattr(in_time_plan, "GAIN", 0.0)
    monkeypatch.setattr(in_time_plan, "SHARE", 0.5)


@pytest.mark.usefixtures("short_trials")
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_what_a_trial_chooses_comes_to_the_same(kind: str) -> None:
    model, sequence = module(kind), data(5000, 1, 3)
    found = parallel_in_time(model, sequence)
    with torch.no_grad():
        check(found, model(sequence))
    assert found[2].predicted is not None


@pytest.mark.parametrize(("made", "forgets"), [("GRU", True), (keeping, False), (chaotic, False)])
def test_a_trial_sees_whether_a_network_forgets(made: Any, forgets: bool) -> None:
    model = made() if callable(made) else module(made)
    found = in_time_rows.system(model, data(STEPS, 2, 3), None, {})
    with torch.no_grad():
        _, typical = found.run(found.input[:20], None)
        trial = in_time_plan._Trial(found, typical)
        assert (trial.run(200, 1e-6) is not None) == forgets


@pytest.mark.usefixtures("short_trials")
@pytest.mark.parametrize("made", [keeping, chaotic])
def test_what_does_not_forget_is_not_cut(made: Any) -> None:
    model, sequence = made(), data(3000, 1, 3)
    output, _, how = parallel_in_time(model, sequence)
    with torch.no_grad():
        assert torch.equal(output, model(sequence)[0])
    assert (how.pieces, how.repeated) == (1, 0)


def test_a_short_sequence_is_not_tried() -> None:
    model, sequence = module("LSTM"), data(40, 1, 3)
    how = parallel_in_time(model, sequence)[2]
    assert (how.pieces, how.predicted) == (1, None)


def test_as_many_pieces_as_pay() -> None:
    best = in_time_plan._best
    assert best(48_000, 1, 200, alone=1e-5, of_row=0.0).pieces > 50
    assert best(48_000, 1, 200, alone=1e-5, of_row=1e-6).pieces in range(4, 40)
    assert best(48_000, 1, 200, alone=1e-5, of_row=1e-5).pieces == 1
    assert best(48_000, 1, 30_000, alone=1e-5, of_row=0.0).pieces == 1


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pieces": 3}, "pieces alone"),
        ({"warm_up": 3}, "warm_up alone"),
        ({"pieces": 0, "warm_up": 3}, "Take fewer"),
        ({"pieces": 2, "warm_up": -1}, "Take fewer"),
        ({"pieces": 490, "warm_up": 11}, "Take fewer"),
        ({"tolerance": -1.0}, "at least 0"),
        ({"tolerance": float("nan")}, "at least 0"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parallel_in_time(module("GRU"), data(STEPS, 1, 3), **options)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (torch.nn.Linear(3, 5), "Linear"),
        (unrolled.LSTM(3, 5, bidirectional=True), "bidirectional"),
        (unrolled.LSTM(3, 5, num_layers=2, dropout=0.1).train(), "eval"),
        (unrolled.Recurrent(zoneout(unrolled.cells.LSTM(), hidden=0.1), 3, 5).train(), "eval"),
    ],
)
def test_modules_that_cannot_be_cut_are_refused(model: torch.nn.Module, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parallel_in_time(model, data(STEPS, 1, 3))


def test_inputs_that_cannot_be_cut_are_refused() -> None:
    packed = torch.nn.utils.rnn.pack_sequence([data(5, 3)])
    with pytest.raises(InputError, match=r"\[T, B, I\]"):
        parallel_in_time(module("GRU"), packed)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InputError, match="Detach"):
        parallel_in_time(module("GRU"), data(STEPS, 1, 3).requires_grad_())
