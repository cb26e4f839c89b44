"""How often the intervals hold the truth: simulated sweeps like ours, fitted by all three approaches.

Decisions
- A study is one sweep drawn from a known surface, with noise on every run's loss.  Its truth is a = beta /
  (alpha + beta), since compute is counted as 6 N D.  The interval covers where it holds that a.
- Designs have the sizes of our own sweeps: budgets half a decade apart, sizes within a factor of four of each
  budget's optimum, noise of 0.01 nats.  One surface is symmetric (alpha = beta), one is not.
- Approach 1 sees training curves that lie above the surface until the learning rate has come down, as real
  ones do.
- Where an approach's estimate is biased (the parabola on an asymmetric valley), its interval misses for that
  reason however wide the noise makes it; the table therefore tells the bias beside the coverage.
"""

from __future__ import annotations

import multiprocessing as mp
import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minichin import __version__
from minichin.fit import fit_envelope, fit_isoflop, fit_parametric
from minichin.fit.profile import profile_interval
from minichin.fit.result import Fit, FitError
from minichin.law import LossSurface

NOISE = 0.01  # nats, of one run's loss
REACH = 4.0  # sizes lie within this factor of their budget's optimum
DECAY = 0.12  # nats that a high learning rate costs early in a run
CURVE_POINTS = 16
STORED = "coverage.csv"
KEY = ["approach", "method", "resample", "interval", "design", "surface", "studies"]


@dataclass(frozen=True)
class Design:
    """A sweep: budgets half a decade apart from 1e11 FLOPs on, sizes a budget, seeds a size."""

    name: str
    budgets: int
    sizes: int
    seeds: int


DESIGNS = (Design("4 × 7", 4, 7, 1), Design("4 × 7, three seeds", 4, 7, 3), Design("5 × 9", 5, 9, 1))


def planted_surface(alpha: float, beta: float) -> LossSurface:
    """A surface with the curvature of our valleys: at 1e12 FLOPs the optimum has 61,000 parameters."""
    params, reducible = 61e3, 1.6
    tokens = 1e12 / 6 / params
    model = reducible * beta / (alpha + beta)
    return LossSurface(0.4, model * params**alpha, (reducible - model) * tokens**beta, alpha, beta)


SURFACES = {"symmetric": planted_surface(0.35, 0.35), "asymmetric": planted_surface(0.40, 0.30)}


def study(law: LossSurface, design: Design, seed: int) -> pd.DataFrame:
    """One simulated sweep: params, tokens, flops = 6 N D, budget, val_loss (nats), seed."""
    rng = np.random.default_rng(seed)
    budgets = 1e11 * np.sqrt(10.0) ** np.arange(design.budgets)
    factors = np.geomspace(1 / REACH, REACH, design.sizes)
    params = (law.optimum(budgets).params[:, None] * factors).ravel().repeat(design.seeds)
    budget = budgets.repeat(design.sizes * design.seeds)
    tokens = budget / 6 / params
    loss = law.value(params, tokens) + rng.normal(0, NOISE, params.size)
    seeds = np.tile(np.arange(design.seeds), design.budgets * design.sizes)
    columns = {"params": params, "tokens": tokens, "flops": budget, "budget": budget, "val_loss": loss}
    return pd.DataFrame(columns).assign(seed=seeds)


def curves(law: LossSurface, sweep: pd.DataFrame) -> pd.DataFrame:
    """The training curves that end in the runs of `sweep`."""
    done = np.geomspace(0.02, 1.0, CURVE_POINTS)
    runs = sweep.loc[sweep.index.repeat(done.size)].assign(run=np.repeat(np.arange(len(sweep)), done.size))
    luck = runs["val_loss"] - law.value(runs["params"], runs["tokens"])
    done = np.tile(done, len(sweep))
    tokens = runs["tokens"] * done
    loss = law.value(runs["params"], tokens) + DECAY * (1 - done) ** 0.8 + luck
    return runs.assign(tokens=tokens, flops=6 * runs["params"] * tokens, val_loss=loss).reset_index(drop=True)


@dataclass(frozen=True)
class Way:
    """A way to an interval: approach 1, 2 or 3, its method, what is redrawn, and the kind of interval."""

    approach: int
    method: str
    resample: str
    interval: str

    def fit(self, law: LossSurface, sweep: pd.DataFrame, seed: int, bootstrap: int) -> Fit:
        """Fit one study."""
        shared = {"resample": self.resample, "interval": self.interval, "seed": seed, "bootstrap": bootstrap}
        if self.approach == 1:
            return fit_envelope(curves(law, sweep), method=self.method, **shared)  # type: ignore[arg-type]
        if self.approach == 2:
            return fit_isoflop(sweep, method=self.method, **shared)  # type: ignore[arg-type]
        return fit_parametric(sweep, loss=self.method, **shared)  # type: ignore[arg-type]


WAYS = (
    Way(1, "envelope", "noise", "percentile"),
    Way(2, "window", "noise", "percentile"),
    Way(2, "window", "seeds", "bca"),
    Way(2, "shared", "noise", "percentile"),
    Way(3, "huber", "noise", "percentile"),
    Way(3, "huber", "none", "profile"),
)


def outcome(way: Way, surface: str, design: Design, bootstrap: int, seed: int) -> tuple[float, float, float]:
    """a and its interval in study number `seed`; not-a-numbers where there was none."""
    law = SURFACES[surface]
    sweep = study(law, design, seed)
    try:
        if way.interval == "profile":
            fit = fit_parametric(sweep, loss=way.method, bootstrap=0)
            return fit.a, *profile_interval(sweep, loss=way.method)
        found = way.fit(law, sweep, seed, bootstrap)
    except FitError:
        return np.nan, np.nan, np.nan
    return found.a, *(found.a_interval or (np.nan, np.nan))


def measure(
    path: Path,
    *,
    studies: int = 500,
    bootstrap: int = 300,
    workers: int = 1,
    ways: Sequence[Way] = WAYS,
    designs: Sequence[Design] = DESIGNS,
    surfaces: Sequence[str] = tuple(SURFACES),
) -> Iterator[dict[str, object]]:
    """Add to the CSV file `path` a row for each way, design and surface that it lacks; yield the new ones.

    A row tells the coverage of the 95 % interval, how often it lies below or above the truth, bias and
    spread of a, the mean width, and what made it.  `none` counts studies without an interval: not covered.
    """
    table = pd.read_csv(path) if path.exists() else pd.DataFrame()
    known = {tuple(row) for row in table.reindex(columns=KEY).itertuples(index=False)}
    with ProcessPoolExecutor(workers, mp_context=mp.get_context("spawn")) as pool:
        for way, design, surface in product(ways, designs, surfaces):
            row = {**asdict(way), "design": design.name, "surface": surface, "studies": studies}
            if tuple(row.values()) in known:
                continue
            one = partial(outcome, way, surface, design, bootstrap)
            found = np.array(list(pool.map(one, range(studies), chunksize=max(1, studies // 50))))
            row |= summary(found, SURFACES[surface].a) | {"bootstrap": bootstrap} | stamp()
            table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
            table.to_csv(path, index=False, float_format="%.6g")
            yield row


def way_name(row: Mapping[Any, Any]) -> str:
    """The way of a row of `measure` in words: approach 3 (huber), noise, percentile."""
    redrawn = "" if row["resample"] == "none" else f", {row['resample']}"
    return f"approach {row['approach']} ({row['method']}){redrawn}, {row['interval']}"


def line(row: Mapping[Any, Any]) -> str:
    """A row of `measure` as one line."""
    where = f"{row['design']}, {row['surface']}"
    return f"{way_name(row)}; {where}: {row['coverage']:.1%} of {row['studies']}, bias {row['bias']:+.4f}"


def facts(table: pd.DataFrame) -> dict[str, float | str]:
    """The lowest and highest coverage and the largest bias of each way in words, for the book's prose."""
    found: dict[str, float | str] = {
        "studies": int(table["studies"].min()),
        "measured": str(table["date"].max()),
    }
    for key, part in table.groupby(["approach", "method", "resample", "interval"]):
        low, high = 100 * part["coverage"].min(), 100 * part["coverage"].max()
        name = "_".join(str(value) for value in key)
        found[f"{name}_coverage"] = f"{low:.1f} to {high:.1f} %"
        found[f"{name}_width"] = float(part["width"].mean())
        found[f"{name}_bias"] = float(part["bias"].abs().max())
    return found


def stamp() -> dict[str, object]:
    """What makes a row: version, day, machine."""
    return {"version": __version__, "date": f"{date.today()}", "machine": f"{platform.machine()}"}


def summary(found: np.ndarray, truth: float) -> dict[str, object]:
    """Coverage and what explains it, from rows (a, low, high), one a study."""
    a, low, high = found.T
    return {
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "too_low": float((high < truth).mean()),
        "too_high": float((low > truth).mean()),
        "none": int(np.isnan(low).sum()),
        "truth": truth,
        "bias": float(np.nanmean(a) - truth),
        "spread": float(np.nanstd(a)),
        "width": float(np.nanmean(high - low)),
    }


def stored() -> pd.DataFrame:
    """The table that was measured last."""
    with resources.files("minichin.data").joinpath(STORED).open(encoding="utf-8") as file:
        return pd.read_csv(file)
