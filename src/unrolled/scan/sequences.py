"""A batch of sequences in the layout of the pass.

Dense: ``data`` is [T, B, F]. Ragged: the rows are sorted by falling length and only the real
steps are kept, ``data`` [N, F] with ``batch_sizes[t]`` rows at step t (the layout of torch's
``PackedSequence``), so that work is proportional to the sum of the lengths and padding is never
read. Rows of length 0 have no step at all; they exist only in the states. There is always a first
step, if with no row in it: so results hang on the input and the weights even then, and a gradient
is zero rather than missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Sequences(NamedTuple):
    """``data`` [T, B, F], or [N, F] with ``batch_sizes``, a CPU tensor of int64 [T]; T ≥ 1.

    ``order`` [B], of a ragged batch that was sorted here, lists the caller's rows as they stand.
    """

    data: Tensor
    batch_sizes: Tensor | None = None
    order: Tensor | None = None

    def with_data(self, data: Tensor) -> Sequences:
        """The same steps of the same rows with other features."""
        return self._replace(data=data)

    def sizes(self) -> list[int]:
        """How many rows are active at each step [T]."""
        if self.batch_sizes is None:
            steps, batch = self.data.shape[:2]
            return [batch] * steps
        return [int(size) for size in self.batch_sizes.tolist()]


def dense(padded: Tensor, *, batch_first: bool) -> Sequences:
    """A batch in which every row has all the steps: ``padded`` [T, B, F], or [B, T, F]."""
    return Sequences(padded.transpose(0, 1) if batch_first else padded)


@dataclass(frozen=True)
class Ragged:
    """Ragged sequences and the way back to the caller's padded layout.

    ``order`` [B] lists the caller's rows by falling length, ``inverse`` [B] undoes it, and
    ``steps`` [N] is the place of each packed step in the padded batch flattened to [T·B].
    """

    sequences: Sequences
    order: Tensor
    inverse: Tensor
    steps: Tensor
    padded_shape: tuple[int, int]

    def pad(self, data: Tensor) -> Tensor:
        """``data`` [N, F] as a padded batch [T, B, F] or [B, T, F], zero past each length."""
        rows, columns = self.padded_shape
        flat = data.new_zeros(rows * columns, data.shape[-1]).index_copy(0, self.steps, data)
        # Nobody has the flat one, and what is no view may be detached in place.
        padded: Tensor = torch.ops.aten._unsafe_view(flat, (rows, columns, data.shape[-1]))
        return padded


def ragged(padded: Tensor, lengths: Tensor, *, batch_first: bool) -> Ragged:
    """A padded batch [T, B, F] (or [B, T, F]) of which row b has ``lengths[b]`` real steps.

    ``lengths`` is a CPU tensor of int64 [B] with values from 0 to T. Padding is left behind
    here: neither the pass nor a gradient meets it.
    """
    rows, columns = padded.shape[:2]
    time = columns if batch_first else rows
    ordered, order = torch.sort(lengths, descending=True, stable=True)
    active = torch.arange(time, device="cpu").unsqueeze(1) < ordered.unsqueeze(0)
    step, rank = active.nonzero(as_tuple=True)
    row = order[rank]
    places = row * columns + step if batch_first else step * columns + row
    batch_sizes = active.sum(dim=1)
    longest = int((batch_sizes > 0).sum())
    steps = places.to(padded.device)
    data = padded.reshape(rows * columns, padded.shape[-1]).index_select(0, steps)
    return Ragged(
        sequences=Sequences(data, batch_sizes[: max(longest, 1)], order),
        order=order.to(padded.device),
        inverse=torch.argsort(order).to(padded.device),
        steps=steps,
        padded_shape=(rows, columns),
    )
