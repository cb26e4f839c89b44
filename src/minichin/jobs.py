"""A job, wherever it is trained: a run, or a stack of them, and what is told of each on the way.

Decisions:
- A run trains alone, by `train`; several of one kind, or what is left of such a stack, by `train_stack`.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minichin.corpus import Corpus
from minichin.plan import RunSpec
from minichin.runs import RunRecord
from minichin.shape import ModelShape
from minichin.unfinished import STACKED, read

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


def kin(spec: RunSpec) -> tuple[ModelShape, int, str]:
    """What runs that train as one stack have in common: shape, tokens a step, text."""
    return spec.shape, spec.batch_tokens, spec.corpus


def train_job(
    job: Job,
    load: Callable[[str], Corpus],
    *,
    device: str | None,
    engine: str,
    checkpoints: Path,
    tell: Tell,
) -> None:
    """Train the runs of `job`; tell their progress and how each of them ended.

    `load` gives a text by name; `tell` takes a message and returns whether to stop; checkpoints lie in the
    folder `checkpoints`. `engine` trains a run that is alone. An error ends all runs that have not ended.
    """
    from minichin.engine import Stopped

    left = [spec.spec_hash for spec in job]
    try:
        for key in left:
            if tell(Message("started", key)):
                raise Stopped
        for record in _train(job, load(job[0].corpus), device, engine, checkpoints, tell):
            tell(Message("done", record.key, step=record.stopped_at, record=record))
            left.remove(record.key)
    except Stopped:
        for key in left:
            tell(Message("stopped", key))
    except Exception as error:
        for key in left:
            tell(Message("failed", key, text=f"{type(error).__name__}: {error}"))


def _train(
    job: Job, corpus: Corpus, device: str | None, engine: str, checkpoints: Path, tell: Tell
) -> Iterator[RunRecord]:
    file = checkpoints / f"{job[0].spec_hash}.npz"
    if len(job) > 1 or read(file).engine == STACKED:
        from minichin.stack import train_stack

        # The engine of a stack reports every half second itself, all runs in a row.
        yield from train_stack(
            job, corpus, device=device, progress=partial(_report, tell), checkpoints=checkpoints
        )
    else:
        from minichin.train import train

        progress = _NowAndThen(partial(_report, tell, job[0]))
        yield train(job[0], corpus, device=device, engine=engine, progress=progress, checkpoint=file)


def _report(tell: Tell, spec: RunSpec, step: int, loss: float) -> None:
    """Tell the progress of a run; raise `Stopped` where the answer is to stop."""
    from minichin.engine import Stopped

    worker, memory, total = memory_in_use()
    message = Message(
        "progress", spec.spec_hash, step=step, loss=loss, worker=worker, memory=memory, memory_total=total
    )
    if tell(message):
        raise Stopped


class _NowAndThen:
    """Passes progress on every `TELL_EVERY` seconds."""

    def __init__(self, report: Callable[[int, float], None]) -> None:
        self.report, self.last = report, time.monotonic()

    def __call__(self, step: int, loss: float) -> None:
        if time.monotonic() - self.last > TELL_EVERY:
            self.last = time.monotonic()
            self.report(step, loss)


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
