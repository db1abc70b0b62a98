"""RNN, LSTM and GRU with weights in 8 bits, for inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence

from unrolled.nn import calls
from unrolled.nn.checks import Lengths
from unrolled.nn.recurrent import GRU, LSTM, RNN
from unrolled.nn.tools import ForTools
from unrolled.scan import compiled, eight_bits, engine, native, recording
from unrolled.scan.native import memory
from unrolled.scan.passes import Pass
from unrolled.scan.plan import Plan, plans
from unrolled.scan.single import Single, fits, is_single
from unrolled.scan.spec import Drawn, Given, Spec, State

Module = RNN | LSTM | GRU


class Packed:
    """A module's weights as the compiled core reads them, and its passes."""

    def __init__(self, spec: Spec, weights: Sequence[Tensor]) -> None:
        planned = plans(spec, torch.float32)
        assert not isinstance(planned, str)
        each = len(weights) // len(planned)
        self._spec, self._plans = spec, list[Plan]()
        for index, plan in enumerate(planned):
            of_plan = [memory(w) for w in weights[index * each : (index + 1) * each]]
            core = plan.core.with_weights(of_plan)
            self._plans.append(replace(plan, core=core, weights=(), shapes=(), is_learned=()))
        self._single = Single(spec, self._plans[0]) if is_single(spec) else None

    def run(self, given: Given) -> tuple[Tensor, State]:
        """A pass over dense or ragged sequences."""
        if self._single is not None and fits(given.sequences):
            output, last, _ = self._single.forward(given.tensors(), keeps=False)
            return output, last
        return Pass(self._spec, tuple(self._plans), given, Drawn()).forward()


class Quantized(ForTools):
    """An RNN, LSTM or GRU whose products are of whole numbers in 8 bits; see ``quantize``.

    Every row of a weight matrix has a scale, s = max |w| / 127, and is kept as round(w / s). So is
    what a matrix multiplies, the input and the hidden state, for each row of the batch at each
    step. Sums of products are exact, then both scales multiply them. Biases, gates and states are
    in float32.

    Buffers:
        ``weight_ih_l0`` and the other weights of the module by their names, int8 and of the same
        shapes; ``weight_ih_l0_scale`` and so on, the scales of their rows; and the biases.

    Call:
        As the module that it was made of: ``output, h_n = module(input, hx=None, lengths=None)``,
        of an LSTM ``output, (h_n, c_n)``. The results have no gradient. Where torch.jit.trace
        watches, or ``unrolled.backend("torch")`` is in force, torch's kernels multiply float32 by
        the weights that 8 bits can say.

    The core reads the weights in a form of its own, which is made when the module is first called,
    and again when a buffer is another or was changed in place; a change through ``.data`` or NumPy,
    of which torch does not know, is not seen.

    Raises:
        RuntimeError: the input or a state requires a gradient or has a tangent, or the module was
            converted to another dtype than float32; and as the module that it was made of.
    """

    def __init__(self, module: torch.nn.RNNBase) -> None:
        """Takes over the weights of a module, one of torch's or of this package's."""
        super().__init__()
        # No submodule: it belongs to this module, and has no numbers of its own.
        object.__setattr__(self, "_run", _like(module))
        self._packed: tuple[tuple[Any, ...], Packed] | None = None
        self._link()
        with torch.inference_mode(False):  # of other tensors it is known whether they changed
            for name in self._run.names:
                value = getattr(module, name).detach().clone()
                if not name.startswith("weight"):
                    self.register_buffer(name, value)
                    continue
                whole, scale = eight_bits.quantized(value)
                self.register_buffer(name, whole.to(torch.int8))
                self.register_buffer(f"{name}_scale", scale.squeeze(-1))

    def _link(self) -> None:
        object.__setattr__(self._run, "owner", ref(self))

    def forward(self, input: Any, hx: Any = None, lengths: Lengths | None = None) -> Any:
        """See the class."""
        data = input.data if isinstance(input, PackedSequence) else input
        given = [data, *(hx if isinstance(hx, tuple | list) else [hx])]
        if any(isinstance(tensor, Tensor) and _is_differentiated(tensor) for tensor in given):
            raise RuntimeError(
                "an input or a state requires a gradient, and weights in 8 bits are for inference. "
                "Call the module under torch.no_grad() or on input.detach(), or train the module "
                "that it was made of"
            )
        with torch.no_grad():
            return self._run.forward(input, hx, lengths)

    def dequantized(self) -> list[Tensor]:
        """The weights and biases as float32, in torch's order."""
        found = []
        for name, floats in zip(self._run.names, self.in_floats(), strict=True):
            is_weight = name.startswith("weight")
            found.append(self.get_buffer(name).float() * floats[:, None] if is_weight else floats)
        return found

    def in_floats(self) -> list[Tensor]:
        """The scales of the weights, and the biases, in torch's order.

        Raises:
            RuntimeError: they are not float32 any more.
        """
        names = [f"{n}_scale" if n.startswith("weight") else n for n in self._run.names]
        found = [self.get_buffer(name) for name in names]
        for name, floats in zip(names, found, strict=True):
            if floats.dtype != torch.float32:
                raise RuntimeError(
                    f"{name} is {floats.dtype}, and products in 8 bits are of float32. Convert the "
                    "module back: module.float()"
                )
        return found

    def run_pass(self, spec: Spec, given: Given) -> tuple[Tensor, State]:
        """A pass; what is given has the scales and biases in place of the weights."""
        others = given.tensors()[1:]
        if _is_watched() or engine.choose(spec, given.sequences.data, others)[0] != "native":
            return engine.run(spec, replace(given, flat=self.dequantized()))
        return self._packed_for(spec).run(replace(given, flat=()))

    def _packed_for(self, spec: Spec) -> Packed:
        """The weights as they are now, packed if they were not."""
        buffers = list(self._buffers.values())
        # The tensors themselves: as long as they are held, no other has their address.
        key = spec, native.isa(), *[_Seen(buffer) for buffer in buffers]
        if self._packed is None or self._packed[0] != key:
            self._packed = key, Packed(spec, self.dequantized())
        return self._packed[1]

    def __getstate__(self) -> dict[str, Any]:
        """What is packed is not copied or stored, but packed again."""
        return {**vars(self), "_packed": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's has no types
        self._link()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        *_, errors = args
        for name in self._run.names:
            value = state_dict.get(prefix + name)
            is_float = isinstance(value, Tensor) and value.is_floating_point()
            if name.startswith("weight") and is_float:
                errors.append(
                    f"{prefix}{name} is {value.dtype}, and int8 was expected, with scales. Load "
                    "it into the model that this one was made of, and quantize that"
                )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def spec(self) -> Spec:
        """What a call runs."""
        return _in_eight_bits(self._run._spec())

    def extra_repr(self) -> str:
        """What it was made of."""
        return repr(self._run)

    def flatten_parameters(self) -> None:
        """Does nothing; torch's modules have it."""

    def __getattr__(self, name: str) -> Any:
        """Options of the module that it was made of, such as ``hidden_size``, beside its own."""
        if name in OPTIONS and "_run" in vars(self):
            return getattr(self._run, name)
        return super().__getattr__(name)


OPTIONS = (
    "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
    "bidirectional", "proj_size", "nonlinearity",
)  # fmt: skip
"""What can be read of a quantized module as of another."""


class _InEightBits(torch.nn.RNNBase):
    """A module whose weights are its owner's."""

    owner: Callable[[], Quantized]
    _spec: Callable[[], Spec]

    @property
    def names(self) -> list[str]:
        """Those of the weights and biases, in torch's order."""
        return self._flat_weights_names

    def _weights(self) -> list[Tensor]:
        """What stands for them where it is asked which kind of numbers they are."""
        return self.owner().in_floats()

    def _update_flat_weights(self) -> None:
        """For torch's forward, which is to raise torch's errors, or to be traced."""
        self._flat_weights = list(self.owner().dequantized())

    def _run_call(self, call: calls.Call) -> tuple[Any, State]:
        owner = self.owner()
        return calls.run(owner.spec(), call, owner.run_pass)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]  # likewise
        del state["owner"]
        return state


class _RNN(_InEightBits, RNN):
    pass


class _LSTM(_InEightBits, LSTM):
    pass


class _GRU(_InEightBits, GRU):
    pass


def _like(module: torch.nn.RNNBase) -> Any:
    """A module without numbers that has the same options."""
    options: dict[str, Any] = {
        "num_layers": module.num_layers,
        "bias": module.bias,
        "batch_first": module.batch_first,
        "bidirectional": module.bidirectional,
        "device": "meta",
    }
    sizes = module.input_size, module.hidden_size
    if isinstance(module, torch.nn.LSTM):
        found: Any = _LSTM(*sizes, proj_size=module.proj_size, **options)
    elif isinstance(module, torch.nn.GRU):
        found = _GRU(*sizes, **options)
    else:
        nonlinearity = module.mode.removeprefix("RNN_").lower()
        found = _RNN(*sizes, nonlinearity=nonlinearity, **options)
    found.dropout = module.dropout  # as an option that can be read
    return found.eval()


def _is_watched() -> bool:
    """Whether somebody compiles, traces or records the pass, who is to see weights."""
    return compiled.is_one_operator() or recording.active() is not None


def _is_differentiated(tensor: Tensor) -> bool:
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    if forward_ad._current_level < 0:
        return False
    dual = forward_ad.unpack_dual(tensor)  # type: ignore[no-untyped-call]  # likewise
    return dual.tangent is not None


class _Seen:
    """A tensor as it was: equal to itself as long as it has not changed."""

    def __init__(self, tensor: Tensor | None) -> None:
        self.tensor = tensor
        if tensor is not None:
            # An inference tensor does not count its changes.
            self.version = None if tensor.is_inference() else tensor._version
            self.address = tensor.data_ptr()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Seen) or other.tensor is not self.tensor:
            return False
        if self.tensor is None:
            return True
        is_as_before = (self.version, self.address) == (other.version, other.address)
        return self.version is not None and is_as_before

    # What can change has none, as Python would say by itself; ruff wants it said.
    __hash__ = None  # type: ignore[assignment]  # of object it is a method


@lru_cache(maxsize=1024)
def _in_eight_bits(spec: Spec) -> Spec:
    return replace(spec, numbers="int8")
