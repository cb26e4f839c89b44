"""Approach 2 against planted valleys and published sweeps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minichin import published
from minichin.fit import FitError, fit_isoflop
from minichin.fit.isoflop import METHODS
from tests.planted import published_runs, surface, sweep


@settings(max_examples=25, deadline=None)
@given(st.floats(0.25, 0.5), st.floats(0.25, 0.5), st.integers(5, 12))
def test_planted_exponent_is_recovered(alpha: float, beta: float, widths: int) -> None:
    """On noise-free valleys centred alike the exponent is exact: the parabola errs alike everywhere."""
    law = surface(alpha, beta)
    fit = fit_isoflop(sweep(law, widths=widths), bootstrap=0)
    assert fit.a == pytest.approx(law.a, abs=1e-6)
    assert fit.a + fit.b == pytest.approx(1.0, abs=1e-9)
    assert fit.warnings == ()
    for valley in fit.valleys:
        assert valley.params_opt == pytest.approx(float(law.optimum(valley.budget).params), rel=0.25)
        assert valley.bracketed
        assert valley.loss_at(valley.params_opt) == pytest.approx(valley.loss_opt)


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Over 60 planted studies with the measured noise of 0.01 nats, 95 % intervals hold a in 52 or more."""
    law = surface(0.4, 0.3)
    hits = 0
    for seed in range(60):
        low, high = fit_isoflop(sweep(law, noise=0.01, seed=seed), bootstrap=300, seed=seed).a_interval or (
            0,
            0,
        )
        hits += low <= law.a <= high
        assert high - low < 0.15
    assert hits >= 52


def test_more_seeds_narrow_the_interval() -> None:
    """Repeated seeds are averaged: with eight of them the interval is far narrower than with one."""
    law = surface()
    one, eight = (
        fit_isoflop(sweep(law, noise=0.02, seeds=k, seed=3), bootstrap=400).a_interval or (0, 0)
        for k in (1, 8)
    )
    assert eight[1] - eight[0] < 0.6 * (one[1] - one[0])


def test_noise_is_that_of_one_run() -> None:
    """The reported noise is the planted standard deviation between seeds."""
    fit = fit_isoflop(sweep(surface(), noise=0.01, seeds=6), bootstrap=0)
    assert fit.noise == pytest.approx(0.01, rel=0.2)


def test_unbracketed_budget_is_named_and_left_out() -> None:
    """A budget sampled on one side of its optimum only is flagged, and does not bend the exponent."""
    law = surface()
    good, bad = sweep(law), sweep(law, budgets=(1e13,), off_center=12.0)
    fit = fit_isoflop(pd.concat([good, bad]), bootstrap=0)
    assert fit.warnings == ("minimum_not_bracketed",)
    assert [v.bracketed for v in fit.valleys] == [True] * 4 + [False]
    assert [v.used for v in fit.valleys] == [True] * 4 + [False]
    assert fit.a == pytest.approx(law.a, abs=1e-6)
    assert "1e+13" in fit.notes[0]


def test_nothing_bracketed_still_answers_with_warnings() -> None:
    """Where no budget is bracketed the edges are used, and the result says so twice."""
    fit = fit_isoflop(sweep(surface(), off_center=12.0, budgets=(1e11, 1e12)), bootstrap=50)
    assert set(fit.warnings) == {"minimum_not_bracketed", "too_few_budgets"}
    assert np.isfinite([fit.a, fit.b]).all()


def test_too_few_budgets() -> None:
    """Two budgets make a slope with a warning; one makes none."""
    assert "too_few_budgets" in fit_isoflop(sweep(surface(), budgets=(1e11, 1e12)), bootstrap=0).warnings
    with pytest.raises(FitError, match="two budgets or more") as caught:
        fit_isoflop(sweep(surface(), budgets=(1e11,)))
    assert caught.value.warnings == ("too_few_budgets",)


def test_three_sizes_without_seeds_tell_no_noise() -> None:
    """A parabola through three points leaves nothing to tell the noise: no interval, by name."""
    fit = fit_isoflop(sweep(surface(), widths=3))
    assert fit.warnings == ("seed_noise_unknown",)
    assert fit.a_interval is None
    assert fit.noise is None


def test_short_optimum_is_named() -> None:
    """A budget whose optimum took fewer than 1,000 steps says so."""
    table = sweep(surface()).assign(steps=lambda t: t["tokens"] / 2048)
    assert "too_few_steps" in fit_isoflop(table, bootstrap=0).warnings


def test_a_budget_of_short_runs_stays_out_where_three_others_remain() -> None:
    """One budget with a short optimum carries no weight beside three others, is named, and can be kept."""
    table = sweep(surface()).assign(steps=5000)
    lowest = table["budget"].min()
    table.loc[table["budget"] == lowest, "steps"] = 500
    fit = fit_isoflop(table, bootstrap=0)
    assert [v.used for v in fit.valleys] == [False, True, True, True]
    assert "too_few_steps" in fit.warnings
    assert any("left out of the power law" in note for note in fit.notes)
    without = fit_isoflop(table[table["budget"] > lowest], bootstrap=0)
    assert fit.a == pytest.approx(without.a, abs=1e-12)
    kept = fit_isoflop(table, bootstrap=0, min_steps=0)
    assert all(v.used for v in kept.valleys)
    assert "too_few_steps" not in kept.warnings


def test_budgets_are_found_without_a_column() -> None:
    """FLOPs that scatter by a few per cent are clustered into the budgets that they came from."""
    table = sweep(surface(), noise=0.005)
    jitter = np.random.default_rng(1).uniform(0.97, 1.03, len(table))
    clustered = fit_isoflop(table.drop(columns="budget").assign(flops=table["flops"] * jitter), bootstrap=0)
    assert len(clustered.valleys) == 4
    assert clustered.a == pytest.approx(fit_isoflop(table, bootstrap=0).a, abs=0.01)


def test_lone_runs_are_listed() -> None:
    """Runs whose budget has fewer than three sizes are dropped by row, with the reason."""
    table = pd.concat([sweep(surface()), sweep(surface(), budgets=(5e12,)).head(2)])
    fit = fit_isoflop(table, bootstrap=0)
    assert [d["row"] for d in fit.dropped] == [29, 30]
    assert "three sizes" in str(fit.dropped[0]["why"])


def test_conventions_rescore_one_sweep() -> None:
    """Counting other FLOPs or parameters moves a and b as the counts say, on the same valleys."""
    law = surface()
    table = sweep(law)
    full = table.assign(flops=table["flops"] * (table["params"] / 1e3) ** -0.1)
    by_full = fit_isoflop(full, convention="full", bootstrap=0)
    by_6nd = fit_isoflop(full, convention="6ND", bootstrap=0)
    assert by_6nd.a == pytest.approx(0.5, abs=1e-6)
    assert by_full.a == pytest.approx(0.5 / 0.95, abs=1e-5)
    assert by_full.a + by_full.b > 1
    table["params_non_embedding"] = table["params"] ** 1.3 / 100
    kaplan = fit_isoflop(table, convention="6ND_non_embedding", bootstrap=0)
    assert kaplan.a == pytest.approx(0.65 / 1.15, abs=1e-5)


def test_row_order_and_container_do_not_matter() -> None:
    """Shuffled rows, and a mapping of columns, give the same fit."""
    table = sweep(surface(), noise=0.01)
    fit = fit_isoflop(table, bootstrap=0)
    shuffled = fit_isoflop(table.sample(frac=1, random_state=1), bootstrap=0)
    assert shuffled.a == pytest.approx(fit.a, abs=1e-12)
    assert fit_isoflop({name: list(table[name]) for name in table}, bootstrap=0).a == fit.a


def test_same_seed_same_interval() -> None:
    """The bootstrap is a function of its seed."""
    table = sweep(surface(), noise=0.01)
    first, again, other = (fit_isoflop(table, bootstrap=100, seed=s) for s in (1, 1, 2))
    assert first.a_interval == again.a_interval != other.a_interval
    assert first.replicates.shape == (100, 4)


def test_noise_free_published_sweep() -> None:
    """On the noise-free CS336 table parabolas give 0.514, not the raw minimum's 0.469."""
    fit = fit_isoflop(published_runs("cs336_isoflops_72"), bootstrap=300)
    assert fit.a == pytest.approx(0.5143, abs=1e-3)
    low, high = fit.a_interval or (0, 0)
    assert low < 0.514286 < high


def test_porian_exponents() -> None:
    """All 15 published exponents within 0.04; pairs with disjoint bands, and the ladders, in order."""
    published_runs("porian_isoflop_1745")
    rows, ours = [], []
    for row, runs in published.porian_sweeps():
        rows.append(row)
        ours.append(fit_isoflop(runs, bootstrap=0).a)
    theirs = pd.DataFrame(rows).reset_index(drop=True)
    assert np.abs(np.array(ours) - theirs["a_weighted"]).max() < 0.04
    for i, one in theirs.iterrows():
        for j, two in theirs.iterrows():
            if one["a_high95"] < two["a_low95"]:
                assert ours[i] < ours[j]
    for ladder in (range(5), range(10, 15)):
        steps = [ours[i] for i in ladder]
        assert steps == sorted(steps, reverse=True)


def test_the_default_method_is_nearest_to_published_exponents() -> None:
    """On the 15 published sweeps the window misses the authors' exponents by less than other methods do."""
    published_runs("porian_isoflop_1745")
    misses: dict[str, list[float]] = {method: [] for method in METHODS}
    for row, runs in published.porian_sweeps():
        for method, found in misses.items():
            found.append(fit_isoflop(runs, bootstrap=0, method=method).a - row["a_weighted"])
    error = {method: float(np.sqrt(np.mean(np.square(found)))) for method, found in misses.items()}
    assert min(error, key=error.__getitem__) == "window"
    assert error["window"] < 0.02 < error["parabola"]
