"""Does a fitted E find the entropy of the text? A source whose entropy is known exactly gives the answer.

Decisions:
- E is estimated in the ways that people use: as a constant of approach 3, by two losses, and as the constant
  of a power law through the floors of the valleys. The lowest loss of any run bounds it from above.
- The fits see the records only. The truth, computed from the source's own probabilities, is held against them
  afterwards, and then used to ask whether what lies above it is a power law at all.
- The truth is the least that a model can score as ours are scored: in blocks, whose first predictions know
  fewer symbols than the source remembers. It lies a little above the source's entropy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

from minichin import campaign
from minichin.fit import FitError, Interval, fit_parametric
from minichin.fit.result import Valley, percentile_interval
from minichin.synthetic import default_source
from minichin.words import scientific

EXPERIMENTS = ("known-entropy", "known-entropy-larger")


@dataclass(frozen=True)
class Estimate:
    """An estimate of E, nats a token, and its 95 % interval (None: it has none)."""

    name: str
    value: float
    interval: Interval | None
    left: float = float("nan")  # root mean square of what the fit leaves of the losses, nats

    def holds(self, entropy: float) -> bool:
        """Whether the interval holds `entropy`; an estimate without one holds nothing."""
        return self.interval is not None and self.interval[0] <= entropy <= self.interval[1]


def truth() -> tuple[float, ...]:
    """Entropy of the next symbol given 0, 1, 2 and 3 symbols, nats; the last is the source's own."""
    return default_source().entropies


def scored(levels: Sequence[float], context: int) -> tuple[float, ...]:
    """Mean loss in blocks of `context` predictions of the best readers who use at most 0, 1, 2, … symbols.

    `levels` are the entropies given so many symbols (`truth`). The i-th prediction of a block has i symbols
    before it: a reader of k symbols scores mean over i of levels[min(i, k)]. Nats a token.
    """
    if context < 1:
        raise ValueError(f"a block has one prediction or more, not {context}")
    return tuple(
        sum(levels[min(place, known)] for place in range(1, context + 1)) / context
        for known in range(len(levels))
    )


def runs(store: str | Path = "") -> pd.DataFrame:
    """The table of all runs on the source."""
    return pd.concat([campaign.table(name, store) for name in EXPERIMENTS], ignore_index=True)


def by_surface(
    table: pd.DataFrame, most: float = np.inf, least: float = 0.0, loss: str = "huber", **settings: Any
) -> Estimate:
    """E of approach 3 on the budgets from `least` to `most` FLOPs."""
    some = table[table["budget"].between(least * 0.99, most * 1.01)]
    fit = fit_parametric(some, loss=loss, **settings)
    left = some["val_loss"] - fit.surface.value(some["params"], some["tokens"])
    name = "approach 3"
    name += f", from {scientific(least)}" if least > 0 else ""
    name += f", to {scientific(most)}" if most < np.inf else ""
    name += f", {loss}" if loss != "huber" else ""
    return Estimate(name, fit.surface.E, fit.intervals.get("E"), float(np.sqrt((left**2).mean())))


def misfit(table: pd.DataFrame) -> pd.Series:
    """Each run's loss less what approach 3, fitted to all of the table, says of it (nats)."""
    surface = fit_parametric(table, bootstrap=0).surface
    return table["val_loss"] - surface.value(table["params"], table["tokens"])


def covered(table: pd.DataFrame, least: float, copies: int, **settings: Any) -> int:
    """In how many of `copies` the interval of E holds it, where losses do follow approach 3's law.

    The law is the one fitted from `least` FLOPs on; each copy has the same cells and fresh normal noise with
    the fit's own scatter (five constants spent). `settings` go to the fits; `seed` also draws the noise.
    """
    some = table[table["budget"] >= least * 0.99]
    surface = fit_parametric(some, bootstrap=0).surface
    expected = surface.value(some["params"], some["tokens"])
    left = some["val_loss"] - expected
    spread = float(np.sqrt((left**2).sum() / (len(some) - 5)))
    rng = np.random.default_rng(settings.get("seed", 0))
    held = 0
    for _ in range(copies):
        copy = some.assign(val_loss=expected + spread * rng.standard_normal(len(some)))
        held += by_surface(copy, **settings).holds(surface.E)
    return held


def by_floors(valleys: Sequence[Valley], replicates: int = 200, seed: int = 0) -> Estimate:
    """E of the power law E + k C^-γ through the floors of four valleys or more, the optima redrawn.

    Floors are redrawn with the scatter about the law (three constants spent). FitError with fewer floors.
    """
    if len(valleys) < 4:
        raise FitError(f"a power law with a floor needs four budgets or more; these are {len(valleys)}")
    log_c = np.log([valley.flops for valley in valleys])
    floors = np.array([valley.loss_opt for valley in valleys])
    best = _law(log_c, floors)
    left = floors - best(log_c)
    spread = float(np.sqrt((left**2).sum() / (len(floors) - 3)))
    rng = np.random.default_rng(seed)
    copies = [_law(log_c, best(log_c) + spread * rng.standard_normal(len(floors))) for _ in range(replicates)]
    values = np.array([copy.floor for copy in copies])
    return Estimate("floors of the valleys", best.floor, percentile_interval(values) if replicates else None)


@dataclass(frozen=True)
class _Law:
    floor: float
    log_k: float
    slope: float
    middle: float

    def __call__(self, log_c: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.floor + np.exp(self.log_k - self.slope * (log_c - self.middle))


def _law(log_c: NDArray[np.float64], floors: NDArray[np.float64]) -> _Law:
    """Least squares of E + k exp(−γ (ln C − middle)), E ≥ 0, from several starts of E."""
    middle = float(log_c.mean())

    def residuals(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(theta[0] + np.exp(theta[1] - theta[2] * (log_c - middle)) - floors)

    found = []
    for share in (0.0, 0.5, 0.8, 0.95):
        start = share * floors.min()
        slope, log_k = np.polyfit(log_c - middle, np.log(floors - start), 1)
        bounds = ([0.0, -20.0, 0.0], [floors.min(), 20.0, 5.0])
        x0 = np.clip([start, log_k, -slope], np.array(bounds[0]) + 1e-9, np.array(bounds[1]) - 1e-9)
        found.append(least_squares(residuals, x0, bounds=bounds, xtol=1e-12, ftol=1e-12))
    best = min(found, key=lambda one: one.cost).x
    return _Law(float(best[0]), float(best[1]), float(best[2]), middle)


def excess_slopes(valleys: Sequence[Valley], entropy: float) -> NDArray[np.float64]:
    """−d ln(L − entropy) / d ln C from each floor to the next: equal for a power law above the entropy."""
    above = np.log([valley.loss_opt - entropy for valley in valleys])
    return np.asarray(-np.diff(above) / np.diff(np.log([valley.flops for valley in valleys])))
