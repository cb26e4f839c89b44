"""Where a loss surface is lowest for a given compute, when compute is not exactly 6 N D.

Decisions
- With C = 6 N D rho(N) the optimum obeys alpha A / N^alpha = beta B / D^beta · (1 + d ln rho / d ln N): the
  surface touches the line of equal compute there.
- ln rho is a quadratic in ln N fitted to the table, continued straight beyond the sampled sizes.
- The exponents are the slopes of that optimum over the sampled compute.  Where rho is constant they are the
  closed form of `law.LossSurface`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minichin.fit.bootstrap import lines
from minichin.fit.table import Points
from minichin.law import Floats


def optimum_lines(theta: Floats, data: Points) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Lines of ln N_opt and ln D_opt against the convention's ln C, one a row of `theta`.

    A row is (ln E, ln A, ln B, alpha, beta).  Bisect on ln N for the stationary point under
    C = 6 N D rho(N); where rho is constant the optimum is a straight line already.
    """
    _, log_a, log_b, alpha, beta = (theta[:, i, None] for i in range(5))
    log_c = np.linspace(data.log_c.min(), data.log_c.max(), 9)[None, :] + np.zeros_like(alpha)
    log_rho = data.log_c - np.log(6.0) - data.log_n - data.log_d
    middle = float(log_rho.mean())
    balance = np.log(alpha / beta) + log_a - log_b
    x = (balance + beta * (log_c - np.log(6.0) - middle)) / (alpha + beta)
    if np.ptp(log_rho) < 1e-3:
        tokens = log_c - np.log(6.0) - middle - x
        return lines(log_c, x), lines(log_c, tokens)
    rho = _LogRatio.fit(data.log_n, log_rho)
    low, high = x - 40.0, x + 40.0
    for _ in range(60):
        x = (low + high) / 2
        log_d = log_c - np.log(6.0) - x - rho.value(x)
        too_small = balance - alpha * x + beta * log_d > np.log(rho.log_slope_factor(x))
        low, high = np.where(too_small, x, low), np.where(too_small, high, x)
    return lines(log_c, x), lines(log_c, log_c - np.log(6.0) - x - rho.value(x))


@dataclass(frozen=True)
class _LogRatio:
    """ln of C / (6 N D) as a quadratic in ln N over the sampled sizes, straight beyond them."""

    coefficients: Floats
    center: float
    half_width: float

    @classmethod
    def fit(cls, log_n: Floats, log_ratio: Floats) -> _LogRatio:
        """Least squares; a straight line with fewer than four sizes."""
        center, half_width = (log_n.max() + log_n.min()) / 2, np.ptp(log_n) / 2
        degree = 2 if np.unique(np.round(log_n, 6)).size > 3 else 1
        u = (log_n - center) / half_width
        coefficients = np.zeros(3)
        coefficients[: degree + 1] = np.polynomial.polynomial.polyfit(u, log_ratio, degree)
        return cls(coefficients, float(center), float(half_width))

    def value(self, log_n: Floats) -> Floats:
        """ln rho at `log_n`."""
        u = (log_n - self.center) / self.half_width
        inside = np.clip(u, -1.0, 1.0)
        c0, c1, c2 = self.coefficients
        return np.asarray(c0 + c1 * inside + c2 * inside**2 + (c1 + 2 * c2 * inside) * (u - inside))

    def log_slope_factor(self, log_n: Floats) -> Floats:
        """1 + d ln rho / d ln N, kept positive."""
        inside = np.clip((log_n - self.center) / self.half_width, -1.0, 1.0)
        slope = (self.coefficients[1] + 2 * self.coefficients[2] * inside) / self.half_width
        return np.asarray(np.maximum(1.0 + slope, 0.05))
