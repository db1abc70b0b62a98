"""The report in a real browser: it moves, and its numbers are the trace's."""

import re
from html import escape

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import unrolled
from unrolled import cells

T, B, HIDDEN, ROW = 40, 3, 6, 1
MODES = {
    "LSTM": lambda **options: unrolled.LSTM(1, HIDDEN, **options),
    "GRU": lambda **options: unrolled.GRU(1, HIDDEN, **options),
    "RNN_TANH": lambda **options: unrolled.RNN(1, HIDDEN, **options),
    "RNN_RELU": lambda **options: unrolled.RNN(1, HIDDEN, nonlinearity="relu", **options),
}
every_mode = pytest.mark.parametrize("mode", MODES)


def recorded(mode="LSTM", **options):
    module = MODES[mode](**options)
    x = torch.randn(T, B, 1)
    return unrolled.record(module, x), unrolled.diagnose(module, x)


def expected_quantities(trace, step, unit, **where):
    """What the drawing shows, from the trace by the cell's equations; None is the mean."""

    def of(values):
        values = values[step, ROW]
        return float(values.mean() if unit is None else values[unit])

    gates = {key.gate: trace.get(key.gate, **where) for key in trace.values}
    found = dict(gates)
    found["hidden_before"] = trace.before("hidden", **where)
    if "forget" in gates:
        found["cell_before"] = trace.before("cell", **where)
        found["kept"] = gates["forget"] * found["cell_before"]
        found["written"] = gates["input"] * gates["candidate"]
        found["shown"] = gates["cell"].tanh()
    if "update" in gates:
        found["kept"] = gates["update"] * found["hidden_before"]
        found["written"] = (1 - gates["update"]) * gates["candidate"]
    found["read"] = trace.given[""].input[..., 0].unsqueeze(-1).expand(T, B, HIDDEN)
    return {role: of(values) for role, values in found.items()}


def number(text):
    return float(text.replace("−", "-"))


def written_text(value):
    """Three decimals, or two digits of what would be 0.000: the reverse of ``number``."""
    text = f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1e}".replace("e-0", "e-")
    return text.replace("-", "−")


def shown_numbers(page, where):
    """Each number by its role; those that stand twice have to be the same."""
    found: dict[str, str] = {}
    for role, text in page.eval_on_selector_all(
        f"[{where}]", f"them => them.map(e => [e.getAttribute('{where}'), e.textContent])"
    ):
        assert found.setdefault(role, text) == text
    return {role: number(text) for role, text in found.items()}


def go(page, step):
    page.locator("#step").fill(str(step))


@every_mode
@pytest.mark.parametrize("unit", [None, 4], ids=["mean", "unit"])
def test_the_numbers_on_the_drawing_are_the_traces(visit, mode, unit):
    trace, diagnosis = recorded(mode)
    page = visit(unrolled.report(trace, diagnosis=diagnosis, row=ROW))
    if unit is not None:
        page.locator("#unit").select_option(str(unit))
    for step in (0, 17, T - 1):
        go(page, step)
        expected = expected_quantities(trace, step, unit)
        for place in ("data-role", "data-quantity"):
            shown = shown_numbers(page, place)
            assert shown == pytest.approx({role: expected[role] for role in shown}, abs=0.00051)
            # tanh(c) is on a wire that has no room for its number.
            assert set(expected) - set(shown) <= {"read", "shown", "hidden_before"}


def test_what_is_kept_and_what_is_written_make_the_new_state(visit):
    page = visit(unrolled.report(recorded()[0]))
    go(page, 20)
    shown = shown_numbers(page, "data-role")
    assert shown["kept"] + shown["written"] == pytest.approx(shown["cell"], abs=0.0016)


def test_the_reverse_direction_receives_its_state_from_the_later_step(visit):
    trace, _ = recorded(bidirectional=True)
    page = visit(unrolled.report(trace, row=ROW))
    assert "cₜ₋₁" in page.locator("#cell").inner_text()
    page.locator("#layer").select_option(label="0, reverse")
    go(page, 11)
    expected = expected_quantities(trace, 11, None, direction="reverse")
    shown = shown_numbers(page, "data-quantity")
    assert shown == pytest.approx({role: expected[role] for role in shown}, abs=0.00051)
    assert "cₜ₊₁" in page.locator("#cell").inner_text()
    assert "cₜ₋₁" not in page.locator("#quantities").inner_text()


def test_a_projected_state_says_so(visit):
    module = unrolled.LSTM(2, HIDDEN, proj_size=2)
    page = visit(unrolled.report(unrolled.record(module, torch.randn(T, B, 2))))
    assert "W_hr" in page.locator("#quantities").inner_text()
    assert f"h₀ [L·D, B, P] = [1, {B}, 2]" in page.locator("#stack svg").text_content()
    page.locator("#unit").select_option("5")
    assert page.locator("[data-quantity=hidden]").inner_text() == "—"


# --- Cells that are written down.


def written(cell, **options):
    module = unrolled.Recurrent(cell, 1, HIDDEN, **options)
    x = torch.randn(T, B, 1)
    return unrolled.record(module, x), unrolled.diagnose(module, x)


@pytest.mark.parametrize("unit", [None, 4], ids=["mean", "unit"])
def test_the_numbers_of_a_written_cell_are_the_traces(visit, unit):
    trace, diagnosis = written(cells.SLSTM)
    page = visit(unrolled.report(trace, diagnosis=diagnosis, row=ROW))
    if unit is not None:
        page.locator("#unit").select_option(str(unit))
    go(page, 17)
    expected = {key.gate: trace.get(key.gate) for key in trace.values}
    expected |= {f"{s.name}[t−1]": trace.before(s.name) for s in trace.given[""].cell.states}
    shown = shown_numbers(page, "data-quantity")
    assert shown.keys() == expected.keys()
    for name, values in expected.items():
        values = values[17, ROW]
        value = float(values.mean() if unit is None else values[unit])
        assert shown[name] == pytest.approx(value, abs=0.00051)
    assert (
        f"hidden from {written_number(trace.before('hidden'), unit)}"
        in page.locator("#sentence").inner_text()
    )


def written_number(values, unit):
    values = values[17, ROW]
    return written_text(float(values.mean() if unit is None else values[unit]))


@pytest.mark.parametrize("cell", [cells.SLSTM, cells.LeakyRNN, cells.LayerNormLSTM])
@pytest.mark.parametrize(
    ("width", "scheme", "language"), [(1280, "light", "en"), (400, "dark", "zh")]
)
def test_a_written_cell_fits_and_is_accessible(visit, cell, width, scheme, language):
    trace, diagnosis = written(cell, num_layers=2, bidirectional=True)
    html = unrolled.report(trace, diagnosis=diagnosis, language=language)
    page = visit(html, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    faults = Axe().run(page).response["violations"]
    assert [(fault["id"], [n["html"] for n in fault["nodes"]]) for fault in faults] == []


def test_a_written_cell_is_drawn_with_a_label_that_changes(visit):
    page = visit(unrolled.report(written(cells.PeepholeLSTM)[0]))
    picture = page.locator("#cell svg")
    assert "forget" in picture.text_content()
    first = picture.get_attribute("aria-label")
    go(page, 9)
    assert picture.get_attribute("aria-label") != first
    assert first.startswith("Drawing of the PeepholeLSTM cell.")


# --- Moving through the steps.


def where(page):
    return int(re.findall(r"\d+", page.locator("#where").inner_text())[0])


def test_arrow_keys_move_from_anywhere_and_stop_at_the_ends(visit):
    page = visit(unrolled.report(recorded()[0]))
    page.keyboard.press("ArrowLeft")
    assert where(page) == 0
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert where(page) == 3
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    assert where(page) == 4
    page.keyboard.press("End")
    assert where(page) == T - 1


@pytest.mark.parametrize("name", ["forget gate", "x"])
def test_a_click_on_a_plot_moves_to_its_step(visit, name):
    page = visit(unrolled.report(recorded()[0]))
    plot = page.locator(".panel", has_text=name).locator(".plot").first
    width = plot.bounding_box()["width"]
    plot.click(position={"x": width * 25.5 / T, "y": 8})
    assert where(page) == 25
    assert page.locator("#step").input_value() == "25"


def test_a_click_on_a_cell_of_the_unrolled_network_moves_there(visit):
    page = visit(unrolled.report(recorded()[0]))
    page.locator("#unrolled [data-step='2'] rect").click()
    assert where(page) == 2
    assert page.locator("#unrolled .now").get_attribute("data-step") == "2"


def test_play_goes_on_by_itself_and_pauses(visit):
    page = visit(unrolled.report(recorded()[0]))
    button = page.get_by_role("button", name="Play")
    button.click()
    expect(page.locator("#where")).to_contain_text("step 3 of")
    page.get_by_role("button", name="Pause").click()
    stopped = where(page)
    page.wait_for_timeout(600)
    assert where(page) == stopped


def test_the_unrolled_network_hands_on_what_its_cells_left(visit):
    trace, _ = recorded("GRU")
    page = visit(unrolled.report(trace, row=ROW))
    go(page, 20)
    for step in (19, 20, 21):
        text = page.locator(f"#unrolled [data-step='{step}']").text_content()
        hidden = trace.get("hidden")[step, ROW].mean().item()
        before = trace.get("hidden")[step - 1, ROW].mean().item()
        for value in (hidden, before):
            assert written_text(value) in text


# --- The heat maps.


def test_hovering_tells_gate_step_unit_and_value(visit):
    trace, _ = recorded()
    page = visit(unrolled.report(trace, row=ROW))
    plot = page.locator(".panel", has_text="candidate").locator(".plot")
    box = plot.bounding_box()
    plot.hover(position={"x": box["width"] * 30.5 / T, "y": box["height"] * 2.5 / HIDDEN})
    value = trace.get("candidate")[30, ROW, 2].item()
    tip = page.locator("#tip").inner_text()
    assert tip.startswith(f"candidate · step 30 · unit 2 · {value:.3f}".replace("-", "−"))
    page.mouse.move(0, 0)
    assert page.locator("#tip").is_hidden()


def pixels(page, name):
    canvas = page.locator(".panel", has_text=name).locator("canvas")
    flat = canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    return np.array(flat).reshape(HIDDEN, T, 4)


def test_the_colours_rise_with_the_values(visit):
    trace, _ = recorded()
    image = pixels(visit(unrolled.report(trace, row=ROW)), "forget gate")
    values = trace.get("forget")[:, ROW].T.numpy()
    darkness = -image[..., 0].astype(float)
    order = np.argsort(values, axis=None)
    assert (np.diff(darkness.ravel()[order]) >= 0).all()


def test_units_are_sorted_by_their_time_constants(visit):
    module = unrolled.LSTM(1, HIDDEN)
    rows = slice(HIDDEN, 2 * HIDDEN)  # the forget gate's, which hangs on its bias alone
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_hh_l0"):
            module.get_parameter(name)[rows] = 0.0
        module.get_parameter("bias_ih_l0")[rows] = torch.tensor([0.0, 3.0, 1.0, 5.0, 2.0, 4.0])
    trace = unrolled.record(module, torch.randn(T, B, 1))
    page = visit(unrolled.report(trace, row=ROW))
    by_number = pixels(page, "cell state")
    page.locator("#order").select_option("constants")
    assert (pixels(page, "cell state") == by_number[[3, 5, 1, 4, 2, 0]]).all()


def test_a_double_click_shows_that_unit(visit):
    page = visit(unrolled.report(recorded()[0]))
    plot = page.locator(".panel", has_text="output gate").locator(".plot")
    plot.dblclick(position={"x": 50, "y": plot.bounding_box()["height"] * 3.5 / HIDDEN})
    assert page.locator("#unit").input_value() == "3"
    assert "unit 3" in page.locator("#sentence").inner_text()


# --- What was measured.


def test_the_charts_say_what_the_diagnosis_says(visit):
    trace, diagnosis = recorded()
    page = visit(unrolled.report(trace, diagnosis=diagnosis))
    lag = page.locator("#lag svg")
    assert f"horizon: {diagnosis.horizon} steps (1%)" in lag.text_content()
    largest = f"{diagnosis.lyapunov.largest:.3f}".replace("-", "−")
    assert f"λ₁ = {largest}" in page.locator("#spectrum svg").text_content()
    assert page.locator("#spectrum circle").count() == 2 * HIDDEN
    assert "along the data" in page.locator("#constants svg").text_content()
    for finding in str(diagnosis).splitlines():
        assert finding.strip(" *") in page.locator("main").inner_text()


def test_a_diagnosis_alone_is_a_report(visit):
    _, diagnosis = recorded("RNN_TANH")
    page = visit(unrolled.report(diagnosis))
    assert page.locator("#lag svg").is_visible()
    assert page.locator("#cell").count() == 0
    assert page.locator("#constants").count() == 0  # an RNN has no gate to have them


# --- For everyone.

LOOKS = [
    (width, scheme, language)
    for width in (1280, 400)
    for scheme in ("light", "dark")
    for language in ("en", "zh")
]


@pytest.mark.parametrize(("width", "scheme", "language"), LOOKS)
def test_it_fits_and_is_accessible(visit, width, scheme, language):
    """No sideways scrolling, and axe finds no fault: labels, contrast, roles, headings."""
    trace, diagnosis = recorded(num_layers=2, bidirectional=True)
    html = unrolled.report(trace, diagnosis=diagnosis, language=language)
    page = visit(html, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    faults = Axe().run(page).response["violations"]
    assert [(fault["id"], [n["html"] for n in fault["nodes"]]) for fault in faults] == []


@pytest.mark.parametrize("width", [1280, 400])
@every_mode
def test_no_text_of_a_drawing_is_cut_off_or_lies_over_another(visit, mode, width):
    trace, _ = recorded(mode)
    page = visit(unrolled.report(trace), width=width)
    for drawing in ("#cell", "#unrolled", "#stack"):
        boxes = page.eval_on_selector_all(
            f"{drawing} svg text",
            "them => them.map(e => [e.textContent, e.getBoundingClientRect().toJSON()])",
        )
        for index, (text, box) in enumerate(boxes):
            assert box["left"] >= 0, text
            assert box["right"] <= width, text
            for other, b in boxes[:index]:
                apart = (
                    box["left"] >= b["right"] - 1
                    or b["left"] >= box["right"] - 1
                    or box["top"] >= b["bottom"] - 3
                    or b["top"] >= box["bottom"] - 3
                )
                assert apart, (text, other)


def test_every_picture_has_a_label_that_changes_with_the_step(visit):
    trace, diagnosis = recorded()
    page = visit(unrolled.report(trace, diagnosis=diagnosis))
    labels = page.eval_on_selector_all(
        "svg[role=img], canvas", "them => them.map(e => e.getAttribute('aria-label'))"
    )
    assert len(labels) >= 12
    assert all(labels)
    first = page.locator("#cell svg").get_attribute("aria-label")
    go(page, 9)
    assert page.locator("#cell svg").get_attribute("aria-label") != first
    assert page.locator("#step").get_attribute("aria-valuetext") == "step 9"


def test_names_from_outside_are_text_and_nothing_else(visit):
    trace, _ = recorded()
    bad = "</script><script>console.log('run')</script><b>"
    page = visit(unrolled.report(trace, title=bad, note=bad))
    assert page.locator("h1").inner_text() == bad


# --- What is not the report's own.


def test_nothing_runs_in_the_page_but_its_own_script(browser, tmp_path):
    """Its Content-Security-Policy names that by hash: no event handler, no second script."""
    html = unrolled.report(recorded()[0])
    foreign = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>"
    styled = "<p id='styled' style='color: rgb(1, 2, 3)'>a</p>"
    path = tmp_path / "page.html"
    path.write_text(html.replace("</main>", f"{foreign}{styled}</main>"), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    expect(page.locator("#cell svg")).to_be_visible()
    assert page.evaluate("window.ran") is None
    colour = page.locator("#styled").evaluate("e => getComputedStyle(e).color")
    assert colour != "rgb(1, 2, 3)"
    page.close()


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_the_hashes_hold_however_the_file_was_written(visit, newline):
    page = visit(unrolled.report(recorded()[0]).replace("\n", newline))
    expect(page.locator("#cell svg")).to_be_visible()


def test_it_runs_inside_of_another_page(visit):
    """As the site's pages show it."""
    source = escape(unrolled.report(recorded()[0]), quote=True)
    page = visit(
        f'<!doctype html><link rel="icon" href="data:,"><iframe srcdoc="{source}"></iframe>'
    )
    expect(page.frame_locator("iframe").locator("#cell svg")).to_be_visible()
