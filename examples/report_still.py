"""The README's picture of the report: the demo's LSTM in a browser, a still of its live page."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from unrolled.inspect.report import html
from unrolled.inspect.words import PAGE, Language, phrase
from unrolled.learn.inspection import inspect_run

STEP, WIDTH, SCALE = 84, 1120, 2
PLOTS = ("cos", "gate_forget", "gate_cell")
MARGIN = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder, such as the demo's")
    parser.add_argument("--out", type=Path, required=True, help="the .png to write")
    parser.add_argument("--language", choices=["en", "zh"], default="en")
    arguments = parser.parse_args()
    page_file = arguments.out.with_suffix(".html").absolute()
    page_file.write_text(html(inspect_run(arguments.run), arguments.language), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE)
        page.goto(page_file.as_uri())
        still(page, arguments.out, arguments.language)
        browser.close()
    page_file.unlink()


def still(page: Page, out: Path, language: Language) -> None:
    """The live cell at one step and the unit that moves most, above a few of the plots."""
    page.locator("#step").fill(str(STEP))
    page.locator("#order").select_option("spread")
    page.locator("#colours").select_option("data")
    page.locator("#heat canvas").first.dblclick(position={"x": 400, "y": 2})
    page.locator("#step").fill(str(STEP))
    shown = {phrase(PAGE, plot, language) if plot in PAGE else plot for plot in PLOTS}
    titles = page.locator(".caption b").all_inner_texts()
    parts = [page.locator("section").first]
    parts += [
        panel
        for panel, title in zip(page.locator(".panel").all(), titles, strict=True)
        if title in shown
    ]
    images = []
    for number, part in enumerate(parts):
        file = out.with_suffix(f".{number}.png")
        part.screenshot(path=file)
        images.append(Image.open(file).copy())
        file.unlink()
    height = sum(image.height + MARGIN for image in images) + MARGIN
    whole = Image.new("RGB", (max(i.width for i in images) + 2 * MARGIN, height), "white")
    top = MARGIN
    for image in images:
        whole.paste(image, (MARGIN, top))
        top += image.height + MARGIN
    whole.quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main()
