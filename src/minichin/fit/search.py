"""Look for the lowest minimum of approach 3's objective.

Decisions
- With delta a thousandth, Huber's loss is all kinks: descent creeps along them, and stops in dents of them
  that lie a millionth above the lowest.  Delta is therefore lowered in steps, in which starts that have met
  go on as one; and from where they arrive copies of the table with random weights are fitted, whose optima
  lie in other dents nearby, from which the table itself is fitted too.
- With more than some thousands of rows the starts race on an even share of them; what they find is then
  finished on all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from minichin.fit.problem import Problem, objective
from minichin.fit.refit import refit
from minichin.fit.solver import Solution, minimise
from minichin.law import Floats

LADDER = 10.0 ** -np.arange(1, 7)  # values of delta on the way down, as far as they are above it
RACED = 2048  # rows on which the starts race


def search(problem: Problem, starts: Floats, rounds: int = 100, shaken: int = 0) -> Solution:
    """Where each of `starts` (s, 5; centred) ends, and `shaken` more, the optima of reweighted copies.

    `rounds` bounds the work at each delta but the last; starts that are near need few.
    """
    if problem.x.size > RACED:
        theta, label = _met(search(problem.share(RACED), starts, rounds).theta)
        return _finish(problem, theta, label, shaken * RACED // problem.x.size)  # dents get shallower
    theta, label = np.asarray(starts), np.arange(len(starts))
    for delta in LADDER:
        if delta > problem.delta * 1.5:
            eased = replace(problem, delta=delta)
            theta, same = _met(minimise(eased, theta, rounds=rounds, tolerance=1e-6).theta)
            label = same[label]
    return _finish(problem, theta, label, shaken)


def _finish(problem: Problem, theta: Floats, label: NDArray[np.int64], shaken: int) -> Solution:
    """Minima from `theta`, each for the starts of its label, and from `shaken` places near the lowest."""
    every = np.concatenate([label, len(theta) + np.arange(shaken)])
    return minimise(problem, np.concatenate([theta, _shake(problem, theta, shaken)])).take(every)


def _met(theta: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """One row for those that agree to three decimals, and which of them each row went to."""
    _, first, label = np.unique(np.round(theta, 3), axis=0, return_index=True, return_inverse=True)
    return theta[first], label.reshape(-1)


def _shake(problem: Problem, theta: Floats, count: int) -> Floats:
    """Optima (count, 5) of copies with exponential weights, fitted from the lowest of `theta`."""
    if count == 0:
        return np.empty((0, 5))
    one = np.ones((1, problem.x.size))
    lowest = theta[int(np.argmin(objective(problem, theta, one)))]
    weight = np.random.default_rng(0).standard_exponential((count, problem.x.size))
    return np.clip(refit(problem, lowest, weight)[0], *problem.box)
