"""The one training loop: a spec and a corpus in, a record out. It prints and writes nothing.

Decisions:
- All weights live in two flat buffers (decayed and not); the model's parameters and their gradients are
  views into them. Clipping and AdamW are then a handful of operations, whatever the depth: at a width of
  16 this halves the cost of a step on a CPU.
- The text is cut into blocks of context + 1 tokens, drawn without replacement in an order that depends on
  the seed alone, so runs of one seed see the same text in the same order, and no token twice in an epoch.
- Losses along the run are taken on the same few held-out blocks, the last one on all of them.
- A run that diverges is a result: it is recorded as such, with the curve up to that point.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator

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


def batches(rows: np.ndarray, spec: RunSpec, device: torch.device) -> Iterator[Tensor]:
    """Yield one (sequences, context + 1) batch of token ids a step; each epoch in its own seeded order."""
    rng = np.random.default_rng([spec.seed, 1])
    per_step = spec.batch_tokens // spec.context
    order = np.empty(0, dtype=np.int64)
    for start in range(0, spec.steps, CHUNK_STEPS):
        need = min(CHUNK_STEPS, spec.steps - start) * per_step
        while len(order) < need:
            order = np.concatenate([order, rng.permutation(len(rows))])
        take, order = order[:need], order[need:]
        chunk = torch.from_numpy(rows[take].astype(np.int64)).to(device)
        yield from chunk.split(per_step)


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
        with _precision(self.device):
            loss = self.model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        self.clip()
        self.optimiser.step()
        for grad in self.grads:
            grad.zero_()
        return loss.detach()


@torch.no_grad()
def evaluate(model: Transformer, rows: np.ndarray, device: torch.device) -> float:
    """Mean held-out cross-entropy over `rows` of context + 1 tokens, in nats a token."""
    total = 0.0
    for start in range(0, len(rows), EVAL_SEQUENCES):
        ids = torch.from_numpy(rows[start : start + EVAL_SEQUENCES].astype(np.int64)).to(device)
        with _precision(device):
            total += float(model.loss(ids[:, :-1], ids[:, 1:])) * len(ids)
    return total / len(rows)


def _precision(device: torch.device) -> torch.autocast:
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
    model = Transformer(spec.shape, spec.seed).to(where)
    state = TrainState(spec, model, where)
    evaluate_at, curve = set(evaluation_steps(spec)), []
    limit, status, smooth = DIVERGED_ABOVE * math.log(spec.vocab), "finished", None
    started, step = time.perf_counter(), 0
    for step, ids in enumerate(batches(train_rows, spec, where), start=1):
        loss = state.step(ids, step - 1)
        smooth = loss if smooth is None else smooth.lerp(loss, 0.02)
        if step in evaluate_at:
            held_out = evaluate(model, curve_rows, where)
            if not held_out < limit:
                status = "diverged"
                break
            curve.append(Evaluation(step, held_out, float(smooth)))
        if progress is not None and step % 50 == 0:
            progress(step, float(smooth))
    return RunRecord(
        spec=spec,
        val_loss=evaluate(model, rows, where) if status == "finished" else None,
        curve=tuple(curve),
        status=status,
        stopped_at=step,
        seconds=time.perf_counter() - started,
        device=describe_device(where),
        versions={"torch": torch.__version__, "python": platform.python_version()},
        corpus_sha256=corpus.sha256,
    )
