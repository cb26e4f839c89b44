"""The race of approach 1 run: as measured, with new noise, or redrawn; and the lines through its winners.

Decisions
- Nothing is refitted from the table: a replicate moves, weighs or leaves out curves that lie on the grid
  already, a cell at a time and all replicates of a chunk at once.
- A cell's curve in a redraw is the mean of its runs' curves, weighted by how often each was drawn; a cell
  drawn never does not race.  What counts as an outermost size is read off the whole design: a redraw does
  not forget what was sampled.
- How many of the draws fall on units that may lead is binomial; the others need not be drawn.
- A jackknife over more than 500 units leaves out every 500th unit at once: BCa needs its skewness only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from minichin.fit.bootstrap import Noise
from minichin.fit.hull import hull_vertices
from minichin.fit.interpolate import Index
from minichin.fit.race import Race
from minichin.law import Floats

CHUNK = 128
MOST_UNITS = 500
LEAST_VARIANCE = 1e-9
Losses = Callable[[int], Floats]
Heats = Iterator[tuple[Losses, int]]


def as_measured(race: Race) -> Heats:
    """The race as it was run: the losses of each cell, (entries, 1), and 1."""

    def losses(cell: int) -> Floats:
        return race.loss[race.begin[cell] : race.begin[cell + 1], None]

    yield losses, 1


def noisy(race: Race, noise: Noise, rng: np.random.Generator, count: int) -> Heats:
    """`count` replicates in chunks: every cell's curve moved as a whole by new noise."""
    for begin in range(0, count, CHUNK):
        scale = noise.spread(rng, min(CHUNK, count - begin))
        yield _shifted(race, noise.draw(rng, race.seeds, scale).T.copy()), len(scale)


def redrawn(race: Race, labels: Index, units: int, rng: np.random.Generator, count: int) -> Heats:
    """`count` replicates in chunks: `units` units drawn with replacement; `labels` name those of the runs."""
    touched, code = np.unique(labels, return_inverse=True)
    for begin in range(0, count, CHUNK):
        drawn = rng.binomial(units, touched.size / units, min(CHUNK, count - begin))
        replicate = np.repeat(np.arange(drawn.size), drawn)
        place = rng.integers(0, touched.size, replicate.size) * drawn.size + replicate
        often = np.bincount(place, minlength=touched.size * drawn.size).reshape(touched.size, drawn.size)
        yield weighted(race, often[code]), drawn.size


def left_out(race: Race, labels: Index, units: int) -> Heats:
    """The jackknife: one replicate for each unit, without it."""
    labels, units = labels % MOST_UNITS, min(units, MOST_UNITS)
    for part in np.array_split(np.arange(units), range(CHUNK, units, CHUNK)):
        yield weighted(race, (labels[:, None] != part).astype(np.int64)), part.size


def _shifted(race: Race, shift: Floats) -> Losses:
    """Losses of cells that moved by `shift` (cells, replicates)."""

    def losses(cell: int) -> Floats:
        return race.loss[race.begin[cell] : race.begin[cell + 1], None] + shift[cell]

    return losses


def weighted(race: Race, weights: Index) -> Losses:
    """Losses of cells whose runs weigh `weights` (runs, replicates); ∞ where none was drawn."""
    ends = np.append(0, np.cumsum(race.seeds))

    def losses(cell: int) -> Floats:
        weight = weights[ends[cell] : ends[cell + 1]]
        total = weight.sum(axis=0) if len(weight) > 1 else weight[0]
        if cell in race.parts:
            loss = race.parts[cell].T @ weight / np.maximum(total, 1)
        else:
            loss = race.loss[race.begin[cell] : race.begin[cell + 1], None]
        return loss + np.where(total > 0, 0.0, np.inf)

    return losses


def _compete(race: Race, losses: Losses, replicates: int) -> tuple[Floats, Index]:
    """Best loss and the entry that has it, (columns, replicates); `losses` gives a cell's (entries, reps)."""
    best = np.full((race.x.size, replicates), np.inf)
    who = np.zeros(best.shape, dtype=np.int64)
    for cell, (begin, end) in enumerate(pairwise(race.begin.tolist())):
        first = race.first[cell]
        place = slice(first, first + end - begin)
        loss = losses(cell)
        better = loss < best[place]
        np.copyto(best[place], loss, where=better)
        np.copyto(who[place], np.arange(begin, end)[:, None], where=better)
    return best, who


def leaders(race: Race, losses: Losses, count: int, hull: bool) -> tuple[Floats, Index, NDArray[np.bool_]]:
    """Best loss, its entry, and whether it is on the envelope (or a vertex of the hull): (columns, count).

    The hull's first point is there for being the cheapest whatever its loss, so it counts only if its run
    is complete.  Of vertices in a row of one cell the last counts: they err alike.
    """
    best, who = _compete(race, losses, count)
    if not hull:
        return best, who, np.isfinite(best) & (best <= np.minimum.accumulate(best, axis=0))
    on = hull_vertices(race.x, best)
    first = np.isfinite(best).argmax(axis=0), np.arange(count)
    on[first] &= race.fraction[who[first]] == 1
    replicate, column = np.nonzero(on.T)
    cell = race.cell[who[column, replicate]]
    again = np.flatnonzero((np.diff(cell) == 0) & (np.diff(replicate) == 0))
    on[column[again], replicate[again]] = False
    return best, who, on


def exponents(race: Race, heats: Heats, hull: bool) -> Floats:
    """Least-squares lines of the winners' ln N and ln D against their ln C, a row a replicate.

    Columns ln k_N, a, ln k_D, b; NaN where the winners do not span any compute.
    """
    center = np.array([v.mean() for v in (race.log_c, race.log_n, race.log_d)])
    x, n, d = race.log_c - center[0], race.log_n[race.cell] - center[1], race.log_d - center[2]
    features = np.ones(x.size), x, n, d, x * x, x * n, x * d
    rows = []
    for losses, count in heats:
        _, who, on = leaders(race, losses, count, hull)
        used = on & ~race.edge[who]
        replicate, entry = np.broadcast_to(np.arange(count), who.shape)[used], who[used]
        number, *sums = (np.bincount(replicate, f[entry], count) for f in features)
        mean_x, mean_n, mean_d, xx, xn, xd = (s / np.maximum(number, 1) for s in sums)
        variance = xx - mean_x**2
        variance = np.where(variance > LEAST_VARIANCE, variance, np.nan)
        a, b = (xn - mean_x * mean_n) / variance, (xd - mean_x * mean_d) / variance
        mean_x += center[0]
        rows.append(np.column_stack([mean_n + center[1] - a * mean_x, a, mean_d + center[2] - b * mean_x, b]))
    return np.concatenate(rows)
