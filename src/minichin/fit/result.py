"""What a fit returns: frozen results of one shape, whichever approach made them.

Decisions
- `a` and `b` are the exponents of the two power laws, so that they cannot disagree with them.
- An interval holds 95 % (percentile or BCa, see `bootstrap`), (low, high), or is None without a bootstrap.
- A doubtful fit carries the *names* of its doubts in `warnings`, the same in words with numbers in `notes`:

  - `minimum_not_bracketed`: a budget's lowest loss lies at the edge of what was sampled;
  - `collinear_design`: parameters and tokens nearly determine each other;
  - `too_few_budgets`: fewer than three budgets (or fewer than three frontier sizes) carry the exponent;
  - `parameter_at_bound`: the best surface wants E = 0, or an exponent outside of what is allowed;
  - `too_few_steps`: runs of too few optimiser steps are in use (approach 3), or are an optimum (approach 2);
  - `winners_mid_run`: winners of approach 1's envelope are not in the last 15 % of their runs;
  - `no_curves`: approach 1 had one row a run, so it saw final losses only;
  - `seed_noise_unknown`: neither repeated seeds nor spare points tell the noise, so there is no interval;
  - `not_converged`: approach 3 stopped before its gradient vanished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from minichin.law import Floats, LossSurface, PowerLaw

Interval = tuple[float, float]
WARNINGS = (
    "minimum_not_bracketed",
    "collinear_design",
    "too_few_budgets",
    "parameter_at_bound",
    "too_few_steps",
    "winners_mid_run",
    "no_curves",
    "seed_noise_unknown",
    "not_converged",
)


class FitError(ValueError):
    """A fit that cannot be had from this table; the message says why, with the number."""

    def __init__(self, message: str, warnings: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.warnings = warnings


@dataclass(frozen=True)
class Fit:
    """What all three approaches report: N_opt = k_N C^a and D_opt = k_D C^b, with 95 % intervals.

    `replicates` has one row a bootstrap replicate: ln k_N, a, ln k_D, b.
    `resample` says what a replicate redraws, `interval_kind` how intervals are read off (see `bootstrap`).
    `dropped` lists rows that were left out, each as {"row": data row counted from 1, "why": words}.
    """

    approach: int
    convention: str
    n_opt: PowerLaw
    d_opt: PowerLaw
    a_interval: Interval | None
    b_interval: Interval | None
    a_minus_b_interval: Interval | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    dropped: tuple[Mapping[str, object], ...]
    resample: str
    interval_kind: str
    replicates: Floats = field(repr=False)

    @property
    def a(self) -> float:
        """Exponent of N_opt ∝ C^a."""
        return self.n_opt.exponent

    @property
    def b(self) -> float:
        """Exponent of D_opt ∝ C^b."""
        return self.d_opt.exponent

    @property
    def a_minus_b(self) -> float:
        """a − b: zero where parameters and tokens grow alike, whatever the FLOPs are counted by."""
        return self.a - self.b

    def n_opt_band(self, flops: ArrayLike) -> tuple[Floats, Floats] | None:
        """95 % band of N_opt at `flops`, from the replicates; None without them."""
        return _band(self.replicates[:, 0], self.replicates[:, 1], flops)

    def d_opt_band(self, flops: ArrayLike) -> tuple[Floats, Floats] | None:
        """95 % band of D_opt at `flops`, from the replicates; None without them."""
        return _band(self.replicates[:, 2], self.replicates[:, 3], flops)


@dataclass(frozen=True)
class EnvelopeFit(Fit):
    """Approach 1.  `frontier` has one row a FLOP count on the envelope.

    Columns: flops, params, tokens, val_loss, spec_hash, fraction_of_run, and `used` (False where the winner
    is the smallest or largest model in the race, which says only that the frontier lies beyond).
    """

    frontier: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Valley:
    """One IsoFLOP budget: its points, seeds averaged, and the curve through those in `window`.

    With u = ln(params / center), `coefficients` (c0, c1, c2, …) give loss = c0 + c1 u + c2 u² + …; where
    `exponents` (alpha, beta) are there, loss = c0 + c1 e^(beta u) + c2 e^(−alpha u), all three ≥ 0.
    `correction` is the factor by which `correct` moved `params_opt` off the curve's minimum.
    `flops` is the compute at the optimum by the fit's convention; `budget` the one that groups the runs.
    `bracket` is how far the optimum lies inside the sampled sizes, the smaller of the two factors.
    """

    budget: float
    flops: float
    params: Floats = field(repr=False)
    tokens: Floats = field(repr=False)
    val_loss: Floats = field(repr=False)
    seeds: NDArray[np.int64] = field(repr=False)
    window: NDArray[np.bool_] = field(repr=False)
    center: float
    coefficients: tuple[float, ...]
    params_opt: float
    tokens_opt: float
    loss_opt: float
    bracketed: bool
    bracket: float
    used: bool
    params_opt_interval: Interval | None
    tokens_opt_interval: Interval | None
    tokens_per_param_interval: Interval | None
    exponents: tuple[float, float] | None = None
    correction: float | None = None

    @property
    def tokens_per_param(self) -> float:
        """D_opt / N_opt of this budget."""
        return self.tokens_opt / self.params_opt

    def loss_at(self, params: ArrayLike) -> Floats:
        """The fitted curve at `params`, nats a token."""
        u = np.log(np.asarray(params, dtype=np.float64) / self.center)
        if self.exponents is None:
            return np.asarray(sum(c * u**i for i, c in enumerate(self.coefficients)), dtype=np.float64)[()]
        alpha, beta = self.exponents
        c0, c1, c2 = self.coefficients
        return np.asarray(c0 + c1 * np.exp(beta * u) + c2 * np.exp(-alpha * u))[()]


@dataclass(frozen=True)
class IsoflopFit(Fit):
    """Approach 2.  `valleys` by rising budget; `noise` is the standard deviation of one run's loss, nats."""

    valleys: tuple[Valley, ...] = field(repr=False)
    noise: float | None
    method: str


@dataclass(frozen=True)
class ParametricFit(Fit):
    """Approach 3.  The surface, its intervals, and a certificate of how well the minimum is known.

    With r = ln predicted − ln observed, `objective` is the sum over rows of Huber(r), threshold `delta`;
    of r² / 2 where `loss` is "squares"; of |r| − 5e-7 where it is "absolute".
    `gradient_norm` is the largest component of the gradient, each over the largest value it could have,
    so that 0 is a stationary point and 1 is as far from one as can be.
    `starts_at_best` counts starts that ended at the best objective (relative 1e-6), and
    `second_best_objective` is the lowest of those that arrived elsewhere (None if none did).
    `rows` are the data rows used, counted from 1, aligned with `predicted` (nats) and `residuals` (log loss).
    `surface_replicates` has one row a bootstrap replicate: E, A, B, alpha, beta.
    """

    surface: LossSurface
    intervals: dict[str, Interval | None]
    objective: float
    gradient_norm: float
    starts: int
    starts_at_best: int
    second_best_objective: float | None
    loss: str
    delta: float
    rows: NDArray[np.int64] = field(repr=False)
    predicted: Floats = field(repr=False)
    residuals: Floats = field(repr=False)
    surface_replicates: Floats = field(repr=False)


def percentile_interval(replicates: ArrayLike) -> Interval | None:
    """The central 95 % of the finite replicates; None with fewer than 20 of them."""
    values = np.asarray(replicates, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < 20:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _band(log_coefficient: Floats, exponent: Floats, flops: ArrayLike) -> tuple[Floats, Floats] | None:
    """2.5 and 97.5 percentiles of exp(ln k + p ln C) over replicates."""
    if log_coefficient.size < 20:
        return None
    logs = np.log(np.asarray(flops, dtype=np.float64))
    values = log_coefficient[:, None] + exponent[:, None] * np.atleast_1d(logs)
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return np.exp(low), np.exp(high)
