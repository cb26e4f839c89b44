"""After Chinchilla: a model that will be used much should be smaller than optimal, and trained longer.

Decisions:
- The cost of a model's life is 6 N D for training and 2 N for every token that it reads or writes afterwards
  (Sardana et al. 2024, "Beyond Chinchilla-Optimal", equation 3); the quality, the loss, is held.
- With L(N, D) held, dD/dN = −r D/N, where r = α A N^-α / (β B D^-β). For S tokens served the cost is least
  where 6 D (r − 1) = 2 S: r = 1, Chinchilla's balance, at S = 0, and a smaller N for any other S. One root in
  ln N, between the size that could reach the loss with endless text only and the compute-optimal one.
- Over-training by a factor m, m times the tokens a parameter of the optimum of the same loss, costs the same
  share of compute at every loss: it depends on α and β alone (`over_trained`). Runs are held against it by
  the floors of the valleys (`measured`), without any surface.
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

from minichin.convergence import compute_needed
from minichin.fit import Interval, ParametricFit
from minichin.fit.result import Valley, percentile_interval
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


def over_trained(surface: LossSurface, factors: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Training compute over the optimum's of the same loss, at `factors` times its tokens a parameter.

    With n = N/N_opt and m a factor, D/D_opt = m n and β n^-α + α (m n)^-β = α + β; the answer is m n².
    ValueError for factors that are not positive and finite.
    """
    alpha, beta = surface.alpha, surface.beta

    def excess(log_n: float, log_m: float) -> float:
        return beta * math.expm1(-alpha * log_n) + alpha * math.expm1(-beta * (log_m + log_n))

    found = []
    for factor in factors:
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"a factor of over-training must be positive and finite, got {factor}")
        log_m = math.log(factor)
        ends = sorted((0.0, -log_m))  # N_opt itself, and D_opt itself
        log_n = brentq(excess, *ends, args=(log_m,), xtol=1e-14) if log_m else 0.0
        found.append(math.exp(log_m + 2 * log_n))
    return np.array(found)


def over_trained_spread(
    fit: ParametricFit, factors: Sequence[float] | NDArray[np.float64], most: int = 400
) -> NDArray[np.float64]:
    """(2, factors): ends of the 95 % interval of `over_trained` over at most `most` replicates of the fit."""
    rows = fit.surface_replicates[:most]
    good = rows[np.isfinite(rows).all(axis=1) & (rows[:, 1:] > 0).all(axis=1)]
    copies = [over_trained(LossSurface(*map(float, row)), factors) for row in good]
    return np.percentile(copies, [2.5, 97.5], axis=0)


def measured(runs: pd.DataFrame, valleys: Sequence[Valley]) -> pd.DataFrame:
    """Runs, seeds averaged, against the frontier at their loss: columns budget, width, factor, extra.

    factor: tokens a parameter over the optimum's at the compute where the floors of `valleys` reach the loss;
    extra: compute over that compute. Runs whose loss no floor brackets are left out.
    """
    keys = ["budget", "width"]
    table = runs.groupby(keys, as_index=False)[["params", "tokens", "flops", "val_loss"]].mean()
    needed = np.array([compute_needed(loss, valleys) for loss in table["val_loss"]])
    log_c = np.log([valley.flops for valley in valleys])
    ratios = np.log([valley.tokens_opt / valley.params_opt for valley in valleys])
    ratio = np.exp(np.interp(np.log(needed), log_c, ratios))
    table = table.assign(factor=table["tokens"] / table["params"] / ratio, extra=table["flops"] / needed)
    return table[np.isfinite(needed)][[*keys, "factor", "extra"]].sort_values("factor", ignore_index=True)


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
