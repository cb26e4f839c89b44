"""Why Kaplan found 0.73: his rule spent at one budget, and the peculiarities of his procedure one by one.

Decisions:
- Each ablation is held against the unchanged recipe in the same cells (budget, width, seed); see `beside`.
- A change moves an optimum by its slope over sizes, not by its mean, so the slope is what `tilts` gives:
  above zero the large models of a budget suffer most, and its optimum moves to smaller ones.
- A rescored sweep keeps the groups that competed at equal `full` FLOPs. `recount` lets runs compete at equal
  compute by another count: a quadratic in ln N and ln D through all losses stands in for runs not trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin import beside, campaign
from minichin.experiments import SMALL
from minichin.fit import Interval
from minichin.fit.result import percentile_interval
from minichin.plan import make_spec

#: experiment -> what it changes.
ABLATIONS = {
    "long-warmup": "long warm-up",
    "long-cosine": "unmatched cosine",
    "untuned-rate": "untuned rate",
    "large-batch": "large batch",
    "as-kaplan": "all four",
}
UNCHANGED = "unchanged"
RULE_BUDGET, PAPER_WIDTH, KAPLAN_WIDTH = 1e13, 72, 96


def small(store: str | Path = "") -> pd.DataFrame:
    """All seeds of the unchanged recipe at the ablations' three budgets."""
    table = campaign.table("main", store)
    return table[table["budget"].isin(SMALL)].reset_index(drop=True)


def ablations(store: str | Path = "") -> dict[str, pd.DataFrame]:
    """The unchanged runs in the ablations' cells, then each ablation, by the names of `ABLATIONS`."""
    changed = {label: campaign.table(name, store) for name, label in ABLATIONS.items()}
    return {UNCHANGED: beside.matched(small(store), next(iter(changed.values()))), **changed}


class Contest(NamedTuple):
    """Kaplan's model less the paper's at one budget: mean loss in nats, its 95 % interval, and seeds."""

    value: float
    interval: Interval | None
    seeds: int
    worse: int  # seeds in which Kaplan's model has the higher loss


def contest(table: pd.DataFrame) -> Contest:
    """Compare the two widths seed by seed; the interval is Student's over the seeds' differences."""
    losses = table.pivot(index="seed", columns="width", values="val_loss")
    if {PAPER_WIDTH, KAPLAN_WIDTH} - set(losses):
        raise ValueError(f"the widths {PAPER_WIDTH} and {KAPLAN_WIDTH} are needed, found {list(losses)}")
    gaps = (losses[KAPLAN_WIDTH] - losses[PAPER_WIDTH]).dropna().to_numpy()
    if not len(gaps):
        raise ValueError(f"no seed has both widths, {PAPER_WIDTH} and {KAPLAN_WIDTH}")
    return Contest(*beside.mean(gaps), len(gaps), int((gaps > 0).sum()))


def contest_text(found: Contest) -> str:
    """One sentence: which rule wins, and is that beyond the seeds?"""
    winner = "the paper's" if found.value > 0 else "Kaplan's"
    start = f"Over {found.seeds} seeds {winner} way has the lower mean loss"
    if found.interval is None:
        return f"{start}; one seed has no interval, so nothing more can be said."
    if found.interval[0] <= 0 <= found.interval[1]:
        return f"{start}, but the interval of the difference contains zero: these seeds cannot tell."
    return f"{start}, and the interval of the difference excludes zero."


def tilts(changes: pd.DataFrame) -> pd.Series:
    """Slope of the column `change` (`beside.changes`) against ln params, by budget: nats per e-fold."""
    return pd.Series(
        {
            budget: float(np.polyfit(np.log(part["params"]), part["change"], 1)[0])
            for budget, part in changes.groupby("budget")
        }
    )


class Recount(NamedTuple):
    """The exponent of the best size when runs compete at equal compute by one count."""

    a: float
    interval: Interval | None
    params: NDArray[np.float64]  # best sizes, by that count
    inside: bool  # no optimum lies at the smallest or largest size trained


def _design(log_n: NDArray[np.float64], log_d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns 1, n, d, n², nd, d² of a quadratic, centred where our runs are."""
    n, d = log_n - np.log(5e4), log_d - np.log(1e6)
    return np.stack([np.ones_like(n), n, d, n * n, n * d, d * d], axis=-1)


def _sizes(widths: pd.Series, count: int = 400) -> dict[str, NDArray[np.float64]]:
    """ln of all weights, of the others than embeddings, and of FLOPs a token, between the widths trained."""
    grid = np.arange(int(widths.min()), int(widths.max()) + 1, 4)
    shapes = [make_spec(1e12, int(width)).shape for width in grid]
    fine = np.linspace(np.log(grid[0]), np.log(grid[-1]), count)
    columns: dict[str, list[float]] = {
        "all": [shape.params for shape in shapes],
        "some": [shape.params_non_embedding for shape in shapes],
        "flops": [shape.flops_per_token("full") for shape in shapes],
    }
    return {name: np.interp(fine, np.log(grid), np.log(values)) for name, values in columns.items()}


def recount(table: pd.DataFrame, convention: str = "full", *, bootstrap: int = 200, seed: int = 0) -> Recount:
    """Let sizes compete at equal compute by `convention`: `full`, `6ND` or `6ND_non_embedding`.

    ln loss is fitted as a quadratic in ln N and ln D (all weights). The budgets by another count are what
    the `full` optima cost by that count. The interval (95 %) redraws the residuals; what the quadratic
    itself misses of a law's valleys, up to 0.03 in a on planted ones, is not in it.
    """
    design = _design(np.log(table["params"].to_numpy(float)), np.log(table["tokens"].to_numpy(float)))
    losses = np.log(table["val_loss"].to_numpy())
    fitted = design @ np.linalg.lstsq(design, losses, rcond=None)[0]
    free = np.sqrt(len(losses) / (len(losses) - design.shape[1]))
    left = (losses - fitted) * free
    rng = np.random.default_rng(seed)
    draws = [losses, *(fitted + rng.choice(left, len(left)) for _ in range(bootstrap))]
    coefficients = np.linalg.lstsq(design, np.stack(draws, axis=1), rcond=None)[0].T
    sizes = _sizes(table["width"])
    log_n = sizes["some" if convention == "6ND_non_embedding" else "all"]
    cost = sizes["flops"] if convention == "full" else np.log(6) + log_n
    budgets = np.log(np.sort(table["budget"].unique()))
    found = []
    for one in coefficients:
        levels = budgets
        if convention != "full":
            places = _best(one, sizes["all"], sizes["flops"], budgets)
            levels = budgets + (cost - sizes["flops"])[places]
        places = _best(one, sizes["all"], cost, levels)
        found.append((np.polyfit(levels, log_n[places], 1)[0], places))
    best = found[0][1]
    slopes = np.array([slope for slope, _ in found])
    return Recount(
        float(slopes[0]),
        percentile_interval(slopes[1:]) if bootstrap else None,
        np.exp(log_n[best]),
        bool(np.all((best > 0) & (best < len(log_n) - 1))),
    )


def _best(
    quadratic: NDArray[np.float64],
    log_n: NDArray[np.float64],
    cost: NDArray[np.float64],
    levels: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Index of the lowest loss among the sizes, at each level of ln compute."""
    log_d = levels[:, None] - cost
    return np.argmin(_design(np.broadcast_to(log_n, log_d.shape), log_d) @ quadratic, axis=1)
