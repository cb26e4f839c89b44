"""Driving a sweep: which run comes next, what to do with what workers tell, and when to stop.

Decisions:
- Only the driver writes to the store. Whatever is killed, the store holds every run whose record was
  written, and the next sweep trains the rest.
- Unfinished runs of an earlier sweep come first. With a time limit, a run that would not end in time is
  passed over; one that is longer than the whole limit starts where nothing else fits, for it never would.
- At the time limit, at Ctrl-C, and where a run fails, the unfinished ones are asked to save their state;
  those that have not done so within `SAVE_WITHIN` go on from an older one next time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from minichin.jobs import Job, Message, SweepError
from minichin.pace import Pace
from minichin.plan import RunSpec
from minichin.progress import SweepDisplay
from minichin.runs import Store
from minichin.unfinished import Unfinished

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
    """The runs still to do, in order. `begun` holds the steps that were done before, by spec hash."""

    def __init__(
        self,
        todo: Sequence[RunSpec],
        time_limit: float | None,
        pace: Pace | None = None,
        begun: Mapping[str, int] | None = None,
    ) -> None:
        self.begun = dict(begun or {})
        self.todo = sorted(todo, key=lambda spec: spec.spec_hash not in self.begun)
        self.pace, self.time_limit = pace or Pace(), time_limit
        self.deadline = None if time_limit is None else time.monotonic() + time_limit

    def left(self) -> float | None:
        """Seconds until the time limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def _seconds(self, spec: RunSpec) -> float:
        return self.pace.seconds(spec, self.begun.get(spec.spec_hash, 0))

    def _place(self) -> int | None:
        """Where the next run is: the first that fits into the time left, else the first that never does."""
        left = self.left()
        if left is None or self.time_limit is None:
            return 0 if self.todo else None
        too_long = None
        for place, spec in enumerate(self.todo):
            seconds = self._seconds(spec)
            if seconds <= left or spec.spec_hash in self.begun:
                return place
            if too_long is None and seconds > self.time_limit:
                too_long = place
        return too_long

    def next(self) -> RunSpec | None:
        """Take out the next run; None where none should start."""
        place = self._place()
        return None if place is None else self.todo.pop(place)


class _Driver:
    """The state of a sweep: the runs in training, by spec hash."""

    def __init__(self, queue: Queue, executor: Executor, store: Store, display: SweepDisplay) -> None:
        self.queue, self.executor, self.store, self.display = queue, executor, store, display
        self.running: dict[str, RunSpec] = {}
        self.checkpoints = Unfinished(store)
        self.begun: set[str] = set()  # those of them that a worker has taken up
        self.stopped: list[RunSpec] = []
        self.stopping = False

    def hand_out(self) -> None:
        """Give every free worker its next run."""
        for _ in range(self.executor.room()):
            spec = self.queue.next()
            if spec is None:
                return
            self.running[spec.spec_hash] = spec
            self.display.start(spec, self.queue.begun.get(spec.spec_hash, 0))
            self.executor.submit((spec,))

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
            self.queue.pace.progress(spec, message.step, time.monotonic())
            self.display.update(spec, message)
        elif message.record is not None:
            self.store.append(message.record)
            self.checkpoints.clear(message.key)
            self.queue.pace.finish(message.record)
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
        begun = len(driver.checkpoints.steps(left))
        display.note(
            f"time limit reached; {len(left)} runs are left for the next sweep"
            + (f", {begun} of them begun" if begun else "")
        )
