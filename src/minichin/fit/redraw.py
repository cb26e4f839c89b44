"""What a bootstrap replicate, or a jackknife, of approach 2 sees: losses and weights of every cell.

Decisions
- Under `noise` the cells stay and their mean losses get new noise on top of what was observed.  To a
  polynomial whose window stays put that is the very same as noise on top of the fitted curve, since least
  squares sees nothing of its own residuals; and cells outside of the window have no fitted value.
- Under `rows`, `seeds` and `budgets` a cell's mean and its count of seeds are weighted by how often its rows
  were drawn; drawn never, the cell is not there.  Under `budgets` the line through the optima is weighted.
- A jackknife over more than 500 units leaves out every 500th unit at once: BCa needs its skewness only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from minichin.fit.bootstrap import Noise, draw_weights, unit_labels
from minichin.fit.table import Points
from minichin.fit.valley import Group
from minichin.law import Floats

MOST_UNITS = 500
BLOCK = 4_000_000


@dataclass(frozen=True)
class Draws:
    """Per budget the losses and weights (replicates, cells), and how often each budget was drawn.

    `weights` are None where every cell counts by its seeds.
    """

    losses: list[Floats]
    weights: list[Floats | None]
    budgets: Floats


def observed(groups: Sequence[Group]) -> Draws:
    """The table itself, as the one replicate of a point fit."""
    return Draws([g.loss[None, :] for g in groups], [None] * len(groups), np.ones((1, len(groups))))


def draw(
    data: Points,
    groups: Sequence[Group],
    resample: str,
    noise: Noise | None,
    rng: np.random.Generator,
    count: int,
) -> Draws:
    """`count` replicates: cells get new `noise`, or rows, cells or budgets are drawn with replacement."""
    if resample == "noise" and noise:
        scale = noise.spread(rng, count)
        losses = [g.loss + noise.draw(rng, g.seeds, scale) for g in groups]
        return Draws(losses, [None] * len(groups), np.ones((count, len(groups))))
    labels = unit_labels(data, resample)
    step = max(1, BLOCK // len(data))
    sizes = [min(step, count - start) for start in range(0, count, step)]
    return _weigh(data, groups, resample, lambda: (draw_weights(rng, labels, size) for size in sizes))


def leave_out(data: Points, groups: Sequence[Group], resample: str) -> Draws:
    """One replicate a unit of the scheme, without it; under `noise` the units are cells."""
    labels = unit_labels(data, resample) % MOST_UNITS
    units = np.arange(labels.max() + 1)
    step = max(1, BLOCK // len(data))
    blocks = [units[start : start + step] for start in range(0, units.size, step)]
    return _weigh(
        data,
        groups,
        resample,
        lambda: ((labels != block[:, None]).astype(np.float64) for block in blocks),
    )


def _weigh(
    data: Points, groups: Sequence[Group], resample: str, blocks: Callable[[], Iterator[Floats]]
) -> Draws:
    """Weighted mean and count of every cell, from blocks of weights (replicates, rows)."""
    losses: list[list[Floats]] = [[] for _ in groups]
    weights: list[list[Floats]] = [[] for _ in groups]
    budgets = []
    for block in blocks():
        for i, group in enumerate(groups):
            drawn = block[:, group.rows]
            weight = np.add.reduceat(drawn, group.starts, axis=1)
            total = np.add.reduceat(drawn * data.loss[group.rows], group.starts, axis=1)
            losses[i].append(np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), group.loss))
            weights[i].append(weight)
        first = np.array([group.rows[0] for group in groups])
        budgets.append(block[:, first] if resample == "budgets" else np.ones((len(block), len(groups))))
    drawn_weights: list[Floats | None] = [np.concatenate(parts) for parts in weights]
    return Draws([np.concatenate(parts) for parts in losses], drawn_weights, np.concatenate(budgets))
