"""Where approach 3 starts from.

Decisions
- Given alpha and beta the law is linear in E, A, B.  A grid of exponents, each with its best non-negative
  E, A, B by least squares on relative residuals (variable projection), lands near every basin that matters.
- "hoffmann" is their grid, all 4,500: alpha, beta in {0, 0.5 … 2}, e in {−1, −0.5 … 1}, ln A, ln B in {0, 5
  … 25}.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from minichin.fit.bootstrap import solve
from minichin.fit.problem import OVERFLOWS, Problem
from minichin.law import Floats

PROJECTED = 24
SHARE = 512  # rows that are enough to find places to start from


def projected_starts(problem: Problem, count: int = PROJECTED, grid: int = 18) -> Floats:
    """Best `count` grid points of (alpha, beta) by projected least squares, not all from one corner."""
    exponents = np.geomspace(0.04, 2.0, grid)
    alpha, beta = (m.ravel() for m in np.meshgrid(exponents, exponents, indexing="ij"))
    theta, squares = project(problem, alpha, beta)
    return theta[_spread_best(squares.reshape(grid, grid), count)]


@OVERFLOWS
def project(problem: Problem, alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Theta (k, 5) of the best E, A, B ≥ 0 by relative least squares at exponents (k,); squares (k,)."""
    few = problem.share(SHARE)
    loss = np.exp(few.target)
    terms = (np.ones((alpha.size, 1)), np.exp(-alpha[:, None] * few.x), np.exp(-beta[:, None] * few.y))
    coefficients, squares = _non_negative(np.stack([term / loss for term in terms], axis=1))
    logs = np.log(np.maximum(coefficients[:, 1:], 1e-4 * loss.min()))
    theta = np.column_stack([coefficients[:, 0], logs, alpha, beta])
    return np.clip(theta, problem.box[0], problem.box[1]), squares


def hoffmann_starts(problem: Problem, count: int | None = None) -> Floats:
    """The 4,500 starts of Hoffmann et al. 2022, or an even spread of `count` of them."""
    e, logs, exponents = np.linspace(-1, 1, 5), np.linspace(0, 25, 6), np.linspace(0, 2, 5)
    grid = np.array(list(product(np.exp(e), logs, logs, exponents, exponents)))
    if count is not None:
        rng = np.random.default_rng(0)
        grid = grid[rng.permutation(len(grid))[:count]]
    return problem.centre(grid)


def make_starts(problem: Problem, starts: str) -> Floats:
    """Starts by name: "default" (projected) or "hoffmann" (its 4,500)."""
    if starts == "hoffmann":
        return hoffmann_starts(problem)
    if starts == "default":
        return projected_starts(problem)
    raise ValueError(f'starts must be "default" or "hoffmann", got {starts!r}')


def _non_negative(columns: Floats) -> tuple[Floats, Floats]:
    """Least squares of 1 on columns (k, 3, rows), coefficients ≥ 0: try each set of active columns."""
    gram = columns @ columns.transpose(0, 2, 1)
    right = columns.sum(axis=2)
    best = np.full(len(columns), np.inf)
    coefficients = np.zeros((len(columns), 3))
    for active in product([1.0, 0.0], repeat=3):
        on = np.array(active)
        if not on.any():
            continue
        system = gram * on[:, None] * on
        index = np.arange(3)
        system[:, index, index] += (1 - on) + 1e-12 * np.einsum("gii->gi", gram)
        solved = solve(system, right * on)
        squares = columns.shape[2] - 2 * (solved * right).sum(axis=1)
        squares += np.einsum("gi,gij,gj->g", solved, gram, solved)
        wins = (solved >= 0).all(axis=1) & (squares < best)
        best[wins], coefficients[wins] = squares[wins], solved[wins]
    return coefficients, best


def _spread_best(squares: Floats, count: int) -> Floats:
    """Flat indices: first the grid's local minima, then the best of the rest, no two in adjoining cells."""
    order = np.argsort(squares, axis=None, kind="stable")
    chosen: list[int] = []
    for flat in order:
        i, j = divmod(int(flat), squares.shape[1])
        if all(abs(i - k // squares.shape[1]) + abs(j - k % squares.shape[1]) > 1 for k in chosen):
            chosen.append(int(flat))
        if len(chosen) == count:
            break
    return np.array(chosen)
