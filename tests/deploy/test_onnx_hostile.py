"""``import_onnx`` on files that are damaged, hostile, or unusual: read, or refused in a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

import unrolled
from support_nn import assert_close
from support_onnx import run
from support_onnx_files import GATES, HOSTILE, SOUND, File, external, in_branches, node, port
from unrolled.deploy.onnx_file import DIGEST
from unrolled.deploy.onnx_modules import ResetFirstGRU
from unrolled.errors import InputError

SECONDS = 120
"""A guard against hanging, for all hostile files together."""


def written(folder: Path, data: bytes) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("what", SOUND)
def test_unusual_files_are_read(tmp_path: Path, what: str) -> None:
    (module,) = unrolled.import_onnx(written(tmp_path, SOUND[what]())).values()
    operator = what if what in GATES else "LSTM"
    w = File(operator, directions=2 if what == "two directions" else 1).weights["W"]
    assert_close([module.get_parameter("weight_ih_l0").sum()], [torch.tensor(w[0].sum())], 1e-5)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    build, words = HOSTILE[what]
    path = written(tmp_path, build())
    with pytest.raises(InputError, match=words) as refused:
        unrolled.import_onnx(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 700


def test_no_file_takes_gigabytes_or_minutes(tmp_path: Path) -> None:
    for at, (build, _) in enumerate(HOSTILE.values()):
        (tmp_path / f"{at}.onnx").write_bytes(build())
    program = """
import resource, sys
from pathlib import Path
import unrolled
from unrolled.errors import InputError
import onnx.reference, torch
def mapped():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = mapped() + 2**29
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    try:
        unrolled.import_onnx(path)
    except InputError as error:
        assert "memory" not in str(error), error
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=SECONDS)


def test_every_flipped_bit_of_a_file_of_ours_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    module = unrolled.GRU(2, 3)
    unrolled.export_onnx(module, tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    expected = dict(module.state_dict()).values()
    drawn = np.random.default_rng(torch.initial_seed())
    read = 0
    for bit in drawn.choice(8 * len(data), 1500, replace=False).tolist():
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            (found,) = unrolled.import_onnx(written(tmp_path, bytes(flipped))).values()
        except InputError:
            continue
        read += 1  # only where the digest's own name is hit, which leaves the rest as it was
        assert_close(dict(found.state_dict()).values(), expected, 0.0)
    assert read <= 8 * (len(DIGEST) + 8)


def test_a_file_that_another_program_has_changed_says_how_to_read_it(tmp_path: Path) -> None:
    unrolled.export_onnx(unrolled.LSTM(2, 3), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    onnx.save(model, tmp_path / "m.onnx")
    assert unrolled.import_onnx(tmp_path / "m.onnx")  # written again, and the same
    model.graph.node[0].name = "another"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=rf"is not as unrolled wrote it .* delete '{DIGEST}'"):
        unrolled.import_onnx(tmp_path / "m.onnx")
    kept = [entry for entry in model.metadata_props if entry.key != DIGEST]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "m.onnx")
    assert unrolled.import_onnx(tmp_path / "m.onnx")


def test_weights_in_a_file_beside_it_are_read(tmp_path: Path) -> None:
    data = File().weights["W"].tobytes()
    (tmp_path / "weights.bin").write_bytes(data)
    path = written(tmp_path, File(change=external)())
    module = unrolled.import_onnx(path)["n"]
    found = module.get_parameter("weight_ih_l0")
    assert_close([found[:3]], [torch.from_numpy(File().weights["W"][0, :3])], 0.0)


@pytest.mark.parametrize("size", [0, 95, 97])
def test_weights_in_a_file_of_another_size_are_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(size))
    length = 97 if size == 97 else None
    path = written(tmp_path, File(change=lambda model: external(model, length=length))())
    with pytest.raises(InputError, match=r"tensor 'W': .* come to 96 bytes"):
        unrolled.import_onnx(path)


def test_nodes_of_one_name_in_two_branches_are_told_apart_by_the_way_to_them(
    tmp_path: Path,
) -> None:
    model = File(change=in_branches()).model()
    (whole,) = model.graph.node
    branches = {each.name: each.g for each in whole.attribute}
    branches["else_branch"].CopyFrom(branches["then_branch"])
    found = unrolled.import_onnx(written(tmp_path, model.SerializeToString()))
    assert list(found) == ["y.if0/else_branch/y", "y.if0/then_branch/y"]


class Layers:
    """Two nodes of alike weights, the one upon the other, of which something is different."""

    def __init__(self, operator: str = "LSTM") -> None:
        self.operator = operator
        self.options: list[dict[str, Any]] = [{}, {}]
        self.inputs = [["x", "W1", "R", "B"], ["rows", "W2", "R", "B"]]
        self.between: list[onnx.NodeProto] = []

    def write(self, folder: Path) -> Path:
        file = File(self.operator)
        wide = np.ones((1, GATES[self.operator] * 3, 3), np.float32)
        tensors = file.weights | {"W1": file.weights["W"], "W2": wide, "axis": np.array([1])}
        below, above = (
            helper.make_node(
                self.operator, inputs, [f"y{at}", f"h{at}"], f"n{at}", hidden_size=3, **options
            )
            for at, (inputs, options) in enumerate(zip(self.inputs, self.options, strict=True))
        )
        reads = {name for inputs in self.inputs for name in inputs}
        ports = [port(name) for name in ("x", "lengths") if name in reads]
        rows = node("Squeeze", ["y0", "axis"], "rows")
        graph = helper.make_graph(
            [below, rows, *self.between, above],
            "graph",
            ports,
            [port("y1", 4)],
            [numpy_helper.from_array(values, name) for name, values in tensors.items()],
        )
        opset = helper.make_opsetid("", 17)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        return written(folder, model.SerializeToString())


def lengths_of_one(layers: Layers) -> None:
    layers.inputs[0].append("lengths")


def state_of_the_other(layers: Layers) -> None:
    layers.between = [node("Identity", ["h0"], "h")]
    layers.inputs[1] += ["", "h"]


def state_within_a_branch(layers: Layers) -> None:
    """The state is made of the other's in the branch of an If, which does not read it as input."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [node("Identity", ["h0"], f"h.{name}")], name, [], [port(f"h.{name}")]
        )
        for name in ("then", "else")
    }
    condition = numpy_helper.from_array(np.array(True))
    layers.between = [
        helper.make_node("Constant", [], ["condition"], value=condition),
        helper.make_node("If", ["condition"], ["h"], **branches),
    ]
    layers.inputs[1] += ["", "h"]


def training_between(layers: Layers) -> None:
    layers.between = [
        helper.make_node("Constant", [], ["ratio"], value_float=0.5),
        helper.make_node(
            "Constant", [], ["training"], value=numpy_helper.from_array(np.array(True))
        ),
        node("Dropout", ["rows", "ratio", "training"], "dropped"),
    ]
    layers.inputs[1][0] = "dropped"


@pytest.mark.parametrize(
    "change", [lengths_of_one, state_of_the_other, state_within_a_branch, training_between]
)
def test_layers_that_no_single_call_can_feed_stay_apart(
    tmp_path: Path, change: Callable[[Layers], None]
) -> None:
    layers = Layers()
    assert list(unrolled.import_onnx(layers.write(tmp_path))) == ["n0"]
    change(layers)
    assert list(unrolled.import_onnx(layers.write(tmp_path))) == ["n0", "n1"]


@pytest.mark.parametrize(
    ("to", "joined"),
    [((0, 0, -1), True), ((5, 2, 3), True), ((2, 5, 3), False), ((-1, 2, 3), False)],
)
def test_a_reshape_to_fixed_sizes_joins_layers_if_they_are_those_of_the_input(
    tmp_path: Path, to: tuple[int, int, int], joined: bool
) -> None:
    """As the newer exporter of torch writes them, for an input of fixed sizes."""
    model = onnx.load(Layers().write(tmp_path))
    for axis, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (5, 2, 2), strict=True):
        axis.dim_value = size
    model.graph.node[1].CopyFrom(node("Transpose", ["y0"], "turned", perm=[0, 2, 1, 3]))
    model.graph.node.insert(2, node("Reshape", ["turned", "to"], "rows"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(to), "to"))
    found = unrolled.import_onnx(written(tmp_path, model.SerializeToString()))
    assert len(found) == (1 if joined else 2)


def test_grus_whose_reset_gates_stand_in_two_places_stay_apart(tmp_path: Path) -> None:
    layers = Layers("GRU")
    layers.options[1] = {"linear_before_reset": 1}
    found = unrolled.import_onnx(layers.write(tmp_path))
    assert [type(module) for module in found.values()] == [ResetFirstGRU, unrolled.GRU]


def test_a_layer_for_another_width_than_that_below_is_refused(tmp_path: Path) -> None:
    layers = Layers()
    layers.inputs[1][1] = "W1"
    with pytest.raises(InputError, match=r"'n1': its weights W are for 2 inputs, and .* has 3"):
        unrolled.import_onnx(layers.write(tmp_path))


def test_reading_draws_no_random_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, File("GRU")())
    before = torch.get_rng_state()
    unrolled.import_onnx(path)
    assert torch.equal(before, torch.get_rng_state())


def test_weights_of_nodes_that_share_them_are_apart(tmp_path: Path) -> None:
    layers = Layers()
    lengths_of_one(layers)
    first, second = unrolled.import_onnx(layers.write(tmp_path)).values()
    with torch.no_grad():
        first.get_parameter("weight_hh_l0").zero_()
    assert second.get_parameter("weight_hh_l0").any()


def test_what_comes_back_trains(tmp_path: Path) -> None:
    (module,) = unrolled.import_onnx(written(tmp_path, File()())).values()
    assert all(weight.requires_grad and weight.is_leaf for weight in module.parameters())
    module(torch.ones(2, 1, 2))[0].sum().backward()
    assert isinstance(module, nn.LSTM)
    assert module.weight_hh_l0.grad is not None
    assert len(run(module, torch.ones(2, 1, 2))) == 3
