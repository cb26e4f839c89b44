"""All three approaches on one table: fits, predictions and what moves the answer, as one report.

Decisions
- An approach that cannot be had is reported in its place and does not stop the others; only where none can
  be had is `FitError` raised.
- Every approach is called with its own defaults but for what the caller names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minichin import published
from minichin.fit import explain
from minichin.fit.parametric import NAMES
from minichin.fit.predict import Budget, check_targets, predict_budgets
from minichin.fit.read import read_any, read_table
from minichin.fit.result import Fit, FitError, ParametricFit
from minichin.fit.table import Table, as_frame, points
from minichin.fit.text import report_lines
from minichin.fit.to_json import agreement_json, clean, fit_json, predictions_json
from minichin.law import LossSurface, PowerLaw

__all__ = ["Report", "fit_report", "optimum", "read_any", "read_table"]


@dataclass(frozen=True)
class Report:
    """What `minichin fit` found: `fits` by approach, and `errors` of the approaches that could not be had.

    `budgets` are the predictions; `choices`, `pairs`, `held` (approach 3's identifiability) and `summary`
    explain how the approaches differ.
    """

    rows: int
    dropped: tuple[Mapping[str, object], ...]
    convention: str
    fits: Mapping[int, Fit]
    errors: Mapping[int, FitError]
    table: pd.DataFrame
    curves: pd.DataFrame | None
    budgets: tuple[Budget, ...]
    choices: tuple[explain.Choice, ...]
    pairs: tuple[explain.Agreement, ...]
    held: explain.Identifiability | None
    summary: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of the design's contract; plain numbers, lists, text and None."""
        found: dict[str, Any] = {
            "rows": self.rows,
            "dropped": [dict(d) for d in self.dropped],
            "convention": self.convention,
        }
        for approach in sorted({*self.fits, *self.errors}):
            key = f"approach{approach}"
            if approach in self.fits:
                found[key] = fit_json(self.fits[approach])
            else:
                error = self.errors[approach]
                found[key] = {"error": str(error), "warnings": list(error.warnings), "notes": []}
        found["predictions"] = predictions_json(self.budgets)
        found["sensitivity"] = [asdict(choice) for choice in self.choices]
        found["identifiability"] = asdict(self.held) if self.held else None
        found["agreement"] = agreement_json(self.pairs, self.convention, self.summary)
        return clean(found)

    def text(self) -> str:
        """The same for people, in lines of at most 110 characters."""
        return "\n".join(report_lines(self))


def fit_report(
    table: Table,
    curves: Table | None = None,
    approaches: Iterable[int] = (1, 2, 3),
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    predict: Iterable[float] = (),
    dropped: Iterable[Mapping[str, object]] = (),
) -> Report:
    """Fit `table` (one row a run; `curves` for approach 1, if any) by each of `approaches`.

    `predict` lists FLOPs to predict at, beside 10 and 100 times the table's largest; `dropped` rows that
    reading left out already.  ValueError for a bad table, FitError where no approach can be had.
    """
    wanted = sorted(set(approaches))
    if not wanted or not set(wanted) <= {1, 2, 3}:
        raise ValueError(f"approaches are 1, 2 and 3, got {wanted}")
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be 0 or more, got {bootstrap}")
    targets = check_targets(predict)
    frame = as_frame(table)
    lost = tuple(dropped)
    data = points(frame, convention)
    shown = as_frame(curves) if curves is not None else None
    tables = {1: frame if shown is None else shown, 2: frame, 3: frame}
    settings: dict[int, dict[str, Any]] = {i: {"convention": convention} for i in (1, 2, 3)}
    settings[3] |= {"delta": delta}
    fits, errors = _fit_all(wanted, tables, settings, {"bootstrap": bootstrap, "seed": seed})
    budgets = predict_budgets(fits, float(np.exp(data.log_c.max())), targets)
    few = len(frame) <= explain.MOST_ROWS
    choices = explain.sensitivity(tables, settings, fits) if few else ()
    pairs = explain.agreements(fits)
    third = fits.get(3)
    return Report(
        len(frame) + len(lost),
        lost + data.dropped + tuple(_own_dropped(fits, data.dropped, shown is not None)),
        convention,
        fits,
        errors,
        frame,
        shown,
        budgets,
        choices,
        pairs,
        explain.identifiability(third, frame) if isinstance(third, ParametricFit) else None,
        tuple(explain.summary(choices, pairs, fits, len(frame))),
    )


def _fit_all(
    wanted: Iterable[int],
    tables: Mapping[int, pd.DataFrame],
    settings: Mapping[int, Mapping[str, Any]],
    options: Mapping[str, Any],
) -> tuple[dict[int, Fit], dict[int, FitError]]:
    """Each approach's fit, or why it could not be had; FitError where none could."""
    fits: dict[int, Fit] = {}
    errors: dict[int, FitError] = {}
    for approach in wanted:
        try:
            fits[approach] = explain.FITTERS[approach](tables[approach], **settings[approach], **options)
        except FitError as error:
            errors[approach] = error
    if not fits:
        why = "; ".join(f"approach {i}: {error}" for i, error in errors.items())
        raise FitError(why, tuple(name for error in errors.values() for name in error.warnings))
    return fits, errors


def optimum(flops: float, law: str = "chinchilla") -> dict[str, Any]:
    """Compute-optimal params, tokens and loss by a published law, or by a file of `minichin fit --json`."""
    if not (math.isfinite(flops) and flops > 0):
        raise ValueError(f"flops must be a positive number, got {flops}")
    if law in published.LAWS:
        best = published.LAWS[law].surface.optimum(flops)
        params, tokens, loss = float(best.params), float(best.tokens), float(best.loss)
        convention = "6ND"
    else:
        n_opt, d_opt, surface, convention = _law_from_file(law)
        params, tokens = float(n_opt(flops)), float(d_opt(flops))
        loss = float(surface.value(params, tokens)) if surface else None  # type: ignore[assignment]
    return {
        "flops": float(flops),
        "law": law,
        "convention": convention,
        "params": params,
        "tokens": tokens,
        "tokens_per_param": tokens / params,
        "loss": loss,
    }


def _law_from_file(path: str) -> tuple[PowerLaw, PowerLaw, LossSurface | None, str]:
    """N_opt, D_opt and (from approach 3) the surface of a fit's JSON; approach 3 first, then 2, then 1."""
    if not Path(path).is_file():
        raise ValueError(
            f"no law {path!r}: there are {', '.join(published.LAWS)}, or a file of minichin fit --json"
        )
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        for key in ("approach3", "approach2", "approach1"):
            fit = found.get(key, {})
            surface = LossSurface(*(float(fit[name]) for name in NAMES)) if "E" in fit else None
            if "n_opt" in fit:
                n_opt, d_opt = PowerLaw(**fit["n_opt"]), PowerLaw(**fit["d_opt"])
                return n_opt, d_opt, surface, str(found.get("convention", "6ND"))
            if surface:
                return *surface.power_laws(), surface, "6ND"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not an object of minichin fit --json: {error}") from error
    raise ValueError(f"{path} holds no fit: none of its approaches succeeded")


def _own_dropped(
    fits: Mapping[int, Fit], common: tuple[Mapping[str, object], ...], curves: bool
) -> Iterable[dict[str, object]]:
    """What single approaches left out, beyond what all of them did."""
    told = {(entry["row"], entry["why"]) for entry in common}
    for approach, fit in fits.items():
        of = f"approach {approach}{', curves' if approach == 1 and curves else ''}"
        for entry in fit.dropped:
            if (entry["row"], entry["why"]) not in told:
                yield {"row": entry["row"], "why": f"{of}: {entry['why']}"}
