"""The variants of the LSTM, for people: what the page says of the trials, and their picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import ttest_ind

from unrolled.learn.plot import CURVES, TARGET
from unrolled.reproduce.course import NEVER
from unrolled.reproduce.variants import SEEDS, SETTINGS, VANILLA, VARIANTS, Outcome

SIGNIFICANT = 0.05
"""The paper's level."""

ALIKE, BETTER, WORSE = TARGET, CURVES[2], CURVES[1]


def text() -> str:
    """How the trials are run, and how that differs from the paper."""
    settings = "; ".join(
        f"{name}: {s.training.hidden_size} units, batches of {s.training.batch_size}, "
        f"{s.training.updates:,} updates by Adam at the rate {s.training.rate:g}, the norm of the "
        f"gradient clipped to {s.training.clip:g}"
        for name, s in SETTINGS.items()
    )
    return (
        "Greff et al. searched the hyperparameters of each variant at random, in 200 trials for "
        "each of TIMIT, IAM Online and JSB Chorales, and compared the best tenth. They found no "
        "variant that is significantly better than V, and the forget gate and the output "
        "activation function to be the most critical parts. Here the hyperparameters are fixed "
        f"and the same for all variants ({settings}): a variant that wants others is at a "
        "disadvantage. Biases are chrono's for the task's length; NFG, "
        "which has no forget gate, keeps those it is made with. All updates are made, solved or "
        "not. p is that of Welch's t-test, two-sided, of the losses at the end against those of "
        f"V, {len(SEEDS)} trials each, at the paper's level of {SIGNIFICANT:g}; it is not "
        "corrected for the eight tests. With so few trials only large differences are found. The "
        "spike delays are those of Gers, Schraudolph & Schmidhuber 2002, whose point is that gates "
        "need peepholes to measure time. There are two units, so that none is left to count for "
        "the gates. JapaneseVowels (Kudo, Toyama & Shimbo 1999) is speech, as TIMIT is: 270 "
        "utterances to learn from and 370 to test, on which the loss is measured; the rate was "
        "chosen by V with seeds that are not among these."
    )


def table(records: Sequence[Outcome]) -> str:
    """A table in Markdown for each task that there are trials of."""
    parts = []
    for task in SETTINGS:
        some = [record for record in records if record.task == task]
        if some:
            parts.append(f"**{task[0].upper()}{task[1:]}**\n\n{_of_task(some)}")
    return "\n\n".join(parts)


def _of_task(records: Sequence[Outcome]) -> str:
    lines = [
        "| variant | weights | score | loss as a share of chance's | solved | updates to it | "
        "horizon | p |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    vanilla = _of(records, VANILLA)
    for variant in VARIANTS:
        if group := _of(records, variant):
            cells = _line(variant, group, vanilla)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _of(records: Sequence[Outcome], variant: str) -> list[Outcome]:
    return [record for record in records if record.variant == variant]


def _line(variant: str, group: list[Outcome], vanilla: list[Outcome]) -> list[str]:
    finite = [record for record in group if math.isfinite(record.loss)]
    shares = [record.loss / record.chance for record in finite]
    diverged = f"{len(group) - len(finite)} diverged" if len(finite) < len(group) else ""
    spread = f"{median(shares):.2g} ({min(shares):.2g} to {max(shares):.2g})" if shares else ""
    updates = [record.solved for record in group if record.solved != NEVER]
    p = None if variant == VANILLA else p_value(group, vanilla)
    return [
        variant,
        f"{group[0].weights:,}",
        f"{median(record.score for record in group):.3f}",
        ", ".join(filter(None, [spread, diverged])),
        f"{len(updates)} of {len(group)}",
        f"{median(updates):,.0f}" if updates else "never",
        f"{median(record.horizon for record in finite):,.0f}" if finite else "",
        "" if p is None else _p_text(p),
    ]


def p_value(group: Sequence[Outcome], vanilla: Sequence[Outcome]) -> float | None:
    """Of Welch's t-test of the losses, two-sided; None where there is nothing to test.

    Which is so with fewer than two trials of either, or where a network diverged.
    """
    losses = [[record.loss for record in some] for some in (group, vanilla)]
    if any(len(some) < 2 or not np.isfinite(some).all() for some in losses):
        return None
    return float(ttest_ind(*losses, equal_var=False).pvalue)


def _p_text(p: float) -> str:
    value = f"{p:.2g}"
    return f"**{value}**" if p < SIGNIFICANT else value


# --- the picture --------------------------------------------------------------------------------


def draw(path: Path, records: Sequence[Outcome]) -> None:
    """Writes a PNG: a point for each trial's loss, a bar for their median.

    Args:
        path: where to.
        records: the trials.
    """
    figure = Figure(figsize=(14.0, 4.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for ax, task in zip(figure.subplots(1, len(SETTINGS)), SETTINGS, strict=True):
        _draw_task(ax, [record for record in records if record.task == task])
        ax.set_title(f"{task}: loss at the end", fontsize=10, loc="left")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, axis="y")
    looks = (
        (f"better than {VANILLA}, p < {SIGNIFICANT:g}", BETTER),
        (f"worse than {VANILLA}, p < {SIGNIFICANT:g}", WORSE),
        (f"{VANILLA}, and what is not told from it", ALIKE),
    )
    handles = [
        figure.axes[0].plot([], [], color=color, marker="o", ls="", label=label)[0]
        for label, color in looks
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, format="png")  # whatever a draft's name ends in


def _draw_task(ax: Axes, records: Sequence[Outcome]) -> None:
    vanilla = _of(records, VANILLA)
    for place, variant in enumerate(VARIANTS):
        group = _of(records, variant)
        shares = [r.loss / r.chance for r in group if math.isfinite(r.loss)]
        if shares:
            color = _color(group, vanilla)
            ax.plot([place] * len(shares), shares, color=color, marker="o", ls="", alpha=0.6)
            ax.hlines(median(shares), place - 0.35, place + 0.35, color=color, lw=1.8)
    ax.axhline(1.0, color="0.35", lw=1.1, ls="--")
    ax.annotate("chance", (len(VARIANTS) - 0.5, 1.0), ha="right", va="bottom", color="0.35")
    ax.set_xticks(range(len(VARIANTS)), list(VARIANTS))
    ax.set_yscale("log")
    ax.set_ylabel("share of chance's loss")


def _color(group: Sequence[Outcome], vanilla: Sequence[Outcome]) -> str:
    p = p_value(group, vanilla)
    if p is None or p >= SIGNIFICANT:
        return ALIKE
    mean, of_vanilla = (np.mean([record.loss for record in some]) for some in (group, vanilla))
    return WORSE if mean > of_vanilla else BETTER
