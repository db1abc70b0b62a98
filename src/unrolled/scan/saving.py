"""What a pass on the compiled core keeps for its backward pass, and how it comes back.

A tensor that a user gave may be changed in place before the backward pass. Torch's modules notice
it of those that they read again, and go on undisturbed where it was another. So do ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.scan.spec import Spec, of_layers


@lru_cache(maxsize=1024)
def reads_back(
    spec: Spec, states: int, wanted: tuple[bool, ...], *, is_long: bool
) -> tuple[bool, ...]:
    """Which of the tensors that a pass is given a backward pass of torch's reads.

    A product of two reads each of them for the gradient of the other. Of a cell that torch does not
    have all are read.

    Args:
        spec: the pass.
        states: how many states were given.
        wanted: for each of :meth:`Given.tensors` whether it requires a gradient.
        is_long: whether there is more than one step.
    """
    if spec.kernel is None:
        return (True,) * len(wanted)
    names = [weight.name for weight in spec.cell.weights]
    layers = [
        dict(zip(names, flags, strict=True)) for flags in of_layers(spec, wanted[1 + states :])
    ]
    hidden, cell = (*wanted[1 : 1 + states], False, False)[:2]
    reads_cell = False
    of_weights: list[bool] = []
    below = wanted[0]  # whether what the layer reads requires a gradient
    for layer in range(spec.num_layers):
        above = False
        for w in layers[layer * spec.directions : (layer + 1) * spec.directions]:
            projection = w.get("weight_hr", False)
            # The gates of the first step, its hidden state before the projection, and after it.
            gates = below or hidden or any(w[name] for name in names if name != "weight_hr")
            raw = gates or cell
            after = raw or projection
            of_weights += [below, hidden or (is_long and after)]
            of_weights += [False, False] if spec.is_biased else []
            of_weights += [raw or (is_long and after)] if spec.is_projected else []
            reads_cell = reads_cell or gates
            above = above or after
        below = above
    reads_input = any(w["weight_ih"] for w in layers[: spec.directions])
    reads_hidden = any(w["weight_hh"] for w in layers)
    return (reads_input, *(reads_hidden, reads_cell)[:states], *of_weights)


def handed(tensors: Sequence[Tensor]) -> list[Tensor]:
    """What autograd is handed of the tensors that a pass was given, as torch's modules do it.

    These read views of them: parts of the input and of the states, and matrices transposed.
    Autograd does not follow a view of an inference tensor, so that it gets no gradient. Another
    view leads to where the tensor was computed, and still does when that is detached in place.

    Args:
        tensors: the input [T, B, I] or ragged [N, I], the states, the constants and the weights.
    """
    return [
        _handed(tensor, is_input=i == 0) if tensor.requires_grad else tensor
        for i, tensor in enumerate(tensors)
    ]


def _handed(tensor: Tensor, *, is_input: bool) -> Tensor:
    if tensor.is_inference():
        is_read_itself = tensor.dim() == 1 or (is_input and tensor.dim() == 2)  # biases, rows
        return tensor if is_read_itself else tensor.detach()
    return tensor if tensor.is_leaf else tensor.view_as(tensor)


class Given:
    """The tensors that a pass was given: what is saved of them, and how it comes back.

    What torch would read again is saved, so that autograd refuses it once it has been changed, and
    if the pass is to be repeated, so is the rest. Of the others we keep the tensor, since only a
    second derivative reads them; the states are small, and copied, because the core does read them.

    The numbers are those of an alias, as in torch's modules, whose views stay where they are when
    the tensor's ``data`` is replaced. A leaf is kept beside it, since an alias leads nowhere; of
    what was computed :func:`handed` gave an alias that leads there.
    """

    def __init__(
        self, tensors: Sequence[Tensor], read: Sequence[bool], states: int, *, repeats: bool
    ) -> None:
        # What works on saved tensors by hooks, as checkpoints do, is to work on all of them.
        self.is_hooked = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
        self.shapes = [tensor.shape for tensor in tensors]
        self.dtype = tensors[0].dtype
        self._saved: list[Tensor | None] = []
        self._leaves: dict[int, Tensor] = {}
        self._kept: dict[int, tuple[Tensor, int | None]] = {}
        keeps = not (self.is_hooked or repeats or all(read))
        for i, (tensor, is_read) in enumerate(zip(tensors, read, strict=True)):
            if not tensor.requires_grad:
                alias = tensor.detach()
            elif tensor.is_leaf:
                alias, self._leaves[i] = tensor.detach(), tensor
            else:
                alias = tensor
            saved: Tensor | None = alias
            if keeps and not is_read:
                self._kept[i] = alias, _version(tensor)
                saved = tensor.clone() if 0 < i <= states else None
            elif tensor.is_inference() and not (is_read and _is_multiplied(tensor, i)):
                saved = tensor.clone()
            self._saved.append(saved)

    def release(self) -> list[Tensor | None]:
        """What autograd is to save, and hold from then on: one for each tensor."""
        saved, self._saved = self._saved, []
        return saved

    def restored(self, saved: Sequence[Tensor | None]) -> list[Tensor]:
        """The numbers of each tensor, from what autograd saved.

        Raises:
            RuntimeError: one has another shape or dtype.
        """
        found = []
        for i, (tensor, shape) in enumerate(zip(saved, self.shapes, strict=True)):
            found.append(self._checked(self._kept[i][0] if tensor is None else tensor, shape))
        return found

    def stand_ins(
        self, saved: Sequence[Tensor | None], values: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor]:
        """Tensors to differentiate again: with these values, and in the graph as it was then.

        What required a gradient in the forward pass leads back to it, and what did not is a
        constant, whichever of both it is by now.

        Raises:
            RuntimeError: one has another shape or dtype, or was changed in place.
        """
        found = []
        for i, (value, is_wanted) in enumerate(zip(values, wanted, strict=True)):
            tensor, version = self._kept.get(i, (saved[i], None))
            if version is not None and tensor is not None and tensor._version != version:
                raise RuntimeError(_changed_in_place(tensor, version))
            if not is_wanted:
                found.append(value.detach())
                continue
            tensor = self._leaves.get(i, tensor)
            assert tensor is not None
            stand_in = _differentiated(self._checked(tensor, self.shapes[i]))
            if stand_in.data_ptr() != value.data_ptr():
                stand_in.data = value
            found.append(stand_in)
        return found

    def _checked(self, tensor: Tensor, shape: torch.Size) -> Tensor:
        if tensor.shape != shape:
            raise RuntimeError(
                "a weight, a state or the input has another shape than in the forward pass. "
                "Was its data replaced before the backward pass?"
            )
        if tensor.dtype != self.dtype:
            raise RuntimeError(
                "a weight, a state or the input has another dtype or device than in the "
                "forward pass. Was the module or its data converted before the backward pass?"
            )
        return tensor


def _is_multiplied(tensor: Tensor, i: int) -> bool:
    """Whether torch multiplies by the input or the state itself, and not by a copy.

    It makes one of an input [B, T, I] that was transposed. Autograd does not save an inference
    tensor, but it does save what was copied from one.
    """
    if i > 0 or tensor.dim() < 3:
        return True
    steps, batch = tensor.shape[:2]
    return steps == 1 or batch == 1 or tensor.stride(0) == batch * tensor.stride(1)


def _differentiated(tensor: Tensor) -> Tensor:
    """A view that leads back to the tensor, even to a leaf that has been frozen meanwhile."""
    with torch.enable_grad():
        if tensor.is_inference():
            return tensor.clone()  # a view would lead nowhere
        if tensor.requires_grad:
            return tensor.view_as(tensor)
        tensor.requires_grad_()
        try:
            return tensor.view_as(tensor)
        finally:
            tensor.requires_grad_(False)


def by_stand_ins(
    results: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    stand_ins: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of the stand-ins that are wanted, from those of the results, None for zero.

    They can be differentiated again where the graph is wanted.
    """
    known = [
        (o, g)
        for o, g in zip(results, gradients, strict=True)
        if g is not None and o.requires_grad  # else nothing that is wanted leads to it
    ]
    if not known:
        return [None] * len(wanted)
    found = iter(
        torch.autograd.grad(
            outputs=[o for o, _ in known],
            inputs=[t for t, is_wanted in zip(stand_ins, wanted, strict=True) if is_wanted],
            grad_outputs=[g for _, g in known],
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
        )
    )
    return [next(found) if is_wanted else None for is_wanted in wanted]


class Layout(NamedTuple):
    """How a tensor of our own lies in memory; the core reads it as this says."""

    shape: torch.Size
    strides: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor | None) -> Layout | None:
        """That of a tensor, if there is one."""
        return None if tensor is None else cls(tensor.shape, tensor.stride(), tensor.dtype)

    def restored(self, tensor: Tensor) -> Tensor:
        """The tensor as autograd gives it back, in this layout: hooks may have given it another.

        Raises:
            RuntimeError: it has another shape or dtype, or is elsewhere.
        """
        if tensor.shape != self.shape or tensor.dtype != self.dtype or not tensor.is_cpu:
            raise RuntimeError(
                f"a saved tensor is {tensor.dtype} {list(tensor.shape)} on {tensor.device}, and "
                f"{self.dtype} {list(self.shape)} on cpu was expected, as it was saved. Does a "
                "hook on saved tensors give back another?"
            )
        if tensor.stride() == self.strides and not tensor.is_neg():
            return tensor
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype).copy_(tensor)


def _version(tensor: Tensor) -> int | None:
    """How often the tensor was changed in place; inference tensors don't count."""
    return None if tensor.is_inference() else tensor._version


def _changed_in_place(tensor: Any, version: int) -> str:
    """What autograd says of a saved tensor, for one that it did not save."""
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{tensor.type()} {list(tensor.shape)}] is at version {tensor._version}; "
        f"expected version {version} instead. Hint: enable anomaly detection to find the operation "
        "that failed to compute its gradient, with torch.autograd.set_detect_anomaly(True, "
        "check_nan=False)."
    )
