"""Predictions that were written down before the runs, held against the valleys that were trained afterwards.

Decisions:
- What was said lies in files that were committed before any of the runs that test it had ended
  (`STATEMENTS`); it is read, and never computed anew.
- A prediction hits where its 95 % interval holds the optimum of the later valley. Where only the intervals
  of both touch, that is said, and is no hit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any

import pandas as pd

from minichin.fit import Interval, Valley

#: budgets that it was made from -> file of the package's data, and the FLOPs that it was tested at.
STATEMENTS = MappingProxyType(
    {
        "up to 10¹²": ("prediction_from_1e12.json", 1e13),
        "up to 3 × 10¹²": ("prediction_from_3e12.json", 3e13),
        "up to 3 × 10¹⁵": ("statement_1e16.json", 1e16),
    }
)
QUANTITIES = ("params", "tokens", "loss")


def stated(file: str, budget: float) -> dict[str, Any]:
    """The statement on `budget` FLOPs in a file of the package's data: `approach1` to `approach3`, or fewer.

    ValueError where the file says nothing of that budget (to a hundredth).
    """
    content = json.loads(resources.files("minichin.data").joinpath(file).read_text("utf-8"))
    for found in content["predictions"]:
        if abs(found["flops"] / budget - 1) < 0.01:
            return dict(found)
    raise ValueError(f"{file} says nothing of {budget:g} FLOPs")


def verdict(said: Interval, found: float, found_interval: Interval | None) -> str:
    """`hit` where `said` holds `found`, `touches` where it meets that one's interval only, else `miss`."""
    if said[0] <= found <= said[1]:
        return "hit"
    if found_interval is not None and said[0] <= found_interval[1] and found_interval[0] <= said[1]:
        return "touches"
    return "miss"


def compare(said: Mapping[str, Any], valley: Valley) -> pd.DataFrame:
    """Every quantity that was stated, beside the optimum of `valley`, and the verdict.

    Columns: approach, quantity, said, low, high, found, found_low, found_high (NaN for a loss, which has no
    interval), miss = said / found − 1, verdict.
    """
    truth: dict[str, tuple[float, Interval | None]] = {
        "params": (valley.params_opt, valley.params_opt_interval),
        "tokens": (valley.tokens_opt, valley.tokens_opt_interval),
        "loss": (valley.loss_opt, None),
    }
    rows = []
    for approach in (1, 2, 3):
        of_this = said.get(f"approach{approach}", {})
        for name in QUANTITIES:
            if of_this.get(name) is None:
                continue
            low, high = of_this[f"{name}_interval"]
            found, interval = truth[name]
            found_low, found_high = interval or (math.nan, math.nan)
            rows.append(
                {
                    "approach": approach,
                    "quantity": name,
                    "said": of_this[name],
                    "low": low,
                    "high": high,
                    "found": found,
                    "found_low": found_low,
                    "found_high": found_high,
                    "miss": of_this[name] / found - 1,
                    "verdict": verdict((low, high), found, interval),
                }
            )
    return pd.DataFrame(rows)


def tests(valleys: Sequence[Valley]) -> pd.DataFrame:
    """`compare` of every statement with its valley among `valleys`; the column `statement` names it first."""
    by_budget = {valley.budget: valley for valley in valleys}
    tables = [
        compare(stated(file, budget), by_budget[budget]).assign(statement=name, budget=budget)
        for name, (file, budget) in STATEMENTS.items()
    ]
    return pd.concat(tables, ignore_index=True)
