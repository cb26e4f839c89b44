"""`minichin bench train`: the training engine against an ordinary loop, in one run.

Decisions
- Everything is measured in child processes with one thread (`bench.THREADS`): the contenders in turn in one
  of them (`bench_rounds`), and two workers at once in two (`bench_workers`).
- Ours is the engine that `train` chooses by itself; beside it the reference engine (`torch`), the ordinary
  loop (`plain_gpt`), and nanoGPT's own model where a checkout is given.
- FLOP/s are by the full count of `shape`, for all contenders alike. That counts the embedding as a product
  with one-hot rows, which a CPU engine looks up, and attention without the causal saving: `looked_up` is the
  embedding's share of the count.
- The numbers are printed beside what they should reach; nothing passes or fails here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from minichin import bench
from minichin.plan import RunSpec, head_dim, make_spec, peak_lr
from minichin.shape import ModelShape

CORPUS = "help"  # Python's help topics: at hand everywhere
DEPTH, CONTEXT, VOCAB = 3, 64, 256
LR_STEPS = 2000  # the learning rate is that of a run of so many steps
WORKERS_TARGET = 1.9


@dataclass(frozen=True)
class Sizes:
    """What is timed: `widths`, `batch_tokens` a step, `rounds` of `seconds` for each contender.

    `worker_rounds` of `worker_seconds` for one and two workers.
    """

    mode: str
    widths: tuple[int, ...]
    batch_tokens: tuple[int, ...]
    rounds: int
    seconds: float
    worker_rounds: int
    worker_seconds: float


SIZES = {
    "quick": Sizes("quick", (16, 32), (256,), 2, 0.03, 1, 0.1),
    "default": Sizes("default", (16, 32, 64, 96, 128, 192), (256, 512, 4096), 8, 0.2, 10, 0.35),
}


def cell_spec(width: int, batch_tokens: int, steps: int) -> RunSpec:
    """A run of the recipe's shape that takes so many steps."""
    shape = ModelShape(width, DEPTH, CONTEXT, VOCAB, head_dim(width))
    return make_spec(
        shape.flops_per_token("full") * batch_tokens * steps,
        width,
        depth=DEPTH,
        context=CONTEXT,
        vocab=VOCAB,
        corpus=CORPUS,
        batch_tokens=batch_tokens,
        steps=steps,
        lr=peak_lr(width, LR_STEPS, batch_tokens),
    )


def ratio_target(device: str, width: int, batch_tokens: int) -> float | None:
    """What the ratio of ours to the ordinary loop should reach, where that is said."""
    if device == "cuda":
        return 5.0 if width <= 256 else None
    if batch_tokens == 256:
        return 2.5 if 32 <= width <= 64 else 1.5 if width == 128 else None
    return 1.0 if batch_tokens == 4096 else None


def share_target(device: str, width: int) -> float | None:
    """What the share of the ceiling should reach, where that is said."""
    return 0.65 if device == "cpu" and width >= 64 else None


def train_bench(
    mode: str = "default",
    *,
    widths: Sequence[int] = (),
    batch_tokens: Sequence[int] = (),
    device: str | None = None,
    checkout: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure everything, in "quick" or "default"; one JSON object.  `say` hears of each step.

    `widths` and `batch_tokens` replace the mode's own; `checkout` is a folder with nanoGPT's model.py.
    """
    from minichin import bench_workers
    from minichin.plain_gpt import load_nanogpt
    from minichin.train import choose_device, describe_device, which_engine

    sizes = chosen_sizes(mode, widths, batch_tokens)
    where = choose_device(device)
    if checkout is not None:
        load_nanogpt(checkout)
    job = {"device": where.type, "sizes": asdict(sizes), "nanogpt": str(checkout) if checkout else None}
    lines = bench.run_lines(["-m", "minichin.bench_rounds", json.dumps(job)])
    host = next(lines)
    result: dict[str, Any] = {
        "machine": {**bench.machine("numpy", "torch"), "device": describe_device(where)},
        "device": where.type,
        "sizes": asdict(sizes),
        "count": "full",
        "fallback": which_engine(where)[1],
        "clock": "wall" if where.type == "cuda" else "CPU",
        "energy": host["energy"],
        "cells": list(_with_targets(lines, where.type, say)),
    }
    if where.type == "cpu":
        say("measuring two workers")
        result["workers"] = {**bench_workers.measure(sizes), "target": WORKERS_TARGET}
    else:
        result["workers"] = {"skipped": "on a GPU the runs share one process"}
    return result


def chosen_sizes(mode: str, widths: Sequence[int], batch_tokens: Sequence[int]) -> Sizes:
    """The sizes of a mode with these widths and tokens instead; `ValueError` where no model has such."""
    if mode not in SIZES:
        raise ValueError(f"no mode {mode!r} of the benchmark; there are {', '.join(SIZES)}")
    sizes = SIZES[mode]
    sizes = replace(
        sizes,
        widths=tuple(widths) or sizes.widths,
        batch_tokens=tuple(batch_tokens) or sizes.batch_tokens,
    )
    for width in sizes.widths:
        for tokens in sizes.batch_tokens:
            cell_spec(width, tokens, 1)
    return sizes


def _with_targets(
    cells: Iterator[dict[str, Any]], device: str, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The cells as they are measured, with what the count holds and what should be reached."""
    for cell in cells:
        width, tokens = cell["width"], cell["batch_tokens"]
        say(f"measured width {width}, {tokens} tokens a step")
        parts = cell_spec(width, tokens, 1).shape.flop_breakdown()
        yield {
            **cell,
            "looked_up": parts["embedding"] / sum(parts.values()),
            "ratio_target": ratio_target(device, width, tokens),
            "share_target": share_target(device, width),
        }
