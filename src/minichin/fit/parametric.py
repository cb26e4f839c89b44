"""Approach 3: L(N, D) = E + A / N^alpha + B / D^beta through all runs at once.

Decisions
- Minimise the sum of Huber(ln predicted − ln observed), threshold `delta` = 1e-3, over (ln E, ln A, ln B,
  alpha, beta), as Hoffmann et al. 2022, section 3.3.  `solver` does it from many starts; the result says
  how many agreed.
- Which rows of a sweep it uses is decided in `design`; a and b by any convention in `tangent`: by 6 N D
  they are beta / (alpha + beta) and alpha / (alpha + beta).
- The bootstrap reweights cells (one budget, one size: seeds go together) by exponential weights, which
  keeps every replicate's design as rich as the original; residuals carry the seed noise.  Each replicate
  restarts from the optimum and from rival minima within 5 % of it.  The weights vary more than one by cells
  / (cells − 5), for the five fitted parameters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import exponent_intervals, power_law, stack_replicates
from minichin.fit.design import COLLINEAR, check_design, select_rows
from minichin.fit.result import FitError, Interval, ParametricFit, percentile_interval
from minichin.fit.solver import Problem, Solution, minimise, predict
from minichin.fit.starts import make_starts
from minichin.fit.table import Points, Table, points
from minichin.fit.tangent import optimum_lines
from minichin.law import Floats, LossSurface

NAMES = ("E", "A", "B", "alpha", "beta")


def fit_parametric(
    table: Table,
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    starts: str = "default",
    min_steps: int | None = 1500,
    within: float | None = 8.0,
) -> ParametricFit:
    """Fit the loss surface by summed Huber on log loss (Hoffmann et al. 2022, approach 3).

    `starts` is "default" or "hoffmann" (their 4,500).  `min_steps` and `within` choose rows, None for all.
    ValueError for a bad table; FitError for one that cannot hold five parameters (too few rows, or tokens
    that follow from parameters).
    """
    if not (np.isfinite(delta) and delta > 0):
        raise ValueError(f"delta must be a positive number, got {delta}")
    every = points(table, convention)
    data, notes, warnings = select_rows(every, min_steps, within)
    collinearity = check_design(data)
    if collinearity < 10 * COLLINEAR:
        warnings.append("collinear_design")
        notes.append(f"tokens nearly follow from parameters (1 − R² = {collinearity:.2g}): vary them apart")
    problem = Problem.build(data.log_n, data.log_d, np.log(data.loss), delta)
    solution = minimise(problem, make_starts(problem, starts))
    best = int(np.argmin(solution.objective))
    theta = solution.theta[best]
    at_best = _agreeing(solution.objective)
    _doubts(solution, best, warnings, notes)
    copies = _replicate(problem, _rivals(solution), data, bootstrap, seed)
    n_line, d_line = optimum_lines(problem.uncentre(theta[None]), data)
    replicates = stack_replicates(*optimum_lines(copies, data)) if len(copies) else np.empty((0, 4))
    predicted = np.exp(predict(problem, theta[None])[0][0])
    constants = _constants(copies)
    return ParametricFit(
        approach=3,
        convention=convention,
        n_opt=power_law(n_line[0][0], n_line[1][0]),
        d_opt=power_law(d_line[0][0], d_line[1][0]),
        **exponent_intervals(replicates),
        warnings=tuple(warnings),
        notes=tuple(notes),
        dropped=data.dropped,
        resample="seeds",
        interval_kind="percentile",
        replicates=replicates,
        surface=_surface(problem.uncentre(theta)),
        intervals=_intervals(constants),
        objective=float(solution.objective[best]),
        gradient_norm=float(solution.gradient[best]),
        starts=len(solution.objective),
        starts_at_best=int(at_best.sum()),
        second_best_objective=float(solution.objective[~at_best].min()) if not at_best.all() else None,
        delta=delta,
        rows=data.row,
        predicted=predicted,
        residuals=np.log(predicted) - np.log(data.loss),
        surface_replicates=constants,
    )


def _replicate(problem: Problem, begin: Floats, data: Points, count: int, seed: int) -> Floats:
    """Refit `count` reweighted copies of the table from each of `begin`; (ln E, ln A, ln B, alpha, beta)."""
    if count == 0:
        return np.empty((0, 5))
    cells = data.cells
    size = int(cells.max()) + 1
    rng = np.random.default_rng(seed)
    widen = np.sqrt(size / max(size - 5, 1))
    weight = np.maximum(1.0 + widen * (rng.standard_exponential((count, size)) - 1.0), 0.0)[:, cells]
    starts, weights = np.repeat(begin, count, axis=0), np.tile(weight, (len(begin), 1))
    solution = minimise(problem, starts, weights, rounds=60, tolerance=1e-6)
    objective = solution.objective.reshape(len(begin), count)
    best = solution.theta.reshape(len(begin), count, 5)[objective.argmin(axis=0), np.arange(count)]
    return problem.uncentre(best)


def _rivals(solution: Solution) -> Floats:
    """The best minimum, and up to two others within 5 % of it, from which replicates start."""
    objective = solution.objective
    chosen = [int(np.argmin(objective))]
    for i in np.argsort(objective, kind="stable"):
        apart = all(objective[i] > objective[k] * (1 + 1e-3) + 1e-12 for k in chosen)
        if apart and objective[i] <= 1.05 * objective[chosen[0]] and len(chosen) < 3:
            chosen.append(int(i))
    return np.asarray(solution.theta[chosen])


def _doubts(solution: Solution, best: int, warnings: list[str], notes: list[str]) -> None:
    """Name parameters at a bound and a gradient that did not vanish."""
    held = [name for name, at in zip(NAMES, solution.at_bound[best], strict=True) if at]
    if held:
        warnings.append("parameter_at_bound")
        notes.append(
            f"{', '.join(held)} of the best surface lies at a bound: the runs do not determine "
            f"{'it' if len(held) == 1 else 'them'}"
        )
    if solution.gradient[best] > 1e-6:
        warnings.append("not_converged")
        notes.append(f"the best start stopped with a scaled gradient of {solution.gradient[best]:.2g}")


def _agreeing(objective: Floats) -> NDArray[np.bool_]:
    """Which starts ended at the best objective, to a relative 1e-6 (or to rounding, on noise-free runs)."""
    return np.asarray(objective <= objective.min() * (1 + 1e-6) + 1e-12)


def _surface(theta: Floats) -> LossSurface:
    """(ln E, ln A, ln B, alpha, beta) as a surface; FitError where A or B leave the float64 range."""
    if np.abs(theta[:3]).max() > 700:
        raise FitError(
            f"A or B of the best surface does not fit a number (ln A {theta[1]:.4g}, ln B {theta[2]:.4g})"
        )
    e, a, b = np.exp(theta[:3])
    return LossSurface(float(e), float(a), float(b), float(theta[3]), float(theta[4]))


def _constants(copies: Floats) -> Floats:
    """Replicates as E, A, B, alpha, beta."""
    copies = copies[np.abs(copies[:, :3]).max(axis=1, initial=0.0) < 700]
    return np.column_stack([np.exp(copies[:, :3]), copies[:, 3:]])


def _intervals(constants: Floats) -> dict[str, Interval | None]:
    """95 % interval of each constant."""
    return {name: percentile_interval(constants[:, i]) for i, name in enumerate(NAMES)}
