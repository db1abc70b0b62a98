"""What the tests of the memory tasks share."""


def words(batch, symbols):
    """Each sequence's one-hot inputs as a list of symbols."""
    for row, steps in zip(batch.inputs, batch.lengths.tolist(), strict=True):
        real = row[:steps]
        assert (real.sum(dim=1) == 1).all()
        assert not row[steps:].any()
        yield [symbols[place] for place in real.argmax(dim=1).tolist()]
