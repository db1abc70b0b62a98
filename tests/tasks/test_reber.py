"""The Reber tasks against the grammar written down a second time, as a regular expression."""

import re

import numpy as np
import pytest
import torch

from unrolled.tasks import ContinualReber, EmbeddedReber
from unrolled.tasks.reber import SYMBOLS, mean_symbols

# From the diagram, by hand: after BT any S, then X; after BP any T, then V; the two halves meet in
# the loop X T* V P.
AFTER_V = "V(?:PXT*V)*(?:V|PS)"
INNER = f"B(?:TS*X(?:S|XT*{AFTER_V})|PT*{AFTER_V})E"
STRING = re.compile(f"B(?:T{INNER}T|P{INNER}P)E")


def read(batch):
    """Each sequence's symbols, and at each step the symbols that the target allows."""
    for row, steps in enumerate(batch.lengths.tolist()):
        assert batch.mask[row].tolist() == [t < steps for t in range(batch.mask.shape[1])]
        places = batch.inputs[row, :steps].argmax(dim=1).tolist()
        allowed = [
            {SYMBOLS[place] for place in step.nonzero().flatten().tolist()}
            for step in batch.target[row, :steps]
        ]
        assert not batch.target[row, steps:].any()
        yield "".join(SYMBOLS[place] for place in places), allowed


def matching(length):
    """All strings of the grammar with at most ``length`` symbols."""
    found, begun = set(), {""}
    while begun:
        begun = {start + symbol for start in begun for symbol in SYMBOLS}
        begun = {text for text in begun if len(text) <= length and may_begin(text)}
        found |= {text for text in begun if STRING.fullmatch(text)}
    return found


def may_begin(text):
    """Whether a string of the grammar may begin so, by trying short ends."""
    return any(STRING.fullmatch(text + end) for end in ENDS)


# From every place in the grammar one of these leads to the end.
INNER_ENDS = ["BTXSE", "TXSE", "XSE", "SE", "E", "VVE", "VE", "BPVVE"]
ENDS = [
    "",
    "E",
    *("BTBTXSETE"[k:] for k in range(9)),
    *("BPBTXSEPE"[k:] for k in range(9)),
    *(end + outer + "E" for end in INNER_ENDS for outer in "TP"),
]


@pytest.fixture(scope="module")
def strings():
    return list(read(EmbeddedReber().batch(400, 5)))


def test_every_string_is_of_the_grammar(strings):
    for text, _ in strings:
        assert STRING.fullmatch(text + "E"), text


def test_every_short_string_of_the_grammar_comes(strings):
    assert {text + "E" for text, _ in strings if len(text) < 11} == matching(11)


def test_the_target_is_what_the_grammar_allows(strings):
    for text, allowed in strings:
        for step, symbols in enumerate(allowed):
            start = text[: step + 1]
            assert symbols == {s for s in SYMBOLS if may_begin(start + s)}, start


def test_strings_are_as_long_on_average_as_the_grammar_says(strings):
    lengths = np.array([len(text) + 1 for text, _ in strings])
    assert mean_symbols() == pytest.approx(12.0)
    assert abs(lengths.mean() - 12.0) < 5 * lengths.std() / np.sqrt(len(lengths))


def test_a_stream_is_one_string_after_the_other():
    for text, allowed in read(ContinualReber(150).batch(40, 6)):
        assert len(text) == 150
        end = 0
        for match in STRING.finditer(text):
            assert match.start() == end
            if match.end() < 150:
                assert allowed[match.end() - 1] == {"B"}
            end = match.end()
        rest = text[end:]
        assert not rest or may_begin(rest)
        for step in range(end, 150):
            assert allowed[step] == {s for s in SYMBOLS if may_begin(text[end : step + 1] + s)}


def test_a_string_is_right_if_the_legal_symbols_are_the_most_active():
    task = EmbeddedReber()
    batch = task.batch(4, 0)
    logits = 0.01 * batch.target + 3.0
    assert task.score(logits, batch) == 1.0
    logits[2, 4] = -logits[2, 4]
    assert task.score(logits, batch) == 0.75


def test_a_stream_is_followed_to_the_first_output_that_is_off():
    task = ContinualReber(20)
    batch = task.batch(2, 0)
    logits = 10 * (2 * batch.target - 1)
    assert task.score(logits, batch) == 1.0
    logits[1, 5, 0] = -logits[1, 5, 0]
    assert task.score(logits, batch) == pytest.approx((20 + 5) / 40)
    assert task.score(torch.zeros_like(logits), batch) == 0.0
