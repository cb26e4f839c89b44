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
- Where any winner is not in the last 15 % of its run the fit says so (`winners_mid_run`).  All of the
  paper's were; with budgets more than 15 % apart some here are not.
- A bootstrap replicate shifts each cell's curve as a whole by new noise and finds the winners anew.  In
  simulated studies (four budgets half a decade apart, seven sizes each, one or three seeds, 0.01 nats of
  noise, symmetric and asymmetric surfaces, ladders not centred on the truth; 100 studies of 200 replicates
  a design) its 95 % percentile interval of a held the truth in 97 to 99 %, and in 98 to 100 % with the same
  sizes at every budget, where BCa held it in 82 to 90 % (at noise of 1 % of the loss).  Redrawing cells
  (`seeds`, BCa) held it in 97 to 99 %, with intervals about twice as wide; redrawing runs (`rows`) in 99 to
  100 %, as narrow as noise only where cells have several seeds; redrawing four `budgets` in 78 to 85 %.  So
  `noise` with percentiles is the default.  Only where nothing tells the noise are cells redrawn instead.
- The hull has a vertex or so a budget, where the envelope averages over stretches: in the same studies its a
  spread up to 1.6 times as far, and its interval under `noise` held the truth in 92 to 99 %.
- The winners come from a ladder of sizes.  Its coarseness is not noise, and the interval does not hold it:
  on the noise-free final losses of a published exercise the raw minimum gives a = 0.469 for a true 0.514.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from minichin.fit.bootstrap import Noise, check_scheme, exponent_intervals, power_law, unit_labels
from minichin.fit.heats import as_measured, exponents, leaders, left_out, noisy, redrawn
from minichin.fit.interpolate import Index
from minichin.fit.isoflop import budget_groups, fit_floor, pooled_noise
from minichin.fit.race import LAST, Race, find_runs, iso_budgets, race_of_curves, race_of_finals
from minichin.fit.result import EnvelopeFit, FitError
from minichin.fit.table import (
    Points,
    Table,
    as_frame,
    cluster_budgets,
    drop_diverged,
    points,
    require_columns,
    require_rows,
    row_numbers,
)
from minichin.fit.table import (
    left_out as rows_left_out,
)
from minichin.law import Floats

METHODS = ("envelope", "hull")


def fit_envelope(
    table: Table,
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    resample: str = "noise",
    interval: str = "percentile",
    method: str = "envelope",
    skip: float = 0.2,
    smooth: float = 0.0,
) -> EnvelopeFit:
    """Fit N_opt ∝ C^a and D_opt ∝ C^b to the envelope of training curves (Hoffmann et al. 2022, approach 1).

    `table` has a row an evaluation, with `spec_hash` (or `run`) naming the run; with a row a run the envelope
    is that of final losses, and says so (`no_curves`).  `skip` is the part of each run that is ignored at its
    start, `smooth` the standard deviation of a Gaussian window in evaluations.  `method` takes every point of
    the envelope ("envelope") or the vertices of its lower convex hull ("hull").
    `resample` and `interval` are those of `bootstrap`.
    ValueError for a bad table, FitError where the envelope never changes size.
    """
    _check(resample, interval, method, bootstrap, skip, smooth)
    frame, lost = _finite_runs(as_frame(table))
    race, finals, curves = _field(points(frame, convention), points(frame, "full").log_c, skip, smooth)
    warnings = [] if curves else ["no_curves"]
    notes = [] if curves else ["one row a run: the envelope is that of final losses, one point a budget"]
    hull = method == "hull"
    frontier = _frontier(race, hull)
    if not frontier["used"].any():
        race = replace(race, edge=np.zeros_like(race.edge))
    _doubts(frontier, warnings, notes)
    estimate = exponents(race, as_measured(race), hull)[0]
    noise = _final_noise(finals)
    if noise is None and resample == "noise":
        resample = "seeds"
        warnings.append("seed_noise_unknown")
        notes.append("nothing tells the seed noise: the intervals redraw cells instead (resample: seeds)")
    replicates, jackknife = np.empty((0, 4)), None
    if bootstrap:
        labels, units = _units(race, finals, resample)
        rng = np.random.default_rng(seed)
        if noise and resample == "noise":
            heats = noisy(race, noise, rng, bootstrap)
        else:
            heats = redrawn(race, labels, units, rng, bootstrap)
        replicates = _told(exponents(race, heats, hull), notes)
        jackknife = exponents(race, left_out(race, labels, units), hull) if interval == "bca" else None
    return EnvelopeFit(
        approach=1,
        convention=convention,
        n_opt=power_law(*estimate[:2]),
        d_opt=power_law(*estimate[2:]),
        **exponent_intervals(replicates, estimate, jackknife),
        warnings=tuple(warnings),
        notes=tuple(notes),
        dropped=lost + finals.dropped,
        resample=resample,
        interval_kind=interval,
        replicates=replicates,
        frontier=frontier,
    )


def _check(resample: str, interval: str, method: str, bootstrap: int, skip: float, smooth: float) -> None:
    """ValueError for an argument that cannot be."""
    check_scheme(resample, interval)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be 0 or more replicates, got {bootstrap}")
    if not (0 <= skip < 1 and 0 <= smooth < np.inf):
        raise ValueError(f"skip must lie in [0, 1) and smooth be 0 or more, got {skip} and {smooth}")


def _finite_runs(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[Mapping[str, object], ...]]:
    """Leave out whole curves that reached a loss that is no number, and say which rows those were."""
    loss, name = require_columns(frame), next((c for c in ("spec_hash", "run") if c in frame), None)
    frame, dropped = drop_diverged(frame)
    if name is None or not frame[name].duplicated().any() or not pd.api.types.is_numeric_dtype(frame[loss]):
        return frame, dropped
    bad = frame[name].isin(frame.loc[~np.isfinite(frame[loss].to_numpy(dtype=float)), name]).to_numpy()
    rows = row_numbers(frame)
    kept = frame.set_axis(pd.Index(rows, name="row"))[~bad]
    return kept, dropped + rows_left_out(rows[bad], "the run diverged: its loss is no number")


def _field(data: Points, full: Floats, skip: float, smooth: float) -> tuple[Race, Points, bool]:
    """The race, the runs' last rows (as `Race.run` counts them), and whether there are curves."""
    require_rows(len(data), 4, "approach 1")
    curves, ends = find_runs(data)
    finals = data.take(ends)
    if curves:
        if not finals.budget_given:
            finals = replace(finals, budget=cluster_budgets(full[ends]))
        return race_of_curves(data, full, ends, skip, smooth), finals, True
    iso = iso_budgets(finals)
    budgets = np.unique(finals.budget[iso]).size >= 2
    if budgets:
        finals = finals.take(iso, "its budget has fewer than three sizes, or is no single budget")
        full = full[iso]
    return race_of_finals(finals, full, budgets), finals, False


def _units(race: Race, finals: Points, resample: str) -> tuple[Index, int]:
    """Label of the unit that each run of the race is drawn with, and how many units there are."""
    if resample in ("rows", "budgets"):
        labels = unit_labels(finals, resample)
        labels, units = labels[race.run], int(labels.max()) + 1
    else:
        labels, units = np.repeat(np.arange(race.seeds.size), race.seeds), race.cells
    if units < 2:
        raise FitError(f"resampling by {resample} needs two units or more, the table has one: draw others")
    return labels, units


def _told(replicates: Floats, notes: list[str]) -> Floats:
    """The replicates that are numbers, with a note of how many are not."""
    finite = np.isfinite(replicates).all(axis=1)
    if not finite.all():
        notes.append(f"{(~finite).sum()} of {finite.size} replicates show no exponent and are left out")
    return replicates[finite]


def _frontier(race: Race, hull: bool) -> pd.DataFrame:
    """The envelope as a table, one row a compute."""
    losses, count = next(as_measured(race))
    best, who, on = (v[:, 0] for v in leaders(race, losses, count, hull))
    entry = who[on]
    cell = race.cell[entry]
    return pd.DataFrame(
        {
            "flops": np.exp(race.log_c[entry]),
            "params": np.exp(race.log_n[cell]),
            "tokens": np.exp(race.log_d[entry]),
            "val_loss": best[on],
            "spec_hash": race.name[cell],
            "fraction_of_run": race.fraction[entry],
            "used": ~race.edge[entry],
        }
    )


def _doubts(frontier: pd.DataFrame, warnings: list[str], notes: list[str]) -> None:
    """Name an envelope that leaves the sampled sizes, rests on few of them, or on runs in mid-training."""
    inside = frontier["used"].to_numpy()
    outside = float(1 - inside.mean())
    if outside > 0.1:
        warnings.append("minimum_not_bracketed")
        fate = "left out" if inside.any() else "kept, for nothing else remains"
        notes.append(f"{outside:.0%} of the envelope is won by an outermost size of its budget: {fate}")
    rest = frontier[inside] if inside.any() else frontier
    sizes = rest["params"].round(6).nunique()
    if sizes < 2 or rest["flops"].nunique() < 2:
        raise FitError(
            f"the envelope has {sizes} size over its whole compute: it shows no exponent", tuple(warnings)
        )
    if sizes < 3:
        warnings.append("too_few_budgets")
        notes.append(f"only {sizes} sizes lie on the usable envelope")
    early = float((rest["fraction_of_run"] < LAST).mean())
    if early > 0:
        warnings.append("winners_mid_run")
        notes.append(f"{early:.0%} of the envelope used is won before the last {1 - LAST:.0%} of a run")


def _final_noise(finals: Points) -> Noise | None:
    """Noise of final losses: between seeds, and about local parabolas where there are IsoFLOP budgets."""
    iso = iso_budgets(finals)
    if not iso.any():
        return None
    groups, _ = budget_groups(finals.take(iso))
    return pooled_noise(groups, [fit_floor(g, g.loss[None]) for g in groups])
