"""What the three approaches share about noise: straight lines, seed noise, resampling, and intervals.

Decisions
- What a replicate redraws is named by `resample`:

  | resample | a replicate |
  |---|---|
  | `noise` | the design stays; every cell's loss gets new noise of the estimated size (parametric) |
  | `rows` | runs are drawn with replacement, one by one |
  | `seeds` | cells (one budget, one size) are drawn, all their seeds together (cluster bootstrap) |
  | `budgets` | whole budgets are drawn (cluster bootstrap) |

- Drawing is by integer weights: how often each unit was drawn.  A weight of 2 is the same as a doubled row.
- Intervals are percentiles of the replicates, or BCa (Efron 1987), which corrects them for bias and skewness
  with the help of a jackknife over the same units.
- Everything is vectorised over replicates: a leading axis, never a loop of scalar fits.
- The noise of a cell (one budget, one size) has two parts: the spread between seeds, divided by their
  number, and what the smooth curve misses beyond that (the width grid, the recipe), which more seeds do not
  cure.
- Where the noise was estimated from few degrees of freedom it is itself uncertain; each replicate draws its
  own standard deviation, sd·sqrt(dof / chi²(dof)), as Student's t does.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from minichin.fit.result import FitError, Interval, percentile_interval
from minichin.fit.table import Points
from minichin.law import Floats, PowerLaw

SCHEMES = ("noise", "rows", "seeds", "budgets")
KINDS = ("percentile", "bca")
LEVEL = 0.95


@dataclass(frozen=True)
class Noise:
    """Variance of one run's loss between seeds, and of a cell's mean about the smooth curve; nats²."""

    between_seeds: float
    lack_of_fit: float
    dof: int

    @property
    def sd(self) -> float:
        """Standard deviation of one run, nats."""
        return float(np.sqrt(self.between_seeds + self.lack_of_fit))

    def draw(self, rng: np.random.Generator, seeds: NDArray[np.int64], scale: Floats) -> Floats:
        """Noise of cell means, shape (replicates, cells), with `scale` (replicates, 1) from `spread`."""
        sd = np.sqrt(self.between_seeds / seeds + self.lack_of_fit)
        return np.asarray(rng.standard_normal((len(scale), len(seeds))) * sd * scale)

    def spread(self, rng: np.random.Generator, replicates: int) -> Floats:
        """How far the standard deviation itself may be off, one factor a replicate."""
        return np.asarray(np.sqrt(self.dof / rng.chisquare(self.dof, (replicates, 1))))


def estimate_noise(
    seed_squares: float,
    seed_dof: int,
    fit_squares: float,
    fit_dof: int,
    mean_inverse_seeds: float,
    extra: float = 0.0,
) -> Noise | None:
    """Split the noise from sums of squares: between seeds of one cell, and of cell means about the curve.

    `extra` is what a curve that is not the least-squares one adds to `fit_squares`, in variances.  None
    where neither has a degree of freedom.  With no repeated seeds, all of it counts as one run's noise.
    """
    if seed_dof + fit_dof == 0:
        return None
    about_curve = fit_squares / (fit_dof + extra) if fit_dof else 0.0
    if seed_dof == 0:
        return Noise(about_curve / mean_inverse_seeds, 0.0, fit_dof)
    between = seed_squares / seed_dof
    return Noise(between, max(0.0, about_curve - between * mean_inverse_seeds), seed_dof + fit_dof)


def lines(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Least-squares lines y = intercept + slope·x along the last axis: (intercept, slope)."""
    mean_x, mean_y = x.mean(axis=-1, keepdims=True), y.mean(axis=-1, keepdims=True)
    centred = x - mean_x
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (centred * (y - mean_y)).sum(axis=-1) / (centred**2).sum(axis=-1)
    return mean_y[..., 0] - slope * mean_x[..., 0], slope


def solve(matrices: Floats, right: Floats) -> Floats:
    """Solve stacked symmetric systems (…, k, k) x = (…, k); the least-norm solution where one is singular."""
    try:
        return np.asarray(np.linalg.solve(matrices, right[..., None])[..., 0])
    except np.linalg.LinAlgError:
        inverse = np.linalg.pinv(np.nan_to_num(matrices), hermitian=True)
        return np.asarray((inverse @ np.nan_to_num(right)[..., None])[..., 0])


def power_law(intercept: float, slope: float) -> PowerLaw:
    """exp(intercept) · C^slope; FitError where that is no number."""
    if not (np.isfinite(slope) and abs(intercept) < 700):
        raise FitError(f"the optima do not make a power law in compute (exponent {slope:.4g})")
    return PowerLaw(float(np.exp(intercept)), float(slope))


def check_scheme(resample: str, interval: str) -> None:
    """ValueError for a name of resampling or of an interval that does not exist."""
    if resample not in SCHEMES:
        raise ValueError(f"resample must be one of {', '.join(SCHEMES)}, got {resample!r}")
    if interval not in KINDS:
        raise ValueError(f"interval must be one of {', '.join(KINDS)}, got {interval!r}")


def unit_labels(data: Points, resample: str) -> NDArray[np.int64]:
    """Label (0, 1, …) of the unit that each row is drawn with; under `noise`, the cell it shares."""
    if resample == "rows":
        return np.arange(len(data), dtype=np.int64)
    if resample == "budgets":
        return np.unique(data.budget, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return data.cells


def draw_weights(rng: np.random.Generator, labels: NDArray[np.int64], count: int) -> Floats:
    """How often each row's unit is drawn, (count, rows), when as many units are drawn as there are."""
    units = int(labels.max()) + 1
    drawn = rng.integers(0, units, (count, units)) + units * np.arange(count)[:, None]
    weights = np.bincount(drawn.reshape(-1), minlength=count * units).reshape(count, units)
    return weights.astype(np.float64)[:, labels]


def leave_one_out(labels: NDArray[np.int64], units: range | None = None) -> Floats:
    """Weights (units, rows) of the jackknife: a replicate for each of `units` (default: all), without it."""
    last = int(labels.max()) + 1
    left = np.arange(last) if units is None else np.arange(units.start, min(units.stop, last))
    return (labels != left[:, None]).astype(np.float64)


def bca_interval(estimate: float, replicates: Floats, jackknife: Floats) -> Interval | None:
    """95 % BCa interval (Efron 1987): percentiles moved for the replicates' median bias and skewness.

    `jackknife` are the estimates with one unit left out each.  None with fewer than 20 finite replicates.
    """
    values, left = replicates[np.isfinite(replicates)], jackknife[np.isfinite(jackknife)]
    if values.size < 20:
        return None
    normal = NormalDist()
    below = (np.sum(values < estimate) + 0.5 * np.sum(values == estimate)) / values.size
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / values.size, 1 - 0.5 / values.size)))
    pull = left.mean() - left if left.size else np.zeros(1)
    squares = float((pull**2).sum())
    skew = float((pull**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    ends = []
    for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + z / max(1 - skew * z, 0.1)))
    low, high = np.quantile(values, ends)
    return float(low), float(high)


def exponent_intervals(
    replicates: Floats, estimate: Floats | None = None, jackknife: Floats | None = None
) -> dict[str, Interval | None]:
    """95 % intervals of a, b and a − b from replicates, one a row: ln k_N, a, ln k_D, b.

    Percentiles; or BCa where the `estimate` (4,) and a `jackknife` (units, 4) are given.
    """

    def one(*contrast: float) -> Interval | None:
        if estimate is None or jackknife is None:
            return percentile_interval(replicates @ contrast)
        return bca_interval(float(estimate @ contrast), replicates @ contrast, jackknife @ contrast)

    return {
        "a_interval": one(0, 1, 0, 0),
        "b_interval": one(0, 0, 0, 1),
        "a_minus_b_interval": one(0, 1, 0, -1),
    }


def stack_replicates(n_line: tuple[Floats, Floats], d_line: tuple[Floats, Floats]) -> Floats:
    """Columns ln k_N, a, ln k_D, b; replicates that are no numbers are left out."""
    replicates = np.column_stack([*n_line, *d_line]).astype(np.float64)
    return replicates[np.isfinite(replicates).all(axis=1)]
