"""Makes of the package's docstrings what the API pages show."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from griffe import (
    Class,
    Docstring,
    Extension,
    Function,
    Module,
    Object,
    Parameter,
    ParameterKind,
    Parameters,
)

ROLE = re.compile(r":(?:func|class|meth|attr|mod|data|exc):`(~?)([^`]+)`")
LITERAL = re.compile(r"::$", re.M)
PAGES = Path(__file__).resolve().parents[2] / "docs/api"
LIKE_TORCHS = ("RNN", "LSTM", "GRU")


class Docstrings(Extension):
    """Cross-references as links or code, and the defaults of arguments that go on to torch."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Rewrites the whole package, once it is loaded and before docstrings are parsed."""
        shown = _shown()
        for obj in _objects(pkg):
            if obj.docstring is not None:
                if isinstance(obj, Class):
                    _list_fields(obj, obj.docstring)
                _rewrite(obj.docstring, shown)
        recurrent = pkg["nn.recurrent"]
        for name in LIKE_TORCHS:
            recurrent[name].set_member("__init__", _torchs_init(recurrent[name]))


def _rewrite(docstring: Docstring, shown: dict[str, str]) -> None:
    def link(found: re.Match[str]) -> str:
        is_short, name = found[1] == "~", found[2]
        last = name.rsplit(".", 1)[-1]
        text = last if is_short else name
        # By the last part: within the package a name is written as it is known where it stands.
        is_ours = name.startswith("unrolled.") or "." not in name
        return f"[`{text}`][{shown[last]}]" if is_ours and last in shown else f"`{text}`"

    docstring.value = LITERAL.sub(":", ROLE.sub(link, docstring.value))


def _list_fields(owner: Class, docstring: Docstring) -> None:
    """A table of a class's fields, where its docstring has none."""
    fields = [
        member
        for name, member in owner.attributes.items()
        if member.annotation is not None and not name.startswith(("_", "model_"))
    ]
    if "Attributes:" not in docstring.value and fields:
        lines = [f"    {field.name}: {_default(str(field.value or ''))}" for field in fields]
        docstring.value += "\n\nAttributes:\n" + "\n".join(lines)


def _default(value: str) -> str:
    given = re.match(r"Field\(default=([^,)]+)", value)
    if given or (value and "(" not in value):
        return f"`{given[1] if given else value}` unless given."
    return "empty unless given." if "default_factory" in value else "—"


def _shown() -> dict[str, str]:
    """What has a place on the API pages: its name to its anchor there."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))]
    anchors = re.findall(r"^::: (\S+)", "\n".join(pages), flags=re.M)
    return {anchor.rsplit(".", 1)[-1]: anchor for anchor in anchors}


def _objects(obj: Object) -> Iterator[Object]:
    yield obj
    for member in obj.members.values():
        if isinstance(member, Object):  # and no alias of another
            yield from _objects(member)


def _torchs_init(module: Class) -> Function:
    """The constructor as torch documents it, where the code hands its arguments on as they come."""
    of_torch = inspect.signature(torch.nn.RNNBase.__init__).parameters
    assert module.docstring is not None
    documented = re.findall(r"^    (\w+): ", module.docstring.value, flags=re.M)
    kind = ParameterKind.positional_or_keyword
    parameters = [Parameter("self", kind=kind)]
    for name in documented:
        if name in of_torch:
            default = of_torch[name].default
            shown = None if default is inspect.Parameter.empty else repr(default)
        else:
            shown = {"nonlinearity": "'tanh'", "recompute_every": "None"}[name]
        parameters.append(Parameter(name, kind=kind, default=shown))
    return Function("__init__", parameters=Parameters(*parameters))
