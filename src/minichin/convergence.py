"""Loss against parameters, tokens and compute; and what it costs to train a model until it learns no more.

Decisions:
- Kaplan's three laws (Kaplan et al. 2020, equations 1.1 to 1.3) have no floor: L ∝ x^-slope. They are asked
  along the frontier, where all three variables grow, and their slopes are given for the first and the last
  third, since a law with a floor has no one slope.
- The laws in size and in tokens are also asked as he did, with the other in plenty (`in_plenty`), of the runs
  that no run with less of that variable beats (`front`).
- What a long run of a small model costs is held against the frontier that was trained, not against a fit: the
  compute at which the best size reaches the same loss, read off the floors of the valleys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin import campaign
from minichin.fit.result import Valley
from minichin.law import LossSurface

AXES = {"flops": "compute", "params": "parameters", "tokens": "tokens"}


@dataclass(frozen=True)
class Slope:
    """−d ln L / d ln x along the frontier: over all budgets, over the first third, and over the last."""

    whole: float
    first: float
    last: float


PLENTY = {"params_non_embedding": (50.0, np.inf), "tokens": (0.0, 10.0), "flops": (0.0, np.inf)}


def _slope(x: NDArray[np.float64], loss: NDArray[np.float64]) -> Slope:
    """Slopes of ln `loss` over ln `x`, in rising order: of all points, of their first and last third."""
    third = len(x) // 3
    parts = (slice(None), slice(third), slice(-third, None))
    return Slope(*(-float(np.polyfit(np.log(x[part]), np.log(loss[part]), 1)[0]) for part in parts))


def front(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """The runs, in rising `column`, whose loss is lower than that of every run with no more of it."""
    known = runs.dropna(subset=["val_loss"]).sort_values([column, "val_loss"], ignore_index=True)
    return known[known["val_loss"] < known["val_loss"].cummin().shift(fill_value=np.inf)]


def in_plenty(runs: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, Slope]]:
    """Each variable of `PLENTY` with its front, within these tokens a parameter, and the front's slopes.

    Sizes need text in plenty, tokens large models; compute is as it is. ValueError with fewer than six runs.
    """
    ratio = runs["tokens"] / runs["params"]
    found = {}
    for column, (low, high) in PLENTY.items():
        best = front(runs[(ratio >= low) & (ratio <= high)], column)
        if len(best) < 6:
            raise ValueError(f"slopes of thirds need six runs or more; the front of {column} has {len(best)}")
        found[column] = best, _slope(best[column].to_numpy(float), best["val_loss"].to_numpy(float))
    return found


def slopes(valleys: Sequence[Valley]) -> dict[str, Slope]:
    """The slopes of ln loss over ln compute, parameters and tokens at the optima; keys of `AXES`.

    ValueError with fewer than six valleys.
    """
    if len(valleys) < 6:
        raise ValueError(f"slopes of thirds need six budgets or more; these are {len(valleys)}")
    loss = np.array([valley.loss_opt for valley in valleys])
    columns = {
        "flops": [valley.flops for valley in valleys],
        "params": [valley.params_opt for valley in valleys],
        "tokens": [valley.tokens_opt for valley in valleys],
    }
    return {name: _slope(np.array(values), loss) for name, values in columns.items()}


def compute_needed(loss: float, valleys: Sequence[Valley]) -> float:
    """FLOPs (full count) at which the best size reaches `loss`, between floors in logarithms; NaN beyond."""
    log_c = np.log([valley.flops for valley in valleys])
    floors = np.log([valley.loss_opt for valley in valleys])
    order = np.argsort(floors)
    wanted = np.log(loss)
    return float(np.exp(np.interp(wanted, floors[order], log_c[order], np.nan, np.nan)))


def long_runs(store: str | Path = "", widths: Sequence[int] = (8, 12, 16)) -> pd.DataFrame:
    """The runs of small models at every budget that they were given, from `main` and `convergence`."""
    tables = [campaign.table(name, store) for name in ("main", "convergence")]
    runs = pd.concat(tables, ignore_index=True).drop_duplicates("spec_hash")
    return runs[runs["width"].isin(widths) & (runs["seed"] == 0)].reset_index(drop=True)


def waste(runs: pd.DataFrame, valleys: Sequence[Valley]) -> pd.DataFrame:
    """What each run cost, and what its loss would have cost on the frontier.

    Columns: width, params, budget, ratio (tokens a parameter), val_loss, frontier (FLOPs there), times.
    """
    needed = np.array([compute_needed(loss, valleys) for loss in runs["val_loss"]])
    return pd.DataFrame(
        {
            "width": runs["width"],
            "params": runs["params"],
            "budget": runs["budget"],
            "ratio": runs["tokens"] / runs["params"],
            "val_loss": runs["val_loss"],
            "frontier": needed,
            "times": runs["budget"] / needed,
        }
    ).sort_values(["width", "budget"], ignore_index=True)


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """What each further stretch of training brought: columns width, from_budget, to_budget, gain (nats)."""
    rows = []
    for width, part in table.groupby("width"):
        part = part.sort_values("budget")
        rows.append(
            pd.DataFrame(
                {
                    "width": width,
                    "from_budget": part["budget"].to_numpy()[:-1],
                    "to_budget": part["budget"].to_numpy()[1:],
                    "gain": -np.diff(part["val_loss"]),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def above_converged(surface: LossSurface, flops: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a compute-optimal model ends above its own converged loss, as a share of that: L / L(N, ∞) − 1.

    At the optimum α A/N^α = β B/D^β, so this is (α/β) A N^-α / (E + A N^-α).
    """
    best = surface.optimum(flops)
    converged = surface.E + surface.A * np.asarray(best.params) ** -surface.alpha
    return np.asarray(best.loss / converged - 1)
