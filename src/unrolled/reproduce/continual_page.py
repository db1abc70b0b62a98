"""Continual prediction, for people: what the page says of the trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean, median

from unrolled.reproduce.continual import LOOKED_AT, SEEDS, Continual
from unrolled.reproduce.continual_kinds import KINDS, LIMITS
from unrolled.reproduce.statistics import wilson
from unrolled.reproduce.streams import MARGIN

PICTURE = "images/reproduction-continual.png"

ENDINGS = ("perfect", "good", "rest")


@dataclass(frozen=True)
class Published:
    """Table 2 of the paper, in percent of 100 networks.

    Attributes:
        perfect: so many were,
        streams: after so many streams to learn from, on average; None if none was.
        good: so many were,
        good_length: and followed so many symbols on average; None if none was.
        rest: so many were neither,
        rest_length: and followed so many symbols on average.
    """

    perfect: int
    streams: int | None
    good: int
    good_length: int | None
    rest: int
    rest_length: int


PUBLISHED = dict(
    zip(
        KINDS,
        (
            Published(0, None, 1, 1_166, 99, 37),
            Published(74, 7_441, 0, None, 26, 31),
            Published(18, 18_889, 29, 39_171, 53, 145),
            Published(62, 14_087, 6, 68_464, 32, 30),
        ),
        strict=True,
    )
)

INTRODUCTION = f"""\
## Continual prediction (2000)

Gers, Schmidhuber & Cummins ("Learning to forget: continual prediction with LSTM", Neural
Computation 12(10), 2000) gave the LSTM forget gates. In their experiment a network reads one string
of the embedded Reber grammar after the other, and nothing says where one ends
([tasks.md](tasks.md)). It says at each symbol which ones may come next, and is right if each of its
outputs is within {MARGIN:g} of its target. After each symbol all its weights are updated. A stream
ends at the first error or after {LIMITS.longest:,} symbols, and a new one begins with states of 0.
A network is *perfect* when it follows {LIMITS.tests} new streams to their ends with weights that
stay; that ends its trial. It is *good* if it follows such streams for more than {LIMITS.good:,}
symbols on average when its trial ends otherwise. There are {len(SEEDS)} networks of each kind.
"""

HOW_TO_READ = f"""\
*perfect* has the 95% Wilson interval of the share, and *streams* how many those networks had
learned from, on average. *symbols* is how many the others follow test streams for, on average.
*cut off* are those whose trial the budget of symbols ended. The *horizon* is the largest lag at
which the gradient of the cells' outputs is above 1% of that at lag 0 on streams of {LOOKED_AT}
symbols, as the median; where states are reset from outside, it is the network's own, without that.
"""

CHOICES = (
    f"A trial ends after {LIMITS.streams:,} streams, as in the paper, or with the stream in which "
    f"a network has learned from {LIMITS.symbols:,} symbols. The paper has no such budget: with a "
    "larger one more networks may become perfect.",
    "The paper tests after each stream. Here a network is tested when it has just followed a "
    f"stream to learn from for {LIMITS.worth:,} symbols or more, and when its trial ends.",
    "The targets are all the symbols that may come next, 1 for each, and 0 for the others.",
    "An error is learned from before its stream ends. The stream that ends a trial counts.",
    "Cells' outputs, not the gates' activations, are what cells and gates read of the step before. "
    "The outputs read the inputs, too. Gates and outputs have biases, and cells have none.",
    "Weights are uniform within ±0.2 at first, those of the outputs' biases among them. The biases "
    "of the blocks' input and output gates are −0.5, −1, −1.5 and −2, and those of their forget "
    "gates the same with the other sign.",
    f"The learning rate is {LIMITS.rate:g} at the beginning of each stream. With α decay it is "
    "multiplied by 0.99 after each symbol; without it, it stays.",
    "A reset from outside sets states, cells' outputs and traces to 0 after the E of a string.",
    "Published figures are those that others cite of the paper's table 2. Numbers are in single "
    "precision.",
)
"""What the paper leaves open, or what is done in another way, a Markdown text for each."""


def section(records: Sequence[Continual]) -> str:
    """The section in Markdown, with its picture."""
    parts = [
        INTRODUCTION,
        HOW_TO_READ,
        table(records),
        "\n".join(f"* {text}" for text in (*compared(records), *_incomplete(records))),
        "![A strip for each kind of network. Left: how many symbols each network follows test "
        f"streams for; those to the right of the dashed line are good. Right: how many streams the "
        f"perfect ones learned from]({PICTURE})",
        "What the paper leaves open, and what was chosen here:",
        choices(),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def choices() -> str:
    """:data:`CHOICES` as a list."""
    return "\n".join(f"* {text}" for text in CHOICES)


def table(records: Sequence[Continual]) -> str:
    """Two lines for each kind of network: what was published, and what was found here."""
    head = ["network", "", "networks", "perfect", "streams", "good", "symbols", "rest", "symbols",
            "cut off", "horizon"]  # fmt: skip
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    lines = [head, rule]
    for kind in KINDS:
        lines.append([kind, "published", *_published(PUBLISHED[kind])])
        lines.append(["", "here", *_found(of(records, kind))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of(records: Sequence[Continual], kind: str) -> list[Continual]:
    """The trials of a kind."""
    return [record for record in records if record.kind == kind]


def _published(p: Published) -> list[str]:
    numbers = [p.perfect, p.streams, p.good, p.good_length, p.rest, p.rest_length]
    percent = [f"{n}%" if place % 2 == 0 else _number(n) for place, n in enumerate(numbers)]
    return ["100", *percent, "", ""]


def _found(trials: Sequence[Continual]) -> list[str]:
    if not trials:
        return ["0", *[""] * 8]
    groups = {ending: [t for t in trials if t.ending == ending] for ending in ENDINGS}
    perfect, good, rest = (len(groups[ending]) / len(trials) for ending in ENDINGS)
    low, high = wilson(len(groups["perfect"]), len(trials))
    horizon = median(trial.horizon for trial in trials)
    at_least = "≥ " if horizon >= trials[0].steps else ""
    return [
        str(len(trials)),
        f"{perfect:.0%} ({low:.0%} to {high:.0%})",
        _number(_mean([trial.streams for trial in groups["perfect"]])),
        f"{good:.0%}",
        _number(_mean([trial.length for trial in groups["good"]])),
        f"{rest:.0%}",
        _number(_mean([trial.length for trial in groups["rest"]])),
        str(sum(is_cut_off(trial) for trial in trials)),
        f"{at_least}{horizon:g}",
    ]


def is_cut_off(trial: Continual) -> bool:
    """Whether it is not perfect, and might have learned from more streams."""
    return trial.ending != "perfect" and trial.streams < LIMITS.streams


def _mean(numbers: Sequence[float]) -> float | None:
    return mean(numbers) if numbers else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def compared(records: Sequence[Continual]) -> Iterator[str]:
    """Of each kind whose trials are complete, the share of perfect networks and the published."""
    for kind in KINDS:
        trials, published = of(records, kind), PUBLISHED[kind].perfect
        if len(trials) < len(SEEDS):
            continue
        perfect = sum(trial.ending == "perfect" for trial in trials)
        low, high = wilson(perfect, len(trials))
        interval = f"the interval of {low:.0%} to {high:.0%}"
        found = f"{kind}: {perfect} of {len(trials)} networks are perfect; the published"
        if low <= published / 100 <= high:
            yield f"{found} {published}% are within {interval}."
        else:
            side = "below" if published / 100 < low else "above"
            yield f"{found} {published}% are {side} {interval}: this did not reproduce."


def _incomplete(records: Sequence[Continual]) -> Iterator[str]:
    """How many trials are missing, if any."""
    expected = len(KINDS) * len(SEEDS)
    if len(records) < expected:
        yield (
            f"Not complete: {len(records):,} of {expected:,} trials have been run. Networks that "
            "are soon perfect come first, and so do those whose streams are short."
        )
