"""How long will it take here? A few steps of every model size in a plan, timed, give the answer."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from minichin.plan import RunSpec

STEPS = 12
EVALUATION_SHARE = (
    0.25  # a held-out token costs about a quarter of a training token (no backward, no optimiser)
)


def seconds_per_step(specs: Iterable[RunSpec], device: str | None = None) -> dict[tuple[int, int], float]:
    """Time a few training steps of every distinct (width, batch_tokens) on one thread.

    Returns seconds a step, the median of the steps after the first few.
    """
    import torch

    from minichin.engine_torch import TrainState
    from minichin.model import Transformer
    from minichin.train import choose_device

    where, threads = choose_device(device), torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[tuple[int, int], float] = {}
    try:
        for spec in specs:
            size = (spec.width, spec.batch_tokens)
            if size in found:
                continue
            state = TrainState(spec, Transformer(spec.shape, 0).to(where), where)
            shape = (spec.batch_tokens // spec.context, spec.context + 1)
            ids = torch.from_numpy(np.random.default_rng(0).integers(0, spec.vocab, shape)).to(where)
            times = []
            for step in range(STEPS):
                start = time.perf_counter()
                float(state.step(ids, step))
                times.append(time.perf_counter() - start)
            found[size] = sorted(times[3:])[len(times[3:]) // 2]
    finally:
        torch.set_num_threads(threads)
    return found


def run_seconds(spec: RunSpec, per_step: dict[tuple[int, int], float]) -> float:
    """Estimated seconds of one run, its evaluations included."""
    held_out = spec.valid_tokens + spec.curve_points * spec.curve_tokens
    step = per_step[spec.width, spec.batch_tokens]
    return step * (spec.steps + EVALUATION_SHARE * held_out / spec.batch_tokens)


def sweep_seconds(specs: Iterable[RunSpec], per_step: dict[tuple[int, int], float], workers: int) -> float:
    """Estimated seconds of a sweep: runs handed out in turn to the first free worker."""
    free = [0.0] * max(1, workers)
    for spec in specs:
        first = free.index(min(free))
        free[first] += run_seconds(spec, per_step)
    return max(free)
