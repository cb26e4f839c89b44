"""Approach 2: at each compute budget a valley of loss against size; its floor, and how the floor moves.

Decisions
- Seeds of one (budget, size) are averaged first, and count by their number in the parabola.
- The parabola, loss against ln N, goes through a local window: sizes within a factor 5 of the minimum, five
  at least.  Far from its floor a valley is no parabola: on published sweeps that span 100× in N the
  parabola through all points misses the published exponent by up to 0.4, the window stays within 0.03. The
  window is recentred on its own minimum a few times.
- A minimum counts as bracketed when the parabola opens upwards and its vertex lies between the smallest and
  the largest size.  An unbracketed one is put at the edge, which only bounds it, and stays out of the power
  law as long as two bracketed ones remain.
- A budget whose best run took fewer than 1,000 steps (`min_steps`) says more about warm-up than about size;
  it stays out of the power law as long as three other budgets remain, and is named either way.
- The tokens and the compute at the vertex are read off the budget's own runs, straight lines between them
  in logarithms.  With C = 6 N D this makes a + b = 1 exactly; under the `full` count it does not, because C
  / (6 N D) falls with size in small models (1.7 at 20k parameters, 1.1 at 1M), so that a + b > 1.
- The power laws are plain least squares in logarithms, every budget alike, as in Hoffmann et al. 2022,
  section 3.2.
- Each bootstrap replicate adds noise to every cell's mean (see `bootstrap`), moves the windows, and refits
  all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import (
    Noise,
    estimate_noise,
    exponent_intervals,
    lines,
    power_law,
    solve,
    stack_replicates,
)
from minichin.fit.result import FitError, IsoflopFit, Valley, percentile_interval
from minichin.fit.table import Points, Table, is_budget, points
from minichin.law import Floats

RECENTRE = 4


@dataclass(frozen=True)
class Group:
    """One budget's cells by rising ln N: mean loss, seeds, and ln D and ln C to read an optimum off."""

    budget: float
    x: Floats
    loss: Floats
    seeds: NDArray[np.int64]
    log_d: Floats
    log_c: Floats
    seed_squares: float


@dataclass(frozen=True)
class Floor:
    """Vertices of one budget, an entry a replicate: ln N, ln D, ln C, loss, bracketed, and the parabola."""

    x: Floats
    log_d: Floats
    log_c: Floats
    loss: Floats
    bracketed: NDArray[np.bool_]
    center: Floats
    coefficients: Floats
    window: NDArray[np.bool_]


def fit_isoflop(
    table: Table,
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    window: float = 5.0,
    min_points: int = 5,
    min_steps: int = 1000,
) -> IsoflopFit:
    """Fit N_opt ∝ C^a and D_opt ∝ C^b to the floors of IsoFLOP valleys (Hoffmann et al. 2022, approach 2).

    `window` is the factor in N round the minimum that the parabola goes through, `min_points` the least
    number of sizes in it, `min_steps` the least number of steps of an optimum that carries the power law
    (0: any).  ValueError for a bad table, FitError with fewer than two budgets of three sizes.
    """
    if window <= 1 or min_points < 3:
        raise ValueError(f"window must exceed 1 and min_points be 3 or more, got {window} and {min_points}")
    data = points(table, convention)
    groups, data = budget_groups(data)
    if len(groups) < 2:
        raise FitError(
            f"approach 2 needs two budgets or more with three sizes each, found {len(groups)} "
            f"among {np.unique(data.budget).size} budgets",
            ("too_few_budgets",),
        )
    floors = [fit_floor(g, g.loss[None, :], window, min_points) for g in groups]
    used, warnings, notes = _choose(groups, floors, _steps(data, groups, floors), min_steps)
    noise = pooled_noise(
        *zip(*((g, f) for g, f, u in zip(groups, floors, used, strict=True) if u), strict=True)
    )
    rng = np.random.default_rng(seed)
    copies = _replicate(groups, noise, rng, bootstrap, window, min_points) if noise and bootstrap else None
    n_line, d_line = _power_lines([f for f, u in zip(floors, used, strict=True) if u])
    if noise is None:
        warnings.append("seed_noise_unknown")
        notes.append("no repeated seeds and no spare points tell the noise, so there are no intervals")
    replicates = np.empty((0, 4))
    if copies:
        replicates = stack_replicates(*_power_lines([f for f, u in zip(copies, used, strict=True) if u]))
    valleys = tuple(
        _valley(g, f, bool(u), copies[i] if copies else None)
        for i, (g, f, u) in enumerate(zip(groups, floors, used, strict=True))
    )
    return IsoflopFit(
        approach=2,
        convention=convention,
        n_opt=power_law(n_line[0][0], n_line[1][0]),
        d_opt=power_law(d_line[0][0], d_line[1][0]),
        **exponent_intervals(replicates),
        warnings=tuple(warnings),
        notes=tuple(notes),
        dropped=data.dropped,
        resample="noise",
        interval_kind="percentile",
        replicates=replicates,
        valleys=valleys,
        noise=noise.sd if noise else None,
    )


def fit_floor(group: Group, loss: Floats, window: float = 5.0, min_points: int = 5) -> Floor:
    """Fit the local parabola to each row of `loss` (replicates, cells); the floors, in logarithms."""
    x, width = group.x, np.log(window)
    center = x[np.argmin(loss, axis=1)]
    for _ in range(RECENTRE):
        u = x - center[:, None]
        distance = np.abs(u)
        rank = np.argsort(np.argsort(distance, axis=1, kind="stable"), axis=1)
        inside = (distance <= width) | (rank < min_points)
        weight = inside * group.seeds
        powers = np.stack([np.ones_like(u), u / width, (u / width) ** 2], axis=-1)
        moments = np.einsum("bm,bmi,bmj->bij", weight, powers, powers)
        right = np.einsum("bm,bmi,bm->bi", weight, powers, loss)
        c = solve(moments, right) / np.array([1.0, width, width**2])
        opens = c[:, 2] > 1e-12
        lowest = x[np.argmin(np.where(inside, loss, np.inf), axis=1)]
        step = -c[:, 1] / np.where(opens, 2 * c[:, 2], 1.0)
        vertex = np.where(opens, center + step, lowest)
        used_center, center = center, np.clip(vertex, x[0], x[-1])
    bracketed = opens & (vertex > x[0]) & (vertex < x[-1])
    u = center - used_center
    at_floor = c[:, 0] + c[:, 1] * u + c[:, 2] * u**2
    log_d, log_c = np.interp(center, x, group.log_d), np.interp(center, x, group.log_c)
    return Floor(center, log_d, log_c, at_floor, bracketed, used_center, c, inside)


def budget_groups(data: Points) -> tuple[list[Group], Points]:
    """Budgets with three sizes or more; runs of the others are dropped with the reason."""
    groups, keep = [], np.zeros(len(data), dtype=bool)
    for budget in np.unique(data.budget):
        members = np.flatnonzero(data.budget == budget)
        sizes, cell = np.unique(np.round(data.log_n[members], 9), return_inverse=True)
        if sizes.size < 3 or not (data.budget_given or is_budget(data.log_c[members])):
            continue
        keep[members] = True
        seeds = np.bincount(cell)
        means = [
            np.bincount(cell, weights=v[members]) / seeds
            for v in (data.log_n, data.loss, data.log_d, data.log_c)
        ]
        squares = float(((data.loss[members] - means[1][cell]) ** 2).sum())
        groups.append(Group(float(budget), means[0], means[1], seeds, means[2], means[3], squares))
    return groups, data.take(keep, "its budget has fewer than three sizes, or is no single budget")


def pooled_noise(groups: Sequence[Group], floors: Sequence[Floor]) -> Noise | None:
    """Pooled noise of these budgets: seeds about their cell's mean, and cell means about the parabolas."""
    seed_squares = sum(g.seed_squares for g in groups)
    seed_dof = sum(int(g.seeds.sum()) - g.seeds.size for g in groups)
    fit_squares, fit_dof, inverse = 0.0, 0, []
    for g, f in zip(groups, floors, strict=True):
        inside = f.window[0]
        u = g.x[inside] - f.center[0]
        c = f.coefficients[0]
        fit_squares += float(((g.loss[inside] - c[0] - c[1] * u - c[2] * u * u) ** 2).sum())
        fit_dof += max(0, int(inside.sum()) - 3)
        inverse.append(1.0 / g.seeds[inside])
    return estimate_noise(seed_squares, seed_dof, fit_squares, fit_dof, float(np.concatenate(inverse).mean()))


def _replicate(
    groups: list[Group],
    noise: Noise,
    rng: np.random.Generator,
    count: int,
    window: float,
    min_points: int,
) -> list[Floor]:
    """Floors of `count` noisy copies of every budget."""
    scale = noise.spread(rng, count)
    return [fit_floor(g, g.loss + noise.draw(rng, g.seeds, scale), window, min_points) for g in groups]


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


def _power_lines(floors: list[Floor]) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Lines of ln N and ln D against ln C over budgets, an entry a replicate."""
    log_c = np.stack([f.log_c for f in floors], axis=-1)
    return lines(log_c, np.stack([f.x for f in floors], axis=-1)), lines(
        log_c, np.stack([f.log_d for f in floors], axis=-1)
    )


def _valley(group: Group, floor: Floor, used: bool, copies: Floor | None) -> Valley:
    """The public record of one budget."""
    x, c = float(floor.x[0]), floor.coefficients[0]
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
        coefficients=(float(c[0]), float(c[1]), float(c[2])),
        params_opt=float(np.exp(x)),
        tokens_opt=float(np.exp(floor.log_d[0])),
        loss_opt=float(floor.loss[0]),
        bracketed=bool(floor.bracketed[0]),
        bracket=bracket,
        used=used,
        params_opt_interval=percentile_interval(np.exp(copies.x)) if copies else None,
        tokens_opt_interval=percentile_interval(np.exp(copies.log_d)) if copies else None,
        tokens_per_param_interval=percentile_interval(np.exp(copies.log_d - copies.x)) if copies else None,
    )
