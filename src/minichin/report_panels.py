"""Panels of a report's picture that compare approaches: frontiers with predictions, and exponents.

Decisions
- An approach has one colour wherever it appears.
- A power law is solid over the compute that the table samples, and dashed beyond, as far as predictions go.
- A large table is thinned evenly before it is drawn, and the panel's title says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from minichin import published
from minichin.figures import frontier_points
from minichin.fit import Fit, Interval, IsoflopFit, ParametricFit
from minichin.fit.report import Report
from minichin.fit.table import points
from minichin.style import ALL_PARAMS, FLOPS, GREY, OKABE_ITO, PARAMS, finish

COLOURS: Mapping[int, str] = {1: OKABE_ITO[2], 2: OKABE_ITO[0], 3: OKABE_ITO[1]}
MOST_RUNS, MOST_CURVES, MOST_VALLEYS, MOST_POINTS = 3000, 300, 12, 60


def evenly(count: int, most: int) -> np.ndarray:
    """At most `most` of the indices 0 … count − 1, evenly spread, the ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def shown_of(count: int, most: int, what: str) -> str:
    """What a panel's title says of thinning: nothing where all are shown."""
    return f" ({min(count, most):,} of {count:,} {what} shown)" if count > most else ""


def thinned_runs(fit: ParametricFit) -> tuple[ParametricFit, str]:
    """The fit with at most `MOST_RUNS` of its rows to draw, and what the title says."""
    count = len(fit.rows)
    return replace(fit, rows=fit.rows[evenly(count, MOST_RUNS)]), shown_of(count, MOST_RUNS, "runs")


def thinned_curves(curves: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """At most `MOST_CURVES` runs, evenly by size, and what the title says."""
    sizes = curves.groupby("spec_hash", sort=False)["params"].first().sort_values(kind="stable")
    kept = sizes.index[evenly(len(sizes), MOST_CURVES)]
    return curves[curves["spec_hash"].isin(kept)], shown_of(len(sizes), MOST_CURVES, "runs")


def thinned_valleys(fit: IsoflopFit) -> tuple[IsoflopFit, str]:
    """At most `MOST_VALLEYS` budgets with a share of `MOST_RUNS` sizes each, and what the title says."""
    count = len(fit.valleys)
    chosen = [fit.valleys[i] for i in evenly(count, MOST_VALLEYS)]
    sizes = sum(len(v.params) for v in chosen)
    most = MOST_RUNS // len(chosen)
    said = shown_of(count, MOST_VALLEYS, "budgets")
    if any(len(v.params) > most for v in chosen):
        said += f" ({sum(min(len(v.params), most) for v in chosen):,} of {sizes:,} sizes)"
    arrays = ("params", "tokens", "val_loss", "seeds", "window")
    thin = [
        replace(v, **{name: getattr(v, name)[evenly(len(v.params), most)] for name in arrays}) for v in chosen
    ]
    return replace(fit, valleys=tuple(thin)), said


def frontier(ax: Axes, report: Report, column: str) -> Axes:
    """Draw every approach's compute-optimal `column` with its 95 % band, up to the farthest prediction."""
    compute = np.exp(points(report.table, report.convention).log_c)
    low, high = float(compute.min()), float(compute.max())
    far = max([high * 10, *(budget.flops for budget in report.budgets)])
    inside, beyond = np.geomspace(low, high, 60), np.geomspace(high, far, 30)
    heights: list[float] = []
    for approach, fit in sorted(report.fits.items()):
        law = fit.n_opt if column == "params" else fit.d_opt
        name = "a" if column == "params" else "b"
        ax.plot(
            inside, law(inside), color=COLOURS[approach], label=f"{approach}: {name} = {law.exponent:.3f}"
        )
        ax.plot(beyond, law(beyond), "--", color=COLOURS[approach])
        _band(ax, fit, column, np.concatenate([inside, beyond[1:]]))
        heights += [float(law(flops)) for flops in (low, high, far)]
        heights += _optima(ax, fit, column)
    ax.axvspan(high, far, color=GREY, alpha=0.08, linewidth=0)
    ax.set_xlim(low / 1.3, far)
    ax.set_ylim(min(heights) / 3, max(heights) * 3)
    names = {"params": PARAMS.get(report.convention, ALL_PARAMS), "tokens": "training tokens"}
    return finish(ax, FLOPS[report.convention], names[column], log_x=True, log_y=True, legend="approach")


def _band(ax: Axes, fit: Fit, column: str, flops: np.ndarray) -> None:
    """Fill the 95 % band, where there is one."""
    edges = fit.n_opt_band(flops) if column == "params" else fit.d_opt_band(flops)
    if edges is not None:
        ax.fill_between(flops, *edges, color=COLOURS[fit.approach], alpha=0.13, linewidth=0)


def _optima(ax: Axes, fit: Fit, column: str) -> list[float]:
    """Draw the optima that a power law was drawn through, hollow where left out; their heights."""
    found = frontier_points(fit, column)
    found = [found[i] for i in evenly(len(found), MOST_POINTS)] if found else []
    colour, size = COLOURS[fit.approach], 4 if len(found) <= 20 else 2
    for flops, value, interval, used in found:
        if interval is not None:
            ax.plot([flops, flops], interval, color=colour, linewidth=1)
        ax.plot(flops, value, "o", color=colour, mfc=colour if used else "white", ms=size)
    return [value for _, value, _, _ in found]


def forest(ax: Axes, report: Report) -> Axes:
    """Draw a of every approach with its 95 % interval, and the paper's with their 80 % intervals below."""
    rows: list[tuple[str, float, Interval | None, str]] = [
        (f"approach {i}", fit.a, fit.a_interval, COLOURS[i]) for i, fit in sorted(report.fits.items())
    ]
    rows += [(f"paper, {row.approach}", row.a, row.a_interval, GREY) for row in published.TABLE_2]
    for place, (_, value, interval, colour) in enumerate(rows):
        if interval is not None:
            ax.plot(interval, [place, place], color=colour, linewidth=2)
        ax.plot(value, place, "o", color=colour, ms=6)
    ax.axvline(0.5, color=GREY, linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    return finish(ax, f"exponent a ({report.convention}; 95 %, paper 80 % intervals)", "", legend=None)
