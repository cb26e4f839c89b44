"""What the measuring process of `minichin bench train` does: contenders in turn, round after round.

Run as `python -m minichin.bench_rounds JOB`, JOB a JSON object; it prints one line of JSON about itself,
then one a cell (a width and a number of tokens a step).

Decisions
- Each contender takes about the same time in turn, the order shifted by one each round, and what is compared
  are ratios within a round, by their median: a machine that is slower for some seconds is so for all.
- A contender takes the same number of steps in all rounds. It follows from steps timed in a first life, which
  also does what is done once (imports, compilation, memory, graphs).
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from minichin import corpus
from minichin.bench_clock import Ceiling, Clock, Slot
from minichin.bench_train import CORPUS, Sizes, cell_spec
from minichin.corpus import Corpus
from minichin.engine import blocks
from minichin.plain_gpt import PlainGPT, PlainLoop, nanogpt
from minichin.plan import RunSpec
from minichin.train import make_engine

WARM_STEPS = {"cpu": 1, "cuda": 4}  # on a GPU three are launched one by one, then graphs are recorded
TRIAL_STEPS = 1024
CEILING_SHARE = 0.05  # of a contender's time in a round, for each product


class Contender(Protocol):
    """What is timed."""

    def take(self, steps: int) -> object:
        """Take so many optimiser steps."""


@dataclass(frozen=True)
class Ours:
    """One of minichin's engines, which trains `runs` runs at once."""

    engine: Any
    runs: int = 1

    def take(self, steps: int) -> None:
        self.engine.advance(self.engine.step + steps)


def stacked(spec: RunSpec, rows: np.ndarray, device: torch.device) -> Ours:
    """A stack of runs that differ in their seeds, as a sweep with `--stack` trains them."""
    from minichin.stack_engine import StackEngine
    from minichin.sweep import GPU_STACK

    return Ours(StackEngine([replace(spec, seed=seed) for seed in range(GPU_STACK)], rows, device), GPU_STACK)


def steps_a_round(contender: Contender, clock: Clock, seconds: float) -> int:
    """How many steps fill `seconds`, from doubling numbers of steps after a few; at least one."""
    warm = WARM_STEPS[clock.device.type]
    contender.take(warm)
    steps, taken = 1, warm
    while True:
        took = clock.slot(steps, partial(contender.take, steps)).seconds
        taken += steps
        if took > seconds / 4 or taken + 2 * steps > TRIAL_STEPS:
            return max(1, round(seconds * steps / max(took, 1e-9)))
        steps *= 2


def makers(text: Corpus, device: torch.device, checkout: Path | None) -> dict[str, Callable]:
    """name -> what makes this contender from a spec."""

    def ours(kind: str) -> Callable[[RunSpec], Contender]:
        return lambda spec: Ours(make_engine(spec, blocks(text.train, spec.context), device, kind))

    found: dict[str, Callable[[RunSpec], Contender]] = {
        "ours": ours("auto"),
        "torch": ours("torch"),
        "plain": lambda spec: PlainLoop(PlainGPT(spec.shape), spec, text.train, device),
    }
    if device.type == "cuda":
        found["stack"] = lambda spec: stacked(spec, blocks(text.train, spec.context), device)
    if checkout is not None:
        found["nanogpt"] = lambda spec: PlainLoop(nanogpt(checkout, spec.shape), spec, text.train, device)
    return found


def rounds(
    contenders: dict[str, tuple[Contender, int]],
    batch_tokens: int,
    count: int,
    clock: Clock,
    ceiling: Ceiling,
) -> tuple[list[dict[str, Slot]], list[float]]:
    """Time the contenders (each with its steps a round) in turn; their slots, and the ceiling of each."""
    slots: list[dict[str, Slot]] = []
    ceilings = []
    for number in range(count):
        names = list(contenders)
        first = number % len(names)
        slots.append({})
        for name in names[first:] + names[:first]:
            contender, steps = contenders[name]
            tokens = steps * batch_tokens * _runs(contender)
            slots[-1][name] = clock.slot(tokens, partial(contender.take, steps))
        ceilings.append(ceiling.measure())
    return slots, ceilings


def summary(
    slots: list[dict[str, Slot]], ceilings: list[float], flops_per_token: float
) -> dict[str, dict[str, Any]]:
    """Medians over the rounds: tokens/s, FLOP/s, and in a round the ratio to `plain` and to the ceiling."""
    found = {}
    for name in slots[0]:
        rates = [slot[name].rate for slot in slots]
        tokens_per_s = statistics.median(rates)
        pairs = zip(slots, ceilings, strict=True)
        joules = [slot[name].joules for slot in slots]
        spent = [j / slot[name].amount for j, slot in zip(joules, slots, strict=True) if j is not None]
        found[name] = {
            "tokens_per_s": tokens_per_s,
            "flops_per_s": tokens_per_s * flops_per_token,
            "share": statistics.median(s[name].rate * flops_per_token / ceiling for s, ceiling in pairs),
            "ratio": statistics.median(slot[name].rate / slot["plain"].rate for slot in slots),
            "joules_per_teraflop": statistics.median(spent) / flops_per_token * 1e12 if spent else None,
        }
    return found


def cell(
    width: int, batch_tokens: int, sizes: Sizes, made: dict[str, Callable], clock: Clock, ceiling: Ceiling
) -> dict[str, Any]:
    """Measure one width and number of tokens a step."""
    trial, warm = cell_spec(width, batch_tokens, TRIAL_STEPS), WARM_STEPS[clock.device.type]
    contenders, about = {}, {}
    for name, make in made.items():
        first = make(trial)
        steps = steps_a_round(first, clock, sizes.seconds)
        _close(first)
        contender = make(cell_spec(width, batch_tokens, warm + steps * sizes.rounds))
        contender.take(warm)
        contenders[name] = (contender, steps)
        about[name] = {
            "engine": contender.engine.name if isinstance(contender, Ours) else None,
            "runs": _runs(contender),
            "steps_a_round": steps,
        }
    slots, ceilings = rounds(contenders, batch_tokens, sizes.rounds, clock, ceiling)
    flops_per_token = trial.shape.flops_per_token("full")
    measured = summary(slots, ceilings, flops_per_token)
    for contender, _ in contenders.values():
        _close(contender)
    return {
        "width": width,
        "batch_tokens": batch_tokens,
        "flops_per_token": flops_per_token,
        "ceiling_flops_per_s": statistics.median(ceilings),
        "contenders": {name: {**about[name], **measured[name]} for name in measured},
    }


def _close(contender: Contender) -> None:
    if isinstance(contender, Ours):
        contender.engine.close()


def _runs(contender: Contender) -> int:
    return contender.runs if isinstance(contender, Ours) else 1


def main(job: dict[str, Any]) -> None:
    """Measure every cell of a job and print it."""
    device, sizes = torch.device(job["device"]), Sizes(**job["sizes"])
    clock = Clock(device)
    ceiling = Ceiling(clock, CEILING_SHARE * sizes.seconds)
    checkout = Path(job["nanogpt"]) if job["nanogpt"] else None
    made = makers(corpus.load(CORPUS), device, checkout)
    print(json.dumps({"energy": clock.energy, "threads": torch.get_num_threads()}), flush=True)
    for batch_tokens in sizes.batch_tokens:
        for width in sizes.widths:
            measured = cell(width, batch_tokens, sizes, made, clock, ceiling)
            print(json.dumps(measured, allow_nan=False), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
