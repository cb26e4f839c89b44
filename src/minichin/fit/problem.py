"""The objective of approach 3 for many parameter vectors at once: value, gradient, Hessian.

Decisions
- Unknowns are theta = (E, a, b, alpha, beta): predicted ln L = ln(E + exp(a − alpha x) + exp(b − beta y)),
  where x and y are ln N and ln D less their means, and losses are in units of their geometric mean.
  Centring takes out the near-collinearity of a with alpha, and makes a change of units of N, D or L leave
  the problem as it is.
- E itself is the unknown, not ln E: near E = 0 the gradient by ln E vanishes, so that descent seems to
  arrive at ln E → −∞ wherever it comes near (basins that are artefacts), and E = 0 is an answer here like
  any other.
- The objective is the SUM over rows of weight · Huber_delta(predicted − observed ln L), not the mean: an
  optimiser that stops on absolute tolerances stops early on the mean (Besiroglu et al. 2024).  An infinite
  delta makes it least squares.
- All sums over rows are products with the six columns 1, x, y, x², xy, y², so that BLAS does them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minichin.law import Floats

EXPONENT_RANGE = (0.01, 3.0)
OVERFLOWS = np.errstate(over="ignore", divide="ignore", invalid="ignore")  # steps there are refused
NEGLIGIBLE = 40.0  # exp(−40) of the loss is below what float64 can tell


@dataclass(frozen=True)
class Problem:
    """Rows of the fit: centred ln N, ln D and ln L, the Huber threshold, and the box (2, 5) of theta."""

    x: Floats
    y: Floats
    target: Floats
    delta: float
    box: Floats
    mean_x: float
    mean_y: float
    level: float

    @classmethod
    def build(cls, log_n: Floats, log_d: Floats, log_loss: Floats, delta: float) -> Problem:
        """Centre the design, and bound each term between a vanishing and an absurd share of the loss."""
        mean_x, mean_y, level = (float(v.mean()) for v in (log_n, log_d, log_loss))
        target = log_loss - level
        low, high = float(target.min()) - NEGLIGIBLE, float(target.max())
        least, most = EXPONENT_RANGE
        box = np.array([[0.0, low, low, least, least], [np.exp(high), high + 10, high + 10, most, most]])
        return cls(log_n - mean_x, log_d - mean_y, target, delta, box, mean_x, mean_y, level)

    def share(self, count: int) -> Problem:
        """The problem of an even share of `count` of the rows, in the same units and box."""
        rows = self.x.size
        if rows <= count:
            return self
        order = np.argsort(self.x + 0.7 * self.y + 0.1 * self.target, kind="stable")  # however the rows lie
        few = order[np.linspace(0, rows - 1, count).astype(np.int64)]
        return replace(self, x=self.x[few], y=self.y[few], target=self.target[few])

    @cached_property
    def features(self) -> Floats:
        """Columns 1, x, y, x², xy, y²: (rows, 6)."""
        x, y = self.x, self.y
        return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)

    def centre(self, constants: Floats) -> Floats:
        """(E, ln A, ln B, alpha, beta) → theta, put into the box."""
        theta = np.array(constants, dtype=np.float64)
        theta[..., 0] *= np.exp(-self.level)
        theta[..., 1] -= theta[..., 3] * self.mean_x + self.level
        theta[..., 2] -= theta[..., 4] * self.mean_y + self.level
        return np.clip(theta, self.box[0], self.box[1])

    def uncentre(self, theta: Floats) -> Floats:
        """Theta → (E, ln A, ln B, alpha, beta)."""
        constants = np.array(theta, dtype=np.float64)
        constants[..., 0] *= np.exp(self.level)
        constants[..., 1] += constants[..., 3] * self.mean_x + self.level
        constants[..., 2] += constants[..., 4] * self.mean_y + self.level
        return constants


@OVERFLOWS
def predict(problem: Problem, theta: Floats) -> Floats:
    """Predicted ln L less the problem's level, (starts, rows)."""
    constant, model, data = terms(problem, theta)
    return np.asarray(np.log(constant + model + data))


@OVERFLOWS
def objective(problem: Problem, theta: Floats, weight: Floats) -> Floats:
    """Σ weight · Huber_delta(predicted ln L − ln L), one number a start."""
    residual = predict(problem, theta) - problem.target
    clipped = np.clip(residual, -problem.delta, problem.delta)
    return np.asarray((weight * clipped * (residual - 0.5 * clipped)).sum(axis=1))


@OVERFLOWS
def derivatives(
    problem: Problem, theta: Floats, weight: Floats, noise: Floats | None = None, gauss: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Objective (s,), gradient (s, 5), and Hessian or (`gauss`) IRLS-weighted Gauss–Newton matrix (s, 5, 5).

    `weight` is (s, rows), `noise` is added to ln L, (s, rows).  Write p_0 = 1 / L for the slope of ln L by E,
    p_1 and p_2 for the shares of the other terms in L, f for their features (1, −x and 1, −y), psi and kappa
    for Huber's slope and curvature.  The Hessian is Σ (kappa − psi) p_t p_u f_t f_u, plus Σ psi p_t f_t f_t
    for t = 1, 2.
    """
    delta = problem.delta
    constant, p1, p2 = terms(problem, theta)
    total = constant + p1
    total += p2
    residual = np.log(total)
    residual -= problem.target
    if noise is not None:
        residual -= noise
    clipped = np.minimum(residual, delta)
    np.maximum(clipped, -delta, out=clipped)
    psi = weight * clipped
    if gauss:
        bent = np.where(residual == 0, weight, psi / np.where(residual == 0, 1.0, residual))
    else:
        bent = weight * (clipped == residual)
        bent -= psi
    clipped *= -0.5
    clipped += residual
    value = np.einsum("sn,sn->s", psi, clipped)
    p0 = np.reciprocal(total)
    p1 *= p0
    p2 *= p0
    return value, *_assemble(_products(psi, bent, (p0, p1, p2), total, gauss) @ problem.features)


def _products(
    psi: Floats, bent: Floats, shares: tuple[Floats, Floats, Floats], scratch: Floats, gauss: bool
) -> Floats:
    """Rows' parts (9, s, rows): psi p_t; bent p_t p_u plus, unless `gauss`, psi p_t for t = u > 0."""
    p0, p1, p2 = shares
    parts = np.empty((9, *psi.shape))
    for place, p in enumerate((p0, p1, p2)):
        np.multiply(psi, p, out=parts[place])
    np.multiply(bent, p0, out=scratch)
    np.multiply(scratch, p0, out=parts[3])
    np.multiply(scratch, p1, out=parts[4])
    np.multiply(scratch, p2, out=parts[5])
    np.multiply(bent, p1, out=scratch)
    np.multiply(scratch, p1, out=parts[6])
    np.multiply(scratch, p2, out=parts[7])
    np.multiply(bent, p2, out=scratch)
    np.multiply(scratch, p2, out=parts[8])
    if not gauss:
        parts[6] += parts[1]
        parts[8] += parts[2]
    return parts


def huber_moments(threshold: float) -> tuple[float, float]:
    """E psi' and E psi² of Huber's psi at a threshold of so many standard deviations of normal noise.

    E psi² / (E psi')² is by how much the variance of the estimates exceeds that of least squares (Huber
    1964).
    """
    if math.isinf(threshold):
        return 1.0, 1.0
    inside = math.erf(threshold / math.sqrt(2))
    edge = math.sqrt(2 / math.pi) * threshold * math.exp(-(threshold**2) / 2)
    return inside, inside - edge + threshold**2 * (1 - inside)


def terms(problem: Problem, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """The three terms of the law over its level: (s, 1), (s, rows), (s, rows)."""
    constant, a, b, alpha, beta = (theta[:, i, None] for i in range(5))
    model = a - alpha * problem.x
    data = b - beta * problem.y
    return constant, np.exp(model, out=model), np.exp(data, out=data)


def _assemble(sums: Floats) -> tuple[Floats, Floats]:
    """Gradient (s, 5) and matrix (s, 5, 5) from sums (9, s, 6) over rows; columns 1, x, y, x², xy, y²."""
    g0, g1, g2, h00, h01, h02, h11, h12, h22 = sums
    gradient = np.stack([g0[:, 0], g1[:, 0], g2[:, 0], -g1[:, 1], -g2[:, 2]], axis=1)
    upper = {
        (0, 0): h00[:, 0],
        (0, 1): h01[:, 0],
        (0, 2): h02[:, 0],
        (0, 3): -h01[:, 1],
        (0, 4): -h02[:, 2],
        (1, 1): h11[:, 0],
        (1, 2): h12[:, 0],
        (1, 3): -h11[:, 1],
        (1, 4): -h12[:, 2],
        (2, 2): h22[:, 0],
        (2, 3): -h12[:, 1],
        (2, 4): -h22[:, 2],
        (3, 3): h11[:, 3],
        (3, 4): h12[:, 4],
        (4, 4): h22[:, 5],
    }
    matrix = np.empty((len(gradient), 5, 5))
    for (i, j), entry in upper.items():
        matrix[:, i, j] = matrix[:, j, i] = entry
    return gradient, matrix
