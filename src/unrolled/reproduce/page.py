"""The page with the tables and its pictures, docs/reproduction.md, from the results file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from unrolled.errors import InputError
from unrolled.output import writing
from unrolled.reproduce.choices import CHOICES
from unrolled.reproduce.modern import NETWORKS, Training
from unrolled.reproduce.others import OTHERS, TEXT, Other
from unrolled.reproduce.pictures import NOT_RUN, memory_picture, sequences_picture
from unrolled.reproduce.published import ROWS, Row
from unrolled.reproduce.results import read
from unrolled.reproduce.sections import write_sections
from unrolled.reproduce.statistics import Quartiles, Statistics, Table, ranges, statistics
from unrolled.reproduce.tables import Result

PAGE = "reproduction.md"
SEQUENCES, MEMORY = "images/reproduction-sequences.png", "images/reproduction-memory.png"

FACTOR = 2
"""A mean that is so many times the published one, or less than its inverse, did not reproduce."""

INTRODUCTION = """\
<!-- Written from the results file by `unrolled reproduce --page`: changes made here are lost. -->

# The tables of 1997

Hochreiter and Schmidhuber showed what the LSTM can do in a paper of 1997 ("Long short-term memory",
Neural Computation 9(8)). Here their experiments are run again at full length, in two columns that
are never mixed.

* **Faithful** is the network of 1997: its cell, its truncated gradient, an update after each
  sequence (in experiment 1 after each symbol), and the paper's learning rates, biases and stopping
  rules.
* **Modern** is what one would try today: the LSTM, the GRU and the Elman RNN of this package, with
  Adam, minibatches and clipped gradients. Such a trial is solved when the task's own criterion is
  met ([tasks.md](tasks.md)). It may differ from the paper's.

How to read the tables:

* *solved*: the trials that were solved, with the 95% Wilson interval of the success rate.
* *sequences*: after how many training sequences a trial was solved. This is the median, with the
  quartiles in brackets. Failed trials are left out.
* *mean*: of the same numbers, because the paper gives means.
* *wrong*: the share of new sequences that the trained network gets wrong; the median of all trials.
* *horizon*: the largest lag at which the gradient is still above 1% of what it is at lag 0
  ([memory.md](memory.md)); the median of all trials. A ≥ says that the sequences are too short to
  find its end.
"""

COMMANDS = """\
## Run it again

```sh
unrolled reproduce --quick                             # four short rows, a few minutes
unrolled reproduce --results docs/reproduction         # what the files there lack: hours
unrolled reproduce --results docs/reproduction --page docs   # this page and its pictures
```

`make reproduction` does the last two.
"""


def write_page(folder: Path, docs: Path) -> None:
    """Writes the page and its pictures.

    Args:
        folder: the files with a line for each trial, one for each part.
        docs: the folder of the documentation.

    Raises:
        InputError: the results can't be read, or have a trial that no table has; or ``docs`` can't
            be written.
    """
    results = folder / "tables.csv"
    found = read(results, Result)
    table = Table(found)
    if (stray := table.stray()) is not None:
        trial = ", ".join(map(str, stray.trial))
        raise InputError(
            f"{results}: has a trial that is in no table ({trial}). Delete its line, or name "
            "another file with --results"
        )
    for name, figure in ((SEQUENCES, sequences_picture(table)), (MEMORY, memory_picture(table))):
        with writing(docs / name, overwrite=True, flag="--page") as draft:
            figure.savefig(draft, format="png")
    with writing(docs / PAGE, overwrite=True, flag="--page") as draft:
        draft.write_text(page(found, write_sections(folder, docs)), encoding="utf-8")


def page(results: Sequence[Result], more: Sequence[str] = ()) -> str:
    """The page in Markdown, with its pictures in the folder ``images``.

    Args:
        results: those of the tables.
        more: sections on other parts.
    """
    table = Table(results)
    sections = [
        INTRODUCTION,
        _faithful(table),
        _others(),
        _modern(table),
        _failures(table),
        _pictures(table),
        "\n".join(["## What the paper leaves open, and what was chosen here", "", *_list(CHOICES)]),
        *more,
        COMMANDS + "\n" + _origin(results),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


# --- tables ---------------------------------------------------------------------------------------

MEASURES = ["solved", "sequences", "mean", "wrong", "horizon", "weights", "seeds"]


def _faithful(table: Table) -> str:
    head = ["row", "setting", "published: solved", "published: mean", *MEASURES]
    lines = []
    for row in ROWS:
        published = [f"{row.solved}% of {row.trials}", f"{row.sequences:,}"]
        found = statistics(table.faithful(row))
        lines.append([f"`{row.key}`", row.setting, *published, *_measures(found)])
    return "\n".join(
        [
            "## Faithful, beside the published figures",
            "",
            *_table(head, lines, left=2),
            *_incomplete(table),
        ]
    )


def _incomplete(table: Table) -> list[str]:
    """What is missing of the rows that were begun."""
    texts = [
        f"`{row.key}` lacks the seeds {ranges(left)}"
        for row in ROWS
        if table.faithful(row) and (left := table.lacking(row))
    ]
    if not texts:
        return []
    warning = "The trials that are solved soon come first, so that such a row looks too good."
    return ["", f"Not complete: {'; '.join(texts)}. {warning}"]


def _others() -> str:
    head = ["experiment", *Other._fields[1:]]
    lines = _table(head, OTHERS, left=2)
    return "\n".join(["## Other networks, as published", "", TEXT, "", *lines])


def _modern(table: Table) -> str:
    rows = [row for row in ROWS if row.task is not None]
    others = [f"`{row.key}`" for row in ROWS if row.task is None]
    lines = []
    for row in rows:
        for number, network in enumerate(NETWORKS):
            names = ["", ""] if number else [f"`{row.key}`", row.setting]
            lines.append([*names, network, *_measures(statistics(table.modern(row, network)))])
    return "\n".join(
        [
            "## Modern",
            "",
            "The settings are the paper's: its blocks, rates and stopping rules are not those of "
            "today's networks. These are trained as follows.",
            "",
            *_list(_trainings(rows)),
            "",
            *_table(["row", "setting", "network", *MEASURES], lines, left=3),
            "",
            f"{_and(others)} are left out here: each has the same task as another row of its "
            "experiment.",
        ]
    )


def _trainings(rows: Sequence[Row]) -> Iterator[str]:
    """How today's networks are trained: first what most rows have, then the others by name."""
    counts = Counter(row.training for row in rows)
    for number, (training, count) in enumerate(counts.most_common()):
        keys = [f"`{row.key}`" for row in rows if row.training == training]
        others = "All rows" if count == len(rows) else "All rows but those named below"
        yield f"{_and(keys) if number else others}: {_training(training)}"


def _training(t: Training) -> str:
    return (
        f"{t.hidden_size} units; Adam at the rate {t.rate:g}; minibatches of {t.batch_size} new "
        f"sequences; the gradient clipped to the norm {t.clip:g}; a trial fails after "
        f"{t.updates:,} updates, which is {t.updates * t.batch_size:,} sequences."
    )


def _measures(found: Statistics | None) -> list[str]:
    """A text for each of :data:`MEASURES`."""
    if found is None:
        return [NOT_RUN, *[""] * (len(MEASURES) - 1)]
    low, high = found.interval
    at_least = "≥ " if found.horizon.is_open else ""
    return [
        f"{found.solved} of {found.trials} ({low:.0%} to {high:.0%})",
        "none" if found.sequences is None else _spread(found.sequences),
        "" if found.mean is None else f"{found.mean:,.0f}",
        f"{found.wrong:.2%}",
        f"{at_least}{found.horizon.steps:,g}",
        ", ".join(f"{count:,}" for count in found.weights),
        found.seeds,
    ]


def _spread(found: Quartiles) -> str:
    return f"{found.median:,.0f} ({found.low:,.0f} to {found.high:,.0f})"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int) -> list[str]:
    """The first ``left`` columns begin at the left, the others end at the right."""
    rule = ["---" if number < left else "---:" for number in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *lines)]


# --- what did not reproduce -----------------------------------------------------------------------


def _failures(table: Table) -> str:
    run = [row for row in ROWS if not table.lacking(row)]
    found = [f"`{row.key}`, {row.setting}: {text}." for row in run if (text := failure(row, table))]
    rule = (
        "A row of the faithful column counts as not reproduced if the interval of its success rate "
        "lies below the published rate (at 100% one failed trial is enough), or if its mean is "
        f"more than {FACTOR} times or less than 1/{FACTOR} of the published one. Rows that are not "
        "complete are not judged."
    )
    counts = f"Complete rows: {len(run)}; not reproduced: {len(found)}."
    return "\n".join(["## What did not reproduce", "", rule, "", counts, "", *_list(found)])


def failure(row: Row, table: Table) -> str:
    """In what the faithful column is other than the published figures; empty if it is not."""
    found = statistics(table.faithful(row))
    if found is None:
        return ""
    texts = []
    if found.interval[1] < row.solved / 100:
        texts.append(
            f"{found.solved} of {found.trials} trials were solved, at most {found.interval[1]:.1%} "
            f"by the interval, where {row.solved}% were published"
        )
    if found.mean is not None:
        ratio = found.mean / row.sequences
        if not 1 / FACTOR <= ratio <= FACTOR:
            texts.append(
                f"the mean of {found.mean:,.0f} sequences is {ratio:.3g} times the published "
                f"{row.sequences:,}"
            )
    return "; ".join(texts)


# --- the rest -------------------------------------------------------------------------------------


def _pictures(table: Table) -> str:
    faithful = [trial for row in ROWS for trial in table.faithful(row)]
    failed = sum(not trial.solved for trial in faithful)
    sequences = (
        "Sequences to success on a logarithmic axis. Each row has a strip: its trials as points, "
        "their median as a bar, and how many failed at the right edge. Left: the LSTM of 1997, "
        "with the published mean as a diamond. Right: today's networks. "
        f"{failed} of {len(faithful)} faithful trials failed."
    )
    memory = (
        "Gradient by lag of the trained networks on logarithmic axes, as a share of that at lag 0. "
        "Each row has a panel. A curve is the median of a network's trials, and a mark on it is "
        "the horizon."
    )
    return "\n".join(
        ["## Pictures", "", f"![{sequences}]({SEQUENCES})", "", f"![{memory}]({MEMORY})"]
    )


def _origin(results: Sequence[Result]) -> str:
    """Which version and which machine."""
    if not results:
        return "Nothing has been run yet."
    versions = sorted({result.version for result in results})
    processors = sorted({result.processor for result in results})
    return f"Run by unrolled {_and(versions)} on {_and(processors)}."


def _list(texts: Iterable[str]) -> list[str]:
    return [f"* {text}" for text in texts]


def _and(words: Sequence[str]) -> str:
    """As in "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
