"""What happens when approach 3 minimises the mean of its losses and not their sum.

Decisions
- The minimum is the same; what differs is when an optimiser of default settings stops.  scipy's L-BFGS-B
  stops when a step gains less than `ftol` = 2.2e-9 (relative, but never counted from less than 1) or when no
  component of the gradient exceeds `gtol` = 1e-5.  On the 234 points the sum is 8e-4 at its minimum, and the
  mean 3.6e-6.
- Starts are the paper's 4,500, or one drawn at random from each of so many equal blocks of them; scipy has
  the exact gradient, or takes differences as it does for most who use it.
- One more run divides both tolerances by the number of rows, which undoes the averaging.
- All of it happens in a child process with one BLAS thread: on so few numbers more threads only get in each
  other's way (ten times slower on a busy machine), and the last digits decide where a start ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from minichin.bench import THREADS
from minichin.bench_rivals import Rows, gradient, objective, paper_grid, sample
from minichin.law import Floats

FTOL, GTOL = 2.220446049250313e-09, 1e-5  # scipy's defaults
STARTS = 75  # of the paper's 4,500
ARRIVED = 1e-6  # relative gap of a start that reached the optimum


def sum_or_mean(table: pd.DataFrame, optimum: float, starts: int = STARTS) -> list[dict[str, Any]]:
    """Minimise the sum, the mean, and the mean with finer tolerances, from `starts` of the paper's starts.

    `optimum` is the lowest sum that is known.  One record each: how many starts ended how far above it
    (relative), how many because the gradient was small enough, and the best one's constants.
    """
    done = subprocess.run(
        [sys.executable, "-m", "minichin.averaging", repr(optimum), str(starts)],
        input=table.to_csv(index=False),
        env={**os.environ, **THREADS},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    records: list[dict[str, Any]] = json.loads(done.stdout)
    return records


def compare(table: pd.DataFrame, optimum: float, starts: int) -> list[dict[str, Any]]:
    """`sum_or_mean`, in this process."""
    rows, grid = Rows.read(table), paper_grid()
    begin = grid[sample(len(grid), starts)]
    share = 1 / len(table)
    finer = {"ftol": FTOL * share, "gtol": GTOL * share}
    ways: tuple[tuple[str, float, bool, dict[str, float]], ...] = (
        ("sum", 1.0, True, {}),
        ("sum, gradient by differences", 1.0, False, {}),
        ("mean", share, True, {}),
        ("mean, gradient by differences", share, False, {}),
        ("mean, finer tolerances", share, True, finer),
    )
    return [
        {"minimised": name, **_ends(rows, begin, scale, exact, options, optimum)}
        for name, scale, exact, options in ways
    ]


def _ends(
    rows: Rows,
    starts: Floats,
    scale: float,
    exact: bool,
    options: dict[str, float],
    optimum: float,
) -> dict[str, Any]:
    """Where scipy ends from each start, when it minimises `scale` times the sum."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = [
            minimize(
                lambda theta: scale * objective(theta, rows),
                start,
                jac=(lambda theta: scale * gradient(theta, rows)) if exact else None,
                method="L-BFGS-B",
                options=options,
            )
            for start in starts
        ]
    gaps = np.array([each.fun / scale / optimum - 1 for each in found])
    gaps = np.where(np.isfinite(gaps), gaps, np.inf)
    best = found[int(np.argmin(gaps))]
    e, a, b, alpha, beta = (float(value) for value in best.x)
    return {
        "starts": len(starts),
        "gap": float(gaps.min()),
        "at_optimum": int((gaps < ARRIVED).sum()),
        "within_1": int((gaps < 0.01).sum()),
        "within_10": int((gaps < 0.1).sum()),
        "stopped_by_gradient": sum("GRADIENT" in each.message for each in found),
        "best_stopped_by_gradient": "GRADIENT" in best.message,
        **dict(zip(("E", "A", "B"), (float(v) for v in np.exp([e, a, b])), strict=True)),
        "alpha": alpha,
        "beta": beta,
        "a": beta / (alpha + beta),
    }


if __name__ == "__main__":
    print(json.dumps(compare(pd.read_csv(sys.stdin), float(sys.argv[1]), int(sys.argv[2]))))
