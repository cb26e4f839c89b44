"""Workers on this machine: one single-threaded process a core, or threads that share a GPU.

Decisions:
- Workers train and send messages; only the driver writes to the store.
- On a GPU they are threads, each with a stream of its own: kernels of different processes would take turns,
  those of one process run side by side.
- Whatever comes through the pipe in the middle of a job asks the worker to stop, and so does the end of the
  pipe: where the driver was killed, its workers save their runs and end within about a second.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
import warnings
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from minichin.jobs import Job, Message, Tell, train_job

END_WITHIN = 10.0  # seconds that a thread is given to end


def _teller(pipe: Connection) -> Tell:
    def tell(message: Message) -> bool:
        try:
            pipe.send(message)
            return pipe.poll()
        except OSError:  # the driver is gone
            return True

    return tell


def _work_alone(pipe: Connection, device: str | None, engine: str, checkpoints: Path) -> None:
    """Be a worker in a process of its own: one thread, and deaf to Ctrl-C, which is the driver's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    tell = _teller(pipe)

    def pass_on(message: Warning | str, *_: object, **__: object) -> None:
        tell(Message("note", text=str(message)))

    vars(warnings)["showwarning"] = pass_on
    try:
        _work(pipe, device, engine, checkpoints)
    finally:
        os._exit(0)


def _work(pipe: Connection, device: str | None, engine: str, checkpoints: Path) -> None:
    """Train the jobs that come through `pipe` until None comes, or its end."""
    from minichin import corpus

    load, tell = cache(corpus.load), _teller(pipe)
    while True:
        try:
            job: Job | None = pipe.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        train_job(job, load, device=device, engine=engine, checkpoints=checkpoints, tell=tell)


class _Worker:
    """A worker, a process or a thread, and the keys of the runs that it has yet to end."""

    def __init__(self, device: str | None, engine: str, checkpoints: Path, thread: bool) -> None:
        self.pipe, self.theirs = mp.Pipe()
        self.open: set[str] = set()
        self.thread: threading.Thread | None = None
        self.process: SpawnProcess | None = None
        arguments = (self.theirs, device, engine, checkpoints)
        if thread:
            self.thread = threading.Thread(target=_work, args=arguments, daemon=True)
            self.thread.start()
        else:
            spawn = mp.get_context("spawn")
            self.process = spawn.Process(target=_work_alone, args=arguments, daemon=True)
            self.process.start()
            self.theirs.close()

    def hear(self) -> list[Message]:
        """The next message; where the process has died, that its runs are lost."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            status = ""
            if self.process is not None:
                self.process.join()
                status = f" (exit status {self.process.exitcode})"
            lost = [Message("lost", key, text=f"a worker died{status}") for key in self.open]
            self.open.clear()
            self.pipe.close()
            return lost
        if message.kind in ("done", "stopped", "failed"):
            self.open.discard(message.key)
        return [message]

    def end(self) -> None:
        """End the process at once, the thread at its next word to the driver."""
        self.pipe.close()
        if self.process is not None:
            self.process.kill()
            self.process.join()
        if self.thread is not None:
            self.thread.join(END_WITHIN)


class LocalPool:
    """`count` workers on this machine: an `Executor`, as `drive` wants it."""

    def __init__(
        self, count: int, *, checkpoints: Path, device: str | None = None, engine: str = "auto", threads: bool
    ) -> None:
        self.workers = [_Worker(device, engine, checkpoints, threads) for _ in range(count)]

    def room(self) -> int:
        return sum(not worker.open and not worker.pipe.closed for worker in self.workers)

    def submit(self, job: Job) -> None:
        worker = next(w for w in self.workers if not w.open and not w.pipe.closed)
        worker.open = {spec.spec_hash for spec in job}
        with suppress(OSError):  # it died: `wait` will tell
            worker.pipe.send(job)

    def wait(self, seconds: float | None) -> list[Message]:
        by_pipe = {w.pipe: w for w in self.workers if not w.pipe.closed}
        ready = wait(list(by_pipe), timeout=seconds)
        return [message for pipe in ready for message in by_pipe[pipe].hear()]  # type: ignore[index]

    def stop(self) -> None:
        for worker in self.workers:
            with suppress(OSError):
                worker.pipe.send(None)

    def close(self) -> None:
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            worker.end()
