"""The book's pictures: each function draws one result on the axes that it is given, and returns them.

Decisions:
- No fits, no files, no global style: what is drawn was computed before. (`use_svg` is for notebooks to call.)
- Pictures of shapes, plans, runs and texts are drawn in `run_figures`, those of fits here.
- Colours, names and the finishing of axes are those of `style`: every axis names its unit and its convention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from minichin.fit import EnvelopeFit, Fit, IsoflopFit, ParametricFit
from minichin.fit.result import Valley
from minichin.fit.table import points, row_numbers
from minichin.run_figures import plot_design as plot_design
from minichin.run_figures import plot_flop_ratio as plot_flop_ratio
from minichin.run_figures import plot_flop_shares as plot_flop_shares
from minichin.run_figures import plot_loss_curve as plot_loss_curve
from minichin.run_figures import plot_losses as plot_losses
from minichin.run_figures import plot_overlap as plot_overlap
from minichin.run_figures import plot_schedules as plot_schedules
from minichin.style import (
    ALL_PARAMS,
    DARK,
    FLOPS,
    GREY,
    LOSS,
    OKABE_ITO,
    PARAMS,
    budget_colours,
    finish,
    tip,
)
from minichin.style import use_svg as use_svg
from minichin.words import count, scientific


class ForestRow(NamedTuple):
    """One line of `plot_exponents`: an exponent, its interval (None if it has none), and who says so."""

    label: str
    value: float
    interval: tuple[float, float] | None
    group: str


def plot_envelope(ax: Axes, fit: EnvelopeFit, curves: pd.DataFrame) -> Axes:
    """Draw every training curve coloured by parameters, and the envelope of approach 1 over them."""
    norm = LogNorm(curves["params"].min(), curves["params"].max())
    for _, run in curves.groupby("spec_hash", sort=False):
        colour = mpl.colormaps["viridis"](norm(run["params"].iloc[0]) * 0.9)
        (curve,) = ax.plot(run["flops"], run["val_loss"], color=colour, linewidth=0.8, alpha=0.8)
        end = run.iloc[-1]
        size = f"{count(end['params'])} parameters"
        tip(curve, f"{size}: {end['val_loss']:.3f} nats after {scientific(end['flops'])} FLOPs")
    ax.plot(
        fit.frontier["flops"], fit.frontier["val_loss"], color=OKABE_ITO[1], linewidth=2.2, label="envelope"
    )
    scale = mpl.cm.ScalarMappable(norm, mpl.colormaps["viridis"])
    bar = ax.inset_axes((0.07, 0.17, 0.42, 0.04))  # falling curves leave this corner empty
    ax.figure.colorbar(scale, cax=bar, orientation="horizontal")
    bar.set_title(ALL_PARAMS, fontsize="small")
    bar.tick_params(labelsize="small")
    return finish(ax, f"{FLOPS['full']} so far", LOSS, log_x=True, place="upper right")


def frontier_points(fit: Fit, column: str) -> list[tuple[float, float, tuple[float, float] | None, bool]]:
    """The points that a power law was drawn through: flops, value, interval, and whether it was used."""
    if isinstance(fit, IsoflopFit):
        return [
            (v.flops, getattr(v, f"{column}_opt"), getattr(v, f"{column}_opt_interval"), v.used)
            for v in fit.valleys
        ]
    if isinstance(fit, EnvelopeFit):
        rows = fit.frontier
        return [
            (c, y, None, bool(u)) for c, y, u in zip(rows["flops"], rows[column], rows["used"], strict=True)
        ]
    return []


def plot_frontier(ax: Axes, fit: Fit, column: str = "params") -> Axes:
    """Draw the compute-optimal `column` (params or tokens) against FLOPs: points, power law, 95 % band."""
    if column not in ("params", "tokens"):
        raise ValueError(f"column must be 'params' or 'tokens', not {column!r}")
    law, band = (fit.n_opt, fit.n_opt_band) if column == "params" else (fit.d_opt, fit.d_opt_band)
    colour = OKABE_ITO[0] if column == "params" else OKABE_ITO[1]
    points = frontier_points(fit, column)
    for flops, _, interval, _ in points:
        if interval is not None:
            ax.plot([flops, flops], interval, color=colour, linewidth=1.4)
    for used, face in ((True, colour), (False, "white")):
        some = [(flops, value) for flops, value, _, kept in points if kept == used]
        if some:
            ax.plot(*zip(*some, strict=True), "o", color=colour, mfc=face, ms=5)
    reach = [point[0] for point in points]
    line = np.geomspace(min(reach) / 1.5, max(reach) * 1.5, 60)
    exponent = "a" if column == "params" else "b"
    ax.plot(line, law(line), color=colour, label=f"{exponent} = {law.exponent:.2f}")
    edges = band(line)
    if edges is not None:
        ax.fill_between(line, *edges, color=colour, alpha=0.18, linewidth=0)
    names = {"params": PARAMS.get(fit.convention, ALL_PARAMS), "tokens": "training tokens (bytes)"}
    return finish(ax, FLOPS[fit.convention], names[column], log_x=True, log_y=True, place="upper left")


def valley_tips(valley: Valley) -> list[str]:
    """What is said of each size of a valley."""
    return [
        f"{scientific(valley.budget)} FLOPs, {count(params)} parameters, {count(tokens)} tokens: "
        f"{loss:.3f} nats" + (f", mean of {seeds} seeds" if seeds > 1 else "")
        for params, tokens, loss, seeds in zip(
            valley.params, valley.tokens, valley.val_loss, valley.seeds, strict=True
        )
    ]


def optimum_tip(valley: Valley) -> str:
    """What is said of the optimum of a valley."""
    return (
        f"optimum at {scientific(valley.budget)} FLOPs: {count(valley.params_opt)} parameters, "
        f"{count(valley.tokens_opt)} tokens, {valley.tokens_per_param:.1f} tokens a parameter, "
        f"{valley.loss_opt:.3f} nats"
    )


def plot_valleys(ax: Axes, fit: IsoflopFit) -> Axes:
    """Draw each budget's losses against parameters, the local parabola, and its vertex as a star."""
    colours = budget_colours([valley.budget for valley in fit.valleys])
    named = set(np.linspace(0, len(fit.valleys) - 1, min(len(fit.valleys), 6)).round().astype(int))
    for place, valley in enumerate(fit.valleys):
        colour, window = colours[valley.budget], valley.window
        for i, text in enumerate(valley_tips(valley)):
            face = colour if window[i] else "white"
            (dot,) = ax.plot(valley.params[i], valley.val_loss[i], "o", color=colour, mfc=face, ms=5)
            tip(dot, text)
        sizes = np.geomspace(valley.params[window].min(), valley.params[window].max(), 60)
        ax.plot(
            sizes,
            valley.loss_at(sizes),
            color=colour,
            label=scientific(valley.budget) if place in named else None,
        )
        face = OKABE_ITO[1] if valley.bracketed else "white"
        (star,) = ax.plot(valley.params_opt, valley.loss_opt, "*", ms=13, mfc=face, mec=DARK, zorder=3)
        tip(star, optimum_tip(valley))
    return finish(ax, PARAMS.get(fit.convention, ALL_PARAMS), LOSS, log_x=True, legend=FLOPS["full"])


def plot_surface(ax: Axes, fit: ParametricFit, table: pd.DataFrame, touch: bool = False) -> Axes:
    """Draw contours of the fitted loss over FLOPs and parameters, the runs used, and the efficient frontier.

    Parameters and FLOPs are those of the fit's convention.  Tokens follow from them by the table's own FLOPs
    a parameter and token, interpolated in ln N.  With `touch` each run is a mark that says what it is.
    """
    data = points(table, fit.convention)
    data = data.take(np.flatnonzero(np.isin(data.row, fit.rows)))
    order = np.argsort(data.log_n, kind="stable")
    log_n, log_cost = data.log_n[order], (data.log_c - data.log_n - data.log_d)[order]
    used_c, used_n = np.exp(data.log_c), np.exp(data.log_n)
    flops = np.geomspace(used_c.min() / 2, used_c.max() * 2, 80)
    params = np.geomspace(used_n.min() / 1.5, used_n.max() * 1.5, 80)

    def cost(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(np.interp(np.log(sizes), log_n, log_cost))

    ax.set_xscale("log")
    ax.set_yscale("log")
    if touch:
        for x, y, log_d, loss in zip(used_c, used_n, data.log_d, data.loss, strict=True):
            (dot,) = ax.plot(x, y, "o", color=GREY, ms=4, alpha=0.7)
            fitted = float(fit.surface.value(y, np.exp(log_d)))
            what = f"{count(y)} parameters, {scientific(x)} FLOPs: {loss:.3f} nats, {fitted:.3f} fitted"
            tip(dot, what)
    else:
        ax.plot(used_c, used_n, "o", color=GREY, ms=4, alpha=0.7, label="runs used")
    ax.plot(flops, fit.n_opt(flops), color=OKABE_ITO[1], linewidth=2.2, label=f"frontier, a = {fit.a:.2f}")
    x, y = np.meshgrid(flops, params)
    along = np.geomspace(flops[0] * 1.3, flops[-1] / 1.3, 9)
    levels = np.unique(fit.surface.value(fit.n_opt(along), fit.d_opt(along)))
    loss = fit.surface.value(y, x / (cost(params)[:, None] * y))
    colours = list(budget_colours(levels.tolist()).values())
    lines = ax.contour(x, y, loss, levels=levels, colors=colours, linewidths=1)
    ax.set_xlim(flops[0], flops[-1])
    ax.set_ylim(params[0], params[-1])
    places = [place for level in levels if (place := _contour_place(fit, level, cost, flops, params))]
    for text in ax.clabel(lines, fontsize="x-small", fmt="%.2f", manual=places) if places else ():
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
    ax.legend(fontsize="small", loc="lower right", framealpha=0.9)
    return finish(
        ax, FLOPS[fit.convention], PARAMS.get(fit.convention, ALL_PARAMS), log_x=True, log_y=True, legend=None
    )


def _contour_place(
    fit: ParametricFit,
    level: float,
    cost: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    flops: NDArray[np.float64],
    params: NDArray[np.float64],
) -> tuple[float, float] | None:
    """Where to label a contour: on it, three times above or below the frontier, well inside of the axes."""
    best = float(fit.n_opt(fit.surface.compute_for(level)))
    for size in (3 * best, best / 3):
        try:
            tokens = float(fit.surface.tokens_for(level, size))
        except ValueError:
            continue
        x = float(cost(np.array([size]))[0]) * size * tokens
        if params[0] * 1.2 < size < params[-1] / 1.2 and flops[0] * 1.3 < x < flops[-1] / 1.3:
            return x, size
    return None


def plot_residuals(ax: Axes, fit: ParametricFit, table: pd.DataFrame) -> Axes:
    """Draw the residuals of approach 3 in per cent of the loss against tokens a parameter."""
    used = table[np.isin(row_numbers(table), fit.rows)]
    norm = LogNorm(used["flops"].min(), used["flops"].max())
    ratio = used["tokens"] / used["params"]
    dots = ax.scatter(ratio, 100 * fit.residuals, c=used["flops"], norm=norm, cmap="viridis", s=22)
    ax.figure.colorbar(dots, ax=ax, label=FLOPS["full"])
    ax.axhline(0, color=GREY, linestyle="--", linewidth=1)
    return finish(
        ax, "training tokens a parameter (all weights)", "ln fitted − ln measured loss (%)", log_x=True
    )


def plot_exponents(ax: Axes, rows: Sequence[ForestRow], reference: float = 0.5) -> Axes:
    """Draw exponents with their intervals from top to bottom, one colour a group, and a dashed reference."""
    colours = dict(zip(dict.fromkeys(row.group for row in rows), OKABE_ITO, strict=False))
    for place, row in enumerate(rows):
        if row.interval is not None:
            ax.plot(row.interval, [place, place], color=colours[row.group], linewidth=2)
        ax.plot(row.value, place, "o", color=colours[row.group], ms=6)
    ax.axvline(reference, color=GREY, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(rows)), [f"{row.group}, {row.label}" if row.label else row.group for row in rows])
    ax.invert_yaxis()
    return finish(ax, "exponent a of N_opt ∝ C^a", "", legend=None)
