"""Pictures of Kaplan's rule, and of the steps of his procedure: valleys, changes of loss, exponents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes

from minichin.beside_figures import plot_beside, plot_changes
from minichin.fit import Interval, IsoflopFit
from minichin.kaplan import KAPLAN_WIDTH, PAPER_WIDTH
from minichin.style import ALL_PARAMS, DARK, GREY, LOSS, OKABE_ITO, finish

RULES = {PAPER_WIDTH: "√10 each (the paper)", KAPLAN_WIDTH: "5.5 × parameters (Kaplan)"}


def plot_rule(ax: Axes, valley: pd.DataFrame, runs: pd.DataFrame) -> Axes:
    """Draw the runs of both rules, a dot a seed, over the means of the `valley` of their budget."""
    means = valley.groupby("params")["val_loss"].mean()
    ax.plot(means.index, means, "-", color=GREY, linewidth=1.2, label="other sizes at the same budget")
    others = means[~means.index.isin(runs["params"])]
    ax.plot(others.index, others, "o", color=GREY, ms=4)
    for place, (width, label) in enumerate(RULES.items()):
        one = runs[runs["width"] == width]
        ax.plot(one["params"], one["val_loss"], "o", color=OKABE_ITO[place], ms=6, alpha=0.7, label=label)
    return finish(ax, ALL_PARAMS, LOSS, log_x=True)


def plot_ablations(axes: Sequence[Axes], fits: Mapping[str, IsoflopFit]) -> None:
    """Draw, on one of `axes` each, every fit but the first over the first; the last axes hold the legend."""
    (_, reference), *rest = fits.items()
    for ax, (name, fit) in zip(axes[:-1], rest, strict=True):
        plot_beside(ax, {"unchanged recipe": reference, "with this change": fit})
        ax.set_title(name, fontsize="medium")
        ax.legend().remove()
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False)
    axes[-1].axis("off")


def plot_all_changes(axes: Sequence[Axes], tables: Mapping[str, pd.DataFrame]) -> None:
    """Draw the change of loss over size of each table on one of `axes`; one legend, in the first."""
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        plot_changes(ax, table, name)
        if ax is not axes[0]:
            ax.legend().remove()


def plot_steps(
    ax: Axes, rows: Sequence[tuple[str, Mapping[str, tuple[float, Interval | None]]]], reference: float
) -> Axes:
    """Draw exponents from top to bottom, the counts of a row close together; the dashed line is `reference`.

    `rows`: (name, count -> (exponent, interval)).
    """
    counts = list(dict.fromkeys(count for _, found in rows for count in found))
    for place, (_, found) in enumerate(rows):
        for count, (value, interval) in found.items():
            which = counts.index(count)
            y = place + 0.24 * (which - (len(counts) - 1) / 2)
            if interval is not None:
                ax.plot(interval, [y, y], color=OKABE_ITO[which], linewidth=2)
            label = count if place == next(i for i, row in enumerate(rows) if count in row[1]) else None
            ax.plot(value, y, "os^"[which], color=OKABE_ITO[which], ms=6, label=label)
    ax.axvline(reference, color=DARK, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(rows)), [fill(name, 38) for name, _ in rows])
    ax.invert_yaxis()
    return finish(
        ax, "exponent a of N_opt ∝ C^a", "", legend="count" if len(counts) > 1 else None, place="upper left"
    )
