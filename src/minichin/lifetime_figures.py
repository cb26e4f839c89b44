"""Pictures of models for a long life: their size by use, what a small one costs, and over-training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from minichin.law import LossSurface
from minichin.lifetime import lifetime, over_training
from minichin.style import DARK, GREY, LOSS, OKABE_ITO, finish, tip
from minichin.words import count

TIMES = np.geomspace(0.1, 1000, 41)  # tokens served, in compute-optimal training tokens
SHARES = np.linspace(0.05, 1.0, 80)


def plot_served(ax: Axes, laws: Mapping[str, LossSurface], flops: float) -> Axes:
    """Draw the cheapest size over the compute-optimal one against tokens served over its training tokens."""
    for place, (name, surface) in enumerate(laws.items()):
        tokens = float(surface.optimum(flops).tokens)
        ratios = [lifetime(surface, flops, times * tokens).params_ratio for times in TIMES]
        ax.plot(TIMES, ratios, color=OKABE_ITO[place], linewidth=1.8, label=name)
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1)
    ax.set_ylim(0, 1.3)
    return finish(
        ax,
        "tokens served, in optimal training tokens",
        "cheapest size, in optimal sizes",
        log_x=True,
        place="upper right",
    )


def plot_shrunk(ax: Axes, laws: Mapping[str, LossSurface], flops: float) -> Axes:
    """Draw the training compute of a model of a share of the optimal size, for the optimal loss."""
    for place, (name, surface) in enumerate(laws.items()):
        found = over_training(surface, flops, SHARES)[:, 1]
        ax.plot(SHARES, found, color=OKABE_ITO[place], linewidth=1.8, label=name)
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1)
    ax.set_ylim(0.9, 3)
    return finish(
        ax,
        "size, in optimal sizes",
        "training compute for the same loss",
        place="upper right",
    )


def plot_fixed_sizes(ax: Axes, table: pd.DataFrame, surface: LossSurface) -> Axes:
    """Draw loss against tokens a parameter, the runs of each width as dots, a fitted surface as lines.

    `table` is `lifetime.by_width`.
    """
    for place, ((width, params), part) in enumerate(table.groupby(["width", "params"])):
        colour = OKABE_ITO[place % len(OKABE_ITO)]
        ratios = np.geomspace(part["ratio"].min(), part["ratio"].max(), 50)
        size = float(params)  # type: ignore[arg-type]
        label = f"{count(size)} parameters"
        ax.plot(ratios, surface.value(size, ratios * size), color=colour, linewidth=1.2, label=label)
        for ratio, loss in zip(part["ratio"], part["val_loss"], strict=True):
            (dot,) = ax.plot(ratio, loss, "o", color=colour, mec=DARK, mew=0.4, ms=5)
            tip(dot, f"width {width}, {label}, {ratio:.0f} tokens a parameter: {loss:.3f} nats")
    return finish(ax, "training tokens a parameter", LOSS, log_x=True, place="upper right")
