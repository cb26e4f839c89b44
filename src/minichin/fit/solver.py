"""Minimise the objective of approach 3 from many starts, or for many reweighted tables, at once.

Decisions
- Every start is one slice of a leading axis.  A round takes one damped step a start and evaluates objective,
  gradient and Hessian there in one pass.  The step is Newton's, with the exact Hessian; where that is not
  positive definite, or its step was refused, it is Gauss–Newton's with Huber (IRLS) weights.
- Parameters stay in the problem's box; one that presses against a side is held there, and reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minichin.fit.problem import OVERFLOWS, Problem, derivatives, terms
from minichin.law import Floats

LONGEST = np.array([1.0, 2.0, 2.0, 0.5, 0.5])  # of a step, by component
BLOCK = 1 << 15  # rows × starts evaluated at once: a few arrays of this size fit a core's cache
STUCK = 1e12  # damping at which no step is left to try


@dataclass(frozen=True)
class Solution:
    """Where each start ended: theta (starts, 5), objective, scaled gradient, and sides it presses against.

    The scaled gradient is the largest component of the gradient, each over the largest value it could have:
    0 at a stationary point, at most 1.
    """

    theta: Floats
    objective: Floats
    gradient: Floats
    at_bound: NDArray[np.bool_]

    def take(self, index: NDArray[np.int64]) -> Solution:
        """The starts of an index."""
        return Solution(*(getattr(self, name)[index] for name in Solution.__dataclass_fields__))


@dataclass
class _State:
    """Starts in the race: theta, objective, gradient, Hessian, damping, and whether Newton was refused."""

    theta: Floats
    value: Floats
    gradient: Floats
    hessian: Floats
    damping: Floats
    refused: NDArray[np.bool_]

    def take(self, keep: NDArray[np.bool_]) -> _State:
        """Those of a mask."""
        return _State(*(getattr(self, name)[keep] for name in _State.__dataclass_fields__))


@dataclass(frozen=True)
class _Tables:
    """What differs between starts: weights and noise on ln L (s, rows), directions (s, 5, k)."""

    weight: Floats
    noise: Floats | None
    basis: Floats | None

    def take(self, keep: NDArray[np.bool_]) -> _Tables:
        """Those of a mask; a basis of two axes serves all."""
        noise = None if self.noise is None else self.noise[keep]
        basis = self.basis if self.basis is None or self.basis.ndim == 2 else self.basis[keep]
        return _Tables(self.weight[keep], noise, basis)


def minimise(
    problem: Problem,
    starts: Floats,
    weight: Floats | None = None,
    noise: Floats | None = None,
    rounds: int = 200,
    tolerance: float = 1e-13,
    basis: Floats | None = None,
) -> Solution:
    """Advance all `starts` (s, 5; centred) to local minima; `weight` is (rows,) or (s, rows).

    `noise` (s, rows) is added to ln L.  A start has arrived when the next step would lower its objective by
    less than `tolerance` of it.  With `basis`, (5, k) or (s, 5, k), steps stay in the span of its columns,
    the first three of which are the unit vectors of E, a and b: other combinations of parameters are kept.
    """
    rows, count = problem.x.size, len(starts)
    weights = np.broadcast_to(np.ones(rows) if weight is None else weight, (count, rows))
    size = max(1, BLOCK // rows)
    parts = []
    for i in range(0, count, size):
        part = slice(i, i + size)
        tables = _Tables(
            weights[part],
            None if noise is None else noise[part],
            basis if basis is None or basis.ndim == 2 else basis[part],
        )
        parts.append(_minimise_block(problem, starts[part], tables, rounds, tolerance))
    return Solution(*(np.concatenate([getattr(p, n) for p in parts]) for n in Solution.__dataclass_fields__))


def _minimise_block(
    problem: Problem, starts: Floats, tables: _Tables, rounds: int, tolerance: float
) -> Solution:
    """One block of `minimise`; starts that have arrived leave the race, so that late ones cost little."""
    low, high = problem.box
    theta = np.clip(starts, low, high)
    value = np.empty(len(theta))
    racing, mine = np.arange(len(theta)), tables
    state = _State(
        theta.copy(),
        *derivatives(problem, theta, tables.weight, tables.noise),
        np.full(len(theta), 1e-3),
        np.zeros(len(theta), dtype=bool),
    )
    for _ in range(rounds):
        step, gain, newton = _step(problem, state, mine)
        trial = np.clip(state.theta + step, low, high)
        new = derivatives(problem, trial, mine.weight, mine.noise)
        better = new[0] < state.value
        arrived = newton & (gain <= tolerance * state.value) & (state.damping <= 1e-3)
        good = state.value - new[0] > 0.5 * gain
        state.damping = np.where(
            better, state.damping * np.where(good, 0.1, 1.0), np.maximum(state.damping, 1e-6) * 10.0
        )
        state.refused = ~better & ~state.refused
        for name, fresh in zip(("theta", "value", "gradient", "hessian"), (trial, *new), strict=True):
            getattr(state, name)[better] = fresh[better]
        theta[racing], value[racing] = state.theta, state.value
        going = ~arrived & (state.damping < STUCK)
        if not going.all():
            state, mine, racing = state.take(going), mine.take(going), racing[going]
        if not racing.size:
            break
    return _certified(problem, theta, value, tables)


@OVERFLOWS
def _step(problem: Problem, state: _State, tables: _Tables) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Step (s, 5), the decrease that its quadratic model promises, and whether the model was Newton's."""
    held = _pressing(problem, state.theta, state.gradient)
    step, gain, definite = _solve(state.hessian, state.gradient, held, state.damping, tables.basis)
    newton = definite & ~state.refused
    rest = ~newton
    if rest.any():
        few = tables.take(rest)
        matrix = derivatives(problem, state.theta[rest], few.weight, few.noise, gauss=True)[2]
        step[rest], gain[rest], _ = _solve(
            matrix, state.gradient[rest], held[rest], state.damping[rest], few.basis
        )
    step = np.where(np.isfinite(step).all(axis=1, keepdims=True), step, 0.0)
    return np.clip(step, -LONGEST, LONGEST), gain, newton


def _solve(
    matrix: Floats, gradient: Floats, held: NDArray[np.bool_], damping: Floats, basis: Floats | None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Solve (M + damping · diag|M|) step = −g in units where diag|M| = 1, for all starts at once.

    Also the decrease gᵀ step / −2, and whether all pivots were positive.  Held parameters do not move.
    """
    if basis is not None:
        matrix = np.swapaxes(basis, -1, -2) @ matrix @ basis
        gradient = (gradient[:, None] @ basis)[:, 0]
        held = np.pad(held[:, :3], ((0, 0), (0, gradient.shape[1] - 3)))
    size = gradient.shape[1]
    index = np.arange(size)
    scale = np.sqrt(np.abs(matrix[:, index, index])) + 1e-150
    unit = matrix / scale[:, :, None] / scale[:, None, :]
    free = ~held
    unit *= free[:, :, None] & free[:, None, :]
    unit[:, index, index] += damping[:, None] + held
    right = np.where(held, 0.0, -gradient / scale)
    solved, definite = eliminate(np.ascontiguousarray(unit.transpose(1, 2, 0)), right.T.copy())
    step = np.where(free, solved.T / scale, 0.0)
    gain = -0.5 * (gradient * step).sum(axis=1)
    if basis is not None:
        step = (basis @ step[:, :, None])[:, :, 0]
    return step, gain, definite


def eliminate(matrix: Floats, right: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Solve symmetric (k, k, s) with (k, s) in place by LDLᵀ; False where a pivot is not positive."""
    definite = np.ones(right.shape[1], dtype=bool)
    size = len(right)
    for j in range(size):
        definite &= matrix[j, j] > 1e-14
        matrix[j, j] = np.where(definite, matrix[j, j], 1.0)
        factor = np.where(definite, matrix[j + 1 :, j] / matrix[j, j], 0.0)
        matrix[j + 1 :, j + 1 :] -= factor[:, None] * matrix[j, j + 1 :]
        right[j + 1 :] -= factor * right[j]
    for j in range(size - 1, -1, -1):
        right[j] -= (matrix[j, j + 1 :] * right[j + 1 :]).sum(axis=0)
        right[j] /= matrix[j, j]
    return right, definite


def _pressing(problem: Problem, theta: Floats, gradient: Floats) -> NDArray[np.bool_]:
    """Parameters at a side of the box whose gradient pushes outwards."""
    low, high = problem.box
    return np.asarray(((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0)))


@OVERFLOWS
def _certified(problem: Problem, theta: Floats, value: Floats, tables: _Tables) -> Solution:
    """The scaled gradient, and the sides that are pressed against, where the starts ended."""
    parts = terms(problem, theta)
    total = parts[0] + parts[1] + parts[2]
    residual = np.log(total) - problem.target - (0.0 if tables.noise is None else tables.noise)
    psi = tables.weight * np.clip(residual, -problem.delta, problem.delta)
    shares = np.stack([1.0 / total, parts[1] / total, parts[2] / total])
    slopes = (psi * shares) @ problem.features[:, :3]
    sizes = (tables.weight * shares) @ np.abs(problem.features[:, :3])
    gradient, most = (
        np.stack([m[0, :, 0], m[1, :, 0], m[2, :, 0], sign * m[1, :, 1], sign * m[2, :, 2]], axis=1)
        for m, sign in ((slopes, -1.0), (sizes, 1.0))
    )
    held = _pressing(problem, theta, gradient)
    gradient = np.where(held, 0.0, gradient)
    if tables.basis is not None:
        gradient, most = (
            (gradient[:, None] @ tables.basis)[:, 0],
            (most[:, None] @ np.abs(tables.basis))[:, 0],
        )
    scaled = np.abs(gradient) / np.maximum(min(problem.delta, 1.0) * most, 1e-300)
    return Solution(theta, value, scaled.max(axis=1), held)
