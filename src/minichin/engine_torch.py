"""The reference engine: the readable model, every step launched from Python, as the book shows it.

All weights live in two flat buffers (decayed and not); the model's parameters and their gradients are views
into them. Clipping and AdamW are then a handful of operations, whatever the depth: at a width of 16 this
halves the cost of a step on a CPU.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from minichin.engine import BETAS, CLIP_EPSILON, SMOOTHING, Progress, State, lr_factor, row_order
from minichin.model import Transformer
from minichin.plan import RunSpec

EVAL_SEQUENCES = 16
CHUNK_STEPS = 256
PROGRESS_STEPS = 50


def batches(rows: np.ndarray, spec: RunSpec, device: torch.device, first: int = 0) -> Iterator[Tensor]:
    """Yield (sequences, context + 1) token ids for each step from `first` on, in the order of `row_order`."""
    order = row_order(len(rows), spec)
    for start in range(first, spec.steps, CHUNK_STEPS):
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
        scale = (self.spec.clip / (norm + CLIP_EPSILON)).clamp(max=1.0)
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


class EagerEngine:
    """The reference: one model, one step after the other."""

    name = "torch"

    def __init__(self, spec: RunSpec, rows: np.ndarray, device: torch.device) -> None:
        self.spec, self.rows, self.device, self.step = spec, rows, device, 0
        self.trained = TrainState(spec, Transformer(spec.shape, spec.seed).to(device), device)
        self.batches = batches(rows, spec, device)
        self.smooth: Tensor | None = None

    def advance(self, stop: int, progress: Progress | None = None) -> None:
        for ids in itertools.islice(self.batches, stop - self.step):
            loss = self.trained.step(ids, self.step)
            self.smooth = loss if self.smooth is None else self.smooth.lerp(loss, SMOOTHING)
            self.step += 1
            if progress is not None and self.step % PROGRESS_STEPS == 0:
                progress(self.step, float(self.smooth))

    def train_loss(self) -> float:
        return math.nan if self.smooth is None else float(self.smooth)

    def evaluate(self, rows: np.ndarray) -> float:
        return evaluate(self.trained.model, rows, self.device)

    def _tensors(self) -> dict[str, Tensor]:
        """The weights and Adam's moments, by name; these are created if no step has been taken."""
        found: dict[str, Tensor] = {}
        for number, flat in enumerate(self.trained.flats):
            moments = self.trained.optimiser.state[flat]
            if not moments:
                moments["step"] = torch.zeros((), device=flat.device)
                moments["exp_avg"], moments["exp_avg_sq"] = torch.zeros_like(flat), torch.zeros_like(flat)
            found |= {f"weights{number}": flat, **{f"{name}{number}": moments[name] for name in moments}}
        return found

    def state(self) -> State:
        numbers = {"step": np.array(self.step), "smooth": np.array(self.train_loss(), dtype=np.float32)}
        return numbers | {name: t.detach().cpu().numpy().copy() for name, t in self._tensors().items()}

    @torch.no_grad()
    def load(self, state: State) -> None:
        self.step = int(state["step"])
        self.smooth = torch.tensor(state["smooth"], device=self.device) if self.step else None
        for name, tensor in self._tensors().items():
            tensor.copy_(torch.from_numpy(state[name]))
        self.batches = batches(self.rows, self.spec, self.device, self.step)

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
