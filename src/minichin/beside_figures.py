"""Pictures of an experiment beside the unchanged recipe: its valleys, and the change of loss over sizes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from minichin.fit import IsoflopFit
from minichin.style import ALL_PARAMS, GREY, LOSS, OKABE_ITO, budget_colours, finish
from minichin.words import scientific

MARKS = "os^Dv"


def plot_beside(ax: Axes, fits: Mapping[str, IsoflopFit]) -> Axes:
    """Draw the valleys of several fits over one another, a colour a fit, with their floors as stars.

    Each valley ends, at its right, with its budget.
    """
    for place, (name, fit) in enumerate(fits.items()):
        colour, mark = OKABE_ITO[place], MARKS[place]
        for valley in fit.valleys:
            label = name if valley is fit.valleys[0] else None
            ax.plot(valley.params, valley.val_loss, mark, color=colour, ms=4, alpha=0.8, label=label)
            inside = valley.params[valley.window]
            sizes = np.geomspace(inside.min(), inside.max(), 60)
            ax.plot(sizes, valley.loss_at(sizes), color=colour, linewidth=1.2)
            ax.plot(valley.params_opt, valley.loss_opt, "*", color=colour, ms=12, mec="white", zorder=3)
    for valleys in zip(*(fit.valleys for fit in fits.values()), strict=True):
        ends = [(valley.params[-1], valley.val_loss[-1]) for valley in valleys]
        ax.annotate(
            scientific(valleys[0].budget),
            max(ends, key=lambda end: end[1]),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize="small",
            color=GREY,
        )
    ax.margins(x=0.12)
    return finish(ax, ALL_PARAMS, LOSS, log_x=True)


def plot_changes(ax: Axes, table: pd.DataFrame, title: str = "") -> Axes:
    """Draw the column `change` (`beside.changes`) against size, a line a budget; zero is dashed."""
    colours = budget_colours(table["budget"].tolist())
    ax.axhline(0, color=GREY, linestyle="--", linewidth=1)
    for place, (budget, part) in enumerate(table.groupby("budget")):
        means = part.groupby("params")["change"].mean()
        ax.plot(
            means.index,
            means,
            f"{MARKS[place % len(MARKS)]}-",
            color=colours[float(budget)],  # type: ignore[arg-type]
            ms=5,
            linewidth=1.2,
            label=scientific(float(budget)),  # type: ignore[arg-type]
        )
    finish(ax, ALL_PARAMS, "change of loss (nats a byte)", log_x=True, legend="FLOPs (full count)")
    if title:
        ax.set_title(title, fontsize="medium")
    return ax
