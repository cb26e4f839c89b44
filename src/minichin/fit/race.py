"""The field of approach 1: every cell's loss at every compute, on one grid.

Decisions
- A cell is one (budget, size); its seeds are averaged on the grid, so that no size wins by having more
  draws.
- A cell runs from the end of its first fifth (the warm-up) to its last evaluation, and is nowhere else.
- The grid is in counted FLOPs, and begins where the cheapest run has 15 % to go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.fit.isoflop import budget_groups
from minichin.fit.table import Points
from minichin.law import Floats

GRID = 1500
LAST = 0.85


@dataclass(frozen=True)
class Race:
    """Cells (a row each) at rising compute (a column each): loss, ∞ where a cell does not run."""

    loss: Floats
    log_n: Floats
    log_d: Floats
    log_c: Floats
    fraction: Floats
    edge: NDArray[np.bool_]
    seeds: NDArray[np.int64]
    name: NDArray[np.object_]


def find_runs(data: Points) -> tuple[bool, NDArray[np.int64]]:
    """Whether runs have curves (three evaluations or more), and the index of each run's last row."""
    order = np.lexsort((data.log_d, pd.factorize(data.run)[0]))
    codes = pd.factorize(data.run)[0][order]
    last = np.flatnonzero(np.append(codes[1:] != codes[:-1], True))
    lengths = np.diff(np.concatenate([[-1], last]))
    curves = bool(np.median(lengths) >= 3)
    return curves, np.sort(order[last]) if curves else np.arange(len(data))


def _cells(data: Points, ends: NDArray[np.int64], full: Floats) -> Iterator[list[NDArray[np.int64]]]:
    """Runs of one (budget, size), each as its rows by rising tokens."""
    codes = pd.factorize(data.run)[0]
    budget = data.budget if data.budget_given else np.round(full[ends][np.argsort(codes[ends])][codes], 2)
    frame = pd.DataFrame({"budget": budget, "n": np.round(data.log_n, 9), "run": codes})
    for _, cell in frame.groupby(["budget", "n"], sort=True):
        rows = [part.index.to_numpy() for _, part in cell.groupby("run")]
        yield [r[np.argsort(data.log_d[r], kind="stable")] for r in rows]


def race_of_curves(data: Points, full: Floats, skip: float, smooth: float) -> Race:
    """Interpolate every cell's mean curve at `GRID` log-spaced FLOP counts."""
    ends = find_runs(data)[1]
    grid = np.linspace(full[ends].min() + np.log(LAST), full[ends].max(), GRID)
    cells = list(_cells(data, ends, full))
    count = len(cells)
    loss, log_d, log_c = (np.full((count, GRID), np.inf) for _ in range(3))
    fraction, log_n = np.zeros((count, GRID)), np.zeros(count)
    for i, cell in enumerate(cells):
        total = np.zeros(GRID)
        for rows in cell:
            total += _interpolate(grid, full[rows], _smoothed(data.loss[rows], smooth), skip)
        loss[i], log_n[i], end = total / len(cell), data.log_n[cell[0][0]], cell[0][-1]
        log_d[i] = np.interp(grid, full[cell[0]], data.log_d[cell[0]])
        log_c[i] = np.interp(grid, full[cell[0]], data.log_c[cell[0]])
        fraction[i] = np.exp(log_d[i] - data.log_d[end])
    first = np.array([cell[0][0] for cell in cells])
    edge = _edges(log_n, data.budget[first] if data.budget_given else np.arange(count), np.isfinite(loss))
    seeds = np.array([len(cell) for cell in cells])
    return Race(loss, log_n, log_d, log_c, fraction, edge, seeds, data.run[first].astype(object))


def race_of_finals(data: Points, full: Floats) -> Race:
    """One column a budget with three sizes; where no two such budgets exist, one column a run."""
    groups, kept = budget_groups(data)
    if len(groups) >= 2:
        keep = np.isin(data.row, kept.row)
        data, full = kept, full[keep]
        labels = data.budget
    else:
        labels = np.exp(full)
    columns = np.unique(labels)
    cell = np.unique(np.column_stack([labels, np.round(data.log_n, 9)]), axis=0, return_inverse=True)[
        1
    ].reshape(-1)
    first = np.unique(cell, return_index=True)[1]
    seeds = np.bincount(cell)
    mean = [np.bincount(cell, weights=v) / seeds for v in (data.loss, data.log_n, data.log_d, data.log_c)]
    runs = labels[first][:, None] == columns
    shape = (len(first), len(columns))
    loss = np.where(runs, mean[0][:, None], np.inf)
    log_d, log_c = (np.broadcast_to(m[:, None], shape) for m in mean[2:])
    edge = _edges(mean[1], labels[first] if len(groups) >= 2 else np.zeros(len(first)), runs)
    return Race(loss, mean[1], log_d, log_c, np.ones(shape), edge, seeds, data.run[first].astype(object))


def _interpolate(grid: Floats, log_c: Floats, loss: Floats, skip: float) -> Floats:
    """A curve on the grid; ∞ before its first `skip` is done and after its end."""
    values = np.interp(grid, log_c, loss)
    inside = (grid >= max(log_c[0], log_c[-1] + np.log(skip) if skip else -np.inf)) & (grid <= log_c[-1])
    return np.asarray(np.where(inside, values, np.inf))


def _smoothed(loss: Floats, width: float) -> Floats:
    """Gaussian window over evaluations, cut and renormalised at the ends."""
    if width == 0:
        return loss
    steps = np.arange(loss.size)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps) / width) ** 2)
    return np.asarray(kernel @ loss / kernel.sum(axis=1))


def _edges(log_n: Floats, budget: NDArray[Any], running: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that are the smallest or largest of their budget; of all that run where it has under three."""
    edge = np.zeros(running.shape, dtype=bool)
    for label in np.unique(budget):
        members = np.flatnonzero(budget == label)
        if np.unique(log_n[members]).size >= 3:
            sizes = log_n[members]
            edge[members] = ((sizes == sizes.min()) | (sizes == sizes.max()))[:, None]
        else:
            low = np.where(running, log_n[:, None], np.inf).min(axis=0)
            high = np.where(running, log_n[:, None], -np.inf).max(axis=0)
            edge[members] = (log_n[members, None] == low) | (log_n[members, None] == high)
    return edge
