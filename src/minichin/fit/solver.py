"""Minimise the summed Huber loss of the log-sum-exp law from many starts at once.

Decisions
- Unknowns are theta = (e, a, b, alpha, beta): predicted ln L = logsumexp(e, a − alpha x, b − beta y), where
  x and y are ln N and ln D less their means.  Centring takes out the near-collinearity of a with alpha, and
  makes a change of units of N or D leave the problem exactly as it was.
- The objective is the SUM over rows of weight · Huber_delta(predicted − observed ln L), not the mean: an
  optimiser that stops on absolute tolerances stops early on the mean (Besiroglu et al. 2024).
- Every start is one slice of a leading axis.  Each round tries two damped steps a start and takes the
  better: Newton's with the exact Hessian, which ends in a few rounds near a minimum, and Gauss–Newton with
  Huber weights, which always descends far from one.  A start whose steps cannot lower the objective has
  converged or is stuck; its gradient tells which.
- Parameters stay in a box; one that presses against a side is held there, and reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import solve
from minichin.law import Floats

EXPONENT_RANGE = (0.01, 3.0)
CHUNK = 256


@dataclass(frozen=True)
class Problem:
    """Rows of the fit: centred ln N and ln D, ln L, the Huber threshold, and the box (2, 5)."""

    x: Floats
    y: Floats
    target: Floats
    delta: float
    box: Floats
    mean_x: float
    mean_y: float

    @classmethod
    def build(cls, log_n: Floats, log_d: Floats, log_loss: Floats, delta: float) -> Problem:
        """Centre the design, and bound each term between a negligible and an absurd share of the loss."""
        low, high = float(log_loss.min()), float(log_loss.max())
        least, most = EXPONENT_RANGE
        box = np.array(
            [[low - 9, low - 14, low - 14, least, least], [high, high + 10, high + 10, most, most]]
        )
        mean_x, mean_y = float(log_n.mean()), float(log_d.mean())
        return cls(log_n - mean_x, log_d - mean_y, log_loss, delta, box, mean_x, mean_y)

    def centre(self, theta: Floats) -> Floats:
        """(e, ln A, ln B, alpha, beta) → theta, put into the box."""
        moved = np.array(theta, dtype=np.float64)
        moved[..., 1] -= moved[..., 3] * self.mean_x
        moved[..., 2] -= moved[..., 4] * self.mean_y
        return np.clip(moved, self.box[0], self.box[1])

    def uncentre(self, theta: Floats) -> Floats:
        """Theta → (e, ln A, ln B, alpha, beta)."""
        moved = np.array(theta, dtype=np.float64)
        moved[..., 1] += moved[..., 3] * self.mean_x
        moved[..., 2] += moved[..., 4] * self.mean_y
        return moved


@dataclass(frozen=True)
class Solution:
    """Where each start ended: theta (starts, 5), objective, scaled gradient, and sides it presses against."""

    theta: Floats
    objective: Floats
    gradient: Floats
    at_bound: NDArray[np.bool_]


def predict(problem: Problem, theta: Floats) -> tuple[Floats, Floats]:
    """Predicted ln L (starts, rows), and each term's share of L (3, starts, rows)."""
    terms = np.stack(
        [
            np.broadcast_to(theta[:, 0, None], (len(theta), problem.x.size)),
            theta[:, 1, None] - theta[:, 3, None] * problem.x,
            theta[:, 2, None] - theta[:, 4, None] * problem.y,
        ]
    )
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    return top + np.log(total), shares / total


def objective(problem: Problem, theta: Floats, weight: Floats) -> Floats:
    """Σ weight · Huber_delta(predicted ln L − ln L), one number a start."""
    size = np.abs(predict(problem, theta)[0] - problem.target)
    delta = problem.delta
    huber = np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
    return np.asarray((weight * huber).sum(axis=1))


def derivatives(problem: Problem, theta: Floats, weight: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Gradient (s, 5), its largest possible value (s, 5), exact Hessian and Gauss–Newton matrix (s, 5, 5)."""
    predicted, (p0, p1, p2) = predict(problem, theta)
    residual = predicted - problem.target
    x, y, delta = problem.x, problem.y, problem.delta
    jacobian = np.stack([p0, p1, p2, -x * p1, -y * p2], axis=1)
    psi = weight * np.clip(residual, -delta, delta)
    gradient = np.einsum("sn,sin->si", psi, jacobian)
    most = delta * np.einsum("sn,sin->si", np.broadcast_to(weight, psi.shape), np.abs(jacobian))
    irls = weight * np.minimum(1.0, delta / np.maximum(np.abs(residual), 1e-300))
    transposed = jacobian.swapaxes(1, 2)
    gauss = (jacobian * irls[:, None]) @ transposed
    inside = weight * (np.abs(residual) <= delta) - psi
    hessian = (jacobian * inside[:, None]) @ transposed
    s0, s1, s2 = psi * p0, psi * p1, psi * p2
    for i, j, value in (
        (0, 0, s0),
        (1, 1, s1),
        (2, 2, s2),
        (1, 3, -x * s1),
        (3, 3, x * x * s1),
        (2, 4, -y * s2),
        (4, 4, y * y * s2),
    ):
        hessian[:, i, j] += value.sum(axis=1)
        if i != j:
            hessian[:, j, i] += value.sum(axis=1)
    return gradient, most, hessian, gauss


def minimise(
    problem: Problem,
    starts: Floats,
    weight: Floats | None = None,
    rounds: int = 200,
    tolerance: float = 1e-11,
) -> Solution:
    """Advance all `starts` (s, 5; centred) to local minima; `weight` is (rows,) or (s, rows).

    A start has arrived when no component of its scaled gradient exceeds `tolerance`.
    """
    rows = problem.x.size
    weights = np.broadcast_to(np.ones(rows) if weight is None else weight, (len(starts), rows))
    parts = [
        _minimise_chunk(problem, starts[i : i + CHUNK], weights[i : i + CHUNK], rounds, tolerance)
        for i in range(0, len(starts), CHUNK)
    ]
    joined = [np.concatenate([getattr(p, name) for p in parts]) for name in Solution.__dataclass_fields__]
    return Solution(*joined)


def _minimise_chunk(
    problem: Problem, starts: Floats, weight: Floats, rounds: int, tolerance: float
) -> Solution:
    """One chunk of `minimise`; finished starts leave the race, so that late ones cost little."""
    theta = np.clip(starts, problem.box[0], problem.box[1])
    value = objective(problem, theta, weight)
    damping = np.full((2, len(theta)), 1e-3)
    racing = np.arange(len(theta))
    for _ in range(rounds):
        here, w = theta[racing], weight[racing]
        gradient, most, hessian, gauss = derivatives(problem, here, w)
        gradient, held = _hold(problem, here, gradient)
        going = _scaled(gradient, most).max(axis=1) > tolerance
        going &= damping[:, racing].min(axis=0) < 1e10
        racing, here, w, held = racing[going], here[going], w[going], held[going]
        if racing.size == 0:
            break
        gradient, hessian, gauss = gradient[going], hessian[going], gauss[going]
        best = value[racing].copy()
        moved = here.copy()
        for kind, matrix in enumerate((hessian, gauss)):
            step = _step(matrix, gauss, gradient, held, damping[kind, racing])
            trial = np.clip(here + step, problem.box[0], problem.box[1])
            trial_value = objective(problem, trial, w)
            better = trial_value < value[racing]
            damping[kind, racing] *= np.where(better, 0.2, 5.0)
            wins = trial_value < best
            moved[wins], best[wins] = trial[wins], trial_value[wins]
        theta[racing], value[racing] = moved, best
        damping = np.maximum(damping, 1e-14)
    gradient, most, _, _ = derivatives(problem, theta, weight)
    gradient, held = _hold(problem, theta, gradient)
    return Solution(theta, value, _scaled(gradient, most).max(axis=1), held)


def _hold(problem: Problem, theta: Floats, gradient: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Zero the gradient of parameters that press against a side of the box; which those are."""
    held = ((theta <= problem.box[0]) & (gradient > 0)) | ((theta >= problem.box[1]) & (gradient < 0))
    return np.where(held, 0.0, gradient), held


def _scaled(gradient: Floats, most: Floats) -> Floats:
    """Gradient over the largest value that it could have: between 0 (stationary) and 1."""
    return np.asarray(np.abs(gradient) / np.maximum(most, 1e-300))


def _step(
    matrix: Floats, scale: Floats, gradient: Floats, held: NDArray[np.bool_], damping: Floats
) -> Floats:
    """Solve (matrix + damping · diag(scale)) step = −gradient for the free parameters, in natural units."""
    diagonal = np.sqrt(np.einsum("sii->si", scale)) + 1e-150
    diagonal = np.where(held, 1.0, diagonal)
    free = ~held
    unit = matrix / diagonal[:, :, None] / diagonal[:, None, :] * free[:, :, None] * free[:, None, :]
    index = np.arange(5)
    unit[:, index, index] += damping[:, None] + held + 1e-15
    step = solve(unit, -gradient / diagonal)
    return np.asarray(np.clip(step / diagonal, -2.0, 2.0) * free)
