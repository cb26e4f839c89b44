"""Pictures of predictions: what was said over what was found, and how misses spread with the distance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minichin.style import DARK, FLOPS, GREY, OKABE_ITO, budget_colours, finish
from minichin.words import scientific

NAMES = {"params": "parameters", "tokens": "tokens", "loss": "loss"}
TICKS = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.4, 2.0, 4.0)


def plot_tests(axes: Sequence[Axes], tests: pd.DataFrame) -> None:
    """Draw, on one of `axes` each, what was said of a quantity over what was found, a row an approach.

    `tests` is that of `prediction.tests`. The grey bar is the interval of what was found.
    """
    rows = list(dict.fromkeys(zip(tests["statement"], tests["approach"], strict=True)))
    for ax, (quantity, part) in zip(axes, tests.groupby("quantity", sort=False), strict=True):
        for row in part.to_dict("records"):
            _statement(ax, rows.index((row["statement"], row["approach"])), row)
        ax.axvline(1, color=DARK, linewidth=1, linestyle="--")
        finish(ax, f"{NAMES[str(quantity)]}: said / found", "", log_x=True, legend=None)
        ax.set_yticks(range(len(rows)), [f"{statement}: approach {number}" for statement, number in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        _ratio_ticks(ax, "x")
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)


def _statement(ax: Axes, place: int, row: Mapping[Hashable, Any]) -> None:
    """Draw one row of `prediction.tests`: filled where it hit, open where it did not."""
    hit, found = row["verdict"] == "hit", row["found"]
    colour = OKABE_ITO[0 if hit else 1]
    if np.isfinite(row["found_low"]):
        band = (row["found_low"] / found, row["found_high"] / found)
        ax.fill_betweenx([place - 0.3, place + 0.3], *band, color=GREY, alpha=0.3, linewidth=0)
    ax.plot([row["low"] / found, row["high"] / found], [place, place], color=colour, linewidth=2)
    ax.plot(row["said"] / found, place, "o" if hit else "s", color=colour, mfc=colour if hit else "white")


def plot_fan(ax: Axes, found: pd.DataFrame, quantity: str, title: str, budgets: Sequence[float]) -> Axes:
    """Draw said / found of `quantity` over the compute predicted at, a line a largest known budget.

    `budgets` are all that may be the largest known one: the same for panels that share a legend.
    """
    part = found.dropna(subset=[f"miss_{quantity}"])
    colours = budget_colours(budgets)
    for known, line in part.groupby("known"):
        ax.plot(
            [known, *line["target"]],
            np.exp([0, *line[f"miss_{quantity}"]]),
            "o-",
            ms=3.5,
            linewidth=1.2,
            color=colours[float(str(known))],
            label=scientific(float(str(known))),
        )
    ax.axhline(1, color=DARK, linewidth=1, linestyle="--")
    finish(ax, FLOPS["full"], f"{NAMES[quantity]}: said / found", log_x=True, log_y=True, legend=None)
    ax.set_title(title, fontsize="medium")
    return ax


def finish_fans(axes: Sequence[Axes]) -> None:
    """Give a row of fans the same scales, and the ticks of ratios; only the first names the ordinate."""
    left, right = min(ax.get_xlim()[0] for ax in axes), max(ax.get_xlim()[1] for ax in axes)
    low = min(ax.get_ylim()[0] for ax in axes)
    high = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_xlim(left, right)
        ax.set_ylim(low, high)
        _ratio_ticks(ax, "y")
    for ax in axes[1:]:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)


def plot_floor(ax: Axes, floors: pd.DataFrame) -> Axes:
    """Draw approach 3's E with its interval over the largest budget that it was fitted to."""
    ax.vlines(floors["known"], floors["low"], floors["high"], color=OKABE_ITO[0], linewidth=2)
    ax.plot(floors["known"], floors["E"], "o", color=OKABE_ITO[0], ms=6)
    return finish(
        ax,
        "largest budget of the fit, " + FLOPS["full"],
        "E of approach 3 (nats a byte)",
        log_x=True,
        legend=None,
    )


def _ratio_ticks(ax: Axes, which: str) -> None:
    """Name a few ratios on a logarithmic axis, fewer where it is long."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = ax.get_xlim() if which == "x" else ax.get_ylim()
    inside = [tick for tick in TICKS if low <= tick <= high]
    if high / low > 3:
        inside = [tick for tick in inside if tick in (0.25, 0.5, 1.0, 2.0, 4.0)]
    elif high / low > 1.5:
        inside = [tick for tick in inside if tick not in (0.95, 1.05)]
    axis.set_major_locator(FixedLocator(inside))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
