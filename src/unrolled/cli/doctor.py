"""``unrolled doctor``."""

from __future__ import annotations

import typer
from rich.table import Table

from unrolled.cli.display import notes, screen
from unrolled.deploy import stepping
from unrolled.nn.selfcheck import checks, describe
from unrolled.scan import native


def run_doctor(seconds: float) -> None:
    """Prints what runs here, and checks the compiled core against the reference for a while."""
    table = Table(show_header=False)
    for name, value in describe().items():
        table.add_row(name, value)
    table.add_row("a stream's steps", stepping.backend())
    screen.print(table)
    if not native.is_built():
        screen.print("There is nothing to check: every pass runs on the reference.")
        return
    count, worst = 0, 0.0
    with notes.status(f"checking the core against the reference for {seconds:g} s"):
        for check in checks(seconds):
            if not check.passed:
                screen.print(
                    f"WRONG: {check.what}: the core and the reference are {check.error:.1e} apart, "
                    f"and {check.allowed:.0e} is allowed. Please report this, and run with "
                    "UNROLLED_BACKEND=reference",
                    markup=False,
                )
                raise typer.Exit(1)
            count, worst = count + 1, max(worst, check.error / check.allowed)
    screen.print(
        f"{count} random passes agree with the reference; "
        f"the worst used {worst:.0%} of what is allowed."
    )
