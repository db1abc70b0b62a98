"""``unrolled inspect``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import cast, get_args

from unrolled.cli.display import screen
from unrolled.errors import InputError
from unrolled.inspect.letter import letter
from unrolled.inspect.report import html
from unrolled.inspect.words import Language
from unrolled.learn.inspection import inspect_run
from unrolled.model.folder import Missing
from unrolled.output import check_apart, check_suffix, replacing, writing
from unrolled.runfile import files_of


def run_inspect(
    run: Path,
    data: Path | None,
    out: Path,
    *,
    steps: int,
    end: int | None,
    group: str | None,
    lang: str,
    png: Path | None,
    missing: str | None,
    overwrite: bool,
) -> None:
    """Shows a run on a table: prints the letter, writes the page and, if wanted, the pictures."""
    _check_one_of("--missing", missing, get_args(Missing))
    _check_one_of("--lang", lang, get_args(Language))
    check_suffix(out, (".html", ".htm"))
    check_apart(out, {**({} if data is None else {"the table": data}), **files_of(run)})
    language = cast("Language", lang)
    with ExitStack() as places:
        page = places.enter_context(writing(out, overwrite=overwrite))
        folder = png and places.enter_context(replacing(png, overwrite=overwrite, flag="--png"))
        scene = inspect_run(
            run,
            data,
            steps=steps,
            end=end,
            group=group,
            missing=cast("Missing | None", missing),
            language=language,
        )
        page.write_bytes(html(scene, language).encode())
        pictures = []
        if folder is not None:
            from unrolled.inspect.pictures import save_pictures

            pictures = save_pictures(scene, folder)
    if scene.diagnosis is not None:
        screen.print(f"{letter(scene.diagnosis, language)}\n", soft_wrap=True)
    screen.print(scene.note, soft_wrap=True)
    screen.print(f"Wrote {out}: open it in a browser", soft_wrap=True)
    if pictures:
        names = ", ".join(path.name for path in pictures)
        screen.print(f"Wrote {png}/: {names}", soft_wrap=True)


def _check_one_of(flag: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise InputError(f"{flag}: one of {', '.join(known)} was expected, got {value!r}")
