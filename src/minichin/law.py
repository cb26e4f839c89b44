"""The scaling law as two frozen objects; every consequence of it is a method whose docstring is the formula.

Decisions
- The law is five floats, L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, arXiv 2203.15556,
  equation 2): N parameters, D training tokens, L nats a token.  What the data says lives elsewhere.
- All powers are taken as exponentials of logarithms in float64, so that counts beyond 64-bit integers
  (6 N D passes 2^63 at a few billion parameters) neither wrap nor lose their size.
- C = k N D with k = `flops_per_param_token`, 6 unless told otherwise: forward 2, backward 4.
- Natural logarithms everywhere.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Optimum(NamedTuple):
    """The compute-optimal point of one compute budget: parameters, tokens, loss in nats a token."""

    params: Floats
    tokens: Floats
    loss: Floats


def _log(values: ArrayLike, name: str) -> Floats:
    """Logarithm of positive finite `values`; a ValueError that names the offending one otherwise."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numbers, got {values!r}") from error
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        raise ValueError(f"{name} must be positive and finite, got {array[bad].flat[0]}")
    return np.log(array)


def _exp(logs: float | Floats, what: str) -> Floats:
    """Exponential of `logs`; a ValueError where the result does not fit a float64."""
    if np.any(np.abs(logs) > 709.0):
        raise ValueError(
            f"{what} lies outside of the range of a float64 (logarithm {np.max(np.abs(logs)):.4g})"
        )
    return np.asarray(np.exp(logs))[()]


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient · x^exponent, e.g. compute-optimal parameters against FLOPs."""

    coefficient: float
    exponent: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.coefficient) and self.coefficient > 0):
            raise ValueError(f"a power law needs a positive, finite coefficient, got {self.coefficient}")
        if not math.isfinite(self.exponent):
            raise ValueError(f"a power law needs a finite exponent, got {self.exponent}")

    def __call__(self, x: ArrayLike) -> Floats:
        """Evaluate coefficient · x^exponent at x > 0."""
        return _exp(math.log(self.coefficient) + self.exponent * _log(x, "x"), "the power law's value")

    def inverse(self, y: ArrayLike) -> Floats:
        """Solve for x: (y / coefficient)^(1 / exponent)."""
        if self.exponent == 0:
            raise ValueError("a power law with exponent 0 is constant and has no inverse")
        return _exp((_log(y, "y") - math.log(self.coefficient)) / self.exponent, "the power law's inverse")


@dataclass(frozen=True)
class LossSurface:
    """L(N, D) = E + A / N^alpha + B / D^beta, nats a token (Hoffmann et al. 2022, equation 2).

    E is the entropy of the text, A / N^alpha what a finite model misses, B / D^beta what finite data misses.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        for name, value in zip(("E", "A", "B", "alpha", "beta"), astuple(self), strict=True):
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "E"):
                wanted = "zero or more" if name == "E" else "positive"
                raise ValueError(f"{name} of a loss surface must be {wanted} and finite, got {value}")

    def value(self, params: ArrayLike, tokens: ArrayLike) -> Floats:
        """E + A / N^alpha + B / D^beta at N `params` and D `tokens` (broadcast), nats a token."""
        model = _exp(math.log(self.A) - self.alpha * _log(params, "params"), "A / N^alpha")
        data = _exp(math.log(self.B) - self.beta * _log(tokens, "tokens"), "B / D^beta")
        return self.E + model + data

    def value_at(self, flops: ArrayLike, params: ArrayLike, flops_per_param_token: float = 6.0) -> Floats:
        """Loss of a model of fixed N trained with C FLOPs, L(N, C / (k N)): in N, an IsoFLOP valley."""
        log_tokens = self._log_nd(flops, flops_per_param_token) - _log(params, "params")
        return self.value(params, _exp(log_tokens, "the token count"))

    @property
    def a(self) -> float:
        """Exponent of N_opt ∝ C^a: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> float:
        """Exponent of D_opt ∝ C^b: alpha / (alpha + beta), which is 1 − a."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def log_G(self) -> float:
        """ln G = ln(alpha A / (beta B)) / (alpha + beta)."""
        log_ratio = math.log(self.alpha) + math.log(self.A) - math.log(self.beta) - math.log(self.B)
        return log_ratio / (self.alpha + self.beta)

    @property
    def G(self) -> float:
        """G = (alpha A / (beta B))^(1 / (alpha + beta)); N_opt = G (C/k)^a and D_opt = (C/k)^b / G."""
        return float(_exp(self.log_G, "G"))

    @property
    def log_reducible(self) -> float:
        """ln of the reducible loss at the optimum of C/k = 1: ln(A G^-alpha + B G^beta)."""
        model = math.log(self.A) - self.alpha * self.log_G
        data = math.log(self.B) + self.beta * self.log_G
        return float(np.logaddexp(model, data))

    @property
    def compute_exponent(self) -> float:
        """gamma in L_opt(C) = E + R (C/k)^-gamma: alpha beta / (alpha + beta)."""
        return self.alpha * self.beta / (self.alpha + self.beta)

    def optimum(self, flops: ArrayLike, flops_per_param_token: float = 6.0) -> Optimum:
        """Minimise L under k N D = C: N = G (C/k)^a, D = (C/k)^b / G, L = E + R (C/k)^-gamma."""
        log_nd = self._log_nd(flops, flops_per_param_token)
        params = _exp(self.log_G + self.a * log_nd, "the optimal parameter count")
        tokens = _exp(self.b * log_nd - self.log_G, "the optimal token count")
        return Optimum(
            params, tokens, self.E + _exp(self.log_reducible - self.compute_exponent * log_nd, "loss")
        )

    def compute_for(self, loss: ArrayLike, flops_per_param_token: float = 6.0) -> Floats:
        """Invert the optimum: the least FLOPs that reach `loss`, C = k (R / (L − E))^(1/gamma)."""
        log_excess = _log(self._excess(loss, self.E), "loss − E")
        log_nd = (self.log_reducible - log_excess) / self.compute_exponent
        return _exp(math.log(flops_per_param_token) + log_nd, "the compute")

    def tokens_for(self, loss: ArrayLike, params: ArrayLike) -> Floats:
        """Tokens with which a model of N `params` reaches `loss`: D = (B / (L − E − A/N^alpha))^(1/beta)."""
        floor = self.E + np.exp(math.log(self.A) - self.alpha * _log(params, "params"))
        log_excess = np.log(self._excess(loss, floor))
        return _exp((math.log(self.B) - log_excess) / self.beta, "the token count")

    def power_laws(self, flops_per_param_token: float = 6.0) -> tuple[PowerLaw, PowerLaw]:
        """The optimum as N_opt = (G / k^a) C^a and D_opt = (1 / (G k^b)) C^b."""
        log_k = math.log(flops_per_param_token)
        n_coefficient = _exp(self.log_G - self.a * log_k, "the coefficient of N_opt")
        d_coefficient = _exp(-self.log_G - self.b * log_k, "the coefficient of D_opt")
        return PowerLaw(float(n_coefficient), self.a), PowerLaw(float(d_coefficient), self.b)

    @staticmethod
    def _log_nd(flops: ArrayLike, flops_per_param_token: float) -> Floats:
        """ln(C / k), the logarithm of N D."""
        return _log(flops, "flops") - _log(flops_per_param_token, "flops_per_param_token")

    @staticmethod
    def _excess(loss: ArrayLike, floor: float | Floats) -> Floats:
        """`loss` above what it can never fall below; a ValueError where nothing is left."""
        loss = np.asarray(loss, dtype=np.float64)
        excess = np.asarray(loss - floor, dtype=np.float64)
        if not np.all(np.isfinite(excess) & (excess > 0)):
            raise ValueError(
                f"no compute reaches a loss of {np.min(loss):.6g}: it cannot fall to {np.max(floor):.6g}"
            )
        return excess
