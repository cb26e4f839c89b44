"""Driving a sweep: which run comes next, what to do with what workers tell, and when to stop.

Decisions:
- Only the driver writes to the store. Whatever is killed, the store holds every run whose record was
  written, and the next sweep trains the rest.
- Unfinished runs of an earlier sweep come first. With a time limit, a run that would not end in time is
  passed over; one that is longer than the whole limit starts where nothing else fits, for it never would.
- With stacks, the next run takes along later ones of its kind, as many as are expected to end in time with
  it; so a run that would not end in time trains alone. Of runs that were begun, those that stopped in stacks
  at the same step go on together.
- At the time limit, at Ctrl-C, and where a run fails, the unfinished ones are asked to save their state;
  those that have not done so within `SAVE_WITHIN` go on from an older one next time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from minichin.jobs import Job, Message, SweepError, kin
from minichin.pace import Pace
from minichin.plan import RunSpec
from minichin.progress import SweepDisplay
from minichin.runs import Store
from minichin.unfinished import STACKED, Begun, Unfinished

NEW = Begun()
SAVE_WITHIN = 20.0  # seconds: a run in its final evaluation hears nothing before the end of that


class Executor(Protocol):
    """Where jobs are trained: on this machine (`workers`), or by Ray (`on_ray`)."""

    def room(self) -> int:
        """How many more jobs would be trained now."""

    def submit(self, job: Job) -> None:
        """Begin a job."""

    def wait(self, seconds: float | None) -> list[Message]:
        """What was told since the last call; waits for it, but no longer than `seconds` (None: for ever)."""

    def stop(self) -> None:
        """Ask every unfinished run to save its state and end; each answers by `stopped` or by its end."""

    def close(self) -> None:
        """End everything at once."""


class Queue:
    """The runs still to do, in order, given out as jobs of at most `stack` runs.

    `begun` tells, by spec hash, how far runs have come before.
    """

    def __init__(
        self,
        todo: Sequence[RunSpec],
        time_limit: float | None,
        pace: Pace | None = None,
        begun: Mapping[str, Begun] | None = None,
        stack: int = 1,
    ) -> None:
        self.begun, self.stack = dict(begun or {}), stack
        self.todo = sorted(todo, key=lambda spec: spec.spec_hash not in self.begun)
        self.pace, self.time_limit = pace or Pace(), time_limit
        self.deadline = None if time_limit is None else time.monotonic() + time_limit

    def left(self) -> float | None:
        """Seconds until the time limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def done(self, spec: RunSpec) -> int:
        """Steps of a run that were done before."""
        return self.begun.get(spec.spec_hash, NEW).step

    def stacked(self, job: Job) -> bool:
        """Whether `train_job` trains a job as a stack."""
        return len(job) > 1 or self.begun.get(job[0].spec_hash, NEW).engine == STACKED

    def _fits(self, seconds: float) -> bool:
        left = self.left()
        return left is None or seconds <= left

    def _place(self) -> int | None:
        """Where the next run is: the first that fits into the time left, else the first that never does."""
        too_long = None
        for place, spec in enumerate(self.todo):
            seconds = self.pace.seconds(spec, self.done(spec), self.stacked((spec,)))
            if self._fits(seconds) or spec.spec_hash in self.begun:
                return place
            if too_long is None and self.time_limit is not None and seconds > self.time_limit:
                too_long = place
        return too_long

    def _kind(self, spec: RunSpec) -> tuple:
        """What the runs of a job have in common."""
        return kin(spec), self.begun.get(spec.spec_hash)

    def _beside(self, first: RunSpec) -> list[RunSpec]:
        """The runs that train in a stack with `first`; it takes no less time than the longest of them alone.

        Those that were begun are of one stack, and stay together however long that takes.
        """
        kind, begun, pace = self._kind(first), self.begun.get(first.spec_hash), self.pace
        found, shares = list[RunSpec](), pace.seconds(first, stacked=True)
        if begun is not None and begun.engine != STACKED:
            return found
        for spec in self.todo:
            if len(found) + 1 == self.stack:
                break
            if self._kind(spec) != kind:
                continue
            share = pace.seconds(spec, stacked=True)
            longest = max(pace.seconds(first), pace.seconds(spec), shares + share)
            if begun is not None or self._fits(longest):
                found.append(spec)
                shares += share
        return found

    def next(self) -> Job:
        """Take out the runs of the next job; none where none should start."""
        place = self._place()
        if place is None:
            return ()
        first = self.todo.pop(place)
        job = (first, *self._beside(first))
        taken = {spec.spec_hash for spec in job}
        self.todo = [spec for spec in self.todo if spec.spec_hash not in taken]
        return job


class _Driver:
    """The state of a sweep: the runs in training, by spec hash."""

    def __init__(self, queue: Queue, executor: Executor, store: Store, display: SweepDisplay) -> None:
        self.queue, self.executor, self.store, self.display = queue, executor, store, display
        self.running: dict[str, RunSpec] = {}
        self.jobs: dict[str, Job] = {}  # the job of each of them
        self.checkpoints = Unfinished(store)
        self.begun: set[str] = set()  # those of them that a worker has taken up
        self.stopped: list[RunSpec] = []
        self.stopping = False

    def hand_out(self) -> None:
        """Give every free worker its next job."""
        for _ in range(self.executor.room()):
            job = self.queue.next()
            if not job:
                return
            for spec in job:
                self.running[spec.spec_hash], self.jobs[spec.spec_hash] = spec, job
                self.display.start(spec, self.queue.done(spec))
            self.executor.submit(job)

    def work_off(self) -> None:
        """Hand out runs and listen, until all is done or the time is up."""
        self.hand_out()
        while self.running:
            left = self.queue.left()
            if left == 0:
                return
            for message in self.executor.wait(left):
                self.hear(message)
            self.hand_out()

    def hear(self, message: Message) -> None:
        """Deal with one message."""
        spec = self.running.get(message.key)
        if message.kind == "note":
            self.display.note_once(message.text)
        elif spec is None:
            return  # a late word of a run that is trained elsewhere by now
        elif message.kind == "started":
            self.begun.add(message.key)
        elif message.kind == "progress":
            job = self.jobs[message.key]
            self.queue.pace.progress(spec, job, self.queue.stacked(job), message.step, time.monotonic())
            self.display.update(spec, message)
        elif message.record is not None:
            self.store.append(message.record)
            self.checkpoints.clear(message.key)
            self.queue.pace.finish(message.record, self.jobs.pop(message.key))
            self.display.finish(spec, message.record)
            del self.running[message.key]
        elif message.kind in ("stopped", "failed", "lost"):
            self.stopped.append(self.running.pop(message.key))
            self.display.drop(spec)
            if not self.stopping and message.kind != "stopped":
                raise SweepError(_what_failed(spec, message))

    def save(self) -> None:
        """Let the runs in training save their state, within `SAVE_WITHIN`."""
        self.stopping = True
        if self.running.keys() & self.begun:
            self.display.note("saving the state of the runs in training")
            self.executor.stop()
        until = time.monotonic() + SAVE_WITHIN
        while self.running.keys() & self.begun and (left := until - time.monotonic()) > 0:
            for message in self.executor.wait(left):
                self.hear(message)
        self.stopped += self.running.values()


def _what_failed(spec: RunSpec, message: Message) -> str:
    where = f"width {spec.width} at {spec.budget:.3g} FLOPs"
    if message.kind == "lost":
        return f"{message.text} while training {where}; run the sweep again to go on"
    return f"{where}, seed {spec.seed}: {message.text}"


def drive(queue: Queue, executor: Executor, store: Store, display: SweepDisplay) -> None:
    """Train the runs of `queue` until all are in `store` or the time is up; close the executor.

    Raises `SweepError` where a run fails. Then, too, and at Ctrl-C, the others are saved first.
    """
    driver = _Driver(queue, executor, store, display)
    try:
        try:
            driver.work_off()
        finally:
            driver.save()
    finally:
        executor.close()
    left = [*queue.todo, *driver.stopped]
    if left:
        begun = len(driver.checkpoints.begun(left))
        display.note(
            f"time limit reached; {len(left)} runs are left for the next sweep"
            + (f", {begun} of them begun" if begun else "")
        )
