"""One IsoFLOP valley: a budget's cells, and the polynomial in ln N whose vertex is the budget's floor.

Decisions
- Seeds of one (budget, size) are averaged first, and count by their number in the fit.
- More than 256 sizes of a budget are averaged in 256 equal steps of ln N: within one a valley bends no more
  than about 1e-5 nats.  Where there are more than 64 budgets the steps are fewer, 32 at least, so that a
  million rows stay affordable; a step bends by the same everywhere on a parabola, which moves no vertex.
- The window is counted from the vertex and recentred on it a few times.
- A cell of weight 0 (never drawn) is not there: the edges move in with it.
- The correction for alpha ≠ beta needs nothing but the two exponents.  Round an optimum x0 the valley of a
  surface is const + S (e^(−alpha u) / alpha + e^(beta u) / beta), u = ln N − x0, whatever E, A and B are;
  the same polynomial through the same cells has its vertex v there, and v − x0 is what x0 is moved by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import Noise, estimate_noise, solve
from minichin.fit.table import Points, is_budget
from minichin.law import Floats

RECENTRE = 4
MOST_SIZES, FEWEST_STEPS = 256, 32
MOST_CELLS = 64 * MOST_SIZES  # of all budgets together
FIXED_POINT_STEPS = 30


@dataclass(frozen=True)
class Group:
    """One budget's cells by rising ln N: mean loss, seeds, and ln D and ln C to read an optimum off.

    `rows` index the table, sorted by cell; `starts` says where each cell begins among them.
    """

    budget: float
    x: Floats
    loss: Floats
    seeds: NDArray[np.int64]
    log_d: Floats
    log_c: Floats
    seed_squares: float
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]


@dataclass(frozen=True)
class Floor:
    """Floors of one budget, an entry a replicate: ln N, ln D, ln C, loss, bracketed, and the curve.

    The curve in u = ln N − `center` is the polynomial of `coefficients` (c0, c1, …); where `exponents`
    (alpha, beta) are there, it is c0 + c1 e^(beta u) + c2 e^(−alpha u).
    `enough` says whether as many sizes as coefficients were there, `shift` how far `x` was corrected.
    """

    x: Floats
    log_d: Floats
    log_c: Floats
    loss: Floats
    bracketed: NDArray[np.bool_]
    center: Floats
    coefficients: Floats
    window: NDArray[np.bool_]
    enough: NDArray[np.bool_]
    exponents: Floats | None = None
    shift: Floats | None = None


def budget_groups(data: Points) -> tuple[list[Group], Points]:
    """Budgets with three sizes or more; runs of the others are dropped with the reason."""
    order = np.lexsort((data.log_n, data.budget))
    ends = np.append(np.flatnonzero(np.diff(data.budget[order])) + 1, order.size)
    members = []
    for start, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        rows = order[start:end]
        if end - start < 3 or np.unique(data.log_n[rows]).size < 3:
            continue
        if data.budget_given or is_budget(data.log_c[rows]):
            members.append(rows)
    keep = np.zeros(len(data), dtype=bool)
    keep[np.concatenate(members) if members else []] = True
    kept = data.take(keep, "its budget has fewer than three sizes, or is no single budget")
    place = np.cumsum(keep) - 1
    most = int(np.clip(MOST_CELLS // max(len(members), 1), FEWEST_STEPS, MOST_SIZES))
    return [_group(kept, place[rows], most) for rows in members], kept


def fit_floor(
    group: Group,
    loss: Floats,
    window: float = 5.0,
    min_points: int = 5,
    *,
    degree: int = 2,
    weight: Floats | None = None,
) -> Floor:
    """Fit the local polynomial to each row of `loss` (replicates, cells); the floors, in logarithms.

    `window` is the factor in N round the vertex that is fitted (inf: all), `min_points` the least number of
    sizes in it, `weight` how often each cell counts (replicates, cells), its number of seeds unless given.
    """
    x, degree = group.x, min(degree, group.x.size - 1)
    weight, there, enough = present(group, loss, weight, degree + 1)
    low, high = edges(x, there)
    seen = np.where(there, loss, np.inf)
    center = x[np.argmin(seen, axis=1)]
    for _ in range(RECENTRE if np.isfinite(window) else 1):
        u = x - center[:, None]
        inside = _inside(np.where(there, np.abs(u), np.inf), np.log(window), min_points) & there
        c = _polynomial(u, loss, weight * inside, degree)
        step, opens = _vertex(c)
        lowest = x[np.argmin(np.where(inside, seen, np.inf), axis=1)]
        vertex = np.where(opens, center + step, lowest)
        used_center, center = center, np.clip(vertex, low, high)
    bracketed = opens & (vertex > low) & (vertex < high)
    return read_off(group, center, bracketed, used_center, c, inside, enough)


def correct_floor(group: Group, floor: Floor, exponents: tuple[float, float], weight: Floats | None) -> Floor:
    """Move each bracketed vertex by the bias that the same fit has on a valley of known exponents.

    Solve vertex(x0) = x for x0 by fixed-point steps; `exponents` are the surface's (alpha, beta).
    """
    alpha, beta = exponents
    x = group.x
    degree = floor.coefficients.shape[1] - 1
    weight, there, _ = present(group, np.broadcast_to(group.loss, floor.window.shape), weight, degree + 1)
    low, high = edges(x, there)
    true = floor.x
    for _ in range(FIXED_POINT_STEPS):
        u = x - true[:, None]
        noise_free = np.exp(-alpha * u) / alpha + np.exp(beta * u) / beta
        step, opens = _vertex(_polynomial(u, noise_free, weight * floor.window, degree))
        change = np.where(opens & floor.bracketed, floor.x - (true + step), 0.0)
        true = np.clip(true + change, low, high)
        if np.abs(change).max() < 1e-10:
            break
    inside = floor.bracketed & (true > low) & (true < high)
    moved = read_off(group, true, inside, floor.center, floor.coefficients, floor.window, floor.enough)
    return replace(moved, shift=true - floor.x)


def present(
    group: Group, loss: Floats, weight: Floats | None, needed: int
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """Weights (replicates, cells), which cells are there, and whether `needed` of them are.

    Where too few are, the whole budget stands in, so that the arithmetic holds; its floor is not used.
    """
    if weight is None:
        weight = np.broadcast_to(group.seeds.astype(np.float64), loss.shape)
    enough = (weight > 0).sum(axis=1) >= needed
    weight = np.where(enough[:, None], weight, group.seeds)
    return weight, weight > 0, enough


def edges(x: Floats, there: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Smallest and largest ln N of the cells that are there, an entry a replicate."""
    return x[np.argmax(there, axis=1)], x[x.size - 1 - np.argmax(there[:, ::-1], axis=1)]


def read_off(
    group: Group,
    x: Floats,
    bracketed: NDArray[np.bool_],
    center: Floats,
    coefficients: Floats,
    window: NDArray[np.bool_],
    enough: NDArray[np.bool_],
    exponents: Floats | None = None,
) -> Floor:
    """The floor at ln N = `x`: tokens and compute from the budget's own runs, the loss from the curve."""
    log_d, log_c = (np.interp(x, group.x, v) for v in (group.log_d, group.log_c))
    loss = curve((x - center)[:, None], coefficients, exponents)[:, 0]
    return Floor(x, log_d, log_c, loss, bracketed, center, coefficients, window, enough, exponents)


def curve(u: Floats, coefficients: Floats, exponents: Floats | None) -> Floats:
    """The fitted curves at u = ln N − center, (replicates, points)."""
    c = coefficients[:, :, None]
    if exponents is None:
        return np.asarray(sum(c[:, i] * u**i for i in range(c.shape[1])))
    alpha, beta = exponents[:, :1], exponents[:, 1:]
    return np.asarray(c[:, 0] + c[:, 1] * np.exp(beta * u) + c[:, 2] * np.exp(-alpha * u))


def pooled_noise(groups: Sequence[Group], floors: Sequence[Floor]) -> Noise | None:
    """Pooled noise of these budgets: seeds about their cell's mean, and cell means about the curves."""
    seed_squares = sum(g.seed_squares for g in groups)
    seed_dof = sum(int(g.seeds.sum()) - g.seeds.size for g in groups)
    fit_squares, fit_dof, inverse = 0.0, 0, []
    for g, f in zip(groups, floors, strict=True):
        inside, shape = f.window[0], f.exponents if f.exponents is None else f.exponents[:1]
        predicted = curve((g.x - f.center[0])[None, :], f.coefficients[:1], shape)[0]
        fit_squares += float(((g.loss - predicted)[inside] ** 2).sum())
        fit_dof += max(0, int(inside.sum()) - f.coefficients.shape[1])
        inverse.append(1.0 / g.seeds[inside])
    if floors[0].exponents is not None:
        fit_dof = max(0, fit_dof - 2)
    return estimate_noise(seed_squares, seed_dof, fit_squares, fit_dof, float(np.concatenate(inverse).mean()))


def _group(data: Points, rows: NDArray[np.int64], most: int) -> Group:
    """The cells of one budget, at most `most`; its `rows` are sorted by ln N."""
    x = data.log_n[rows]
    starts = np.flatnonzero(np.diff(x, prepend=-np.inf))
    if starts.size > most:
        step = np.minimum(((x - x[0]) / np.ptp(x) * most).astype(np.int64), most - 1)
        starts = np.flatnonzero(np.diff(step, prepend=-1))
    seeds = np.diff(np.append(starts, rows.size))
    columns = (data.log_n, data.loss, data.log_d, data.log_c)
    means = [np.add.reduceat(column[rows], starts) / seeds for column in columns]
    squares = float(((data.loss[rows] - np.repeat(means[1], seeds)) ** 2).sum())
    budget = float(data.budget[rows[0]])
    return Group(budget, means[0], means[1], seeds, means[2], means[3], squares, rows, starts)


def _inside(distance: Floats, width: float, min_points: int) -> NDArray[np.bool_]:
    """Cells within `width` of the centre, or among the `min_points` nearest; absent cells are at infinity."""
    reach = np.full(len(distance), width)
    few = (distance <= width).sum(axis=1) < min_points
    if few.any():
        nearest = min(min_points, distance.shape[1]) - 1
        reach[few] = np.partition(distance[few], nearest, axis=1)[:, nearest]
    return np.asarray(distance <= reach[:, None])


def _polynomial(u: Floats, y: Floats, weight: Floats, degree: int) -> Floats:
    """Weighted least-squares polynomial of each row, (replicates, degree + 1)."""
    scale = max(float(np.abs(u[weight > 0]).max()), 1e-300)
    powers = [weight]
    for _ in range(2 * degree):
        powers.append(powers[-1] * (u / scale))
    sums = np.stack([p.sum(axis=1) for p in powers], axis=-1)
    right = np.stack([(p * y).sum(axis=1) for p in powers[: degree + 1]], axis=-1)
    index = np.arange(degree + 1)
    return solve(sums[:, index[:, None] + index], right) / scale**index


def _vertex(c: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The local minimum of each parabola or cubic, and whether there is one.

    −c1 / (c2 + sqrt(c2² − 3 c1 c3)), which is −c1 / (2 c2) for a parabola.
    """
    cubic = c[:, 3] if c.shape[1] > 3 else 0.0
    inner = c[:, 2] ** 2 - 3 * c[:, 1] * cubic
    below = c[:, 2] + np.sqrt(np.maximum(inner, 0.0))
    opens = (inner > 0) & (np.abs(below) > 1e-12)
    return -c[:, 1] / np.where(opens, below, 1.0), opens
