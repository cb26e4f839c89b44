"""Predictions in hindsight: every committed budget as the largest known one, and what was to come.

Decisions:
- The fits see nothing beyond the largest known budget; their author has seen everything, so that a hindcast
  tells how good a method is, and not how good a prophet.
- Beside the three approaches stand two plain rules: `HALF` scales the last known optimum by the square root
  of the compute, and `FLOORS` runs a power law with a constant through the known floors.
- The unit of a miss is ln(said / found), so that too much and too little by one factor weigh the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from minichin import campaign
from minichin.fit import Fit, FitError, Valley, fit_envelope, fit_isoflop, fit_parametric
from minichin.fit.predict import predict
from minichin.runs import open_store
from minichin.tables import curves_table

METHODS = MappingProxyType({1: "approach 1", 2: "approach 2", 3: "approach 3"})
HALF, FLOORS = "half", "floors"
LEAST = 3  # budgets that a fit needs
#: What a method says at some FLOPs: `params`, `tokens`, `loss`, and their `…_interval`, where it has them.
Says = Callable[[float], Mapping[str, Any]]


def curves(table: pd.DataFrame, store: str | Path = "") -> pd.DataFrame:
    """One row an evaluation of the runs of `table`, a `decades.joined`, from `store` as that was."""
    found = [campaign.curves(name, store) for name in ("main", "test")]
    found.append(curves_table(open_store("published-gpu").records()))
    every = pd.concat(found, ignore_index=True)
    return every[every["spec_hash"].isin(table["spec_hash"])].reset_index(drop=True)


def price(valley: Valley, params: float) -> float:
    """What it costs to train `params` weights in place of the optimum, nats: the curve above its floor.

    Beyond the sizes that were trained it is an extrapolation.
    """
    return float(valley.loss_at(params)) - valley.loss_opt


def floor_law(flops: Sequence[float], losses: Sequence[float]) -> tuple[float, float, float]:
    """(E, k, gamma) of least squares for loss = E + k C^−gamma, gamma from 0.005 to 1 in steps of 0.0005.

    ValueError with fewer than four floors, since three are met by any three constants.
    """
    if len(flops) < 4:
        raise ValueError(f"a power law with a constant needs four floors or more; these are {len(flops)}")
    x, y = np.log(np.asarray(flops, float)), np.asarray(losses, float)
    gammas = np.arange(0.005, 1.0, 0.0005)[:, None]
    powers = np.exp(-gammas * (x - x.mean()))
    centred = powers - powers.mean(axis=1, keepdims=True)
    factors = centred @ (y - y.mean()) / (centred**2).sum(axis=1)
    constants = y.mean() - factors * powers.mean(axis=1)
    errors = ((constants[:, None] + factors[:, None] * powers - y) ** 2).sum(axis=1)
    best = int(np.argmin(errors))
    gamma = float(gammas[best, 0])
    return float(constants[best]), float(factors[best]) * math.exp(gamma * x.mean()), gamma


def hindcast(
    table: pd.DataFrame,
    curves: pd.DataFrame | None = None,
    *,
    low: float = 0.0,
    approaches: Sequence[int] = (2, 3),
    bootstrap: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """For every budget as the largest known one: what the budgets from `low` up to it say of each beyond.

    `table` has a row a run, `curves` a row an evaluation (approach 1 only). One row a method, largest known
    budget and target; columns: method, low (the smallest budget used), known, target, decades (log10 of
    target over known, to half a decade), miss_params, miss_tokens, miss_loss (ln(said / found), NaN where
    the method says nothing), held_params, held_loss (whether the 95 % interval holds the optimum; None
    without one), wide (upper end over lower, of the interval of params), price (nats lost by training the
    size said). The optima are those of approach 2 on the whole table.
    """
    truth = fit_isoflop(table, bootstrap=0).valleys
    known = [valley for valley in truth if valley.budget > 0.99 * low]
    rows: list[dict[str, Any]] = []
    for count in range(LEAST, len(known)):
        seen, beyond = known[:count], known[count:]
        budgets = [valley.budget for valley in seen]
        runs = table[table["budget"].isin(budgets)]
        lines = None if curves is None else curves[curves["spec_hash"].isin(runs["spec_hash"])]
        settings = {"bootstrap": bootstrap, "seed": seed}
        said = [*_fitted(runs, lines, approaches, settings), *_plain(seen)]
        for method, at in said:
            rows += [
                {"method": method, "low": budgets[0], "known": budgets[-1], **_miss(at(valley.flops), valley)}
                for valley in beyond
            ]
    found = pd.DataFrame(rows)
    return found.assign(decades=(2 * np.log10(found["target"] / found["known"])).round() / 2)


def _fitted(
    runs: pd.DataFrame, curves: pd.DataFrame | None, approaches: Sequence[int], settings: Mapping[str, Any]
) -> Iterator[tuple[str, Says]]:
    """(method, what it says at some FLOPs) of these approaches; one that cannot be had is left out."""
    for approach in approaches:
        try:
            fit = _fit(approach, runs, curves, settings)
        except FitError:
            continue
        yield METHODS[approach], partial(_says, fit)


def _says(fit: Fit, flops: float) -> Mapping[str, Any]:
    """What a fit predicts at `flops`, by name."""
    return vars(predict(fit, flops))


def _fit(approach: int, runs: pd.DataFrame, curves: pd.DataFrame | None, settings: Mapping[str, Any]) -> Fit:
    """One approach; ValueError where approach 1 is asked for without curves."""
    if approach == 1:
        if curves is None:
            raise ValueError("approach 1 needs the curves of the runs")
        return fit_envelope(curves, **settings)
    return (fit_isoflop if approach == 2 else fit_parametric)(runs, **settings)


def _plain(seen: Sequence[Valley]) -> Iterator[tuple[str, Says]]:
    """The two plain rules, as `_fitted` gives the approaches."""
    last = seen[-1]
    yield HALF, lambda flops: {"params": last.params_opt * math.sqrt(flops / last.flops)}
    if len(seen) >= 4:
        constant, factor, gamma = floor_law(
            [valley.flops for valley in seen], [valley.loss_opt for valley in seen]
        )
        yield FLOORS, lambda flops: {"loss": constant + factor * flops**-gamma}


def _miss(said: Mapping[str, Any], valley: Valley) -> dict[str, Any]:
    """How far what was said lies from `valley`: the columns of `hindcast` from `target` on."""
    found = {"params": valley.params_opt, "tokens": valley.tokens_opt, "loss": valley.loss_opt}
    row: dict[str, Any] = {"target": valley.budget}
    for name, value in found.items():
        one = said.get(name)
        row[f"miss_{name}"] = math.nan if one is None else math.log(one / value)
    for name in ("params", "loss"):
        interval = said.get(f"{name}_interval")
        row[f"held_{name}"] = None if interval is None else interval[0] <= found[name] <= interval[1]
    size = said.get("params")
    wide = said.get("params_interval")
    row["wide"] = math.nan if wide is None else wide[1] / wide[0]
    row["price"] = math.nan if size is None else price(valley, size)
    return row


def by_distance(found: pd.DataFrame, quantity: str = "params") -> pd.DataFrame:
    """How `hindcast` fares with the distance, one row a method and number of decades.

    Columns: median and most, of |miss| of `quantity`; held and asked, how many of how many 95 % intervals
    held the optimum; wide, the median width of params' intervals; count, of predictions.
    """
    part = found.dropna(subset=[f"miss_{quantity}"])
    part = part.assign(
        size=part[f"miss_{quantity}"].abs(),
        held=part[f"held_{quantity}"].map(lambda value: value is True or value == 1),
        asked=part[f"held_{quantity}"].notna(),
    )
    groups = part.groupby(["method", "decades"])
    return groups.agg(
        median=("size", "median"),
        most=("size", "max"),
        held=("held", "sum"),
        asked=("asked", "sum"),
        wide=("wide", "median"),
        count=("size", "size"),
    ).reset_index()


def floors_seen(table: pd.DataFrame, *, bootstrap: int = 200, seed: int = 0) -> pd.DataFrame:
    """Approach 3's E with its 95 % interval for every largest known budget: columns known, E, low, high."""
    budgets = sorted(table["budget"].unique())
    rows = []
    for last in budgets[LEAST - 1 :]:
        fit = fit_parametric(table[table["budget"] <= last], bootstrap=bootstrap, seed=seed)
        low, high = fit.intervals["E"] or (math.nan, math.nan)
        rows.append({"known": last, "E": fit.surface.E, "low": low, "high": high})
    return pd.DataFrame(rows)


def deeper(table: pd.DataFrame, depths: pd.DataFrame, layers: Mapping[float, int]) -> pd.DataFrame:
    """`table` with the valleys of some budgets from `depths`, of `layers` (budget -> number of layers)."""
    kept = table[~table["budget"].isin(layers)]
    swapped = [
        depths[(depths["budget"] == budget) & (depths["depth"] == count)] for budget, count in layers.items()
    ]
    if any(part.empty for part in swapped):
        raise ValueError(f"the runs hold no valley of {dict(layers)} layers")
    return pd.concat([*swapped, kept], ignore_index=True)
