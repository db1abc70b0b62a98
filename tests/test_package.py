"""The package as it is met at a prompt: what is there, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import unrolled

ROOMS = ["cells", "deploy", "errors", "inspect", "learn", "model", "nn", "tasks"]


def run(code: str) -> str:
    """What a fresh process prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    "name",
    [
        "nn.LSTM",
        "tasks.make_task",
        "inspect.scene.Scene",
        "inspect.pictures.save_pictures",
        "deploy.onnx_quantize.export_quantized",
        "model.Network",
        "learn.inspection.inspect_run",
        "errors.InputError",
    ],
)
def test_a_public_name_is_reached_from_the_package(name: str) -> None:
    assert run(f"import unrolled; print(unrolled.{name}.__name__)") == name.rpartition(".")[2]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import unrolled, sys; print(sorted(sys.modules.keys() & {'torch', 'numpy', 'polars'}))"
    assert run(code) == "[]"


def test_importing_the_cells_imports_none_of_them() -> None:
    code = "import sys, unrolled.cells; print(*(m for m in sys.modules if 'unrolled.cells.' in m))"
    assert run(code) == ""


def test_the_package_shows_its_public_names_alone() -> None:
    assert dir(unrolled) == sorted([*unrolled.__all__, *ROOMS, "__version__"])


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "errors"])
def test_a_subpackage_shows_its_public_names_alone(room: str) -> None:
    package = getattr(unrolled, room)
    assert dir(package) == sorted(package.__all__)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


def test_a_star_import_leaves_pythons_inspect_alone() -> None:
    assert run("import inspect\nfrom unrolled import *\nprint(inspect.getsource.__name__)")


@pytest.mark.parametrize(
    "where", ["unrolled", "unrolled.cells", "unrolled.inspect", "unrolled.tasks"]
)
def test_a_name_that_is_not_there(where: str) -> None:
    code = f"import unrolled\ntry: {where}.nothing\nexcept AttributeError as e: print(e)"
    assert run(code) == f"module '{where}' has no attribute 'nothing'"


@pytest.mark.parametrize("room", ["", *(room for room in ROOMS if room != "errors")])
def test_a_type_checker_sees_what_is_found_at_run_time(room: str) -> None:
    """It reads imports, and not ``__getattr__``."""
    package = getattr(unrolled, room) if room else unrolled
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    imported = [alias for node in ast.walk(tree) for alias in getattr(node, "names", [])]
    reexported = {alias.name for alias in imported if alias.asname == alias.name}
    defined = {getattr(node, "name", "") for node in tree.body}
    defined |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    listed = {alias.name for alias in imported} & set(package.__all__)
    assert set(dir(package)) <= reexported | listed | defined | {"__version__"}
