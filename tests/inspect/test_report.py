"""The report as a file and as a scene; what it does in a browser is in tests/browser."""

import base64
import json
import re
from importlib.resources import files
from string import Formatter
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import unrolled
from support_cells import SHIPPED
from unrolled.cells import linear, sigmoid, tanh
from unrolled.errors import InputError
from unrolled.inspect.drawing import DRAWINGS, Gate, Value, Wire
from unrolled.inspect.letter_words import LETTER
from unrolled.inspect.pictures import save_pictures
from unrolled.inspect.report import SCRIPTS
from unrolled.inspect.scene import MOST_STEPS, Recorded, Series, scene
from unrolled.inspect.words import PAGE

T, B, HIDDEN = 12, 3, 5


def lstm_trace(steps=T, **options):
    return unrolled.record(unrolled.LSTM(1, HIDDEN, **options), torch.randn(steps, B, 1))


class Model(nn.Module):
    """A read-out on a recurrent module, as most models have it."""

    def __init__(self, **options):
        super().__init__()
        self.lstm = unrolled.LSTM(2, HIDDEN, **options)
        self.out = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.out(self.lstm(x)[0])


# --- The file.


def test_it_is_one_file_that_asks_for_nothing(tmp_path):
    path = tmp_path / "report.html"
    html = unrolled.report(lstm_trace(), path)
    assert path.read_text(encoding="utf-8") == html
    namespaces = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\s\"'`)]+", html)) <= namespaces
    assert not re.search(r"<(link|script|img|iframe)[^>]* (src|href)=\"(?!data:)", html)


def test_it_is_below_2_mb_for_64_units_and_200_steps():
    module, x = unrolled.LSTM(1, 64), torch.randn(200, 2, 1)
    html = unrolled.report(unrolled.record(module, x), diagnosis=unrolled.diagnose(module, x))
    assert len(html.encode()) < 2_000_000


def test_the_same_trace_gives_the_same_file():
    trace = lstm_trace()
    assert unrolled.report(trace) == unrolled.report(trace)


def test_the_file_holds_the_recorded_numbers_to_the_last_bit():
    trace = lstm_trace()
    html = unrolled.report(trace, row=2)
    (data,) = map(json.loads, re.findall(r'id="data">(.*?)</script>', html, re.DOTALL))
    packed = data["recorded"]["layers"][0]["values"]["forget"]
    found = np.frombuffer(base64.b64decode(packed["data"]), "<f4").reshape(T, HIDDEN)
    assert (found == trace.get("forget")[:, 2].numpy()).all()


# --- The words.


@pytest.mark.parametrize("table", [PAGE, LETTER], ids=["page", "letter"])
def test_both_languages_name_the_same_places(table):
    def places(text):
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    assert not [key for key, (en, zh) in table.items() if places(en) != places(zh)]


def page_text():
    page = files("unrolled.inspect").joinpath("page")
    return "".join(part.read_text(encoding="utf-8") for part in page.iterdir())


def test_every_phrase_that_the_page_asks_for_is_there():
    asked = re.findall(r'say\("(\w+)"|\{\{(\w+)\}\}', page_text())
    parts = {
        "lang",
        "title",
        "note",
        "style",
        "body",
        "script",
        "data",
        "letter",
        "style_hash",
        "script_hash",
    }
    assert {key for pair in asked for key in pair if key} - parts <= set(PAGE)


def test_the_letters_median_is_the_charts():
    """The mean of the two in the middle where the units are even in number."""
    module = unrolled.LSTM(1, 2)
    with torch.no_grad():
        for name in ("bias_ih_l0", "bias_hh_l0"):
            module.get_parameter(name).zero_()
        module.get_parameter("bias_ih_l0")[2:4] = torch.tensor([0.0, 2.0])
    found = unrolled.diagnose(module, torch.randn(9, 2, 1))
    by_biases = found.time_constants["bias"].double()
    assert f"median {by_biases.mean():.3g}." in str(found)
    assert by_biases.median() != by_biases.mean()


def test_no_phrase_is_left_over():
    names = ("report.py", "known.py", "letter.py")
    modules = [files("unrolled.inspect").joinpath(name) for name in names]
    source = "".join(module.read_text(encoding="utf-8") for module in modules)
    built = r"(LSTM|GRU|RNN|gate|order|colours|constants|layer|direction)_\w+"
    named = [key for key in PAGE if not re.fullmatch(built, key)]
    assert not [key for key in named if not re.search(rf"\b{key}\b", page_text() + source)]


def test_every_script_is_in_the_page():
    page = files("unrolled.inspect").joinpath("page")
    assert {part.name for part in page.iterdir() if part.name.endswith(".js")} == set(SCRIPTS)


@pytest.mark.parametrize(
    ("weights", "verdict"), [(0.1, "梯度消失"), (1.0, "梯度平稳"), (4.0, "梯度爆炸")]
)
def test_the_letter_is_in_chinese(weights, verdict):
    module = unrolled.RNN(1, HIDDEN, nonlinearity="relu")
    with torch.no_grad():
        module.get_parameter("weight_hh_l0").copy_(weights * torch.eye(HIDDEN))
        module.get_parameter("weight_ih_l0").fill_(1)
    html = unrolled.report(unrolled.diagnose(module, torch.rand(20, 2, 1)), language="zh")
    letter = html[html.index('<div class="letter">') : html.index("</main>")]
    assert verdict in letter
    words = re.findall(r"[A-Za-z_.]{5,}", re.sub(r"<[^>]*>", "", letter))
    assert set(words) <= {"torch.nn.utils.clip_grad_norm_"}


# --- The scene.


def recorded_in(trace, **options) -> Recorded:
    """The part of the scene that shows what was recorded."""
    found = scene(trace, **options).recorded
    assert found is not None
    return found


def test_a_long_row_is_shown_to_its_end():
    recorded = recorded_in(lstm_trace(steps=MOST_STEPS + 7))
    assert (recorded.first, recorded.steps) == (7, MOST_STEPS)


def test_a_short_row_is_shown_as_long_as_it_is():
    module = unrolled.GRU(1, HIDDEN)
    trace = unrolled.record(module, torch.randn(T, B, 1), lengths=[T, 4, 9])
    recorded = recorded_in(trace, row=1)
    assert recorded.steps == 4
    assert recorded.sizes.steps == T
    assert recorded.layers[0].values["update"].shape == (4, HIDDEN)


@pytest.mark.parametrize("batch_first", [False, True])
def test_input_target_and_output_are_drawn_of_the_chosen_row(batch_first):
    model = Model(batch_first=batch_first)
    shape = (B, T) if batch_first else (T, B)
    x, y = torch.randn(*shape, 2), torch.randn(*shape, 1)
    trace = unrolled.record(model, x)
    lines = recorded_in(trace, row=2, target=y).series
    assert [(line.name, line.kind) for line in lines] == [
        ("x[0]", "input"),
        ("x[1]", "input"),
        ("y", "target"),
        ("y", "prediction"),
    ]
    expected = [x[..., 0], x[..., 1], y[..., 0], trace.output[..., 0]]
    for line, values in zip(lines, expected, strict=True):
        row = values[2] if batch_first else values[:, 2]
        assert (line.values == row.numpy()).all()


def test_a_modules_own_hidden_state_is_no_prediction():
    assert [line.kind for line in recorded_in(lstm_trace()).series] == ["input"]


def test_series_take_the_place_of_input_and_output():
    own = [Series("volt", "input", torch.arange(T).float().numpy())]
    assert recorded_in(lstm_trace(), series=own).series == tuple(own)


def test_the_quantities_satisfy_the_cells_equations():
    found = recorded_in(lstm_trace(), row=1).layers[0].quantities()
    assert found["kept"] + found["written"] == pytest.approx(found["cell"], abs=1e-6)
    assert found["output"] * found["shown"] == pytest.approx(found["hidden"], abs=1e-6)


@pytest.mark.parametrize("mode", DRAWINGS)
def test_a_drawing_shows_quantities_that_its_cell_has(mode):
    drawing = DRAWINGS[mode]
    kind, *nonlinearity = mode.split("_")
    options = {"nonlinearity": nonlinearity[0].lower()} if nonlinearity else {}
    module = getattr(unrolled, kind)(1, HIDDEN, **options)
    layer = recorded_in(unrolled.record(module, torch.randn(T, B, 1))).layers[0]
    parts: list[Wire | Gate | Value] = [*drawing.wires, *drawing.gates, *drawing.values]
    roles = {part.role for part in parts}
    assert roles - {"read"} <= set(layer.quantities())


# --- Cells that are written down.


class Leaky(unrolled.Cell):
    """Two states, of which one is as large as the input, and a line that is called as another."""

    sizes: ClassVar = {"slow": "input"}

    def step(self, x, h, slow):
        keep = sigmoid(linear(x, h))
        h_before = tanh(linear(slow))
        slow = 0.9 * slow + 0.1 * x
        return keep * h + (1 - keep) * h_before, slow


def written_trace(cell=Leaky, inputs=2, **options):
    return unrolled.record(
        unrolled.Recurrent(cell, inputs, HIDDEN, **options), torch.randn(T, B, 2)
    )


def test_a_cell_of_a_textbook_is_shown_as_there_whoever_wrote_it():
    written = unrolled.Recurrent(unrolled.cells.LSTM, 1, HIDDEN)
    module = unrolled.LSTM(1, HIDDEN)
    written.load_state_dict(module.state_dict())
    x = torch.randn(T, B, 1)
    assert unrolled.report(unrolled.record(written, x)) == unrolled.report(
        unrolled.record(module, x)
    )


def test_the_page_has_the_drawing_that_draw_makes():
    (data,) = map(
        json.loads, re.findall(r'id="data">(.*?)</script>', unrolled.report(written_trace()), re.S)
    )
    drawn = re.sub(r"<style>.*?</style>\n", "", str(unrolled.draw(Leaky)), flags=re.S)
    assert data["recorded"]["flow"] == drawn
    assert data["recorded"]["textbook"] is None


def test_what_a_state_was_and_a_line_of_a_like_name_are_two_things():
    trace = written_trace()
    found = recorded_in(trace).layers[0].quantities()
    assert (found["h_before"] == trace.get("h_before")[:, 0].numpy()).all()
    assert (found["h[t−1]"] == trace.before("h")[:, 0].numpy()).all()


def test_units_have_the_time_constants_of_what_is_kept():
    trace = written_trace()
    constants = recorded_in(trace).layers[0].time_constants
    expected = -1 / trace.get("keep").double().log().mean((0, 1))
    assert constants == pytest.approx(expected.numpy(), rel=1e-5)


def test_the_sizes_are_those_of_the_states():
    recorded = recorded_in(written_trace(num_layers=1, bidirectional=True))
    assert [(s.name, s.symbol, s.letter) for s in recorded.states] == [
        ("h", "h", "H"),
        ("slow", "slow", "I"),
    ]
    assert (recorded.sizes.inputs, recorded.sizes.hidden, recorded.sizes.directions) == (2, 5, 2)


@pytest.mark.parametrize("cell", SHIPPED, ids=lambda cell: cell.__name__)
def test_every_cell_has_a_report_and_pictures(cell, tmp_path):
    needs: dict[str, Any] = {
        f"{s}_size": 3 for s in cell().description.sizes if s not in ("input", "hidden")
    }
    module = unrolled.Recurrent(cell, 2, HIDDEN, **needs)
    constants = {q.name: torch.randn(B, module.units[q.size]) for q in module.cell.constants}

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, x, lengths=None):
            return self.module(x, lengths=lengths, **constants)

    x = torch.randn(T, B, 2)
    trace, diagnosis = unrolled.record(Whole(), x), unrolled.diagnose(Whole(), x)
    assert unrolled.report(trace, diagnosis=diagnosis, language="zh")
    save_pictures(scene(trace, diagnosis=diagnosis), tmp_path, formats=("svg",))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{name}.svg" for name in ("cell", "steps", "network", "stack", "memory")}


# --- What can't be.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"row": B}, "row: 0 to 2 was expected, got 3"),
        ({"row": -1}, "row: 0 to 2 was expected, got -1"),
        ({"module": "lstm"}, r"module=one of \[''\], got 'lstm'"),
        ({"language": "de"}, "language: one of en, zh was expected: 'de'"),
        ({"target": torch.zeros(T + 1, B, 1)}, r"a value at every step.*got \[13, 3, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(options, words, tmp_path):
    path = tmp_path / "report.html"
    with pytest.raises(InputError, match=words):
        unrolled.report(lstm_trace(), path, **options)
    assert not path.exists()


def test_a_row_without_steps_is_refused():
    trace = unrolled.record(unrolled.GRU(1, 2), torch.randn(T, 2, 1), lengths=[0, T])
    with pytest.raises(InputError, match="row 0 has no steps: show another"):
        unrolled.report(trace)


def test_what_is_neither_trace_nor_diagnosis_is_refused():
    with pytest.raises(InputError, match=r"unrolled.record.*got Tensor"):
        unrolled.report(torch.zeros(3))  # type: ignore[arg-type]


@pytest.mark.parametrize("more", [[], [torch.zeros(T, B, 1), "report.html"]], ids=["alone", "all"])
def test_who_gives_a_model_is_told_what_to_give(more):
    with pytest.raises(TypeError, match=r"unrolled\.report\(unrolled\.record\(model, x\), path\)"):
        unrolled.report(unrolled.LSTM(1, HIDDEN), *more)  # type: ignore[arg-type]


# --- At a prompt.


def test_a_trace_is_shown_in_a_line():
    trace = unrolled.record(Model(num_layers=2), torch.randn(T, B, 2), gradients=True)
    assert repr(trace) == (
        "Trace(lstm: LSTM, L=2, [T=12, B=3, H=5] of input, forget, candidate, output, cell, "
        "hidden, with gradients and carried; output=Tensor([12, 3, 1], float32))"
    )


def test_what_holds_arrays_is_shown_by_their_shapes():
    module, x = unrolled.LSTM(1, HIDDEN), torch.randn(T, B, 1)
    trace, diagnosis = unrolled.record(module, x), unrolled.diagnose(module, x)
    for value in (trace, trace.given[""], diagnosis, scene(trace, diagnosis=diagnosis)):
        assert "tensor(" not in repr(value)
        assert not re.search(r"\barray\(", repr(value))
        assert len(repr(value)) < 1500
    assert "gradient_by_lag=Tensor([12], float64)" in repr(diagnosis)
    assert "input=Tensor([12, 3, 1], float32)" in repr(trace.given[""])
