"""After Chinchilla: a model that will be used much should be smaller than optimal, and trained longer.

Decisions:
- The cost of a model's life is 6 N D for training and 2 N for every token that it reads or writes afterwards
  (Sardana et al. 2024, "Beyond Chinchilla-Optimal", equation 3); the quality, the loss, is held.
- With L(N, D) held, dD/dN = −r D/N, where r = α A N^-α / (β B D^-β). For S tokens served the cost is least
  where 6 D (r − 1) = 2 S: r = 1, Chinchilla's balance, at S = 0, and a smaller N for any other S. One root in
  ln N, between the size that could reach the loss with endless text only and the compute-optimal one.
- Intervals come from the replicates of approach 3: each one asks the same question of its own surface.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from minichin.fit import Interval, ParametricFit
from minichin.fit.result import percentile_interval
from minichin.law import LossSurface

TRAIN, SERVE = 6.0, 2.0  # FLOPs a parameter and token


@dataclass(frozen=True)
class Lifetime:
    """The cheapest model of one loss for so many tokens served, and the compute-optimal one beside it.

    loss: nats a token; served: tokens; params, tokens: of the cheapest model; flops: of its training; cost:
    of its whole life; params_ratio, tokens_ratio, flops_ratio, cost_ratio: over the compute-optimal one's.
    """

    loss: float
    served: float
    params: float
    tokens: float
    flops: float
    cost: float
    params_ratio: float
    tokens_ratio: float
    flops_ratio: float
    cost_ratio: float


def lifetime(surface: LossSurface, flops: float, served: float) -> Lifetime:
    """The cheapest model as good as the compute-optimal one at `flops`, with `served` tokens to serve.

    ValueError for tokens that are negative or not finite, and for a compute that the surface refuses.
    """
    if not math.isfinite(served) or served < 0:
        raise ValueError(f"the tokens served must be zero or more and finite, got {served}")
    best = surface.optimum(flops)
    loss, chinchilla = float(best.loss), float(best.params)
    params = chinchilla
    if served > 0:
        smallest = (math.log(surface.A) - math.log(loss - surface.E)) / surface.alpha
        top = math.log(chinchilla)
        low = smallest + 1e-12 * max(1.0, abs(smallest))
        slope = _slope(surface, loss, served)
        params = math.exp(brentq(slope, low, top, xtol=1e-13, rtol=1e-14)) if slope(top) < 0 else chinchilla
    tokens = float(best.tokens) if params == chinchilla else float(surface.tokens_for(loss, params))
    cost = TRAIN * params * tokens + SERVE * params * served
    ordinary = TRAIN * chinchilla * float(best.tokens)
    return Lifetime(
        loss=loss,
        served=served,
        params=params,
        tokens=tokens,
        flops=TRAIN * params * tokens,
        cost=cost,
        params_ratio=params / chinchilla,
        tokens_ratio=tokens / float(best.tokens),
        flops_ratio=TRAIN * params * tokens / ordinary,
        cost_ratio=cost / (ordinary + SERVE * chinchilla * served),
    )


def _slope(surface: LossSurface, loss: float, served: float) -> Callable[[float], float]:
    """A function of ln N with the sign of −d(cost)/dN: ln(6 D (r − 1)) − ln(2 S), −∞ where r ≤ 1."""

    def value(log_n: float) -> float:
        model = math.exp(math.log(surface.A) - surface.alpha * log_n)
        data = loss - surface.E - model
        if data <= 0:
            return math.inf
        log_d = (math.log(surface.B) - math.log(data)) / surface.beta
        r = surface.alpha * model / (surface.beta * data)
        if r <= 1:
            return -1e3
        return min(1e3, math.log(TRAIN) + log_d + math.log(r - 1) - math.log(SERVE * served))

    return value


def shrunk(surface: LossSurface, flops: float, share: float) -> tuple[float, float]:
    """What a model of `share` of the optimal size needs for the optimal loss: (tokens, FLOPs), as ratios.

    ValueError where so small a model cannot reach that loss.
    """
    best = surface.optimum(flops)
    tokens = float(surface.tokens_for(best.loss, share * best.params)) / float(best.tokens)
    return tokens, share * tokens


def over_training(surface: LossSurface, flops: float, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(shares, 2): tokens and FLOPs as in `shrunk`; NaN for models that cannot reach the loss."""
    found = np.full((len(shares), 2), np.nan)
    for place, share in enumerate(shares):
        try:
            found[place] = shrunk(surface, flops, float(share))
        except ValueError:
            continue
    return found


def with_intervals(
    fit: ParametricFit, flops: float, served: float, most: int = 400
) -> dict[str, tuple[float, Interval | None]]:
    """Each ratio of `lifetime` by the fit's surface, with the 95 % interval over `most` replicates."""
    point = lifetime(fit.surface, flops, served)
    names = ("params_ratio", "tokens_ratio", "flops_ratio", "cost_ratio")
    copies = []
    for row in fit.surface_replicates[:most]:
        try:
            copies.append(lifetime(LossSurface(*map(float, row)), flops, served))
        except ValueError:
            continue  # a replicate without a surface: an exponent at zero
    return {
        name: (
            getattr(point, name),
            percentile_interval(np.array([getattr(copy, name) for copy in copies])) if copies else None,
        )
        for name in names
    }


def by_width(runs: pd.DataFrame, widths: Sequence[int]) -> pd.DataFrame:
    """Runs of these widths at all their budgets, seeds averaged: columns width, params, ratio, val_loss."""
    some = runs[runs["width"].isin(widths)]
    table = some.assign(ratio=some["tokens"] / some["params"])
    means = table.groupby(["width", "params", "budget"], as_index=False)[["ratio", "val_loss"]].mean()
    return means.sort_values(["width", "ratio"], ignore_index=True)
