"""Pictures of five decades: all valleys on one pair of axes, and the tokens a parameter along the way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from minichin.decades import SEAM
from minichin.figures import optimum_tip, valley_tips
from minichin.fit import IsoflopFit
from minichin.style import ALL_PARAMS, DARK, FLOPS, GREY, LOSS, OKABE_ITO, budget_colours, finish, tip
from minichin.words import scientific

MARKS = {"two cores": "o", "a GPU": "s"}


def device(budget: float) -> str:
    """Where the runs of a budget of the joined table were trained."""
    return "two cores" if budget <= SEAM else "a GPU"


def plot_all_valleys(ax: Axes, fit: IsoflopFit) -> Axes:
    """Draw the losses of every budget over size, the fitted curve, and its vertex, joined by the frontier."""
    colours = budget_colours([valley.budget for valley in fit.valleys])
    ax.plot(
        [valley.params_opt for valley in fit.valleys],
        [valley.loss_opt for valley in fit.valleys],
        ":",
        color=DARK,
        linewidth=1,
    )
    named = set[str]()
    for valley in fit.valleys:
        colour, where = colours[valley.budget], device(valley.budget)
        label = where if where not in named else None
        named.add(where)
        for i, text in enumerate(valley_tips(valley)):
            (dot,) = ax.plot(valley.params[i], valley.val_loss[i], MARKS[where], color=colour, ms=4)
            tip(dot, text)
            dot.set_label(label if i == 0 and label else "_")
        sizes = np.geomspace(valley.params[valley.window].min(), valley.params[valley.window].max(), 60)
        ax.plot(sizes, valley.loss_at(sizes), color=colour, linewidth=1)
        (star,) = ax.plot(
            valley.params_opt, valley.loss_opt, "*", ms=11, mfc=OKABE_ITO[1], mec=DARK, zorder=3
        )
        tip(star, optimum_tip(valley))
        ax.annotate(
            scientific(valley.budget),
            (valley.params.max(), valley.val_loss[np.argmax(valley.params)]),
            xytext=(4, 2),
            textcoords="offset points",
            fontsize="x-small",
            color=DARK,
        )
    finish(ax, ALL_PARAMS, LOSS, log_x=True)
    ax.set_xlim(right=ax.get_xlim()[1] * 2)
    legend = ax.get_legend()
    assert legend is not None
    for handle in legend.legend_handles:  # a device has no colour of its own
        if handle is not None:
            handle.set(color=GREY)
    return ax


def plot_ratio(
    ax: Axes, fits: Mapping[str, IsoflopFit], lines: Mapping[tuple[float, float], IsoflopFit]
) -> Axes:
    """Draw the tokens a parameter at each optimum over compute, with 95 % intervals, by device.

    `fits` are of `two cores` and `a GPU`; `lines` are fits of ranges of budgets, drawn over their range.
    """
    for place, (where, fit) in enumerate(fits.items()):
        colour = OKABE_ITO[place]
        for valley in fit.valleys:
            x = valley.flops * (1.0, 1.08)[place]  # side by side where both trained a budget
            if valley.tokens_per_param_interval is not None:
                ax.plot([x, x], valley.tokens_per_param_interval, color=colour, linewidth=1.5)
            label = where if valley is fit.valleys[0] else None
            ax.plot(x, valley.tokens_per_param, MARKS[where], color=colour, ms=6, zorder=3, label=label)
    for place, ((low, high), fit) in enumerate(lines.items()):
        flops = np.geomspace(low, high, 20)
        ratio = np.asarray(fit.d_opt(flops)) / np.asarray(fit.n_opt(flops))
        label = f"fit from {scientific(low)} to {scientific(high)}"
        ax.plot(flops, ratio, ("-", "--")[place % 2], color=DARK, linewidth=1.2, label=label)
    finish(ax, FLOPS["full"], "tokens a parameter at the optimum", log_x=True, log_y=True, place="upper left")
    ax.set_yticks([10, 20, 30, 50, 80], ["10", "20", "30", "50", "80"])
    return ax
