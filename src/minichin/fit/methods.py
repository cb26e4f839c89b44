"""How the valleys of approach 2 are fitted, by name.

Decisions

| method | the curve of loss against ln N |
|---|---|
| `window` | a parabola through the sizes within a factor 5 of its vertex, five at least |
| `parabola` | a parabola through all sizes, as in Hoffmann et al. 2022 |
| `cubic` | a cubic through the sizes within a factor 25 of its minimum, seven at least |
| `shared` | the law at fixed compute, alpha and beta common to all budgets (see `shared`) |

Measured: on the 15 sweeps of Porian et al. 2024 the exponent differs from theirs by 0.015 (window), 0.018
(cubic), 0.027 (shared) and 0.033 (parabola), root mean square; hence the default.  On simulated sweeps that
the law made, `shared` has the smallest error of a in most designs: 0.97 times the parabola's within 4× of the
optimum, half of it within 16× where the grid drifts.  A cubic's is 2.7 times the parabola's within 4×.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minichin.fit.redraw import Draws
from minichin.fit.shared import fit_shared
from minichin.fit.valley import Floor, Group, correct_floor, fit_floor

METHODS = ("window", "parabola", "cubic", "shared")


@dataclass(frozen=True)
class Recipe:
    """How valleys are fitted; the words of `fit_isoflop`, `correct` as (alpha, beta)."""

    method: str
    correct: tuple[float, float] | None
    window: float
    min_points: int

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if not self.window > 1 or self.min_points < 3:
            raise ValueError(
                f"window must exceed 1 and min_points be 3 or more, got {self.window} and {self.min_points}"
            )
        if self.correct is None:
            return
        if self.method == "shared":
            raise ValueError(
                "correct is for parabolas and cubics: a shared-exponent valley has its own skewness"
            )
        if len(self.correct) != 2 or not all(0 < e < 10 for e in self.correct):
            raise ValueError(f"correct must be (alpha, beta), both between 0 and 10, got {self.correct}")

    def fit(self, groups: list[Group], draws: Draws) -> list[Floor]:
        """The floors of every budget, an entry a replicate."""
        if self.method == "shared":
            return fit_shared(groups, draws.losses, draws.weights)
        degree, window, least = {
            "window": (2, self.window, self.min_points),
            "parabola": (2, np.inf, 3),
            "cubic": (3, self.window**2, self.min_points + 2),
        }[self.method]
        floors = []
        for group, loss, weight in zip(groups, draws.losses, draws.weights, strict=True):
            floor = fit_floor(group, loss, window, least, degree=degree, weight=weight)
            floors.append(correct_floor(group, floor, self.correct, weight) if self.correct else floor)
        return floors
