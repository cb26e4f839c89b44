"""Copies of a table, redrawn or with new noise, and the surfaces that fit them: the bootstrap of approach 3.

Decisions
- Copies are drawn and refitted in blocks that fit a core's cache.  Each is fitted from the table's own
  optimum (`refit`); those that do not arrive go on together in the general solver.
- Below a hundred rows a copy's lowest minimum may be another one than the table's: there every copy is also
  fitted from other starts, and the lowest of the ends is kept.
- Under `noise` a copy's losses are the fitted surface's, with new noise of the size of the residuals: seeds
  apart and, beyond what these explain, whole cells; its size is drawn anew for each copy, as in Student's
  t.
- Above fifty thousand rows replicates are drawn from the normal distribution that the bootstrap tends to,
  with the sandwich covariance H⁻¹ G H⁻¹ (Huber 1967), G summed over the same units.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import Noise, draw_weights, estimate_noise, leave_one_out, unit_labels
from minichin.fit.problem import Problem, derivatives, huber_moments, predict, terms
from minichin.fit.refit import refit
from minichin.fit.solver import Solution, minimise
from minichin.fit.table import Points
from minichin.law import Floats

SMALL = 100  # rows below which copies are fitted from several starts
ASYMPTOTIC = 50_000  # rows above which they are not fitted, but drawn
BLOCK = 1 << 17  # rows × copies of one block
WAITING = 1 << 21  # rows × copies that may wait for the general solver
GROUPS = 500  # units of a jackknife, at most; a tenth of it where replicates are not fitted
ROUNDS, TOLERANCE = 60, 1e-6
GLANCE = 10, 1e-2  # rounds and tolerance after which another start is judged


@dataclass(frozen=True)
class Optimum:
    """A problem, its optimum (5,), and other places (k, 5) that a copy's optimum may be near."""

    problem: Problem
    theta: Floats
    others: Floats

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return int(self.problem.x.size)


def replicates(at: Optimum, data: Points, resample: str, count: int, seed: int) -> Floats:
    """Optima (count, 5), centred, of `count` copies of the table drawn by `resample`."""
    if count == 0:
        return np.empty((0, 5))
    rng = np.random.default_rng(seed)
    if at.rows > ASYMPTOTIC:
        return _asymptotic(at, unit_labels(data, "rows" if resample == "noise" else resample), count, rng)
    if resample == "noise":
        return _fit_all(at, _noisy(at, data, count, rng))
    return _fit_all(at, _drawn(at, unit_labels(data, resample), count, rng))


def jackknife(at: Optimum, data: Points, resample: str) -> Floats:
    """Optima (units, 5) of the table with one unit left out each; a group of units where there are many."""
    labels = unit_labels(data, "rows" if resample == "noise" else resample)
    most = GROUPS if at.rows <= ASYMPTOTIC else GROUPS // 10
    labels = labels % most if int(labels.max()) >= most else labels
    size = _block_size(at)
    every = range(0, int(labels.max()) + 1, size)
    return _fit_all(at, ((leave_one_out(labels, range(i, i + size)), None) for i in every))


Copies = Iterator[tuple[Floats, Floats | None]]


def _block_size(at: Optimum) -> int:
    return max(64 if at.rows <= ASYMPTOTIC else 1, BLOCK // at.rows)


def _drawn(at: Optimum, labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> Copies:
    """Blocks of integer weights."""
    size = _block_size(at)
    for i in range(0, count, size):
        yield draw_weights(rng, labels, min(size, count - i)), None


def _noisy(at: Optimum, data: Points, count: int, rng: np.random.Generator) -> Copies:
    """Blocks of new noise, as what it adds to the observed ln L; no weights."""
    residual = predict(at.problem, at.theta[None])[0] - at.problem.target
    noise = residual_noise(residual, data.cells, at.problem.delta)
    cells, size = data.cells, _block_size(at)
    spread = noise.spread(rng, count)
    for i in range(0, count, size):
        scale = spread[i : i + size]
        draws = rng.standard_normal((len(scale), at.rows)) * (np.sqrt(noise.between_seeds) * scale)
        if noise.lack_of_fit:
            common = rng.standard_normal((len(scale), int(cells.max()) + 1))[:, cells]
            draws += common * (np.sqrt(noise.lack_of_fit) * scale)
        draws += residual
        yield np.ones_like(draws), draws


def residual_noise(residual: Floats, cells: NDArray[np.int64], delta: float) -> Noise:
    """The noise of ln L from a fit's residuals; those beyond 3 robust standard deviations count as that far.

    Five parameters take 5 degrees of freedom from the squares under least squares, and fewer under Huber's
    loss, whose estimates are farther from the rows' best by E psi² / (E psi')² − 1.
    """
    robust = 1.4826 * float(np.median(np.abs(residual)))
    residual = np.clip(residual, -3 * robust, 3 * robust)
    seeds = np.bincount(cells)
    mean = np.bincount(cells, residual) / seeds
    slope, square = huber_moments(delta / robust if robust else np.inf)
    found = estimate_noise(
        float(((residual - mean[cells]) ** 2).sum()),
        len(residual) - len(seeds),
        float((mean**2).sum()),
        max(len(seeds) - 5, 1),
        float((1 / seeds).mean()),
        extra=5 * (square / slope**2 - 1),
    )
    assert found is not None
    return found


def _fit_all(at: Optimum, copies: Copies) -> Floats:
    """Optima of all copies, in their order."""
    found, late, waiting = [], [], 0
    for weight, noise in copies:
        theta, value, arrived = refit(at.problem, at.theta, weight, noise)
        if at.rows < SMALL and len(at.others):
            theta = _lowest(at, theta, np.where(arrived, value, np.inf), weight, noise)
        elif not arrived.all():
            rest = ~arrived
            late.append((theta, rest, weight[rest], None if noise is None else noise[rest]))
            waiting += int(rest.sum()) * at.rows
            if waiting > WAITING:
                _finish(at, late)
                late, waiting = [], 0
        found.append(theta)
    _finish(at, late)
    return np.concatenate(found)


Late = list[tuple[Floats, NDArray[np.bool_], Floats, Floats | None]]


def _finish(at: Optimum, late: Late) -> None:
    """Fit the copies that did not arrive by the general solver, in place."""
    if not late:
        return
    weight = np.concatenate([part[2] for part in late])
    given = [part[3] for part in late if part[3] is not None]
    noise = np.concatenate(given) if given else None
    starts = np.concatenate([theta[rest] for theta, rest, *_ in late])
    ended = minimise(at.problem, starts, weight, noise, ROUNDS, TOLERANCE).theta
    for theta, rest, *_ in late:
        theta[rest], ended = ended[: rest.sum()], ended[rest.sum() :]


def _lowest(at: Optimum, theta: Floats, value: Floats, weight: Floats, noise: Floats | None) -> Floats:
    """The lowest end of each copy: what `refit` found, and where the solver ends from every other start.

    An end that the first rounds bring to where the copy's best is, or nowhere near as low, is not pursued.
    """

    def descend(start: Floats, rows: NDArray[np.int64], rounds: int, tolerance: float) -> Solution:
        part = None if noise is None else noise[rows]
        return minimise(at.problem, start, weight[rows], part, rounds, tolerance)

    def keep(ended: Solution, rows: NDArray[np.int64]) -> None:
        lower = ended.objective < value[rows]
        theta[rows[lower]], value[rows[lower]] = ended.theta[lower], ended.objective[lower]

    rows = np.flatnonzero(~np.isfinite(value))
    if rows.size:
        keep(descend(theta[rows], rows, ROUNDS, TOLERANCE), rows)
    every = np.arange(len(value))
    for start in at.others:
        ended = descend(np.broadcast_to(start, theta.shape), every, *GLANCE)
        apart = np.abs(ended.theta - theta).max(axis=1) > 0.05
        rows = np.flatnonzero(apart & (ended.objective < 1.01 * value))
        if rows.size:
            keep(descend(ended.theta[rows], rows, ROUNDS, TOLERANCE), rows)
    return theta


def _asymptotic(at: Optimum, labels: NDArray[np.int64], count: int, rng: np.random.Generator) -> Floats:
    """Draws from N(theta, H⁻¹ G H⁻¹); parameters at a side of the box stay there."""
    problem, theta = at.problem, at.theta[None]
    hessian = derivatives(problem, theta, np.ones((1, at.rows)))[2][0]
    constant, model, tokens = (term[0] for term in terms(problem, theta))
    total = constant + model + tokens
    slope = np.clip(np.log(total) - problem.target, -problem.delta, problem.delta) / total
    parts = (slope, slope * model, slope * tokens, -slope * model * problem.x, -slope * tokens * problem.y)
    scores = np.stack([np.bincount(labels, part) for part in parts], axis=1)
    inside = (at.theta > problem.box[0]) & (at.theta < problem.box[1])
    bread = np.linalg.inv(hessian[np.ix_(inside, inside)])
    covariance = bread @ (scores[:, inside].T @ scores[:, inside]) @ bread
    drawn = np.tile(theta, (count, 1))
    drawn[:, inside] = rng.multivariate_normal(at.theta[inside], covariance, size=count, method="eigh")
    return np.clip(drawn, *problem.box)
