"""Approach 3: L(N, D) = E + A / N^alpha + B / D^beta through all runs at once.

Decisions
- Minimise the sum of Huber(ln predicted − ln observed), threshold `delta` = 1e-3, over E ≥ 0, ln A, ln B,
  alpha and beta, as Hoffmann et al. 2022, section 3.3.  `solver` does it from many starts; the result says
  how many agreed, and how steep the objective still is.  Instead of Huber's loss: least squares (an
  infinite delta), or absolute residuals (a delta of 1e-6, below what a loss is known to).
- Which rows of a sweep it uses is decided in `design`; a and b by any convention in `tangent`: by 6 N D
  they are beta / (alpha + beta) and alpha / (alpha + beta).
- Below a hundred rows intervals come from new noise on the fitted surface: copies of so few rows that leave
  some out are poorer designs than the table.  From a hundred on cells are redrawn, which asks nothing of
  the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import (
    SCHEMES,
    bca_interval,
    check_scheme,
    exponent_intervals,
    power_law,
    stack_replicates,
)
from minichin.fit.design import COLLINEAR, check_design, select_rows
from minichin.fit.problem import Problem, predict
from minichin.fit.replicate import SMALL, Optimum, jackknife, replicates
from minichin.fit.result import FitError, Interval, ParametricFit, percentile_interval
from minichin.fit.search import search
from minichin.fit.solver import Solution
from minichin.fit.starts import make_starts, projected_starts
from minichin.fit.table import Points, Table, points
from minichin.fit.tangent import optimum_lines
from minichin.law import Floats, LossSurface

NAMES = ("E", "A", "B", "alpha", "beta")
LOSSES = ("huber", "squares", "absolute")
ABSOLUTE = 1e-6  # delta below which Huber's loss is delta times the absolute residual
SHAKEN = 32  # starts added to the default ones
OTHERS = 2  # other starts of a copy, of each kind
LARGEST = 700.0  # of ln A and ln B, so that A and B are float64 numbers
STATIONARY = 1e-6  # scaled gradient of a start that has arrived


def fit_parametric(
    table: Table,
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    loss: str = "huber",
    starts: str = "default",
    min_steps: int | None = 1500,
    within: float | None = 8.0,
    resample: str | None = None,
    interval: str = "percentile",
) -> ParametricFit:
    """Fit the loss surface by summed Huber on log loss (Hoffmann et al. 2022, approach 3).

    `loss` is "huber" with threshold `delta`, "squares" or "absolute"; `starts` is "default" or "hoffmann"
    (their 4,500); `min_steps` and `within` choose rows, None for all; `interval` is one of
    `bootstrap.KINDS`, and `resample` one of `bootstrap.SCHEMES`: by default "noise" below a hundred rows,
    "seeds" from there on.  ValueError for a bad table or option; FitError for a table that cannot hold five
    parameters (too few rows, or tokens that follow from parameters).
    """
    check_scheme(resample or SCHEMES[0], interval)
    study = prepare(table, convention, delta, loss, min_steps, within)
    problem, data, notes, warnings = study.problem, study.data, [*study.notes], [*study.warnings]
    resample = resample or ("noise" if len(data) < SMALL else "seeds")
    solution = solve(problem, starts)
    best = int(np.argmin(solution.objective))
    theta = solution.theta[best]
    _doubts(solution, best, warnings, notes)
    at = Optimum(problem, theta, distinct_ends(problem, solution, best))
    own = problem.uncentre(theta[None])
    copies = problem.uncentre(replicates(at, data, resample, bootstrap, seed))
    left_out = problem.uncentre(jackknife(at, data, resample)) if interval == "bca" and bootstrap else None
    line, lines = _lines(own, data)[0], _lines(copies, data)
    predicted = np.exp(predict(problem, theta[None])[0] + problem.level)
    at_best = _agreeing(solution.objective)
    others = solution.objective[~at_best & (solution.gradient <= STATIONARY)]
    surface = _surface(own[0])
    return ParametricFit(
        approach=3,
        convention=convention,
        n_opt=power_law(line[0], line[1]),
        d_opt=power_law(line[2], line[3]),
        **exponent_intervals(lines, line, None if left_out is None else _lines(left_out, data)),
        warnings=tuple(warnings),
        notes=tuple(notes),
        dropped=data.dropped,
        resample=resample,
        interval_kind=interval,
        replicates=lines,
        surface=surface,
        intervals=_intervals(_constants(copies), _constants(own)[0], left_out),
        objective=float(solution.objective[best]) / study.unit,
        gradient_norm=float(solution.gradient[best]),
        starts=len(solution.objective),
        starts_at_best=int(at_best.sum()),
        second_best_objective=float(others.min()) / study.unit if others.size else None,
        loss=loss,
        delta=delta,
        rows=data.row,
        predicted=predicted,
        residuals=np.log(predicted) - np.log(data.loss),
        surface_replicates=_constants(copies),
    )


@dataclass(frozen=True)
class Study:
    """A table made ready for approach 3: the rows used, the problem they pose, notes and warnings.

    The problem's objective over `unit` is the one to report: its delta for absolute residuals, else 1.
    """

    data: Points
    problem: Problem
    unit: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare(
    table: Table,
    convention: str = "full",
    delta: float = 1e-3,
    loss: str = "huber",
    min_steps: int | None = 1500,
    within: float | None = 8.0,
) -> Study:
    """Check a table, choose its rows and pose the problem; options and errors as for `fit_parametric`."""
    threshold = delta_of(delta, loss)
    data, notes, warnings = select_rows(points(table, convention), min_steps, within)
    collinearity = check_design(data)
    if collinearity < 10 * COLLINEAR:
        warnings.append("collinear_design")
        notes.append(f"tokens nearly follow from parameters (1 − R² = {collinearity:.2g}): vary them apart")
    problem = Problem.build(data.log_n, data.log_d, np.log(data.loss), threshold)
    unit = threshold if loss == "absolute" else 1.0
    return Study(data, problem, unit, tuple(notes), tuple(warnings))


def delta_of(delta: float, loss: str) -> float:
    """The Huber threshold that stands for a loss; ValueError for a name or a number that will not do."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    if not (np.isfinite(delta) and delta > 0):
        raise ValueError(f"delta must be a positive number, got {delta}")
    return {"huber": delta, "squares": np.inf, "absolute": ABSOLUTE}[loss]


def solve(problem: Problem, starts: str = "default") -> Solution:
    """Where the named starts end; by default also some more, shaken out of where they arrive."""
    begin = make_starts(problem, starts)
    return search(problem, begin, 100) if starts == "hoffmann" else search(problem, begin, 25, SHAKEN)


def distinct_ends(problem: Problem, solution: Solution, best: int) -> Floats:
    """Where else a copy's optimum may lie: other ends of starts within a quarter of the best objective."""
    if problem.x.size >= SMALL:
        return np.empty((0, 5))
    near = solution.objective <= 1.25 * solution.objective[best]
    ends = np.unique(np.round(solution.theta[near], 2), axis=0, return_index=True)[1]
    theta = solution.theta[near][ends]
    apart = np.abs(theta - solution.theta[best]).max(axis=1) > 0.02
    return np.concatenate([theta[apart][:OTHERS], projected_starts(problem, OTHERS)])


def _doubts(solution: Solution, best: int, warnings: list[str], notes: list[str]) -> None:
    """Name parameters at a bound and a gradient that did not vanish."""
    held = [name for name, at in zip(NAMES, solution.at_bound[best], strict=True) if at]
    if held:
        warnings.append("parameter_at_bound")
        notes.append(
            f"{', '.join(held)} of the best surface lies at a bound: the runs do not determine "
            f"{'it' if len(held) == 1 else 'them'}"
        )
    if solution.gradient[best] > STATIONARY:
        warnings.append("not_converged")
        notes.append(f"the best start stopped with a scaled gradient of {solution.gradient[best]:.2g}")


def _agreeing(objective: Floats) -> NDArray[np.bool_]:
    """Which starts ended at the best objective, to a relative 1e-6 (or to rounding, on noise-free runs)."""
    return np.asarray(objective <= objective.min() * (1 + 1e-6) + 1e-12)


def _lines(constants: Floats, data: Points) -> Floats:
    """Rows (E, ln A, ln B, alpha, beta) as rows ln k_N, a, ln k_D, b."""
    return stack_replicates(*optimum_lines(constants, data)) if len(constants) else np.empty((0, 4))


def _surface(constants: Floats) -> LossSurface:
    """(E, ln A, ln B, alpha, beta) as a surface; FitError where A or B leave the float64 range."""
    e, log_a, log_b, alpha, beta = (float(c) for c in constants)
    if max(abs(log_a), abs(log_b)) > LARGEST:
        raise FitError(
            f"A or B of the best surface does not fit a number (ln A {log_a:.4g}, ln B {log_b:.4g})"
        )
    return LossSurface(e, float(np.exp(log_a)), float(np.exp(log_b)), alpha, beta)


def _constants(copies: Floats) -> Floats:
    """Rows (E, ln A, ln B, alpha, beta) as rows E, A, B, alpha, beta; those beyond float64 are left out."""
    copies = copies[np.abs(copies[:, 1:3]).max(axis=1, initial=0.0) < LARGEST]
    return np.column_stack([copies[:, :1], np.exp(copies[:, 1:3]), copies[:, 3:]])


def _intervals(copies: Floats, own: Floats, left_out: Floats | None) -> dict[str, Interval | None]:
    """95 % interval of each constant; BCa where a jackknife is given."""
    if left_out is None:
        return {name: percentile_interval(copies[:, i]) for i, name in enumerate(NAMES)}
    left = _constants(left_out)
    return {name: bca_interval(float(own[i]), copies[:, i], left[:, i]) for i, name in enumerate(NAMES)}
