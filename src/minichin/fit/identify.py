"""What holds approach 3 in place: its design, its starts, and on request the profile of its objective.

Decisions
- Of the design: 1 − R² of ln D on ln N (0: tokens follow from parameters), and the condition (ratio of the
  extreme singular values of d ln L / d (ln E, ln A, ln B, alpha, beta), logarithms centred and columns of
  unit length).
- Of the fit: the correlation of alpha and beta over replicates, and the share of the starts that ended in the
  best minimum.
- The profile takes some hundred fits, so it is made only where it is asked for, and on 20,000 rows at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from minichin.fit.profile import profile_interval, profile_surface
from minichin.fit.result import FitError, Interval, ParametricFit
from minichin.fit.table import points

MOST_ROWS = 20_000
WEAK = 0.05  # 1 − R² below which a design is said to hold alpha and beta weakly
OF_PROFILE = ("convention", "delta", "loss")


@dataclass(frozen=True)
class Identifiability:
    """What tells the five parameters of approach 3 apart; see the decisions above."""

    one_minus_r2: float
    condition: float
    alpha_beta_correlation: float | None
    starts_agreeing: float


@dataclass(frozen=True)
class Profile:
    """The profile of approach 3: the 95 % interval of a by 6 N D, and the distinct minima over (alpha, beta).

    `minima` are (alpha, beta, objective), the lowest first; `error` says what could not be had.
    """

    a_interval: Interval | None
    minima: tuple[tuple[float, float, float], ...]
    error: str = ""


def identifiability(fit: ParametricFit, table: pd.DataFrame) -> Identifiability:
    """How firmly the rows that approach 3 used hold its parameters."""
    data = points(table, fit.convention)
    data = data.take(np.isin(data.row, fit.rows))
    x, y = data.log_n - data.log_n.mean(), data.log_d - data.log_d.mean()
    model = np.exp(np.log(fit.surface.A) - fit.surface.alpha * data.log_n)
    tokens = np.exp(np.log(fit.surface.B) - fit.surface.beta * data.log_d)
    design = np.stack([np.full_like(x, fit.surface.E), model, tokens, -model * x, -tokens * y])
    design = design / (fit.surface.E + model + tokens)
    length = np.sqrt((design**2).sum(axis=1, keepdims=True))
    design = design / np.where(length > 0, length, 1.0)
    values = np.linalg.svd(design, compute_uv=False)
    alpha, beta = fit.surface_replicates[:, 3], fit.surface_replicates[:, 4]
    varied = len(alpha) >= 20 and np.ptp(alpha) > 0 and np.ptp(beta) > 0
    return Identifiability(
        max(0.0, 1.0 - float((x * y).sum()) ** 2 / float((x * x).sum() * (y * y).sum())),
        float(values[0] / max(values[-1], 1e-16)),
        float(np.corrcoef(alpha, beta)[0, 1]) if varied else None,
        fit.starts_at_best / fit.starts,
    )


def profiled(table: pd.DataFrame, settings: Mapping[str, Any]) -> Profile:
    """Profile approach 3 by its `settings`; what cannot be had is said in `error`."""
    if len(table) > MOST_ROWS:
        return Profile(None, (), f"not computed on {len(table):,} rows (more than {MOST_ROWS:,})")
    own = {name: settings[name] for name in OF_PROFILE if name in settings}
    try:
        found = profile_surface(table, **own).minima
    except FitError as error:
        return Profile(None, (), str(error))
    minima = tuple((float(alpha), float(beta), float(lowest)) for alpha, beta, lowest in found)
    try:
        return Profile(profile_interval(table, **own), minima)
    except FitError as error:
        return Profile(None, minima, str(error))
