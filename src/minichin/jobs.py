"""A job, wherever it is trained: some runs on one text, and what is told of them on the way.

Decisions:
- Whoever trains (a process, a thread, a Ray task) calls `train_job` and gives it a way to tell. The answer to
  every message says whether to stop: so the way back needs no channel of its own.
- Progress is told, and the answer heard, every `TELL_EVERY` seconds: a worker stops within about a second.
- A run that is stopped leaves its checkpoint, and the next sweep goes on from it.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minichin.corpus import Corpus
from minichin.plan import RunSpec
from minichin.runs import RunRecord

TELL_EVERY = 0.5  # seconds
Job = tuple[RunSpec, ...]


class SweepError(RuntimeError):
    """A run failed in a worker for a reason that is not the caller's mistake."""


@dataclass(frozen=True)
class Message:
    """What is told of the run `key`.

    kind: `started`; `progress` (step, loss); `done` (record); `stopped`; `failed` (text: the error);
    `lost` (text: what became of its worker); or, of no run in particular, `note` (text).
    memory: bytes that the worker holds, of `memory_total` where that is known.
    """

    kind: str
    key: str = ""
    step: int = 0
    loss: float = 0.0
    record: RunRecord | None = None
    text: str = ""
    worker: str = ""
    memory: int = 0
    memory_total: int = 0


Tell = Callable[[Message], bool]


def train_job(
    job: Job,
    load: Callable[[str], Corpus],
    *,
    device: str | None,
    engine: str,
    checkpoints: Path,
    tell: Tell,
) -> None:
    """Train the runs of `job`, one after the other; tell their progress and how each ended.

    `load` gives a text by name; `tell` takes a message and returns whether to stop; checkpoints lie in the
    folder `checkpoints`.
    """
    from minichin.engine import Stopped
    from minichin.train import train

    for spec in job:
        try:
            if tell(Message("started", spec.spec_hash)):
                raise Stopped
            record = train(
                spec,
                load(spec.corpus),
                device=device,
                engine=engine,
                progress=partial(_Reporter(tell), spec.spec_hash),
                checkpoint=checkpoints / f"{spec.spec_hash}.npz",
            )
            tell(Message("done", spec.spec_hash, step=record.stopped_at, record=record))
        except Stopped:
            tell(Message("stopped", spec.spec_hash))
        except Exception as error:
            tell(Message("failed", spec.spec_hash, text=f"{type(error).__name__}: {error}"))


class _Reporter:
    """Passes progress on every `TELL_EVERY` seconds, and raises `Stopped` where the answer is to stop."""

    def __init__(self, tell: Tell) -> None:
        self.tell, self.last = tell, time.monotonic()

    def __call__(self, key: str, step: int, loss: float) -> None:
        from minichin.engine import Stopped

        if time.monotonic() - self.last > TELL_EVERY:
            self.last = time.monotonic()
            worker, memory, total = memory_in_use()
            message = Message(
                "progress", key, step=step, loss=loss, worker=worker, memory=memory, memory_total=total
            )
            if self.tell(message):
                raise Stopped


def memory_in_use() -> tuple[str, int, int]:
    """Who holds how many bytes of how many: a GPU where this process uses one, else this process (of 0)."""
    torch, host = sys.modules.get("torch"), socket.gethostname()
    if torch is not None and torch.cuda.is_initialized():
        from minichin.engine_cuda import memory

        return f"{host}:{torch.cuda.get_device_properties(0).uuid}", *memory(torch.device("cuda"))
    me = f"{host}:{os.getpid()}"
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return me, pages * resource.getpagesize(), 0
    except OSError:  # no Linux: the most that was ever resident, in bytes on macOS
        return me, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
