"""Running a plan: one single-threaded worker a core, live progress, resume.

Decisions:
- Workers are processes that train and send messages; only this process writes to the store. Whatever is
  killed, the store holds every run whose record was written, and the next sweep trains the rest.
- On a GPU they are threads, each with a stream of its own: kernels of different processes would take turns,
  those of one process run side by side.
- A worker notices within a second that its driver is gone (its pipe closes) and ends.
- The plan's order is kept (small budgets first), but within a budget the longest runs start first, so
  that the workers finish together.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from minichin.pace import Pace
from minichin.plan import RunSpec, plan
from minichin.progress import SweepDisplay
from minichin.runs import RunRecord, Store, default_store, open_store

GPU_WORKERS = 8  # on an H200, 12 do 40 % more steps at width 64 than 4, and none more at width 512
STOP_WITHIN = 10.0  # seconds that a thread is given to end


class SweepError(RuntimeError):
    """A run failed in a worker for a reason that is not the caller's mistake."""


@dataclass(frozen=True)
class Message:
    """What a worker tells: `progress` (step, loss), `done` (record) or `error` (one line)."""

    kind: str
    step: int = 0
    loss: float = 0.0
    record: RunRecord | None = None
    error: str = ""


def _tell(pipe: Connection, message: Message) -> None:
    """Send to the driver; end this worker where the driver is gone."""
    try:
        pipe.send(message)
    except OSError:
        raise SystemExit from None


def _work_alone(pipe: Connection, device: str | None) -> None:
    """Be a worker in a process of its own: one thread, and deaf to Ctrl-C, which is the driver's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    try:
        _work(pipe, device)
    finally:
        os._exit(0)


def _work(pipe: Connection, device: str | None) -> None:
    """Train the specs that come through `pipe` until it closes."""
    from minichin import corpus
    from minichin.train import train

    loaded: dict[str, corpus.Corpus] = {}
    last = time.monotonic()

    def report(step: int, loss: float) -> None:
        nonlocal last
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            _tell(pipe, Message("progress", step=step, loss=loss))

    while True:
        try:
            spec: RunSpec = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if spec.corpus not in loaded:
                loaded[spec.corpus] = corpus.load(spec.corpus)
            record = train(spec, loaded[spec.corpus], device=device, progress=report)
            _tell(pipe, Message("done", step=record.stopped_at, record=record))
        except Exception as error:
            _tell(pipe, Message("error", error=f"{type(error).__name__}: {error}"))


class _Worker:
    """A worker, a process or (on a GPU) a thread, and the spec that it is busy with."""

    def __init__(self, device: str | None, thread: bool) -> None:
        self.pipe, self.theirs = mp.Pipe()
        self.spec: RunSpec | None = None
        self.mark: tuple[int, float] | None = None
        self.thread: threading.Thread | None = None
        self.process: SpawnProcess | None = None
        if thread:
            self.thread = threading.Thread(target=_work, args=(self.theirs, device), daemon=True)
            self.thread.start()
        else:
            spawn = mp.get_context("spawn")
            self.process = spawn.Process(target=_work_alone, args=(self.theirs, device), daemon=True)
            self.process.start()
            self.theirs.close()

    def give(self, spec: RunSpec) -> None:
        self.spec, self.mark = spec, None
        self.pipe.send(spec)

    def pace(self, step: int) -> tuple[int, float]:
        """Steps and seconds since this run's first report: what came before that was not training."""
        now = time.monotonic()
        self.mark = self.mark or (step, now)
        return step - self.mark[0], now - self.mark[1]

    def exit_status(self) -> str:
        """What a dead process left behind, in brackets."""
        if self.process is None:
            return ""
        self.process.join()
        return f" (exit status {self.process.exitcode})"

    def stop(self) -> None:
        """End the process at once, the thread at its next word to the driver."""
        self.pipe.close()
        if self.process is not None:
            self.process.kill()
            self.process.join()
        if self.thread is not None:
            self.thread.join(STOP_WITHIN)


def order(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Small budgets first; within one budget the runs with the most steps first."""
    return sorted(specs, key=lambda s: (s.budget, -s.steps, s.seed))


def missing(specs: Sequence[RunSpec], store: Store) -> list[RunSpec]:
    """The specs that the store holds no record of, in running order, each once."""
    known = store.by_key()
    return order(list({s.spec_hash: s for s in specs if s.spec_hash not in known}.values()))


def _check_texts(specs: Sequence[RunSpec], store: Store) -> None:
    """Refuse to add runs to a store whose runs saw another version of the same text."""
    from minichin import corpus

    seen = {record.spec.corpus: record.corpus_sha256 for record in store.records()}
    for name in {spec.corpus for spec in specs}:
        now = corpus.load(name).sha256
        if seen.get(name, now) != now:
            raise ValueError(
                f"the runs in {store.folder} were trained on another version of the text {name!r} "
                f"(sha256 {seen[name][:12]}…, here {now[:12]}…); name a new --store"
            )


def sweep(
    what: str | Sequence[RunSpec],
    store: Store | str | Path | None = None,
    *,
    workers: int | None = None,
    time_limit: float | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Store:
    """Train the runs of a profile (by name) or of a list of specs that `store` does not hold yet.

    workers: runs at a time (default: one a core, `GPU_WORKERS` on a GPU); time_limit: seconds after
    which no further run is started and unfinished ones are given up. Ctrl-C stops cleanly: finished runs
    are in the store. Raises `SweepError` when a run fails in a worker.
    """
    from minichin.train import choose_device

    specs = plan(what) if isinstance(what, str) else list(what)
    if store is None:
        store = default_store(what if isinstance(what, str) else "custom")
    store = store if isinstance(store, Store) else Store(store)
    todo = missing(specs, store)
    if not todo:
        return store
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    on = choose_device(device)
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # queues, lest streams wait for one another
    _check_texts(todo, store)
    gpu = on.type == "cuda"
    count = min(len(todo), workers or (GPU_WORKERS if gpu else cores()))
    with SweepDisplay(specs, todo, enabled=progress) as display:
        _drive(todo, store, [_Worker(device, gpu) for _ in range(count)], time_limit, display)
    return store


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Queue:
    """The runs still to do. With a time limit, those that would not finish in time are passed over."""

    def __init__(self, todo: Sequence[RunSpec], time_limit: float | None) -> None:
        self.todo, self.pace = list(todo), Pace()
        self.deadline = None if time_limit is None else time.monotonic() + time_limit

    def left(self) -> float | None:
        """Seconds until the time limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def next(self) -> RunSpec | None:
        """Take out the first run that fits into the time left."""
        left = self.left()
        for place, spec in enumerate(self.todo):
            if left is None or self.pace.seconds(spec) <= left:
                return self.todo.pop(place)
        return None


def _drive(
    todo: Sequence[RunSpec],
    store: Store,
    workers: Sequence[_Worker],
    time_limit: float | None,
    display: SweepDisplay,
) -> None:
    """Hand out specs, write records as they come, until all is done or the time is up."""
    queue = _Queue(todo, time_limit)
    busy = {worker.pipe: worker for worker in workers}
    try:
        for worker in workers:
            _give(busy, worker, queue)
        while busy:
            left = queue.left()
            if left is not None and left <= 0:
                break
            for pipe in wait(list(busy), timeout=left):
                assert isinstance(pipe, Connection)
                _handle(busy, pipe, queue, store, display)
        unfinished = len(queue.todo) + len(busy)
        if unfinished:
            display.note(f"time limit reached; {unfinished} runs are left for the next sweep")
    finally:
        for worker in busy.values():
            worker.pipe.close()
        for worker in busy.values():
            worker.stop()


def _give(busy: dict[Connection, _Worker], worker: _Worker, queue: _Queue) -> None:
    """Hand the worker its next run, or send it home."""
    spec = queue.next()
    if spec is not None:
        worker.give(spec)
    else:
        worker.stop()
        del busy[worker.pipe]


def _handle(
    busy: dict[Connection, _Worker],
    pipe: Connection,
    queue: _Queue,
    store: Store,
    display: SweepDisplay,
) -> None:
    """Deal with one message of one worker."""
    worker = busy[pipe]
    spec = worker.spec
    assert spec is not None
    try:
        message: Message = pipe.recv()
    except (EOFError, OSError):
        raise SweepError(
            f"a worker died{worker.exit_status()} while training width "
            f"{spec.width} at {spec.budget:.3g} FLOPs; run the sweep again to go on"
        ) from None
    if message.kind == "error":
        raise SweepError(f"width {spec.width} at {spec.budget:.3g} FLOPs, seed {spec.seed}: {message.error}")
    display.update(spec, message.step, message.loss)
    queue.pace.see(spec, *worker.pace(message.step))
    if message.record is not None:
        store.append(message.record)
        display.finish(spec, message.record)
        _give(busy, worker, queue)


def ensure(name: str, store: str | Path = "", *, progress: bool = True) -> Store:
    """The store of a profile with all its runs in it, training those that are missing.

    `published` trains nothing. `store` is a folder; empty means the profile's default.
    """
    if name == "published":
        return open_store(store or "published")
    return sweep(name, store or default_store(name), progress=progress)
