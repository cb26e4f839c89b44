"""What the measuring process of `minichin bench fit` does: ours and its rivals on one table.

Run as `python -m minichin.bench_sections TABLE MODE`; it prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin import bench_rivals as rivals
from minichin.bench import SIZES, Sizes
from minichin.fit import ParametricFit, fit_parametric
from minichin.law import Floats

COMPARED = 100


def timed(call: Callable[[], ParametricFit], repeats: int) -> tuple[ParametricFit, dict[str, float]]:
    """Median CPU and wall seconds of `repeats` calls after a first one."""
    fit = call()
    cpu, wall = [], []
    for _ in range(repeats):
        begin, begin_wall = time.process_time(), time.perf_counter()
        fit = call()
        cpu.append(time.process_time() - begin)
        wall.append(time.perf_counter() - begin_wall)
    return fit, {"cpu_s": statistics.median(cpu), "wall_s": statistics.median(wall)}


def optimum(fit: ParametricFit) -> Floats:
    """(e, a, b, alpha, beta) of a fit as the rivals write them."""
    surface = fit.surface
    return np.array([*np.log([surface.E, surface.A, surface.B]), surface.alpha, surface.beta])


def point_fit(table: pd.DataFrame, sizes: Sizes) -> dict[str, Any]:
    """The point fit and its certificate against scipy from the paper's 4,500 starts."""
    rows = rivals.Rows.read(table)
    fit, seconds = timed(lambda: fit_parametric(table, bootstrap=0), sizes.repeats)
    objective = rivals.objective(optimum(fit), rows)
    found = {name: rivals.from_the_grid(way, rows, sizes.starts) for name, way in rivals.WAYS.items()}
    for rival in found.values():
        rival["ratio"] = rival["cpu_s"] / seconds["cpu_s"]
        rival["ours_above"] = objective / rival["objective"] - 1
    certificate = {name: getattr(fit, name) for name in ("gradient_norm", "starts", "starts_at_best")}
    return {"ours": {**seconds, "objective": objective, **certificate}, "rivals": found}


def bootstrap(table: pd.DataFrame, sizes: Sizes) -> dict[str, Any]:
    """Our replicates (a call with them less a call without) against BFGS, one replicate at a time.

    `ratio` is None where that difference is too short to be told from nothing; the other ratio counts our
    point fit in.  The tables that BFGS refitted are fitted by ours too, and the two objectives compared.
    """
    rows = rivals.Rows.read(table)
    fit, without = timed(lambda: fit_parametric(table, bootstrap=0), sizes.repeats)
    _, whole = timed(lambda: fit_parametric(table, bootstrap=sizes.bootstrap), sizes.repeats)
    ours = whole["cpu_s"] - without["cpu_s"]
    rival, ends = rivals.resampled(
        rows, optimum(fit), sizes.bootstrap, min(sizes.replicates, sizes.bootstrap)
    )
    return {
        "replicates": sizes.bootstrap,
        "ours": {
            "cpu_s": ours,
            "cpu_s_with_point_fit": whole["cpu_s"],
            "wall_s_with_point_fit": whole["wall_s"],
        },
        "rival": {
            **rival,
            "ratio": rival["cpu_s"] / ours if ours > 0 else None,
            "ratio_with_point_fit": rival["cpu_s"] / whole["cpu_s"],
            **_replicate_gaps(table, rows, ends[:COMPARED]),
        },
    }


def _replicate_gaps(
    table: pd.DataFrame, rows: rivals.Rows, ends: list[tuple[NDArray[np.int64], float]]
) -> dict[str, Any]:
    """How far (relative) BFGS stopped above our fit of the same rows, and the most that ours was above it."""
    gaps = []
    for index, value in ends:
        again = fit_parametric(table.iloc[index], bootstrap=0)
        gaps.append(value / rivals.objective(optimum(again), rows.take(index)) - 1)
    return {
        "compared": len(gaps),
        "above_ours_median": statistics.median(gaps),
        "above_ours_most": max(gaps),
        "ours_above_most": max(0.0, -min(gaps)),
    }


def hoffmann(table: pd.DataFrame, sizes: Sizes) -> dict[str, Any]:
    """How many of the paper's 4,500 starts our solver takes to the best basin."""
    table = table.iloc[:: sizes.hoffmann_every]
    begin, begin_wall = time.process_time(), time.perf_counter()
    fit = fit_parametric(table, bootstrap=0, starts="hoffmann")
    return {
        "rows": len(table),
        "cpu_s": time.process_time() - begin,
        "wall_s": time.perf_counter() - begin_wall,
        "starts": fit.starts,
        "starts_at_best": fit.starts_at_best,
        "share": fit.starts_at_best / fit.starts,
        "objective": rivals.objective(optimum(fit), rivals.Rows.read(table)),
    }


def chinchilla(table: pd.DataFrame, sizes: Sizes) -> dict[str, Any]:
    """The package of that name where it is installed; else why it was skipped."""
    try:
        coarse = 2 if sizes.mode == "quick" else 3
        return rivals.chinchilla_package(rivals.Rows.read(table), sizes.mode == "full", coarse)
    except ImportError as missing:
        return {
            "skipped": f"the package chinchilla is not installed ({missing}): pip install 'minichin[bench]'"
        }


def measure(table: pd.DataFrame, sizes: Sizes) -> dict[str, Any]:
    """All sections on one table, in this process."""
    found = {
        "point_fit": point_fit(table, sizes),
        "bootstrap": bootstrap(table, sizes),
        "hoffmann": hoffmann(table, sizes),
        "chinchilla": chinchilla(table, sizes),
    }
    ours, package = found["point_fit"]["ours"], found["chinchilla"]
    if "skipped" not in package:
        package["ratio"] = package["cpu_s"] / ours["cpu_s"]
        package["ours_above"] = ours["objective"] / package["objective"] - 1
    return found


if __name__ == "__main__":
    path, mode = sys.argv[1:]
    print(json.dumps(measure(pd.read_csv(path), SIZES[mode]), allow_nan=False))
