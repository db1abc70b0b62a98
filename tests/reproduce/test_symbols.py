"""Symbols that an embedding reads are the sequences that one-hot vectors say."""

from __future__ import annotations

import torch

from unrolled.model import Network, NetworkConfig
from unrolled.reproduce.symbols import Embedded, SymbolLag
from unrolled.tasks.lag import VeryLongLag


def test_the_sequences_are_those_of_the_task() -> None:
    symbols, hot = SymbolLag(20, 6).batch(9, 0), VeryLongLag(20, 6).batch(9, 0)
    assert torch.equal(symbols.lengths, hot.lengths)
    assert torch.equal(symbols.target, hot.target)
    assert torch.equal(symbols.mask, hot.mask)
    real = torch.arange(hot.inputs.shape[1]) < hot.lengths[:, None]
    assert torch.equal(symbols.inputs[real], hot.inputs.argmax(2)[real])


def test_an_embedding_is_a_product_with_one_hot_vectors() -> None:
    config = NetworkConfig(cell="gru", input_size=4, hidden_size=5, output_size=2)
    model = Embedded(10, Network(config)).eval()
    batch = VeryLongLag(20, 6).batch(3, 0)
    symbols = SymbolLag(20, 6).batch(3, 0).inputs
    expected, _ = model.network(batch.inputs @ model.embedding.weight, lengths=batch.lengths)
    given, _ = model(symbols, lengths=batch.lengths)
    real = torch.arange(symbols.shape[1]) < batch.lengths[:, None]
    torch.testing.assert_close(given[real], expected[real])
