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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources

import numpy as np
import pandas as pd

from minichin.fit import fit_envelope, fit_isoflop, fit_parametric
from minichin.fit.result import Fit, FitError
from minichin.law import LossSurface

NOISE = 0.01  # nats, of one run's loss
REACH = 4.0  # sizes lie within this factor of their budget's optimum
DECAY = 0.12  # nats that a high learning rate costs early in a run
CURVE_POINTS = 16
STORED = "coverage.csv"


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


WAYS = tuple(
    Way(approach, method, resample, interval)
    for approach, method in ((1, "envelope"), (2, "window"), (2, "shared"), (3, "huber"), (3, "squares"))
    for resample in ("noise", "seeds")
    for interval in ("percentile", "bca")
    if not (resample == "noise" and interval == "bca")
)


def outcome(way: Way, surface: str, design: Design, bootstrap: int, seed: int) -> tuple[float, float, float]:
    """a and its interval in study number `seed`; not-a-numbers where there was none."""
    law = SURFACES[surface]
    try:
        fit = way.fit(law, study(law, design, seed), seed, bootstrap)
    except FitError:
        return np.nan, np.nan, np.nan
    return fit.a, *(fit.a_interval or (np.nan, np.nan))


def measure(
    ways: Sequence[Way] = WAYS,
    designs: Sequence[Design] = DESIGNS,
    surfaces: Sequence[str] = tuple(SURFACES),
    *,
    studies: int = 500,
    bootstrap: int = 500,
    workers: int = 1,
) -> Iterator[dict[str, object]]:
    """One row a way, design and surface: coverage of the 95 % interval, bias, spread, mean width.

    `none` counts studies without an interval; they count as not covered.
    """
    with ProcessPoolExecutor(workers, mp_context=mp.get_context("spawn")) as pool:
        for design in designs:
            for surface in surfaces:
                for way in ways:
                    one = partial(outcome, way, surface, design, bootstrap)
                    found = np.array(list(pool.map(one, range(studies), chunksize=max(1, studies // 50))))
                    yield {
                        "design": design.name,
                        "surface": surface,
                        **asdict(way),
                        **summary(found, surface),
                    }


def summary(found: np.ndarray, surface: str) -> dict[str, object]:
    """Coverage and what explains it, from rows (a, low, high), one a study."""
    truth = SURFACES[surface].a
    a, low, high = found.T
    covered = (low <= truth) & (truth <= high)
    return {
        "studies": len(found),
        "coverage": float(covered.mean()),
        "too_low": float((high < truth).mean()),
        "too_high": float((low > truth).mean()),
        "none": int(np.isnan(low).sum()),
        "truth": truth,
        "bias": float(np.nanmean(a) - truth),
        "spread": float(np.nanstd(a)),
        "width": float(np.nanmean(high - low)),
    }


def stored() -> pd.DataFrame:
    """The table that was measured last, with the versions that made it."""
    with resources.files("minichin.data").joinpath(STORED).open(encoding="utf-8") as file:
        return pd.read_csv(file)
