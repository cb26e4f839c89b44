"""How the exponents of each approach move when one choice of the fit is made otherwise.

Decisions
- One choice is changed at a time, everything else stays as the user has it.  Point estimates only: whether a
  move matters is told by the interval of the fit as it stands.
- A choice that cannot be had on this table keeps its row, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pandas as pd

from minichin.fit.envelope import METHODS as ENVELOPES
from minichin.fit.envelope import fit_envelope
from minichin.fit.isoflop import fit_isoflop
from minichin.fit.methods import METHODS as VALLEYS
from minichin.fit.parametric import LOSSES, fit_parametric
from minichin.fit.result import Fit, FitError, IsoflopFit, ParametricFit

FITTERS: dict[int, Any] = {1: fit_envelope, 2: fit_isoflop, 3: fit_parametric}
NAMES = {
    "convention": "the counting convention",
    "method": "the method",
    "window": "the window",
    "correct": "correcting approach 2's bias",
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
    value: str | float | tuple[float, float] | None
    a: float | None
    b: float | None
    as_fitted: bool
    error: str = ""

    @property
    def shown(self) -> str:
        """The value as text; "off" for a filter or a correction that is not applied."""
        if self.value is None:
            return "off"
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        return ", ".join(v if isinstance(v, str) else f"{v:.3g}" for v in values)


def sensitivity(
    tables: Mapping[int, pd.DataFrame], settings: Mapping[int, Mapping[str, Any]], fits: Mapping[int, Fit]
) -> tuple[Choice, ...]:
    """Try every choice of each approach that was fitted, on its table, round its `settings`."""
    found = []
    for approach, fit in sorted(fits.items()):
        table, own = tables[approach], _complete(approach, settings[approach])
        for choice, value, changes in _choices(fit, table, own, fits.get(3)):
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
    given = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {name: value for name, value in {**given, **settings}.items() if name != "bootstrap"}


def _choices(
    fit: Fit, table: pd.DataFrame, own: Mapping[str, Any], third: Fit | None
) -> list[tuple[str, Any, dict[str, Any]]]:
    """Choice, value, and the keywords that it changes."""

    def of(choice: str, values: Sequence[Any]) -> list[tuple[str, Any, dict[str, Any]]]:
        return [(choice, value, {choice: value}) for value in values]

    kept = of("convention", _conventions(fit, table))
    if fit.approach == 1:
        kept += of("method", ENVELOPES)
    if isinstance(fit, IsoflopFit):
        shared = own["method"] == "shared"
        kept += [("method", name, _valley(name, own)) for name in VALLEYS]
        kept += of("window", (3.0, 5.0, 8.0)) if own["method"] in ("window", "cubic") else []
        if isinstance(third, ParametricFit) and not shared:
            exponents = own["correct"] or (third.surface.alpha, third.surface.beta)
            kept += of("correct", (None, exponents))
    if isinstance(fit, ParametricFit):
        if fit.loss == "huber":
            kept += of("delta", sorted({1e-4, 1e-3, 1e-2, fit.delta}))
        kept += of("loss", LOSSES)
        if len(fit.rows) < len(table) and {"steps", "budget"} <= set(table.columns):
            kept += [(name, None, {name: None}) for name in ("min_steps", "within")]
    return kept


def _valley(method: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of another method of approach 2; shared exponents take no correction."""
    return {"method": method, "correct": None if method == "shared" else own["correct"]}


def _conventions(fit: Fit, table: pd.DataFrame) -> list[str]:
    """Conventions that the columns tell apart; without `flops` the full count is 6ND."""
    names = ["full", "6ND"] if "flops" in table else [fit.convention if fit.convention == "6ND" else "full"]
    if "params_non_embedding" in table and table["params_non_embedding"].notna().all():
        names.append("6ND_non_embedding")
    return names
