"""The shared-exponent valley: at fixed compute the law itself, with alpha and beta common to all budgets.

Decisions
- On a budget C = k N D the law is loss = E + A / N^alpha + B / D^beta = E_c + a_c e^(beta z) +
  b_c e^(−alpha z), z = ln N − centre: the data term grows with N as tokens run out, the model term falls.
  E_c, a_c, b_c ≥ 0 are each budget's own, alpha and beta are shared, so that all budgets together tell the
  valley's skewness, and each its floor.  E_c is not tied between budgets.
- Variable projection: given alpha and beta each budget is linear.  With the means taken out it has two
  unknowns, (a, b), in the triangle a, b, E ≥ 0, so that the constrained optimum is the free one or the best
  of three edges: exact, without an iterative solver.
- What is left depends on ln alpha and ln beta alone, which damped Gauss–Newton steps find for all replicates
  at once, by differences, since two columns of them are cheap.  The table starts from the best of a grid;
  replicates from the table's optimum, or a point of a coarse grid where that is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import solve
from minichin.fit.valley import Floor, Group, edges, present, read_off
from minichin.law import Floats

LEAST, MOST = 0.05, 3.0
FINE, COARSE = 10, 3
STEPS = 40
DIFFERENCE, CLOSE, GAIN = 1e-6, 1e-7, 1e-10
BLOCK = 100_000


class Cells(NamedTuple):
    """All budgets' cells, padded to one length by weight 0: z (1, budgets, cells), and a row a replicate of
    losses and weights (replicates, budgets, cells)."""

    z: Floats
    loss: Floats
    weight: Floats

    def take(self, rows: NDArray[Any] | slice) -> Cells:
        """Some of the replicates."""
        return Cells(self.z, self.loss[rows], self.weight[rows])


class Projection(NamedTuple):
    """The best E, a, b (replicates, budgets, 3) at given exponents, and what is left of the losses, times
    √weight (replicates, budgets · cells)."""

    coefficients: Floats
    left: Floats

    @property
    def squares(self) -> Floats:
        """Weighted sum of squares, (replicates,)."""
        return np.asarray((self.left**2).sum(axis=-1))


def fit_shared(
    groups: Sequence[Group], losses: Sequence[Floats], weights: Sequence[Floats | None]
) -> list[Floor]:
    """Fit all budgets together for each row of `losses` (replicates, cells); the floors, in logarithms.

    `weights` say how often each cell counts (replicates, cells); None: its number of seeds.
    """
    table = _lay_out(groups, [g.loss[None, :] for g in groups], [None] * len(groups))[0]
    grid = _grid(FINE)
    point = _refine(table, grid[[np.argmin(_project(table, grid).squares)]])
    starts = np.concatenate([point, _grid(COARSE)])
    step = max(1, BLOCK // table.z.size)
    parts = []
    for first in range(0, len(losses[0]), step):
        block = slice(first, first + step)
        parts.append(
            _fit_block(
                groups, [y[block] for y in losses], [w if w is None else w[block] for w in weights], starts
            )
        )
    return [_join(floors) for floors in zip(*parts, strict=True)]


def _fit_block(
    groups: Sequence[Group], losses: Sequence[Floats], weights: Sequence[Floats | None], starts: Floats
) -> list[Floor]:
    """The floors of a block of replicates."""
    cells, presence = _lay_out(groups, losses, weights)
    logs = _refine(cells, _best_start(cells, starts))
    coefficients = _project(cells, logs).coefficients
    return [
        _floor(group, np.exp(logs), coefficients[:, i], there, enough)
        for i, (group, (there, enough)) in enumerate(zip(groups, presence, strict=True))
    ]


def _lay_out(
    groups: Sequence[Group], losses: Sequence[Floats], weights: Sequence[Floats | None]
) -> tuple[Cells, list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]]:
    """The cells as rectangles, and of each budget which cells are there and whether they are enough."""
    most = max(group.x.size for group in groups)
    shape = (len(losses[0]), len(groups), most)
    z, loss, weight, presence = np.zeros((1, *shape[1:])), np.zeros(shape), np.zeros(shape), []
    for i, (group, y, given) in enumerate(zip(groups, losses, weights, strict=True)):
        counts, there, enough = present(group, y, given, 3)
        used = slice(group.x.size)
        z[0, i, used], loss[:, i, used] = group.x - _middle(group), y
        weight[:, i, used] = counts * enough[:, None]
        presence.append((there, enough))
    return Cells(z, loss, weight), presence


def _grid(points: int) -> Floats:
    """ln alpha, ln beta of a square grid, (points², 2)."""
    logs = np.linspace(np.log(0.1), np.log(1.5), points)
    return np.stack(np.meshgrid(logs, logs, indexing="ij"), axis=-1).reshape(-1, 2)


def _best_start(cells: Cells, starts: Iterable[Floats]) -> Floats:
    """Of `starts` (ln alpha, ln beta) the one of least squares, a row a replicate."""
    best, squares = np.zeros((len(cells.loss), 2)), np.full(len(cells.loss), np.inf)
    for start in starts:
        trial = _project(cells, start[None, :]).squares
        better = trial < squares
        best[better], squares[better] = start, trial[better]
    return best


def _refine(cells: Cells, logs: Floats) -> Floats:
    """Damped Gauss–Newton on ln alpha, ln beta; a replicate that has arrived is left alone."""
    low, high = np.log(LEAST), np.log(MOST)
    done, open_ = logs.copy(), np.arange(len(logs))
    damping, here = np.full(len(logs), 1e-3), _project(cells, logs)
    for _ in range(STEPS):
        tangent = np.stack(
            [
                (_project(cells, logs + nudge).left - here.left) / DIFFERENCE
                for nudge in DIFFERENCE * np.eye(2)
            ],
            axis=1,
        )
        down = -np.einsum("rik,rk->ri", tangent, here.left)
        stuck = ((logs <= low) & (down < 0)) | ((logs >= high) & (down > 0))
        tangent = np.where(stuck[:, :, None], 0.0, tangent)
        hessian = tangent @ tangent.transpose(0, 2, 1)
        lift = np.einsum("rii->ri", hessian) * damping[:, None] + stuck + 1e-14
        step = solve(hessian + lift[:, :, None] * np.eye(2), np.where(stuck, 0.0, down))
        trial = np.clip(logs + np.clip(step, -1.0, 1.0), low, high)
        there = _project(cells, trial)
        gain = here.squares - there.squares
        better = gain >= 0
        settled = better & (damping < 0.1) & (gain <= GAIN * here.squares)
        going = ~settled & (np.abs(trial - logs).max(axis=1) > CLOSE)
        logs = np.where(better[:, None], trial, logs)
        left = np.where(better[:, None], there.left, here.left)
        damping = np.where(better, np.maximum(damping * 0.1, 1e-9), damping * 10)
        done[open_] = logs
        if not going.any():
            break
        open_, logs, damping, cells = open_[going], logs[going], damping[going], cells.take(going)
        here = Projection(here.coefficients, left[going])
    return done


def _project(cells: Cells, logs: Floats) -> Projection:
    """Least squares with E, a, b ≥ 0 for every replicate and budget, at exponents exp(`logs`).

    One row of `logs` serves all replicates, one replicate all rows of `logs`.
    """
    alpha, beta = np.exp(logs)[:, :, None, None].swapaxes(0, 1)
    columns = (np.exp(beta * cells.z), np.exp(-alpha * cells.z))
    weight = cells.weight
    total = np.maximum(weight.sum(axis=-1), 1e-300)
    p_mean, q_mean, mean = (np.einsum("...m,...m->...", weight, c) / total for c in (*columns, cells.loss))
    p, q = columns[0] - p_mean[..., None], columns[1] - q_mean[..., None]
    y = cells.loss - mean[..., None]
    wp, wq = weight * p, weight * q
    pp, pq, qq, py, qy = (
        np.einsum("...m,...m->...", *pair) for pair in ((wp, p), (wp, q), (wq, q), (wp, y), (wq, y))
    )
    det = np.maximum(pp * qq - pq**2, 1e-15 * pp * qq + 1e-300)
    a, b = (qq * py - pq * qy) / det, (pp * qy - pq * py) / det
    bad = (a < 0) | (b < 0) | (mean < a * p_mean + b * q_mean)
    if bad.any():
        most = np.maximum(np.broadcast_to(mean, bad.shape)[bad], 0.0)  # noise may have made a loss negative
        corners = most / p_mean[bad], most / q_mean[bad]
        a[bad], b[bad] = _on_edge([v[bad] for v in (pp, pq, qq, py, qy)], *corners)
    left = np.sqrt(weight) * (y - a[..., None] * p - b[..., None] * q)
    return Projection(np.stack([mean - a * p_mean - b * q_mean, a, b], axis=-1), left.reshape(len(left), -1))


def _on_edge(products: Sequence[Floats], a_most: Floats, b_most: Floats) -> tuple[Floats, Floats]:
    """The best (a, b) on the three edges of the triangle (0, 0), (a_most, 0), (0, b_most)."""
    pp, pq, qq, py, qy = products
    zero, best = np.zeros_like(pp), np.full(pp.shape, np.inf)
    a, b = zero, zero
    for a0, b0, da, db in (
        (zero, zero, a_most, zero),
        (zero, zero, zero, b_most),
        (a_most, zero, -a_most, b_most),
    ):
        slope = da * (py - pp * a0 - pq * b0) + db * (qy - pq * a0 - qq * b0)
        bend = pp * da**2 + 2 * pq * da * db + qq * db**2
        t = np.clip(slope / np.maximum(bend, 1e-300), 0.0, 1.0)
        ta, tb = a0 + t * da, b0 + t * db
        cost = pp * ta**2 + 2 * pq * ta * tb + qq * tb**2 - 2 * (py * ta + qy * tb)
        better = cost < best
        a, b, best = np.where(better, ta, a), np.where(better, tb, b), np.where(better, cost, best)
    return a, b


def _floor(
    group: Group, exponents: Floats, coefficients: Floats, there: NDArray[np.bool_], enough: NDArray[np.bool_]
) -> Floor:
    """The minimum of E + a e^(beta z) + b e^(−alpha z): z = ln(alpha b / (beta a)) / (alpha + beta)."""
    alpha, beta = exponents.T
    a, b = coefficients[:, 1:].T
    tiny = 1e-10 * (a + b) + 1e-300
    both = (a > tiny) & (b > tiny)
    log_ratio = np.log(alpha / beta) + np.log(np.maximum(b, tiny)) - np.log(np.maximum(a, tiny))
    vertex = _middle(group) + log_ratio / (alpha + beta)
    low, high = edges(group.x, there)
    bracketed = both & (vertex > low) & (vertex < high)
    center = np.full(len(a), _middle(group))
    return read_off(
        group, np.clip(vertex, low, high), bracketed, center, coefficients, there, enough, exponents
    )


def _join(floors: Sequence[Floor]) -> Floor:
    """The floors of one budget from all blocks."""
    columns: dict[str, Any] = {}
    for field in fields(Floor):
        values = [getattr(floor, field.name) for floor in floors]
        columns[field.name] = None if values[0] is None else np.concatenate(values)
    return Floor(**columns)


def _middle(group: Group) -> float:
    """Where z = 0: halfway between the smallest and the largest size."""
    return float(group.x[0] + group.x[-1]) / 2
