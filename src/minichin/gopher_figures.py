"""Pictures of mini-Gopher against mini-Chinchilla: one valley, the advantages, and sentences by paradigm."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from minichin.gopher_claims import CHANCE, LARGE, SMALL
from minichin.style import ALL_PARAMS, DARK, GREY, LOSS, OKABE_ITO, finish

NAMES = {SMALL: "mini-Chinchilla", LARGE: "mini-Gopher"}
COLOURS = {SMALL: OKABE_ITO[0], LARGE: OKABE_ITO[1]}


def plot_pair(ax: Axes, valley: pd.DataFrame, runs: pd.DataFrame) -> Axes:
    """Draw the runs of both sizes, a dot a seed, over the means of the `valley` of their budget."""
    means = valley.groupby("params")["val_loss"].mean()
    ax.plot(means.index, means, "-", color=GREY, linewidth=1.2, label="other sizes at the same budget")
    others = means[~means.index.isin(runs["params"])]
    ax.plot(others.index, others, "o", color=GREY, ms=4)
    for width, name in NAMES.items():
        one = runs[runs["width"] == width]
        ax.plot(one["params"], one["val_loss"], "o", color=COLOURS[width], ms=6, alpha=0.7, label=name)
    return finish(ax, ALL_PARAMS, LOSS, log_x=True)


def plot_claims(ax: Axes, claims: pd.DataFrame) -> Axes:
    """Draw the smaller model's advantage in every measure, in per cent of the larger one's value.

    Filled where the interval excludes zero.
    """
    for place, row in enumerate(claims.to_dict("records")):
        unit = 100 / row["large"]
        known = row["verdict"] != "cannot tell"
        ax.plot([row["low"] * unit, row["high"] * unit], [place, place], color=OKABE_ITO[0], linewidth=2)
        ax.plot(
            row["advantage"] * unit,
            place,
            "o",
            ms=7,
            color=OKABE_ITO[0],
            mfc=OKABE_ITO[0] if known else "white",
        )
    ax.axvline(0, color=DARK, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(claims)), claims["measure"])
    ax.set_ylim(len(claims) - 0.5, -0.5)
    return finish(ax, "advantage of mini-Chinchilla (% of mini-Gopher's value)", "", legend=None)


def plot_paradigms(ax: Axes, shares: pd.DataFrame) -> Axes:
    """Draw BLiMP's paradigms, the smaller model's share of right pairs over the larger one's.

    `shares` is `gopher_claims.by_paradigm`.
    """
    ax.axhline(100 * CHANCE, color=GREY, linestyle=":", linewidth=1)
    ax.axvline(100 * CHANCE, color=GREY, linestyle=":", linewidth=1)
    ax.plot([0, 100], [0, 100], color=DARK, linestyle="--", linewidth=1)
    ax.plot(100 * shares["large"], 100 * shares["small"], "o", color=OKABE_ITO[0], ms=5, alpha=0.7)
    ax.set_aspect("equal")
    ax.set_xlim(0, 100)
    ax.set_ylim(0, 100)
    return finish(ax, "mini-Gopher: pairs right (%)", "mini-Chinchilla: pairs right (%)", legend=None)
