"""Predictions beyond the data against planted laws."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from minichin.fit import fit_isoflop, fit_parametric
from minichin.fit.predict import predict, predict_budgets, touch
from minichin.fit.report import fit_report
from tests.planted import grid, surface, sweep


@pytest.mark.parametrize("convention", ["full", "6ND"])
def test_noise_free_tables_predict_the_law(convention: str) -> None:
    """At 100 times the largest compute, approach 3 gives the planted law's N, D, their ratio, and loss."""
    law = surface(0.36, 0.31)
    budgets = fit_report(sweep(law), convention=convention, bootstrap=0).budgets
    assert [budget.beyond for budget in budgets] == pytest.approx([10.0, 100.0])
    for budget in budgets:
        best, found = law.optimum(budget.flops), budget.predictions[3]
        assert found.params == pytest.approx(float(best.params), rel=1e-3)
        assert found.tokens == pytest.approx(float(best.tokens), rel=1e-3)
        assert found.tokens_per_param == pytest.approx(float(best.tokens / best.params), rel=1e-3)
        assert found.loss == pytest.approx(float(best.loss), rel=1e-3)
        assert found.loss_interval is None


def test_intervals_hold_the_law_under_noise() -> None:
    """With noise, the 95 % intervals of approaches 2 and 3 hold the planted optimum in most studies."""
    law = surface(0.35, 0.35)
    held = dict.fromkeys(("params2", "params3", "ratio3", "loss3"), 0)
    for seed in range(10):
        table = sweep(law, noise=0.004, widths=9, seed=seed)
        flops = 100 * float(table["flops"].max())
        best = law.optimum(flops)
        second, third = (
            predict(f(table, bootstrap=200, seed=seed), flops) for f in (fit_isoflop, fit_parametric)
        )
        ratio = float(best.tokens / best.params)
        held["params2"] += touch(second.params_interval, (float(best.params),) * 2) is True
        held["params3"] += touch(third.params_interval, (float(best.params),) * 2) is True
        held["ratio3"] += touch(third.tokens_per_param_interval, (ratio,) * 2) is True
        held["loss3"] += touch(third.loss_interval, (float(best.loss),) * 2) is True
    assert min(held.values()) >= 7, held


def test_ratio_comes_from_joint_replicates() -> None:
    """The interval of tokens a parameter is that of D/N replicate by replicate, not of two bands."""
    fit = fit_parametric(sweep(surface(), noise=0.005), bootstrap=200)
    found = predict(fit, 1e14)
    log_k, a, log_m, b = fit.replicates.T
    low, high = np.percentile(np.exp(log_m - log_k) * 1e14 ** (b - a), [2.5, 97.5])
    assert found.tokens_per_param_interval == pytest.approx((low, high), rel=1e-4)
    band = fit.n_opt_band(1e14)
    assert band is not None
    assert found.params_interval == pytest.approx((float(band[0][0]), float(band[1][0])), rel=1e-9)


def test_loss_of_a_replicate_is_its_own_minimum() -> None:
    """By 6ND, each replicate's loss is the least that its own surface reaches with this compute."""
    fit = fit_parametric(sweep(surface(), noise=0.005), convention="6ND", bootstrap=60)
    e, a, b, alpha, beta = fit.surface_replicates.T
    sizes = np.geomspace(1e3, 1e9, 4001)[:, None]
    least = (e + a / sizes**alpha + b / (1e14 / 6 / sizes) ** beta).min(axis=0)
    assert predict(fit, 1e14).loss_interval == pytest.approx(np.percentile(least, [2.5, 97.5]), rel=1e-6)


def test_targets_are_added_and_checked() -> None:
    """Asked-for budgets stand among the two default ones by rising FLOPs; no positive number is refused."""
    fits = {3: fit_parametric(grid(surface()), bootstrap=0)}
    budgets = predict_budgets(fits, 1e12, [5e13, 1e11, 1e13])
    assert [budget.flops for budget in budgets] == [1e11, 1e13, 5e13, 1e14]
    assert budgets[0].beyond == pytest.approx(0.1)
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="positive number of FLOPs"):
            predict_budgets(fits, 1e12, [bad])


def test_a_target_beside_a_multiple_stands_alone() -> None:
    """Where ten times the largest compute is nearly what was asked for, it is told once, as asked."""
    fits = fit_report(sweep(surface()), bootstrap=0).fits
    assert [budget.flops for budget in predict_budgets(fits, 1.00005e12, [1e13])] == [1e13, 1.00005e14]


def test_disagreement_is_named() -> None:
    """Fits of two different laws, with narrow intervals, disagree by name; a fit agrees with itself."""
    one = fit_isoflop(sweep(surface(0.3, 0.45), noise=1e-4), bootstrap=100)
    other = fit_parametric(sweep(surface(0.45, 0.3), noise=1e-4), bootstrap=100)
    apart = predict_budgets({2: one, 3: other}, 3e12)[1].disagree
    assert {name for name, i, j in apart if (i, j) == (2, 3)} == {"params", "tokens", "tokens_per_param"}
    assert predict_budgets({2: one, 3: one}, 3e12)[1].disagree == ()


def test_what_no_number_holds_is_told() -> None:
    """An optimum outside of float64 is an error in its place, not an infinity."""
    fits = {2: fit_isoflop(sweep(surface()), bootstrap=60)}
    budget = predict_budgets({**fits, 3: fits[2]}, 1e12, [1e300])[-1]
    numbers = [v for p in budget.predictions.values() for v in asdict(p).values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in numbers)
    assert predict_budgets(fits, 1e308)[-1:] == ()
