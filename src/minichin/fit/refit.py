"""Refit thousands of copies of a table, reweighted or with new noise, from the optimum of the table.

Decisions
- Near the optimum the two power-law terms of every row are that row's term there times exp(shift − slope ·
  x). Over a narrow range of slopes such an exponential is a short series, so that the predictions of all
  copies are one matrix product, and so are their gradients; no exponential is taken.
- The Hessian's rows are those at the optimum, reweighted, and scaled by how much each term has grown.  It
  only shapes the steps: objective and gradient are those of the copy itself, to 1e-9 of the loss.
- Rounds begin in float32, where residuals are large enough for it, and end in float64.
- A copy that leaves the range of the series, or does not arrive, is handed to the general solver.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from minichin.fit.problem import OVERFLOWS, Problem
from minichin.fit.solver import eliminate
from minichin.law import Floats

DEGREE = 7
REACH = 0.5  # of slope times the largest |x|: what the series leaves out is 0.5^8 / 8! = 1e-7 of a term
SINGLE = 1e-5  # median residual above which float32 tells residuals well enough to begin with
FIRST, LAST = (1e-5, 14), (1e-5, 6)  # tolerance and rounds in float32, and in float64
CHUNK = 1 << 16  # rows × copies evaluated at once, so that they stay in a core's cache
Array = NDArray[np.float64] | NDArray[np.float32]
PAIRS = tuple((i, j) for i in range(5) for j in range(i, 5))


@dataclass(frozen=True)
class _Local:
    """Rows seen from the optimum: series (terms, rows); products and curvature (rows, 15)."""

    series: Floats
    products: Floats
    curvature: Floats
    constant: float
    delta: float
    reach: Floats

    @classmethod
    def at(cls, problem: Problem, theta: Floats) -> _Local:
        """The rows of `problem` at `theta` (5,)."""
        x, y = problem.x, problem.y
        wide = np.maximum([np.abs(x).max(), np.abs(y).max()], 1e-12)
        one = np.exp(-problem.target)
        u, v = (np.exp(theta[i] - theta[i + 2] * z) * one for i, z in ((1, x), (2, y)))
        powers = np.arange(DEGREE + 1)[:, None]
        series = np.concatenate([one[None], u * (-x / wide[0]) ** powers, v * (-y / wide[1]) ** powers])
        total = theta[0] * one + u + v
        slope = (one / total, u / total, v / total, -x * u / total, -y * v / total)
        own = {(1, 1): 1.0, (1, 3): -x, (3, 3): x * x, (2, 2): 1.0, (2, 4): -y, (4, 4): y * y}
        share = {1: slope[1], 3: slope[1], 2: slope[2], 4: slope[2]}
        products = np.stack([slope[i] * slope[j] for i, j in PAIRS], axis=1)
        bends = [own[i, j] * share[i] if (i, j) in own else 0.0 * x for i, j in PAIRS]
        curvature = np.stack(bends, axis=1) - products
        return cls(series, products, curvature, float(theta[0]), problem.delta, wide)

    def single(self) -> _Local:
        """The same in float32."""
        names = ("series", "products", "curvature")
        return replace(self, **{name: getattr(self, name).astype(np.float32) for name in names})


@dataclass
class _State:
    """Copies in the race: shift from the optimum, objective, gradient, Hessian, damping."""

    shift: Floats
    value: Floats
    gradient: Floats
    hessian: Floats
    damping: Floats


@OVERFLOWS
def refit(
    problem: Problem, theta: Floats, weight: Floats, noise: Floats | None = None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Optima (s, 5) and objectives (s,) of copies with weights and `noise` on ln L, each (s, rows).

    `theta` is the optimum of the table itself, from which every copy starts.  Also which copies arrived.
    """
    local = _Local.at(problem, theta)
    residual = np.abs(np.log(local.constant * local.series[0] + local.series[1] + local.series[2 + DEGREE]))
    shift = np.zeros((len(weight), 5))
    if np.median(residual) > SINGLE:
        single: Array | None = None if noise is None else noise.astype(np.float32)
        shift = _descend(local.single(), shift, weight.astype(np.float32), single, *FIRST)[0]
    shift, value, arrived = _descend(local, shift, weight, noise, *LAST)
    low, high = problem.box
    found = theta + shift
    return found, value, arrived & ((found >= low) & (found <= high)).all(axis=1)


def _descend(
    local: _Local, shift: Floats, weight: Array, noise: Array | None, tolerance: float, rounds: int
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Damped Newton on all copies; shifts, objectives, and which arrived within the series' range."""
    shift, racing = shift.copy(), np.arange(len(shift))
    state = _State(shift.copy(), *_evaluate(local, shift, weight, noise), np.full(len(shift), 1e-4))
    value, arrived = state.value.copy(), np.zeros(len(shift), dtype=bool)
    for _ in range(rounds):
        step, gain, definite = _newton(state)
        trial = state.shift + step
        new = _evaluate(local, trial, weight, noise)
        inside = (np.abs(trial[:, 3:]) * local.reach <= REACH).all(axis=1)
        better = definite & inside & (new[0] < state.value)
        done = definite & (gain <= tolerance * state.value) & (state.damping < 1e-2)
        state.damping = np.where(better, state.damping * 0.1, state.damping * 10.0 + 1e-6)
        for name, fresh in zip(("shift", "value", "gradient", "hessian"), (trial, *new), strict=True):
            getattr(state, name)[better] = fresh[better]
        shift[racing], value[racing], arrived[racing] = state.shift, state.value, done
        if done.any():
            going = ~done
            if not going.any():
                break
            state = _State(*(getattr(state, name)[going] for name in _State.__dataclass_fields__))
            weight, racing = weight[going], racing[going]
            noise = None if noise is None else noise[going]
    return shift, value, arrived


def _evaluate(
    local: _Local, shift: Floats, weight: Array, noise: Array | None
) -> tuple[Floats, Floats, Floats]:
    """Objective (s,), gradient (s, 5) and approximate Hessian (s, 5, 5) of each copy."""
    along, by_slope = _coefficients(local, shift)
    rows = weight.shape[1]
    size = max(256, CHUNK // len(shift))
    sums = np.zeros((len(shift), 1 + len(PAIRS) + along.shape[1]))
    for i in range(0, rows, size):
        part = slice(i, i + size)
        sums += _sums(local, part, along, weight[:, part], None if noise is None else noise[:, part])
    value, packed, sums = sums[:, 0], sums[:, 1 : 1 + len(PAIRS)], sums[:, 1 + len(PAIRS) :]
    middle = DEGREE + 2
    by_level, by_slope = sums * along, sums * by_slope
    parts = (by_level[:, 1:middle], by_level[:, middle:], by_slope[:, 1:middle], by_slope[:, middle:])
    gradient = np.stack([sums[:, 0], *(part.sum(axis=1) for part in parts)], axis=1)
    growth = np.exp(shift[:, [1, 1, 2, 1, 2]])
    growth[:, 0] = 1.0
    hessian = np.empty((len(shift), 5, 5))
    for k, (i, j) in enumerate(PAIRS):
        hessian[:, i, j] = hessian[:, j, i] = packed[:, k] * growth[:, i] * growth[:, j]
    return value, gradient, hessian


def _sums(local: _Local, part: slice, along: Floats, weight: Array, noise: Array | None) -> Array:
    """Sums over some rows, a copy a line: the objective, the Hessian's 15 products, the series' gradient."""
    kind = local.series.dtype
    series = local.series[:, part]
    total = along.astype(kind) @ series
    with np.errstate(
        invalid="ignore", divide="ignore"
    ):  # a total ≤ 0 is refused, as its objective is no number
        residual = np.log(total)
    if noise is not None:
        residual -= noise
    clipped = np.minimum(residual, kind.type(local.delta))
    np.maximum(clipped, kind.type(-local.delta), out=clipped)
    inside = clipped == residual
    psi = weight * clipped
    clipped *= -0.5
    clipped += residual
    value = np.einsum("sn,sn->s", psi, clipped)
    packed = (weight * inside) @ local.products[part] + psi @ local.curvature[part]
    psi /= total
    return np.concatenate([value[:, None], packed, psi @ series.T], axis=1)


def _coefficients(local: _Local, shift: Floats) -> tuple[Floats, Floats]:
    """Coefficients of the series at shifts (s, 5), and their derivatives by the slopes: each (s, terms)."""
    order = np.arange(1, DEGREE + 1)
    values, slopes = [local.constant + shift[:, :1]], [np.zeros((len(shift), 1))]
    for i in (0, 1):
        z = shift[:, 3 + i, None] * local.reach[i]
        growth = np.exp(np.minimum(shift[:, 1 + i, None], 50.0))
        terms = np.cumprod(np.concatenate([growth, z / order], axis=1), axis=1)
        values.append(terms)
        slopes.append(np.concatenate([np.zeros_like(z), terms[:, :-1] * local.reach[i]], axis=1))
    return np.concatenate(values, axis=1), np.concatenate(slopes, axis=1)


def _newton(state: _State) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Damped Newton step (s, 5), the decrease it promises, and whether the Hessian was positive definite."""
    index = np.arange(5)
    scale = np.sqrt(np.abs(state.hessian[:, index, index])) + 1e-150
    unit = state.hessian / (scale[:, :, None] * scale[:, None, :])
    unit[:, index, index] += state.damping[:, None]
    right = (-state.gradient / scale).T.copy()
    solved, definite = eliminate(np.ascontiguousarray(unit.transpose(1, 2, 0)), right)
    step = np.where(definite[:, None], solved.T / scale, 0.0)
    return np.clip(step, -1.0, 1.0), -0.5 * (state.gradient * step).sum(axis=1), definite
