"""Why the approaches differ on this table, in sentences made from what was computed.

Decisions
- Above 20,000 rows other choices are not tried, and that is said.
- Where two approaches disagree, the choice is named that brings them nearest; a convention changes in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pandas as pd

from minichin.fit.choices import NAMES, Choice, sensitivity
from minichin.fit.identify import MOST_ROWS, WEAK, Identifiability, identifiability
from minichin.fit.predict import touch
from minichin.fit.result import Fit, ParametricFit


@dataclass(frozen=True)
class Agreement:
    """Two approaches: the difference of their a (second − first), and whether the 95 % intervals touch."""

    first: int
    second: int
    a_difference: float
    overlap: bool | None


@dataclass(frozen=True)
class Explained:
    """Every choice tried, every pair of approaches, what holds approach 3, and all of it in sentences."""

    choices: tuple[Choice, ...]
    pairs: tuple[Agreement, ...]
    held: Identifiability | None
    summary: tuple[str, ...]


def explained(
    tables: Mapping[int, pd.DataFrame], settings: Mapping[int, Mapping[str, Any]], fits: Mapping[int, Fit]
) -> Explained:
    """Why the `fits`, made of `tables` by `settings`, differ."""
    rows, third = len(tables[3]), fits.get(3)
    choices = sensitivity(tables, settings, fits) if rows <= MOST_ROWS else ()
    held = identifiability(third, tables[3]) if isinstance(third, ParametricFit) else None
    pairs = agreements(fits)
    return Explained(choices, pairs, held, tuple(summary(choices, pairs, fits, rows, held)))


def agreements(fits: Mapping[int, Fit]) -> tuple[Agreement, ...]:
    """Every pair of approaches."""
    return tuple(
        Agreement(i, j, fits[j].a - fits[i].a, touch(fits[i].a_interval, fits[j].a_interval))
        for i, j in combinations(sorted(fits), 2)
    )


def summary(
    choices: Sequence[Choice],
    pairs: Sequence[Agreement],
    fits: Mapping[int, Fit],
    rows: int,
    held: Identifiability | None = None,
) -> list[str]:
    """Plain sentences: what moves a most, whether the approaches agree, and what would bring them nearer."""
    said = [_largest_move(choices, fits)] if choices else []
    if rows > MOST_ROWS:
        said = [f"Other choices were not tried on {rows:,} rows (more than {MOST_ROWS:,})."]
    said.append(_overlaps(pairs, fits))
    apart = [pair for pair in pairs if pair.overlap is False]
    said += [_nearest(pair, choices, fits) for pair in apart] + [_doubtful(apart, fits)]
    if held and held.one_minus_r2 < WEAK:
        said.append(
            "In this table tokens nearly follow from parameters "
            f"(1 − R² = {held.one_minus_r2:.2g}), so that it holds alpha and beta of approach 3 weakly."
        )
    return [sentence for sentence in said if sentence]


def _nearest(pair: Agreement, choices: Sequence[Choice], fits: Mapping[int, Fit]) -> str:
    """The one choice that brings the a of two approaches nearest to each other."""
    at = {(c.approach, c.choice, c.shown): c.a for c in choices if c.a is not None}
    found = []
    for (approach, choice, shown), a in at.items():
        if approach not in (pair.first, pair.second):
            continue
        other = pair.second if approach == pair.first else pair.first
        theirs = at.get((other, choice, shown)) if choice == "convention" else fits[other].a
        if theirs is not None:
            both = choice == "convention"
            found.append(
                (abs(theirs - a), f"{choice} {shown} in {'both' if both else f'approach {approach}'}")
            )
    gap = abs(pair.a_difference)
    if not found or min(found)[0] > 0.9 * gap:
        return ""
    return (
        f"Approaches {pair.first} and {pair.second} differ in a by {gap:.3f}; of these choices "
        f"{min(found)[1]} brings them nearest ({min(found)[0]:.3f})."
    )


def _doubtful(apart: Sequence[Agreement], fits: Mapping[int, Fit]) -> str:
    """Which of the approaches that disagree come with warnings."""
    those = sorted({approach for pair in apart for approach in (pair.first, pair.second)})
    said = [f"{i} ({', '.join(fits[i].warnings)})" for i in those if fits[i].warnings]
    return (
        f"Of those that disagree, warnings are on approach{'es' if len(said) > 1 else ''} {'; '.join(said)}."
        if said
        else ""
    )


def _largest_move(choices: Sequence[Choice], fits: Mapping[int, Fit]) -> str:
    """The choice that moves a most, against the interval of the fit that it moves."""
    moved = [(abs(c.a - fits[c.approach].a), c) for c in choices if c.a is not None and not c.as_fitted]
    if not moved:
        return ""
    most, choice = max(moved, key=lambda pair: pair[0])
    if most < 5e-4:
        return "None of these choices moves a by as much as 0.0005."
    fit = fits[choice.approach]
    text = (
        f"Of these choices {NAMES[choice.choice]} moves a most: approach {choice.approach} gives "
        f"{fit.a:.3f} as fitted and {choice.a:.3f} with {choice.choice} {choice.shown}"
    )
    if fit.a_interval is None or choice.a is None:
        return text + "."
    inside = fit.a_interval[0] <= choice.a <= fit.a_interval[1]
    return text + (", inside its 95 % interval." if inside else ", outside of its 95 % interval.")


def _overlaps(pairs: Sequence[Agreement], fits: Mapping[int, Fit]) -> str:
    """Which pairs of 95 % intervals of a touch."""
    if not pairs:
        return ""
    groups = {
        verdict: [f"{p.first} and {p.second}" for p in pairs if p.overlap is verdict]
        for verdict in (True, False, None)
    }
    convention = next(iter(fits.values())).convention
    if len(groups[True]) == len(pairs):
        return f"Counting by {convention}, the 95 % intervals of a overlap for every pair of approaches."
    parts = []
    if groups[True]:
        parts.append(f"overlap for approaches {', '.join(groups[True])}")
    if groups[False]:
        parts.append(f"do not overlap for approaches {', '.join(groups[False])}")
    if groups[None]:
        parts.append(f"cannot be compared for approaches {', '.join(groups[None])}, as one is missing")
    return f"Counting by {convention}, the 95 % intervals of a {'; they '.join(parts)}."
