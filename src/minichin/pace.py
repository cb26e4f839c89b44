"""How fast runs go here, learnt while they go: so that a sweep with a time limit starts none in vain.

Decisions:
- Time is counted in steps: a held-out token costs as much as a quarter of a training token.
- What runs of this sweep show comes first; the records of earlier ones, on the same device and engine, stand
  in for sizes not yet seen, scaled by how much faster or slower the sizes known from both go now.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from minichin.calibrate import EVALUATION_SHARE
from minichin.plan import RunSpec
from minichin.runs import RunRecord

MARGIN = 1.1  # a run may be slower beside others than those before it were


def work(spec: RunSpec) -> float:
    """FLOPs of one step."""
    return spec.flops / spec.steps


def evaluations(spec: RunSpec, whole: float = 1.0) -> float:
    """The losses along a share `whole` of a run, and its final one, counted in training steps."""
    held_out = spec.valid_tokens + whole * spec.curve_points * spec.curve_tokens
    return EVALUATION_SHARE * held_out / spec.batch_tokens


class Pace:
    """Seconds a step, by the FLOPs of a step, as last seen."""

    def __init__(self, records: Iterable[RunRecord] = ()) -> None:
        self.seen: dict[float, float] = {}
        self.before: dict[float, float] = {}
        self.known: dict[float, float] = {}
        self.marks: dict[str, tuple[int, float]] = {}
        for record in records:
            if record.status == "finished":
                self.before[work(record.spec)] = _per_step(record)
        self._join()

    def _join(self) -> None:
        """Lay what was seen now over what was known before, at the present speed."""
        both = [self.seen[size] / self.before[size] for size in self.seen.keys() & self.before.keys()]
        speed = statistics.median(both) if both else 1.0
        self.known = {size: speed * seconds for size, seconds in self.before.items()} | self.seen

    def see(self, spec: RunSpec, steps: int, seconds: float) -> None:
        """Note that a run of this spec took so long for so many of its steps."""
        if steps > 0:
            self.seen[work(spec)] = seconds / steps
            self._join()

    def progress(self, spec: RunSpec, step: int, now: float) -> None:
        """Note that a run reports `step` at time `now`; until its first it may not have trained."""
        first, then = self.marks.setdefault(spec.spec_hash, (step, now))
        self.see(spec, step - first, now - then)

    def finish(self, record: RunRecord) -> None:
        """Note a finished run: its record tells the pace where the run was too short to report any."""
        seen = self.marks.pop(record.key, None)
        if (seen is None or work(record.spec) not in self.seen) and record.status == "finished":
            self.seen[work(record.spec)] = _per_step(record)
            self._join()

    def seconds(self, spec: RunSpec, done: int = 0) -> float:
        """Expected length of what is left of a run after `done` steps, 0 while nothing is known.

        A step takes no longer than one of more FLOPs; beyond the largest seen, time grows with FLOPs.
        """
        if not self.known:
            return 0.0
        size = work(spec)
        larger = [flops for flops in self.known if flops >= size]
        nearest = min(larger) if larger else max(self.known)
        left = spec.steps - done
        steps = left + evaluations(spec, left / spec.steps)
        return MARGIN * steps * self.known[nearest] * max(1.0, size / nearest)


def _per_step(record: RunRecord) -> float:
    return record.seconds / (record.stopped_at + evaluations(record.spec))
