"""Pictures of the loss along the frontier, and of small models that were trained far beyond their optimum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from minichin.convergence import AXES
from minichin.fit.result import Valley
from minichin.style import ALL_PARAMS, DARK, FLOPS, LOSS, OKABE_ITO, finish, tip
from minichin.words import count, scientific

TICKS = (1.2, 1.4, 1.6, 1.8, 2.0, 2.2)
NAMES = {"flops": FLOPS["full"], "params": ALL_PARAMS, "tokens": "training tokens"}


def plot_laws(axes: Sequence[Axes], valleys: Sequence[Valley]) -> None:
    """Draw the loss at the optima over compute, parameters and tokens, one axes each, with one power law."""
    loss = np.array([valley.loss_opt for valley in valleys])
    for ax, name in zip(axes, AXES, strict=True):
        x = np.array(
            [valley.flops if name == "flops" else getattr(valley, f"{name}_opt") for valley in valleys]
        )
        slope, start = np.polyfit(np.log(x), np.log(loss), 1)
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, np.exp(start + slope * np.log(ends)), "--", color=DARK, linewidth=1, label="power law")
        ax.plot(x, loss, "o", color=OKABE_ITO[0], ms=5, label="optima")
        finish(ax, NAMES[name], LOSS if ax is axes[0] else "", log_x=True, log_y=True, legend=None)
        ax.set_yticks(TICKS, [str(tick) for tick in TICKS])
    axes[0].legend(loc="upper right", frameon=False, fontsize="small")


def plot_long_runs(ax: Axes, curves: pd.DataFrame, runs: pd.DataFrame, valleys: Sequence[Valley]) -> Axes:
    """Draw the longest training curve of each width, the ends of its shorter runs, and the frontier.

    `curves` and `runs` are of the same widths; columns as in the tables of runs and curves. A curve is
    measured on less text than the final loss; it is shifted to end there.
    """
    ax.plot(
        [valley.flops for valley in valleys],
        [valley.loss_opt for valley in valleys],
        "-",
        color=DARK,
        linewidth=2,
        label="frontier: best size at each budget",
    )
    for place, (width, part) in enumerate(runs.groupby("width")):
        colour = OKABE_ITO[place]
        longest = part.sort_values("budget").iloc[-1]
        curve = curves[curves["spec_hash"] == longest["spec_hash"]].sort_values("step")
        label = f"width {width}, {count(longest['params'])} parameters"
        level = longest["val_loss"] - curve["val_loss"].iloc[-1]
        ax.plot(curve["flops"], curve["val_loss"] + level, color=colour, linewidth=1.2, label=label)
        for _, run in part.iterrows():
            (dot,) = ax.plot(run["budget"], run["val_loss"], "o", color=colour, ms=6)
            ratio = f"{run['tokens'] / run['params']:,.0f} tokens a parameter"
            tip(dot, f"{label}, {scientific(run['budget'])} FLOPs, {ratio}: {run['val_loss']:.3f} nats")
    lowest = min(valley.loss_opt for valley in valleys if valley.budget <= 2 * runs["budget"].max())
    ax.set_ylim(lowest - 0.03, 2.7)
    ax.set_xlim(1e10, 2 * runs["budget"].max())
    return finish(ax, f"{FLOPS['full']} so far", LOSS, log_x=True, place="upper right")
