"""Which runs approach 3 may use, and whether their design can hold its five parameters.

Decisions
- In the tiny regime the law holds only near the frontier, and for runs that left the warm-up behind.  A
  filter is applied where the table has what it needs (`steps` and `budget`, as sweeps do) and enough of a
  design remains; what it leaves out is listed, and what it could not leave out is noted.
- Five parameters need params and tokens that vary apart: with D = 20 N everywhere the surface collapses to
  a curve, on which A / N^alpha and B / D^beta cannot be told from each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minichin.fit.isoflop import budget_groups, fit_floor
from minichin.fit.result import FitError
from minichin.fit.table import Points, require_rows

ENOUGH_ROWS = 12
COLLINEAR = 1e-3


def select_rows(
    data: Points, min_steps: int | None, within: float | None
) -> tuple[Points, list[str], list[str]]:
    """Apply the two filters of the tiny regime where the table tells them apart and enough rows remain."""
    notes: list[str] = []
    warnings: list[str] = []
    if data.steps is None or not data.budget_given:
        return data, notes, warnings
    if within is not None:
        why = f"farther than {within:g}× from its budget's optimum in params"
        data = _filter(data, _near_optimum(data, within), why, notes)
    if min_steps is not None and data.steps is not None:
        data = _filter(data, data.steps >= min_steps, f"fewer than {min_steps} steps", notes)
        if data.steps is not None and data.steps.min() < min_steps:
            warnings.append("too_few_steps")
    return data, notes, warnings


def check_design(data: Points) -> float:
    """How far ln D is from a straight line in ln N (1 − R²); FitError where the law has no hold on it."""
    require_rows(len(data), 6, "approach 3")
    sizes, counts = (np.unique(np.round(v, 6)).size for v in (data.log_n, data.log_d))
    x, y = data.log_n - data.log_n.mean(), data.log_d - data.log_d.mean()
    spread = float((x * x).sum() * (y * y).sum())
    left = 1.0 - float((x * y).sum()) ** 2 / spread if spread > 0 else 0.0
    if sizes < 3 or counts < 3 or left < COLLINEAR:
        raise FitError(
            f"collinear_design: params and tokens do not vary independently (1 − R² = {max(left, 0.0):.2g}, "
            f"{sizes} sizes, {counts} token counts), so A, alpha, B and beta cannot be told apart; "
            "add runs off the line",
            ("collinear_design",),
        )
    return left


def _filter(data: Points, keep: NDArray[np.bool_], why: str, notes: list[str]) -> Points:
    """Leave rows out with the reason, unless too little of a design would remain."""
    if keep.all():
        return data
    lost = int((~keep).sum())
    trimmed = data.take(keep, why)
    enough = len(trimmed) >= ENOUGH_ROWS and np.unique(trimmed.budget).size >= 2
    if enough:
        try:
            check_design(trimmed)
        except FitError:
            enough = False
    if not enough:
        notes.append(f"{lost} rows have {why}, and are used all the same: too few would remain")
        return data
    notes.append(f"{lost} rows left out: {why}")
    return trimmed


def _near_optimum(data: Points, within: float) -> NDArray[np.bool_]:
    """Rows within a factor in N of their budget's optimum, where that optimum is bracketed."""
    keep = np.ones(len(data), dtype=bool)
    for group in budget_groups(data)[0]:
        floor = fit_floor(group, group.loss[None, :])
        if floor.bracketed[0]:
            far = np.abs(data.log_n - floor.x[0]) > np.log(within)
            keep &= ~(far & (data.budget == group.budget))
    return keep
