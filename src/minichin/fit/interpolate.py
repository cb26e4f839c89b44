"""Training curves on one grid of compute, for approach 1.

Decisions
- Held-out losses are interpolated by straight lines in ln FLOPs, as are ln tokens and ln FLOPs of the
  convention.  Smoothing, where asked for, is a Gaussian window over a run's evaluations, cut at both ends.
- A run's last evaluation stands at the first grid point that is not cheaper, as it was measured: neither
  the end of a run nor a run of one evaluation falls between grid points.
- The seeds of a cell are averaged where all of them run.
- All runs of a block are interpolated at once: the evaluations that bracket a grid point are found by
  counting, not by a search for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from minichin.law import Floats

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Evaluations in order of cell, run and tokens.

    `order` are the rows; run r holds order[start[r] : start[r + 1]], cell i the runs first[i] … first[i + 1],
    and all of them run at the columns low[i] … high[i] of the grid.
    """

    order: Index
    start: Index
    first: Index
    low: Index
    high: Index

    @property
    def seeds(self) -> Index:
        """How many runs each cell has."""
        return np.diff(self.first)

    @property
    def length(self) -> Index:
        """At how many columns each cell runs."""
        return self.high - self.low

    @property
    def last(self) -> Index:
        """The last row of each run."""
        return self.order[self.start[1:] - 1]


@dataclass(frozen=True)
class Stretch:
    """Mean curves of some cells, one after another; `parts` are the seeds' losses where there are several."""

    loss: Floats
    log_d: Floats
    log_c: Floats
    fraction: Floats
    parts: dict[int, Floats]


def changes(*keys: Floats | Index) -> Index:
    """Where sorted arrays begin a new value."""
    differs = np.zeros(keys[0].size - 1, dtype=bool)
    for key in keys:
        differs |= key[1:] != key[:-1]
    return np.concatenate([[0], np.flatnonzero(differs) + 1])


def lay_out(cells: Index, runs: Index, log_d: Floats, x: Floats, grid: Floats, skip: float) -> Layout:
    """Sort evaluations by cell, run and tokens, and find where each cell runs; x is ln FLOPs of each.

    A run counts from where it has spent the part `skip` of its FLOPs.  ValueError where one is in two cells.
    """
    order = np.lexsort((log_d, runs, cells))
    start = changes(cells[order], runs[order])
    if start.size > runs.max() + 1:
        raise ValueError("a run changes its params or budget on the way: give each run its own name")
    first = np.searchsorted(start, changes(cells[order]))
    stop = np.append(start[1:], order.size)
    begins, ends = x[order[start]], x[order[stop - 1]]
    if skip:
        begins = np.maximum(begins, ends + np.log(skip))
    low = np.maximum.reduceat(np.searchsorted(grid, begins, "left"), first)
    high = np.minimum.reduceat(np.searchsorted(grid, ends, "left") + 1, first)
    return Layout(
        order, np.append(start, order.size), np.append(first, start.size), low, np.maximum(high, low)
    )


def mean_curves(at: Layout, i: int, j: int, x: Floats, values: tuple[Floats, ...], grid: Floats) -> Stretch:
    """Cells i … j at the grid's columns; `values` are loss, ln tokens and ln FLOPs of each row."""
    runs, length, seeds = slice(at.first[i], at.first[j]), at.length[i:j], at.seeds[i:j]
    knot, share = _brackets(at, runs, np.repeat(at.low[i:j], seeds), np.repeat(at.high[i:j], seeds), x, grid)
    after = np.minimum(knot + 1, at.order.size - 1)
    left, right = at.order[knot], at.order[after]
    loss, log_d, log_c = (v[left] + share * (v[right] - v[left]) for v in values)
    run_begin = np.concatenate([[0], np.cumsum(np.repeat(length, seeds))])
    begin = np.concatenate([[0], np.cumsum(length)])
    first = at.first[i:j] - at.first[i]
    take = np.arange(begin[-1]) + np.repeat(run_begin[first] - begin[:-1], length)
    mean = loss[take]
    parts = {}
    for cell in np.flatnonzero((seeds > 1) & (length > 0)):
        each = loss[run_begin[first[cell]] : run_begin[first[cell] + seeds[cell]]].reshape(seeds[cell], -1)
        parts[int(cell)], mean[begin[cell] : begin[cell + 1]] = each, each.mean(axis=0)
    ends = np.repeat(values[1][at.last[at.first[i:j]]], length)
    return Stretch(mean, log_d[take], log_c[take], np.exp(log_d[take] - ends), parts)


def _brackets(
    at: Layout, runs: slice, low: Index, high: Index, x: Floats, grid: Floats
) -> tuple[Index, Floats]:
    """The evaluation (place in `order`) before each column low … high of each run, and how far on that lies.

    Evaluation k brackets the columns from its own to that of evaluation k + 1, the last one a single column.
    """
    begin, end = at.start[runs.start], at.start[runs.stop]
    count = np.diff(at.start[runs.start : runs.stop + 1])
    here = x[at.order[begin:end]]
    lower = np.searchsorted(grid, here, "left")
    final = np.cumsum(count) - 1
    upper, step = np.append(lower[1:], 0), np.append(np.diff(here), np.inf)
    upper[final], step[final] = lower[final] + 1, np.inf
    low, high = np.repeat(low, count), np.repeat(high, count)
    lower, upper = np.clip(lower, low, high), np.clip(upper, low, high)
    width = upper - lower
    place = np.repeat(np.arange(width.size), width)
    column = np.arange(place.size) + np.repeat(lower - (np.cumsum(width) - width), width)
    return begin + place, (grid[column] - here[place]) / step[place]


def smoothed(loss: Floats, start: Index, width: float) -> Floats:
    """Gaussian window of standard deviation `width` over each run's evaluations, cut at both ends."""
    if width == 0:
        return loss
    found = []
    for begin, end in pairwise(start.tolist()):
        reach = min(int(np.ceil(5 * width)), end - begin - 1)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
        inside = slice(reach, reach + end - begin)
        one = np.convolve(loss[begin:end], kernel)[inside]
        found.append(one / np.convolve(np.ones(end - begin), kernel)[inside])
    return np.concatenate(found)
