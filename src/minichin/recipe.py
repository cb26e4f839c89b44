"""Is the recipe right at both ends? What other rates, warm-ups and depths gave, beside what the recipe gives.

Decisions:
- A rate or a warm-up is judged by what it changes against the recipe's own at the same width and budget.
- Depths are compared at equal compute, each by the floor of its own valley (approach 2's local parabola).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin import beside
from minichin.fit.table import points
from minichin.fit.valley import budget_groups, fit_floor
from minichin.plan import peak_lr, profile, warmup_steps
from minichin.runs import RunRecord, open_store
from minichin.tables import runs_table


def factors(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Each run's rate and warm-up as multiples of the recipe's, and its loss less that of the recipe itself.

    Columns: budget, width, steps, rate, warmup, val_loss, change (nats; NaN for a diverged run).
    """
    rows = []
    for record in records:
        spec, (rate, warmup) = record.spec, factors_of(record)
        rows.append(
            {
                "budget": spec.budget,
                "width": spec.width,
                "steps": spec.steps,
                "rate": rate,
                "warmup": warmup,
                "val_loss": np.nan if record.val_loss is None else record.val_loss,
            }
        )
    table = pd.DataFrame(rows)
    own = table[(table["rate"] == 1) & (table["warmup"] == 1)]
    return table.assign(change=beside.less(table, own, ["budget", "width"]))


def floors(table: pd.DataFrame, convention: str = "full") -> pd.DataFrame:
    """The floor of every budget's valley at every depth of a table of runs.

    Columns: budget, depth, params, tokens, ratio (tokens a parameter), val_loss, bracketed.
    """
    rows = []
    for depth, part in table.groupby("depth"):
        groups, _ = budget_groups(points(part, convention))
        for group in groups:
            floor = fit_floor(group, group.loss[None])
            params, tokens = float(np.exp(floor.x[0])), float(np.exp(floor.log_d[0]))
            rows.append(
                {
                    "budget": group.budget,
                    "depth": depth,
                    "params": params,
                    "tokens": tokens,
                    "ratio": tokens / params,
                    "val_loss": float(floor.loss[0]),
                    "bracketed": bool(floor.bracketed[0]),
                }
            )
    return pd.DataFrame(rows).sort_values(["budget", "depth"], ignore_index=True)


def regrets(checks: pd.DataFrame) -> pd.DataFrame:
    """How far the recipe's own run lies above the best rate tried: columns budget, width, rate (nats)."""
    some = checks[checks["warmup"] == 1]
    best = some.groupby(["budget", "width"])["val_loss"].min()
    own = some[some["rate"] == 1].groupby(["budget", "width"])["val_loss"].min()
    return (own - best).rename("rate").reset_index()


def exponent(floors: pd.DataFrame) -> float:
    """Slope of ln N over ln C through the floors of two budgets or more, against their nominal budgets."""
    return float(np.polyfit(np.log(floors["budget"]), np.log(floors["params"]), 1)[0])


def redrawn(
    table: pd.DataFrame, depths: Mapping[float, int], draws: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Exponents a over the budgets of `depths` (budget: layers), each run redrawn with its seeds' scatter.

    The scatter is pooled over all cells of a budget that have several seeds, whatever their depth (nats); a
    budget without any is given that of all budgets together. ValueError where no cell has several seeds.
    """
    rng = np.random.default_rng(seed)
    sizes = []
    overall = _scatter(table)
    if np.isnan(overall):
        raise ValueError("no run has a second seed: the scatter of seeds is not known")
    for budget, depth in depths.items():
        part = table[table["budget"] == budget]
        spread = _scatter(part)
        spread = overall if np.isnan(spread) else spread
        (group,), _ = budget_groups(points(part[part["depth"] == depth], "full"))
        noise = spread / np.sqrt(group.seeds) * rng.standard_normal((draws, len(group.loss)))
        sizes.append(fit_floor(group, group.loss + noise).x)
    return np.asarray(np.polyfit(np.log(list(depths)), np.array(sizes), 1)[0])


def _scatter(table: pd.DataFrame) -> float:
    """Standard deviation of seeds (nats), pooled over cells of budget, width, depth; NaN without any."""
    cells = table.groupby(["budget", "width", "depth"])["val_loss"]
    spent = len(table) - cells.ngroups
    squares = ((table["val_loss"] - cells.transform("mean")) ** 2).sum()
    return float(np.sqrt(squares / spent)) if spent else np.nan


def at_scale() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The checks on the GPU, seed 0, three layers: rates as in `factors`, and batches.

    Columns of the second: width, batch_tokens, val_loss; at 1e14 FLOPs, the rate following the batch.
    """
    records = [
        record
        for name in ("published-gpu", "published-gpu-checks")
        for record in open_store(name).records()
        if record.spec.seed == 0 and record.spec.depth == 3
    ]
    batches = profile("gpu").batch_tokens
    assert isinstance(batches, Mapping)
    rates = factors([r for r in records if r.spec.batch_tokens == batches.get(r.spec.budget)])
    tried = rates[rates["rate"] != 1][["budget", "width"]].drop_duplicates()
    other = pd.DataFrame(
        {
            "width": r.spec.width,
            "batch_tokens": r.spec.batch_tokens,
            "val_loss": r.val_loss,
        }
        for r in records
        if r.spec.budget == 1e14 and factors_of(r) == (1, 1)
    )
    several = other.groupby("width")["batch_tokens"].transform("nunique") > 1
    return rates.merge(tried), other[several].sort_values(["width", "batch_tokens"], ignore_index=True)


def factors_of(record: RunRecord) -> tuple[float, float]:
    """Rate and warm-up of a run as multiples of the recipe's."""
    spec = record.spec
    rate = spec.lr / peak_lr(spec.width, spec.steps, spec.batch_tokens)
    return round(rate, 6), round(spec.warmup_steps / warmup_steps(spec.steps), 2)


def depths_at_scale(least: int = 4) -> pd.DataFrame:
    """The GPU's runs at the budgets where there are `least` sizes or more of other depths than three."""
    deep = [r for r in open_store("published-gpu-checks").records() if r.spec.depth != 3]
    table = runs_table([*open_store("published-gpu").records(), *deep])
    sizes = table[table["depth"] != 3].groupby("budget")["width"].nunique()
    return table[table["budget"].isin(sizes[sizes >= least].index)].reset_index(drop=True)
