"""Pictures of a source of known entropy: what was estimated for it, and how the floors come down to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from minichin.entropy import Estimate
from minichin.fit.result import Valley
from minichin.style import DARK, FLOPS, GREY, OKABE_ITO, finish


def plot_estimates(ax: Axes, estimates: Sequence[Estimate], entropy: float, lowest: float) -> Axes:
    """Draw estimates of E with their intervals from top to bottom, the least possible loss and the lowest."""
    for place, one in enumerate(estimates):
        if one.interval is not None:
            ax.plot(one.interval, [place, place], color=OKABE_ITO[0], linewidth=2)
        ax.plot(one.value, place, "o", color=OKABE_ITO[0], ms=6)
    ax.axvline(entropy, color=DARK, linestyle="--", linewidth=1, label="least possible loss")
    ax.axvline(lowest, color=GREY, linestyle=":", linewidth=1.2, label="lowest loss of any run")
    ax.set_yticks(range(len(estimates)), [one.name for one in estimates])
    ax.set_ylim(len(estimates) - 0.5, -1.2)
    return finish(ax, "E (nats a symbol)", "", place="upper left")


def plot_excess(ax: Axes, valleys: Sequence[Valley], entropies: Sequence[float]) -> Axes:
    """Draw the floors above the least possible loss over compute, and what shorter memories leave.

    `entropies` are the losses of readers of 0, 1, 2, … symbols (`entropy.scored`), the last the least.
    """
    flops = np.array([valley.flops for valley in valleys])
    above = np.array([valley.loss_opt for valley in valleys]) - entropies[-1]
    ax.plot(flops, above, "o-", color=OKABE_ITO[0], ms=6, linewidth=1.2, label="floors of the valleys")
    for known, level in list(enumerate(entropies))[1:-1]:
        ax.axhline(level - entropies[-1], color=GREY, linestyle="--", linewidth=1)
        words = "1 symbol known" if known == 1 else f"{known} symbols known"
        ax.annotate(
            words,
            (flops[-1], level - entropies[-1]),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize="x-small",
            ha="right",
            color=DARK,
        )
    finish(ax, FLOPS["full"], "loss above the least possible (nats)", log_x=True, log_y=True, legend=None)
    ax.set_ylim(above.min() / 1.5, None)
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5, 0.8) if above.min() / 1.5 < tick < ax.get_ylim()[1]]
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    return ax
