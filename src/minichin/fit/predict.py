"""What the fits say of budgets beyond the data: optimal size, tokens, their ratio, and loss, with intervals.

Decisions
- Every interval is the central 95 % of the bootstrap replicates, each extrapolated by its own power laws.
  Tokens a parameter come from ln k_D − ln k_N and b − a of one replicate, never from two separate bands.
- Only approach 3 predicts a loss: its surface at its own power laws' N_opt and D_opt, replicate by replicate.
  Where C = 6 N D that is the surface's minimum for this compute; by another count the power laws are straight
  lines through a slightly bent optimum, whose loss lies a little above the minimum.
- An interval holds what the resampling redraws, under the law that was fitted.  It does not hold that the law
  may bend beyond the data: `beyond` says how far that is.
- Approaches disagree where their intervals do not touch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from minichin.fit.result import Fit, Interval, ParametricFit, percentile_interval
from minichin.law import Floats

QUANTITIES = ("params", "tokens", "tokens_per_param")
REACH = (10.0, 100.0)
LARGEST_LOG = 700.0


@dataclass(frozen=True)
class Prediction:
    """One approach's compute-optimal model at one budget; `loss` (nats a token) by approach 3 only."""

    params: float
    params_interval: Interval | None
    tokens: float
    tokens_interval: Interval | None
    tokens_per_param: float
    tokens_per_param_interval: Interval | None
    loss: float | None
    loss_interval: Interval | None


@dataclass(frozen=True)
class Budget:
    """All approaches at `flops`, which is `beyond` times the largest compute of the table.

    `errors` names approaches whose prediction no float64 holds; `disagree` the pairs of approaches, by
    quantity, whose intervals do not touch.
    """

    flops: float
    beyond: float
    predictions: Mapping[int, Prediction]
    errors: Mapping[int, str]
    disagree: tuple[tuple[str, int, int], ...]


def check_targets(flops: Iterable[float]) -> tuple[float, ...]:
    """FLOPs to predict at; ValueError for one that is no positive number."""
    targets = tuple(float(value) for value in flops)
    for value in targets:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"predictions are at a positive number of FLOPs, got {value}")
    return targets


def predict_budgets(
    fits: Mapping[int, Fit], largest: float, targets: Iterable[float] = ()
) -> tuple[Budget, ...]:
    """Predict at 10 and 100 times the `largest` compute of the table, and at `targets`, by rising FLOPs.

    A multiple within 1 % of a target gives way to it: whole steps meet a budget only nearly.
    """
    asked = set(check_targets(targets))
    multiples = {factor * largest for factor in REACH}
    others = {flops for flops in multiples if not any(abs(flops - near) < 0.01 * near for near in asked)}
    return tuple(
        _budget(fits, flops, flops / largest) for flops in sorted(asked | others) if math.isfinite(flops)
    )


def predict(fit: Fit, flops: float) -> Prediction:
    """One fit's optimum at `flops`; ValueError where it does not fit a float64."""
    params, tokens = float(fit.n_opt(flops)), float(fit.d_opt(flops))
    log_k, a, log_m, b = fit.replicates.T
    log_n, log_d = log_k + a * math.log(flops), log_m + b * math.log(flops)
    loss, loss_interval = None, None
    if isinstance(fit, ParametricFit):
        loss = float(fit.surface.value(params, tokens))
        loss_interval = _loss_interval(fit.surface_replicates, log_n, log_d)
    return Prediction(
        params,
        _exponential(percentile_interval(log_n)),
        tokens,
        _exponential(percentile_interval(log_d)),
        tokens / params,
        _exponential(percentile_interval(log_d - log_n)),
        loss,
        loss_interval,
    )


def _budget(fits: Mapping[int, Fit], flops: float, beyond: float) -> Budget:
    """All approaches at one budget, and which of them disagree."""
    found: dict[int, Prediction] = {}
    errors: dict[int, str] = {}
    for approach, fit in sorted(fits.items()):
        try:
            found[approach] = predict(fit, flops)
        except ValueError as error:
            errors[approach] = str(error)
    apart = tuple(
        (name, first, second)
        for name in QUANTITIES
        for first, second in combinations(found, 2)
        if touch(*(getattr(found[i], f"{name}_interval") for i in (first, second))) is False
    )
    return Budget(flops, beyond, found, errors, apart)


def touch(one: Interval | None, other: Interval | None) -> bool | None:
    """Whether two intervals share a point; None where one is missing."""
    if one is None or other is None:
        return None
    return one[0] <= other[1] and other[0] <= one[1]


def _exponential(logs: Interval | None) -> Interval | None:
    """The interval of exp; None where an end does not fit a float64."""
    if logs is None or max(map(abs, logs)) > LARGEST_LOG:
        return None
    return math.exp(logs[0]), math.exp(logs[1])


def _loss_interval(surfaces: Floats, log_n: Floats, log_d: Floats) -> Interval | None:
    """95 % of E + A / N^alpha + B / D^beta, each replicate at its own N and D; None without pairs."""
    if len(surfaces) != len(log_n) or not len(surfaces):
        return None
    e, a, b, alpha, beta = surfaces.T
    logs = np.array([np.log(a) - alpha * log_n, np.log(b) - beta * log_d])
    return percentile_interval(e + np.exp(np.minimum(logs, LARGEST_LOG)).sum(axis=0))
