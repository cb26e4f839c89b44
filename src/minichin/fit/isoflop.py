"""Approach 2: at each compute budget a valley of loss against size; its floor, and how the floor moves.

Decisions
- How a valley is fitted is named by `method`, see `methods`.
- Where alpha ≠ beta a valley is skewed, and the vertex of a parabola lies beside its minimum (Czech et al.
  2026, arXiv 2603.22339).  Equal grids about the optima shift it equally: the exponent stays exact, the
  coefficient does not.  `correct` takes the shift out with the exponents of approach 3 (see `valley`).
- A minimum counts as bracketed when the curve has one between the smallest and the largest size.  An
  unbracketed one is put at the edge, which only bounds it, and stays out of the power law as long as two
  bracketed ones remain.
- A budget whose best run took fewer than 1,000 steps (`min_steps`) says more about warm-up than about size;
  it stays out of the power law as long as three other budgets remain, and is named either way.
- The tokens and the compute at the vertex are read off the budget's own runs, straight lines between them
  in logarithms.  With C = 6 N D this makes a + b = 1 exactly; under the `full` count it does not, because C
  / (6 N D) falls with size in small models (1.7 at 20k parameters, 1.1 at 1M), so that a + b > 1.
- The power laws are plain least squares in logarithms, every budget alike, as in Hoffmann et al. 2022,
  section 3.2.
- A replicate (see `redraw`) fits everything again, windows and correction included.  One in which fewer than
  two different budgets kept enough sizes makes no line; it is left out, and counted in a note.
- `noise` and percentiles are the defaults because their 95 % interval of a covers: 94–97 % of 300 simulated
  studies (window and shared; 4 budgets × 7 sizes with one seed or three, 5 × 9; alpha, beta = 0.35, 0.35 or
  0.40, 0.30; noise 0.01 nats).  BCa does no better.  In 200 studies each `rows` covers 93–96 % with three
  seeds; with one seed, and `seeds` with any, the interval covers 98–100 %, being three times too wide, since
  a parabola through the sizes that were drawn hangs in the air; `budgets`, of which there are four, 85–91 %.
- What a curve misses counts as noise.  A parabola through sizes within 8× therefore covers 99 % and more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import check_scheme, exponent_intervals, power_law
from minichin.fit.methods import METHODS, Recipe
from minichin.fit.redraw import draw, leave_out, observed
from minichin.fit.result import FitError, IsoflopFit, Valley, percentile_interval
from minichin.fit.shared import LEAST, MOST
from minichin.fit.table import Points, Table, points
from minichin.fit.valley import Floor, Group, budget_groups, fit_floor, pooled_noise
from minichin.law import Floats

__all__ = ["METHODS", "budget_groups", "fit_floor", "fit_isoflop", "pooled_noise"]


def fit_isoflop(
    table: Table,
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    resample: str = "noise",
    interval: str = "percentile",
    method: str = "window",
    correct: tuple[float, float] | None = None,
    window: float = 5.0,
    min_points: int = 5,
    min_steps: int = 1000,
) -> IsoflopFit:
    """Fit N_opt ∝ C^a and D_opt ∝ C^b to the floors of IsoFLOP valleys (Hoffmann et al. 2022, approach 2).

    `method` is named above, `resample` and `interval` in `bootstrap`; `correct` is (alpha, beta), as approach
    3 finds them.  `window` is the factor in N round the vertex that is fitted (its square for a cubic),
    `min_points` the least number of sizes in it (two more for a cubic), `min_steps` the least number of steps
    of an optimum that carries the power law (0: any).
    ValueError for a bad argument or table, FitError with fewer than two budgets of three sizes.
    """
    check_scheme(resample, interval)
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be 0 or more replicates, got {bootstrap}")
    recipe = Recipe(method, correct, window, min_points)
    groups, data = _groups(points(table, convention))
    floors = recipe.fit(groups, observed(groups))
    used, warnings, notes = _choose(groups, floors, _steps(data, groups, floors), min_steps)
    notes += _fit_notes(recipe, floors, used, warnings)
    carriers = [(g, f) for g, f, u in zip(groups, floors, used, strict=True) if u]
    noise = pooled_noise(*zip(*carriers, strict=True))
    if noise is None and resample == "noise":
        warnings.append("seed_noise_unknown")
        notes.append("no repeated seeds and no spare points tell the noise, so there are no intervals")
    estimate = _lines(floors, used[None, :].astype(np.float64))[0]
    replicates, copies, left = np.empty((0, 4)), None, None
    if bootstrap and (noise or resample != "noise"):
        rng = np.random.default_rng(seed)
        draws = draw(data, groups, resample, noise, rng, bootstrap)
        copies = recipe.fit(groups, draws)
        replicates, lost = _lines(copies, used * draws.budgets)
        if lost:
            notes.append(
                f"{lost} of {bootstrap} replicates kept too few sizes or budgets for a line: left out"
            )
        if interval == "bca":
            without = leave_out(data, groups, resample)
            left = _lines(recipe.fit(groups, without), used * without.budgets)[0]
    return IsoflopFit(
        approach=2,
        convention=convention,
        n_opt=power_law(*estimate[0, :2]),
        d_opt=power_law(*estimate[0, 2:]),
        **exponent_intervals(replicates, estimate[0], left),
        warnings=tuple(warnings),
        notes=tuple(notes),
        dropped=data.dropped,
        resample=resample,
        interval_kind=interval,
        replicates=replicates,
        valleys=tuple(
            _valley(g, f, bool(u), copies[i] if copies and resample != "budgets" else None)
            for i, (g, f, u) in enumerate(zip(groups, floors, used, strict=True))
        ),
        noise=noise.sd if noise else None,
        method=method,
    )


def _groups(given: Points) -> tuple[list[Group], Points]:
    """The budgets that can be fitted, and their runs; FitError with fewer than two."""
    groups, data = budget_groups(given)
    if len(groups) < 2:
        raise FitError(
            f"approach 2 needs two budgets or more with three sizes each, found {len(groups)} "
            f"among {np.unique(given.budget).size} budgets",
            ("too_few_budgets",),
        )
    return groups, data


def _fit_notes(
    recipe: Recipe, floors: list[Floor], used: NDArray[np.bool_], warnings: list[str]
) -> list[str]:
    """What the method has to add: how far `correct` moved the optima, or the shared exponents."""
    if recipe.correct:
        moved = np.exp([float(f.shift[0]) for f in floors if f.shift is not None])
        alpha, beta = recipe.correct
        return [
            f"corrected for alpha = {alpha:.4g}, beta = {beta:.4g}: the optima's params move by "
            f"{moved.min() - 1:+.2%} to {moved.max() - 1:+.2%} (exact where C = 6 N D)"
        ]
    shape = floors[0].exponents
    if shape is None:
        return []
    if np.any((shape[0] < 1.01 * LEAST) | (shape[0] > 0.99 * MOST)):
        warnings.append("parameter_at_bound")
    return [f"the valleys share alpha = {shape[0, 0]:.4g} and beta = {shape[0, 1]:.4g}"]


def _choose(
    groups: list[Group], floors: list[Floor], steps: Floats | None, min_steps: int
) -> tuple[NDArray[np.bool_], list[str], list[str]]:
    """Which budgets carry the power law, with the warnings and notes that follow."""
    warnings, notes = [], []
    bracketed = np.array([bool(f.bracketed[0]) for f in floors])
    used = bracketed if bracketed.sum() >= 2 else np.ones_like(bracketed)
    if not bracketed.all():
        warnings.append("minimum_not_bracketed")
        names = ", ".join(f"{g.budget:.3g}" for g, ok in zip(groups, bracketed, strict=True) if not ok)
        fate = "left out of the power law" if used is bracketed else "kept at the edge, which only bounds it"
        notes.append(f"the minimum is not bracketed at {names} FLOPs: {fate}; add sizes beyond the edge")
    if steps is not None and np.any(short := steps < min_steps):
        warnings.append("too_few_steps")
        names = ", ".join(
            f"{g.budget:.3g} ({n:.0f})" for g, n, few in zip(groups, steps, short, strict=True) if few
        )
        enough = bool((used & ~short).sum() >= 3)
        used = used & ~short if enough else used
        fate = "left out of the power law" if enough else "kept, since fewer than three others are there"
        notes.append(f"the optimum is a run of fewer than {min_steps} steps at {names} FLOPs: {fate}")
    if used.sum() < 3:
        warnings.append("too_few_budgets")
        notes.append(f"the exponents rest on {int(used.sum())} budgets: three or more would show the scatter")
    return used, warnings, notes


def _steps(data: Points, groups: list[Group], floors: list[Floor]) -> Floats | None:
    """Optimiser steps of the run nearest to each budget's optimum; None where the table does not tell."""
    if data.steps is None:
        return None
    found = []
    for group, floor in zip(groups, floors, strict=True):
        rows = np.flatnonzero(data.budget == group.budget)
        found.append(data.steps[rows[np.argmin(np.abs(data.log_n[rows] - floor.x[0]))]])
    return np.array(found, dtype=np.float64)


def _lines(floors: list[Floor], weight: Floats) -> tuple[Floats, int]:
    """Weighted lines of ln N and ln D against ln C over budgets: rows ln k_N, a, ln k_D, b; and how many of
    the replicates were left out, because fewer than two budgets have a weight and enough sizes."""
    weight = weight * np.stack([f.enough for f in floors], axis=-1)
    keep = (weight > 0).sum(axis=1) >= 2
    weight = weight[keep] / weight[keep].sum(axis=1, keepdims=True)
    log_c, log_n, log_d = (
        np.stack([getattr(f, name)[keep] for f in floors], axis=-1) for name in ("log_c", "x", "log_d")
    )
    middle = (weight * log_c).sum(axis=1, keepdims=True)
    lever = weight * (log_c - middle)
    spread = (lever * log_c).sum(axis=1)
    columns = []
    for y in (log_n, log_d):
        slope = (lever * y).sum(axis=1) / spread
        columns += [(weight * y).sum(axis=1) - slope * middle[:, 0], slope]
    return np.column_stack(columns), int((~keep).sum())


def _valley(group: Group, floor: Floor, used: bool, copies: Floor | None) -> Valley:
    """The public record of one budget."""
    x, shape = float(floor.x[0]), floor.exponents

    def interval(name: str, less: str = "") -> tuple[float, float] | None:
        if copies is None:
            return None
        logs = getattr(copies, name) - (getattr(copies, less) if less else 0.0)
        return percentile_interval(np.exp(logs[copies.enough]))

    bracket = float(np.exp(min(x - group.x[0], group.x[-1] - x)))
    return Valley(
        budget=group.budget,
        flops=float(np.exp(floor.log_c[0])),
        params=np.exp(group.x),
        tokens=np.exp(group.log_d),
        val_loss=group.loss,
        seeds=group.seeds,
        window=floor.window[0],
        center=float(np.exp(floor.center[0])),
        coefficients=tuple(float(c) for c in floor.coefficients[0]),
        params_opt=float(np.exp(x)),
        tokens_opt=float(np.exp(floor.log_d[0])),
        loss_opt=float(floor.loss[0]),
        bracketed=bool(floor.bracketed[0]),
        bracket=bracket,
        used=used,
        params_opt_interval=interval("x"),
        tokens_opt_interval=interval("log_d"),
        tokens_per_param_interval=interval("log_d", "x"),
        exponents=None if shape is None else (float(shape[0, 0]), float(shape[0, 1])),
        correction=None if floor.shift is None else float(np.exp(floor.shift[0])),
    )
