"""Approach 1: the lower envelope of training curves, and which size lies on it at each compute.

Decisions
- Held-out curves are interpolated in ln FLOPs at 1,500 log-spaced counts, as Hoffmann et al. 2022, section
  3.1. They smooth noisy batch losses; ours are losses on one held-out text, so `smooth` is 0 evaluations by
  default.
- A point is on the envelope only if no cheaper run has reached its loss.  Just above a budget nothing but
  runs in mid-training remains, with their learning rates still high; those do not beat what has finished,
  and are left out by this rule.  The winners then lie late in their runs, as the paper's do (its last 15%).
- Seeds of one (budget, size) are averaged: otherwise a size with three seeds wins by its luckiest draw.
- Where the winner is the smallest or largest size of its budget (or, without budgets, of the runs still
  going), the frontier lies beyond what was sampled: such points stay in `frontier`, with `used` False.
- The first fifth of each run, which holds the warm-up, is ignored.  The range of compute begins where the
  cheapest run has 15 % to go.
- Runs compete at equal counted FLOPs whatever the convention, which only says what the winners are scored
  by.
- A bootstrap replicate shifts each cell's curve as a whole by its noise and finds the winners anew.
  (Redrawing the cells with replacement as well was tried on planted sweeps: intervals twice too wide.) Only
  where nothing tells the noise are cells redrawn instead.
- The winners come from a ladder of sizes.  Its coarseness is not noise, and the interval does not hold it:
  on the noise-free final losses of a published exercise the raw minimum gives a = 0.469 for a true 0.514.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.fit.bootstrap import Noise, exponent_intervals, power_law, stack_replicates
from minichin.fit.isoflop import budget_groups, fit_floor, pooled_noise
from minichin.fit.race import Race, find_runs, race_of_curves, race_of_finals
from minichin.fit.result import EnvelopeFit, FitError
from minichin.fit.table import Points, Table, as_frame, drop_diverged, points, require_columns, row_numbers
from minichin.law import Floats

CHUNK = 32


def fit_envelope(
    table: Table,
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    skip: float = 0.2,
    smooth: float = 0.0,
) -> EnvelopeFit:
    """Fit N_opt ∝ C^a and D_opt ∝ C^b to the envelope of training curves (Hoffmann et al. 2022, approach 1).

    `table` has a row an evaluation, with `spec_hash` (or `run`) naming the run; with a row a run the envelope
    is that of final losses, and says so (`no_curves`).  `skip` is the part of each run that is ignored at its
    start, `smooth` the standard deviation of a Gaussian window in evaluations.
    ValueError for a bad table, FitError where the envelope never changes size.
    """
    if not 0 <= skip < 1 or smooth < 0:
        raise ValueError(f"skip must lie in [0, 1) and smooth be 0 or more, got {skip} and {smooth}")
    frame, lost = _finite_runs(as_frame(table))
    data, full = points(frame, convention), points(frame, "full").log_c
    curves, ends = find_runs(data)
    warnings: list[str] = []
    notes: list[str] = []
    finals = data.take(ends)
    if curves:
        race = race_of_curves(data, full, skip, smooth)
    else:
        warnings.append("no_curves")
        notes.append("one row a run: the envelope is that of final losses, one point a budget")
        race = race_of_finals(finals, full[ends])
    winner, on = _winners(race.loss[None])
    frontier = _frontier(race, winner[0], on[0])
    used = _usable(race, winner, on)
    _doubts(frontier, used, warnings, notes)
    if not used.any():
        used = on
    n_line, d_line = _lines(race, winner, used)
    noise = _final_noise(finals)
    if noise is None:
        warnings.append("seed_noise_unknown")
        notes.append("nothing tells the seed noise, so the intervals come from redrawing runs alone")
    replicates = _replicates(race, noise, bootstrap, seed)
    return EnvelopeFit(
        approach=1,
        convention=convention,
        n_opt=power_law(n_line[0][0], n_line[1][0]),
        d_opt=power_law(d_line[0][0], d_line[1][0]),
        **exponent_intervals(replicates),
        warnings=tuple(warnings),
        notes=tuple(notes),
        dropped=lost + data.dropped,
        resample="noise",
        interval_kind="percentile",
        replicates=replicates,
        frontier=frontier,
    )


def _finite_runs(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[dict[str, object], ...]]:
    """Leave out whole curves that reached a loss that is no number, and say which rows those were."""
    loss, name = require_columns(frame), next((c for c in ("spec_hash", "run") if c in frame), None)
    frame, dropped = drop_diverged(frame)
    if name is None or not frame[name].duplicated().any() or not pd.api.types.is_numeric_dtype(frame[loss]):
        return frame, tuple(dict(d) for d in dropped)
    bad = frame[name].isin(frame.loc[~np.isfinite(frame[loss].to_numpy(dtype=float)), name]).to_numpy()
    rows = row_numbers(frame)
    kept = frame.set_axis(pd.Index(rows, name="row"))[~bad]
    gone = tuple({"row": int(r), "why": "the run diverged: its loss is no number"} for r in rows[bad])
    return kept, tuple(dict(d) for d in dropped) + gone


def _winners(loss: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Winning cell at each compute of (replicates, cells, compute), and whether it is on the envelope."""
    winner = loss.argmin(axis=1)
    best = np.take_along_axis(loss, winner[:, None], axis=1)[:, 0]
    return winner, np.isfinite(best) & (best <= np.minimum.accumulate(best, axis=1))


def _usable(race: Race, winner: NDArray[np.int64], on: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Envelope points whose winner has sampled sizes on both sides."""
    return on & ~race.edge[winner, np.arange(winner.shape[1])]


def _lines(
    race: Race, winner: NDArray[np.int64], used: NDArray[np.bool_]
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Lines of the winners' ln N and ln D against their ln C over the `used` points, an entry a replicate."""
    column = np.arange(winner.shape[1])
    x = np.where(used, race.log_c[winner, column], 0.0)
    count = np.maximum(used.sum(axis=1, keepdims=True), 1)
    mean_x = x.sum(axis=1, keepdims=True) / count
    centred = np.where(used, x - mean_x, 0.0)
    squares = (centred**2).sum(axis=1)
    results = []
    for y in (race.log_n[winner], race.log_d[winner, column]):
        y = np.where(used, y, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = (centred * y).sum(axis=1) / squares
        results.append((y.sum(axis=1) / count[:, 0] - slope * mean_x[:, 0], slope))
    return results[0], results[1]


def _frontier(race: Race, winner: NDArray[np.int64], on: NDArray[np.bool_]) -> pd.DataFrame:
    """The envelope as a table, one row a compute."""
    column = np.flatnonzero(on)
    cell = winner[column]
    return pd.DataFrame(
        {
            "flops": np.exp(race.log_c[cell, column]),
            "params": np.exp(race.log_n[cell]),
            "tokens": np.exp(race.log_d[cell, column]),
            "val_loss": race.loss[cell, column],
            "spec_hash": race.name[cell],
            "fraction_of_run": race.fraction[cell, column],
            "used": ~race.edge[cell, column],
        }
    )


def _doubts(frontier: pd.DataFrame, used: NDArray[np.bool_], warnings: list[str], notes: list[str]) -> None:
    """Name an envelope that leaves the sampled sizes, or that rests on few of them."""
    outside = float(1 - frontier["used"].mean())
    if outside > 0.1:
        warnings.append("minimum_not_bracketed")
        fate = "left out" if used.any() else "kept, for nothing else remains"
        notes.append(f"{outside:.0%} of the envelope is won by an outermost size of its budget: {fate}")
    rest = frontier[frontier["used"]] if used.any() else frontier
    sizes = rest["params"].round(6).nunique()
    if sizes < 2 or rest["flops"].nunique() < 2:
        raise FitError(
            f"the envelope has {sizes} size over its whole compute: it shows no exponent", tuple(warnings)
        )
    if sizes < 3:
        warnings.append("too_few_budgets")
        notes.append(f"only {sizes} sizes lie on the usable envelope")


def _final_noise(finals: Points) -> Noise | None:
    """Noise of final losses: between seeds, and about local parabolas where there are IsoFLOP budgets."""
    groups, _ = budget_groups(finals)
    if not groups:
        return None
    return pooled_noise(groups, [fit_floor(g, g.loss[None]) for g in groups])


def _replicates(race: Race, noise: Noise | None, count: int, seed: int) -> Floats:
    """Envelopes of shifted (or redrawn) cells: columns ln k_N, a, ln k_D, b."""
    rng = np.random.default_rng(seed)
    cells = len(race.seeds)
    parts = [np.empty((0, 4))]
    for begin in range(0, count, CHUNK):
        size = min(CHUNK, count - begin)
        if noise is not None:
            shift = noise.draw(rng, race.seeds, noise.spread(rng, size))
        else:
            drawn = rng.multinomial(cells, np.full(cells, 1 / cells), size) > 0
            shift = np.where(drawn, 0.0, np.inf)
        loss = race.loss + shift[:, :, None]
        winner, on = _winners(loss)
        used = _usable(race, winner, on)
        n_line, d_line = _lines(race, winner, used)
        parts.append(stack_replicates(n_line, d_line))
    return np.concatenate(parts)
