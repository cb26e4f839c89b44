"""The table of choices against the fits themselves; approach 3's identifiability against plain algebra."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from minichin.fit import explain, fit_envelope, fit_isoflop, fit_parametric
from minichin.fit.choices import Choice
from minichin.fit.identify import identifiability
from minichin.fit.report import fit_report
from tests.planted import curves, grid, surface, sweep


def tiny(noise: float = 0.01) -> pd.DataFrame:
    """A sweep with all columns that choices depend on: embeddings, a full count above 6ND, and steps."""
    table = sweep(surface(0.4, 0.3), noise=noise, seeds=2)
    table["params_non_embedding"] = 0.7 * table["params"] ** 1.02
    table["flops"] *= 1 + (table["params"] / 1e4) ** -0.4
    table["steps"] = table["tokens"] / 256
    return table


def test_every_row_is_the_fit_it_names() -> None:
    """A row's a and b are those of the fit with that one choice changed; the marked ones are the report's."""
    table = tiny()
    report = fit_report(table, bootstrap=0)
    fitters = {1: fit_envelope, 2: fit_isoflop, 3: fit_parametric}
    seen = set()
    for row in report.why.choices:
        again = fitters[row.approach](table, bootstrap=0, **{row.choice: row.value})  # type: ignore[operator]
        assert (row.a, row.b) == pytest.approx((again.a, again.b), rel=1e-6)
        if row.as_fitted:
            assert (row.a, row.b) == (report.fits[row.approach].a, report.fits[row.approach].b)
            seen.add((row.approach, row.choice))
    wanted = {(1, "convention"), (2, "convention"), (2, "window"), (3, "convention"), (3, "delta")}
    wanted |= {(1, "method"), (2, "method"), (2, "correct"), (3, "loss")}
    assert seen >= wanted
    values = [row.value for row in report.why.choices if (row.approach, row.choice) == (3, "convention")]
    assert values == ["full", "6ND", "6ND_non_embedding"]
    assert {row.choice for row in report.why.choices if row.approach == 3} >= {"min_steps"}


def test_conventions_that_the_columns_do_not_tell_apart_are_not_shown() -> None:
    """Without FLOPs or embeddings in the table there is one way to count."""
    report = fit_report(grid(surface()), approaches=(3,), bootstrap=0)
    assert [r.value for r in report.why.choices if r.choice == "convention"] == ["full"]


def test_the_largest_move_is_named() -> None:
    """The sentence names the choice with the largest move of a, and which approaches overlap."""
    report = fit_report(tiny(), approaches=(2,), bootstrap=60)
    moves = {(c.choice, c.shown): abs(c.a - report.fits[2].a) for c in report.why.choices if c.a is not None}
    choice, shown = max(moves, key=lambda key: moves[key])
    assert f"with {choice} {shown}" in report.why.summary[0]
    assert len(report.why.summary) == 1
    flat = fit_report(grid(surface()), approaches=(3,), bootstrap=0)
    assert flat.why.summary == ("None of these choices moves a by as much as 0.0005.",)


def test_overlap_is_said_pair_by_pair() -> None:
    """Pairs that touch and pairs that do not are named with the convention; a missing interval is said."""
    law = surface(0.4, 0.3)
    one, other = (
        fit_isoflop(sweep(law, noise=1e-4), bootstrap=60),
        fit_isoflop(sweep(surface(0.3, 0.4), noise=1e-4), bootstrap=60),
    )
    pairs = explain.agreements({1: one, 2: one, 3: other})
    assert [(p.first, p.second, p.overlap) for p in pairs] == [(1, 2, True), (1, 3, False), (2, 3, False)]
    said = explain.summary((), pairs, {1: one, 2: one, 3: other}, 10)[0]
    assert "by full" in said
    assert "overlap for approaches 1 and 2; they do not overlap for approaches 1 and 3, 2 and 3" in said
    bare = fit_isoflop(sweep(law), bootstrap=0)
    pairs = explain.agreements({2: bare, 3: other})
    assert "one is missing" in explain.summary((), pairs, {2: bare, 3: other}, 10)[0]


def test_the_choice_that_brings_two_approaches_nearest_is_named() -> None:
    """Of approaches that disagree, the least gap that one choice leaves is told, with their warnings."""
    law = surface(0.4, 0.3)
    fits = {
        2: fit_isoflop(sweep(law, noise=1e-4), bootstrap=60),
        3: fit_parametric(sweep(surface(0.3, 0.4), noise=1e-4), bootstrap=60),
    }
    a, theirs = fits[2].a, fits[3].a
    choices = (
        Choice(2, "convention", "full", a, 1 - a, True),
        Choice(2, "convention", "6ND", theirs - 0.04, 0.5, False),
        Choice(3, "convention", "full", theirs, 1 - theirs, True),
        Choice(3, "convention", "6ND", theirs + 0.04, 0.5, False),
        Choice(2, "window", 3.0, theirs - 0.01, 0.5, False),
        Choice(3, "delta", 0.01, None, None, False, "cannot be had"),
    )
    said = explain.summary(choices, explain.agreements(fits), fits, 10)[2]
    gap = f"differ in a by {abs(a - theirs):.3f}"
    assert gap in said
    assert "window 3 in approach 2 brings them nearest (0.010)" in said
    both = explain.summary(choices[:4], explain.agreements(fits), fits, 10)[2]
    assert "convention 6ND in both brings them nearest (0.080)" in both
    unhelpful = (*choices[:1], *choices[2:3])
    assert not any("nearest" in t for t in explain.summary(unhelpful, explain.agreements(fits), fits, 10))
    doubtful = {**fits, 2: replace(fits[2], warnings=("too_few_budgets",))}
    last = explain.summary(choices, explain.agreements(doubtful), doubtful, 10)[-1]
    assert last == "Of those that disagree, warnings are on approach 2 (too_few_budgets)."


def test_a_weak_design_is_said() -> None:
    """Where tokens nearly follow from parameters, a sentence says that approach 3 is held weakly."""
    law = surface(0.4, 0.3)
    n = np.repeat(np.geomspace(1e5, 1e8, 12), 3)
    d = 20 * n * np.tile([0.7, 1.0, 1.4], 12)
    weak = fit_report({"params": n, "tokens": d, "loss": law.value(n, d)}, approaches=(3,), bootstrap=0)
    assert weak.why.held is not None
    assert any(f"1 − R² = {weak.why.held.one_minus_r2:.2g}" in said for said in weak.why.summary)
    firm = fit_report(grid(law), approaches=(3,), bootstrap=0)
    assert not any("1 − R²" in said for said in firm.why.summary)


def test_large_tables_skip_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit nothing is tried, and the report says so."""
    monkeypatch.setattr(explain, "MOST_ROWS", 30)
    report = fit_report(tiny(), approaches=(2,), bootstrap=0)
    assert report.why.choices == ()
    assert "not tried on 56 rows (more than 30)" in report.text()


def test_a_choice_that_cannot_be_had_keeps_its_row() -> None:
    """Where one way of counting makes a fit impossible, the row holds the reason instead of numbers."""
    table = grid(surface()).assign(flops=lambda t: 6 * t["params"] * t["tokens"])
    table["params_non_embedding"] = table["tokens"] / 20
    rows = fit_report(table, approaches=(3,), bootstrap=0).why.choices
    row = next(r for r in rows if r.value == "6ND_non_embedding")
    assert row.a is None
    assert "collinear_design" in row.error


def test_identifiability_is_that_of_the_design() -> None:
    """On a crossed grid 1 − R² is 1; the condition number is that of the differences of ln L."""
    law, table = surface(0.4, 0.3), grid(surface(0.4, 0.3))
    fit = fit_parametric(table, bootstrap=0)
    held = identifiability(fit, table)
    assert held.one_minus_r2 == pytest.approx(1.0)
    assert held.alpha_beta_correlation is None
    assert held.starts_agreeing == fit.starts_at_best / fit.starts
    x, y = (np.log(table[c]) - np.log(table[c]).mean() for c in ("params", "tokens"))
    n, d = np.log(table["params"]).mean(), np.log(table["tokens"]).mean()
    centred = [
        np.log(law.E),
        np.log(law.A) - law.alpha * n,
        np.log(law.B) - law.beta * d,
        law.alpha,
        law.beta,
    ]

    def log_loss(t: list[float]) -> np.ndarray:
        return np.log(np.exp(t[0]) + np.exp(t[1] - t[3] * x) + np.exp(t[2] - t[4] * y))

    columns = []
    for i in range(5):
        up, down = list(centred), list(centred)
        up[i] += 1e-5
        down[i] -= 1e-5
        columns.append((log_loss(up) - log_loss(down)) / 2e-5)
    design = np.column_stack([c / np.linalg.norm(c) for c in columns])
    assert held.condition == pytest.approx(np.linalg.cond(design), rel=1e-4)


def test_curves_are_tried_for_approach_1() -> None:
    """Approach 1's choices are computed on the curves, not on the final losses."""
    law, options = surface(0.4, 0.3), {"noise": 0.005}
    runs = curves(law, **options)
    report = fit_report(sweep(law, **options), runs, approaches=(1,), bootstrap=0)
    row = next(r for r in report.why.choices if r.choice == "convention" and r.value == "6ND")
    assert row.a == pytest.approx(fit_envelope(runs, convention="6ND", bootstrap=0).a)
