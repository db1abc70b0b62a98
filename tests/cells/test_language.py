"""What a step can say, what it can't, and in which words it is refused."""

from __future__ import annotations

import cProfile
import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from unrolled.cells import (
    Cell,
    CellError,
    PeepholeLSTM,
    linear,
    mask,
    mean,
    noise,
    sigmoid,
    softplus,
    tanh,
    weight,
    where,
)
from unrolled.cells.description import Part


def cell(step, **attributes):
    """A cell with this step, described now."""
    return type("Made", (Cell,), {"step": step, **attributes})()


def test_equations_are_read_as_they_are_written():
    class Leaky(Cell):
        def step(self, x, h):
            rate = sigmoid(weight("time_constant"))
            return (1 - rate) * h + rate * tanh(linear(x, h))

    assert str(Leaky()).splitlines() == [
        "rate = σ(time_constant)",
        "h[t] = (1 − rate) ⊙ h[t−1] + rate ⊙ "
        "tanh(weight_ih[h]·x[t] + weight_hh[h]·h[t−1] + bias_ih[h])",
    ]


def test_brackets_stand_where_they_are_needed():
    def nested(a, h):
        return -(a - (h - a) * 2) / (h / (a / h)) - (a + h) + (h + a) ** 2

    def step(self, x, h):
        a = linear(x, h)
        return nested(a, h)

    written = str(cell(step)).splitlines()[-1].partition(" = ")[2]
    h, a = 0.7, -1.3
    python = written.replace("h[t−1]", "h").replace("⊙", "*").replace("−", "-").replace("^", "**")
    assert eval(python) == pytest.approx(
        -(a - (h - a) * 2) / (h / (a / h)) - (a + h) + (h + a) ** 2
    )


def test_the_weights_of_one_thing_stand_in_one_matrix_in_the_order_of_the_equations():
    def step(self, x, h, c):
        first = sigmoid(linear(x) + linear(h))
        kept = first * h
        second = tanh(linear(kept, c))
        return first * second, second + c

    weights = {w.name: w for w in cell(step).description.weights}
    assert list(weights) == [
        "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_kept", "bias_kept", "weight_c",
    ]  # fmt: skip
    assert weights["weight_ih"].parts == (Part("first", "hidden"),)
    assert weights["weight_c"].parts == (Part("second", "hidden"),)


def test_a_sum_of_sums_is_one():
    def step(self, x, h):
        return tanh(linear(x) + 0.5 * h + linear(h))

    (found,) = cell(step).description.sums
    assert [product.of for product in found.products] == ["x", "h"]
    assert len(found.biases) == 2


def test_a_sum_that_two_read_stays():
    def step(self, x, h):
        read = linear(x)
        return tanh(read + linear(h)) * read

    assert len(cell(step).description.sums) == 2


def test_names_are_those_of_variables_and_states():
    def step(self, x, h, c):
        gate = sigmoid(linear(x, h))
        c = gate * c
        return gate * tanh(c), c

    description = cell(step).description
    assert description.named == ("gate",)
    assert description.next == ("h_new", "c_new")


def test_numbers_alone_are_computed():
    def step(self, x, h):
        scale = softplus(0.0) + abs(-2) + where(1.0 > 0, 1, 2)
        return tanh(linear(x, h)) * scale

    assert f"{math.log(2) + 3:g}" in str(cell(step))


@pytest.mark.parametrize("library", [torch, np])
def test_functions_of_other_libraries_are_ours(library):
    def step(self, x, h):
        return library.tanh(linear(x, h)) * np.float64(2.0) + library.abs(h)

    assert str(cell(step)) == (
        "h[t] = tanh(weight_ih[h]·x[t] + weight_hh[h]·h[t−1] + bias_ih[h]) ⊙ 2 + |h[t−1]|"
    )


@dataclass(frozen=True)
class Gain(Cell):
    gain: float = 2.0

    def step(self, x, h):
        if self.gain == 1:
            return tanh(linear(x, h))
        return self.gain * tanh(linear(x, h))


def test_settings_are_a_cells_own():
    assert "2 ⊙" in str(Gain())
    assert "⊙" not in str(Gain(1.0))
    assert "0.5 ⊙" in str(Gain(0.5))


def test_settings_may_change():
    class Loose(Cell):
        gain = 2.0

        def step(self, x, h):
            return self.gain * tanh(linear(x, h))

    loose = Loose()
    loose.gain = 3.0
    assert "3 ⊙" in str(loose)


def test_a_cell_may_build_on_another():
    class Squared(PeepholeLSTM):
        def step(self, x, hidden, cell):
            hidden, cell = super().step(x, hidden, cell)
            return hidden * abs(hidden), cell

    description = Squared().description
    assert description.named == ("input", "forget", "candidate", "output", "hidden_new")
    assert description.weights == PeepholeLSTM().description.weights


def test_a_profiler_may_watch():
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        description = cell(lambda self, x, h: tanh(linear(x, h))).description
    finally:
        profiler.disable()
    assert description.next == ("h_new",)


def test_a_long_sum_is_no_deep_one():
    def step(self, x, h):
        return tanh(sum([0.001 * h for _ in range(3000)], start=linear(x)) + linear(h))

    description = cell(step).description
    assert len(description.sums) == 1
    assert "tanh" in str(cell(step))


def test_a_setting_without_a_value_is_asked_for_when_there_is_one():
    @dataclass(frozen=True)
    class Needs(Cell):
        rate: float

        def step(self, x, h):
            return tanh(linear(x, h)) * self.rate

    assert "3" in str(Needs(3.0))


def test_a_function_that_is_defined_later_is_found_when_the_cell_is_used():
    class Early(Cell):
        def step(self, x, h):
            return later(linear(x, h))

    later = tanh
    assert "tanh" in str(Early())


def stays(self, x, h):
    return h


def decides(self, x, h):
    a = linear(x, h)
    return a if a > 0 else h


def takes_the_greater(self, x, h):
    return max(linear(x, h), h)


def calls_math(self, x, h):
    return math.tanh(linear(x, h))


def calls_what_we_lack(self, x, h):
    return torch.cos(linear(x, h))


def calls_a_method_we_lack(self, x, h):
    return linear(x, h).cumsum()


def adds_what_is_wide(self, x, h):
    return x + tanh(h)


def adds_a_tensor(self, x, h):
    return linear(x, h) * [1.0]


def leaves_a_sum(self, x, h):
    linear(x)
    return tanh(linear(x, h))


def leaves_a_weight(self, x, h):
    gain, left = weight(), weight()
    return tanh(linear(x, h)) * gain if left is not None else h


def names_two_alike(self, x, h):
    return tanh(linear(x, h)) * weight("p") * weight("p")


def names_no_weight(self, x, h):
    return tanh(linear(x, h)) * weight()


def names_nothing_to_multiply(self, x, h):
    return tanh(linear(x, 2 * h))


def multiplies_one_number(self, x, h):
    return tanh(linear(x, mean(h)))


def returns_one_of_two(self, x, h, c):
    return tanh(linear(x, h)) + c


def returns_a_number(self, x, h):
    return 1.0


def returns_another_size(self, x, h):
    return linear(x, h, size="wide")


def never_reads(self, x, h, c):
    return tanh(linear(x, h)), tanh(h)


def takes_a_default(self, x, h=None):
    return tanh(linear(x, h))


def takes_no_state(self, x):
    return tanh(linear(x))


def indexes(self, x, h):
    return linear(x, h)[0]


def raises_to_a_value(self, x, h):
    return h ** linear(x)


def holds_a_parameter(self, x, h):
    return tanh(linear(x, h)) * torch.nn.Parameter(torch.tensor(2.0))


def draws_too_often(self, x, h):
    return tanh(linear(x, h)) * mask(0.5, each="row")


def draws_a_negative(self, x, h):
    return tanh(linear(x, h)) + noise(-1.0)


REFUSED = [
    (stays, "the state h is never written"),
    (decides, r"Write where\(condition, a, b\)"),
    (takes_the_greater, r"maximum\(a, b\)"),
    (calls_math, "Use the functions of unrolled.cells"),
    (calls_what_we_lack, "can't say torch.cos. It knows absolute"),
    (calls_a_method_we_lack, "has no cumsum. It knows absolute"),
    (adds_what_is_wide, "x has input_size numbers, and .* hidden_size"),
    (adds_a_tensor, "takes values of the step and numbers, got list"),
    (leaves_a_sum, "this linear gives is never used"),
    (leaves_a_weight, "left is never used"),
    (names_two_alike, "two weights named p"),
    (names_no_weight, r'assign it to a variable, or say weight\("name"\)'),
    (names_nothing_to_multiply, "assign it to a variable first"),
    (multiplies_one_number, r"one number a row\. Multiply it by a weight"),
    (returns_one_of_two, r"a value for each of its states \(h, c\), got 1"),
    (returns_a_number, "should return values of this step for h, got 1.0"),
    (returns_another_size, 'sizes = {"h": "wide"}'),
    (never_reads, "the state c is never read"),
    (takes_a_default, "got h=None"),
    (takes_no_state, "the input and at least one state"),
    (indexes, "can't take it apart"),
    (raises_to_a_value, "exponent of a power should be a number"),
    (holds_a_parameter, r"can't hold a tensor that learns\. Write weight\(\)"),
    (draws_too_often, 'each should be "step" or "sequence"'),
    (draws_a_negative, "deviation should be a number of at least 0"),
]


@pytest.mark.parametrize(("step", "words"), REFUSED, ids=[step.__name__ for step, _ in REFUSED])
def test_what_it_cant_say_is_refused_at_its_line_when_the_class_is_made(step, words):
    with pytest.raises(CellError, match=words) as caught:
        cell(step)
    first = step.__code__.co_firstlineno
    where = str(caught.value).partition(":")[0]
    name, _, line = where.partition(", line ")
    assert name == "test_language.py"
    assert first <= int(line) <= first + 5


def test_weights_are_made_in_a_step_alone():
    with pytest.raises(CellError, match="within a cell's step"):
        weight("p")


def test_a_value_belongs_to_its_step():
    kept = []

    def keeps(self, x, h):
        kept.append(h)
        return tanh(linear(x, h))

    def uses(self, x, h):
        return tanh(linear(x, h)) + kept[0]

    cell(keeps)
    with pytest.raises(CellError, match="belongs to another step"):
        cell(uses)


def test_sizes_name_states_and_constants_alone():
    with pytest.raises(CellError, match="sizes names y, which is no state"):
        cell(lambda self, x, h: tanh(linear(x, h)), sizes={"y": "wide"})


def test_a_cell_without_a_step_says_so():
    class Empty(Cell):
        pass

    with pytest.raises(CellError, match=r"Empty has no step\(self, x, h\)"):
        str(Empty())
