"""Pictures of what goes in and what comes out, before any fit: shapes, schedules, plans, runs, texts.

Decisions: those of `figures`, through which they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minichin.overlap import BINS, OverlapReport
from minichin.plan import RunSpec
from minichin.shape import ModelShape
from minichin.style import ALL_PARAMS, DARK, FLOPS, GREY, LOSS, OKABE_ITO, budget_colours, finish
from minichin.words import scientific


def plot_flop_shares(ax: Axes, shapes: Sequence[ModelShape]) -> Axes:
    """Stack the shares of a forward pass's FLOPs by part against the width."""
    parts = [shape.flop_breakdown() for shape in shapes]
    shares = np.array([[part[name] / sum(part.values()) for part in parts] for name in parts[0]])
    labels = [name.replace("_", " ") for name in parts[0]]
    ax.stackplot(
        [shape.width for shape in shapes], 100 * shares, labels=labels, colors=OKABE_ITO, edgecolor="white"
    )
    ax.set_ylim(0, 100)
    ax.margins(x=0)
    finish(ax, "width", "share of forward FLOPs (%, full count)", log_x=True, legend=None)
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(
        handles[::-1],
        labels[::-1],
        frameon=False,
        fontsize="small",
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )
    widths = [shape.width for shape in shapes]
    ax.xaxis.set_major_locator(FixedLocator([w for w in widths if w & (w - 1) == 0]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def plot_flop_ratio(ax: Axes, shapes: Sequence[ModelShape]) -> Axes:
    """Draw the full count over 6ND against the parameters, for all weights and for non-embedding weights."""
    full = np.array([shape.flops_per_token("full") for shape in shapes])
    names = {"6ND": "6ND, all weights", "6ND_non_embedding": "6ND, non-embedding weights"}
    for (convention, label), colour in zip(names.items(), OKABE_ITO, strict=False):
        ratio = full / np.array([shape.flops_per_token(convention) for shape in shapes])
        ax.plot(
            [shape.params for shape in shapes],
            ratio,
            "o-",
            color=colour,
            ms=4,
            label=f"full / {label}",
        )
    ax.axhline(1, color=GREY, linestyle="--", linewidth=1)
    return finish(ax, ALL_PARAMS, "ratio of FLOPs counts", log_x=True)


def plot_schedules(ax: Axes, specs: Sequence[RunSpec], lr_factor: Callable[[int, RunSpec], float]) -> Axes:
    """Draw the learning rate along each run, one colour a width; `lr_factor(step, spec)` times the peak."""
    colours = budget_colours([float(spec.width) for spec in specs])
    for spec in sorted(specs, key=lambda s: s.width):
        steps = np.unique(np.linspace(0, spec.steps - 1, 400).astype(int))
        rates = [spec.lr * lr_factor(int(step), spec) for step in steps]
        ax.plot(steps + 1, rates, color=colours[spec.width], label=f"width {spec.width}")
    return finish(ax, "step", "learning rate", log_x=True)


def plot_loss_curve(ax: Axes, curve: pd.DataFrame, landmarks: Mapping[str, float] | None = None) -> Axes:
    """Draw one run's held-out and training loss against its FLOPs, with named horizontal landmarks."""
    ax.plot(curve["flops"], curve["val_loss"], "o-", color=OKABE_ITO[0], ms=4, label="held-out")
    ax.plot(curve["flops"], curve["train_loss"], "--", color=OKABE_ITO[1], label="training (running mean)")
    for name, loss in (landmarks or {}).items():
        ax.axhline(loss, color=GREY, linestyle=":", linewidth=1)
        ax.annotate(
            name, (0.99, loss), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize="small"
        )
    return finish(ax, f"{FLOPS['full']} so far", "loss (nats a byte)", log_x=True)


def plot_design(ax: Axes, table: pd.DataFrame, ratios: Sequence[float] = (1, 10, 100, 1000)) -> Axes:
    """Draw every run's parameters and tokens, one colour a budget, with lines of equal tokens a parameter."""
    ends = np.array([table["params"].min(), table["params"].max()])
    bottom, top = table["tokens"].min() / 2, table["tokens"].max() * 2
    for ratio in ratios:
        ax.plot(ends, ratio * ends, ":", color=GREY, linewidth=1)
        if bottom < ratio * ends[1] < top:
            ax.annotate(
                f"{ratio:g} a parameter",
                (ends[1], ratio * ends[1]),
                fontsize="x-small",
                ha="right",
                va="bottom",
            )
    for budget, colour in budget_colours(table["budget"].tolist()).items():
        runs = table[table["budget"] == budget]
        ax.plot(
            runs["params"],
            runs["tokens"],
            "o",
            color=colour,
            ms=5,
            label=scientific(budget),
        )
    ax.set_ylim(bottom, top)
    return finish(ax, ALL_PARAMS, "training tokens (bytes)", log_x=True, log_y=True, legend=FLOPS["full"])


def plot_losses(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw every run's final loss against its parameters, one colour a budget, lines through seeds' means."""
    for budget, colour in budget_colours(table["budget"].tolist()).items():
        runs = table[table["budget"] == budget]
        ax.plot(runs["params"], runs["val_loss"], "o", color=colour, ms=4)
        means = runs.groupby("params")["val_loss"].mean()
        ax.plot(means.index, means, "-", color=colour, linewidth=1, label=scientific(budget))
    return finish(ax, ALL_PARAMS, LOSS, log_x=True, legend=FLOPS["full"])


def plot_overlap(ax: Axes, report: OverlapReport) -> Axes:
    """Draw the held-out documents by the share of their n-grams that occur in training, and the threshold."""
    names = ["none", *(f"up to {edge:.0%}" for edge in BINS[1:])]
    bars = ax.bar(names, report.histogram, color=OKABE_ITO[0])
    ax.bar_label(bars, fmt="{:,.0f}", fontsize="small")
    ax.axvline(
        float(np.searchsorted(BINS, report.threshold)) + 0.5,
        color=DARK,
        linestyle="--",
        linewidth=1,
        label="threshold",
    )
    return finish(ax, f"share of {report.n}-word runs found in training", "held-out documents")
