"""Pictures of what the text does: leaks by how often they were read, and repetition against its formula."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minichin.data_quality import worth
from minichin.style import GREY, OKABE_ITO, budget_colours, finish
from minichin.words import scientific

MARKS = "os^D"


def plot_leaks(ax: Axes, table: pd.DataFrame, names: Mapping[str, str]) -> Axes:
    """Draw the change of loss against how often the leak was read, a colour a leak, a mark a budget.

    `table` has the columns corpus, budget, readings and change; `names` is corpus -> its name in the legend.
    """
    ax.axhline(0, color=GREY, linestyle="--", linewidth=1)
    for colour, (corpus, name) in zip(OKABE_ITO, names.items(), strict=False):
        for place, (_, part) in enumerate(table[table["corpus"] == corpus].groupby("budget")):
            part = part.sort_values("readings")
            label = name if place == 0 else None
            ax.plot(part["readings"], part["change"], f"{MARKS[place]}-", color=colour, ms=5, label=label)
    for place, budget in enumerate(sorted(table["budget"].unique())):
        ax.plot([], [], MARKS[place], color=GREY, ms=5, label=f"{scientific(budget)} FLOPs")
    return finish(
        ax, "times that a run read the leaked text, on average", "change of loss (nats a byte)", log_x=True
    )


def _epoch_ticks(axis: Axis, epochs: list[int]) -> None:
    axis.set_major_locator(FixedLocator(epochs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def plot_repetition(
    ax: Axes, runs: pd.DataFrame, column: str, lines: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Axes:
    """Draw `column` (change or worth) of `data_quality.repeated` against epochs, a colour a model.

    `lines` are curves by their name: epochs and values; the first is dashed, the second dotted.
    """
    cells = list(runs.groupby(["budget", "width"]))
    colours = budget_colours([float(place) for place in range(len(cells))])
    for place, ((_, width), part) in enumerate(cells):
        part = part.sort_values("epochs")
        name = f"width {width}, {scientific(part['budget'].iloc[0])} FLOPs"
        ax.plot(
            part["epochs"],
            part[column],
            f"{MARKS[place % 4]}-",
            color=colours[place],
            ms=5,
            lw=1.2,
            label=name,
        )
    for (name, (x, y)), style in zip(lines.items(), ("--", ":"), strict=False):
        ax.plot(x, y, style, color=OKABE_ITO[1], linewidth=1.6, label=name)
    label = {"change": "change of loss (nats a byte)", "worth": "worth of a token, new ones = 1"}[column]
    finish(ax, "times that the text is read", label, log_x=True)
    _epoch_ticks(ax.xaxis, sorted(runs["epochs"].unique()))
    return ax


def worth_line(reuse: float, most: float = 40) -> tuple[np.ndarray, np.ndarray]:
    """Epochs from 1 to `most`, and what a token is worth by this R*."""
    x = np.geomspace(1, most, 100)
    return x, worth(x, reuse)
