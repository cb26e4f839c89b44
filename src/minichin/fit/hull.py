"""The lower convex hull of all training curves, for approach 1.

Decisions
- The hull is taken in (ln FLOPs, loss).  A vertex is then a point of lowest loss + s · ln FLOPs for some s
  > 0: the best buy at some exchange rate between nats and percents of compute. A frontier E + K·C^−γ is
  strictly convex there, so that each of its points can be a vertex.  In (ln FLOPs, ln loss) it bends only E
  / loss as much, which noise easily undoes: on our own runs to 6e12 FLOPs that hull has two sizes and 42 %
  of its replicates show no exponent, where this one has four and none.  With FLOPs themselves as the axis
  the chord between two budgets lies far above the frontier, and runs in mid-training pass for efficient.
- Only the falling part of the hull counts: after the lowest loss of all, more compute buys nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minichin.law import Floats


def hull_vertices(x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Vertices of the falling lower convex hull of each column of `y` (points, curves) over rising `x`.

    ∞ marks a point that is not there.  By gift wrapping (Jarvis 1973), all curves a vertex at a time.
    """
    vertex = np.zeros(y.shape, dtype=bool)
    rows = _bends(x, y)
    x, y = x[rows], y[rows]
    column = np.flatnonzero(np.isfinite(y).any(axis=0))
    at = np.isfinite(y).argmax(axis=0)[column]
    while column.size:
        vertex[rows[at], column] = True
        dx = x[:, None] - x[at]
        ahead = dx > 0
        slope = np.where(ahead, y[:, column] - y[at, column], np.inf) / np.where(ahead, dx, 1.0)
        last = x.size - 1 - slope[::-1].argmin(axis=0)
        falls = slope[last, np.arange(column.size)] < 0
        at, column = last[falls], column[falls]
    return vertex


def _bends(x: Floats, y: Floats) -> NDArray[np.int64]:
    """The points at which some curve bends upwards or ends: no other can be a vertex."""
    with np.errstate(invalid="ignore"):
        slope = np.diff(y, axis=0) / np.diff(x)[:, None]
        bends = ~(slope[:-1] > slope[1:]).all(axis=1)
    return np.flatnonzero(np.concatenate([[True], bends, [True]])[: x.size])
