"""JapaneseVowels, of which the tests have a small double in the same form."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch

from unrolled.errors import InputError
from unrolled.reproduce import vowels
from unrolled.reproduce.vowels import JapaneseVowels, read


def test_a_line_is_an_utterance_and_its_speaker(tmp_path: Path) -> None:
    path = tmp_path / "some.ts"
    path.write_text("#text\n@classLabel true 1 2\n@DATA\n1,2,3:4,5,6:2\n7,8:9,10:1\n")
    (first, second), speakers = read(path)
    assert np.array_equal(first, [[1, 4], [2, 5], [3, 6]])
    assert np.array_equal(second, [[7, 9], [8, 10]])
    assert speakers == [1, 0]


@pytest.mark.usefixtures("utterances")
def test_everything_is_each_utterance_once_in_order() -> None:
    batch = JapaneseVowels("TEST").everything()
    assert batch.inputs.shape == (27, 11, 12)
    assert batch.lengths.tolist() == [7 + i % 5 for i in range(27)]
    assert batch.target[batch.mask].tolist() == [i % 9 for i in range(27)]
    assert torch.equal(batch.mask.sum(1), torch.ones(27, dtype=torch.int64))


def test_both_splits_are_scaled_by_what_is_learned_from(utterances: Path) -> None:
    learned, _ = read(utterances / "JapaneseVowels_TRAIN.ts")
    tested, _ = read(utterances / "JapaneseVowels_TEST.ts")
    steps = np.concatenate(learned)
    expected = (tested[3] - steps.mean(0)) / steps.std(0)
    given = JapaneseVowels("TEST").everything().inputs[3, : len(expected)]
    assert np.allclose(given.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("utterances")
def test_draws_are_utterances_of_the_split_with_their_speakers() -> None:
    whole, some = JapaneseVowels("TRAIN").everything(), JapaneseVowels("TRAIN").batch(50, 3)
    known = {
        whole.inputs[i, : whole.lengths[i]].numpy().tobytes(): int(whole.target[i].max())
        for i in range(18)
    }
    for i in range(50):
        drawn = some.inputs[i, : some.lengths[i]].numpy().tobytes()
        assert known[drawn] == int(some.target[i].max())


def test_where_aeon_is_missing_it_is_said_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(name: str) -> ModuleSpec | None:
        return None if name == "aeon" else importlib.util.find_spec(name)

    monkeypatch.setattr(vowels, "find_spec", nothing)
    with pytest.raises(InputError, match="pip install --no-deps aeon"):
        vowels.folder()


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another version of aeon"):
        read(tmp_path / "none.ts")
