"""The one training loop: a spec and a corpus in, a record out. It prints and writes nothing.

Decisions:
- The loop drives an engine, which holds the model and takes the steps: `EagerEngine` here, the reference,
  or `engine_cuda.CudaEngine` on a GPU. Initialisation, data order and schedule are the same in both.
- All weights live in two flat buffers (decayed and not); the model's parameters and their gradients are
  views into them. Clipping and AdamW are then a handful of operations, whatever the depth: at a width of
  16 this halves the cost of a step on a CPU.
- The text is cut into blocks of context + 1 tokens, drawn without replacement in an order that depends on
  the seed alone, so runs of one seed see the same text in the same order, and no token twice in an epoch.
- Losses along the run are taken on the same few held-out blocks, the last one on all of them.
- A run that diverges is a result: it is recorded as such, with the curve up to that point.
"""

from __future__ import annotations

import itertools
import math
import platform
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from minichin.corpus import Corpus
from minichin.model import Transformer
from minichin.plan import RunSpec
from minichin.runs import Evaluation, RunRecord

BETAS = (0.9, 0.95)
DIVERGED_ABOVE = 1.5  # times ln(vocab), the loss of a uniform guess
EVAL_SEQUENCES = 16
CHUNK_STEPS = 256
Progress = Callable[[int, float], None]


def lr_factor(step: int, spec: RunSpec) -> float:
    """Learning rate at `step` (from 0) as a share of the peak.

    Linear warm-up over `warmup_steps`, then: `cosine` to 10 % (Hoffmann et al. 2022), `linear` to zero,
    or `constant` at one half with a 1 - sqrt cooldown over the last fifth (Hägele et al. 2024).
    """
    if step < spec.warmup_steps:
        warm = (step + 1) / spec.warmup_steps
        return 0.5 * warm if spec.schedule == "constant" else warm
    done = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    if spec.schedule == "linear":
        return 1.0 - done
    if spec.schedule == "cosine":
        return 0.1 + 0.45 * (1.0 + math.cos(math.pi * done))
    return 0.5 * (1.0 - math.sqrt(max(0.0, done - 0.8) / 0.2))


def evaluation_steps(spec: RunSpec) -> list[int]:
    """Steps after which the held-out loss is taken: log-spaced from the end of the warm-up to the end."""
    first = min(spec.steps, max(10, spec.warmup_steps))
    points = np.geomspace(first, spec.steps, spec.curve_points)
    return sorted({round(p) for p in points})


def blocks(tokens: np.ndarray, context: int) -> np.ndarray:
    """View a 1-D token array as rows of context + 1 tokens (inputs and their shifted targets)."""
    count = len(tokens) // (context + 1)
    return tokens[: count * (context + 1)].reshape(count, context + 1)


def row_order(count: int, spec: RunSpec) -> np.ndarray:
    """Which of `count` blocks each step sees, (steps, sequences); each epoch in its own seeded order."""
    rng = np.random.default_rng([spec.seed, 1])
    per_step = spec.batch_tokens // spec.context
    epochs = -(-spec.steps * per_step // count)
    order = np.concatenate([rng.permutation(count) for _ in range(epochs)])
    return order[: spec.steps * per_step].reshape(spec.steps, per_step)


def batches(rows: np.ndarray, spec: RunSpec, device: torch.device) -> Iterator[Tensor]:
    """Yield one (sequences, context + 1) batch of token ids a step, in the order of `row_order`."""
    order = row_order(len(rows), spec)
    for start in range(0, spec.steps, CHUNK_STEPS):
        take = order[start : start + CHUNK_STEPS]
        yield from torch.from_numpy(rows[take].astype(np.int64)).to(device)


def flatten(model: Transformer) -> list[Tensor]:
    """Move the weights into two flat leaf tensors (matrices, gains) with flat gradients; return these."""
    flats = []
    for matrices in (True, False):
        group = [p for p in model.parameters() if (p.ndim > 1) == matrices]
        flat = torch.cat([p.detach().reshape(-1) for p in group])
        grad = torch.zeros_like(flat)
        start = 0
        for p in group:
            stop = start + p.numel()
            p.data = flat[start:stop].view_as(p)
            p.grad = grad[start:stop].view_as(p)
            start = stop
        flat.requires_grad_()
        flat.grad = grad
        flats.append(flat)
    return flats


class TrainState:
    """A model in training: its flat weights, their optimiser, and one step."""

    def __init__(self, spec: RunSpec, model: Transformer, device: torch.device) -> None:
        self.spec, self.model, self.device = spec, model, device
        self.flats = flatten(model)
        self.grads = [flat.grad for flat in self.flats if flat.grad is not None]
        decays = (spec.weight_decay, 0.0)
        groups = [{"params": [f], "weight_decay": d} for f, d in zip(self.flats, decays, strict=True)]
        self.optimiser = torch.optim.AdamW(groups, lr=spec.lr, betas=BETAS, fused=True)

    def clip(self) -> None:
        """Scale the gradients in place so that their joint norm is at most `spec.clip`."""
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in self.grads]))
        scale = (self.spec.clip / (norm + 1e-6)).clamp(max=1.0)
        for grad in self.grads:
            grad.mul_(scale)

    def step(self, ids: Tensor, step: int) -> Tensor:
        """Take optimiser step number `step` (from 0) on (sequences, context + 1) ids; return the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.spec.lr * lr_factor(step, self.spec)
        with precision(self.device):
            loss = self.model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        self.clip()
        self.optimiser.step()
        for grad in self.grads:
            grad.zero_()
        return loss.detach()


class Engine(Protocol):
    """What the loop needs of an engine; `CudaEngine` and `EagerEngine` are made from (spec, rows, device)."""

    step: int

    def advance(self, stop: int, progress: Progress | None = None) -> None:
        """Take steps up to step `stop`, calling `progress(step, train_loss)` now and then."""

    def train_loss(self) -> float:
        """Running mean of the training loss, nats a token."""

    def evaluate(self, rows: np.ndarray) -> float:
        """Mean held-out cross-entropy over `rows`, nats a token."""

    def close(self) -> None:
        """Give back what the device holds."""


class EagerEngine:
    """The reference: every step is launched from Python, as the book shows it."""

    def __init__(self, spec: RunSpec, rows: np.ndarray, device: torch.device) -> None:
        self.device, self.step = device, 0
        self.state = TrainState(spec, Transformer(spec.shape, spec.seed).to(device), device)
        self.batches = batches(rows, spec, device)
        self.smooth: Tensor | None = None

    def advance(self, stop: int, progress: Progress | None = None) -> None:
        for ids in itertools.islice(self.batches, stop - self.step):
            loss = self.state.step(ids, self.step)
            self.smooth = loss if self.smooth is None else self.smooth.lerp(loss, 0.02)
            self.step += 1
            if progress is not None and self.step % 50 == 0:
                progress(self.step, float(self.smooth))

    def train_loss(self) -> float:
        return math.nan if self.smooth is None else float(self.smooth)

    def evaluate(self, rows: np.ndarray) -> float:
        return evaluate(self.state.model, rows, self.device)

    def close(self) -> None:
        """Nothing to give back."""


@torch.no_grad()
def evaluate(
    model: Transformer, rows: np.ndarray, device: torch.device, sequences: int = EVAL_SEQUENCES
) -> float:
    """Mean held-out cross-entropy over `rows` of context + 1 tokens, in nats a token."""
    total = 0.0
    for start in range(0, len(rows), sequences):
        ids = torch.from_numpy(rows[start : start + sequences].astype(np.int64)).to(device)
        with precision(device):
            total += float(model.loss(ids[:, :-1], ids[:, 1:])) * len(ids)
    return total / len(rows)


def precision(device: torch.device) -> torch.autocast:
    """bfloat16 on a GPU; plain float32 on a CPU, where bfloat16 does not pay below 3M parameters."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


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


def _held_out(spec: RunSpec, corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """The held-out blocks of the final loss, and those of the curve (a prefix of them)."""
    rows = blocks(corpus.valid, spec.context)[: spec.valid_tokens // spec.context]
    if not len(rows):
        raise ValueError(
            f"corpus {corpus.name!r} holds {len(corpus.valid)} validation tokens, "
            f"fewer than one block of {spec.context + 1}; use a longer text"
        )
    return rows, rows[: max(1, spec.curve_tokens // spec.context)]


def make_engine(spec: RunSpec, rows: np.ndarray, device: torch.device) -> Engine:
    """The engine for this device: CUDA graphs on a GPU, the reference elsewhere."""
    if device.type == "cuda":
        from minichin.engine_cuda import CudaEngine

        return CudaEngine(spec, rows, device)
    return EagerEngine(spec, rows, device)


def train(
    spec: RunSpec, corpus: Corpus, *, device: str | None = None, progress: Progress | None = None
) -> RunRecord:
    """Train one model as `spec` says and return its record.

    `progress(step, train_loss)` is called now and then. The same spec on the same CPU, with one thread,
    gives the same record bit for bit, wall-clock time apart.
    """
    where = choose_device(device)
    train_rows = blocks(corpus.train, spec.context)
    if not len(train_rows):
        raise ValueError(f"corpus {corpus.name!r} is too short: {len(corpus.train)} training tokens")
    rows, curve_rows = _held_out(spec, corpus)
    started, curve = time.perf_counter(), []
    limit, status = DIVERGED_ABOVE * math.log(spec.vocab), "finished"
    engine = make_engine(spec, train_rows, where)
    try:
        for stop in evaluation_steps(spec):
            engine.advance(stop, progress)
            held_out = engine.evaluate(curve_rows)
            if not held_out < limit:
                status = "diverged"
                break
            curve.append(Evaluation(stop, held_out, engine.train_loss()))
        val_loss = engine.evaluate(rows) if status == "finished" else None
    finally:
        engine.close()
    return RunRecord(
        spec=spec,
        val_loss=val_loss,
        curve=tuple(curve),
        status=status,
        stopped_at=engine.step,
        seconds=time.perf_counter() - started,
        device=describe_device(where),
        versions={"torch": torch.__version__, "python": platform.python_version()},
        corpus_sha256=corpus.sha256,
    )
