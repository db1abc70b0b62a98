"""Drawings of cells that are written as equations."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from itertools import combinations
from xml.etree import ElementTree

import pytest
import torch

import unrolled
from support_cells import SHIPPED, SPECIAL
from unrolled import cells
from unrolled.cells import linear, mask, noise, sigmoid, tanh, weight
from unrolled.errors import InputError
from unrolled.inspect import flow_picture
from unrolled.inspect.flow import LONGEST_TERM, flow
from unrolled.inspect.flow_layout import lay_out, text_width
from unrolled.inspect.flow_tracks import NEAR, Net, tracks

SVG = "{http://www.w3.org/2000/svg}"


class Random(unrolled.Cell):
    """Random numbers of both laws, a constant, a gate that reads nothing, a state handed on."""

    def step(self, x, h, before, *, context):
        share = sigmoid(weight("rate"))
        driven = linear(x, h) + linear(context) + noise(0.1)
        new = mask(0.9, each="sequence") * share * tanh(driven - before)
        return new, h


class Long(unrolled.Cell):
    """A chain of operations that no box can hold."""

    def step(self, x, h):
        for i in range(200):
            h = tanh(h) * (i + 1) / 3 + x.mean()
        return h


class Many(unrolled.Cell):
    """More values than a drawing can show."""

    def step(self, x, h):
        for _ in range(300):
            h = tanh(linear(h, name="deep") + x.mean())
        return h


CELLS = [*SHIPPED, *SPECIAL, Random, Long]
every_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)


def test_a_cell_of_too_many_values_is_refused():
    with pytest.raises(InputError, match="at most 400 boxes, and this one would have 6"):
        unrolled.draw(Many)


def texts(picture):
    return [text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def segments(wire):
    """The pieces of a line: left, top, right, bottom."""
    for (x0, y0), (x1, y1) in zip(wire.points, wire.points[1:], strict=False):
        yield min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def frames(sheet):
    """Where each text beside the boxes stands: left, top, right, bottom."""
    return {
        label: (label.x, label.y - 11, label.x + text_width(label.text), label.y + 2)
        for label in sheet.labels
    }


def box_frame(box):
    half, tall = box.width / 2, box.height / 2
    return box.x - half, box.y - tall, box.x + half, box.y + tall


def overlap(one, other):
    return (
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    )  # touching is no overlap


@every_cell
def test_a_cell_is_drawn_with_a_title_and_its_equations(cell):
    picture = ElementTree.fromstring(unrolled.draw(cell))
    assert picture.findtext(f"{SVG}title") == f"{cell.__name__}: one step"
    assert picture.findtext(f"{SVG}desc") == str(cell())


@every_cell
def test_no_two_boxes_overlap_and_all_lie_in_the_body(cell):
    sheet = lay_out(cell().description)
    found = [box_frame(box) for box in sheet.boxes]
    left, top, right, bottom = sheet.body
    assert found
    assert not [pair for pair in combinations(found, 2) if overlap(*pair)]
    assert all(left < f[0] and top < f[1] and f[2] < right and f[3] < bottom for f in found)


@every_cell
def test_no_text_lies_on_another_or_on_a_box(cell):
    sheet = lay_out(cell().description)
    found = list(frames(sheet).values())
    assert len(found) == len(sheet.labels)
    assert not [pair for pair in combinations(found, 2) if overlap(*pair)]
    assert not [(f, box) for f in found for box in sheet.boxes if overlap(f, box_frame(box))]
    assert all(f[0] >= 0 and f[2] <= sheet.width for f in found)
    assert all(f[1] >= 0 and f[3] <= sheet.height for f in found)


@every_cell
def test_no_line_runs_through_a_box_or_a_text(cell):
    sheet = lay_out(cell().description)
    obstacles = [*map(box_frame, sheet.boxes), *frames(sheet).values()]
    inner = [(left + 1, top + 1, right - 1, bottom - 1) for left, top, right, bottom in obstacles]
    pieces = [piece for wire in sheet.wires for piece in segments(wire)]
    # In a circle a line may end within the frame, at its rim.
    reach = 4.0
    for left, top, right, bottom in pieces:
        shortened = (
            (left, top, right - reach, bottom) if top == bottom else (left, top, right, bottom)
        )
        assert not [frame for frame in inner if overlap(shortened, frame)]


@every_cell
def test_every_named_line_and_every_state_is_in_the_picture(cell):
    description = cell().description
    found = texts(unrolled.draw(cell))
    for name in description.named:
        assert name in found
    for state in description.states:
        assert {f"{state.name}[t−1]", f"{state.name}[t]"} <= set(found)


@every_cell
def test_every_product_and_bias_is_in_the_picture(cell):
    description = cell().description
    rows = [text.removeprefix("+ ") for text in texts(unrolled.draw(cell))]
    for line in description.sums:
        for term in (*line.products, *line.biases):
            parts = description.weights_by_name[term.weight].parts
            assert any(f"{term.weight}[{parts[term.part].label}]" in row for row in rows)


@every_cell
def test_whatever_is_read_stands_to_the_left(cell):
    sheet = lay_out(cell().description)
    place = {box.node.name: box_frame(box) for box in sheet.boxes}
    pairs = [
        (place[read.name], place[box.node.name])
        for box in sheet.boxes
        for read in box.node.reads
        if read.name in place
    ]
    assert all(source[2] < target[0] for source, target in pairs)
    assert pairs or len(place) == 1


@every_cell
def test_an_arrow_for_each_thing_that_is_read(cell):
    sheet = lay_out(cell().description)
    arrows: Counter[str] = Counter()
    for wire in sheet.wires:
        if wire.arrow:
            x, y = wire.points[-1]
            arrows.update(
                box.node.name
                for box in sheet.boxes
                if abs(x - (box.x - box.width / 2)) < 5 and abs(y - box.y) < box.height / 2
            )
    assert arrows == {box.node.name: len(box.node.reads) for box in sheet.boxes if box.node.reads}


@every_cell
@pytest.mark.parametrize("along", [0, 1], ids=["level", "upright"])
def test_no_line_lies_on_another(cell, along):
    across = 1 - along
    pieces = [
        (wire.name, piece)
        for wire in lay_out(cell().description).wires
        for piece in segments(wire)
        if piece[across] == piece[across + 2]
    ]
    for (name, one), (other, two) in combinations(pieces, 2):
        shared = min(one[along + 2], two[along + 2]) - max(one[along], two[along])
        assert name == other or abs(one[across] - two[across]) > 1 or shared <= 0


def test_the_same_cell_gives_the_same_picture_in_another_process():
    code = "import sys, unrolled; sys.stdout.write(unrolled.draw(unrolled.cells.SLSTM))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            encoding="utf-8",
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
        ).stdout
        for seed in ("1", "2")
    }
    assert found == {unrolled.draw(cells.SLSTM)}


def test_a_cell_may_be_given_in_any_form():
    cell = cells.GRU()
    module = unrolled.Recurrent(cells.GRU, 2, 3, num_layers=2)
    assert (
        unrolled.draw(cells.GRU)
        == unrolled.draw(cell)
        == unrolled.draw(cell.description)
        == unrolled.draw(module)
    )


def test_a_path_gets_the_picture(tmp_path):
    picture = unrolled.draw(cells.MGU, tmp_path / "mgu.svg")
    assert (tmp_path / "mgu.svg").read_text(encoding="utf-8") == picture
    assert picture._repr_svg_() == picture


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (unrolled.LSTM(1, 2), r"got the module LSTM\. .* draw\(unrolled\.cells\.LSTM\)"),
        (torch.nn.GRUCell(1, 2), "got the module GRUCell"),
        ("LSTM", "a Cell, a class of one, or a description, got str"),
    ],
)
def test_what_is_no_cell_is_refused(given, words):
    with pytest.raises(TypeError, match=words):
        unrolled.draw(given)


def renamed(description, name):
    """The same cell, whose name, input and first gate are called something else."""
    old = {description.input.name: name, description.named[0]: f"{name}2"}
    lines = []
    for line in description.lines:
        if isinstance(line, cells.description.Sum):
            products = tuple(replace(p, of=old.get(p.of, p.of)) for p in line.products)
            lines.append(replace(line, name=old.get(line.name, line.name), products=products))
        else:
            operands = tuple(old.get(o, o) for o in line.operands)
            lines.append(replace(line, name=old.get(line.name, line.name), operands=operands))
    return replace(
        description,
        name=name,
        input=replace(description.input, name=name),
        lines=tuple(lines),
        named=tuple(old.get(n, n) for n in description.named),
    )


@pytest.mark.parametrize(
    "name", ["</text><script>alert(1)</script>", '" onload="alert(1)', "&lt;", "{}%s", "记忆门"]
)
def test_hostile_names_are_text(name):
    picture = ElementTree.fromstring(unrolled.draw(renamed(cells.LSTM().description, name)))
    assert not list(picture.iter(f"{SVG}script"))
    assert all("onload" not in element.attrib for element in picture.iter())
    assert f"{name}: one step" == picture.findtext(f"{SVG}title")
    assert f"{name}2" in [text.text for text in picture.iter(f"{SVG}text")]


def test_long_names_are_abridged():
    description = renamed(cells.LSTM().description, "n" * 5000)
    sheet = lay_out(description)
    written = [label.text for label in sheet.labels] + [t for b in sheet.boxes for t in b.node.text]
    assert max(map(len, written)) <= LONGEST_TERM + len("+ ")
    assert "n" * 20 + "…" + "n" * 18 + "2" in written


def node(cell, name):
    return next(node for node in flow(cell().description) if node.name == name)


def test_a_difference_marks_what_is_taken_away():
    assert [read.mark for read in node(cells.GRU, "_11").reads] == ["", "−"]


def test_what_is_detached_flows_in_and_is_called_so_in_the_box():
    of_input, *_ = (n for n in flow(cells.TruncatedLSTM1997().description) if n.shape == "box")
    assert [read.name for read in of_input.reads] == ["x", "hidden", "input", "output"]
    assert "+ weight_hh[input]·detach(hidden[t−1])" in of_input.text


def test_a_weight_stands_in_the_box_of_what_it_multiplies():
    found = [n.text for n in flow(cells.PeepholeLSTM().description)]
    assert ("peephole_forget ⊙",) in found


def test_a_chain_of_operations_is_one_box_with_its_formula():
    assert node(cells.SLSTM, "keep").text == ("min(exp(kept − stabiliser[t]), 1)",)


def test_what_a_formula_names_bears_that_name():
    named = {n.name: n.label for n in flow(cells.LayerNormLSTM().description)}
    assert "_13" in node(cells.LayerNormLSTM, "_30").text[0]
    assert named["_13"] == "_13"


def test_random_numbers_say_their_law():
    found = [n.text[1:] for n in flow(Random().description) if n.shape == "box" and not n.reads]
    assert ("N(0, 0.1²)", "each step") in found
    assert ("P(1) = 0.9", "each sequence") in found


def test_lines_that_change_places_take_the_tracks_that_keep_them_apart():
    """The one from below goes up before the other, which leaves at its height, comes down."""
    above, below = Net("above", 0.0, (100.0,)), Net("below", 50.0, (0.0 + 2 * NEAR,))
    found = {net.name: net.track for net in tracks([above, below])}
    assert sorted(found.values()) == [0, 1]
    follows = {net.name: net.track for net in tracks([Net("a", 0, (50,)), Net("b", 50, (100,))])}
    assert follows["b"] < follows["a"]


def test_what_goes_straight_needs_no_track():
    (net,) = tracks([Net("straight", 10.0, (10.0,))])
    assert net.track == -1
    assert net.branches() == []


def test_the_style_is_that_of_the_drawing_alone():
    style = ElementTree.fromstring(unrolled.draw(cells.GRU)).findtext(f"{SVG}style")
    assert style is not None
    selectors = re.findall(r"^([^@}\n].*?) \{", style, flags=re.M)
    assert len(selectors) > 10
    for selector in selectors:
        assert all(one.startswith(".unrolled-cell ") for one in selector.split(", "))


def test_the_colours_are_those_of_the_reports_page():
    style = files("unrolled.inspect").joinpath("page/style.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w+);", part)) for part in style.split("@media (prefers")[:2]
    )
    page = {"1": "forget", "2": "input", "3": "candidate", "4": "output"}
    for ours, theirs in ((flow_picture.LIGHT, light), (flow_picture.DARK, dark)):
        for name, value in ours.items():
            assert value == theirs[page.get(name, name)]
