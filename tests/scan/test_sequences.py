"""The layouts of a batch: from the caller's padded tensor to the pass and back."""

from __future__ import annotations

import pytest
import torch

from unrolled.scan import dense, ragged

LENGTHS = torch.tensor([1, 3, 0, 2])
# The entry of row b at step t is 10·b + t.
PADDED = (10 * torch.arange(4).unsqueeze(1) + torch.arange(3)).unsqueeze(-1).double()

both_layouts = pytest.mark.parametrize("batch_first", [True, False])


def laid_out(batch_first: bool) -> torch.Tensor:
    return PADDED if batch_first else PADDED.transpose(0, 1)


@both_layouts
def test_ragged_keeps_the_real_steps_alone(batch_first: bool) -> None:
    """Step by step, and within a step the longest row first."""
    rows = ragged(laid_out(batch_first), LENGTHS, batch_first=batch_first)
    assert rows.sequences.data.flatten().tolist() == [10, 30, 0, 11, 31, 12]
    assert rows.sequences.sizes() == [3, 2, 1]


def test_ragged_knows_the_way_back_to_the_callers_order() -> None:
    rows = ragged(PADDED, LENGTHS, batch_first=True)
    assert rows.order.tolist() == [1, 3, 0, 2]
    assert rows.order[rows.inverse].tolist() == [0, 1, 2, 3]


@both_layouts
def test_pad_undoes_ragged_and_writes_zero_past_each_length(batch_first: bool) -> None:
    padded = laid_out(batch_first)
    rows = ragged(padded, LENGTHS, batch_first=batch_first)
    real = (torch.arange(3) < LENGTHS.unsqueeze(1)).unsqueeze(-1)
    expected = torch.where(real, PADDED, torch.zeros(()))
    found = rows.pad(rows.sequences.data)
    torch.testing.assert_close(found if batch_first else found.transpose(0, 1), expected)


def test_rows_of_equal_length_stay_in_the_callers_order() -> None:
    rows = ragged(PADDED, torch.tensor([2, 3, 2, 3]), batch_first=True)
    assert rows.order.tolist() == [1, 3, 0, 2]


@both_layouts
def test_dense_is_time_first_without_a_copy(batch_first: bool) -> None:
    padded = laid_out(batch_first)
    sequences = dense(padded, batch_first=batch_first)
    assert sequences.sizes() == [4, 4, 4]
    assert sequences.data.data_ptr() == padded.data_ptr()
