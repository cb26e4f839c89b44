"""The campaign: every training run of the published records, by experiment, as lists of specs.

Decisions:
- An experiment changes one thing of the recipe at a time; what it changes is said in its first line.
- Runs that two experiments share are the same spec, hence trained once.
- Widths are those of the `cpu` profile where a whole valley is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from minichin.plan import ENWIK8_TRAIN_TOKENS, Profile, RunSpec, make_spec, plan, profile

LONG_WARMUP = 1000  # steps, of runs that have 512 to 15,000
LONG_COSINE = 16_000  # steps
LARGE_BATCH = 1024
#: Cosine lengths of the paper's Fig. A1, in lengths of the run.
CYCLES = (1.0, 1.1, 1.25, 1.5, 2.0, 5.0)
EPOCHS = (1, 2, 4, 8, 16, 40)
LEAKS = ("", "+leak=0.1", "+leak=1", "+leak=1x8")
SMALL = (1e11, 3e11, 1e12)

MAIN = Profile(
    "main",
    "enwik8",
    {
        1e11: ((8, 1), (12, 3), (16, 3), (20, 3), (24, 3), (32, 3), (40, 1), (48, 1)),
        3e11: ((12, 1), (16, 1), (20, 3), (24, 3), (32, 3), (40, 3), (48, 1), (64, 1)),
        1e12: ((16, 1), (24, 1), (32, 3), (40, 3), (48, 3), (64, 3), (80, 1), (96, 1)),
        3e12: ((24, 1), (32, 1), (40, 3), (48, 3), (64, 3), (80, 3), (96, 1), (128, 1)),
        1e13: ((32, 1), (48, 1), (64, 2), (72, 2), (80, 2), (96, 2), (112, 1), (128, 1), (160, 1)),
    },
    train_tokens=ENWIK8_TRAIN_TOKENS,
    batch_tokens={1e11: 256, 3e11: 256, 1e12: 256, 3e12: 256, 1e13: 512},
    about="the published valleys on two CPU cores",
)
TEST = Profile(
    "test",
    "enwik8",
    {3e13: ((56, 1), (80, 1), (104, 1), (128, 1), (160, 1), (208, 1))},
    train_tokens=ENWIK8_TRAIN_TOKENS,
    batch_tokens=512,
    about="the budget that was predicted before it was trained",
)


def main() -> list[RunSpec]:
    """The valleys of five budgets, with several seeds near each optimum."""
    return plan(MAIN)


def test() -> list[RunSpec]:
    """The valley at ten times the largest budget that the prediction was made from."""
    return plan(TEST)


def rates() -> list[RunSpec]:
    """The peak learning rate times 1/4 to 2, and the warm-up times 1/4 and 4, at both ends of the widths."""
    found = []
    for budget, widths in ((1e11, (8, 20, 48)), (1e12, (16, 32, 80)), (3e12, (24, 48, 112))):
        for base in (make_spec(budget, width) for width in widths):
            found += [replace(base, lr=base.lr * factor) for factor in (0.25, 0.5, 1, 2)]
            warmups = [max(1, round(base.warmup_steps * factor)) for factor in (0.25, 4)]
            found += [replace(base, warmup_steps=w) for w in warmups if w < 0.9 * base.steps]
    return found


def depths() -> list[RunSpec]:
    """The valleys of 1e11 and 1e12 with fewer and with more than three layers."""
    grid = profile("cpu").grid
    return [
        make_spec(budget, width, depth=depth)
        for budget, some in ((1e11, (1, 2, 4)), (1e12, (2, 4, 6)))
        for depth in some
        for width, _ in grid[budget]
    ]


def _valleys(budgets: Sequence[float] = SMALL, **settings: Any) -> Iterator[RunSpec]:
    """The valleys of the `cpu` profile at these budgets with other settings; rate and warm-up follow."""
    grid = profile("cpu").grid
    for budget in budgets:
        for width, _ in grid[budget]:
            yield make_spec(budget, width, **settings)


def kaplan_rate(params: int) -> float:
    """The peak rate of Kaplan et al. (2020), equation D.1: 0.003239 - 0.0001395 ln N for N weights."""
    return 0.003239 - 0.0001395 * math.log(params)


def long_warmup() -> list[RunSpec]:
    """A warm-up of `LONG_WARMUP` steps for all, too long for the short runs."""
    return [replace(spec, warmup_steps=LONG_WARMUP) for spec in _valleys()]


def long_cosine() -> list[RunSpec]:
    """One cosine of `LONG_COSINE` steps for all, cut off where each run ends."""
    return [replace(spec, cycle=max(1.0, LONG_COSINE / spec.steps)) for spec in _valleys()]


def untuned_rate() -> list[RunSpec]:
    """The peak rate by Kaplan's own rule, which knows neither these widths nor the length."""
    return [replace(spec, lr=kaplan_rate(spec.shape.params)) for spec in _valleys()]


def large_batch() -> list[RunSpec]:
    """Four times the tokens a step."""
    return list(_valleys(batch_tokens=LARGE_BATCH))


def as_kaplan() -> list[RunSpec]:
    """The four together."""
    return [
        replace(
            spec,
            warmup_steps=LONG_WARMUP,
            cycle=max(1.0, LONG_COSINE / spec.steps),
            lr=kaplan_rate(spec.shape.params),
        )
        for spec in large_batch()
    ]


def cosine_lengths() -> list[RunSpec]:
    """A cosine of 1 to 5 times the run's length, the paper's Fig. A1."""
    ladders = ((3e11, 24, 3), (1e12, 40, 2))
    return [
        replace(make_spec(budget, width, seed=seed), cycle=cycle)
        for budget, width, seeds in ladders
        for seed in range(seeds)
        for cycle in CYCLES
    ]


def cooldown() -> list[RunSpec]:
    """The valleys with a constant rate and a cooldown in place of the cosine."""
    return list(_valleys(schedule="constant"))


def trunk() -> list[RunSpec]:
    """Four lengths of one constant run, which share all but their cooldowns."""
    longest = make_spec(1e12, 32, schedule="constant")
    lengths = [longest.steps // part for part in (8, 4, 2, 1)]
    per_step = longest.flops / longest.steps
    return [replace(longest, steps=steps, budget=round(steps * per_step)) for steps in lengths]


def grades() -> list[RunSpec]:
    """The valleys on worse text: a tenth of the bytes drawn at random, and the markup left in."""
    return [*_valleys(corpus="enwik8+noise=0.1"), *_valleys(corpus="enwik8+markup")]


def repetition() -> list[RunSpec]:
    """One to 40 epochs at the same compute, by a shorter text."""
    found = []
    for budget, widths in ((1e12, (32, 40, 64)), (3e12, (56,))):
        for base in (make_spec(budget, width) for width in widths):
            found += [
                replace(base, corpus=f"enwik8+first={math.ceil(base.tokens / epochs)}") for epochs in EPOCHS
            ]
    return found


def leaks() -> list[RunSpec]:
    """The valleys where the held-out text makes up none, 5 %, a third or 80 % of the training text."""
    widths = {1e11: (12, 16, 20, 24, 32), 3e11: (16, 20, 24, 32, 48), 1e12: (24, 32, 40, 48, 64)}
    return [
        make_spec(budget, width, corpus=f"enwik8+first=2000000{leak}")
        for leak in LEAKS
        for budget, some in widths.items()
        for width in some
    ]


def known_entropy() -> list[RunSpec]:
    """The valleys on a source whose entropy is known exactly."""
    return list(_valleys(corpus="synthetic"))


def known_entropy_larger() -> list[RunSpec]:
    """Two larger budgets on that source: does its entropy come nearer?"""
    grid = profile("cpu").grid
    return [
        make_spec(budget, width, corpus="synthetic", batch_tokens=batch)
        for budget, batch in ((3e12, 256), (1e13, 512))
        for width, _ in grid[budget]
    ]


def convergence() -> list[RunSpec]:
    """Small models trained far beyond their optimum."""
    return [
        make_spec(budget, width)
        for width, budgets in ((8, (3e11, 1e12)), (12, (1e12,)), (16, (3e12,)))
        for budget in budgets
    ]


def gopher() -> list[RunSpec]:
    """At 1e13 FLOPs a model of about the optimal size and one of four times that, five seeds each."""
    return [make_spec(1e13, width, seed=seed, batch_tokens=512) for seed in range(5) for width in (72, 152)]


def kaplan_rule() -> list[RunSpec]:
    """Ten times the compute of the optimum at 1e12, by Kaplan's rule (5.5 times the size) and the paper's."""
    return [make_spec(1e13, width, seed=seed, batch_tokens=512) for seed in range(5) for width in (72, 96)]


#: name -> the specs of an experiment.
EXPERIMENTS: Mapping[str, Callable[[], list[RunSpec]]] = MappingProxyType(
    {
        function.__name__.replace("_", "-"): function
        for function in (
            rates,
            main,
            depths,
            long_warmup,
            long_cosine,
            untuned_rate,
            large_batch,
            as_kaplan,
            cosine_lengths,
            cooldown,
            trunk,
            grades,
            repetition,
            leaks,
            known_entropy,
            known_entropy_larger,
            convergence,
            gopher,
            kaplan_rule,
            test,
        )
    }
)


def specs(name: str) -> list[RunSpec]:
    """The runs of the experiment `name`; a `ValueError` that lists the names where there is none such."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]()
