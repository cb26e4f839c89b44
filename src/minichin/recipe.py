"""Is the recipe right at both ends? What other rates, warm-ups and depths gave, beside what the recipe gives.

Decisions:
- A rate or a warm-up is judged by what it changes against the recipe's own at the same width and budget.
- Depths are compared at equal compute, each by the floor of its own valley (approach 2's local parabola).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from minichin import beside
from minichin.fit.table import points
from minichin.fit.valley import budget_groups, fit_floor
from minichin.plan import peak_lr, warmup_steps
from minichin.runs import RunRecord


def factors(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Each run's rate and warm-up as multiples of the recipe's, and its loss less that of the recipe itself.

    Columns: budget, width, steps, rate, warmup, val_loss, change (nats; NaN for a diverged run).
    """
    rows = []
    for record in records:
        spec = record.spec
        rows.append(
            {
                "budget": spec.budget,
                "width": spec.width,
                "steps": spec.steps,
                "rate": round(spec.lr / peak_lr(spec.width, spec.steps, spec.batch_tokens), 6),
                "warmup": round(spec.warmup_steps / warmup_steps(spec.steps), 2),
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
