"""What runs of given sizes would tell about the frontier, and the set of them that tells most.

Decisions
- Unknowns are theta = (ln E, ln A, ln B, alpha, beta), centred as in `solver`, so that units do not matter.
  The gradient of ln L is J = (p0, p1, p2, -x p1, -y p2): the shares of the three terms in L, and x, y the
  centred ln N and ln D.
- The information of runs is M = sum of J J', in units of one over the noise variance, and a target with
  gradient g is known with variance s² g' M^-1 g.  Everything has a leading axis of surfaces, because the true
  one is not known; what is minimised is the mean of the log variance over them.
- A wide prior (a factor e^3 on each term at the middle of the table, 1 on the exponents) keeps the variance
  finite where the runs say nothing; elsewhere it does not count.
- The noise is taken from the residuals without the largest tenth, which may be of ruined runs.
- The search adds runs one by one, from several rules of how much one run may cost, then exchanges one run at
  a time for the best that the rest of the budget pays for, until no exchange helps.
- The runs found are ordered by what the next one adds per FLOP, so that one can stop anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from minichin.fit.table import Points
from minichin.fit.tangent import optimum_lines
from minichin.law import Floats

PRIOR_SD = np.array([3.0, 3.0, 3.0, 1.0, 1.0])
KEPT = 0.9
DIFFERENCE = 1e-5
BLOCK = 1 << 16  # rows summed at once


@dataclass(frozen=True)
class Design:
    """What is known before new runs: surfaces `theta` (s, 5) centred at `middle`, their information and g."""

    theta: Floats
    middle: tuple[float, float]
    information: Floats
    gradient: Floats
    noise: float

    @classmethod
    def of(cls, surfaces: Floats, data: Points, noise: float, at: float | None) -> Design:
        """Design of the runs in `data` for surfaces (ln E, ln A, ln B, alpha, beta), one a row.

        The target is a, or ln N_opt at `at` FLOPs, as approach 3 reports it by the convention of `data`.
        """
        middle = float(data.log_n.mean()), float(data.log_d.mean())
        theta = np.array(surfaces)
        theta[:, 1:3] -= theta[:, 3:5] * middle
        noise = max(noise, 1e-9)
        information = np.diag((noise / PRIOR_SD) ** 2) + np.stack(
            [_squares(one[None], data.log_n - middle[0], data.log_d - middle[1]) for one in theta]
        )
        return cls(theta, middle, information, _gradient(theta, middle, data, at), noise)

    def sensitivity(self, log_n: Floats, log_d: Floats) -> Floats:
        """J of runs at (`log_n`, `log_d`), shape (surfaces, runs, 5)."""
        return sensitivity(self.theta, log_n - self.middle[0], log_d - self.middle[1])

    def log_variance(self, new: Floats) -> float:
        """Mean over surfaces of ln of the target's variance, with new runs of sensitivity (s, runs, 5)."""
        matrix = self.information + new.swapaxes(1, 2) @ new
        variance = (self.gradient * np.linalg.solve(matrix, self.gradient[..., None])[..., 0]).sum(axis=1)
        return float(np.log(variance).mean() + 2 * np.log(self.noise))

    def standard_error(self, log_n: Floats, log_d: Floats) -> float:
        """Expected standard error of the target with new runs: the geometric mean over surfaces."""
        return float(np.exp(self.log_variance(self.sensitivity(log_n, log_d)) / 2))

    def with_one_more(self, new: Floats, candidates: Floats) -> Floats:
        """`log_variance` with `new` and each one of `candidates`, by the rank-one formula; (candidates,)."""
        inverse = np.linalg.inv(self.information + new.swapaxes(1, 2) @ new)
        pull = (inverse @ self.gradient[..., None])[..., 0]
        variance = (self.gradient * pull).sum(axis=1)
        gain = (candidates @ pull[..., None])[..., 0] ** 2
        gain /= 1.0 + ((candidates @ inverse) * candidates).sum(axis=2)
        left = np.maximum(variance[:, None] - gain, 1e-12 * variance[:, None])
        return np.asarray(np.log(left).mean(axis=0) + 2 * np.log(self.noise))


def sensitivity(theta: Floats, x: Floats, y: Floats) -> Floats:
    """J = ∂ ln L / ∂ theta, shape (surfaces, runs, 5), at centred ln N `x` and ln D `y`."""
    e = np.broadcast_to(theta[:, 0, None], (len(theta), x.size))
    terms = np.stack(
        [e, theta[:, 1, None] - theta[:, 3, None] * x, theta[:, 2, None] - theta[:, 4, None] * y]
    )
    shares = np.exp(terms - terms.max(axis=0))
    p0, p1, p2 = shares / shares.sum(axis=0)
    return np.stack([p0, p1, p2, -x * p1, -y * p2], axis=-1)


def noise_scale(residuals: Floats) -> float:
    """Standard deviation of the noise of ln L: root mean square of the residuals but for the largest tenth.

    Five fitted parameters are taken off the count, and the cut is made good as for normal noise.
    """
    normal = NormalDist()
    squares = np.sort(residuals**2)[: math.ceil(KEPT * residuals.size)]
    cut = normal.inv_cdf((1 + KEPT) / 2)
    consistent = 1 - 2 * cut * normal.pdf(cut) / KEPT
    return math.sqrt(float(squares.sum()) / max(squares.size - 5, 1) / consistent)


def huber_factor(threshold: float) -> float:
    """Standard error of a Huber fit over that of least squares, for normal noise (Huber 1964).

    `threshold` is delta in standard deviations of the noise: sqrt(pi/2) at 0, 1 far above it.
    """
    normal, k = NormalDist(), max(threshold, 1e-4)
    inside = 2 * normal.cdf(k) - 1
    squares = inside - 2 * k * normal.pdf(k) + 2 * k * k * (1 - normal.cdf(k))
    return float(np.sqrt(squares) / inside)


def search(design: Design, candidates: Floats, cost: Floats, budget: float, runs: int) -> list[int]:
    """Indices (repeats allowed) of `runs` candidates that cost at most `budget` and shrink the variance most.

    `candidates` is their sensitivity (surfaces, candidates, 5).
    """
    best: list[int] = []
    lowest = np.inf
    for share in np.unique(np.round(np.geomspace(1, runs, 4), 6)):
        chosen = _greedy(design, candidates, cost, budget, runs, max(budget / share, cost.min()))
        chosen, value = _exchange(design, candidates, cost, budget, chosen)
        if value < lowest - 1e-9:
            best, lowest = chosen, value
    return best


def in_order(
    design: Design, candidates: Floats, cost: Floats, chosen: list[int]
) -> tuple[list[int], list[float]]:
    """`chosen` with the next run always the one that shrinks ln variance most per FLOP.

    Also the expected standard error of the target after each of them.
    """
    left, done, errors = list(chosen), list[int](), list[float]()
    value = design.log_variance(candidates[:, done])
    while left:
        values = design.with_one_more(candidates[:, done], candidates[:, left])
        k = int(np.argmax((value - values) / cost[left]))
        value = float(values[k])
        done.append(left.pop(k))
        errors.append(math.exp(value / 2))
    return done, errors


def _greedy(
    design: Design, candidates: Floats, cost: Floats, budget: float, runs: int, most: float
) -> list[int]:
    """Add the best candidate of at most `most` FLOPs that leaves enough for the cheapest in what follows."""
    chosen: list[int] = []
    for left in range(runs - 1, -1, -1):
        room = min(most, budget - cost[chosen].sum() - left * cost.min())
        value = design.with_one_more(candidates[:, chosen], candidates)
        chosen.append(int(np.argmin(np.where(cost <= room * (1 + 1e-12), value, np.inf))))
    return chosen


def _exchange(
    design: Design, candidates: Floats, cost: Floats, budget: float, chosen: list[int]
) -> tuple[list[int], float]:
    """Replace one run at a time by the best that the rest of the budget pays for, until none is better."""
    chosen = list(chosen)
    value = design.log_variance(candidates[:, chosen])
    changed = True
    while changed:
        changed = False
        for i in range(len(chosen)):
            rest = chosen[:i] + chosen[i + 1 :]
            values = design.with_one_more(candidates[:, rest], candidates)
            values[cost > budget - cost[rest].sum()] = np.inf
            k = int(np.argmin(values))
            if values[k] < value - 1e-9:
                chosen[i], value, changed = k, float(values[k]), True
    return chosen, value


def _squares(theta: Floats, x: Floats, y: Floats) -> Floats:
    """Sum of J J' over runs at centred `x` and `y` for one surface (1, 5): (5, 5)."""
    total = np.zeros((5, 5))
    for start in range(0, x.size, BLOCK):
        rows = sensitivity(theta, x[start : start + BLOCK], y[start : start + BLOCK])[0]
        total += rows.T @ rows
    return total


def _gradient(theta: Floats, middle: tuple[float, float], data: Points, at: float | None) -> Floats:
    """∂ target / ∂ theta, (surfaces, 5), by central differences of what approach 3 reports."""
    columns = []
    for step in np.eye(5) * DIFFERENCE:
        ends = []
        for moved in (theta - step, theta + step):
            surfaces = np.array(moved)
            surfaces[:, 1:3] += surfaces[:, 3:5] * middle
            (intercept, slope), _ = optimum_lines(surfaces, data)
            ends.append(slope if at is None else intercept + slope * np.log(at))
        columns.append((ends[1] - ends[0]) / (2 * DIFFERENCE))
    return np.stack(columns, axis=1)
