"""Joined valleys: what is joined, how a frontier bends, and sizes that compete by another count."""

import numpy as np
import pandas as pd
import pytest

from minichin import decades
from minichin.fit import FitError, fit_isoflop
from minichin.law import LossSurface
from minichin.plan import make_spec

SURFACE = LossSurface(1.0, 40.0, 60.0, 0.4, 0.35)


def planted(budgets=(1e11, 3e11, 1e12, 3e12, 1e13, 3e13), widths=(12, 16, 24, 32, 48, 64, 96, 128)):
    """Runs of the recipe's shapes on a known surface, at equal full counts, two seeds of slight noise."""
    rng, rows = np.random.default_rng(0), []
    for budget in budgets:
        for width in widths:
            shape = make_spec(1e13, width).shape
            tokens = budget / shape.flops_per_token("full")
            for seed in range(2):
                rows.append(
                    {
                        "params": shape.params,
                        "params_non_embedding": shape.params_non_embedding,
                        "tokens": tokens,
                        "flops": budget,
                        "budget": budget,
                        "width": width,
                        "seed": seed,
                        "steps": 5000,
                        "val_loss": float(SURFACE.value(shape.params, tokens)) + 1e-4 * rng.standard_normal(),
                    }
                )
    return pd.DataFrame(rows)


def test_the_committed_valleys_span_five_decades():
    """Cores below the seam, the GPU beyond it, each budget once; where both trained, the optima agree."""
    cores, gpu = decades.cores(), decades.gpu()
    table = decades.joined(cores, gpu)
    assert np.log10(table["budget"].max() / table["budget"].min()) == pytest.approx(5)
    for budget, runs in table.groupby("budget"):
        on_gpu = runs["device"].str.startswith("cuda")
        assert on_gpu.all() if budget > decades.SEAM else not on_gpu.any()
    one, other = (fit_isoflop(each, bootstrap=0) for each in (cores, gpu))
    shared = decades.overlap(one, other)
    assert list(shared["budget"]) == [1e13, 3e13]
    assert (shared["params_ratio"] - 1).abs().max() < 0.05
    assert (shared["loss"] - shared["loss_other"]).abs().max() < 0.005


def test_the_frontier_takes_each_budget_from_one_fit():
    """Below the seam the valleys of the first fit, beyond it those of the second."""
    one = fit_isoflop(planted(), bootstrap=0)
    other = fit_isoflop(planted().assign(val_loss=lambda t: t["val_loss"] + 10), bootstrap=0)
    found = decades.frontier(one, other, seam=2e12)
    assert [valley.budget for valley in found] == [valley.budget for valley in one.valleys]
    assert [valley.loss_opt > 10 for valley in found] == [valley.budget > 2e12 for valley in found]


def test_ranges_hold_their_budgets_and_no_others():
    """Both ends of a range belong to it; one with a single budget is refused by the fit."""
    found = decades.ranges(planted(), [(3e11, 3e12), (1e11, 3e13)], bootstrap=0)
    assert [len(fit.valleys) for fit in found.values()] == [3, 6]
    with pytest.raises(FitError, match="two budgets"):
        decades.ranges(planted(), [(1e11, 1e11)], bootstrap=0)


def test_a_power_law_does_not_bend_and_a_planted_bend_is_found():
    """Optima on a line give equal slopes and a bend of zero; a quadratic gives back its coefficient."""
    fit = fit_isoflop(planted(), bootstrap=50)

    def bent(per_decade):
        valleys = []
        for valley in fit.valleys:
            x = np.log10(valley.flops) - 12
            params = 10 ** (5 + 0.5 * x + 0.5 * per_decade * x**2)
            one = {"params_opt": params, "params_opt_interval": (params * 0.99, params * 1.01)}
            valleys.append(type("V", (), {"flops": valley.flops, **one})())
        return decades.curvature(valleys)

    straight, curved = bent(0.0), bent(-0.03)
    assert straight.slopes == pytest.approx((0.5, 0.5, 0.5))
    assert straight.per_decade == pytest.approx(0, abs=1e-9)
    assert straight.interval[0] < 0 < straight.interval[1]
    assert curved.per_decade == pytest.approx(-0.03)
    assert curved.interval[1] < 0
    assert curved.slopes[0] > curved.slopes[1] > curved.slopes[2]


def test_curvature_refuses_what_cannot_tell_it():
    """Too few budgets, or optima without intervals, are refused in words."""
    fit = fit_isoflop(planted(), bootstrap=0)
    with pytest.raises(ValueError, match="six budgets or more"):
        decades.curvature(fit.valleys[:5])
    with pytest.raises(ValueError, match="interval of every optimum"):
        decades.curvature(fit.valleys)


@pytest.mark.parametrize("convention", ["6ND", "6ND_non_embedding"])
def test_competing_sizes_are_those_of_least_loss_by_that_count(convention):
    """On a planted surface, the optima at equal compute by another count are found to a few hundredths."""
    table = planted(widths=(8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160))
    found = decades.competing(table, convention)
    shapes = [make_spec(1e13, width).shape for width in range(8, 161, 4)]
    sizes = np.array([shape.params for shape in shapes], float)
    counted = np.array(
        [getattr(s, "params" if convention == "6ND" else "params_non_embedding") for s in shapes]
    )
    fine = np.geomspace(sizes[0], sizes[-1], 4000)
    count = np.exp(np.interp(np.log(fine), np.log(sizes), np.log(counted)))
    truth = np.array([count[np.argmin(SURFACE.value(fine, flops / (6 * count)))] for flops in found.flops])
    np.testing.assert_allclose(np.log(found.params[1:-1]), np.log(truth[1:-1]), atol=0.08)
    expected = np.polyfit(np.log(found.flops), np.log(truth), 1)[0]
    assert found.a == pytest.approx(expected, abs=0.02)
    assert abs(found.a - expected) < abs(found.a_rescored - expected)
