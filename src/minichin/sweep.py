"""Running a plan: one single-threaded worker a core, live progress, resume.

Decisions:
- Workers are processes that train and send messages; only this process writes to the store. Whatever is
  killed, the store holds every run whose record was written, and the next sweep trains the rest.
- A worker notices within a second that its driver is gone (its pipe closes) and ends.
- The plan's order is kept (small budgets first), but within a budget the longest runs start first, so
  that the workers finish together.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from minichin.plan import RunSpec, plan
from minichin.progress import SweepDisplay
from minichin.runs import RunRecord, Store, default_store, open_store


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
    """Send to the driver; end this process where the driver is gone."""
    try:
        pipe.send(message)
    except OSError:
        os._exit(0)


def _work(pipe: Connection, device: str | None) -> None:
    """Train the specs that come through `pipe` until it closes. Runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    from minichin import corpus
    from minichin.train import train

    torch.set_num_threads(1)
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
            os._exit(0)
        try:
            if spec.corpus not in loaded:
                loaded[spec.corpus] = corpus.load(spec.corpus)
            record = train(spec, loaded[spec.corpus], device=device, progress=report)
            _tell(pipe, Message("done", step=record.stopped_at, record=record))
        except Exception as error:
            _tell(pipe, Message("error", error=f"{type(error).__name__}: {error}"))


class _Worker:
    """A worker process and the spec that it is busy with."""

    def __init__(self, device: str | None) -> None:
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()
        self.spec: RunSpec | None = None

    def give(self, spec: RunSpec) -> None:
        self.spec = spec
        self.pipe.send(spec)

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


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

    workers: processes (default: one a core, at most one a run; one on a GPU); time_limit: seconds after
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
    _check_texts(todo, store)
    count = min(len(todo), workers or (1 if on.type == "cuda" else cores()))
    with SweepDisplay(specs, todo, enabled=progress) as display:
        _drive(todo, store, count, device, time_limit, display)
    return store


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _drive(
    todo: Sequence[RunSpec],
    store: Store,
    count: int,
    device: str | None,
    time_limit: float | None,
    display: SweepDisplay,
) -> None:
    """Hand out specs, write records as they come, until all is done or the time is up."""
    deadline = None if time_limit is None else time.monotonic() + time_limit
    queue = list(todo)
    busy: dict[Connection, _Worker] = {}
    try:
        for _ in range(count):
            worker = _Worker(device)
            busy[worker.pipe] = worker
            worker.give(queue.pop(0))
        while busy:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                display.note(f"time limit reached; {len(queue) + len(busy)} runs are left for the next sweep")
                break
            for pipe in wait(list(busy), timeout=left):
                assert isinstance(pipe, Connection)
                _handle(busy, pipe, queue, store, display)
    finally:
        for worker in busy.values():
            worker.stop()


def _handle(
    busy: dict[Connection, _Worker],
    pipe: Connection,
    queue: list[RunSpec],
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
        worker.process.join()
        raise SweepError(
            f"a worker died (exit status {worker.process.exitcode}) while training width "
            f"{spec.width} at {spec.budget:.3g} FLOPs; run the sweep again to go on"
        ) from None
    if message.kind == "error":
        raise SweepError(f"width {spec.width} at {spec.budget:.3g} FLOPs, seed {spec.seed}: {message.error}")
    display.update(spec, message.step, message.loss)
    if message.record is not None:
        store.append(message.record)
        display.finish(spec, message.record)
        if queue:
            worker.give(queue.pop(0))
        else:
            worker.stop()
            del busy[pipe]


def ensure(name: str, store: str | Path = "", *, progress: bool = True) -> Store:
    """The store of a profile with all its runs in it, training those that are missing.

    `published` trains nothing. `store` is a folder; empty means the profile's default.
    """
    if name == "published":
        return open_store(store or "published")
    return sweep(name, store or default_store(name), progress=progress)
