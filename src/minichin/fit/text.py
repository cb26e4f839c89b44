"""A report as lines of text for people: one screen, 110 columns.

Decisions
- Below our exponents stands the row of Hoffmann et al. 2022, Table 2; its intervals hold 80 %, ours 95 %.
- Every warning is said in words, and every row left out is accounted for: by reason, with the first row
  numbers, so that a table of a million rows still fits the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from minichin.fit.choices import Choice
from minichin.fit.identify import Identifiability, Profile
from minichin.fit.layout import constant, count, decimal, listed, shown, wrapped
from minichin.fit.predict import Budget, Prediction
from minichin.fit.result import Fit, FitError, IsoflopFit, ParametricFit
from minichin.published import TABLE_2

if TYPE_CHECKING:
    from minichin.fit.report import Report

TITLES = {1: "envelope of training curves", 2: "IsoFLOP valleys", 3: "parametric loss"}
MOST_BUDGETS = 12


def report_lines(report: Report) -> list[str]:
    """Exponents beside the paper's, optima, constants, predictions, what moves a, warnings, rows left out."""
    fits = report.fits
    lines = [
        f"{report.rows:,} rows; parameters and FLOPs counted by the convention {report.convention}",
        "",
        f"{'(95 % intervals; the paper 80 %)':34}{'a':25}{'b':25}a − b",
    ]
    for approach in sorted({*fits, *report.errors}):
        lines += _exponent_lines(approach, fits.get(approach), report.errors.get(approach))
    lines += _interval_lines(fits) + _setting_lines(report.settings)
    for fit in fits.values():
        if isinstance(fit, IsoflopFit):
            lines += _budget_lines(fit)
        if isinstance(fit, ParametricFit):
            lines += _constant_lines(fit, report.why.held, report.profile)
    lines += _prediction_lines(report.budgets)
    lines += _choice_lines(report.why.choices)
    lines += ["", *(line for sentence in report.why.summary for line in wrapped(sentence))]
    return lines + _warning_lines(fits) + _dropped_lines(report.dropped)


def _exponent_lines(approach: int, fit: Fit | None, error: FitError | None) -> list[str]:
    """One approach's exponents, and the paper's."""
    title = f"{approach} {TITLES[approach]}"
    if fit is None:
        return wrapped(f"{title:34}could not be had: {error}", " " * 34)
    cells = [shown(getattr(fit, n), getattr(fit, f"{n}_interval"), decimal) for n in ("a", "b", "a_minus_b")]
    paper = TABLE_2[approach - 1]
    theirs = f"{paper.a:.2f} {paper.a_interval}", f"{paper.b:.2f} {paper.b_interval}"
    return [
        f"{title:34}{cells[0]:25}{cells[1]:25}{cells[2]}",
        f"{'    Hoffmann et al. 2022, Table 2':34}{theirs[0]:25}{theirs[1]}",
    ]


def _interval_lines(fits: Mapping[int, Fit]) -> list[str]:
    """What the replicates redraw, and how intervals are read off."""
    known = [fit for fit in fits.values() if len(fit.replicates)]
    if not known:
        return []
    redrawn = ", ".join(f"{f.resample} (approach {f.approach})" for f in known)
    kinds = ", ".join(dict.fromkeys(f.interval_kind for f in known))
    return wrapped(f"bootstrap replicates redraw {redrawn}; intervals are {kinds}")


def _setting_lines(settings: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """What was chosen otherwise than by default."""
    said = []
    for approach, own in settings.items():
        if own.get("method", "window") not in ("envelope", "window"):
            said.append(f"approach {approach} by {own['method']}")
        if own.get("correct"):
            said.append("approach 2 corrected with the exponents of approach 3")
        if own.get("loss", "huber") != "huber":
            said.append(f"approach 3 by {own['loss']}")
    return wrapped("; ".join(said))


def _budget_lines(fit: IsoflopFit) -> list[str]:
    """Approach 2's optimum of each budget."""
    head = f"{'budget':>10}{'FLOPs':>10}{'params':>10}{'tokens':>10}{'tokens/param':>14}{'loss':>9}"
    rows = [
        f"{v.budget:>10.3g}{v.flops:>10.3g}{count(v.params_opt):>10}{count(v.tokens_opt):>10}"
        f"{v.tokens_per_param:>14.3g}{v.loss_opt:>9.4f}  {f'by {v.bracket:.1f}×' if v.bracketed else 'no'}"
        f"{'' if v.used else '; not in the power law'}"
        for v in fit.valleys
    ]
    if len(rows) > MOST_BUDGETS:
        half = MOST_BUDGETS // 2
        rows = [*rows[:half], f"{'…':>10} {len(rows) - 2 * half} budgets more", *rows[-half:]]
    return ["", "optimum of each budget (approach 2)", f"{head}  minimum bracketed", *rows]


def _constant_lines(fit: ParametricFit, held: Identifiability | None, profile: Profile | None) -> list[str]:
    """Approach 3's constants, its certificate in words, and how firmly the design holds them."""
    cells = {
        name: f"{name} {shown(getattr(fit.surface, name), span, constant)}"
        for name, span in fit.intervals.items()
    }
    lines = [
        "",
        "L = E + A / N^alpha + B / D^beta, nats a token (approach 3)",
        f"  {cells['E']:34}{cells['alpha']:34}{cells['beta']}",
        f"  {cells['A']:34}{cells['B']}",
    ]
    said = [_certificate(fit), _held(held) if held else "", _profiled(profile) if profile else ""]
    return lines + [line for text in said if text for line in wrapped(f"  {text}", "  ")]


def _certificate(fit: ParametricFit) -> str:
    """Whether this is a minimum, how many starts found it, and how far the next one is."""
    text = (
        f"certificate: {_objective(fit)} of log loss over {len(fit.rows):,} rows is "
        f"{fit.objective:.6g}; {fit.starts_at_best} of {fit.starts} starts ended there"
    )
    second = fit.second_best_objective
    if second is not None and fit.objective > 0 and second < 100 * fit.objective:
        text += f", the best of the others {second / fit.objective - 1:.2g} of it higher"
    elif second is not None:
        text += f", the best of the others at {second:.3g}"
    vanishes = fit.gradient_norm <= 1e-6
    return text + (
        f"; the gradient {'vanishes' if vanishes else 'does NOT vanish'} there "
        f"({fit.gradient_norm:.0e} of its largest possible size)"
    )


def _objective(fit: ParametricFit) -> str:
    """What approach 3 made least."""
    return {
        "huber": f"the sum of Huber({fit.delta:g})",
        "squares": "half the sum of squared residuals",
        "absolute": "the sum of absolute residuals",
    }[fit.loss]


def _profiled(profile: Profile) -> str:
    """The profile in words."""
    said = []
    if profile.minima:
        best, *others = profile.minima
        count_of = f"{len(profile.minima)} local {'minimum' if len(profile.minima) == 1 else 'minima'}"
        said.append(f"{count_of} over alpha and beta")
        if others:
            alpha, beta, second = others[0]
            said.append(
                f"the second at {alpha:.3f} and {beta:.3f}, objective {second:.4g} (first {best[2]:.4g})"
            )
    if profile.a_interval:
        low, high = profile.a_interval
        said.append(f"95 % profile-likelihood interval of a by 6ND ({decimal(low)}, {decimal(high)})")
    return "profile: " + "; ".join([*said, *([profile.error] if profile.error else [])])


def _held(held: Identifiability) -> str:
    """Identifiability in words."""
    text = (
        f"identifiability: 1 − R² of ln tokens on ln params {held.one_minus_r2:.2g}, "
        f"condition of the design {held.condition:.3g}"
    )
    if held.alpha_beta_correlation is not None:
        text += f", correlation of alpha and beta over replicates {held.alpha_beta_correlation:.2f}".replace(
            "-", "−"
        )
    return text


def _prediction_lines(budgets: Iterable[Budget]) -> list[str]:
    """What each approach says of larger budgets, and where their intervals do not touch."""
    lines = ["", "compute-optimal at other budgets; 95 % percentiles of the replicates, if the law goes on"]
    lines.append(f"{'FLOPs':>10}{'/ largest':>11}    {'params':23}{'tokens':23}{'tokens/param':21}loss")
    for budget in budgets:
        place = f"{budget.flops:>10.3g}{f'{budget.beyond:.3g}×':>11}"
        for approach, prediction in budget.predictions.items():
            lines.append(f"{place}  {approach} {_prediction_cells(prediction)}")
            place = " " * 21
        lines += [f"{place}  {approach} {error}" for approach, error in budget.errors.items()]
    return lines + [line for budget in budgets for line in _apart_lines(budget)]


def _apart_lines(budget: Budget) -> list[str]:
    """Which approaches disagree at this budget by more than their intervals."""
    pairs: dict[tuple[int, int], list[str]] = {}
    for name, i, j in budget.disagree:
        pairs.setdefault((i, j), []).append(name.replace("_per_param", "/param"))
    said = "; ".join(f"{i} and {j} in {', '.join(names)}" for (i, j), names in pairs.items())
    return wrapped(f"at {budget.flops:.3g} FLOPs intervals do not touch: {said}", "  ") if said else []


def _prediction_cells(found: Prediction) -> str:
    """Parameters, tokens, tokens a parameter and loss of one approach at one budget."""
    params = shown(found.params, found.params_interval, count)
    tokens = shown(found.tokens, found.tokens_interval, count)
    ratio = shown(found.tokens_per_param, found.tokens_per_param_interval, count)
    loss = "" if found.loss is None else shown(found.loss, found.loss_interval, decimal)
    return f"{params:22} {tokens:22} {ratio:20} {loss}".rstrip()


def _choice_lines(choices: Sequence[Choice]) -> list[str]:
    """How a moves with each choice, one line an approach and a choice."""
    if not choices:
        return []
    lines = ["", "a by each choice, one changed at a time (* as fitted; approach, choice, value: a)"]
    for (approach, name), group in groupby(choices, key=lambda c: (c.approach, c.choice)):
        cells = []
        for choice in group:
            a = "none" if choice.a is None else decimal(choice.a)
            cells.append(f"{choice.shown}{'*' if choice.as_fitted else ''} {a}")
        lines += wrapped(f"  {approach} {name:12}" + "   ".join(cells), " " * 16)
    return lines


def _warning_lines(fits: Mapping[int, Fit]) -> list[str]:
    """Every warning by name, and every note in words."""
    lines = []
    for approach, fit in fits.items():
        if fit.warnings or fit.notes:
            names = f" ({', '.join(fit.warnings)})" if fit.warnings else ""
            lines += wrapped(f"approach {approach}{names}: {'; '.join(fit.notes)}", "  ")
    return ["", *lines] if lines else []


def _dropped_lines(dropped: Iterable[Mapping[str, object]]) -> list[str]:
    """How many rows were left out, by reason."""
    reasons: dict[str, list[object]] = {}
    for entry in dropped:
        reasons.setdefault(str(entry["why"]), []).append(entry["row"])
    lines = [
        line
        for why, rows in reasons.items()
        for line in wrapped(f"{len(rows):,} left out: {why} (rows {listed(rows)})", "  ")
    ]
    return ["", *lines] if lines else []
