"""Pictures of larger sweeps: what they cost, where text and memory run out, and what workers and failures do.

Decisions:
- A published number is a grey line with its name on it, ours are in colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import ArrayLike

from minichin.scale import Ladder
from minichin.style import FLOPS, GREY, OKABE_ITO, finish

NAMED_SHARE = 0.08  # smaller parts of a bar have no room for their budget's name
HALO: list[AbstractPathEffect] = [withStroke(linewidth=3, foreground="white")]


def plot_shares(ax: Axes, ladders: Sequence[Ladder]) -> Axes:
    """Draw a bar for each ladder, cut into its budgets' shares of the FLOPs, the largest budget first."""
    for place, ladder in enumerate(ladders):
        edge = 0.0
        shares = ladder.shares()[::-1]
        for below, share in enumerate(100 * shares):
            colour = mpl.colormaps["viridis"](min(0.95, 0.25 + 0.7 * below / 6))
            ax.barh(place, share, left=edge, color=colour, edgecolor="white", linewidth=0.8)
            if share > 100 * NAMED_SHARE:
                dark = "white" if below / 6 < 0.5 else "black"
                ax.annotate(f"{share:.0f} %", (edge + share / 2, place), ha="center", va="center", color=dark)
            edge += share
    ax.set_yticks(range(len(ladders)), [f"{ladder.per_decade} a decade" for ladder in ladders])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    return finish(ax, "share of the sweep's FLOPs (%), largest budget at the left", "", legend=None)


def mark(ax: Axes, places: Mapping[str, float], *, upright: bool) -> None:
    """Draw grey lines with their names at places on a logarithmic axis: upright at x, or level at y."""
    for name, place in places.items():
        line = ax.axvline if upright else ax.axhline
        line(place, color=GREY, linestyle=":", linewidth=1)
        left = upright or place > np.sqrt(np.prod(ax.get_ylim()))  # where rising lines leave room
        text = ax.annotate(
            name,
            (place, 0.02) if upright else (0.02 if left else 0.98, place),
            xycoords=("data", "axes fraction") if upright else ("axes fraction", "data"),
            rotation=90 if upright else 0,
            ha="left" if left and not upright else "right",
            va="bottom",
            fontsize="small",
        )
        text.set_path_effects(HALO)


def plot_hours(
    ax: Axes, flops: ArrayLike, hours: Mapping[str, ArrayLike], marks: Mapping[str, float]
) -> Axes:
    """Draw the hours of whole sweeps against their largest budget, a line a device, and named budgets."""
    for (name, values), colour in zip(hours.items(), OKABE_ITO, strict=False):
        ax.plot(flops, values, color=colour, label=name)
    lowest = min(float(np.min(values)) for values in hours.values())
    ax.set_ylim(lowest / 1000, None)  # room for the names
    finish(ax, f"largest budget: {FLOPS['full']}", "hours of one worker", log_x=True, log_y=True)
    ax.legend(loc="upper left", frameon=False, fontsize="small")
    mark(ax, marks, upright=True)
    return ax


def plot_needs(
    ax: Axes,
    flops: ArrayLike,
    need: ArrayLike,
    span: float,
    limits: Mapping[str, float],
    unit: str,
) -> Axes:
    """Draw what the best size of each budget needs, the band over a valley's sizes, and what there is."""
    middle = np.asarray(need)
    ax.plot(flops, middle, color=OKABE_ITO[0], label="best size")
    ax.fill_between(
        flops,
        middle / span,
        middle * span,
        color=OKABE_ITO[0],
        alpha=0.18,
        linewidth=0,
        label="sizes of a valley",
    )
    ax.margins(x=0)
    finish(ax, FLOPS["full"], unit, log_x=True, log_y=True, legend=None)
    ax.legend(loc="lower right", frameon=False, fontsize="small")
    mark(ax, limits, upright=False)
    return ax


def plot_makespan(
    ax: Axes, workers: ArrayLike, hours: Mapping[str, ArrayLike], bound: ArrayLike, useful: float
) -> Axes:
    """Draw makespans against the number of workers, a line an order, over the bound that none can beat."""
    ax.plot(workers, np.asarray(bound), color=GREY, linewidth=4, alpha=0.45, label="lower bound")
    for (name, values), colour, style in zip(hours.items(), OKABE_ITO, ("-", "--"), strict=False):
        ax.plot(workers, values, color=colour, linestyle=style, label=name)
    ax.axvline(useful, color=GREY, linestyle=":", linewidth=1)
    return finish(ax, "workers", "hours until the last run ends", log_x=True, log_y=True)


def plot_utilisation(ax: Axes, workers: ArrayLike, shares: Mapping[str, ArrayLike], useful: float) -> Axes:
    """Draw the share of the workers' time that is spent on runs against their number, a line an order."""
    for (name, values), colour, style in zip(shares.items(), OKABE_ITO, ("-", "--"), strict=False):
        ax.plot(workers, 100 * np.asarray(values), color=colour, linestyle=style, label=name)
    ax.axvline(useful, color=GREY, linestyle=":", linewidth=1)
    ax.set_ylim(0, 105)
    return finish(ax, "workers", "time spent on runs (%)", log_x=True, legend=None)


def plot_failures(
    ax: Axes, hours: ArrayLike, factors: Mapping[str, ArrayLike], marks: Mapping[str, float]
) -> Axes:
    """Draw how many times as long a sweep takes against the hours between a worker's failures.

    Each of `factors` holds (failure rates, draws): the line is the median draw, the band all draws.
    """
    for (name, values), colour in zip(factors.items(), OKABE_ITO[1::-1], strict=False):
        draws = np.asarray(values)
        ax.plot(hours, np.median(draws, axis=1), "o-", ms=3, color=colour, label=name)
        ax.fill_between(hours, draws.min(axis=1), draws.max(axis=1), color=colour, alpha=0.18, linewidth=0)
    finish(ax, "hours between failures of one worker", "times as long", log_x=True, log_y=True)
    ax.legend(loc="upper right", frameon=False, fontsize="small")
    mark(ax, marks, upright=True)
    return ax
