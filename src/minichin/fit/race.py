"""The field of approach 1: every cell's loss along rising compute.

Decisions
- A cell is one (budget, size); its seeds are averaged on the grid, so that no size wins by having more
  draws.  Without budgets, runs of one size whose lengths agree within 0.1 % are one cell.
- A cell runs from the end of its first fifth (the warm-up) to its last evaluation, and is nowhere else.
- The grid has 1,500 counted FLOPs, evenly spaced in logarithms (Hoffmann et al. 2022, section 3.1), and
  begins where the cheapest run has 15 % to go.
- Only what runs is stored, cell after cell, not a table of cells by compute; and of that only what may
  lead: at each compute the `DEPTH` lowest cells, and the lowest of each budget.  A cell that twenty others
  beat leads a replicate that draws cells with a chance of e^−20, for all twenty must be undrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.fit.interpolate import Index, Layout, changes, lay_out, mean_curves, smoothed
from minichin.fit.table import BUDGET_SPAN, ROUNDING, Points, nearby
from minichin.law import Floats

GRID = 1500
LAST = 0.85
SAME_LENGTH = 1e-3
DEPTH = 20
BLOCK = 200_000


@dataclass(frozen=True)
class Race:
    """Cells at rising compute.  Entries are what runs: cell after cell, by rising column of the grid.

    `x` is ln of counted FLOPs at each column.  A cell's entries are begin[cell] … begin[cell + 1], at columns
    from first[cell] on; its runs, `seeds` of them, are the next of `run` (an index into the table's runs).
    `parts` holds the losses (seeds, entries) of a cell of several runs, whose mean is `loss`.
    `cells` counts also those that cannot lead and are not here.
    """

    cells: int
    x: Floats
    log_n: Floats
    seeds: Index
    budget: Index
    name: NDArray[np.object_]
    first: Index
    run: Index
    begin: Index
    loss: Floats
    log_d: Floats
    log_c: Floats
    fraction: Floats
    edge: NDArray[np.bool_]
    parts: Mapping[int, Floats]

    @property
    def cell(self) -> Index:
        """The cell of each entry."""
        return np.repeat(np.arange(self.seeds.size), np.diff(self.begin))

    @property
    def column(self) -> Index:
        """The column of each entry."""
        return np.arange(self.loss.size) + np.repeat(self.first - self.begin[:-1], np.diff(self.begin))


def find_runs(data: Points) -> tuple[bool, Index]:
    """Whether runs have curves (three evaluations or more), and the index of each run's last row."""
    codes = pd.factorize(data.run)[0]
    order = np.lexsort((data.log_d, codes))
    last = np.append(changes(codes[order])[1:], order.size) - 1
    curves = bool(np.median(np.diff(last, prepend=-1)) >= 3)
    return curves, np.sort(order[last]) if curves else np.arange(len(data))


def race_of_curves(data: Points, full: Floats, ends: Index, skip: float, smooth: float) -> Race:
    """Interpolate every cell's mean curve on a grid of `full`, ln FLOPs; `ends` are the runs' last rows."""
    grid = np.linspace(full[ends].min() + np.log(LAST), full[ends].max(), GRID)
    runs = pd.factorize(data.run)[0]
    length = np.empty(ends.size)
    length[runs[ends]] = full[ends]
    cells = data.cells if data.budget_given else pairs(nearby(length[runs], SAME_LENGTH), data.log_n)
    at = lay_out(cells, runs, data.log_d, full, grid, skip)
    loss = data.loss.copy()
    loss[at.order] = smoothed(data.loss[at.order], at.start, smooth)
    rows, place = at.last[at.first[:-1]], np.searchsorted(ends, at.last)
    log_n, budget = data.log_n[rows], np.unique(data.budget[rows], return_inverse=True)[1]
    name, (edge, enough) = data.run[rows].astype(object), outermost(log_n, budget)
    enough &= data.budget_given
    least, most = _outermost_running(log_n, at, grid.size)
    found = []
    for i, j in pairwise(_blocks(at)):
        curve = mean_curves(at, i, j, full, (loss, data.log_d, data.log_c), grid)
        race = Race(
            log_n.size, grid, log_n[i:j], at.seeds[i:j], budget[i:j], name[i:j], at.low[i:j],
            place[at.first[i] : at.first[j]], np.append(0, np.cumsum(at.length[i:j])), curve.loss,
            curve.log_d, curve.log_c, curve.fraction, np.empty(0, dtype=bool), curve.parts,
        )  # fmt: skip
        cell, column, n = race.cell, race.column, log_n[i:j][race.cell]
        alone = (n == least[column]) | (n == most[column])
        found.append(front(replace(race, edge=np.where(enough[i:j][cell], edge[i:j][cell], alone))))
    return front(_joined(found)) if len(found) > 1 else found[0]


def race_of_finals(data: Points, full: Floats, budgets: bool) -> Race:
    """A column a budget; where these are no `budgets`, one a FLOP count, or `GRID` ranges of them."""
    if budgets:
        levels, label = np.unique(np.log(data.budget), return_inverse=True)
        x, cells = levels, data.cells
    else:
        x, label = np.unique(full, return_inverse=True)
        if x.size > GRID:
            x = np.linspace(x[0], x[-1], GRID)
            label = np.searchsorted(x, full)
        cells = pairs(nearby(full, ROUNDING), data.log_n)
    order = np.argsort(cells, kind="stable")
    starts = changes(cells[order])
    seeds = np.diff(np.append(starts, order.size))
    log_n, log_d, log_c, loss = (
        np.add.reduceat(v[order], starts) / seeds for v in (data.log_n, data.log_d, data.log_c, data.loss)
    )
    rows = order[starts]
    many = np.flatnonzero(seeds > 1)
    parts = {int(i): data.loss[order[starts[i] : starts[i] + seeds[i]], None] for i in many}
    budget = np.unique(data.budget[rows], return_inverse=True)[1]
    edge = outermost(log_n, budget if budgets else np.zeros_like(budget))[0]
    return front(Race(
        seeds.size, x, log_n, seeds, budget, data.run[rows].astype(object), label[rows], order,
        np.arange(seeds.size + 1), loss, log_d, log_c, np.ones(seeds.size), edge, parts,
    ))  # fmt: skip


def front(race: Race) -> Race:
    """Leave only what may lead: of each column the `DEPTH` lowest cells, and the lowest of each budget."""
    if race.seeds.size <= DEPTH:
        return race
    column, budget = race.column, race.budget[race.cell]
    order = np.lexsort((race.loss, column))
    rank = np.arange(order.size) - np.searchsorted(column[order], column[order])
    wanted = np.zeros(order.size, dtype=bool)
    wanted[order[rank < DEPTH]] = True
    order = np.lexsort((race.loss, budget, column))
    wanted[order[changes(column[order], budget[order])]] = True
    return _cut(race, wanted)


def _cut(race: Race, wanted: NDArray[np.bool_]) -> Race:
    """Cut each cell to the stretch that holds its `wanted` entries; without any, it leaves the race."""
    entry, cell = np.flatnonzero(wanted), race.cell
    kept, start = np.unique(cell[entry], return_index=True)
    low, high = entry[start], entry[np.append(start[1:], entry.size) - 1] + 1
    begin = np.append(0, np.cumsum(high - low))
    take = np.arange(begin[-1]) + np.repeat(low - begin[:-1], high - low)
    stays = np.zeros(race.seeds.size, dtype=bool)
    stays[kept] = True
    cells: dict[str, Any] = {n: getattr(race, n)[kept] for n in ("log_n", "seeds", "budget", "name")}
    entries: dict[str, Any] = {
        n: getattr(race, n)[take] for n in ("loss", "log_d", "log_c", "fraction", "edge")
    }
    parts = {
        i: race.parts[c][:, low[i] - race.begin[c] : high[i] - race.begin[c]]
        for i, c in enumerate(kept.tolist() if race.parts else [])
        if c in race.parts
    }
    return replace(
        race,
        **cells,
        first=race.first[kept] + low - race.begin[kept],
        run=race.run[np.repeat(stays, race.seeds)],
        begin=begin,
        **entries,
        parts=parts,
    )


def _joined(races: Sequence[Race]) -> Race:
    """One race of cells that stand in several, on the same grid."""
    names = ("log_n", "seeds", "budget", "name", "first", "run", "loss", "log_d", "log_c", "fraction", "edge")
    before = np.append(0, np.cumsum([r.seeds.size for r in races]))
    lengths = np.concatenate([np.diff(r.begin) for r in races])
    merged: dict[str, Any] = {n: np.concatenate([getattr(r, n) for r in races]) for n in names}
    return replace(
        races[0],
        **merged,
        begin=np.append(0, np.cumsum(lengths)),
        parts={c + int(b): p for r, b in zip(races, before, strict=False) for c, p in r.parts.items()},
    )


def _blocks(at: Layout) -> list[int]:
    """Where to cut the cells into blocks of about `BLOCK` entries each, with both ends."""
    block = np.cumsum(at.length * at.seeds) // BLOCK
    return [*changes(block).tolist(), block.size]


def pairs(label: Index, log_n: Floats) -> Index:
    """Number the pairs of a label and a size."""
    size = nearby(log_n, ROUNDING)
    return np.unique(label * (size.max() + 1) + size, return_inverse=True)[1].reshape(-1)


def outermost(log_n: Floats, group: Index) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each cell is the smallest or largest of its group, and whether that has three cells or more."""
    low, high = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
    np.minimum.at(low, group, log_n)
    np.maximum.at(high, group, log_n)
    return (log_n == low[group]) | (log_n == high[group]), np.bincount(group)[group] >= 3


def _outermost_running(log_n: Floats, at: Layout, columns: int) -> tuple[Floats, Floats]:
    """The smallest and the largest size that run at each column."""
    least, most = np.empty(columns), np.empty(columns)
    for cell in np.argsort(log_n):
        most[at.low[cell] : at.high[cell]] = log_n[cell]
    for cell in np.argsort(-log_n):
        least[at.low[cell] : at.high[cell]] = log_n[cell]
    return least, most


def iso_budgets(data: Points) -> NDArray[np.bool_]:
    """Rows of budgets with three sizes or more, as `budget_groups` finds them; fast where there is none."""
    order = np.lexsort((data.log_n, data.budget))
    size, budget = data.log_n[order], data.budget[order]
    starts = changes(budget)
    new = np.append(False, (np.diff(size) != 0) & (np.diff(budget) == 0))
    good = np.add.reduceat(new.astype(np.int64), starts) >= 2
    if not data.budget_given:
        c = data.log_c[order]
        span = np.maximum.reduceat(c, starts) - np.minimum.reduceat(c, starts)
        good &= span <= np.log(BUDGET_SPAN)
    inside = np.empty(order.size, dtype=bool)
    inside[order] = np.repeat(good, np.diff(np.append(starts, order.size)))
    return inside
