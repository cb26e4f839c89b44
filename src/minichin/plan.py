"""What to train: the recipe, the profiles, and the list of runs that they imply.

Decisions (each measured in this regime; see the book's lab log):
- A budget is spent by the full count of `minichin.shape`, in whole steps, so a run meets it within half a
  step; `plan` raises `PlanError` where that is more than the profile's tolerance.
- The peak learning rate depends on the width *and* on the number of steps; a rule that ignores the length
  inflates the exponent of N by about 0.05.
- Warm-up is counted in steps, min(200, steps / 5): a percentage of a long run starves the big, short ones.
- 256 tokens a step: at these budgets every larger batch is worse. A context of 64 bytes: within these
  budgets it gives lower losses than 128, and attention takes half the time.
- Larger budgets come last, so that a sweep that is stopped early leaves whole valleys.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType

from minichin.shape import ModelShape

SCHEDULES = ("cosine", "linear", "constant")
BASE_BATCH_TOKENS = 256
RECIPE_VERSION = 1
#: Fields that came later: with their default the hash passes over them, so that older records keep theirs.
ADDED = ("cycle",)


class PlanError(ValueError):
    """A budget cannot be met by whole steps, or a profile cannot be planned."""


def peak_lr(width: int, steps: int, batch_tokens: int = BASE_BATCH_TOKENS) -> float:
    """Peak learning rate (0.2 / width) · (steps / 2000)^-0.35 · sqrt(batch_tokens / 256)."""
    return 0.2 / width * (steps / 2000) ** -0.35 * math.sqrt(batch_tokens / BASE_BATCH_TOKENS)


def warmup_steps(steps: int) -> int:
    """Steps of linear warm-up: min(200, steps / 5), at least 1."""
    return max(1, min(200, steps // 5))


def head_dim(width: int) -> int:
    """Key size of a head: a quarter of the width, so that every model has four heads.

    Fewer heads in narrow models cost these up to 0.05 nats and pulled the exponent of N down to 0.40.
    """
    return max(1, width // 4)


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines one training run. Equal specs give equal records on one CPU.

    budget: FLOPs aimed at (full count); batch_tokens: tokens a step; lr: peak learning rate;
    schedule: `cosine` (to 10 % of the peak), `linear` (to zero) or `constant` (half the peak, then a
    1 - sqrt cooldown over the last fifth); cycle: length of the cosine in lengths of the run, at least 1
    (Hoffmann et al. 2022, Fig. A1); valid_tokens: held-out tokens of the final loss;
    curve_tokens: held-out tokens of the losses along the run; curve_points: how many of these.
    """

    width: int
    budget: float
    steps: int
    lr: float
    warmup_steps: int
    seed: int = 0
    corpus: str = "enwik8"
    depth: int = 3
    context: int = 64
    vocab: int = 256
    head_dim: int = 8
    batch_tokens: int = BASE_BATCH_TOKENS
    schedule: str = "cosine"
    weight_decay: float = 0.1
    clip: float = 1.0
    valid_tokens: int = 262_144
    curve_tokens: int = 8_192
    curve_points: int = 16
    recipe: int = RECIPE_VERSION
    cycle: float = 1.0

    def __post_init__(self) -> None:
        if self.cycle < 1 or (self.cycle > 1 and self.schedule != "cosine"):
            raise ValueError(f"cycle {self.cycle} must be 1, or with the schedule cosine larger than 1")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}; choose one of {', '.join(SCHEDULES)}")
        if self.steps < 1 or self.lr <= 0 or self.budget <= 0:
            raise ValueError(
                f"steps {self.steps}, lr {self.lr} and budget {self.budget} must all be positive"
            )
        if self.batch_tokens < self.context or self.batch_tokens % self.context:
            raise ValueError(
                f"batch_tokens {self.batch_tokens} must be a multiple of the context {self.context}"
            )

    @cached_property
    def shape(self) -> ModelShape:
        """The model's shape."""
        return ModelShape(self.width, self.depth, self.context, self.vocab, self.head_dim)

    @property
    def tokens(self) -> int:
        """Training tokens seen, steps x batch_tokens."""
        return self.steps * self.batch_tokens

    @property
    def flops(self) -> float:
        """Training FLOPs by the full count."""
        return self.tokens * self.shape.flops_per_token("full")

    @cached_property
    def spec_hash(self) -> str:
        """Sixteen hex digits that identify the spec; the key of the runs store."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # asdict would copy each
        for name in ADDED:
            if values[name] == RunSpec.__dataclass_fields__[name].default:
                del values[name]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Profile:
    """A named sweep: budgets in FLOPs (full count), and for each the (width, number of seeds) to train."""

    name: str
    corpus: str
    grid: Mapping[float, tuple[tuple[int, int], ...]]
    train_tokens: int
    about: str
    tolerance: float = 0.01
    max_epochs: float = 4.0
    batch_tokens: int | Mapping[float, int] = BASE_BATCH_TOKENS
    settings: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", MappingProxyType(dict(self.grid)))


def _widths(seeds: int, *widths: int) -> tuple[tuple[int, int], ...]:
    return tuple((width, seeds) for width in widths)


ENWIK8_TRAIN_TOKENS = 66_000_000

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "smoke": Profile(
            "smoke",
            "help",
            {
                2e9: _widths(1, 4, 8, 12, 16, 24),
                6e9: _widths(1, 8, 12, 16, 24, 36),
                2e10: _widths(1, 12, 16, 24, 36, 48),
            },
            train_tokens=400_000,
            max_epochs=2.0,
            batch_tokens=64,
            settings={
                "depth": 1,
                "context": 32,
                "head_dim": 4,
                "valid_tokens": 8_192,
                "curve_tokens": 4_096,
                "curve_points": 10,
            },
            about="seconds, on Python's help topics; shows that everything runs, too small to mean much",
        ),
        "cpu": Profile(
            "cpu",
            "enwik8",
            {
                1e11: _widths(1, 8, 12, 16, 20, 24, 32, 48),
                3e11: _widths(1, 16, 20, 24, 32, 40, 48, 64),
                1e12: _widths(1, 24, 32, 40, 48, 64, 80, 96),
                3e12: _widths(1, 32, 48, 64, 80, 96, 128),
                1e13: _widths(1, 48, 64, 80, 112),
            },
            train_tokens=ENWIK8_TRAIN_TOKENS,
            batch_tokens={1e11: 256, 3e11: 256, 1e12: 256, 3e12: 256, 1e13: 512},
            about="about ten minutes on two CPU cores",
        ),
        "gpu": Profile(
            "gpu",
            "enwik8",
            {
                1e13: ((32, 1), (48, 1), (64, 2), (80, 2), (96, 2), (128, 1), (160, 1)),
                3e13: ((64, 1), (80, 1), (96, 2), (128, 2), (160, 1), (192, 1), (256, 1)),
                1e14: ((64, 1), (96, 2), (128, 2), (160, 2), (192, 2), (256, 1), (320, 1)),
                3e14: ((96, 1), (128, 1), (160, 2), (192, 2), (256, 1), (320, 1), (384, 1)),
                1e15: ((128, 1), (160, 1), (192, 1), (256, 2), (320, 1), (384, 1), (512, 1)),
                3e15: _widths(1, 224, 256, 320, 384, 448, 512, 640, 768),
                1e16: _widths(1, 320, 384, 448, 512, 640, 768),
            },
            train_tokens=ENWIK8_TRAIN_TOKENS,
            max_epochs=6.5,  # the narrowest model at 1e16; without it that valley has no left side
            batch_tokens={1e13: 512, 3e13: 512, 1e14: 1024, 3e14: 1024, 1e15: 2048, 3e15: 2048, 1e16: 4096},
            about="one GPU, in slices of some minutes",
        ),
        "published": Profile(
            "published",
            "enwik8",
            {},
            train_tokens=ENWIK8_TRAIN_TOKENS,
            about="no training: the committed records",
        ),
    }
)


def profile(name: str | Profile) -> Profile:
    """Return the profile called `name`, or raise a `ValueError` that lists the names; a profile is itself."""
    if isinstance(name, Profile):
        return name
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def on_text(name: str | Profile, corpus: str, train_tokens: int) -> Profile:
    """The same runs on another text, of so many training tokens; too small a text leaves runs out."""
    return replace(profile(name), corpus=corpus, train_tokens=train_tokens)


def make_spec(budget: float, width: int, *, tolerance: float = 0.01, **settings: object) -> RunSpec:
    """Apply the recipe: the spec that spends `budget` FLOPs (full count) on a model of this width.

    `settings` override fields of `RunSpec`; steps, lr and warm-up follow from the rest unless given.
    Raises `PlanError` when whole steps cannot meet the budget within `tolerance`.
    """
    values: dict = {"head_dim": head_dim(width), **settings}
    defaults = {f.name: f.default for f in fields(RunSpec)}
    sizes = {k: values.get(k, defaults[k]) for k in ("depth", "context", "vocab", "head_dim")}
    shape = ModelShape(width, **sizes)
    batch = values.setdefault("batch_tokens", BASE_BATCH_TOKENS)
    flops_per_step = shape.flops_per_token("full") * batch
    steps = values.setdefault("steps", max(1, round(budget / flops_per_step)))
    values.setdefault("lr", peak_lr(width, steps, batch))
    values.setdefault("warmup_steps", warmup_steps(steps))
    spec = RunSpec(width=width, budget=float(budget), **values)
    miss = abs(spec.flops - budget) / budget
    if miss > tolerance:
        raise PlanError(
            f"width {width} at {budget:.3g} FLOPs: {steps} steps spend {spec.flops:.3g}, off by {miss:.1%} "
            f"(at most {tolerance:.1%}); use a smaller width, a larger budget or a smaller batch"
        )
    return spec


def _specs(chosen: Profile) -> Iterator[RunSpec]:
    for budget in sorted(chosen.grid):
        batch = chosen.batch_tokens if isinstance(chosen.batch_tokens, int) else chosen.batch_tokens[budget]
        widths = chosen.grid[budget]
        for seed in range(max(seeds for _, seeds in widths)):
            for width, seeds in widths:
                if seed < seeds:
                    yield make_spec(
                        budget,
                        width,
                        tolerance=chosen.tolerance,
                        seed=seed,
                        corpus=chosen.corpus,
                        batch_tokens=batch,
                        **chosen.settings,
                    )


def plan(name: str | Profile) -> list[RunSpec]:
    """List the runs of a profile, smallest budget first; raise `PlanError` where a budget cannot be met."""
    chosen = profile(name)
    return [spec for spec in _specs(chosen) if spec.tokens <= chosen.max_epochs * chosen.train_tokens]


def left_out(name: str | Profile) -> list[RunSpec]:
    """List the runs that a profile's grid names but `plan` omits: those that repeat the text too often."""
    chosen = profile(name)
    return [spec for spec in _specs(chosen) if spec.tokens > chosen.max_epochs * chosen.train_tokens]
