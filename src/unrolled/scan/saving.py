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

from unrolled.scan.spec import Spec


@lru_cache(maxsize=1024)
def reads_back(
    spec: Spec, states: int, wanted: tuple[bool, ...], *, is_long: bool
) -> tuple[bool, ...]:
    """Which of the input, the states given and the weights a backward pass of torch's reads.

    A product of two reads each of them for the gradient of the other.

    Args:
        spec: the pass.
        states: how many states were given.
        wanted: for each of the input, the states and the weights whether it requires a gradient.
        is_long: whether there is more than one step.
    """
    if spec.recompute_every is not None:
        return (True,) * len(wanted)
    weights = spec.weights(wanted[1 + states :])
    hidden, cell = (*wanted[1 : 1 + states], False, False)[:2]
    reads_cell = False
    of_weights: list[bool] = []
    below = wanted[0]  # whether what the layer reads requires a gradient
    for layer in range(spec.num_layers):
        above = False
        for w in weights[layer * spec.directions : (layer + 1) * spec.directions]:
            # The gates of the first step, its hidden state before the projection, and after it.
            gates = bool(below or hidden or w.ih or w.hh or w.bias_ih or w.bias_hh)
            raw = gates or cell
            after = raw or bool(w.hr)
            of_weights += [below, hidden or (is_long and after)]
            of_weights += [False, False] if spec.bias else []
            of_weights += [raw or (is_long and after)] if spec.projected else []
            reads_cell = reads_cell or gates
            above = above or after
        below = above
    reads_input = any(w.ih for w in weights[: spec.directions])
    reads_hidden = any(w.hh for w in weights)
    return (reads_input, *(reads_hidden, reads_cell)[:states], *of_weights)


class Given:
    """The tensors that a pass was given: what is saved of them, and how it comes back.

    What torch would read again is saved as it is, so that autograd refuses it once it has been
    changed. Of the others we keep the tensor, since only a second derivative reads them; the states
    are small, and copied, because the core does read them.
    """

    def __init__(self, tensors: Sequence[Tensor], read: Sequence[bool], states: int) -> None:
        # What works on saved tensors by hooks, as checkpoints do, is to work on all of them.
        is_hooked = torch._C._autograd._top_saved_tensors_default_hooks(True) is not None
        self.shapes = [tensor.shape for tensor in tensors]
        self.dtype = tensors[0].dtype
        self._saved: list[Tensor | None] = list(tensors)
        self._kept: dict[int, tuple[Tensor, int | None]] = {}
        self._leaves: dict[int, tuple[Tensor, int]] = {}
        for i, tensor in enumerate(tensors[: 1 + states]):
            if tensor.is_leaf and tensor.requires_grad:
                # Autograd would save the variable, and give back what its data are by then. Torch
                # saves parts of these, which stay.
                self._leaves[i] = tensor, tensor.data_ptr()
                self._saved[i] = tensor.detach()
        if is_hooked or all(read):
            return
        for i, (tensor, is_read) in enumerate(zip(tensors, read, strict=True)):
            if not is_read:
                self._kept[i] = tensor, _version(tensor)
                self._saved[i] = tensor.clone() if 0 < i <= states else None

    def release(self) -> list[Tensor | None]:
        """What autograd is to save, and hold from then on."""
        saved, self._saved = self._saved, []
        return saved

    def restored(self, saved: Sequence[Tensor | None], *, again: bool) -> list[Tensor]:
        """The tensors, from what autograd saved; ``again`` if derivatives of derivatives are asked.

        Raises:
            RuntimeError: one has another shape or dtype, or was changed and is read all the same.
        """
        found: list[Tensor] = []
        for i, (tensor, shape) in enumerate(zip(saved, self.shapes, strict=True)):
            if i in self._kept:
                kept, version = self._kept[i]
                if again and version is not None and kept._version != version:
                    raise RuntimeError(_changed_in_place(kept, version))
                tensor = kept if again or tensor is None else tensor
            if again and i in self._leaves:
                tensor, address = self._leaves[i]
                if tensor.data_ptr() != address:
                    raise RuntimeError(
                        "the data of a state or of the input was replaced, and can't be "
                        "differentiated again. Replace it after the backward pass"
                    )
            if tensor is None or tensor.shape != shape:
                raise RuntimeError(
                    "a weight, a state or the input has another shape than in the forward pass. "
                    "Was its data replaced before the backward pass?"
                )
            if tensor.dtype != self.dtype:
                raise RuntimeError(
                    "a weight, a state or the input has another dtype or device than in the "
                    "forward pass. Was the module or its data converted before the backward pass?"
                )
            found.append(tensor)
        return found


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
