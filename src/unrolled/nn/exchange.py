"""torch's recurrent modules made ours where they stand, and back: by their class alone.

Our modules keep nothing in an instance that torch's do not, so that the class makes all the
difference: parameters, buffers, hooks and flags lie in the instance, which stays.
"""

from __future__ import annotations

import copyreg
import types
from typing import Any

import torch
from torch.nn.utils import parametrize

from unrolled.nn.cells import GRUCell, LSTMCell, RNNCell
from unrolled.nn.recurrent import GRU, LSTM, RNN, STEPS_OF_TORCHS_FORWARD

Class = type[torch.nn.Module]

OURS: tuple[Class, ...] = (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
TORCHS: dict[Class, Class] = {getattr(torch.nn, ours.__name__): ours for ours in OURS}
NAMES = [ours.__name__ for ours in OURS]

_OF_FORWARD = ("forward", *STEPS_OF_TORCHS_FORWARD)


def ours_for(module: torch.nn.Module) -> Class | str:
    """The class with which torch's ``module`` is ours, or, in words, why there is none.

    An exact ``torch.nn.LSTM`` gets ``unrolled.LSTM``. A subclass that leaves the pass to torch gets
    a subclass of both, so that its methods and ``isinstance`` hold; a parametrized one gets the
    class that torch would have made, had it parametrized ours.
    """
    name = type(module).__name__
    if isinstance(module, OURS):
        return f"{name} is unrolled's already"
    of_torch = next((cls for cls in type(module).__mro__ if cls in TORCHS), None)
    if of_torch is None:
        return _why_foreign(module)
    if "forward" in vars(module):
        return "its forward was replaced on the instance, by another library perhaps"
    bare = _unparametrized(type(module))
    obstacle = _in_class(bare, of_torch) or _in_names(module, of_torch)
    if obstacle is not None:
        return obstacle
    try:
        ours = TORCHS[bare] if bare in TORCHS else _extended(bare, TORCHS[of_torch])
    except Exception as error:  # whatever the class's metaclass or __init_subclass__ raises
        return f"its class {name} can't be extended: {error}"
    return _parametrized_like(type(module), ours)


def torchs_for(module: torch.nn.Module) -> Class | str:
    """The class with which our ``module`` is torch's, or, in words, why there is none.

    For a module that was given the class of :func:`ours_for` it is the one before.
    """
    ours = _unparametrized(type(module))
    if issubclass(ours, _Extended):
        return _parametrized_like(type(module), ours.original())
    if ours not in OURS:
        return f"its class {ours.__name__} extends unrolled's, and torch has none like it"
    return _parametrized_like(type(module), getattr(torch.nn, ours.__name__))


def _in_class(cls: Class, of_torch: Class) -> str | None:
    """What a subclass of torch's has of its own that ours would pass by, in words."""
    name, known = cls.__name__, of_torch.__mro__
    for base in cls.__mro__:
        if base.__module__.split(".")[0] == "torch" and base not in known:
            return f"its class {name} is also torch's {base.__name__}, which goes by the class"
    for attribute in _OF_FORWARD:
        if getattr(cls, attribute, None) is not getattr(of_torch, attribute, None):
            what = "a forward" if attribute == "forward" else f"a {attribute}"
            return f"its class {name} has {what} of its own"
    return None


def _in_names(module: torch.nn.Module, of_torch: Class) -> str | None:
    """Whether the module has an attribute by a name that our class adds to torch's, in words."""
    ours = TORCHS[of_torch]
    added = {name for cls in ours.__mro__ if cls not in of_torch.__mro__ for name in vars(cls)}
    for attribute in sorted(added.difference(dir(of_torch))):
        if hasattr(module, attribute):
            return f"it has an attribute {attribute}, which unrolled's {of_torch.__name__} uses"
    return None


class _Extended(torch.nn.Module):
    """Marks a subclass of a user's class and ours that was made here, and lets it be pickled."""

    @classmethod
    def original(cls) -> Class:
        original: Class = cls.__bases__[0]
        return original

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced: Any = super().__reduce_ex__(max(protocol, 2))
        if reduced[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]
            return reduced  # the user's class has a way of its own
        # The made class has no place to be imported from; the one that it was made of has.
        _, (_, *arguments), *state = reduced
        return _new_extended, (self.original(), *arguments), *state


def _extended(cls: Class, ours: Class) -> Class:
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    # The user's class first, so that Python has the same layout for it and lets them be exchanged.
    bases = (cls, _Extended, ours)
    return types.new_class(cls.__name__, bases, exec_body=lambda body: body.update(names))


def _new_extended(cls: Class, *arguments: Any) -> torch.nn.Module:
    of_torch = next(base for base in cls.__mro__ if base in TORCHS)
    made = _extended(cls, TORCHS[of_torch])
    return made.__new__(made, *arguments)


def _unparametrized(cls: Class) -> Class:
    return cls.__bases__[0] if _is_parametrized(cls) else cls


def _is_parametrized(cls: Class) -> bool:
    """Whether torch.nn.utils.parametrize made the class, one for each module."""
    return cls.__module__ == parametrize.__name__ and cls.__name__.startswith("Parametrized")


def _parametrized_like(cls: Class, base: Class) -> Class:
    """``base`` with the properties that parametrize gave to ``cls``, if it did."""
    if not _is_parametrized(cls):
        return base
    # Not by __bases__: copies of a parametrized module share its class, and stay as they are.
    of_class = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    return type(f"Parametrized{base.__name__}", (base,), of_class)


def _why_foreign(module: torch.nn.Module) -> str:
    """Why a module that is none of torch.nn's six is left; "" where it is nothing recurrent."""
    if isinstance(module, torch.jit.ScriptModule):
        name = getattr(module, "original_name", "")
        return f"torch.jit has compiled this {name}; convert before that" if name in NAMES else ""
    cls = type(module)
    if cls.__module__.startswith("torch.ao.") and cls.__name__ in NAMES:
        return f"a quantised {cls.__name__} of torch.ao, which has kernels of its own"
    if isinstance(module, torch.nn.RNNBase | torch.nn.RNNCellBase):
        return f"its class {cls.__name__} is none of torch.nn's {', '.join(NAMES)}"
    return ""
