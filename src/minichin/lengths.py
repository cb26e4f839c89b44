"""The length of the schedule: what a cosine that is too long costs, and many lengths from one constant run.

Decisions:
- The cost of a cosine of `cycle` times the run is taken within each seed: the loss less that of the same
  seed at a cycle of 1, so that what is common to a seed drops out.
- Few seeds tell their spread badly. All cells of a table share one standard deviation, pooled over them,
  and intervals are Student's with its degrees of freedom.
- What one trunk saves is counted in optimiser steps of one model, hence in FLOPs: the longest length's
  constant part once, and every length's own cooldown, against every length from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from minichin import beside
from minichin.engine import COOLDOWN
from minichin.plan import RunSpec

LADDER = ["budget", "width"]


def cycle_costs(table: pd.DataFrame) -> pd.DataFrame:
    """What each cycle costs against a cycle of 1, one row a ladder and cycle.

    Columns: budget, width, cycle, seeds, cost (mean over seeds, nats), least, most, low, high (95 %).
    """
    others = table[table["cycle"] > 1]
    cost = beside.less(others, table[table["cycle"] == 1], beside.CELL)
    cells = others.assign(cost=cost).groupby([*LADDER, "cycle"])["cost"]
    found = cells.agg(seeds="count", cost="mean", least="min", most="max").reset_index()
    free = int((found["seeds"] - 1).sum())
    if free < 1:
        raise ValueError("every cell has one seed; their spread, and so an interval, needs two or more")
    spread = float(np.sqrt((cells.var(ddof=1).to_numpy() * (found["seeds"] - 1)).sum() / free))
    half = stats.t.ppf(0.975, free) * spread / np.sqrt(found["seeds"])
    return found.assign(low=found["cost"] - half, high=found["cost"] + half)


def first_clear(costs: pd.DataFrame) -> float | None:
    """The smallest cycle from which on every ladder's interval of the cost lies above zero; None if none."""
    clear = None
    for cycle, rows in sorted(costs.groupby("cycle"), reverse=True):
        if not (rows["low"] > 0).all():
            break
        clear = float(cycle)  # type: ignore[arg-type]
    return clear


def constant_steps(spec: RunSpec) -> float:
    """Steps before the cooldown: the warm-up and four fifths of what follows."""
    return spec.warmup_steps + (1 - COOLDOWN) * (spec.steps - spec.warmup_steps)


class Saving(NamedTuple):
    """FLOPs of some lengths of a model, each trained by itself, and from one trunk."""

    separate: float
    trunk: float

    @property
    def share(self) -> float:
        """The trunk's FLOPs as a share of the separate runs'."""
        return self.trunk / self.separate


def saving(specs: Iterable[RunSpec]) -> Saving:
    """FLOPs (full count) of specs, alone and with one trunk for each width and seed.

    The trunk runs to the latest begin of a cooldown, and each length adds its own cooldown to it.
    """
    ladders: dict[tuple[int, int], list[RunSpec]] = {}
    for spec in specs:
        ladders.setdefault((spec.width, spec.seed), []).append(spec)
    separate = trunk = 0.0
    for ladder in ladders.values():
        a_step = ladder[0].batch_tokens * ladder[0].shape.flops_per_token("full")
        begins = [constant_steps(spec) for spec in ladder]
        separate += a_step * sum(spec.steps for spec in ladder)
        ends = sum(spec.steps - begin for spec, begin in zip(ladder, begins, strict=True))
        trunk += a_step * (max(begins) + ends)
    return Saving(separate, trunk)


def saving_of(lengths: Sequence[float]) -> float:
    """The share for lengths L without warm-up: (0.8 max L + 0.2 sum L) / sum L."""
    return (1 - COOLDOWN) * max(lengths) / sum(lengths) + COOLDOWN


def between_budgets(table: pd.DataFrame, width: int, flops: float) -> float:
    """The loss of `width` at `flops`, between its budgets: a parabola in ln loss against ln FLOPs.

    Seeds of a budget are averaged; with exactly three budgets the parabola goes through all. `ValueError`
    more than 1 % outside of the budgets, or with fewer than three.
    """
    means = table[table["width"] == width].groupby("budget")["val_loss"].mean()
    low, high = means.index.min(), means.index.max()
    if len(means) < 3 or not 0.99 * low <= flops <= 1.01 * high:
        raise ValueError(
            f"width {width} has budgets {list(means.index)}; {flops:g} FLOPs must lie between three of them"
        )
    x = np.log(np.asarray(means.index, dtype=float))
    curve = np.polynomial.Polynomial.fit(x, np.log(means.to_numpy()), 2)
    return float(np.exp(curve(np.log(flops))))


def trunk_costs(trunk: pd.DataFrame, cosine: pd.DataFrame) -> pd.DataFrame:
    """Each length of one trunk with `own`, the loss of a cosine run of that length, and `cost`, the rest.

    The cosine's loss lies between its budgets (`between_budgets`); lengths rise.
    """
    own = [
        between_budgets(cosine, int(width), float(flops))
        for width, flops in zip(trunk["width"], trunk["flops"], strict=True)
    ]
    found = trunk.assign(own=own, part=trunk["steps"] / trunk["steps"].max())
    return found.assign(cost=found["val_loss"] - found["own"]).sort_values("steps", ignore_index=True)
