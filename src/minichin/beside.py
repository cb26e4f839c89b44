"""An experiment beside the unchanged recipe: the same sizes, budgets and seeds.

Decisions:
- Exponents of small budgets lie below one half also for the unchanged recipe, so a changed run is held
  against the unchanged one in the same cell (budget, width, seed), and a changed exponent against the
  exponent of the unchanged runs in the same cells; never against a published number.
- The interval of a difference of exponents comes from both fits' replicates, which are drawn independently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from minichin.fit import Interval, IsoflopFit, fit_isoflop
from minichin.fit.result import percentile_interval

CELL = ["budget", "width", "seed"]


def matched(reference: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The runs of `reference` in the cells (budget, width, seed) of `table`; `ValueError` where one lacks."""
    wanted = pd.MultiIndex.from_frame(table[CELL]).unique()
    known = pd.MultiIndex.from_frame(reference[CELL])
    gone = wanted.difference(known)
    if len(gone):
        budget, width, seed = gone[0]
        raise ValueError(
            f"{len(gone)} of {len(wanted)} cells have no unchanged run beside them, "
            f"such as width {width} at {budget:g} FLOPs, seed {seed}"
        )
    return reference[known.isin(wanted)].reset_index(drop=True)


def less(table: pd.DataFrame, base: pd.DataFrame, cell: list[str]) -> pd.Series:
    """The losses of `table` less that of the run of `base` in the same cell (columns `cell`), nats."""
    own = base.set_index(cell)["val_loss"]
    if own.index.has_duplicates:
        raise ValueError(f"{int(own.index.duplicated().sum())} cells of the reference hold two runs")
    return table["val_loss"] - own.loc[pd.MultiIndex.from_frame(table[cell])].to_numpy()


def changes(reference: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """`table` with the column `change`: its loss less that of the reference's run in the same cell, nats."""
    return table.assign(change=less(table, matched(reference, table), CELL))


class Difference(NamedTuple):
    """A difference, and its 95 % interval (None where a fit has no replicates, or a mean one value)."""

    value: float
    interval: Interval | None


def difference(fit: IsoflopFit, reference: IsoflopFit) -> Difference:
    """a of `fit` less a of `reference`; their replicates must come from different seeds."""
    value = fit.a - reference.a
    count = min(len(fit.replicates), len(reference.replicates))
    draws = fit.replicates[:count, 1] - reference.replicates[:count, 1]
    return Difference(value, percentile_interval(draws))


def fits(tables: Mapping[str, pd.DataFrame], *, seed: int = 0, **settings: Any) -> dict[str, IsoflopFit]:
    """Approach 2 of each table, each with a seed of its own, so that differences have an interval."""
    return {
        name: fit_isoflop(table, seed=seed + place, **settings)
        for place, (name, table) in enumerate(tables.items())
    }


def optima(found: Mapping[str, IsoflopFit]) -> pd.DataFrame:
    """The floors of all valleys, one row a fit and budget.

    Columns: name, budget, params, tokens, ratio (tokens a parameter), its interval as low and high (NaN
    where there is none), val_loss, bracketed.
    """
    rows = [
        (
            name,
            valley.budget,
            valley.params_opt,
            valley.tokens_opt,
            valley.tokens_per_param,
            *(valley.tokens_per_param_interval or (np.nan, np.nan)),
            valley.loss_opt,
            valley.bracketed,
        )
        for name, fit in found.items()
        for valley in fit.valleys
    ]
    columns = ["name", "budget", "params", "tokens", "ratio", "low", "high", "val_loss", "bracketed"]
    return pd.DataFrame(rows, columns=columns)


def mean(values: NDArray[np.float64]) -> Difference:
    """The mean of some differences, with Student's 95 % interval; None for that where there is only one."""
    middle = float(values.mean())
    if len(values) < 2:
        return Difference(middle, None)
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Difference(middle, (middle - half, middle + half))


def mean_change(table: pd.DataFrame) -> Difference:
    """The mean of the column `change` over cells, with Student's 95 % interval."""
    return mean(table["change"].to_numpy())
