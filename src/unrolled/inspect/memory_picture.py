"""The picture of a diagnosis: gradient by lag, Lyapunov spectrum, time constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from torch import Tensor

from unrolled.inspect.diagnosis import Diagnosis, Lyapunov
from unrolled.inspect.known import title_of

GRADIENT, SALIENCY, HORIZON = "#0072B2", "#999999", "#D55E00"
LEAST = 1e-30
"""A share below this one is not drawn, on the page neither; the decay is not fitted to it."""
BINS = 24


def memory_picture(d: Diagnosis, title: str) -> Figure:
    """A panel for each part that the diagnosis has."""
    panels: list[Callable[[Axes], None]] = [lambda ax: _draw_gradient(ax, d)]
    if (lyapunov := d.lyapunov) is not None:
        panels.append(lambda ax: _draw_spectrum(ax, lyapunov))
    if d.time_constants:
        panels.append(lambda ax: _draw_time_constants(ax, d))
    figure = Figure(figsize=(0.6 + 3.9 * len(panels), 3.7), dpi=144, layout="constrained")
    verdict = f"{title_of(d.cell)} over {d.steps} steps: {d.verdict}"
    figure.suptitle(f"{title}\n{verdict}", fontsize=11, parse_math=False)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, draw in zip(axes, panels, strict=True):
        draw(ax)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_gradient(ax: Axes, d: Diagnosis) -> None:
    """As shares of those at lag 0, the horizon marked where the gradient meets the threshold."""
    for values, label, color in (
        (d.saliency_by_lag, "saliency by lag", SALIENCY),
        (d.gradient_by_lag, "gradient by lag", GRADIENT),
    ):
        if values is not None and float(values[0]) > 0:
            shares = _doubles(values) / float(values[0])
            ax.semilogy(np.where(shares > LEAST, shares, np.nan), color=color, lw=1.5, label=label)
    ax.set_yscale("log")
    ax.axhline(
        d.horizon_share, color="0.4", lw=0.9, ls=":", label=f"threshold: {d.horizon_share:.3g}"
    )
    beyond = "+" if d.horizon >= len(d.gradient_by_lag) - 1 else ""
    label = f"horizon: {d.horizon}{beyond} steps"
    ax.axvline(d.horizon, color=HORIZON, lw=1.1, ls="-.", label=label)
    ax.set_xlabel("lag (steps back from the end)")
    ax.set_ylabel("share of that at lag 0")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize=8, framealpha=1, edgecolor="none")


def _draw_spectrum(ax: Axes, lyapunov: Lyapunov) -> None:
    exponents = _doubles(lyapunov.exponents)
    finite = np.where(np.isfinite(exponents), exponents, np.nan)
    ax.axhline(0.0, color="0.4", lw=0.9)
    ax.plot(np.arange(1, len(finite) + 1), finite, color=GRADIENT, marker=".", lw=0.8)
    ax.set_xlim(0, len(finite) + 1)
    ax.set_xlabel("exponent, the largest first")
    ax.set_ylabel("Lyapunov exponent (nats a step)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title(f"largest: {lyapunov.largest:+.3g}".replace("-", "−"), fontsize=9)


def _draw_time_constants(ax: Axes, d: Diagnosis) -> None:
    """Of all units of all layers, along the data and by the biases alone."""
    kinds = {
        label: _doubles(d.time_constants[name].flatten())
        for name, label in (("trajectory", "along the data"), ("bias", "by the biases"))
        if name in d.time_constants
    }
    finite = {label: v[np.isfinite(v) & (v > 0)] for label, v in kinds.items()}
    every = np.concatenate(list(finite.values()))
    ax.set_xscale("log")
    if len(every):
        low, high = every.min(), every.max()
        bins = np.geomspace(low / 1.1, high * 1.1, BINS + 1)
        ax.xaxis.set_major_formatter("{x:g}")
        if high > 8 * low:
            ax.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        ax.xaxis.set_minor_formatter("{x:g}" if high < 200 * low else NullFormatter())
        for (label, values), style in zip(finite.items(), ("stepfilled", "step"), strict=False):
            endless = len(kinds[label]) - len(values)
            color = GRADIENT if style == "stepfilled" else HORIZON
            ax.hist(
                values,
                bins=bins.tolist(),
                histtype=style,  # type: ignore[arg-type]
                color=color,
                alpha=0.6 if style == "stepfilled" else 1.0,
                label=f"{label} ({endless} endless)" if endless else label,
            )
        ax.legend(frameon=False, fontsize=8)
    else:
        ax.text(0.5, 0.5, "all endless", ha="center", transform=ax.transAxes)
    ax.set_xlabel("time constant (steps)")
    ax.set_ylabel("units")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _doubles(values: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.detach().cpu().double().numpy()
    return found
