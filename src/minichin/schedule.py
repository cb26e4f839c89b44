"""Runs on many workers, on paper: who does what when, what failures cost, and what bounds it all.

Decisions:
- A worker trains one run at a time and a run never leaves its worker, as in `minichin.sweep`: a list
  schedule, whose makespan is at most (2 - 1/m) times the lower bound, and for longest-first at most
  4/3 - 1/(3m) times the optimum (Graham 1966, 1969).
- Failures come to each worker as a Poisson process, at work or not. Such failures have no memory, so whether
  a broken run goes on at once on its repaired worker or elsewhere makes no difference to what it needs.
- Times are in seconds. Nothing here trains, waits or reads a clock.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
HOPELESS = 20.0  # times the mean time between failures: begun anew, such a run would need e^20 attempts


@dataclass(frozen=True, eq=False)
class Schedule:
    """When each run starts and ends, in seconds, and on which worker; one entry a run, in the order given."""

    start: Floats
    end: Floats
    worker: Places
    workers: int

    @property
    def makespan(self) -> float:
        """Seconds until the last run ends."""
        return float(self.end.max())

    @property
    def utilisation(self) -> float:
        """Share of the workers' time until the makespan that is spent on runs."""
        return float((self.end - self.start).sum() / (self.workers * self.makespan))


def _durations(seconds: ArrayLike) -> Floats:
    """`seconds` as a 1-D array of positive, finite durations; `ValueError` otherwise."""
    values = np.asarray(seconds, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("a schedule needs a list of durations, one a run, and at least one")
    bad = ~(np.isfinite(values) & (values > 0))
    if bad.any():
        raise ValueError(f"durations must be positive and finite, got {values[bad][0]}")
    return values


def list_schedule(seconds: ArrayLike, workers: int) -> Schedule:
    """Hand out runs in the order given, each to the worker that is free first (of several, the lowest)."""
    durations = _durations(seconds)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    free = [(0.0, worker) for worker in range(workers)]
    start, who = np.empty(len(durations)), np.empty(len(durations), dtype=np.int64)
    for place, duration in enumerate(durations):
        start[place], who[place] = heapq.heappop(free)
        heapq.heappush(free, (start[place] + duration, int(who[place])))
    return Schedule(start, start + durations, who, workers)


def budgets_up(budget: ArrayLike, seconds: ArrayLike) -> Places:
    """The order of `minichin.sweep`: budgets rising, and within a budget the longest runs first."""
    return np.lexsort((-np.asarray(seconds), np.asarray(budget)))


def longest_first(seconds: ArrayLike) -> Places:
    """The order of longest processing time first, whatever the budget."""
    return np.argsort(-_durations(seconds), kind="stable")


def lower_bound(seconds: ArrayLike, workers: int) -> float:
    """No schedule ends before max(total / workers, longest run), in seconds."""
    durations = _durations(seconds)
    return float(max(durations.sum() / workers, durations.max()))


def useful_workers(seconds: ArrayLike) -> float:
    """Total work over the longest run: with more workers than this, the longest run is what is waited for."""
    durations = _durations(seconds)
    return float(durations.sum() / durations.max())


def expected_seconds(seconds: ArrayLike, mean: float, checkpoint: float | None = None) -> Floats:
    """Mean time that runs of these durations need where a failure comes every `mean` seconds on average.

    A piece of length s that begins anew after each failure takes mean (e^(s / mean) - 1). A run without
    checkpoints is one piece; with one every `checkpoint` seconds, each stretch between two is a piece.
    """
    durations = _durations(seconds)
    if checkpoint is None:
        return mean * np.expm1(durations / mean)
    whole = np.floor(durations / checkpoint)
    rest = durations - whole * checkpoint
    return mean * (whole * np.expm1(checkpoint / mean) + np.expm1(rest / mean))


def with_failures(
    seconds: ArrayLike, mean: float, rng: np.random.Generator, checkpoint: float | None = None
) -> Floats:
    """Draw the time that each run needs where its worker fails every `mean` seconds on average.

    A failure throws a run back to its last checkpoint (one every `checkpoint` seconds of progress), or to its
    beginning where there are none. `ValueError` where a piece is too long to get through.
    """
    durations = _durations(seconds)
    if not mean > 0 or (checkpoint is not None and not checkpoint > 0):
        raise ValueError(f"mean {mean} and checkpoint {checkpoint} must be positive numbers of seconds")
    piece = durations.max() if checkpoint is None else min(durations.max(), checkpoint)
    if piece > HOPELESS * mean:
        raise ValueError(
            f"{piece:.3g} s without a failure are hopeless where one comes every {mean:.3g} s; "
            "make checkpoints more often"
        )
    return np.array([_need(duration, mean, checkpoint or duration, rng) for duration in durations])


def _need(duration: float, mean: float, step: float, rng: np.random.Generator) -> float:
    """Time of one run: attempts of exponential length until what is left fits into one."""
    spent, done = 0.0, 0.0
    while True:
        attempt = rng.exponential(mean)
        if attempt >= duration - done:
            return spent + duration - done
        spent += attempt
        done = math.floor((done + attempt) / step) * step
