"""The ``unrolled`` command. What a command needs is imported when it runs: help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import unrolled
from unrolled.cli.process import Commands, run_command
from unrolled.errors import InputError

app = typer.Typer(
    name="unrolled",
    help="Recurrent networks you can train from a table, look into, and run at full CPU speed.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    cls=Commands,
)


def _limit(word: str) -> int | str:
    """A number of epochs, or ``auto``; the number itself is checked with the other settings."""
    try:
        return word if word == "auto" else int(word)
    except ValueError:
        raise typer.BadParameter(f"a whole number or auto was expected, got {word!r}") from None


Overwrite = Annotated[bool, typer.Option(help="Write into --out even if it is not empty.")]


def main() -> NoReturn:
    """Runs the command; what a user can mend becomes one line on stderr and exit code 2."""
    run_command(app)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"unrolled {unrolled.__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("demo"),
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="The same seed gives the same numbers.")
    ] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train an Elman RNN, an LSTM and a GRU to tell cos t from sin t, and draw the result."""
    from unrolled.cli.demo import run_demo

    run_demo(out, seed=seed, overwrite=overwrite)


@app.command()
def train(
    data: Annotated[Path | None, typer.Argument(help="A .csv, .tsv or .parquet file.")] = None,
    input: Annotated[
        list[str] | None, typer.Option(help="A column to read; repeat for several.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="A column to predict; repeat for several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder to write.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A .toml or .json file with any of these; flags win.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="A column that tells apart several series.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Rows seen by a prediction [32].")] = None,
    ahead: Annotated[
        int | None, typer.Option(help="Predict the target so many rows later [0].")
    ] = None,
    difference: Annotated[
        bool | None,
        typer.Option(
            help="Read and predict changes of a target that is an input: for trends [no]."
        ),
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="Missing values: error, drop or interpolate [error].")
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the rows that stop the training [0.15].")
    ] = None,
    test: Annotated[
        float | None, typer.Option(help="Share of the rows, the last, that score it [0.15].")
    ] = None,
    cell: Annotated[
        str | None,
        typer.Option(help="rnn, lstm, gru, a cell of unrolled.cells, or mycell.py:MyCell [lstm]."),
    ] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            help="unit_forget_bias, chrono, orthogonal or identity; repeat for several [none]."
        ),
    ] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Hidden units [32].")] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<name=int>",
            help="A size of the cell's own, such as proj=8; repeat for several [none].",
        ),
    ] = None,
    num_layers: Annotated[int | None, typer.Option(help="Layers [1].")] = None,
    bidirectional: Annotated[
        bool | None, typer.Option(help="Read the window in both directions [no].")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Between the layers [0].")] = None,
    epochs: Annotated[
        Any,
        typer.Option(
            help="At most so many [auto: 100, and at least 2,000 updates].",
            parser=_limit,
            metavar="<int|auto>",
        ),
    ] = None,
    patience: Annotated[
        Any,
        typer.Option(
            help="Stop after so many epochs without progress [auto: 15, and at least 500 updates].",
            parser=_limit,
            metavar="<int|auto>",
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Windows in an update [64].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's [0.003].")] = None,
    clip: Annotated[
        float | None, typer.Option(help="Bound on the gradient's norm, 0 for none [1].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same numbers [0].")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads [torch's choice].")] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32, or bf16 for products in training [float32].")
    ] = None,
    watch: Annotated[
        bool | None,
        typer.Option(help="Record gradients, gates and states on the way, name explosions [no]."),
    ] = None,
    watch_every: Annotated[
        int | None, typer.Option(help="Updates from one record to the next [50].")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a network from a table and set it beside what it must beat."""
    flags: dict[str, Any] = {
        key: value
        for key, value in locals().items()
        if key not in ("config", "overwrite") and value is not None
    }
    from unrolled.cli.train import run_train

    run_train(flags, config, overwrite=overwrite)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[Path, typer.Argument(help="A table with the run's input columns.")],
    out: Annotated[Path, typer.Option(help="The .csv, .tsv or .parquet file to write.")],
    missing: Annotated[
        str | None, typer.Option(help="error, drop or interpolate [as in training].")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace --out if it exists.")] = False,
) -> None:
    """Predict a new table's targets, in the table's own units."""
    from unrolled.cli.predict import run_predict

    run_predict(run, data, out, missing=missing, overwrite=overwrite)


@app.command()
def inspect(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="A table with the run's columns [the run's own sample.csv]."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The .html page to write.")] = Path("report.html"),
    steps: Annotated[int, typer.Option(help="How many rows to show, 3 to 1000.")] = 200,
    end: Annotated[
        int | None, typer.Option(help="The last row to show, from 1 [the table's last].")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Which series, where there are several [the longest].")
    ] = None,
    lang: Annotated[str, typer.Option(help="The page's language: en or zh.")] = "en",
    png: Annotated[
        Path | None, typer.Option(help="A folder for pictures, PNG and SVG, as well.")
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="error, drop or interpolate [as in training].")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace --out, and write into --png, if they exist.")
    ] = False,
) -> None:
    """Show what a run's network does with each row of a table, and how far it remembers."""
    from unrolled.cli.inspect import run_inspect

    run_inspect(
        run,
        data,
        out,
        steps=steps,
        end=end,
        group=group,
        lang=lang,
        png=png,
        missing=missing,
        overwrite=overwrite,
    )


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    stateful: Annotated[
        bool, typer.Option(help="Take the states before the first step, give those after the last.")
    ] = True,
    double: Annotated[
        bool,
        typer.Option(
            "--double", help="Take and give float64: for large numbers that differ by little."
        ),
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Store weights in 8 bits, a quarter of the size.")
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Store weights in 16 bits, half the size.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0.0, help="Share by which --int8 or --bf16 may raise the error [0.1]."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Table to measure on [the run's own test rows].")
    ] = None,
    missing: Annotated[
        str | None, typer.Option(help="error, drop or interpolate [as in training].")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it exists.")] = False,
) -> None:
    """Write a trained run as an ONNX file, scaling and read-out included."""
    if int8 and bf16:
        raise InputError("--int8 and --bf16 exclude each other. Give one of them")
    if tolerance is not None and not (int8 or bf16):
        raise InputError("--tolerance is for --int8 and --bf16. Add one of them, or leave it")
    from unrolled.cli.export import run_export

    run_export(
        run,
        out,
        stateful=stateful,
        double=double,
        storage="int8" if int8 else "bfloat16" if bf16 else "float32",
        data=data,
        missing=missing,
        tolerance=tolerance,
        overwrite=overwrite,
    )


@app.command()
def stream(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    state: Annotated[
        Path | None, typer.Option(help="Go on from this file if it exists, and save to it.")
    ] = None,
    save_every: Annotated[
        int, typer.Option(min=1, help="Rows from one saving to the next; also saved at the end.")
    ] = 1000,
    header: Annotated[
        bool | None,
        typer.Option(help="Whether the first line of CSV is a header [told by its names]."),
    ] = None,
) -> None:
    """Predict row by row: CSV or JSON lines on stdin, the predictions on stdout as they come."""
    from unrolled.cli.stream import run_stream

    run_stream(run, state=state, save_every=save_every, has_header=header)


@app.command()
def doctor(
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to check.")] = 10.0,
) -> None:
    """Say what runs on this machine, and check it against the reference."""
    from unrolled.cli.doctor import run_doctor

    run_doctor(seconds)


@app.command()
def reproduce(
    folder: Annotated[
        Path, typer.Option("--results", help="Trials are added here; what is here is not run.")
    ] = Path("reproduction"),
    part: Annotated[
        list[str] | None, typer.Option(help="A part, such as tables; repeat for several [all].")
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="A row of the tables; repeat for several [all].")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="faithful (as in 1997) or modern (today's networks) [both]."),
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="A network of the tables, such as GRU [all].")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Of each row so many [all].")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="So many trials at once [the cores].")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes: four short rows.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Print the rows of the tables.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Run nothing: write the page on the results there.")
    ] = None,
) -> None:
    """Rerun the experiments that made the case for the LSTM in 1997, at full length."""
    from unrolled.cli.reproduce import Selection, list_rows, run_page, run_reproduce

    if list_:
        list_rows()
        return
    selection = Selection(row or (), column or (), network or (), trials)
    if page is not None:
        if part or processes or quick or selection != Selection():
            raise InputError(
                "--page: runs nothing, so that of all other flags it takes --results alone. "
                "Leave them out"
            )
        run_page(folder, page)
        return
    run_reproduce(folder, part or [], selection, processes, quick=quick)


@app.command()
def tasks(
    name: Annotated[str | None, typer.Argument(help="A task, such as adding.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the tasks and leave.")] = False,
    length: Annotated[
        int | None, typer.Option(help="How long the memory has to be [each task's own].")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="rnn, lstm or gru; repeat for several [all three].")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the weights [3000].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences in an update [32].")] = None,
    hidden_size: Annotated[int | None, typer.Option(help="Hidden units [32].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's [0.01].")] = None,
    clip: Annotated[
        float | None, typer.Option(help="Bound on the gradient's norm, 0 for none [1].")
    ] = None,
    forget_bias: Annotated[
        float | None, typer.Option(help="Of the LSTM's forget gate, at the start [1].")
    ] = None,
    test_size: Annotated[int | None, typer.Option(help="New sequences that score [1000].")] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same numbers [0].")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads [1].")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write [the task's name].")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Train cells side by side on one of the literature's memory tasks."""
    values = locals()
    from unrolled.cli.tasks import list_tasks, run_tasks
    from unrolled.learn.comparison import CompareSettings
    from unrolled.model.choice import NAMES

    if show:
        list_tasks()
        return
    flags = {
        key: values[key] for key in CompareSettings.model_fields if values.get(key) is not None
    }
    run_tasks(name, length, cell or [*NAMES], out, flags, overwrite=overwrite)
