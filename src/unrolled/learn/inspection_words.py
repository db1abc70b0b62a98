"""What is said of an inspected run: its title and its note, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.inspect.words import Language
from unrolled.model import Run


@dataclass(frozen=True)
class Shown:
    """Which rows are shown: ``first`` to ``last`` of ``table``, counted from 1.

    ``series`` is the group's label, None where there is no group; of ``filled`` rows an input was
    interpolated.
    """

    table: str
    series: str | None
    first: int
    last: int
    filled: int


def title_of(run: Run, language: Language) -> str:
    """Such as "LSTM: cos from sin"."""
    cell, table = run.network.config.title, run.table
    targets, inputs = ", ".join(table.targets), ", ".join(table.inputs)
    if language == "zh":
        return f"{cell}：由 {inputs} 预测 {targets}"
    return f"{cell}: {targets} from {inputs}"


def note_of(run: Run, shown: Shown, language: Language) -> str:
    """What a reader must know: which rows, how the network was run, what stands where."""
    if language == "zh":
        return "".join(_chinese(run, shown))
    return " ".join(_english(run, shown))


def _english(run: Run, shown: Shown) -> list[str]:
    table = run.table
    series = "" if shown.series is None else f", series {shown.series}"
    found = [
        f"Rows {shown.first} to {shown.last} of {shown.table}{series}.",
        "The network began with a zero state and carried it through all of them; "
        f"unrolled predict begins each window of {table.window} rows with zeros.",
        "Inputs, targets and predictions are in the table's units; the network reads and gives "
        "them scaled.",
    ]
    if table.difference:
        found.append(
            "A column that is both read and predicted is read as its change from the row before."
        )
    if table.ahead:
        found.append(
            f"A prediction stands at the row that it is about; it was made {_rows(table.ahead)} "
            "before."
        )
    if run.network.config.bidirectional:
        found.append(
            "The network reads in both directions: a prediction has seen what comes after."
        )
    if shown.filled:
        found.append(f"In {_rows(shown.filled)} an input was missing and is interpolated.")
    return found


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _chinese(run: Run, shown: Shown) -> list[str]:
    table = run.table
    series = "" if shown.series is None else f"，序列 {shown.series}"
    found = [
        f"{shown.table} 的第 {shown.first} 至 {shown.last} 行{series}。",
        "网络从零状态开始，状态一直传到最后一行；"
        f"而 unrolled predict 的每个窗口（{table.window} 行）都从零状态开始。",
        "输入、目标与预测值用表格的单位显示；网络读入与输出的是标准化后的值。",
    ]
    if table.difference:
        found.append("既是输入又是目标的列，读入的是它与上一行之差。")
    if table.ahead:
        found.append(f"预测值画在它所预测的那一行上，是在 {table.ahead} 行之前作出的。")
    if run.network.config.bidirectional:
        found.append("网络双向读取：每个预测都已看到其后的数据。")
    if shown.filled:
        found.append(f"有 {shown.filled} 行的输入缺失，由插值补上。")
    return found
