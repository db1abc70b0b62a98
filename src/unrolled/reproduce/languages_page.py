"""What the cells can compute, as a section of the page: accuracy beside the published figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from unrolled.inspect.counting import Counter
from unrolled.reproduce.hierarchy import LANGUAGES, RANGES, Language
from unrolled.reproduce.languages import CELLS, EFFORT, RATES, Accuracy
from unrolled.tasks import CounterLanguage

ACCURACY, MEMORY = "images/reproduction-languages.png", "images/reproduction-languages-memory.png"
"""The pictures, beside the page."""

NOTHING = "–"
LETTERS = "abc"
GENERALISED = 0.9
"""Delétang et al. call it generalised from this accuracy on."""

INTRODUCTION = """\
## What each cell can compute

The formal languages of Delétang et al. ("Neural networks and the Chomsky hierarchy", ICLR 2023,
[arXiv 2207.02098](https://arxiv.org/abs/2207.02098)) and the counter languages of Weiss, Goldberg &
Yahav ("On the practical computational power of finite precision RNNs for language recognition",
ACL 2018, [arXiv 1805.04908](https://arxiv.org/abs/1805.04908)): a network learns short strings and
is tested on longer ones. It learns lengths to 40 and is tested on those to 500; of aⁿbⁿ it learns n
to 100 and is tested to 256, of aⁿbⁿcⁿ it learns n to 50 and is tested to 100.

The effort is a small part of the published one. What is below a published figure may only need to
be trained for longer.
"""

EFFORTS = [
    ["reported", "the best of 10 seeds", f"the best of {len(RATES)} trials"],
    ["learning rates", "several", ", ".join(map(str, RATES))],
    ["units", "256", f"{EFFORT.hidden_size}"],
    ["updates", "1,000,000", f"{EFFORT.updates:,}"],
    ["strings in an update", "128 of one length", f"{EFFORT.batch_size} of many lengths"],
    ["lengths tested", "all", f"{RANGES * EFFORT.lengths}, evenly spread"],
]
"""Of Delétang et al., and here."""

HOW_TO_READ = f"""\
Each figure is the accuracy in percent on the longer strings alone: the best trial, as published,
and in brackets the median. In bold stands what has generalised ({GENERALISED:.0%} and more). For
the counter languages it is published that the LSTM is right to the longest strings tested here.
"""


def section(records: Sequence[Accuracy]) -> str:
    """The section in Markdown, with both pictures."""
    parts = [
        INTRODUCTION,
        _table(["", "Delétang et al.", "here"], EFFORTS, left=3),
        HOW_TO_READ,
        table(records),
        *_incomplete(records),
        f"![Accuracy by length of string, a panel for each language]({ACCURACY})",
        counters(records),
        horizons(records),
        f"![Gradient by lag after training, a panel for each language]({MEMORY})",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def table(records: Sequence[Accuracy]) -> str:
    """The accuracy of each cell in each language, beside chance and the published figures."""
    head = ["level", "language", "chance", "RNN, published", "LSTM, published", *CELLS]
    lines = []
    for language in LANGUAGES.values():
        chance = _percent(language.task().chance.score)
        published = [NOTHING if math.isnan(x) else f"{x:.1f}" for x in language.published]
        found = [_accuracy(of(records, language, cell)) for cell in CELLS]
        lines.append([language.level, f"`{language.name}`", chance, *published, *found])
    return _table(head, lines, left=2)


def counters(records: Sequence[Accuracy]) -> str:
    """Which units count, in the best trial of each cell."""
    lines = []
    for language in LANGUAGES.values():
        if not isinstance(language.task(), CounterLanguage):
            continue
        for cell in CELLS:
            trials = of(records, language, cell)
            if trials:
                counting = sum(bool(trial.found_counters()) for trial in trials)
                units = best(trials).found_counters()
                shown = "; ".join(map(_counter, units[:2])) or NOTHING
                share = f"{counting} of {len(trials)}"
                lines.append([f"`{language.name}`", cell, share, str(len(units)), shown])
    head = ["language", "cell", "trials with a counter", "counters in the best", "the first two"]
    text = (
        "### Units that count\n\n"
        "A unit counts if its state rises by nearly the same amount at each step with one letter,\n"
        "and falls so at each step with another one, on strings of the language as long as those\n"
        "that were learned. `unrolled.diagnose` names such units in its letter\n"
        "([memory.md](memory.md)).\n\n"
    )
    return text + _table(head, lines, left=len(head))


def horizons(records: Sequence[Accuracy]) -> str:
    """How far the trained networks remember: the median of each cell's trials."""
    lines = []
    for language in LANGUAGES.values():
        shown = []
        for cell in CELLS:
            trials = of(records, language, cell)
            horizon = median(trial.horizon for trial in trials) if trials else 0
            at_least = "≥ " if trials and horizon >= trials[0].steps else ""
            shown.append(f"{at_least}{horizon:g}" if trials else NOTHING)
        lines.append([f"`{language.name}`", *shown])
    text = (
        "### How far they remember\n\n"
        "The horizon of the trained networks on strings as long as those that were learned: the\n"
        "largest lag at which the gradient is above 1% of that at lag 0, as the median of trials.\n"
        "A ≥ says that the strings are too short to find its end.\n\n"
    )
    return text + _table(["language", *CELLS], lines, left=1)


def of(records: Iterable[Accuracy], language: Language, cell: str) -> list[Accuracy]:
    """The trials of a cell in a language."""
    return [r for r in records if (r.language, r.cell) == (language.name, cell)]


def best(trials: Sequence[Accuracy]) -> Accuracy:
    """The trial with the highest score."""
    return max(trials, key=lambda trial: trial.score)


def _accuracy(trials: Sequence[Accuracy]) -> str:
    if not trials:
        return NOTHING
    highest = best(trials).score
    shown = f"**{_percent(highest)}**" if highest >= GENERALISED else _percent(highest)
    return f"{shown} ({_percent(median(trial.score for trial in trials))})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _counter(unit: Counter) -> str:
    rise = f"{unit.rise:+.3g} at {LETTERS[unit.up]}"
    fall = f"{unit.fall:+.3g} at {LETTERS[unit.down]}".replace("-", "−")
    return f"{unit.state}, unit {unit.unit}: {rise}, {fall}"


def _incomplete(records: Sequence[Accuracy]) -> list[str]:
    """How many trials are missing, if any."""
    expected = len(LANGUAGES) * len(CELLS) * len(RATES)
    if len(records) >= expected:
        return []
    return [f"Not complete: {len(records):,} of {expected:,} trials have been run."]


def _table(head: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """A table in Markdown, of whose columns the first ones are aligned to the left."""
    rule = ["---" if place < left else "---:" for place in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))
