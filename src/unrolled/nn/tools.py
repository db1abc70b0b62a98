"""What tools that take a model apart meet in our modules: torch.fx and torch.jit.script."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.fx import Proxy, Tracer, _symbolic_trace
from torch.utils._pytree import tree_leaves


class ForTools(torch.nn.Module):
    """A base of our modules: one node to torch.fx, as torch's are; torch's to torch.jit.script."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As every module; while torch.fx traces symbolically, one ``call_module`` node."""
        # Before the hooks run: they belong to the node, which will run them.
        if not torch.compiler.is_compiling() and _symbolic_trace._is_fx_tracing_flag:
            tracer = _tracer(self, args, kwargs)
            if tracer is not None and self._runs_its_own_forward():
                return tracer.call_module(self, _one_node(tracer, self), args, kwargs)
        return super().__call__(*args, **kwargs)

    def _runs_its_own_forward(self) -> bool:
        """Whether no subclass, and nothing on the instance, has put another forward in its place.

        Such a forward is followed into, as one on top of torch's is.
        """
        brings_it = next(cls for cls in type(self).__mro__ if "forward" in vars(cls))
        return ForTools in brings_it.__bases__ and "forward" not in vars(self)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """What torch.jit.script compiles in this module's place: torch's, on the same weights."""
        from unrolled.nn.exchange import torchs_for  # it is built on the modules

        theirs = torchs_for(self)
        if isinstance(theirs, str):
            raise RuntimeError(
                f"torch.jit.script compiles torch.nn's own recurrent modules only: {theirs}. "
                "Trace the model (torch.jit.trace), or export it (torch.export)"
            )
        warnings.warn(
            f"torch.jit.script puts torch.nn's {theirs.__name__} in place of unrolled's, here and "
            "in the model that it compiles: the same weights, without unrolled's speed. "
            "unrolled.convert(model) brings it back where the model goes on in Python",
            stacklevel=2,
        )
        twin = theirs.__new__(theirs)
        vars(twin).update(vars(self))
        vars(twin).pop("recompute_every", None)  # torch's knows nothing of it
        return twin


def _tracer(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tracer | None:
    """Who is tracing a call of the module symbolically, if somebody is."""
    for value in tree_leaves((args, kwargs)):
        if isinstance(value, Proxy) and isinstance(value.tracer, Tracer):
            return value.tracer
    # Arguments may all be constants. Who traces then shows in the weights.
    name, _ = next(iter(module.named_parameters()), (None, None))
    if name is None:
        return None
    owner, _, last = name.rpartition(".")
    weight = getattr(module.get_submodule(owner), last)
    if isinstance(weight, Proxy) and isinstance(weight.tracer, Tracer):
        return weight.tracer
    return None


def _one_node(tracer: Tracer, module: torch.nn.Module) -> Callable[..., Any]:
    """A forward that puts one call of the module into the graph."""
    path = tracer.path_of_module(module)
    return lambda *args, **kwargs: tracer.create_proxy("call_module", path, args, kwargs)
