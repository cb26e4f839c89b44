"""How long will it take here? A few steps of every model size in a plan, timed, give the answer.

Decisions:
- Steps are those of the engine that would train, so an estimate is of what will be done.
- The first steps are taken apart: they compile, fill caches, and on a GPU record graphs.
- A median of several timings passes over what else the machine does; steps of many seconds are timed once.
- On a GPU runs are timed one by one. Those that train side by side or stacked there end earlier than told.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from minichin.plan import RunSpec

if TYPE_CHECKING:
    import torch

#: A held-out token costs about a quarter of a training token (no backward, no optimiser).
EVALUATION_SHARE = 0.25
TIMINGS = 9
PATIENCE = 0.5  # seconds for the timings of one size, of which there is at least one


def seconds_per_step(
    specs: Iterable[RunSpec], device: str | None = None, engine: str = "auto"
) -> dict[tuple[int, int], float]:
    """Time a few training steps of every distinct (width, batch_tokens), on one thread.

    `engine` is one of `train.ENGINES`. Returns the median seconds a step.
    """
    import torch

    from minichin.train import choose_device

    where, threads = choose_device(device), torch.get_num_threads()
    sizes = {(spec.width, spec.batch_tokens): spec for spec in reversed(list(specs))}
    torch.set_num_threads(1)
    try:
        return {size: _step_seconds(spec, where, engine) for size, spec in sizes.items()}
    finally:
        torch.set_num_threads(threads)


def _step_seconds(spec: RunSpec, device: torch.device, kind: str) -> float:
    """Median seconds a step of a short run like `spec`, on random text."""
    from minichin.train import make_engine

    first, stride = (20, 16) if device.type == "cuda" else (2, 1)  # on a GPU, whole graphs
    short = replace(spec, steps=first + stride * TIMINGS)
    count = max(64, spec.batch_tokens // spec.context)
    dtype = np.min_scalar_type(spec.vocab - 1)
    rows = np.random.default_rng(0).integers(0, spec.vocab, (count, spec.context + 1), dtype)
    engine, times = make_engine(short, rows, device, kind), list[float]()
    try:
        engine.advance(first)
        engine.train_loss()  # which waits for the device
        while len(times) < TIMINGS and sum(times) < PATIENCE:
            started = time.perf_counter()
            engine.advance(engine.step + stride)
            engine.train_loss()
            times.append(time.perf_counter() - started)
    finally:
        engine.close()
    return median(times) / stride


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
