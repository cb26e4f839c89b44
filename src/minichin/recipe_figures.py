"""Pictures of the checks of the recipe: rates and warm-ups at both ends of the widths, and depths."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minichin.style import ALL_PARAMS, GREY, LOSS, OKABE_ITO, budget_colours, finish
from minichin.words import scientific

MARKS = "os^"  # narrow, middle, wide


def plot_factors(ax: Axes, checks: pd.DataFrame, column: str, name: str) -> Axes:
    """Draw the change of loss against the factor in `column` (rate or warmup), a line a budget and width.

    `checks` is `recipe.factors`; the other factor is held at 1.  The grey band is 0.01 nats about zero.
    """
    other = {"rate": "warmup", "warmup": "rate"}[column]
    some = checks[checks[other] == 1]
    colours = budget_colours(some["budget"].tolist())
    ax.axhspan(-0.01, 0.01, color=GREY, alpha=0.2, linewidth=0)
    for budget, part in some.groupby("budget"):
        for place, (width, line) in enumerate(part.groupby("width")):
            line = line.sort_values(column)
            ax.plot(
                line[column],
                line["change"],
                f"{MARKS[place % len(MARKS)]}-",
                color=colours[float(budget)],  # type: ignore[arg-type]
                ms=5,
                linewidth=1.2,
                label=f"{scientific(float(budget))}, width {width}",  # type: ignore[arg-type]
            )
    finish(ax, f"{name}, times the recipe's", "change of loss (nats a byte)", log_x=True, legend=None)
    ticks = sorted(some[column].unique())
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def plot_depths(ax: Axes, table: pd.DataFrame, floors: pd.DataFrame, above: float = 0.28) -> Axes:
    """Draw the valleys of one budget, a colour for each depth in every picture, with their floors as stars.

    `table` and `floors` (`recipe.floors`) hold one budget; what lies more than `above` nats over its lowest
    run is not shown.
    """
    for depth, part in table.groupby("depth"):
        colour = OKABE_ITO[int(str(depth)) % len(OKABE_ITO)]
        means = part.groupby("params")["val_loss"].mean()
        layers = "1 layer" if depth == 1 else f"{depth} layers"
        ax.plot(means.index, means, "o-", color=colour, ms=4, linewidth=1.2, label=layers)
        own = floors[floors["depth"] == depth]
        ax.plot(own["params"], own["val_loss"], "*", color=colour, ms=12, mec="white")
    lowest = float(np.nanmin(table["val_loss"]))
    ax.set_ylim(lowest - 0.07 * above, lowest + above)
    return finish(ax, ALL_PARAMS, LOSS, log_x=True)
