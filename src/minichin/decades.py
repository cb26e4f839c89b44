"""Five decades of compute on one frontier: the runs of two cores joined to those of a GPU.

Decisions:
- Up to `SEAM` FLOPs the runs of two cores carry the frontier, beyond it those of the GPU. Below the seam the
  GPU trained two budgets too, which tell whether both are one experiment (`overlap`).
- Ranges of budgets are compared, since no single line need hold over five decades (`ranges`, `thirds`).
- Curvature is asked as in Hoffmann et al. 2022, Appendix E, by the slopes of the first, middle and last
  third, and as the coefficient of (log10 C)² (`curvature`), with optima redrawn within their own intervals.
- A count under which sizes compete (and are not merely rescored) moves each optimum along its own valley
  (`competing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from minichin import campaign
from minichin.fit import Interval, IsoflopFit, fit_isoflop
from minichin.fit.result import Valley, percentile_interval
from minichin.fit.table import points
from minichin.runs import open_store
from minichin.tables import runs_table

SEAM = 4e13  # FLOPs
NORMAL_95 = 3.92  # width of a normal's 95 % interval, in standard deviations
REACH = 1.0  # how far, in ln N, an optimum is looked for round the one by the full count


def cores(store: str | Path = "") -> pd.DataFrame:
    """The valleys that two cores trained, 1e11 to 3e13 FLOPs; from a reader's `store` if given."""
    return pd.concat([campaign.table(name, store) for name in ("main", "test")], ignore_index=True)


def gpu() -> pd.DataFrame:
    """The valleys of the GPU, 1e13 to 1e16 FLOPs."""
    return runs_table(open_store("published-gpu").records())


def joined(one: pd.DataFrame, other: pd.DataFrame, seam: float = SEAM) -> pd.DataFrame:
    """The budgets of `one` up to `seam` FLOPs and those of `other` beyond it."""
    return pd.concat([one[one["budget"] <= seam], other[other["budget"] > seam]], ignore_index=True)


def overlap(one: IsoflopFit, other: IsoflopFit) -> pd.DataFrame:
    """The optima of the budgets that two fits share: columns params, params_of_other, and so for losses."""
    theirs = {valley.budget: valley for valley in other.valleys}
    rows = [
        {
            "budget": valley.budget,
            "params": valley.params_opt,
            "params_other": theirs[valley.budget].params_opt,
            "params_ratio": theirs[valley.budget].params_opt / valley.params_opt,
            "loss": valley.loss_opt,
            "loss_other": theirs[valley.budget].loss_opt,
        }
        for valley in one.valleys
        if valley.budget in theirs
    ]
    return pd.DataFrame(rows)


def frontier(one: IsoflopFit, other: IsoflopFit, seam: float = SEAM) -> list[Valley]:
    """The valleys of `one` up to `seam` FLOPs and those of `other` beyond it, each with its own noise."""
    below = [valley for valley in one.valleys if valley.budget <= seam]
    return below + [valley for valley in other.valleys if valley.budget > seam]


def ranges(
    table: pd.DataFrame, cuts: Sequence[tuple[float, float]], **settings: Any
) -> dict[tuple[float, float], IsoflopFit]:
    """Approach 2 on the budgets from `low` to `high` FLOPs, both inclusive, for each such cut."""
    found = {}
    for low, high in cuts:
        inside = (table["budget"] > low * 0.99) & (table["budget"] < high * 1.01)
        found[low, high] = fit_isoflop(table[inside], **settings)
    return found


@dataclass(frozen=True)
class Bend:
    """How ln N_opt or ln D_opt bends: slopes of the thirds, and the coefficient of (log10 C)²."""

    slopes: tuple[float, float, float]
    slope_intervals: tuple[Interval | None, Interval | None, Interval | None]
    per_decade: float  # change of the exponent in a decade: twice the quadratic's coefficient
    interval: Interval | None


def curvature(
    valleys: Sequence[Valley], column: str = "params", replicates: int = 2000, seed: int = 0
) -> Bend:
    """Bend of the optima's `column` (`params` or `tokens`) over ln compute, 95 % intervals.

    Each optimum is redrawn from a normal in logarithms whose 95 % interval is as wide as its own.
    ValueError with fewer than six valleys, or where one lacks its interval.
    """
    if len(valleys) < 6:
        raise ValueError(f"curvature needs six budgets or more, two a third; these are {len(valleys)}")
    intervals = [getattr(valley, f"{column}_opt_interval") for valley in valleys]
    if any(interval is None for interval in intervals):
        raise ValueError("curvature needs the interval of every optimum; fit with bootstrap replicates")
    x = np.log10([valley.flops for valley in valleys])
    y = np.log10([getattr(valley, f"{column}_opt") for valley in valleys])
    sd = np.array([np.log10(high / low) for low, high in intervals]) / NORMAL_95
    rng = np.random.default_rng(seed)
    draws = np.vstack([y, y + sd * rng.standard_normal((replicates, len(y)))])
    thirds = np.array_split(np.arange(len(x)), 3)
    slopes = np.stack([_slope(x[part], draws[:, part]) for part in thirds], axis=1)
    bends = 2 * np.polynomial.polynomial.polyfit(x - x.mean(), draws.T, 2)[2]
    first, middle, last = slopes[0]
    return Bend(
        (float(first), float(middle), float(last)),
        tuple(percentile_interval(slopes[1:, i]) for i in range(3)),  # type: ignore[arg-type]
        float(bends[0]),
        percentile_interval(bends[1:]),
    )


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares slopes of the rows of y, (rows, points), over x."""
    centred = x - x.mean()
    return y @ centred / (centred @ centred)


@dataclass(frozen=True)
class Competing:
    """Optima where sizes compete at equal compute by `convention`, and their power law's exponent."""

    convention: str
    flops: NDArray[np.float64]
    params: NDArray[np.float64]
    a: float
    a_rescored: float


def competing(table: pd.DataFrame, convention: str) -> Competing:
    """Let sizes compete at equal FLOPs by `convention`: `6ND` or `6ND_non_embedding`.

    A valley holds the full count level, and by another count its runs differ. Round an optimum the loss is
    the valley's curve in ln N plus s · Δ ln C_full, where s is the slope of the valley floors over ln C (at a
    minimum in N that is the whole derivative). The size of least loss at equal C by `convention` follows,
    C_full / C being a function of the size alone. `params` are counted by the convention, too.
    """
    full = fit_isoflop(table, convention="full", bootstrap=0)
    rescored = fit_isoflop(table, convention=convention, bootstrap=0)
    by_full, by_other = points(table, "full"), points(table, convention)
    sizes, first = np.unique(by_full.log_n, return_index=True)
    ratio = (by_full.log_c - by_other.log_c)[first]
    counted = by_other.log_n[first]
    used = [valley for valley in full.valleys if valley.used]
    log_c = np.log([valley.flops for valley in used])
    floors = np.array([valley.loss_opt for valley in used])
    slopes = np.gradient(floors, log_c)
    best = [_best(valley, slope, sizes, ratio) for valley, slope in zip(used, slopes, strict=True)]
    here = np.array([np.interp(np.log(valley.params_opt), sizes, ratio) for valley in used])
    flops = np.exp(log_c - here)
    params = np.exp(np.interp(best, sizes, counted))
    a = float(np.polyfit(np.log(flops), np.log(params), 1)[0])
    return Competing(convention, flops, params, a, rescored.a)


def _best(valley: Valley, slope: float, sizes: NDArray[np.float64], ratio: NDArray[np.float64]) -> float:
    """ln N of least loss at the compute, by the other count, of the valley's optimum."""
    at = np.log(valley.params_opt)
    level = np.interp(at, sizes, ratio)

    def loss(log_n: float) -> float:
        return float(valley.loss_at(np.exp(log_n)) + slope * (np.interp(log_n, sizes, ratio) - level))

    low, high = max(at - REACH, sizes[0]), min(at + REACH, sizes[-1])
    return float(minimize_scalar(loss, bounds=(low, high), method="bounded").x)
