"""The laboratory: it sells noisy losses for compute, and keeps account.

Decisions
- A request names parameters and tokens, costs their FLOPs, and gives one loss. What would exceed the
  allowance is refused and costs nothing.
- The law is looked up for each request and dropped after it: a Lab holds requests and answers, nothing
  else, so that no later request, and nothing that shows an object, can see what was hidden from an earlier.
- What all laboratories of one user have sold in this process is on one account: who opens a second one has
  spent the sum. The grader reads the account, and what it says of noise and of looks at the law.
- With `real=True` the same request trains a transformer of the nearest size, by the recipe of the book, on
  Python's help topics: it costs the full count of its FLOPs, and the noise is that of training.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from minichin.course import hidden
from minichin.plan import RunSpec, peak_lr, warmup_steps
from minichin.shape import ModelShape

if TYPE_CHECKING:
    from minichin.law import LossSurface

ALLOWANCE = 1e19  # FLOPs of the hidden law, by 6 N D
REAL_ALLOWANCE = 5e10  # FLOPs of real training, by the full count
NOISE = 0.004  # nats
USER = "MINICHIN_COURSE_USER"  # set by the grader, which knows who handed in
REAL_SHAPE: dict[str, Any] = {"depth": 1, "context": 32, "head_dim": 4}
REAL_BATCH = 64  # tokens a step
COLUMNS = ["params", "tokens", "flops", "loss"]
BOUNDS = {"params": (1e3, 1e12), "tokens": (1e3, 1e14)}


class LabError(ValueError):
    """A request that the laboratory refuses; nothing was spent."""


@dataclass(frozen=True)
class Run:
    """One answered request: what ran, what it cost (FLOPs), and its loss in nats a token."""

    params: float
    tokens: float
    flops: float
    loss: float


@dataclass
class Account:
    """What a user's laboratories of hidden laws have sold in this process, all together.

    `quietest` is the least noise asked for (nats), `looks` how often `truth` was called.
    """

    labs: int = 0
    runs: int = 0
    flops: float = 0.0
    quietest: float = math.inf
    looks: int = 0


_ACCOUNTS: dict[str, Account] = {}


def _account(user: str) -> Account:
    return _ACCOUNTS.setdefault(hidden.clean(user), Account())


def account(user: str) -> Account:
    """A copy of the account of `user`, or of the one who handed in when a machine grades."""
    return replace(_account(os.environ.get(USER) or user))


def real_shape(width: int) -> ModelShape:
    """The transformer that `Lab(real=True)` trains at this width, a multiple of 4."""
    return ModelShape(width, **REAL_SHAPE)


class Lab:
    """A laboratory for `user`, with an allowance in FLOPs.

    `noise` is the standard deviation of a loss in nats; `ticket` the file that the instructor gave out
    (default: lab-ticket.json in this folder, if it is there). When a machine grades, the user is the one
    who handed in, whatever name is given.
    """

    def __init__(
        self,
        user: str = "",
        allowance: float | None = None,
        *,
        real: bool = False,
        noise: float = NOISE,
        ticket: str | Path | None = None,
    ) -> None:
        self.user = os.environ.get(USER) or user
        self.real = real
        self.allowance = (REAL_ALLOWANCE if real else ALLOWANCE) if allowance is None else float(allowance)
        self.noise = float(noise)
        if not (0 <= self.allowance < math.inf and 0 <= self.noise < math.inf):
            raise LabError(f"allowance and noise must be 0 or more, got {allowance!r} and {noise!r}")
        self._ticket = Path(ticket) if ticket else None
        self._runs: list[Run] = []
        self._spent = 0.0
        self._times: Counter[tuple[float, float]] = Counter()
        if not real:
            hidden.law_of(self.user, self._ticket)  # a wrong name or ticket is told now
            _account(self.user).labs += 1

    def __repr__(self) -> str:
        spent = f"{self.spent:.3g} of {self.allowance:.3g} FLOPs spent"
        return f"Lab({self.user!r}: {len(self._runs)} runs, {spent})"

    @property
    def spent(self) -> float:
        """FLOPs spent so far."""
        return self._spent

    @property
    def left(self) -> float:
        """FLOPs left."""
        return self.allowance - self.spent

    @property
    def runs(self) -> pd.DataFrame:
        """All runs so far, one a row: params, tokens, flops, loss."""
        rows = [(run.params, run.tokens, run.flops, run.loss) for run in self._runs]
        return pd.DataFrame(rows, columns=COLUMNS)

    def cost(self, params: float, tokens: float) -> float:
        """FLOPs that a request would cost: 6 N D, or with `real` the full count of the nearest shape."""
        if self.real:
            return self._spec(params, tokens).flops
        params, tokens = self._check(params, tokens)
        return 6.0 * params * tokens

    def train(self, params: float, tokens: float) -> Run:
        """Run a model of `params` weights on `tokens` tokens; `LabError` past the allowance."""
        cost = self.cost(params, tokens)
        if cost > self.left * (1 + 1e-9):
            raise LabError(
                f"this run costs {cost:.4g} FLOPs, but only {self.left:.4g} of {self.allowance:.4g} are left"
            )
        params, tokens = self._check(params, tokens)
        run = self._train(params, tokens) if self.real else self._ask(params, tokens)
        self._runs.append(run)
        self._spent += run.flops
        self._times[params, tokens] += 1
        return run

    def _ask(self, params: float, tokens: float) -> Run:
        law, key = hidden.law_of(self.user, self._ticket)
        times = self._times[params, tokens]
        loss = float(law.value(params, tokens)) + hidden.noise(key, params, tokens, times, self.noise)
        run, book = Run(params, tokens, 6.0 * params * tokens, loss), _account(self.user)
        book.runs, book.flops = book.runs + 1, book.flops + run.flops
        book.quietest = min(book.quietest, self.noise)
        return run

    def _spec(self, params: float, tokens: float) -> RunSpec:
        params, tokens = self._check(params, tokens)
        widths = range(4, 129, 4)
        width = min(widths, key=lambda w: abs(math.log(real_shape(w).params / params)))
        steps = max(1, round(tokens / REAL_BATCH))
        return RunSpec(
            width,
            budget=float(steps * REAL_BATCH * real_shape(width).flops_per_token("full")),
            steps=steps,
            lr=peak_lr(width, steps, REAL_BATCH),
            warmup_steps=warmup_steps(steps),
            seed=self._times[params, tokens],
            corpus="help",
            batch_tokens=REAL_BATCH,
            valid_tokens=8_192,
            curve_tokens=1_024,
            curve_points=2,
            **REAL_SHAPE,
        )

    def _train(self, params: float, tokens: float) -> Run:
        from minichin import corpus
        from minichin.train import train

        spec = self._spec(params, tokens)
        record = train(spec, corpus.load("help"), device="cpu")
        if record.val_loss is None:
            raise LabError(f"the run of width {spec.width} diverged; try fewer parameters or more tokens")
        return Run(float(spec.shape.params), float(spec.tokens), spec.flops, record.val_loss)

    @staticmethod
    def _check(params: float, tokens: float) -> tuple[float, float]:
        """Both as floats; `LabError` for what is no number within `BOUNDS`."""
        for name, value in (("params", params), ("tokens", tokens)):
            low, high = BOUNDS[name]
            try:
                fits = low <= float(value) <= high
            except (TypeError, ValueError, OverflowError):
                fits = False
            if not fits:
                shown = " ".join(repr(value).split())
                shown = shown if len(shown) < 60 else f"{shown[:60]}…"
                raise LabError(f"{name} must be a number from {low:.0e} to {high:.0e}, got {shown}")
        return float(params), float(tokens)


def truth(lab: Lab) -> LossSurface:
    """The law behind `lab`, told only while a machine grades (else `LabError`); every look is noticed.

    `marking` does without it: it is here to be found first by whoever looks for the law, and to say so.
    """
    if not os.environ.get(USER):
        raise LabError("the law is told to the grader only; ask for runs instead")
    _account(lab.user).looks += 1
    return hidden.law_of(lab.user, lab._ticket)[0]
