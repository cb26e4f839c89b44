"""What larger sweeps would cost, on paper: FLOPs, hours, text, memory, from measured speeds and a law.

Decisions:
- A speed is read from records (FLOPs by the full count over wall-clock seconds), never typed: the fastest
  run of each width, since what else a machine does can only slow a run. A width that was not measured takes
  a value between its neighbours; beyond the widest it takes that one's, so the hours of larger models are too
  many rather than too few.
- A sweep is a ladder of budgets, as many a decade as one likes, with the same sizes and seeds at each.
- A fitted law is extended far beyond its runs here. That is good enough to plan by, and for nothing else.
- Sizes of texts and of memories are published ones, with their source.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from minichin.law import PowerLaw
from minichin.plan import BASE_BATCH_TOKENS, head_dim
from minichin.published import CHINCHILLA
from minichin.record import RunRecord
from minichin.runs import Store
from minichin.shape import ModelShape

Floats = NDArray[np.float64]
BYTES_PER_PARAM = {"weights": 4, "gradients": 4, "first moments": 4, "second moments": 4}
QUARTER = 0.25  # from this share on, a part of the cost counts as large
FOUR_EPOCHS = 4.0  # Muennighoff et al. 2023: so many passes are nearly as good as new text
REUSE = 15.387756  # their fitted R*_D, App. A
ASPECT = CHINCHILLA.width / CHINCHILLA.layers
PAPER_CONTEXT, PAPER_VOCAB = 2048, 32_000  # Hoffmann et al. 2022, behind Table A4


@dataclass(frozen=True)
class Size:
    """A number of bytes that somebody published."""

    name: str
    bytes: float
    source: str


TEXTS = (
    Size("enwik9", 1e9, "Mahoney 2011: the first 10^9 bytes, markup included"),
    Size("C4", 750e9, "Raffel et al. 2020, arXiv 1910.10683: about 750 GB"),
    Size("MassiveText", 10.5e12, "Rae et al. 2021, arXiv 2112.11446: 10.5 TB"),
)
DEVICES = (
    Size("a laptop's 16 GB", 16e9, "a common size"),
    Size("one H200", 141e9, "NVIDIA's data sheet"),
    Size("eight H200", 8 * 141e9, "NVIDIA's data sheet"),
)
H200_PEAK = 989e12  # FLOP/s in bfloat16 without sparsity, NVIDIA's data sheet
#: GPU-hours between unexpected interruptions: 419 in 54 days on 16,384 GPUs (Llama 3, arXiv 2407.21783).
LLAMA_HOURS_BETWEEN_FAILURES = 16_384 * 54 * 24 / 419


@dataclass(frozen=True)
class Speed:
    """FLOP/s by the full count that one worker of a device reaches, at measured widths."""

    device: str
    widths: tuple[int, ...]
    rates: tuple[float, ...]

    def at(self, widths: ArrayLike) -> Floats:
        """FLOP/s at `widths`: linear between the measured ones in logarithms, constant beyond both ends."""
        return np.exp(np.interp(np.log(widths), np.log(self.widths), np.log(self.rates)))


def measured_speed(table: pd.DataFrame) -> Speed:
    """The speed of each width in a table of runs of one device: that of its fastest run."""
    devices = table["device"].unique()
    if len(devices) != 1:
        raise ValueError(f"a speed is of one device, the table holds {len(devices)}: {', '.join(devices)}")
    best = (table["flops"] / table["seconds"]).groupby(table["width"]).max()
    return Speed(devices[0], tuple(map(int, best.index)), tuple(map(float, best)))


@dataclass(frozen=True)
class Ladder:
    """A sweep's design: budgets from `largest` down to `smallest`, `per_decade` of them a factor of ten.

    sizes: models at each budget, spread evenly in ln N to `span` times the best size and 1/span of it.
    """

    smallest: float
    largest: float
    per_decade: int = 2
    sizes: int = 7
    seeds: int = 1
    span: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= self.largest:
            raise ValueError(
                f"budgets from {self.smallest:g} to {self.largest:g} are none; largest comes last"
            )
        if min(self.per_decade, self.sizes, self.seeds) < 1 or self.span <= 1:
            raise ValueError(
                f"per_decade {self.per_decade}, sizes {self.sizes}, seeds {self.seeds} must be at least 1, "
                f"span {self.span} more than 1"
            )

    def budgets(self) -> Floats:
        """FLOPs of each budget, rising to `largest`."""
        count = math.floor(self.per_decade * math.log10(self.largest / self.smallest) + 1e-9) + 1
        return self.largest * 10.0 ** (-np.arange(count)[::-1] / self.per_decade)

    def flops(self) -> float:
        """FLOPs of all runs; with k = per_decade, less than sizes · seeds · largest / (1 - 10^(-1/k))."""
        return float(self.sizes * self.seeds * self.budgets().sum())

    def shares(self) -> Floats:
        """Each budget's share of the FLOPs, budgets rising."""
        budgets = self.budgets()
        return budgets / budgets.sum()


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a ladder, one entry each: FLOPs, parameters, width, seconds on one worker."""

    budget: Floats
    params: Floats
    width: Floats
    seconds: Floats

    @property
    def hours(self) -> float:
        """Hours of one worker for all of them."""
        return float(self.seconds.sum() / 3600)


def width_for(params: ArrayLike, depth: int = 3, vocab: int = 256) -> Floats:
    """The width whose model has N `params`: the positive root d of 12 L d² + (V + 2L + 1) d = N."""
    quadratic, linear = 12.0 * depth, vocab + 2.0 * depth + 1
    return (np.sqrt(linear**2 + 4 * quadratic * np.asarray(params)) - linear) / (2 * quadratic)


def runs_of(ladder: Ladder, n_opt: PowerLaw, speed: Speed) -> Runs:
    """The runs of a ladder around the best sizes by `n_opt` (against full FLOPs), at measured speed."""
    factors = np.exp(np.linspace(-1, 1, ladder.sizes) * math.log(ladder.span)) if ladder.sizes > 1 else [1.0]
    each = np.repeat(ladder.budgets(), ladder.sizes * ladder.seeds)
    params = n_opt(each) * np.tile(np.repeat(factors, ladder.seeds), len(ladder.budgets()))
    width = width_for(params)
    return Runs(each, params, width, each / speed.at(width))


def worth(epochs: ArrayLike) -> Floats:
    """What a token read so many times over is worth, as a share of new ones (Muennighoff et al. 2023).

    Of U distinct tokens read R = epochs - 1 times again, U + U R* (1 - e^(-R / R*)) count as new.
    """
    again = np.maximum(np.asarray(epochs, dtype=np.float64) - 1, 0)
    return (1 + REUSE * -np.expm1(-again / REUSE)) / (1 + again)


def state_bytes(params: ArrayLike) -> Floats:
    """Bytes of weights, gradients and both moments in float32, 16 a parameter; activations come on top."""
    return sum(BYTES_PER_PARAM.values()) * np.asarray(params, dtype=np.float64)


def critical_batch(tokens: ArrayLike) -> Floats:
    """Tokens a step beyond which steps would be better: 256 to 2e6 tokens, then as their root (lab log)."""
    return BASE_BATCH_TOKENS * np.sqrt(np.maximum(np.asarray(tokens, dtype=np.float64) / 2e6, 1))


@dataclass(frozen=True)
class Change:
    """Something that the recipe would have to do otherwise, from a budget on (FLOPs, full count)."""

    what: str
    because: str
    flops: float


def shape_of(width: int, **settings: int) -> ModelShape:
    """A shape of the aspect of Chinchilla's, but of three layers at least, with four heads."""
    return ModelShape(
        width, **{"depth": max(3, round(width / ASPECT)), "head_dim": head_dim(width), **settings}
    )


def context_share(shape: ModelShape) -> float:
    """Share of the forward FLOPs that is spent on comparing tokens of the context."""
    parts = shape.flop_breakdown()
    spent = parts["attention_logits"] + parts["softmax"] + parts["attention_values"]
    return spent / sum(parts.values())


def vocab_share(shape: ModelShape) -> float:
    """Share of the weights that the embedding takes."""
    return shape.param_breakdown()["embedding"] / shape.params


def first_width(holds: Callable[[int], bool], limit: int = 100_000) -> int:
    """The least width, in steps of 4, for which `holds` is true; `ValueError` where there is none."""
    for width in range(4, limit, 4):
        if holds(width):
            return width
    raise ValueError(f"no width below {limit} will do")


def changes(n_opt: PowerLaw, d_opt: PowerLaw, text_bytes: float) -> list[Change]:
    """What the recipe would have to change, and from which budget on by the fitted laws, in that order."""
    deep = first_width(lambda d: d > 3 * ASPECT)
    wide = first_width(lambda d: context_share(shape_of(d, context=PAPER_CONTEXT)) < QUARTER)
    worded = first_width(lambda d: vocab_share(shape_of(d, vocab=PAPER_VOCAB)) < QUARTER)
    found = [
        Change("larger batches", "the critical batch leaves 256 tokens", float(d_opt.inverse(2e6))),
        Change("more layers", f"three are {ASPECT:.0f} times as wide as deep", _at(n_opt, shape_of(deep))),
        Change("bfloat16 on CPUs", "it pays from 3 million parameters on", float(n_opt.inverse(3e6))),
        Change("another text", "this one is read four times", float(d_opt.inverse(FOUR_EPOCHS * text_bytes))),
        Change(
            "word pieces",
            "32,000 take less than a quarter of the weights",
            _at(n_opt, shape_of(worded, vocab=PAPER_VOCAB)),
        ),
        Change("a context of 2,048", "it takes less than a quarter of the FLOPs", _at(n_opt, shape_of(wide))),
        Change("several GPUs a run", "one H200 is full", float(n_opt.inverse(DEVICES[1].bytes / 16))),
    ]
    return sorted(found, key=lambda change: change.flops)


def _at(n_opt: PowerLaw, shape: ModelShape) -> float:
    """The budget whose best size is that of a shape."""
    return float(n_opt.inverse(shape.params))


def append_seconds(records: Iterable[RunRecord], folder: Path) -> float:
    """Median seconds that a store on this disk takes to append a record, measured in an empty folder."""
    store, times = Store(folder), []
    for record in records:
        start = time.perf_counter()
        store.append(record)
        times.append(time.perf_counter() - start)
    return float(np.median(times))
