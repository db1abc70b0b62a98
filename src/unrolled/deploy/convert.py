"""Other people's networks on this package's recurrent modules, in place, and back."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from unrolled.nn.exchange import OURS, ours_for, torchs_for

_MARK = "_unrolled_converted"
"""An attribute of the modules that were torch's before; it is what ``revert`` goes by."""


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` or :func:`revert` did; ``print`` shows it as a list.

    Attributes:
        replaced: the path of each module that was replaced in the model, as ``named_modules`` has
            it ("" is the model itself), and the name of its class.
        left: the path of each other recurrent module, and why it was left as it is.
    """

    replaced: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.replaced and not self.left:
            return "There is no RNN, LSTM, GRU or cell in the model."
        parts = [("Replaced", self.replaced), ("Left", self.left)]
        width = max(len(_shown(path)) for _, part in parts for path in part)
        lines = []
        for title, part in parts:
            lines.append(f"{title}: {len(part)}")
            lines += [f"  {_shown(path):{width}}  {what}" for path, what in part.items()]
        return "\n".join(lines)


def convert(model: torch.nn.Module) -> Conversion:
    """Makes every torch.nn.RNN, LSTM, GRU and cell in the model this package's own, in place.

    The modules stay the objects that they are and change their class alone. So the ``Parameter``
    objects are the same (an optimiser made before goes on), and ``state_dict``, hooks,
    parametrizations, train or eval mode, device and dtype are as they were.

    Args:
        model: any module, which may be a recurrent one itself. What it keeps outside its registered
            submodules, in a plain list for example, is not found.

    Returns:
        What was replaced, and what was left and why. A module that stands at several paths is named
        by the first. Left are: subclasses with a forward of their own, or with a method of their
        own that torch's forward calls; modules whose forward was replaced on the instance; what
        torch.jit compiled or torch.ao quantised; what is unrolled's already. A subclass that leaves
        the pass to torch, such as one with initial values of its own, is replaced and stays an
        instance of its class.

    Raises:
        TypeError: the model is no torch.nn.Module.
    """
    found = Conversion()
    for path, module in checked(model).named_modules():
        cls = ours_for(module)
        if isinstance(cls, str):
            if cls:
                found.left[path] = cls
            continue
        name = type(module).__name__
        module.__class__ = cls
        setattr(module, _MARK, True)
        found.replaced[path] = name
    return found


def revert(model: torch.nn.Module, *, every: bool = False) -> Conversion:
    """Undoes :func:`convert`: each module that it replaced has its old class again, in place.

    What was trained in between stays.

    Args:
        model: a module that was converted, or holds some that were; a copy, or one out of a pickle,
            does as well.
        every: whether modules that were unrolled's from the start are made torch's too, for a tool
            that looks for torch's classes. Otherwise they are left.

    Returns:
        What was put back, and which of unrolled's modules were left and why.

    Raises:
        TypeError: the model is no torch.nn.Module.
    """
    found = Conversion()
    for path, module in checked(model).named_modules():
        if not isinstance(module, OURS):
            continue
        name = type(module).__name__
        if _MARK not in vars(module) and not every:
            found.left[path] = f"{name} was unrolled's from the start; every=True reverts it too"
            continue
        cls = torchs_for(module)
        if isinstance(cls, str):
            found.left[path] = cls
            continue
        module.__class__ = cls
        for attribute in (_MARK, "recompute_every"):  # torch's knows nothing of either
            vars(module).pop(attribute, None)
        found.replaced[path] = name
    return found


def checked(model: object) -> torch.nn.Module:
    """The model.

    Raises:
        TypeError: it is no module.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"model should be a torch.nn.Module, got {type(model).__name__}. "
            "Give the network that it holds, such as model.model or model.module_"
        )
    return model


def _shown(path: str) -> str:
    return path or "(the model)"
