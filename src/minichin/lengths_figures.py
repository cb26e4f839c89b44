"""Pictures of the schedule's length: rates, curves and costs of long cosines, and lengths from one trunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from minichin.plan import RunSpec
from minichin.style import DARK, FLOPS, GREY, LOSS, OKABE_ITO, finish
from minichin.words import scientific

PAPERS_EDGE = 1.25  # cycles beyond it hurt, Hoffmann et al. 2022, Fig. A1


def _cycle_colours(cycles: list[float]) -> dict[float, tuple[float, float, float, float]]:
    """Dark to light with rising length of the cosine."""
    places = np.linspace(0, 0.88, len(cycles))
    return {cycle: mpl.colormaps["viridis"](x) for cycle, x in zip(sorted(cycles), places, strict=True)}


def plot_rates(ax: Axes, specs: Mapping[str, RunSpec], lr_factor: Callable[[int, RunSpec], float]) -> Axes:
    """Draw each schedule's rate as a share of the peak over the run; constant ones are dashed."""
    cosines = [spec.cycle for spec in specs.values() if spec.schedule == "cosine"]
    colours = _cycle_colours(cosines)
    for name, spec in specs.items():
        steps = np.unique(np.linspace(0, spec.steps - 1, 500).astype(int))
        rates = [lr_factor(int(step), spec) for step in steps]
        constant = spec.schedule == "constant"
        colour = OKABE_ITO[1] if constant else colours[spec.cycle]
        ax.plot(steps / spec.steps, rates, "--" if constant else "-", color=colour, label=name)
    ax.set_ylim(0, 1.05)
    finish(ax, "share of the run", "learning rate, share of the peak", legend=None)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def plot_cycles(ax: Axes, curves: pd.DataFrame, cycles: Mapping[str, float]) -> Axes:
    """Draw the loss curves of one ladder and seed from a quarter of the run on; `cycles` is hash -> cycle."""
    colours = _cycle_colours(sorted(set(cycles.values())))
    runs = {cycles[str(key)]: run for key, run in curves.groupby("spec_hash")}
    for cycle, run in sorted(runs.items()):
        run = run[run["step"] >= 0.25 * run["steps"]]
        ax.plot(run["step"], run["val_loss"], "o-", color=colours[cycle], ms=3, lw=1.2, label=f"{cycle:g} ×")
    return finish(ax, "step", LOSS, legend="cosine, lengths of the run")


def plot_costs(ax: Axes, costs: pd.DataFrame) -> Axes:
    """Draw what each cycle costs (`lengths.cycle_costs`): means with 95 % intervals, a line a ladder."""
    ax.axhline(0, color=GREY, linewidth=1, linestyle="--")
    ax.axvline(PAPERS_EDGE, color=DARK, linewidth=1.4, linestyle=":")
    for place, ((_, width), part) in enumerate(costs.groupby(["budget", "width"])):
        bars = np.abs(part[["low", "high"]].to_numpy().T - part["cost"].to_numpy())
        label = f"{scientific(part['budget'].iloc[0])} FLOPs, width {width}, {part['seeds'].iloc[0]} seeds"
        shift = 1 + 0.012 * (2 * place - 1)  # so that bars do not cover one another
        ax.errorbar(
            part["cycle"] * shift,
            part["cost"],
            yerr=bars,
            fmt=f"{'os^D'[place]}-",
            color=OKABE_ITO[place],
            ms=5,
            capsize=2,
            linewidth=1.2,
            label=label,
        )
    finish(ax, "length of the cosine, lengths of the run", "cost (nats a byte)", log_x=True)
    ax.xaxis.set_major_locator(FixedLocator(sorted(costs["cycle"].unique())))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def plot_trunk(ax: Axes, curves: pd.DataFrame, ends: pd.DataFrame, cosine: pd.DataFrame) -> Axes:
    """Draw the curves of lengths of one constant run over FLOPs, their final losses, and cosine runs'.

    `ends` and `cosine` have the columns flops and val_loss, a row a run of the same width.
    """
    groups = list(curves.groupby("steps"))
    for place, (_, run) in enumerate(groups):
        colour = mpl.colormaps["viridis"](0.85 * place / max(1, len(groups) - 1))
        run = run[run["flops"] > ends["flops"].min() / 4]
        ax.plot(run["flops"], run["val_loss"], "o-", ms=3, linewidth=1, color=colour)
    ax.plot(
        ends["flops"], ends["val_loss"], "*", color=OKABE_ITO[0], ms=12, mec="white", label="from the trunk"
    )
    means = cosine.groupby("flops")["val_loss"].mean()
    ax.plot(
        means.index, means, "D--", color=OKABE_ITO[1], ms=6, mfc="white", label="cosine of its own length"
    )
    return finish(ax, f"{FLOPS['full']} so far", LOSS, log_x=True)
