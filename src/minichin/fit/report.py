"""All three approaches on one table: fits, predictions and what moves the answer, as one report.

Decisions
- An approach that cannot be had is reported in its place and does not stop the others; only where none can
  be had is `FitError` raised.
- Every approach is called with its own defaults but for what the caller names.
- Approach 2 is corrected with the exponents of approach 3 on the same table, fitted even where it is not
  asked for; where it cannot be had, neither can the corrected approach 2.
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
from minichin.fit import explain, identify
from minichin.fit.choices import FITTERS
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

    `settings` are the keywords of each approach, `bootstrap` and `seed` included.
    `budgets` are the predictions; `why` explains how the approaches differ; `profile` is that of approach 3,
    if asked for.
    """

    rows: int
    dropped: tuple[Mapping[str, object], ...]
    convention: str
    settings: Mapping[int, Mapping[str, Any]]
    fits: Mapping[int, Fit]
    errors: Mapping[int, FitError]
    table: pd.DataFrame
    curves: pd.DataFrame | None
    budgets: tuple[Budget, ...]
    why: explain.Explained
    profile: identify.Profile | None

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
        found["sensitivity"] = [asdict(choice) for choice in self.why.choices]
        found["identifiability"] = asdict(self.why.held) if self.why.held else None
        found["profile"] = asdict(self.profile) if self.profile else None
        found["settings"] = {f"approach{i}": dict(own) for i, own in self.settings.items()}
        found["agreement"] = agreement_json(self.why.pairs, self.convention, self.why.summary)
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
    resample: str | None = None,
    interval: str = "percentile",
    hull: bool = False,
    method: str = "window",
    correct: bool = False,
    delta: float = 1e-3,
    loss: str = "huber",
    profile: bool = False,
    predict: Iterable[float] = (),
    dropped: Iterable[Mapping[str, object]] = (),
) -> Report:
    """Fit `table` (one row a run; `curves` for approach 1, if any) by each of `approaches`.

    `resample` (by default each approach's own) and `interval` are those of `bootstrap`; `hull` is approach
    1's, `method` approach 2's, `delta` and `loss` approach 3's.  `correct` takes approach 2's bias out,
    `profile` adds approach 3's profile.  `predict` lists FLOPs to predict at, beside 10 and 100 times the
    table's largest; `dropped` rows that reading left out already.
    ValueError for a bad table or option, FitError where no approach can be had.
    """
    wanted = sorted(set(approaches))
    if not wanted or not set(wanted) <= {1, 2, 3}:
        raise ValueError(f"approaches are 1, 2 and 3, got {wanted}")
    for name, value in (("bootstrap", bootstrap), ("seed", seed)):
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
    targets = check_targets(predict)
    common = {"convention": convention, "bootstrap": bootstrap, "seed": seed, "interval": interval}
    common |= {"resample": resample} if resample else {}
    settings: dict[int, dict[str, Any]] = {
        1: {**common, "method": "hull" if hull else "envelope"},
        2: {**common, "method": method},
        3: {**common, "delta": delta, "loss": loss},
    }
    frame, lost = as_frame(table), tuple(dropped)
    data = points(frame, convention)
    shown = as_frame(curves) if curves is not None else None
    tables = {1: frame if shown is None else shown, 2: frame, 3: frame}
    fits, errors = _fit_all(wanted, tables, settings, correct)
    return Report(
        rows=len(frame) + len(lost),
        dropped=lost + data.dropped + tuple(_own_dropped(fits, data.dropped, shown is not None)),
        convention=convention,
        settings={i: settings[i] for i in wanted},
        fits=fits,
        errors=errors,
        table=frame,
        curves=shown,
        budgets=predict_budgets(fits, float(np.exp(data.log_c.max())), targets),
        why=explain.explained(tables, settings, fits),
        profile=identify.profiled(frame, settings[3]) if profile and 3 in wanted else None,
    )


def _fit_all(
    wanted: Iterable[int],
    tables: Mapping[int, pd.DataFrame],
    settings: dict[int, dict[str, Any]],
    correct: bool,
) -> tuple[dict[int, Fit], dict[int, FitError]]:
    """Each approach's fit, or why it could not be had; FitError where none could.  Adds `correct` to
    `settings`."""
    fits: dict[int, Fit] = {}
    errors: dict[int, FitError] = {}
    for approach in sorted(wanted, reverse=correct):
        try:
            if approach == 2 and correct:
                settings[2]["correct"] = _exponents(tables[3], settings[3], fits.get(3), errors.get(3))
            fits[approach] = FITTERS[approach](tables[approach], **settings[approach])
        except FitError as error:
            errors[approach] = error
    if not fits:
        said = {i: str(error) for i, error in sorted(errors.items())}
        why = "; ".join(t if t.startswith(f"approach {i}") else f"approach {i}: {t}" for i, t in said.items())
        raise FitError(why, tuple(name for error in errors.values() for name in error.warnings))
    return dict(sorted(fits.items())), errors


def _exponents(
    table: pd.DataFrame, settings: Mapping[str, Any], third: Fit | None, error: FitError | None
) -> tuple[float, float]:
    """alpha and beta of approach 3 for correcting approach 2; FitError where it cannot be had."""
    try:
        if error is not None:
            raise error
        fit = third or FITTERS[3](table, **{**settings, "bootstrap": 0})
        assert isinstance(fit, ParametricFit)
    except FitError as why:
        raise FitError(f"no exponents to correct with, as approach 3 fails: {why}", why.warnings) from None
    return fit.surface.alpha, fit.surface.beta


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
