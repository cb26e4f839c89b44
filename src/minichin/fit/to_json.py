"""A report as the plain object that `minichin fit --json` writes.

Decisions
- The object holds numbers, null, text and lists, never NaN or infinity: what has no value is null.
- Keys of the design's contract stay; others stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from minichin.fit.explain import Agreement
from minichin.fit.parametric import NAMES
from minichin.fit.predict import Budget
from minichin.fit.result import Fit, Interval, IsoflopFit, ParametricFit

CERTIFICATE = ("objective", "gradient_norm", "starts", "starts_at_best", "second_best_objective", "delta")


def fit_json(fit: Fit) -> dict[str, Any]:
    """One approach as the contract has it; power laws, `resample`, `interval_kind` and `notes` besides."""
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
                "budget": v.budget,
                "used": v.used,
                "params_opt_interval": _pair(v.params_opt_interval),
                "tokens_opt_interval": _pair(v.tokens_opt_interval),
            }
            for v in fit.valleys
        ]
    if isinstance(fit, ParametricFit):
        found |= {name: getattr(fit.surface, name) for name in NAMES}
        found["intervals"] = {name: _pair(interval) for name, interval in fit.intervals.items()}
        found |= {name: getattr(fit, name) for name in CERTIFICATE}
        found |= {"loss": fit.loss, "rows_used": len(fit.rows)}
    found["resample"], found["interval_kind"] = fit.resample, fit.interval_kind
    found["warnings"], found["notes"] = list(fit.warnings), list(fit.notes)
    return found


def predictions_json(budgets: Iterable[Budget]) -> list[dict[str, Any]]:
    """One object a budget, with one a approach; `disagree` lists quantities whose intervals do not touch."""
    found = []
    for budget in budgets:
        entry: dict[str, Any] = {"flops": budget.flops, "beyond": budget.beyond}
        entry |= {f"approach{i}": asdict(prediction) for i, prediction in budget.predictions.items()}
        entry |= {f"approach{i}": {"error": error} for i, error in budget.errors.items()}
        entry["disagree"] = [{"quantity": name, "approaches": [i, j]} for name, i, j in budget.disagree]
        found.append(entry)
    return found


def agreement_json(pairs: Iterable[Agreement], convention: str, summary: Iterable[str]) -> dict[str, Any]:
    """Pairs of approaches, and the sentences of the text."""
    return {
        "convention": convention,
        "pairs": [
            {"approaches": [p.first, p.second], "a_difference": p.a_difference, "overlap": p.overlap}
            for p in pairs
        ],
        "summary": list(summary),
    }


def _pair(interval: Interval | None) -> list[float] | None:
    """An interval as a list."""
    return None if interval is None else [float(interval[0]), float(interval[1])]


def clean(value: Any) -> Any:
    """Plain Python types; None in place of what is no finite number."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if hasattr(value, "item"):
        return clean(value.item())
    return value if isinstance(value, int) or math.isfinite(value) else None
