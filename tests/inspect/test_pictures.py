"""The pictures of a scene: the numbers on them are the trace's, and nothing is drawn of nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.patches import Rectangle

import unrolled
from unrolled.errors import InputError
from unrolled.inspect.drawing import DRAWINGS
from unrolled.inspect.memory_picture import memory_picture
from unrolled.inspect.network_picture import network_picture, stack_picture
from unrolled.inspect.painter import cell_picture, number
from unrolled.inspect.pictures import save_pictures
from unrolled.inspect.scene import Scene, Series, scene
from unrolled.inspect.steps_picture import steps_picture, unit_order
from unrolled.inspect.view import View

T, B, H = 9, 2, 5
MODULES = {
    "LSTM": lambda **o: unrolled.LSTM(1, H, **o),
    "GRU": lambda **o: unrolled.GRU(1, H, **o),
    "RNN_TANH": lambda **o: unrolled.RNN(1, H, **o),
    "RNN_RELU": lambda **o: unrolled.RNN(1, H, nonlinearity="relu", **o),
}
each_mode = pytest.mark.parametrize("mode", MODULES)


def recorded(mode="LSTM", **options):
    """A trace of a module with one input, and the scene of its row 1."""
    torch.manual_seed(0)
    module = MODULES[mode](**options)
    x = torch.randn(B, T, 1) if module.batch_first else torch.randn(T, B, 1)
    trace = unrolled.record(module, x)
    return trace, scene(trace, row=1, diagnosis=unrolled.diagnose(module, x))


def view(made, **wanted):
    return View.of(made.recorded, **{"step": None, "unit": None, "layer": -1, **wanted})


def texts(figure):
    """All that is written in a figure."""
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def cell_of(made, **wanted):
    seen = view(made, **wanted)
    return cell_picture(DRAWINGS[made.recorded.textbook], seen.values(), seen.heading)


def shown(figure, symbol):
    """The number beside a symbol, as it is written."""
    (found,) = {text for text in texts(figure) if text.split(" ")[0] == symbol}
    return float(found.split(" ")[1].replace("−", "-"))


GATES = {
    "LSTM": {"f": "forget", "i": "input", "g": "candidate", "o": "output", "cₜ": "cell"},
    "GRU": {"r": "reset", "z": "update", "n": "candidate"},
    "RNN_TANH": {},
    "RNN_RELU": {},
}


@each_mode
def test_the_cell_shows_the_values_of_its_unit_at_the_step(mode):
    trace, made = recorded(mode)
    figure = cell_of(made, step=4, unit=2)
    for symbol, gate in {**GATES[mode], "hₜ": "hidden"}.items():
        expected = float(trace.get(gate)[4, 1, 2])
        assert shown(figure, symbol) == pytest.approx(expected, abs=6e-4)
    assert shown(figure, "hₜ₋₁") == pytest.approx(float(trace.get("hidden")[3, 1, 2]), abs=6e-4)
    assert shown(figure, "xₜ") == pytest.approx(float(trace.given[""].input[4, 1, 0]), abs=6e-4)


@each_mode
def test_without_a_unit_the_values_are_the_means_over_the_units(mode):
    trace, made = recorded(mode)
    figure = cell_of(made, step=4)
    assert shown(figure, "hₜ") == pytest.approx(float(trace.get("hidden")[4, 1].mean()), abs=6e-4)


def test_what_is_kept_and_what_is_written_add_up_to_the_cell():
    figure = cell_of(recorded()[1], step=4, unit=2)
    parts = shown(figure, "f⊙cₜ₋₁") + shown(figure, "i⊙g")
    assert parts == pytest.approx(shown(figure, "cₜ"), abs=2e-3)


@pytest.mark.parametrize(("value", "share"), [(0.25, 0.25), (-0.5, -0.5), (3.0, 1.0)])
def test_a_gate_is_filled_up_to_its_value(value, share):
    """A signed gate from its middle, by half of its height at most."""
    drawing = DRAWINGS["RNN_RELU"]
    with_value, without = (cell_picture(drawing, values, "") for values in ({"hidden": value}, {}))
    (fill,) = [
        patch
        for patch in with_value.axes[0].patches
        if (alpha := patch.get_alpha()) is not None and alpha < 1
    ]
    assert isinstance(fill, Rectangle)
    assert fill.get_y() == drawing.gates[0].center[1]
    assert fill.get_height() == pytest.approx(-share * 17)
    assert len(without.axes[0].patches) == len(with_value.axes[0].patches) - 1


def test_of_several_inputs_the_symbol_alone_is_shown():
    torch.manual_seed(0)
    made = scene(unrolled.record(unrolled.GRU(3, H), torch.randn(T, B, 3)))
    assert "xₜ" in texts(cell_of(made))


def test_an_upper_layer_reads_no_single_number():
    assert "xₜ" in texts(cell_of(recorded(num_layers=2)[1], layer=1))


@each_mode
def test_nothing_that_is_written_lies_on_something_else_or_outside(mode):
    _, made = recorded(mode)
    large = dict.fromkeys(view(made).values(), -12.345)
    gates = {gate.role: 0.789 for gate in DRAWINGS[mode].gates}
    figure = cell_picture(DRAWINGS[mode], {**large, **gates}, "title")
    canvas = FigureCanvasAgg(figure)
    boxes = [t.get_window_extent(canvas.get_renderer()) for t in figure.axes[0].texts]
    for place, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])


def test_the_default_step_is_the_one_at_which_most_is_written():
    trace, made = recorded()
    written = (trace.get("input") * trace.get("candidate"))[:, 1].abs().mean(-1)
    assert view(made).step == int(written.argmax())


def test_the_heat_maps_have_every_gate_and_state_of_every_unit():
    trace, made = recorded()
    layer = made.recorded.layers[0]
    figure = steps_picture(view(made, step=3), "title")
    maps = {ax.get_ylabel().split("\n")[0]: ax.images[0] for ax in figure.axes if ax.images}
    assert list(maps) == ["input", "forget", "candidate", "output", "cell", "hidden"]
    for name, image in maps.items():
        expected = trace.get(name)[:, 1].numpy()[:, unit_order(layer)].T
        np.testing.assert_array_equal(image.get_array(), expected)


def test_units_are_drawn_by_falling_time_constant():
    layer = recorded()[1].recorded.layers[0]
    assert (np.diff(layer.time_constants[unit_order(layer)]) <= 0).all()


def test_the_lines_are_the_series_and_the_step_is_marked():
    _, made = recorded()
    figure = steps_picture(view(made, step=3), "title")
    line, mark = figure.axes[0].lines
    np.testing.assert_array_equal(np.asarray(line.get_ydata()), made.recorded.series[0].values)
    assert np.asarray(mark.get_xdata()).tolist() == [3, 3]


NAMED = ["_hidden", "_", "$a$", "_nolegend_", "plain"]


@pytest.mark.parametrize("kind", ["input", "target"])
def test_every_series_has_its_legend_whatever_its_name(kind):
    _, made = recorded()
    values = made.recorded.series[0].values
    for count in range(1, len(NAMED) + 1):
        series = tuple(Series(name, kind, values) for name in NAMED[:count])
        figure = steps_picture(
            view(replace(made, recorded=replace(made.recorded, series=series))), "t"
        )
        FigureCanvasAgg(figure).draw()
        legend: Any = figure.axes[0].get_legend()
        assert [text.get_text() for text in legend.get_texts()] == [
            f"{name} ({kind})" for name in NAMED[:count]
        ]
        drawn = [handle.get_color() for handle in legend.legend_handles]
        assert drawn == [line.get_color() for line in figure.axes[0].lines[:count]]


def test_the_unrolled_network_hands_its_states_on():
    trace, made = recorded()
    written = texts(network_picture(view(made, step=4, unit=2)))
    for step in range(2, 7):
        assert f"t = {step}" in written
        assert f"h {number(float(trace.get('hidden')[step, 1, 2]))}" in written
        assert number(float(trace.get("cell")[step, 1, 2])) in written
        assert f"x {number(float(trace.given[''].input[step, 1, 0]))}" in written


def test_in_the_reverse_direction_the_states_come_from_later_steps():
    trace, made = recorded("GRU", bidirectional=True)
    written = texts(network_picture(view(made, step=T - 1, unit=2, layer=1)))
    hidden = trace.get("hidden", direction="reverse")[:, 1, 2]
    assert f"t = {T - 1}" in written
    assert written.count(number(float(hidden[T - 1]))) == 1
    assert number(0.0) in written  # what the last step began with


SHAPES = {
    "plain": ({}, ["input [T, B, I] = [9, 2, 1]", "h₀ [L, B, H] = [1, 2, 5]"]),
    "batch first": ({"batch_first": True}, ["output [B, T, H] = [2, 9, 5]"]),
    "two ways": (
        {"bidirectional": True, "num_layers": 2},
        ["output [T, B, D·H] = [9, 2, 10]", "c₀ [L·D, B, H] = [4, 2, 5]"],
    ),
    "projected": (
        {"proj_size": 3},
        ["h₀ [L, B, P] = [1, 2, 3]", "c₀ [L, B, H] = [1, 2, 5]", "weight_hr [P, H] = [3, 5]"],
    ),
}


@pytest.mark.parametrize(("options", "expected"), SHAPES.values(), ids=SHAPES)
def test_the_stack_has_the_shapes_in_letters_and_numbers(options, expected):
    written = texts(stack_picture(view(recorded(**options)[1])))
    assert set(expected) <= set(written)


def test_the_shapes_of_the_weights_are_the_modules_own():
    module = unrolled.LSTM(3, H, num_layers=2, bidirectional=True, proj_size=2)
    made = scene(unrolled.record(module, torch.randn(T, B, 3)))
    written = texts(stack_picture(view(made)))
    found = {re.sub(r" \[.*\] = ", " ", text) for text in written if text.startswith("weight")}
    assert found == {
        f"{name.partition('_l')[0]} {list(weight.shape)}"
        for name, weight in module.named_parameters()
        if name.startswith("weight")
    }


def test_of_a_deep_stack_the_middle_is_left_out():
    written = texts(stack_picture(view(recorded("GRU", num_layers=9)[1])))
    assert [text for text in written if text.startswith("layer") or text == "⋮"] == [
        "layer 0",
        "layer 1",
        "layer 2",
        "layer 3",
        "⋮",
        "layer 8",
    ]


def test_memory_is_drawn_as_it_was_measured():
    diagnosis = recorded()[1].diagnosis
    gradient, spectrum, constants = memory_picture(diagnosis, "title").axes
    (curve,) = [line for line in gradient.lines if line.get_label() == "gradient by lag"]
    by_lag = diagnosis.gradient_by_lag.double().numpy()
    np.testing.assert_allclose(np.asarray(curve.get_ydata()), by_lag / by_lag[0])
    (horizon,) = [line for line in gradient.lines if "horizon" in str(line.get_label())]
    assert np.asarray(horizon.get_xdata()).tolist() == [diagnosis.horizon] * 2
    exponents = np.asarray(spectrum.lines[1].get_ydata())
    np.testing.assert_allclose(exponents, diagnosis.lyapunov.exponents)
    assert constants.get_xscale() == "log"


def test_what_was_not_measured_has_no_panel():
    assert len(memory_picture(recorded(bidirectional=True)[1].diagnosis, "").axes) == 2
    assert len(memory_picture(recorded("RNN_TANH")[1].diagnosis, "").axes) == 2


NAMES = ["cell", "steps", "network", "stack", "memory"]


@each_mode
def test_each_picture_is_written_in_each_format(mode, tmp_path):
    paths = save_pictures(recorded(mode)[1], tmp_path / "new", formats=("png", "svg"))
    assert [path.name for path in paths] == [f"{n}.{k}" for n in NAMES for k in ("png", "svg")]
    assert imread(tmp_path / "new" / "cell.png").shape[1] > 800
    assert "<svg" in (tmp_path / "new" / "cell.svg").read_text()


def test_two_runs_give_the_same_bytes(tmp_path):
    first, second = (
        [path.read_bytes() for path in save_pictures(recorded()[1], tmp_path / name)]
        for name in ("a", "b")
    )
    assert first == second


def test_what_the_scene_lacks_gives_no_picture(tmp_path):
    _, made = recorded()
    alone = Scene("", "", made.recorded, None), Scene("", "", None, made.diagnosis)
    assert [
        [path.stem for path in save_pictures(one, tmp_path, formats=["png"])] for one in alone
    ] == [NAMES[:-1], NAMES[-1:]]
    assert save_pictures(Scene("", "", None, None), tmp_path) == []


def test_a_title_may_hold_dollars_and_letters_that_the_font_lacks(tmp_path):
    _, made = recorded()
    assert save_pictures(Scene("$x_1 温度", "", made.recorded, None), tmp_path, formats=["png"])


def test_a_row_of_three_steps_and_one_unit_can_be_drawn(tmp_path):
    module, x = unrolled.GRU(1, 1), torch.randn(3, 1, 1)
    made = scene(unrolled.record(module, x), diagnosis=unrolled.diagnose(module, x))
    assert len(save_pictures(made, tmp_path)) == 10


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"step": 9}, "step: 0 to 8"),
        ({"unit": 5}, "unit: 0 to 4"),
        ({"layer": 1}, "layer: -1 to 0"),
        ({"formats": ["gif"]}, "formats: of png, svg, pdf"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_written(wanted, words, tmp_path):
    with pytest.raises(InputError, match=words):
        save_pictures(recorded()[1], tmp_path / "new", **wanted)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("value", "text"), [(-0.1234, "−0.123"), (12.3456, "12.346"), (123456.0, "1.23e+05")]
)
def test_a_number_has_three_decimals_as_long_as_it_is_small(value, text):
    assert number(value) == text
