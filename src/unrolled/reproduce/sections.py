"""The page's sections on the parts beside the tables, each with its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from unrolled.errors import InputError
from unrolled.output import writing
from unrolled.reproduce import (
    continual,
    continual_page,
    continual_picture,
    initial,
    initial_page,
    languages,
    languages_page,
    languages_picture,
    variants,
    variants_page,
)
from unrolled.reproduce.parts import named
from unrolled.reproduce.results import Record, read

NOT_RUN = "Not run yet."

INITIAL, VARIANTS = "images/reproduction-initial.png", "images/reproduction-variants.png"


def write_sections(folder: Path, docs: Path) -> list[str]:
    """The sections in Markdown; writes their pictures.

    Args:
        folder: the files of results.
        docs: the folder of the documentation.

    Raises:
        InputError: a file can't be read as results or has a trial that its part lacks, or a picture
            can't be written.
    """
    return [part(folder, docs) for part in (_continual, _variants, _languages, _initial)]


R = TypeVar("R", bound=Record)


def _read(folder: Path, part: str, kind: type[R]) -> list[R]:
    """The trials of a part, each of which it has."""
    path = folder / f"{part}.csv"
    records, known = read(path, kind), {t for job in named(part).jobs(()) for t in job.trials}
    for record in records:
        if record.trial not in known:
            raise InputError(
                f"{path}: has a trial that the part {part} lacks "
                f"({', '.join(map(str, record.trial))}). Delete its line, or name another folder "
                "with --results"
            )
    return records


def _continual(folder: Path, docs: Path) -> str:
    records = _read(folder, continual.PART, continual.RECORD)
    if not records:
        choices = f"Chosen here:\n\n{continual_page.choices()}"
        return "\n\n".join([continual_page.INTRODUCTION.strip(), NOT_RUN, choices])
    with writing(docs / continual_page.PICTURE, overwrite=True, flag="--page") as draft:
        continual_picture.continual_picture(records).savefig(draft, format="png")
    return continual_page.section(records)


def _variants(folder: Path, docs: Path) -> str:
    records = _read(folder, variants.PART, variants.RECORD)
    parts = ["## Variants of the LSTM", variants_page.text()]
    if not records:
        return "\n\n".join([*parts, NOT_RUN])
    with writing(docs / VARIANTS, overwrite=True, flag="--page") as draft:
        variants_page.draw(draft, records)
    picture = f"![The loss at the end of each variant's trials, a panel for each task]({VARIANTS})"
    return "\n\n".join([*parts, variants_page.table(records), picture])


def _initial(folder: Path, docs: Path) -> str:
    records = _read(folder, initial.PART, initial.RECORD)
    parts = ["## Initial values and memory", initial_page.text()]
    if not records:
        return "\n\n".join([*parts, NOT_RUN])
    with writing(docs / INITIAL, overwrite=True, flag="--page") as draft:
        initial_page.draw(draft, records)
    picture = (
        "![Loss at the end by the length of the sequences, and gradient by lag before and after "
        f"training]({INITIAL})"
    )
    return "\n\n".join([*parts, initial_page.table(records), picture])


def _languages(folder: Path, docs: Path) -> str:
    records = _read(folder, languages.PART, languages.RECORD)
    if not records:
        return f"{languages_page.INTRODUCTION.strip()}\n\n{NOT_RUN}"
    for name, draw in (
        (languages_page.ACCURACY, languages_picture.accuracy_picture),
        (languages_page.MEMORY, languages_picture.memory_picture),
    ):
        with writing(docs / name, overwrite=True, flag="--page") as draft:
            draw(records).savefig(draft, format="png")
    return languages_page.section(records)
