"""Runs that might be trained next, and what they would cost.

Decisions
- Candidates are a grid in ln N and ln D, a factor `beyond` past the smallest and largest params and tokens
  that the fit used, and 2 past its tokens a parameter: outside, the law is a guess.
- Where the fit filters a sweep (steps, distance from the optimum), candidates are only what it would keep.
- A run costs 6 N D times what the table's own FLOPs say of its size: interpolated, and constant beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from minichin.fit.result import FitError, ParametricFit
from minichin.fit.table import Points
from minichin.law import Floats

STEP = 2**0.5
MOST_STEPS = 24  # of each of an axis' three parts; wider tables get wider steps
BEYOND_RATIO = 2.0
MIN_STEPS, WITHIN = 1500, 8.0


@dataclass(frozen=True)
class Runs:
    """Runs as ln N, ln D and ln FLOPs; `outside` is ln of how far they leave what was sampled."""

    log_n: Floats
    log_d: Floats
    log_c: Floats
    outside: Floats

    def take(self, chosen: NDArray[np.bool_] | list[int]) -> Runs:
        """Some of them."""
        return Runs(self.log_n[chosen], self.log_d[chosen], self.log_c[chosen], self.outside[chosen])

    def rows(self) -> tuple[tuple[float, float, float], ...]:
        """(params, tokens, flops) of each."""
        columns = (np.exp(logs).tolist() for logs in (self.log_n, self.log_d, self.log_c))
        return tuple(zip(*columns, strict=True))

    @classmethod
    def at(cls, data: Points, log_n: Floats, log_d: Floats) -> Runs:
        """Runs of these sizes, costed and placed by the table."""
        outside = np.zeros(log_n.shape)
        for logs, seen in ((log_n, data.log_n), (log_d, data.log_d)):
            outside = np.maximum(outside, np.maximum(seen.min() - logs, logs - seen.max()))
        return cls(log_n, log_d, np.log(6.0) + log_n + log_d + _log_ratio(data, log_n), outside)


def candidates(fit: ParametricFit, data: Points, budget: float, beyond: float) -> Runs:
    """Runs of at most `budget` FLOPs that may be suggested; ValueError if there is none."""
    axes = (_axis(logs.min(), logs.max(), np.log(beyond)) for logs in (data.log_n, data.log_d))
    log_n, log_d = (m.ravel() for m in np.meshgrid(*axes, indexing="ij"))
    every = Runs.at(data, log_n, log_d)
    ratio, slack = data.log_d - data.log_n, np.log(BEYOND_RATIO)
    keep = (log_d - log_n > ratio.min() - slack) & (log_d - log_n < ratio.max() + slack)
    if data.budget_given and data.steps is not None and data.steps.min() >= MIN_STEPS:
        tokens_a_step = (data.log_d - np.log(data.steps)).max()
        keep &= log_d >= tokens_a_step + np.log(MIN_STEPS)
        keep &= np.abs(log_n - np.log(fit.n_opt(np.exp(every.log_c)))) < np.log(WITHIN)
    if not keep.any():
        raise FitError(
            f"no run of at least {MIN_STEPS} steps lies within {WITHIN:g}× of the fitted optimum and near "
            "the table's own: leave the column steps out to search without these limits"
        )
    found = every.take(keep)
    if found.log_c.min() > np.log(budget):
        params, tokens, flops = found.take([int(np.argmin(found.log_c))]).rows()[0]
        raise ValueError(
            f"budget {budget:.4g} FLOPs (--budget) pays for no run near those of the table: give at least "
            f"{flops:.4g}, for {params:.3g} params on {tokens:.3g} tokens"
        )
    return found.take(found.log_c <= np.log(budget))


def isoflop(fit: ParametricFit, data: Points, budget: float, runs: int) -> Runs:
    """`runs` sizes of equal compute, `budget` together, evenly spaced in ln N within 4× of the optimum."""
    reach = np.log(4.0) if runs > 1 else 0.0
    log_n = np.log(float(fit.n_opt(budget / runs))) + np.linspace(-reach, reach, runs)
    log_d = np.log(budget / runs / 6.0) - log_n - _log_ratio(data, log_n)
    return Runs.at(data, log_n, log_d)


def how_to_spread(data: Points) -> FitError:
    """What to do about a table whose runs lie on one line in (ln N, ln D): two runs across it."""
    logs = np.column_stack([data.log_n, data.log_d])
    middle = logs.mean(axis=0)
    across = np.linalg.svd(logs - middle, full_matrices=False)[2][-1] * np.log(4.0)
    first, second = (
        f"{np.exp(n):.3g} params on {np.exp(d):.3g} tokens" for n, d in (middle + across, middle - across)
    )
    return FitError(
        "collinear_design: the runs lie on a line in params and tokens, so no surface can be fitted by which "
        f"to weigh new ones; first train some across that line, such as {first}, and {second}",
        ("collinear_design",),
    )


def _axis(low: float, high: float, beyond: float) -> Floats:
    """Grid from `low` − `beyond` to `high` + `beyond` in steps of ln STEP or less; both are on it."""
    ends = [low - beyond, low, high, high + beyond]
    parts = [
        np.linspace(start, stop, min(int(np.ceil((stop - start) / np.log(STEP))), MOST_STEPS) + 1)
        for start, stop in pairwise(ends)
    ]
    return np.unique(np.concatenate(parts))


def _log_ratio(data: Points, log_n: Floats) -> Floats:
    """ln of FLOPs / (6 N D) at sizes `log_n`: the table's own, interpolated, constant beyond its sizes."""
    sizes, where = np.unique(np.round(data.log_n, 9), return_inverse=True)
    ratio = np.bincount(where, data.log_c - np.log(6.0) - data.log_n - data.log_d) / np.bincount(where)
    return np.interp(log_n, sizes, ratio)
