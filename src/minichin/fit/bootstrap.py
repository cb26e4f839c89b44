"""What the three approaches share about noise: straight lines, seed noise, and intervals from replicates.

Decisions
- Everything is vectorised over replicates: a leading axis, never a loop of scalar fits.
- The noise of a cell (one budget, one size) has two parts: the spread between seeds, divided by their
  number, and what the smooth curve misses beyond that (the width grid, the recipe), which more seeds do not
  cure.
- Where the noise was estimated from few degrees of freedom it is itself uncertain; each replicate draws its
  own standard deviation, sd·sqrt(dof / chi²(dof)), as Student's t does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minichin.fit.result import FitError, Interval, percentile_interval
from minichin.law import Floats, PowerLaw


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
    seed_squares: float, seed_dof: int, fit_squares: float, fit_dof: int, mean_inverse_seeds: float
) -> Noise | None:
    """Split the noise from sums of squares: between seeds of one cell, and of cell means about the curve.

    None where neither has a degree of freedom.  With no repeated seeds, all of it counts as one run's noise.
    """
    if seed_dof + fit_dof == 0:
        return None
    about_curve = fit_squares / fit_dof if fit_dof else 0.0
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


def exponent_intervals(replicates: Floats) -> dict[str, Interval | None]:
    """95 % intervals of a, b and a − b from replicates (ln k_N, a, ln k_D, b)."""
    return {
        "a_interval": percentile_interval(replicates[:, 1]),
        "b_interval": percentile_interval(replicates[:, 3]),
        "a_minus_b_interval": percentile_interval(replicates[:, 1] - replicates[:, 3]),
    }


def stack_replicates(n_line: tuple[Floats, Floats], d_line: tuple[Floats, Floats]) -> Floats:
    """Columns ln k_N, a, ln k_D, b; replicates that are no numbers are left out."""
    replicates = np.column_stack([*n_line, *d_line]).astype(np.float64)
    return replicates[np.isfinite(replicates).all(axis=1)]
