"""The results of the fits as lines of text for people.

Decisions
- Beside our exponents stands the row of Hoffmann et al. 2022, Table 2; its intervals hold 80 %, ours 95 %.
- Every warning is said in words, and every row left out is accounted for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minichin.fit.result import Fit, FitError, Interval, IsoflopFit, ParametricFit
from minichin.published import TABLE_2

TITLES = {1: "envelope of training curves", 2: "IsoFLOP valleys", 3: "parametric loss"}
CONSTANTS = ("E", "A", "B", "alpha", "beta")


def text_lines(
    fits: Mapping[int, Fit], errors: Mapping[int, FitError], dropped: Iterable[Mapping[str, object]]
) -> list[str]:
    """Exponents beside the paper's, optima, constants, warnings, and rows left out."""
    lines = [f"{'approach (95 % intervals)':31}{'a':25}{'b':25}{'a − b':27}the paper's a, b (80 %)"]
    for approach in sorted({*fits, *errors}):
        lines += _exponent_lines(approach, fits.get(approach), errors.get(approach))
    for fit in fits.values():
        if isinstance(fit, IsoflopFit):
            lines += _budget_lines(fit)
        if isinstance(fit, ParametricFit):
            lines += _constant_lines(fit)
    return lines + _warning_lines(fits) + _dropped_lines(dropped)


def _shown(value: float, interval: Interval | None, digits: int = 3) -> str:
    """A value with its interval."""
    if interval is None:
        return f"{value:.{digits}f} (no interval)"
    return f"{value:.{digits}f} ({interval[0]:.{digits}f}, {interval[1]:.{digits}f})"


def _exponent_lines(approach: int, fit: Fit | None, error: FitError | None) -> list[str]:
    """One approach's row of exponents."""
    title = f"{approach} {TITLES[approach]}"
    if fit is None:
        return [f"{title:31}could not be had: {error}"]
    paper = TABLE_2[approach - 1]
    cells = [_shown(getattr(fit, n), getattr(fit, f"{n}_interval")) for n in ("a", "b", "a_minus_b")]
    theirs = f"{paper.a:.2f} {paper.a_interval}, {paper.b:.2f} {paper.b_interval}"
    return [f"{title:31}{cells[0]:25}{cells[1]:25}{cells[2]:27}{theirs}"]


def _budget_lines(fit: IsoflopFit) -> list[str]:
    """Approach 2's optimum of each budget."""
    head = f"{'FLOPs':>10}{'params':>11}{'tokens':>11}{'tokens/param':>14}{'loss':>9}  bracketed"
    rows = [
        f"{v.flops:>10.3g}{v.params_opt:>11.3g}{v.tokens_opt:>11.3g}{v.tokens_per_param:>14.1f}"
        f"{v.loss_opt:>9.4f}  {f'by {v.bracket:.1f}×' if v.bracketed else 'no'}"
        for v in fit.valleys
    ]
    return ["", "optimum of each budget (approach 2)", head, *rows]


def _constant_lines(fit: ParametricFit) -> list[str]:
    """Approach 3's constants and certificate."""
    rows = []
    for name in CONSTANTS:
        value, interval = getattr(fit.surface, name), fit.intervals[name]
        span = f"({interval[0]:.5g}, {interval[1]:.5g})" if interval else "(no interval)"
        rows.append(f"{name:>6} {value:<11.5g}{span}")
    agree = (
        f"sum of Huber({fit.delta:g}) {fit.objective:.6g} over {len(fit.rows)} rows; "
        f"{fit.starts_at_best} of {fit.starts} starts ended there; scaled gradient {fit.gradient_norm:.1e}"
    )
    return ["", "L = E + A / N^alpha + B / D^beta (approach 3)", *rows, agree]


def _warning_lines(fits: Mapping[int, Fit]) -> list[str]:
    """Every warning by name, and every note in words."""
    lines = []
    for approach, fit in fits.items():
        if fit.warnings or fit.notes:
            names = f" ({', '.join(fit.warnings)})" if fit.warnings else ""
            lines.append(f"approach {approach}{names}: {'; '.join(fit.notes)}")
    return ["", *lines] if lines else []


def _dropped_lines(dropped: Iterable[Mapping[str, object]]) -> list[str]:
    """How many rows were left out, by reason."""
    reasons: dict[str, list[object]] = {}
    for entry in dropped:
        reasons.setdefault(str(entry["why"]), []).append(entry["row"])
    if not reasons:
        return []
    lines = [f"{len(rows)} left out: {why} (rows {_listed(rows)})" for why, rows in reasons.items()]
    return ["", *lines]


def _listed(rows: list[object]) -> str:
    """The first few row numbers."""
    return ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
