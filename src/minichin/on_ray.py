"""Workers of a Ray cluster: an `Executor` of the sweep that goes beyond one machine.

Decisions:
- A job is a Ray task with one core, or with a share of a GPU where the cluster has GPUs. Ray would try a lost
  task again by itself; we do it, so as to count and tell it, and to go on from what was saved.
- The texts go to Ray's object store once, and from there to every node that trains.
- Checkpoints come with the messages, when a run stops and every minute. The driver keeps them in the store's
  folder `unfinished`, and a run that is taken up again, in this sweep or a later one, takes its own along:
  a lost worker costs its runs the last minute.
- Messages go through a mailbox, one small actor on the driver's node; its answers say whether to stop.
- Each attempt at a job has a number: what comes late from one that Ray has given up is not heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minichin.cache import replacing
from minichin.jobs import Job, Message, SweepError
from minichin.ray_cluster import connect, import_ray
from minichin.ray_worker import Letter, Mailbox, fingerprint, train_task

RETRIES = 3  # times that a run is trained again after its worker was lost
LOOK_EVERY = 1.0  # seconds between two looks at what the cluster offers


@dataclass
class _Attempt:
    """A job that was handed to Ray, and the keys of the runs that it has yet to end."""

    number: int
    job: Job
    open: set[str]


class RayPool:
    """Runs trained by Ray, here or on the cluster at `address`: an `Executor`, as `drive` wants it.

    workers: how many jobs at a time (default: as many as the cluster has cores, or `per_gpu` times its GPUs,
    at any moment); texts: names of the texts; device: `cpu`, `cuda`, or what the cluster has.
    """

    def __init__(
        self,
        texts: Iterable[str],
        *,
        checkpoints: Path,
        cores: int,
        per_gpu: int,
        address: str | None = None,
        workers: int | None = None,
        device: str | None = None,
        engine: str = "auto",
    ) -> None:
        self.ray = ray = import_ray()
        connect(ray, address, workers or cores)
        self.checkpoints, self.engine, self.workers, self.per_gpu = checkpoints, engine, workers, per_gpu
        self.number, self.stopping = 0, False
        self.attempts: dict[Any, _Attempt] = {}  # by the reference of the task
        self.losses: Counter[str] = Counter()
        try:
            self.device = device or ("cuda" if ray.cluster_resources().get("GPU") else "cpu")
            if not self._offered():
                what = "GPU; use --device cpu" if self.device == "cuda" else "core"
                raise ValueError(f"the Ray cluster at {address or 'this machine'} has no {what}")
            self._furnish(texts)
        except BaseException:
            self.close()
            raise

    def _furnish(self, texts: Iterable[str]) -> None:
        """Put the texts and the mailbox where workers find them."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from minichin import corpus

        ray = self.ray
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        self.bell = self.mailbox.filled.remote()
        self.texts = {name: ray.put(corpus.load(name)) for name in texts}
        share = {"num_cpus": 1} if self.device == "cpu" else {"num_cpus": 0, "num_gpus": 1 / self.per_gpu}
        self.task = ray.remote(train_task).options(max_retries=0, **share)

    def _offered(self) -> int:
        """How many jobs the cluster could train at a time, now."""
        there = self.ray.cluster_resources()
        if self.device == "cpu":
            return int(there.get("CPU", 0))
        return int(there.get("GPU", 0) * self.per_gpu)

    def about(self) -> str:
        """What there is, for the display."""
        nodes, offered = sum(node["Alive"] for node in self.ray.nodes()), self._offered()
        what = (
            f"core{'s' * (offered != 1)}" if self.device == "cpu" else f"runs on GPUs, {self.per_gpu} on each"
        )
        return f"Ray: {nodes} node{'s' * (nodes != 1)}, {offered} {what}"

    def room(self) -> int:
        offered = max(1, self._offered())  # one job waits for a cluster that has lost all
        busy = sum(bool(attempt.open) for attempt in self.attempts.values())
        return max(0, min(offered, self.workers or offered) - busy)

    def submit(self, job: Job) -> None:
        self.number += 1
        files = [self.checkpoints / f"{spec.spec_hash}.npz" for spec in job]
        states = {file.name: file.read_bytes() for file in files if file.exists()}
        reference = self.task.remote(
            self.number, job, states, self.texts, self.mailbox, self.device, self.engine, fingerprint()
        )
        self.attempts[reference] = _Attempt(self.number, job, {spec.spec_hash for spec in job})

    def wait(self, seconds: float | None) -> list[Message]:
        within = LOOK_EVERY if seconds is None else min(seconds, LOOK_EVERY)
        ready, _ = self.ray.wait([self.bell, *self.attempts], timeout=within)
        try:  # all that an ended task told was in the mailbox before its end
            letters = self.ray.get(self.mailbox.take.remote())
        except self.ray.exceptions.RayError as error:
            raise SweepError(f"the driver's mailbox was lost ({_kind(error)}); run the sweep again") from None
        messages = [message for letter in letters for message in self._read(letter)]
        for reference in ready:
            if reference == self.bell:
                self.bell = self.mailbox.filled.remote()
            else:
                messages += self._end(reference)
        if not self._offered():
            messages.append(Message("note", text="the cluster has nothing to train on left; waiting for it"))
        return messages

    def _read(self, letter: Letter) -> list[Message]:
        """Keep the checkpoints of a letter; its message, if it is from an attempt that still counts."""
        attempt = next((a for a in self.attempts.values() if a.number == letter.attempt), None)
        if attempt is None:
            return []
        for name, state in letter.states.items():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            with replacing(self.checkpoints / name) as partial:
                partial.write_bytes(state)
        if letter.message.kind in ("done", "stopped", "failed"):
            attempt.open.discard(letter.message.key)
        return [letter.message]

    def _end(self, reference: Any) -> list[Message]:
        """What the end of a task means for the runs of it that have not ended."""
        attempt = self.attempts.pop(reference)
        try:
            reason = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            reason = f"a worker cannot train: {' '.join(str(error.cause).split())}"
        except self.ray.exceptions.RayError as error:
            return self._lost(attempt, _kind(error))
        if reason:
            raise ValueError(f"{reason}; install the same minichin on all nodes of the cluster")
        return self._lost(attempt, "no answer") if attempt.open else []

    def _lost(self, attempt: _Attempt, why: str) -> list[Message]:
        """Train what is left of a lost attempt anew, unless it was lost too often."""
        messages, again = [], []
        for spec in attempt.job:
            key = spec.spec_hash
            if key not in attempt.open:
                continue
            self.losses[key] += 1
            if self.stopping or self.losses[key] > RETRIES:
                messages.append(Message("lost", key, text=f"a worker was lost ({why})"))
            else:
                again.append(spec)
                what = f"width {spec.width} at {spec.budget:.0e} FLOPs, seed {spec.seed}"
                text = f"a worker was lost ({why}); trying {what} again, {self.losses[key]} of {RETRIES}"
                messages.append(Message("note", text=text))
        if again:
            self.submit(tuple(again))
        return messages

    def stop(self) -> None:
        self.stopping = True
        with suppress(self.ray.exceptions.RayError):
            self.ray.get(self.mailbox.stop.remote())

    def close(self) -> None:
        for reference in self.attempts:
            self.ray.cancel(reference, force=True)
        self.attempts.clear()
        self.ray.shutdown()


def _kind(error: Exception) -> str:
    """`WorkerCrashedError` and the like."""
    return type(error).__name__
