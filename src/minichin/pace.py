"""How fast runs go here, learnt while they go: so that a sweep with a time limit starts none in vain.

Decisions:
- Time is counted in steps: a held-out token costs as much as a quarter of a training token.
- What runs of this sweep show comes first; the records of earlier ones, on the same device and engine, stand
  in for sizes not yet seen, scaled by how much faster or slower the sizes known from both go now.
- A run in a stack takes its share of the stack's time, as in its record: so the time of a stack is the sum of
  its runs'. How large a share is depends on how many they are; it is taken as it was last seen. Runs alone
  and runs in stacks are told apart, and one stands in for the other while nothing is known of that.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from minichin.calibrate import EVALUATION_SHARE
from minichin.jobs import Job
from minichin.plan import RunSpec
from minichin.runs import RunRecord
from minichin.unfinished import STACKED

MARGIN = 1.1  # a run may be slower beside others than those before it were


def work(spec: RunSpec) -> float:
    """FLOPs of one step."""
    return spec.flops / spec.steps


def evaluations(spec: RunSpec, whole: float = 1.0) -> float:
    """The losses along a share `whole` of a run, and its final one, counted in training steps."""
    held_out = spec.valid_tokens + whole * spec.curve_points * spec.curve_tokens
    return EVALUATION_SHARE * held_out / spec.batch_tokens


class _Table:
    """Seconds a step, by the FLOPs of a step, as last seen."""

    def __init__(self) -> None:
        self.seen: dict[float, float] = {}
        self.before: dict[float, float] = {}
        self.known: dict[float, float] = {}

    def join(self) -> None:
        """Lay what was seen now over what was known before, at the present speed."""
        both = [self.seen[size] / self.before[size] for size in self.seen.keys() & self.before.keys()]
        speed = statistics.median(both) if both else 1.0
        self.known = {size: speed * seconds for size, seconds in self.before.items()} | self.seen

    def see(self, size: float, seconds: float) -> None:
        self.seen[size] = seconds
        self.join()

    def __call__(self, size: float) -> float:
        """A step takes no longer than one of more FLOPs; beyond the largest seen, time grows with FLOPs."""
        larger = [flops for flops in self.known if flops >= size]
        nearest = min(larger) if larger else max(self.known)
        return self.known[nearest] * max(1.0, size / nearest)


class Pace:
    """What is known of the time that runs take, alone and in stacks."""

    def __init__(self, records: Iterable[RunRecord] = ()) -> None:
        self.alone, self.stacked = _Table(), _Table()
        self.marks: dict[str, tuple[int, float]] = {}
        for record in records:
            if record.status == "finished":
                self._table(_in_stack(record)).before[work(record.spec)] = _per_step(record)
        self.alone.join()
        self.stacked.join()

    def _table(self, stacked: bool) -> _Table:
        return self.stacked if stacked else self.alone

    def see(self, spec: RunSpec, steps: int, seconds: float, stacked: bool = False) -> None:
        """Note that a run of this spec took so long, or such a share of a stack's time, for so many steps."""
        if steps > 0:
            self._table(stacked).see(work(spec), seconds / steps)

    def progress(self, spec: RunSpec, job: Job, stacked: bool, step: int, now: float) -> None:
        """Note that a run of `job` reports `step` at time `now`; until its first it may not have trained.

        Its share of the time is that of each run that reports: half a stack may wait for memory.
        """
        first, then = self.marks.setdefault(spec.spec_hash, (step, now))
        at_once = sum(other.spec_hash in self.marks for other in job)
        self.see(spec, step - first, (now - then) / at_once, stacked)

    def finish(self, record: RunRecord, job: Job) -> None:
        """Note a finished run: its record tells the pace where the run was too short to report any.

        The others of its job go on as a smaller stack, and are measured anew.
        """
        seen, table = record.key in self.marks, self._table(_in_stack(record))
        for spec in job:
            self.marks.pop(spec.spec_hash, None)
        if not (seen and work(record.spec) in table.seen) and record.status == "finished":
            table.see(work(record.spec), _per_step(record))

    def seconds(self, spec: RunSpec, done: int = 0, stacked: bool = False) -> float:
        """Expected length of what is left of a run after `done` steps, 0 while nothing is known.

        In a stack that is the run's share of the time; alone, it takes that at least.
        """
        table = self._table(stacked)
        if not table.known:
            table = self._table(not stacked)
        if not table.known:
            return 0.0
        left = spec.steps - done
        return MARGIN * (left + evaluations(spec, left / spec.steps)) * table(work(spec))


def _in_stack(record: RunRecord) -> bool:
    return record.versions.get("engine") == STACKED


def _per_step(record: RunRecord) -> float:
    return record.seconds / (record.stopped_at + evaluations(record.spec))
