"""Why the approaches differ on this table: how a moves with each choice, and what holds approach 3 in place.

Decisions
- One choice is changed at a time, everything else stays as the user has it.  Point estimates only: whether a
  move matters is told by the interval of the fit as it stands.
- A choice that cannot be had on this table keeps its row, with the reason.
- Above 20,000 rows the choices are not tried, and that is said.
- Identifiability of approach 3: 1 − R² of ln D on ln N (0: tokens follow from parameters), the condition of
  the design (ratio of the extreme singular values of d ln L / d (ln E, ln A, ln B, alpha, beta), logarithms
  centred and columns of unit length), the correlation of alpha and beta over replicates, and the share of the
  starts that ended in the best minimum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from minichin.fit.envelope import fit_envelope
from minichin.fit.isoflop import fit_isoflop
from minichin.fit.parametric import fit_parametric
from minichin.fit.predict import touch
from minichin.fit.result import Fit, FitError, ParametricFit
from minichin.fit.table import points

MOST_ROWS = 20_000
FITTERS: dict[int, Any] = {1: fit_envelope, 2: fit_isoflop, 3: fit_parametric}
NAMES = {
    "convention": "the counting convention",
    "method": "the method",
    "window": "the window",
    "delta": "the Huber threshold",
    "loss": "the loss function",
    "min_steps": "leaving out short runs",
    "within": "leaving out runs far from the optimum",
}


@dataclass(frozen=True)
class Choice:
    """The exponents of one approach when `choice` is `value`; `error` where they could not be had.

    `as_fitted` marks the choice of the report itself.
    """

    approach: int
    choice: str
    value: str | float | None
    a: float | None
    b: float | None
    as_fitted: bool
    error: str = ""

    @property
    def shown(self) -> str:
        """The value as text; "off" for a filter that is not applied."""
        if self.value is None:
            return "off"
        return f"{self.value:g}" if isinstance(self.value, float) else self.value


@dataclass(frozen=True)
class Identifiability:
    """What tells the five parameters of approach 3 apart; see the decisions above."""

    one_minus_r2: float
    condition: float
    alpha_beta_correlation: float | None
    starts_agreeing: float


@dataclass(frozen=True)
class Agreement:
    """Two approaches: the difference of their a (second − first), and whether the 95 % intervals touch."""

    first: int
    second: int
    a_difference: float
    overlap: bool | None


def sensitivity(
    tables: Mapping[int, pd.DataFrame], settings: Mapping[int, Mapping[str, Any]], fits: Mapping[int, Fit]
) -> tuple[Choice, ...]:
    """Try every choice of each approach that was fitted, on its table, round its `settings`."""
    found = []
    for approach, fit in sorted(fits.items()):
        table, own = tables[approach], _complete(approach, settings[approach])
        for choice, value, changes in _choices(fit, table):
            changed = {**own, **changes}
            if changed == own:
                found.append(Choice(approach, choice, value, fit.a, fit.b, True))
                continue
            try:
                other = FITTERS[approach](table, bootstrap=0, **changed)
                found.append(Choice(approach, choice, value, other.a, other.b, False))
            except FitError as error:
                found.append(Choice(approach, choice, value, None, None, False, str(error)))
    return tuple(found)


def _complete(approach: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the fitter's own defaults in the places of those not given."""
    parameters = signature(FITTERS[approach]).parameters.values()
    given = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "bootstrap"}
    return {**given, **settings}


def _choices(fit: Fit, table: pd.DataFrame) -> list[tuple[str, str | float | None, dict[str, Any]]]:
    """Choice, value, and the keywords that it changes."""
    kept: list[tuple[str, str | float | None, dict[str, Any]]] = [
        ("convention", name, {"convention": name}) for name in _conventions(fit, table)
    ]
    if fit.approach == 2:
        kept += [("window", size, {"window": size}) for size in (3.0, 5.0, 8.0)]
    if isinstance(fit, ParametricFit):
        kept += [("delta", delta, {"delta": delta}) for delta in sorted({1e-4, 1e-3, 1e-2, fit.delta})]
        if len(fit.rows) < len(table) and {"steps", "budget"} <= set(table.columns):
            kept += [(name, None, {name: None}) for name in ("min_steps", "within")]
    return kept


def _conventions(fit: Fit, table: pd.DataFrame) -> list[str]:
    """Conventions that the columns tell apart; without `flops` the full count is 6ND."""
    names = ["full", "6ND"] if "flops" in table else [fit.convention if fit.convention == "6ND" else "full"]
    if "params_non_embedding" in table and table["params_non_embedding"].notna().all():
        names.append("6ND_non_embedding")
    return names


def identifiability(fit: ParametricFit, table: pd.DataFrame) -> Identifiability:
    """How firmly the rows that approach 3 used hold its parameters."""
    data = points(table, fit.convention)
    data = data.take(np.isin(data.row, fit.rows))
    x, y = data.log_n - data.log_n.mean(), data.log_d - data.log_d.mean()
    model = np.exp(np.log(fit.surface.A) - fit.surface.alpha * data.log_n)
    tokens = np.exp(np.log(fit.surface.B) - fit.surface.beta * data.log_d)
    design = np.stack([np.full_like(x, fit.surface.E), model, tokens, -model * x, -tokens * y])
    design = design / (fit.surface.E + model + tokens)
    length = np.sqrt((design**2).sum(axis=1, keepdims=True))
    design = design / np.where(length > 0, length, 1.0)
    values = np.linalg.svd(design, compute_uv=False)
    alpha, beta = fit.surface_replicates[:, 3], fit.surface_replicates[:, 4]
    varied = len(alpha) >= 20 and np.ptp(alpha) > 0 and np.ptp(beta) > 0
    return Identifiability(
        max(0.0, 1.0 - float((x * y).sum()) ** 2 / float((x * x).sum() * (y * y).sum())),
        float(values[0] / max(values[-1], 1e-16)),
        float(np.corrcoef(alpha, beta)[0, 1]) if varied else None,
        fit.starts_at_best / fit.starts,
    )


def agreements(fits: Mapping[int, Fit]) -> tuple[Agreement, ...]:
    """Every pair of approaches."""
    return tuple(
        Agreement(i, j, fits[j].a - fits[i].a, touch(fits[i].a_interval, fits[j].a_interval))
        for i, j in combinations(sorted(fits), 2)
    )


def summary(
    choices: Sequence[Choice], pairs: Sequence[Agreement], fits: Mapping[int, Fit], rows: int
) -> list[str]:
    """Two or three plain sentences: what moves a most, and whether the approaches agree."""
    said = [_largest_move(choices, fits)] if choices else []
    if rows > MOST_ROWS:
        said = [f"Other choices were not tried on {rows:,} rows (more than {MOST_ROWS:,})."]
    return [sentence for sentence in (*said, _overlaps(pairs, fits)) if sentence]


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
