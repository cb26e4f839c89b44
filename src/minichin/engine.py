"""What an engine is, and what all of them share: the course of the learning rate and the order of the text.

Decisions:
- The loop in `train` drives an engine, which holds one model in training: the readable torch model
  (`engine_torch`, the reference), the compiled one for a CPU (`engine_cpu`), graphs on a GPU (`engine_cuda`).
- All of them start from the weights of `model.Transformer(shape, seed)`, see the text in the order of
  `row_order` and follow `lr_factor`; tests hold gradients and whole loss curves against the reference.
- The text is cut into blocks of context + 1 tokens, drawn without replacement in an order that depends on
  the seed alone, so runs of one seed see the same text in the same order, and no token twice in an epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from minichin.plan import RunSpec

BETAS = (0.9, 0.95)
EPSILON = 1e-8  # of AdamW
CLIP_EPSILON = 1e-6  # keeps the clipping of a zero gradient finite, as torch's clip_grad_norm_ does
COOLDOWN = 0.2  # of the schedule `constant`: share of the steps after the warm-up
SMOOTHING = 0.02  # weight of a step's loss in the running mean of the training loss
Progress = Callable[[int, float], None]
State = dict[str, np.ndarray]


class Stopped(Exception):
    """Raised by a progress callback to end a run at its present step."""


class Engine(Protocol):
    """What the loop needs of an engine; each is made from (spec, rows of text, device)."""

    name: str
    step: int

    def advance(self, stop: int, progress: Progress | None = None) -> None:
        """Take steps up to step `stop`, calling `progress(step, train_loss)` now and then, between steps."""

    def train_loss(self) -> float:
        """Running mean of the training loss, nats a token."""

    def evaluate(self, rows: np.ndarray) -> float:
        """Mean held-out cross-entropy over `rows`, nats a token."""

    def state(self) -> State:
        """Copies of all that later steps depend on: weights, moments, step, running loss."""

    def load(self, state: State) -> None:
        """Go on from a `state()` of the same spec, on the same device bit for bit."""

    def close(self) -> None:
        """Give back what the device holds."""


def lr_factor(step: int, spec: RunSpec) -> float:
    """Learning rate at `step` (from 0) as a share of the peak.

    Linear warm-up over `warmup_steps`, then: `cosine` to 10 % (Hoffmann et al. 2022), which it reaches after
    `cycle` times the run's steps, `linear` to zero,
    or `constant` at one half with a 1 - sqrt cooldown over the last fifth (Hägele et al. 2024).
    """
    if step < spec.warmup_steps:
        warm = (step + 1) / spec.warmup_steps
        return 0.5 * warm if spec.schedule == "constant" else warm
    done = (step - spec.warmup_steps) / max(1, spec.cycle * spec.steps - spec.warmup_steps)
    if spec.schedule == "linear":
        return 1.0 - done
    if spec.schedule == "cosine":
        return 0.1 + 0.45 * (1.0 + math.cos(math.pi * done))
    return 0.5 * (1.0 - math.sqrt(max(0.0, done - (1.0 - COOLDOWN)) / COOLDOWN))


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
