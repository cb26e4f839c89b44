"""All three approaches on one table: the object that `minichin fit --json` writes, and the table it prints.

Decisions
- An approach that cannot be had is reported in its place and does not stop the others; only where none can
  be had is `FitError` raised.
- The JSON object holds numbers, null, text and lists, never NaN or infinity: what has no value is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from minichin import published
from minichin.fit.envelope import fit_envelope
from minichin.fit.isoflop import fit_isoflop
from minichin.fit.parametric import NAMES, fit_parametric
from minichin.fit.read import read_any, read_table
from minichin.fit.result import Fit, FitError, Interval, IsoflopFit, ParametricFit
from minichin.fit.table import Table, as_frame, points
from minichin.fit.text import text_lines
from minichin.law import LossSurface, PowerLaw

__all__ = ["Report", "fit_report", "optimum", "read_any", "read_table"]


@dataclass(frozen=True)
class Report:
    """What `minichin fit` found: `fits` by approach, and `errors` of the approaches that could not be had."""

    rows: int
    dropped: tuple[Mapping[str, object], ...]
    convention: str
    fits: Mapping[int, Fit]
    errors: Mapping[int, FitError]
    table: pd.DataFrame
    curves: pd.DataFrame | None = None

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
                found[key] = _fit_json(self.fits[approach])
            else:
                error = self.errors[approach]
                found[key] = {"error": str(error), "warnings": list(error.warnings), "notes": []}
        return _clean(found)

    def text(self) -> str:
        """The same for people: exponents beside the paper's, optima, constants, and warnings in words."""
        head = f"{self.rows} rows; FLOPs and parameters counted by the convention {self.convention}"
        return "\n".join([head, "", *text_lines(self.fits, self.errors, self.dropped)])


def fit_report(
    table: Table,
    curves: Table | None = None,
    approaches: Iterable[int] = (1, 2, 3),
    *,
    convention: str = "full",
    bootstrap: int = 1000,
    seed: int = 0,
    delta: float = 1e-3,
    dropped: Iterable[Mapping[str, object]] = (),
) -> Report:
    """Fit `table` (one row a run; `curves` for approach 1, if any) by each of `approaches`.

    `dropped` lists rows that reading left out already.  ValueError for a bad table, FitError where no
    approach can be had.
    """
    wanted = sorted(set(approaches))
    if not wanted or not set(wanted) <= {1, 2, 3}:
        raise ValueError(f"approaches are 1, 2 and 3, got {wanted}")
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be 0 or more, got {bootstrap}")
    frame = as_frame(table)
    lost = tuple(dropped)
    common = points(frame, convention).dropped
    options: dict[str, Any] = {"convention": convention, "bootstrap": bootstrap, "seed": seed}
    fits: dict[int, Fit] = {}
    errors: dict[int, FitError] = {}
    for approach in wanted:
        try:
            if approach == 1:
                fits[1] = fit_envelope(frame if curves is None else curves, **options)
            elif approach == 2:
                fits[2] = fit_isoflop(frame, **options)
            else:
                fits[3] = fit_parametric(frame, delta=delta, **options)
        except FitError as error:
            errors[approach] = error
    if not fits:
        why = "; ".join(f"approach {i}: {error}" for i, error in errors.items())
        raise FitError(why, tuple(name for error in errors.values() for name in error.warnings))
    everything = lost + common + tuple(_own_dropped(fits, common, curves is not None))
    shown = as_frame(curves) if curves is not None else None
    return Report(len(frame) + len(lost), everything, convention, fits, errors, frame, shown)


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
    for approach, fit in fits.items():
        of = f"approach {approach}{', curves' if approach == 1 and curves else ''}"
        for entry in fit.dropped:
            if dict(entry) not in [dict(c) for c in common]:
                yield {"row": entry["row"], "why": f"{of}: {entry['why']}"}


def _fit_json(fit: Fit) -> dict[str, Any]:
    """One approach as the contract has it; `n_opt`, `d_opt` and `notes` besides."""
    found: dict[str, Any] = {}
    for name in ("a", "b", "a_minus_b"):
        found[name], found[f"{name}_interval"] = getattr(fit, name), _pair(getattr(fit, f"{name}_interval"))
    found["n_opt"] = {"coefficient": fit.n_opt.coefficient, "exponent": fit.n_opt.exponent}
    found["d_opt"] = {"coefficient": fit.d_opt.coefficient, "exponent": fit.d_opt.exponent}
    if isinstance(fit, IsoflopFit):
        found["budgets"] = [
            {
                "flops": v.flops,
                "params_opt": v.params_opt,
                "tokens_opt": v.tokens_opt,
                "loss": v.loss_opt,
                "bracketed": v.bracketed,
            }
            for v in fit.valleys
        ]
    if isinstance(fit, ParametricFit):
        found |= {name: getattr(fit.surface, name) for name in NAMES}
        found["intervals"] = {name: _pair(interval) for name, interval in fit.intervals.items()}
        for name in (
            "objective",
            "gradient_norm",
            "starts",
            "starts_at_best",
            "second_best_objective",
            "delta",
        ):
            found[name] = getattr(fit, name)
        found["rows_used"] = len(fit.rows)
    found["warnings"], found["notes"] = list(fit.warnings), list(fit.notes)
    return found


def _pair(interval: Interval | None) -> list[float] | None:
    """An interval as a list."""
    return None if interval is None else [float(interval[0]), float(interval[1])]


def _clean(value: Any) -> Any:
    """Plain Python types; None in place of what is no finite number."""
    if isinstance(value, dict):
        return {str(k): _clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item"):
        return _clean(value.item())
    return value if isinstance(value, int) or math.isfinite(value) else None
