"""Pictures of models for a long life: their size by use, what a small one costs, and over-training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from minichin.law import LossSurface
from minichin.lifetime import lifetime, over_trained, over_training
from minichin.style import DARK, GREY, LOSS, OKABE_ITO, budget_colours, finish, tip
from minichin.words import count, scientific

TIMES = np.geomspace(0.1, 1000, 41)  # tokens served, in compute-optimal training tokens
SHARES = np.linspace(0.05, 1.0, 80)
FACTORS = np.geomspace(0.04, 100, 61)  # tokens a parameter, in the optimum's


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


def plot_measured(
    ax: Axes, table: pd.DataFrame, surface: LossSurface, spread: np.ndarray | None = None
) -> Axes:
    """Draw compute over the frontier's for the same loss against over-training: runs, and a surface's line.

    `table` is `lifetime.measured`; `spread` is `lifetime.over_trained_spread` at `FACTORS`, drawn as a band.
    """
    colours = budget_colours(table["budget"].tolist())
    for budget, part in table.groupby("budget"):
        name = scientific(float(budget))  # type: ignore[arg-type]
        for place, (_, run) in enumerate(part.iterrows()):
            (dot,) = ax.plot(
                run["factor"],
                run["extra"],
                "o",
                color=colours[float(budget)],  # type: ignore[arg-type]
                mec="white",
                mew=0.4,
                ms=5.5,
                label=name if place == 0 else None,
            )
            tip(dot, f"{name} FLOPs, width {run['width']:.0f}: {run['extra']:.2f} times the compute")
    ax.plot(FACTORS, over_trained(surface, FACTORS), color=DARK, linewidth=1.4, label="fitted surface")
    if spread is not None:
        ax.fill_between(FACTORS, spread[0], spread[1], color=GREY, alpha=0.35, linewidth=0)
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1)
    finish(
        ax,
        "tokens a parameter, in the optimum's",
        "compute for the same loss, in the optimum's",
        log_x=True,
        log_y=True,
        legend=None,
    )
    ax.set_yticks((1, 2, 4, 8), ("1", "2", "4", "8"))
    ax.legend(
        title="budget (FLOPs)",
        frameon=False,
        fontsize="small",
        title_fontsize="small",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )
    return ax


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
    finish(ax, "training tokens a parameter", LOSS, log_x=True, legend=None)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
