"""A diagnosis in words: what was measured, what it means, what to try."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from torch import Tensor

from unrolled.cells import Description
from unrolled.cells.roles import Gate, memories
from unrolled.inspect.known import line_title, title_of
from unrolled.inspect.letter_words import LETTER
from unrolled.inspect.words import Language, phrase

if TYPE_CHECKING:
    from unrolled.inspect.diagnosis import Diagnosis

PINNED = 0.5
"""Above this share of steps a gate's saturation is worth a word."""

MOST_NAMED = 10
"""Of more units the first are named."""


@dataclass(frozen=True)
class Letter:
    """The findings and the advice, a sentence or two each; ``str`` gives the whole text."""

    headline: str
    measured: str
    findings: tuple[str, ...]
    to_try: str
    advice: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.headline, "", self.measured, *(f"  * {one}" for one in self.findings)]
        if self.advice:
            lines += ["", self.to_try, *(f"  * {one}" for one in self.advice)]
        return "\n".join(lines)


def letter(d: Diagnosis, language: Language = "en") -> Letter:
    """The diagnosis in words; every advice stands on a figure above it."""
    say = _Say(language)
    where = say("at", name=d.module) if d.module else say("itself")
    return Letter(
        headline=say(
            "headline", cell=title_of(d.cell), where=where, steps=d.steps, verdict=say(d.verdict)
        ),
        measured=say("measured"),
        findings=tuple(_findings(d, say)),
        to_try=say("to_try"),
        advice=tuple(_advice(d, say)),
    )


class _Say:
    """The phrases of one language, and how it writes numbers."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **places: Any) -> str:
        return phrase(LETTER, key, self.language).format(**places)

    def share(self, value: float) -> str:
        if value > 10:
            return self("times", times=f"{value:,.3g}")
        percent = 100 * value
        return f"{percent:.3g}%" if percent >= 0.01 or percent == 0 else f"{percent:.1e}%"

    def scale(self, steps: float) -> str:
        return self("no_decay") if math.isinf(steps) else self("scale", steps=_number(steps))

    def spread(self, values: Tensor) -> str:
        flat = values.flatten().double()
        low, high = _number(float(flat.min())), _number(float(flat.max()))
        return self("spread", low=low, high=high, median=_number(_median(flat)))


def _median(values: Tensor) -> float:
    """The middle number, or the mean of the two in the middle, as the page's charts have it."""
    ordered = values.flatten().sort().values.tolist()
    middle = len(ordered) // 2
    return float(ordered[middle] + ordered[~middle]) / 2


def _findings(d: Diagnosis, say: _Say) -> list[str]:
    g, lags = d.gradient_by_lag, len(d.gradient_by_lag) - 1
    left = float(g[-1] / g[0]) if float(g[0]) > 0 else 0.0
    rate, scale = f"{d.decay.rate:.3g}", say.scale(d.decay.time_scale)
    share = say.share(d.horizon_share)
    found = [say("left", left=say.share(left), lags=lags, rate=rate, scale=scale)]
    if d.horizon >= lags:
        found.append(say("horizon_whole", lags=lags, share=share))
    else:
        found.append(say("horizon", horizon=d.horizon, share=share))
    if d.lyapunov is not None:
        largest, factor = d.lyapunov.largest, d.lyapunov.gradient_factor
        means = say("die_out" if largest < 0 else "grow")
        found.append(
            say("lyapunov", largest=f"{largest:+.3g}", factor=f"{factor:.3g}", means=means)
        )
    found += _constants(d, say)
    for (layer, gate), pinned in d.saturation.items():
        if pinned.share > PINNED:
            low, high = (say.share(float(part.mean())) for part in (pinned.low, pinned.high))
            whole = say.share(pinned.share)
            found.append(
                say(
                    "pinned",
                    layer=layer,
                    gate=_gate(d, say, gate),
                    share=whole,
                    low=low,
                    high=high,
                )
            )
    found += [
        say("dead", layer=layer, n=len(units), units=_some(units))
        for layer, units in d.dead_units.items()
        if units
    ]
    return found + _counters(d, say)


def _constants(d: Diagnosis, say: _Say) -> list[str]:
    """The time constants, or why there are none."""
    if not d.memories:
        return [say("no_constants", cell=title_of(d.cell))]
    found = [
        say("constant_share", state=_state(d, say, memory.state), share=f"{memory.share:.3g}")
        for memory in d.memories
        if memory.share is not None
    ]
    alike: dict[tuple[str, ...], list[str]] = {}
    for memory in d.memories:
        said = tuple(
            say(f"constants_{name}", spread=say.spread(values))
            for name, values in memory.time_constants.items()
        )
        alike.setdefault(said, []).append(_state(d, say, memory.state))
    for said, states in alike.items():
        of = say("of_state", state=", ".join(states)) if len(d.memories) > 1 else ""
        found += [of + one for one in said]
    return found


def _counters(d: Diagnosis, say: _Say) -> list[str]:
    """The units that count, state by state."""
    found = []
    for (layer, state), units in groupby(d.counters, lambda unit: (unit.layer, unit.state)):
        each = [
            say(
                "counter",
                unit=one.unit,
                rise=f"{one.rise:+.3g}",
                up=one.up,
                fall=f"{one.fall:+.3g}",
                down=one.down,
            )
            for one in units
        ]
        named = say("counter_joint").join(each[:MOST_NAMED]) + (" …" * (len(each) > MOST_NAMED))
        found.append(say("counters", layer=layer, state=_state(d, say, state), units=named))
    return found


def _gate(d: Diagnosis, say: _Say, name: str) -> str:
    return line_title(d.description, name, say.language, "gate_named")


def _state(d: Diagnosis, say: _Say, name: str) -> str:
    return line_title(d.description, name, say.language, "state_named")


def _forget_gate(cell: Description) -> Gate | None:
    """The gate whose bias says how long a state stays, if there is one."""
    gates = [gate for memory in memories(cell) for gate in memory.forget if gate.of.biases]
    return gates[0] if gates else None


def _advice(d: Diagnosis, say: _Say) -> list[str]:
    found = []
    lags = len(d.gradient_by_lag) - 1
    if d.verdict == "exploding":
        found.append(say("clip", rate=f"{d.decay.rate:.3g}"))
        if not d.memories:
            found.append(say("orthogonal"))
    if d.verdict == "vanishing":
        gate = _forget_gate(d.description)
        if not d.memories:
            found.append(say("use_gates", horizon=d.horizon, cell=title_of(d.cell)))
        elif gate is not None and "bias" in d.time_constants:
            bias = gate.of.biases[0]
            parts = d.description.weights_by_name[bias.weight].parts
            found.append(
                say(
                    "raise_bias" if gate.sign > 0 else "lower_bias",
                    horizon=d.horizon,
                    gate=_gate(d, say, parts[bias.part].label),
                    log=f"{math.log(max(lags, 2)):.1f}",
                    window=lags + 1,
                    median=_number(_median(d.time_constants["bias"])),
                )
            )
        if d.horizon < lags // 2:
            shorter = max(2 * d.horizon, 1)
            found.append(say("shorten", shorter=shorter, window=lags + 1, horizon=d.horizon))
    if d.verdict != "exploding" and d.horizon >= lags:
        found.append(say("lengthen", lags=lags, share=say.share(d.horizon_share)))
    if any(pinned.share > PINNED for pinned in d.saturation.values()):
        found.append(say("scale_inputs"))
    if dead := sum(map(len, d.dead_units.values())):
        found.append(say("smaller", n=dead))
    return found


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:,.3g}"


def _some(units: list[int]) -> str:
    return ", ".join(map(str, units[:MOST_NAMED])) + (" …" if len(units) > MOST_NAMED else "")
