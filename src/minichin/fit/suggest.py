"""Which runs to train next: those that shrink the interval of a target most for their compute.

Decisions
- The target is what approach 3 reports by the table's convention: the exponent a, or ln N_opt at some FLOPs.
  Minimising the variance of one target over designs is c-optimal design (Pukelsheim 2006); `information` does
  it, on average over bootstrap replicates of the surface, as the true one is not known.
- It assumes what the fit assumes: that the law is right wherever a run is suggested, and that the noise of ln
  L is independent and equally large everywhere.  Hence a run is suggested only a modest way beyond the
  sampled params, tokens and tokens a parameter and, where the fit filters a sweep, only where it would be
  kept.
- The same point twice means two seeds.
- Intervals here are 1.96 standard errors on either side; `fit_parametric` gives the table's with more care.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minichin.fit.candidates import Runs, candidates, how_to_spread, isoflop
from minichin.fit.information import Design, huber_factor, in_order, noise_scale, search
from minichin.fit.parametric import fit_parametric
from minichin.fit.result import FitError, Interval, ParametricFit
from minichin.fit.table import Table, points
from minichin.law import Floats

TARGETS = ("a", "n_opt")
REPLICATES = 48
BEYOND, FARTHEST = 4.0, 100.0
MOST_RUNS = 100
NOISELESS = 1e-7  # noise of ln L that only made-up losses have
Z = 1.96  # half of a 95 % interval, in standard errors


@dataclass(frozen=True)
class NextRun:
    """A run to train: FLOPs by the convention, predicted loss in nats a token.

    `after` is the expected standard error of the target once this run and those before it are there.
    """

    params: float
    tokens: float
    flops: float
    loss: float
    after: float


@dataclass(frozen=True)
class Suggestion:
    """The next runs, and what they are expected to do.

    `runs` begin with the one that tells most per FLOP, so that one can stop anywhere.
    `estimate` is the target today: a, or params at `at` FLOPs; `noise` the standard deviation of ln L.
    `now`, `after` and `uniform` are expected standard errors of a, or of ln params: of the table, with the
    suggested runs, and with one uniform IsoFLOP budget of the same compute instead (as many sizes, evenly
    spaced in ln N within 4× of the optimum).
    """

    target: str
    at: float | None
    convention: str
    budget: float
    beyond: float
    runs: tuple[NextRun, ...]
    estimate: float
    noise: float
    now: float
    uniform: float
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    dropped: tuple[Mapping[str, object], ...]

    @property
    def after(self) -> float:
        """Expected standard error with all suggested runs."""
        return self.runs[-1].after

    @property
    def flops(self) -> float:
        """Training compute of the suggested runs together."""
        return math.fsum(run.flops for run in self.runs)

    def interval(self, error: float) -> Interval:
        """Expected 95 % interval of the target: estimate ± 1.96 `error`, in ln params for n_opt."""
        if self.at is None:
            return self.estimate - Z * error, self.estimate + Z * error
        factor = math.exp(min(Z * error, 300.0))
        return self.estimate / factor, self.estimate * factor

    def to_json(self) -> dict[str, Any]:
        """The object that `minichin suggest --json` writes."""
        names = ("now", "after", "uniform")
        return {
            "target": self.target,
            "at": self.at,
            "convention": self.convention,
            "budget": self.budget,
            "beyond": self.beyond,
            "flops": self.flops,
            "runs": [asdict(run) | {"interval_after": self.interval(run.after)} for run in self.runs],
            "estimate": self.estimate,
            "noise": self.noise,
            "standard_error": {name: getattr(self, name) for name in names},
            "interval": {name: self.interval(getattr(self, name)) for name in names},
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "dropped": [dict(d) for d in self.dropped],
        }

    def text(self) -> str:
        """The same for people."""
        what = "a" if self.at is None else f"N_opt at {self.at:.3g} FLOPs"
        number = ".4f" if self.at is None else ".3g"

        def line(name: str, run: str, error: float) -> str:
            low, high = self.interval(error)
            return f"{name:>8}{run:60}  [{low:{number}}, {high:{number}}]"

        head = f"{'params':>12}{'tokens':>12}{'tokens/param':>14}{'FLOPs':>12}{'loss':>10}"
        each = [
            f"{r.params:>12.3g}{r.tokens:>12.3g}{r.tokens / r.params:>14.3g}{r.flops:>12.3g}{r.loss:>10.4g}"
            for r in self.runs
        ]
        uniform = f"  instead, {len(each)} sizes at {self.budget / len(each):.3g} FLOPs each"
        lines = [
            f"{what} = {self.estimate:{number}}; 95 % interval expected after each run",
            f"{'run':>8}{head}",
            line("now", "", self.now),
            *(line(str(i), run, r.after) for i, (run, r) in enumerate(zip(each, self.runs, strict=True), 1)),
            line("uniform", uniform, self.uniform),
            "",
            f"{self.flops:.4g} of {self.budget:.4g} FLOPs, counted by the convention {self.convention}; "
            f"noise of ln L {self.noise:.2g}",
        ]
        if self.warnings:
            lines.append(f"warnings of approach 3: {', '.join(self.warnings)}")
        return "\n".join([*lines, *(f"- {note}" for note in self.notes)])


def suggest_runs(
    table: Table,
    budget: float,
    runs: int = 5,
    target: str = "a",
    at: float | None = None,
    *,
    beyond: float = BEYOND,
    convention: str = "full",
    seed: int = 0,
    dropped: Iterable[Mapping[str, object]] = (),
) -> Suggestion:
    """Choose `runs` runs of at most `budget` FLOPs together that shrink the interval of `target` most.

    `target` is "a", or "n_opt" at `at` FLOPs; `beyond` is how far past the sampled params and tokens a run
    may lie, 1 for not at all; `dropped` lists rows that reading left out already.
    ValueError for a request that cannot be met; FitError where approach 3 cannot be had.
    """
    _check(budget, runs, target, at, beyond, seed)
    every = points(table, convention)
    try:
        fit = fit_parametric(table, convention=convention, bootstrap=REPLICATES, seed=seed)
    except FitError as error:
        raise (how_to_spread(every) if "collinear_design" in error.warnings else error) from None
    data = every.take(np.isin(every.row, fit.rows))
    allowed = candidates(fit, data, budget, beyond)
    cost = np.exp(allowed.log_c)
    affordable = max(1, int(min(runs, math.exp(min(math.log(budget) - allowed.log_c.min(), 50.0)))))
    noise = noise_scale(fit.residuals)
    design = Design.of(_surfaces(fit), data, noise * huber_factor(fit.delta / max(noise, 1e-9)), at)
    sensitivity = design.sensitivity(allowed.log_n, allowed.log_d)
    chosen = search(design, sensitivity, cost, budget, affordable)
    chosen, errors = in_order(design, sensitivity, cost, chosen)
    best, instead = allowed.take(chosen), isoflop(fit, data, budget, affordable)
    now, uniform = (design.standard_error(some.log_n, some.log_d) for some in (best.take([]), instead))
    loss = fit.surface.value(np.exp(best.log_n), np.exp(best.log_d)).tolist()
    columns = zip(best.rows(), loss, errors, strict=True)
    gone = (*dropped, *fit.dropped)
    notes = *_lost(gone), *fit.notes, *_notes(best, runs, budget, noise, uniform < errors[-1])
    return Suggestion(
        target=target,
        at=at,
        convention=convention,
        budget=float(budget),
        beyond=float(beyond),
        runs=tuple(NextRun(*row, loss=predicted, after=error) for row, predicted, error in columns),
        estimate=fit.a if at is None else float(fit.n_opt(at)),
        noise=noise,
        now=now,
        uniform=uniform,
        warnings=fit.warnings,
        notes=tuple(dict.fromkeys(notes)),
        dropped=gone,
    )


def _check(budget: float, runs: int, target: str, at: float | None, beyond: float, seed: int) -> None:
    """ValueError for a request that says nothing, or contradicts itself."""
    if not (math.isfinite(budget) and budget > 0):
        raise ValueError(f"budget (--budget) is {budget:g}: give a positive number of FLOPs, such as 1e13")
    if not 1 <= runs <= MOST_RUNS:
        raise ValueError(f"runs (--runs) is {runs}: give a whole number from 1 to {MOST_RUNS}")
    if not 1 <= beyond <= FARTHEST:
        raise ValueError(
            f"beyond (--beyond) is {beyond:g}: give a factor from 1, which stays within what was sampled, to "
            f"{FARTHEST:g}"
        )
    if target not in TARGETS:
        raise ValueError(f"target (--target) is {target!r}: give one of {', '.join(TARGETS)}")
    if target == "a" and at is not None:
        raise ValueError(
            f"at (--at) is {at:g}, but the target is a, which is the same at every compute: leave it out, or "
            "set the target (--target) to n_opt"
        )
    if target == "n_opt" and at is None:
        raise ValueError(
            "the target n_opt needs at (--at): give the FLOPs of the model to size, such as 1e21"
        )
    if at is not None and not (math.isfinite(at) and at > 0):
        raise ValueError(f"at (--at) is {at:g}: give the FLOPs of the model to size, such as 1e21")
    if seed < 0:
        raise ValueError(f"seed (--seed) is {seed}: give a whole number, 0 or more")


def _surfaces(fit: ParametricFit) -> Floats:
    """The fitted surface and its replicates as (ln E, ln A, ln B, alpha, beta), one a row."""
    law = fit.surface
    every = np.vstack([[law.E, law.A, law.B, law.alpha, law.beta], fit.surface_replicates])
    every[:, :3] = np.log(np.maximum(every[:, :3], 1e-300))
    return every


def _lost(dropped: Iterable[Mapping[str, object]]) -> list[str]:
    """How many rows were left out for which reason, in the words of `fit.notes`."""
    counts = Counter(str(entry["why"]) for entry in dropped)
    return [f"{count} rows left out: {why}" for why, count in counts.items()]


def _notes(best: Runs, runs: int, budget: float, noise: float, uniform_is_better: bool) -> list[str]:
    """What to know of the suggestion: fewer runs, compute left over, no noise, trust in the law."""
    notes = []
    count, spent, outside = len(best.log_n), np.exp(best.log_c).sum() / budget, best.outside > 1e-9
    if count < runs:
        notes.append(f"the budget pays for {count} runs, not {runs}")
    elif spent < 0.5:
        notes.append(f"the best {runs} runs use {spent:.2g} of the budget: ask for more runs to use it")
    if noise < NOISELESS:
        notes.append("the losses follow the law without noise, so that the intervals say nothing")
    if outside.any():
        notes.append(
            f"{outside.sum()} of the suggested runs lie beyond the sampled params or tokens, by up to "
            f"{np.exp(best.outside.max()):.2g}×, and rest on the law's being true there"
        )
    if uniform_is_better:
        notes.append(
            "the uniform budget's runs lie outside of the region searched, and would tell more if the "
            "law holds there"
        )
    return notes
