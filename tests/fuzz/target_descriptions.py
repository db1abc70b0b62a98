"""Descriptions of cells, as they stand in a run folder.

One that is damaged, hostile or of another version is refused in one line. What is read runs:
forward and backward, by its equations and on the compiled core, which agree; it is printed, drawn
and exported; and a run folder gives it back.
"""

from __future__ import annotations

import copy
import json
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.overrides import TorchFunctionMode

import unrolled
from fuzz.mutate_json import Mutator
from fuzz.random_cells import UNITS, random_cell, sizes_of
from support_cells import SHIPPED, SPECIAL
from unrolled import cells
from unrolled.cells import Description
from unrolled.cells.equations import equations
from unrolled.cells.options import described
from unrolled.cells.stored import from_json, to_json
from unrolled.deploy.plain import read_run
from unrolled.errors import InputError
from unrolled.inspect import flow_picture
from unrolled.model import Network, NetworkConfig, Run, Scaler, TableConfig, load_run, save_run
from unrolled.model.choice import chosen
from unrolled.runfile import CONFIG, DIGESTS, config_digest

SUFFIX = ".json"
STEPS, ROWS = 4, 3
MARK = "THE CELL"
NUDGE = 1e-13

WITH_OPTIONS = (
    cells.zoneout(cells.LSTM, hidden=0.1, cell=0.2),
    cells.variational_dropout(cells.GRU, x=0.3, hidden=0.2),
    cells.LeakyRNN(noise=0.3, excitatory=0.75),
    cells.SLSTM(heads=3),
)


@cache
def _known() -> list[bytes]:
    """The descriptions of all cells that there are, as JSON."""
    every: list[Any] = [*SHIPPED, *SPECIAL, *WITH_OPTIONS]
    return [json.dumps(to_json(described(cell))).encode() for cell in every]


def _random(seed: int) -> bytes:
    return json.dumps(random_cell(Random(seed))).encode()


def _of_many_lines(*operations: str) -> bytes:
    """A cell of 3,000 lines, each of the one before: of means in between, as many stages."""
    cell = json.loads(_known()[0])
    last = cell["next"][0]
    for number in range(3000):
        operation = operations[number % len(operations)]
        line = {"name": f"line_{number}", "size": "hidden", "operation": operation}
        operands = [last] if operation != "add" else [last, cell["states"][0]["name"]]
        size = "one" if operation == "mean" else "hidden"
        cell["lines"].append({**line, "size": size, "operands": operands})
        last = line["name"]
    cell["next"][0] = last
    return json.dumps(cell).encode()


SEEDS: Mapping[str, Callable[[], bytes]] = {
    **{f"known_{i}": partial(lambda i: _known()[i], i) for i in range(len(_known()))},
    **{f"random_{seed}": partial(_random, seed) for seed in range(24)},
    "three thousand lines": partial(_of_many_lines, "tanh"),
    "three thousand stages": partial(_of_many_lines, "mean", "add"),
    "nested lists": lambda: b"[" * 100_000,
    "a newer version": lambda: _known()[0].replace(b'"format": 1', b'"format": 99'),
}


def mutations(random: Random) -> Iterator[bytes]:
    """Random cells as they are, and they and the known ones with something changed."""

    def value() -> Any:
        is_known = random.random() < 0.5
        return json.loads(random.choice(_known())) if is_known else random_cell(random)

    mutate = Mutator(value, random)
    while True:
        yield json.dumps(random_cell(random)).encode() if random.random() < 0.1 else mutate()


def run(data: bytes) -> None:
    """Reads the description, and does all that can be done with one.

    Raises:
        AssertionError: it is refused in too many words, or two that should agree don't.
        Exception: whatever was raised beside a refusal.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            _refused_by_a_folder(data, folder)
            return
        description = _or_refusal(lambda: from_json(value))
        if isinstance(description, str):
            _refused_by_a_folder(data, folder)
            return
        assert from_json(json.loads(json.dumps(to_json(description)))) == description
        _shown(description)
        if isinstance(_or_refusal(lambda: chosen(value)), str):
            _refused_by_a_folder(data, folder)
        else:
            _comes_back(description, folder)
        _runs(description, folder)


def _or_refusal(made: Callable[[], Any], refusal: type[Exception] = InputError) -> Any:
    """What is made, or the one line that refuses it."""
    try:
        return made()
    except refusal as error:
        message = str(error)
    assert "\n" not in message, "a message of more than one line"
    assert 0 < len(message) < 1000, "a message that quotes the file"
    return message


# --- In a run folder.


@cache
def _config() -> str:
    """The config of a run, with a mark where the cell stands."""
    with tempfile.TemporaryDirectory() as place:
        save_run(_run(described(cells.PeepholeLSTM)), Path(place))
        content = json.loads((Path(place) / CONFIG).read_text())
    content["network"]["cell"] = MARK
    return json.dumps(content)


def _run(cell: Description) -> Run:
    config = NetworkConfig(cell=cell, input_size=6, hidden_size=UNITS["hidden"], output_size=1)
    table = TableConfig(inputs=list("abcdef"), targets=["y"], window=STEPS)
    scalers = [Scaler(np.zeros(n), np.ones(n)) for n in (6, 1)]
    return Run(Network(config).eval(), table, *scalers)


def _refused_by_a_folder(data: bytes, folder: Path) -> None:
    before, after = _config().split(f'"{MARK}"')
    written = before.encode() + data + after.encode()
    try:
        content = json.loads(written)
        content[DIGESTS][CONFIG] = config_digest(content)
        written = json.dumps(content).encode()
    except (ValueError, RecursionError):
        pass  # no JSON, or nothing that the digest could be of
    (folder / CONFIG).write_bytes(written)
    (folder / "model.safetensors").write_bytes(b"")
    for reader in (load_run, read_run):
        message = _or_refusal(partial(reader, folder))
        assert isinstance(message, str), "a run of a cell that is refused"
        assert str(folder) in message, "a message that does not name the folder"


def _comes_back(cell: Description, folder: Path) -> None:
    """A run with the cell, written and read, is the same run."""
    try:
        made = _run(cell)
    except ValidationError:  # blocks, for one, that do not go with its sizes
        return
    save_run(made, folder)
    loaded = _or_refusal(lambda: load_run(folder))
    if isinstance(loaded, str):  # numbers that a file of weights may not hold
        assert "is not finite" in loaded, loaded
        return
    x = torch.randn(ROWS, STEPS, 6)
    with torch.no_grad():
        outputs = [run.network(x)[0] for run in (made, loaded)]
    torch.testing.assert_close(*outputs, rtol=0, atol=0, equal_nan=True)


# --- As a module.


def _shown(description: Description) -> None:
    assert equations(description)
    picture = _or_refusal(lambda: unrolled.draw(description))
    if isinstance(picture, flow_picture.Picture):
        ElementTree.fromstring(picture)


def _runs(description: Description, folder: Path) -> None:
    sizes: Any = sizes_of(description.sizes)
    module = _or_refusal(
        lambda: unrolled.Recurrent(description, dtype=torch.float64, **sizes), ValueError
    )
    if isinstance(module, str):
        return
    assert repr(module)
    given = _Given(module)
    with _Watch() as watch:
        expected = _results(module, "reference", given)
    found = _natively(module, given)
    if found is not None and watch.all_finite:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1 + NUDGE)
        _agree(found, expected, _results(module, "reference", given.nudged()))
    module.eval()
    _or_refusal(lambda: unrolled.export_onnx(module, folder / "cell.onnx"))
    constants = {name: value.float() for name, value in given.constants.items()}
    module.float()(given.x.float(), **constants)  # from zeros


class _Given:
    """The input, the states and the constants of a call."""

    def __init__(self, module: unrolled.Recurrent) -> None:
        cell, units = module.cell, module.units
        self.x = _numbers(STEPS, ROWS, UNITS["input"])
        self.states = tuple(_numbers(1, ROWS, units[state.size]) for state in cell.states)
        self.constants = {c.name: _numbers(ROWS, units[c.size]) for c in cell.constants}

    def nudged(self) -> _Given:
        """The same, with all numbers a little larger."""
        other = copy.copy(self)
        other.x = self.x * (1 + NUDGE)
        other.states = tuple(state * (1 + NUDGE) for state in self.states)
        other.constants = {name: value * (1 + NUDGE) for name, value in self.constants.items()}
        return other


def _numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


class _Watch(TorchFunctionMode):
    """Whether every number that torch computes within is finite.

    Where one is not, a derivative that torch leaves out may be 0 times infinity on the core.
    """

    all_finite = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.is_floating_point():
            self.all_finite &= bool(torch.isfinite(found).all())
        return found


def _natively(module: unrolled.Recurrent, given: _Given) -> list[Tensor] | None:
    """What the compiled core says, if it can run this."""
    try:
        return _results(module, "native", given)
    except RuntimeError as error:
        if str(error).startswith("the native backend is forced, and can't run this: "):
            return None
        raise


def _results(module: unrolled.Recurrent, backend: Any, call: _Given) -> list[Tensor]:
    """The outputs, the last states and all gradients, outside of training and in it."""
    found = []
    leaves = {name: value.clone().requires_grad_() for name, value in call.constants.items()}
    given, *states = (tensor.clone().requires_grad_() for tensor in (call.x, *call.states))
    wanted = [given, *states, *leaves.values(), *module.parameters()]
    for is_training in (False, True) if module.cell.draws else (False,):
        module.train(is_training)
        torch.manual_seed(1)
        with unrolled.backend(backend):
            output, last = module(given, tuple(states), **leaves)
            results = [output, *last]
            along = [torch.randn(r.shape, dtype=r.dtype) for r in results]
            loss = sum((r * a).sum() for r, a in zip(results, along, strict=True))
            gradients = torch.autograd.grad(loss + 0 * given.sum(), wanted, allow_unused=True)
        found += [r.detach() for r in results]
        pairs = zip(gradients, wanted, strict=True)
        found += [torch.zeros_like(w) if g is None else g for g, w in pairs]
    return found


def _agree(found: list[Tensor], expected: list[Tensor], nudged: list[Tensor]) -> None:
    """That two are alike, up to what a nudge of all that is given changes, where they are numbers.

    A cell may be chaotic, or jump: then roundings show.
    """
    for one, other, beside in zip(found, expected, nudged, strict=True):
        if not (other.isfinite().all() and beside.isfinite().all()):
            continue
        allowed = 1e-9 * max(1.0, float(other.abs().max()))
        allowed += 1e5 * float((other - beside).abs().max())
        apart = float((one - other).abs().max())
        assert apart <= allowed, f"the core and the equations differ by {apart:.1e}"
