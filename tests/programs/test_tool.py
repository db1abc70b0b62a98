"""The tool sees what it is for: modules that are wrong in one way each, beside torch's own."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import unrolled.nn
from programs.compare import Difference, difference
from programs.declared import declared
from programs.draw import draw
from programs.findings import Finding, Tally, compare, smallest, try_all
from programs.interpret import run
from programs.pool import Pool
from programs.program import Program, Step
from programs.vocabulary import nested

Result = Any
Wrong = Callable[[Callable[..., Result], tuple[Any, ...]], Result]
"""What a wrong module does with torch's forward and with what it is called with."""

PROGRAMS = 300


def mutated(wrong: Wrong) -> SimpleNamespace:
    """torch's modules with something wrong about every call."""

    def make(cls: type[nn.Module]) -> type[nn.Module]:
        def forward(self: nn.Module, *given: Any) -> Result:
            return wrong(partial(cls.forward, self), given)

        return type(cls.__name__, (cls,), {"forward": forward})

    names = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]
    return SimpleNamespace(**{name: make(getattr(nn, name)) for name in names})


def on_output(change: Callable[[Tensor], Tensor]) -> Wrong:
    def wrong(forward: Callable[..., Result], given: tuple[Any, ...]) -> Result:
        result = forward(*given)
        if isinstance(result, tuple) and isinstance(result[0], Tensor):
            return (change(result[0]), *result[1:])
        return change(result) if isinstance(result, Tensor) else result

    return wrong


class SecondDerivativeTwice(torch.autograd.Function):
    """The identity, whose gradient is right and depends twice on what it depends on."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient + (gradient - gradient.detach())


class SavesItsOutput(torch.autograd.Function):
    """The identity, which keeps its result for the backward pass, so that it must not change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.clone()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (_,) = ctx.saved_tensors
        return gradient


class SeesNone(torch.autograd.Function):
    """Two results of one node: a hook on the one that is not used is called with None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        return x.clone(), y.clone()

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Any:
        return gradients


def initial_counted_twice(forward: Callable[..., Result], given: tuple[Any, ...]) -> Result:
    """The gradient to states that depend on something is wrong, the values are not."""
    states = [t for t in nested(given[1:]) if t.requires_grad and not t.is_leaf]
    more = sum(((t - t.detach()).sum() for t in states), start=torch.zeros(()))
    return on_output(lambda output: output + more)(forward, given)


def reads_copies(forward: Callable[..., Result], given: tuple[Any, ...]) -> Result:
    """What is changed in place afterwards goes unnoticed."""
    return forward(*copied(given))


def copied(value: Any) -> Any:
    if isinstance(value, tuple) and not isinstance(value, PackedSequence):
        return tuple(map(copied, value))
    return value.clone() if isinstance(value, Tensor) else value


def makes_inputs_require_gradients(
    forward: Callable[..., Result], given: tuple[Any, ...]
) -> Result:
    for tensor in nested(given):
        if tensor.is_leaf and not tensor.is_inference():
            tensor.requires_grad_()
    return forward(*given)


class ReachesBack:
    """Hangs on what it was called with before, too: zeros where torch's gradients are None."""

    def __init__(self) -> None:
        self.before: list[Tensor] = []

    def __call__(self, forward: Callable[..., Result], given: tuple[Any, ...]) -> Result:
        more = sum((0 * t.sum() for t in self.before), start=torch.zeros(()))
        self.before = [t for t in nested(given) if t.is_leaf and t.requires_grad]
        return on_output(lambda output: output + more)(forward, given)


def one_node(forward: Callable[..., Result], given: tuple[Any, ...]) -> Result:
    result = forward(*given)
    match result:
        case [Tensor() as output, Tensor() as last] if output.requires_grad:
            return SeesNone.apply(output, last)
    return result


def draws_random_numbers(forward: Callable[..., Result], given: tuple[Any, ...]) -> Result:
    result = forward(*given)
    torch.rand(1)
    return result


MUTANTS: dict[str, tuple[str, Wrong]] = {
    "a value": ("value", on_output(lambda y: y * (1 + 1e-8))),
    "a gradient": ("value", on_output(lambda y: y + 1e-6 * (y - y.detach()))),
    "a gradient along a dependency": ("value", initial_counted_twice),
    "a second derivative": ("value", on_output(SecondDerivativeTwice.apply)),
    "NaN": ("value", on_output(lambda y: torch.where(y > 0.5, torch.nan, y))),
    "an output that is saved": ("ours raised", on_output(SavesItsOutput.apply)),
    "an output that is a view": (
        "ours raised",
        on_output(lambda y: torch.stack([y, y]).unbind(0)[0]),
    ),
    "a hook called with None": ("ours raised", one_node),
    "an input that is not saved": ("theirs raised", reads_copies),
    "requires_grad": ("flags", makes_inputs_require_gradients),
    "a gradient that is not wanted": ("missing", ReachesBack()),
    "random numbers": ("value", draws_random_numbers),
}


def test_torchs_modules_are_as_torchs() -> None:
    """Nothing in a program depends on what was before."""
    assert not list(try_all(range(PROGRAMS), Tally(), ours=nn))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_is_wrong_is_found(mutant: str) -> None:
    kind, wrong = MUTANTS[mutant]
    found = try_all(range(10 * PROGRAMS), Tally(), ours=mutated(wrong))
    assert any(finding.difference.kind == kind for finding in found)


def test_a_program_is_made_small() -> None:
    ours = mutated(MUTANTS["a value"][1])
    finding = next(iter(try_all(range(PROGRAMS), Tally(), ours=ours)))
    small, difference = smallest(finding.program, finding.difference, ours)
    assert difference.kind == "value"
    assert len(small.steps) <= 5
    assert compare(small, ours)[0] is not None


def test_an_exception_is_laid_at_its_step() -> None:
    program = Program(0, (Step("x1 = 1"), Step("with torch.no_grad():\n    x2 = 1 / 0")))
    found, raised = compare(program)
    assert found is None
    assert raised is not None
    assert (raised.step, raised.type) == (1, "ZeroDivisionError")


HOOKED = "with saved_tensors_hooks(lambda t: t.detach(), transposed):\n    "
MEANT: dict[str, list[tuple[str, str]]] = {
    "a write that autograd does not see": [
        ("m1 = nn.GRU(4, 4, dtype=torch.float64)", ""),
        ("y1, h1 = m1(x1, x2)", ""),
        ("x2.detach().numpy().fill(0.25)", "change:numpy"),
        ("g1 = grad(y1.sum(), [*m1.parameters()])", ""),
    ],
    "a step under hooks on saved tensors": [
        ("m1 = nn.RNN(4, 4, dtype=torch.float64)", ""),
        (f"{HOOKED}y1, h1 = m1(x1, x2)", "context:saved_transposed"),
        ("with torch.no_grad():\n    m1.weight_hh_l0.mul_(0.9)", "weights:no_grad_mul_"),
        ("g1 = grad(y1.sum(), [*m1.parameters()], create_graph=True)", ""),
    ],
    "a checkpoint that reads its input in another layout": [
        ("m1 = nn.RNN(4, 4, dtype=torch.float64)", ""),
        ("y1, h1 = m1(x1, x2)", ""),
        (
            f"{HOOKED}y2, h2 = checkpoint(m1, y1, use_reentrant=False)",
            "context:saved_transposed",
        ),
        ("g1 = grad(y2.square().sum(), [*m1.parameters()])", ""),
    ],
    "a weight parametrized after a step under hooks on saved tensors": [
        ("m1 = nn.GRU(4, 4, dtype=torch.float64)", ""),
        ("x3 = x1.clone().requires_grad_()", ""),
        (f"{HOOKED}y1, h1 = m1(x3)", "context:saved_transposed"),
        ('register_parametrization(m1, "weight_ih_l0", Squashed())', "modules:squashed"),
        ("g1 = grad(y1.sum(), [x3], create_graph=True)", ""),
        ("g1_2 = grad(squared(g1), [*m1.parameters()], allow_unused=True)", ""),
    ],
    "a checkpoint that is run again on a weight given anew": [
        ("m1 = nn.RNN(4, 4, dtype=torch.float64)", ""),
        ("m1.requires_grad_(False)", ""),
        ("x3 = x1[:1].requires_grad_()", ""),
        ("y1, h1 = checkpoint(m1, x3, use_reentrant=False)", ""),
        ("m1.weight_hh_l0 = torch.nn.Parameter(m1.weight_hh_l0.detach())", ""),
        ("g1 = grad(y1.square().sum(), [x3])", ""),
    ],
    "a hook on a batch-first output that is then changed": [
        ("m1 = nn.LSTM(4, 4, batch_first=True, dtype=torch.float64)", ""),
        ("y1, h1 = m1(x1)", ""),
        ("y1.register_hook(lambda gradient: gradient * 2)", ""),
        ("y1.mul_(0.5)", "change:mul_"),
        ("g1 = grad(y1.square().sum(), [*m1.parameters()])", ""),
    ],
}


@pytest.mark.parametrize("meant", MEANT)
def test_what_is_meant_hides_nothing_else(meant: str) -> None:
    begin = ("x1, x2 = [torch.randn(n, 2, 4, dtype=torch.float64) for n in (2, 1)]", "")
    steps = tuple(Step(source, (feature,)) for source, feature in [begin, *MEANT[meant]])
    program = Program(0, steps)
    assert difference(run(program, unrolled.nn), run(program, nn), program) is not None
    assert compare(program) == (None, None)
    found, _ = compare(program, mutated(MUTANTS["a gradient"][1]))
    assert found is not None


def test_of_two_faults_either_may_be_named() -> None:
    """torch's module meets the graph that is gone, and ours the state that was changed."""
    sources = [
        ("m1 = nn.GRU(2, 2, dtype=torch.float64)", ""),
        ("x1, x2 = [torch.randn(1, 1, 2, dtype=torch.float64).requires_grad_() for _ in 'ab']", ""),
        ("x3 = x1 * 1", ""),
        ("y1, h1 = m1(x1, x3)", ""),
        ("y2, h2 = m1(x2)", ""),
        ("g1 = grad(h2.sum(), [x2], create_graph=True)", ""),
        ("g1_2 = grad(g1[0].sum(), [x2])", ""),
        ("x3 += 0.1", "change:add_"),
        ("g2 = grad(y1.square().sum() + h2.tanh().sum(), [x1, x2])", ""),
    ]
    program = Program(0, tuple(Step(source, (feature,)) for source, feature in sources))
    found = difference(run(program, unrolled.nn), run(program, nn), program)
    assert found is not None
    assert found.kind == "wording"
    assert declared(found, program)
    other = replace(found, detail=found.detail.partition(" | ")[0] + " | theirs: RuntimeError: no")
    assert not declared(other, program)


@pytest.mark.parametrize("hook", ["y1.retain_grad()", "y1.register_hook(x1.append)"])
def test_what_a_hook_keeps_of_many_gradients_at_once_is_passed_over(hook: str) -> None:
    steps = [
        "x1 = []",
        "y1 = torch.zeros(2, 3, requires_grad=True).tanh()",
        hook,
        "g1 = grad(y1.tanh(), [y1], grad_outputs=torch.ones(4, 2, 3), is_grads_batched=True)",
    ]
    assert compare(Program(0, tuple(map(Step, steps)))) == (None, None)


def test_a_comparison_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("this can't be compared")

    monkeypatch.setattr("programs.findings.compare", fail)
    found = list(try_all(range(2), Tally(), Counter()))
    assert [finding.seed for finding in found] == [0, 1]
    assert "this can't be compared" in found[0].difference.detail


def test_a_script_runs() -> None:
    source = draw(3).script("m1")
    compile(source, "script", "exec")


WORKER = """
import json, os, signal, sys
told = {TOLD}
for line in sys.stdin:
    begin, end = map(int, line.split())
    for seed in range(begin, end):
        print(json.dumps({"seed": seed}), flush=True)
        if seed == 7:
            if told:
                print(json.dumps({"finding": told}), flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
    tally = {"programs": end - begin, "seconds": 0.0}
    tally |= dict.fromkeys(["raised", "features", "differences"], {})
    print(json.dumps({"tally": tally}), flush=True)
"""


def pool_of_workers_that_die(told: Finding | None = None) -> Pool:
    """What came of 250 seeds where a worker dies at seed 7, after it has told of this."""
    worker = WORKER.replace("{TOLD}", repr(told and told.as_json()))
    pool = Pool(0, 250, [sys.executable, "-c", worker])
    pool.run(2)
    return pool


def test_a_crash_is_named_by_its_seed_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("programs.pool.IN_A_GROUP", 0)
    pool = pool_of_workers_that_die()
    assert [finding.seed for finding in pool.findings] == [7]
    assert pool.findings[0].difference == Difference("crash (SIGSEGV)", 0, "", "SIGSEGV")
    assert pool.tally.programs == 250


def test_a_crash_while_a_program_is_made_small_is_not_the_programs() -> None:
    found = Finding(7, "value", Difference("value", 0, "", ""), Program(7, (Step("x1 = 1"),)))
    pool = pool_of_workers_that_die(found)
    assert pool.findings == [found]
    assert pool.tally.differences == {"value": 1}
    assert pool.tally.programs == 250
