"""Profiles of approach 3: the objective over (alpha, beta) and its minima; an interval of a.

Decisions
- At every point of a grid the other parameters are fitted, so the profile is the lowest the objective can
  be there.
- A minimum of the grid may be an artefact of the grid.  From each one all five parameters are let go, and
  ends that agree are one minimum.
- The interval of a = beta / (alpha + beta) holds every a whose profiled objective is not significantly
  above the lowest.  Huber's loss is no log-likelihood: its excess is scaled by E psi' / E psi² of normal
  noise, after which twice the excess is chi² with one degree of freedom (Huber & Ronchetti 2009, section
  13), and compared to Student's t² with rows − 5, as the noise is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from minichin.fit.parametric import prepare, solve
from minichin.fit.problem import EXPONENT_RANGE, Problem, huber_moments, predict
from minichin.fit.replicate import residual_noise
from minichin.fit.result import FitError, Interval
from minichin.fit.solver import minimise
from minichin.fit.starts import project
from minichin.fit.table import Table
from minichin.law import Floats

WIDEST = 0.02  # in a: closer to 0 or 1 than this an end of the interval is not sought
PRECISION = 1e-5  # of its ends


@dataclass(frozen=True)
class SurfaceProfile:
    """The lowest `objective` (alphas, betas) at each pair of exponents, and its local minima.

    `minima` (k, 3) are alpha, beta and objective of each that is distinct, the lowest first.
    """

    alphas: Floats
    betas: Floats
    objective: Floats = field(repr=False)
    minima: Floats


def profile_surface(
    table: Table,
    *,
    convention: str = "full",
    delta: float = 1e-3,
    loss: str = "huber",
    min_steps: int | None = 1500,
    within: float | None = 8.0,
    points: int = 41,
    exponents: tuple[float, float] = (0.05, 1.5),
) -> SurfaceProfile:
    """Profile the objective of `fit_parametric` over `points` × `points` exponents, log-spaced.

    Other options, and errors, as for `fit_parametric`.
    """
    study = prepare(table, convention, delta, loss, min_steps, within)
    problem = study.problem
    axis = np.geomspace(*exponents, points)
    alpha, beta = (m.ravel() for m in np.meshgrid(axis, axis, indexing="ij"))
    starts = project(problem, alpha, beta)[0]
    fitted = minimise(problem, starts, rounds=60, tolerance=1e-9, basis=np.eye(5)[:, :3])
    objective = fitted.objective.reshape(points, points)
    lowest = fitted.theta[_grid_minima(objective)]
    ended = minimise(problem, lowest)
    order = np.argsort(ended.objective, kind="stable")
    theta = ended.theta[order]
    first = np.sort(np.unique(np.round(theta, 3), axis=0, return_index=True)[1])
    minima = np.column_stack([theta[first, 3:], ended.objective[order][first] / study.unit])
    return SurfaceProfile(axis, axis, objective / study.unit, minima)


def _grid_minima(values: Floats) -> NDArray[np.int64]:
    """Flat indices of entries that no neighbour, of eight, is below."""
    padded = np.pad(values, 1, constant_values=np.inf)
    rows, columns = values.shape
    around = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    return np.flatnonzero(values <= np.min(around, axis=0))


def profile_interval(
    table: Table,
    *,
    convention: str = "full",
    delta: float = 1e-3,
    loss: str = "huber",
    min_steps: int | None = 1500,
    within: float | None = 8.0,
    level: float = 0.95,
) -> Interval:
    """The profile-likelihood interval of a = beta / (alpha + beta), which is the exponent of N by 6 N D.

    Options and errors as for `fit_parametric`; FitError where an end is not within (0.02, 0.98).
    """
    study = prepare(table, convention, delta, loss, min_steps, within)
    problem, solution = study.problem, solve(study.problem)
    best = int(np.argmin(solution.objective))
    theta = solution.theta[best]
    residual = predict(problem, theta[None])[0] - problem.target
    sd = residual_noise(residual, study.data.cells, problem.delta).sd
    slope, square = huber_moments(problem.delta / sd if sd else np.inf)
    degrees = max(problem.x.size - 5, 1)
    allowed = 0.5 * student(0.5 + level / 2, degrees) ** 2 * sd**2 * square / slope
    at = float(theta[4] / (theta[3] + theta[4]))
    return (
        _end(problem, theta, float(solution.objective[best]) + allowed, at, WIDEST),
        _end(problem, theta, float(solution.objective[best]) + allowed, at, 1 - WIDEST),
    )


def _end(problem: Problem, theta: Floats, limit: float, inside: float, outside: float) -> float:
    """Where between `inside` and `outside` the profiled objective crosses `limit`: a grid, refined."""
    while abs(outside - inside) > PRECISION:
        grid = np.linspace(inside, outside, 9)
        above = profiled(problem, theta, grid) > limit
        if not above.any():
            raise FitError(
                f"a may be anything up to {outside:.3g}: the runs do not bound its profile interval"
            )
        k = int(np.argmax(above))
        if k == 0:
            return inside
        inside, outside = float(grid[k - 1]), float(grid[k])
    return 0.5 * (inside + outside)


def profiled(problem: Problem, theta: Floats, shares: Floats) -> Floats:
    """The lowest objective with beta / (alpha + beta) held at each of `shares` (k,)."""
    total = theta[3] + theta[4]
    starts = np.tile(theta, (len(shares), 1))
    starts[:, 3], starts[:, 4] = total * (1 - shares), total * shares
    starts[:, 3:] = np.clip(starts[:, 3:], *EXPONENT_RANGE)
    basis = np.zeros((len(shares), 5, 4))
    basis[:, [0, 1, 2], [0, 1, 2]] = 1.0
    basis[:, 3, 3], basis[:, 4, 3] = starts[:, 3], starts[:, 4]
    begin = project(problem, starts[:, 3], starts[:, 4])[0]
    both = minimise(
        problem, np.concatenate([begin, starts]), rounds=200, tolerance=1e-10, basis=np.tile(basis, (2, 1, 1))
    )
    return np.asarray(both.objective.reshape(2, -1).min(axis=0))


def student(share: float, degrees: int) -> float:
    """Quantile of Student's t, by Hill's expansion of 1970 in 1 / degrees (Abramowitz & Stegun 26.7.5)."""
    if degrees < 3:  # in closed form
        odd = (2 * share - 1) / np.sqrt(2 * share * (1 - share))
        return float(np.tan(np.pi * (share - 0.5)) if degrees == 1 else odd)
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (k + 1) for k, term in enumerate(terms))
