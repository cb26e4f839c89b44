"""The one training loop: a spec and a corpus in, a record out. It prints nothing.

Decisions:
- The loop drives an engine (see `engine`), which holds the model and takes the steps. A GPU gets CUDA
  graphs, a CPU the compiled engine where it can be built, else the reference, with a line that says why.
- Losses along the run are taken on the same few held-out blocks, the last one on all of them.
- A run that diverges is a result: it is recorded as such, with the curve up to that point.
- It writes nothing either, but for the checkpoint of an unfinished run where it is given a place for one.
"""

from __future__ import annotations

import math
import platform
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from minichin import checkpoint as checkpoints
from minichin.checkpoint import Checkpoint
from minichin.corpus import Corpus
from minichin.engine import Engine, Progress, Stopped, blocks
from minichin.engine_torch import EagerEngine
from minichin.plan import RunSpec
from minichin.runs import Evaluation, RunRecord

DIVERGED_ABOVE = 1.5  # times ln(vocab), the loss of a uniform guess
CHECKPOINT_EVERY = 60.0  # seconds
#: name -> which engine that is.
ENGINES = {
    "auto": "the fastest one that runs here",
    "torch": "the reference: the model of the book, in PyTorch",
    "compiled": "C++ on a CPU, CUDA graphs on a GPU",
}


def evaluation_steps(spec: RunSpec) -> list[int]:
    """Steps after which the held-out loss is taken: log-spaced from the end of the warm-up to the end."""
    first = min(spec.steps, max(10, spec.warmup_steps))
    points = np.geomspace(first, spec.steps, spec.curve_points)
    return sorted({round(p) for p in points})


def choose_device(name: str | None = None) -> torch.device:
    """The device called `name`, or CUDA where there is one, else the CPU; `ValueError` if it is not there."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}; choose cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for, but torch finds no CUDA device here; use --device cpu")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Name the hardware for the record."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    return f"cpu: {platform.machine()}"


def held_out(spec: RunSpec, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """The held-out blocks of the final loss, and those of the curve (a prefix of them)."""
    rows = blocks(corpus.valid, spec.context)[: spec.valid_tokens // spec.context]
    if not len(rows):
        raise ValueError(
            f"corpus {corpus.name!r} holds {len(corpus.valid)} validation tokens, "
            f"fewer than one block of {spec.context + 1}; use a longer text"
        )
    return rows, rows[: max(1, spec.curve_tokens // spec.context)]


def make_engine(spec: RunSpec, rows: np.ndarray, device: torch.device, kind: str = "auto") -> Engine:
    """The engine called `kind` (see `ENGINES`) on this device, at the start of the run of `spec`.

    `auto` on a CPU without a compiler is the reference, with a warning; `compiled` there is a `ValueError`.
    """
    if kind not in ENGINES:
        raise ValueError(f"unknown engine {kind!r}; choose one of {', '.join(ENGINES)}")
    if kind == "torch":
        return EagerEngine(spec, rows, device)
    if device.type == "cuda":
        from minichin.engine_cuda import CudaEngine

        return CudaEngine(spec, rows, device)
    from minichin.engine_cpu import CpuEngine, NoCompiledEngine

    try:
        return CpuEngine(spec, rows)
    except NoCompiledEngine as reason:
        if kind == "compiled":
            raise ValueError(f"no compiled engine: {reason}; use the engine torch") from None
        warnings.warn(f"{reason}: the reference engine trains, several times slower", stacklevel=2)
    return EagerEngine(spec, rows, device)


def which_engine(device: torch.device, kind: str = "auto") -> tuple[str, list[str]]:
    """The name of the engine that `make_engine` gives here, and why it is no faster one, if it is not.

    One is made for a run of no size: what there is to compile is compiled by that.
    """
    none = RunSpec(8, 1.0, 1, 0.1, 1, depth=1, context=8, head_dim=8, batch_tokens=8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make_engine(none, np.zeros((1, none.context + 1), np.uint8), device, kind)
    made.close()
    return made.name, [str(warning.message) for warning in caught]


def train(
    spec: RunSpec,
    corpus: Corpus,
    *,
    device: str | None = None,
    engine: str = "auto",
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    keep: bool = False,
) -> RunRecord:
    """Train one model as `spec` says and return its record.

    `progress(step, train_loss)` is called now and then; where it raises `Stopped`, the run ends there. With a
    `checkpoint` file the run's state is saved then, and every `CHECKPOINT_EVERY` seconds, and a run that
    finds its own state there goes on from it; the caller removes the file once the record is safe. With
    `keep` the state after the last step is saved there too (see `trained.load`).
    The same spec on the same CPU and engine, with one thread, gives the same record bit for bit, stopped and
    taken up again or not, wall-clock time apart.
    """
    where = choose_device(device)
    train_rows = blocks(corpus.train, spec.context)
    if not len(train_rows):
        raise ValueError(f"corpus {corpus.name!r} is too short: {len(corpus.train)} training tokens")
    rows, started = held_out(spec, corpus), time.perf_counter()
    run = _Run(spec, corpus, rows, where, make_engine(spec, train_rows, where, engine), checkpoint)
    try:
        val_loss = run.to_the_end(progress)
        if keep:
            run.save()
    finally:
        run.engine.close()
    return RunRecord(
        spec=spec,
        val_loss=val_loss,
        curve=tuple(run.curve),
        status="diverged" if val_loss is None else "finished",
        stopped_at=run.engine.step,
        seconds=run.seconds + time.perf_counter() - started,
        device=describe_device(where),
        versions=run.versions,
        corpus_sha256=corpus.sha256,
    )


class _Run:
    """A run on its way: the engine, the curve so far, and where they are kept."""

    def __init__(
        self,
        spec: RunSpec,
        corpus: Corpus,
        rows: tuple[np.ndarray, np.ndarray],
        device: torch.device,
        engine: Engine,
        file: Path | None,
    ) -> None:
        self.spec, self.engine, self.file = spec, engine, file
        self.rows, self.curve_rows = rows
        self.versions = {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "engine": engine.name,
        }
        self.identity = {
            **self.versions,
            "spec": spec.spec_hash,
            "text": corpus.sha256,
            "device": describe_device(device),
        }
        self.curve: list[Evaluation] = []
        self.seconds, self.started = 0.0, time.perf_counter()
        self.saved = time.monotonic()
        found = checkpoints.load(file, self.identity) if file else None
        if found is not None:
            engine.load(found.state)
            self.curve, self.seconds = list(found.curve), found.seconds

    def save(self) -> None:
        """Write the checkpoint, where there is a place for it."""
        if self.file is not None:
            seconds = self.seconds + time.perf_counter() - self.started
            state = Checkpoint(self.engine.state(), tuple(self.curve), seconds)
            checkpoints.save(self.file, self.identity, state)
            self.saved = time.monotonic()

    def to_the_end(self, progress: Progress | None) -> float | None:
        """Take the steps and the losses that are left; the final loss, None where the run diverges."""

        def watch(step: int, loss: float) -> None:
            if progress is not None:
                progress(step, loss)
            if time.monotonic() - self.saved > CHECKPOINT_EVERY:
                self.save()

        limit, done = DIVERGED_ABOVE * math.log(self.spec.vocab), len(self.curve)
        try:
            for stop in evaluation_steps(self.spec)[done:]:
                self.engine.advance(stop, watch)
                held_out = self.engine.evaluate(self.curve_rows)
                if not held_out < limit:
                    return None
                self.curve.append(Evaluation(stop, held_out, self.engine.train_loss()))
        except Stopped:
            self.save()
            raise
        return self.engine.evaluate(self.rows)
