"""A laboratory that answers requested runs with noisy losses of a hidden law, and spends a compute allowance.

Decisions
- The instructor's secret stays with the instructor. A student gets a ticket, the keyed hash (HMAC-SHA256)
  of the user name, and the hidden law is drawn from it. A ticket says nothing of another student's.
- What answers offline can be taken apart offline: whoever holds a ticket and reads this module can call
  `hidden_law`. The lab hides the law from `dir`, `vars`, `repr` and pickling by not keeping it; no more.
- The noise of a request depends on the request and on how often it was made, not on its place in the order:
  a restarted notebook gets the same answers, and repeating a run costs again and gives a new seed's loss.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass

import numpy as np

from minichin.law import LossSurface

NOISE = 0.004  # nats a token, standard deviation from run to run
ALLOWANCE = 1e15  # FLOPs
FLOPS_PER_PARAM_TOKEN = 6.0


class LabError(ValueError):
    """A request that the lab turns down; it costs nothing."""


@dataclass(frozen=True)
class Run:
    """A finished run: N parameters, D tokens, C = 6 N D FLOPs and the noisy loss in nats a token."""

    params: float
    tokens: float
    flops: float
    loss: float


def ticket(user: str, secret: str) -> str:
    """Return what the instructor hands to `user`: HMAC-SHA256 of the name, 64 hexadecimal digits.

    The name is stripped and lower-cased first. An empty name or secret is a `ValueError`.
    """
    name = user.strip().lower()
    if not name or not secret:
        raise ValueError("a ticket needs a user name and the instructor's secret; neither may be empty")
    return hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()


def _generator(student_ticket: str, *what: str) -> np.random.Generator:
    """Return the generator that belongs to one ticket and one use of it."""
    digest = hmac.new(student_ticket.encode(), "|".join(what).encode(), hashlib.sha256).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def hidden_law(student_ticket: str) -> LossSurface:
    """Return the law that belongs to a ticket; for graders.

    Drawn evenly: E in 1.5–2.1, alpha and beta in 0.28–0.42, ln A in ln 200–ln 600, ln B in ln 300–ln 900.
    """
    draw = _generator(student_ticket, "law").uniform
    return LossSurface(
        E=draw(1.5, 2.1),
        A=math.exp(draw(math.log(200), math.log(600))),
        B=math.exp(draw(math.log(300), math.log(900))),
        alpha=draw(0.28, 0.42),
        beta=draw(0.28, 0.42),
    )


class Lab:
    """A laboratory for one ticket: `run` spends the allowance, `runs` lists what was asked so far."""

    def __init__(self, student_ticket: str, *, allowance: float = ALLOWANCE, noise: float = NOISE) -> None:
        """Open the lab with `allowance` FLOPs and losses that scatter by `noise` nats (one deviation)."""
        if not (math.isfinite(allowance) and allowance > 0):
            raise ValueError(f"the allowance must be positive and finite, got {allowance}")
        if not (math.isfinite(noise) and noise >= 0):
            raise ValueError(f"the noise must be zero or more and finite, got {noise}")
        self._ticket = student_ticket
        self.allowance = allowance
        self.noise = noise
        self._runs: list[Run] = []

    def __repr__(self) -> str:
        """Say what is left."""
        return f"Lab({len(self._runs)} runs, {self.left:.4g} of {self.allowance:.4g} FLOPs left)"

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs so far, in the order of the requests."""
        return tuple(self._runs)

    @property
    def spent(self) -> float:
        """FLOPs spent so far."""
        return math.fsum(run.flops for run in self._runs)

    @property
    def left(self) -> float:
        """FLOPs that may still be spent."""
        return self.allowance - self.spent

    def run(self, params: float, tokens: float) -> Run:
        """Run N `params` on D `tokens` for 6 N D FLOPs; past the allowance a `LabError`, at no cost."""
        for name, value in (("params", params), ("tokens", tokens)):
            if not (math.isfinite(value) and value >= 1):
                raise LabError(f"{name} must be finite and at least 1, got {value}")
        params, tokens = float(params), float(tokens)
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        if flops > self.left * (1 + 1e-12):
            raise LabError(
                f"this run costs 6 N D = {flops:.4g} FLOPs, {self.left:.4g} are left; "
                "choose a smaller model or fewer tokens"
            )
        before = sum((run.params, run.tokens) == (params, tokens) for run in self._runs)
        seed = _generator(self._ticket, "noise", params.hex(), tokens.hex(), str(before))
        loss = float(hidden_law(self._ticket).value(params, tokens)) + self.noise * seed.standard_normal()
        done = Run(params, tokens, flops, float(loss))
        self._runs.append(done)
        return done
