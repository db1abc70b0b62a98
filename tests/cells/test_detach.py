"""``detach`` in a cell's equations: the same value, under the same name, and no derivative."""

from __future__ import annotations

import pytest
import torch

import unrolled
from support_cells import UNITS
from unrolled import cells
from unrolled.cells import Cell, detach, linear, mask, sigmoid, tanh
from unrolled.cells.derive import differentiate
from unrolled.cells.detached import undetached
from unrolled.cells.options import described
from unrolled.cells.program import link
from unrolled.cells.program_step import link_step
from unrolled.cells.resting import at_rest
from unrolled.cells.roles import memories, recurrent_parts
from unrolled.cells.shares import kept_share
from unrolled.cells.stored import from_json, to_json
from unrolled.errors import InputError


class Plain(Cell):
    def step(self, x, h, c):
        gate = sigmoid(linear(x, h))
        c = gate * c + (1 - gate) * tanh(linear(x, h))
        return tanh(c), c


class Truncated(Cell):
    """The same, but that no gradient goes through what the gate and the candidate read of h."""

    def step(self, x, h, c):
        gate = sigmoid(linear(x, detach(h)))
        c = gate * c + (1 - gate) * tanh(linear(x, detach(h)))
        return tanh(c), c


FORWARD = 5
"""Where a program has the equations that keep nothing."""

PLAIN, TRUNCATED = described(Plain), described(Truncated)


def test_what_is_detached_has_the_weights_of_what_it_is():
    assert TRUNCATED.weights == PLAIN.weights


def test_a_variable_that_holds_it_names_what_it_is_the_value_of():
    class Named(Cell):
        def step(self, x, h):
            old = detach(h)
            kept = detach(sigmoid(linear(x, old)) * h)
            return tanh(linear(kept))

    description = described(Named)
    assert description.named == ("kept",)
    assert [weight.name for weight in description.weights] == [
        "weight_ih", "weight_hh", "bias_ih", "weight_kept", "bias_kept",
    ]  # fmt: skip
    assert "h[t] = tanh(weight_kept[h]·detach(kept) + bias_kept[h])" in str(Named())


def test_what_is_detached_twice_is_one_line():
    class Twice(Cell):
        def step(self, x, h):
            return tanh(linear(x, detach(h))) + detach(detach(h)) * h.detach() * torch.detach(h)

    lines = [line for line in described(Twice).lines if getattr(line, "operation", "") == "detach"]
    assert len(lines) == 1


def test_a_number_is_that_number():
    assert detach(2.5) == 2.5


def test_the_equations_say_where():
    assert str(Truncated()).splitlines()[0] == (
        "gate = σ(weight_ih[gate]·x[t] + weight_hh[gate]·detach(h[t−1]) + bias_ih[gate])"
    )


def test_an_expression_that_is_detached_and_read_often_is_written_once():
    class Deep(Cell):
        def step(self, x, h):
            for _ in range(40):
                h = detach(h * 0.5) * detach(h * 0.5) + linear(x)
            return h

    assert len(str(Deep())) < 10_000


def test_nothing_is_multiplied_back_through_it():
    backward = differentiate(TRUNCATED)
    assert "h" not in backward.by
    assert all(name not in str(backward.lines) for name in ("weight_hh", "detach"))
    assert "h" in differentiate(PLAIN).by


def test_it_is_no_instruction():
    assert link_step(TRUNCATED, UNITS).handed == link_step(PLAIN, UNITS).handed
    truncated, plain = (link(cell, UNITS, draws=False).handed for cell in (TRUNCATED, PLAIN))
    assert truncated[FORWARD] == plain[FORWARD]


def test_outside_of_training_it_is_what_it_was_before():
    resting = at_rest(TRUNCATED)
    assert (resting.lines, resting.next) == (at_rest(undetached(TRUNCATED)).lines, PLAIN.next)


def test_of_random_numbers_a_vector_is_left_outside_of_training():
    class Drawing(Cell):
        def step(self, x, h):
            drawn = mask(0.5)
            return tanh(linear(x, h) + linear(detach(drawn)))

    module = unrolled.Recurrent(Drawing, 3, 4).eval()
    x, stream = torch.randn(5, 3), unrolled.Stream(module)
    stepped = [torch.from_numpy(stream.step(row.numpy())) for row in x]
    torch.testing.assert_close(torch.stack(stepped), module(x)[0].detach())


def test_gates_and_recurrent_matrices_are_found_as_without_it():
    assert [m.forget[0].of.name for m in memories(TRUNCATED)] == [
        m.forget[0].of.name for m in memories(undetached(TRUNCATED))
    ]
    assert [(p.weight, p.part) for p in recurrent_parts(TRUNCATED)] == [
        ("weight_hh", 0), ("weight_hh", 1),
    ]  # fmt: skip


def test_a_state_that_is_kept_detached_is_kept():
    class Held(Cell):
        def step(self, x, h):
            keep = sigmoid(linear(x))
            return keep * detach(h) + tanh(linear(x))

    share = kept_share(described(Held), "h")
    assert share is not None
    assert share.value == "keep"


def test_variational_dropout_drops_what_is_detached_too():
    description = cells.variational_dropout(TRUNCATED, h=0.5)
    module = unrolled.Recurrent(description, 3, 4)
    h, c = torch.randn(1, 2, 4, requires_grad=True), torch.randn(1, 2, 4)
    x = torch.zeros(1, 2, 3)
    found = [module(x, (h, c))[0] for _ in range(9)]
    assert any(not torch.equal(one, found[0]) for one in found)
    assert (
        torch.autograd.grad(found[0].sum(), h, allow_unused=True, materialize_grads=True)[0]
        .eq(0)
        .all()
    )
    assert at_rest(description).weights == TRUNCATED.weights


def test_an_older_version_is_told_that_it_is_older():
    assert to_json(PLAIN)["format"] == 1
    stored = to_json(TRUNCATED)
    assert stored["format"] == 2
    assert from_json(stored) == TRUNCATED


def test_the_format_that_has_no_detach_does_not_read_one():
    with pytest.raises(InputError, match=r"lines\[0\].operation: .* was expected, got 'detach'"):
        from_json(to_json(TRUNCATED) | {"format": 1})


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_other_formats_are_refused(version):
    with pytest.raises(InputError, match="format"):
        from_json(to_json(TRUNCATED) | {"format": version})
