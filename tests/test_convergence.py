"""Slopes of planted laws, compute read off a planted frontier, and the cost of long runs."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from minichin import campaign, convergence, convergence_figures
from minichin.law import LossSurface


def frontier(losses, flops=None):
    """Valleys at whole decades, sizes and tokens as roots of the compute."""
    flops = 10.0 ** np.arange(11, 11 + len(losses)) if flops is None else flops
    return [
        SimpleNamespace(flops=c, budget=c, params_opt=c**0.5, tokens_opt=c**0.5 / 6, loss_opt=loss)
        for c, loss in zip(flops, losses, strict=True)
    ]


def test_a_power_law_has_one_slope_and_a_floor_bends_it():
    """L = C^-0.05 gives 0.05 in every third, and 0.1 for sizes; with a floor the slope falls."""
    flops = 10.0 ** np.arange(11, 17)
    found = convergence.slopes(frontier(9 * flops**-0.05))
    assert vars(found["flops"]) == pytest.approx({"whole": 0.05, "first": 0.05, "last": 0.05})
    assert found["params"].whole == pytest.approx(0.1)
    bent = convergence.slopes(frontier(1 + 9 * flops**-0.08))["flops"]
    assert bent.first > bent.whole > bent.last
    with pytest.raises(ValueError, match="six budgets or more"):
        convergence.slopes(frontier([2.0, 1.9]))


def test_compute_needed_lies_between_the_floors():
    """On L = C^-0.05 the inverse is exact; beyond the floors there is no answer."""
    flops = 10.0 ** np.arange(11, 17)
    valleys = frontier(9 * flops**-0.05)
    assert convergence.compute_needed(9 * 3e13**-0.05, valleys) == pytest.approx(3e13)
    assert np.isnan(convergence.compute_needed(9 * 1e10**-0.05, valleys))
    assert np.isnan(convergence.compute_needed(9 * 1e17**-0.05, valleys))


def test_waste_and_gains_of_planted_runs():
    """A run of ten times the frontier's compute for its loss is a waste of ten; gains are differences."""
    valleys = frontier(9 * (10.0 ** np.arange(11, 17)) ** -0.05)
    runs = pd.DataFrame(
        {
            "width": 8,
            "params": 1000,
            "budget": [1e12, 1e13],
            "tokens": [1e5, 1e6],
            "val_loss": [9 * 1e11**-0.05, 9 * 1e12**-0.05],
        }
    )
    table = convergence.waste(runs, valleys)
    assert list(table["times"]) == pytest.approx([10, 10])
    assert list(table["ratio"]) == [100, 1000]
    (gain,) = convergence.gains(table)["gain"]
    assert gain == pytest.approx(9 * (1e11**-0.05 - 1e12**-0.05))


def test_an_optimum_ends_above_its_own_converged_loss():
    """The share is (α/β) A N^-α over E + A N^-α; without text's term it would be nothing."""
    surface = LossSurface(1.0, 40.0, 60.0, 0.4, 0.3)
    best = surface.optimum(1e13)
    term = 40.0 * float(best.params) ** -0.4
    expected = (0.4 / 0.3) * term / (1.0 + term)
    assert convergence.above_converged(surface, np.array([1e13])) == pytest.approx([expected])


def test_committed_long_runs_fall_and_waste():
    """Each further stretch lowers the loss, and all of them cost more than the frontier does."""
    from minichin import decades
    from minichin.fit import fit_isoflop

    valleys = fit_isoflop(decades.cores(), bootstrap=0).valleys
    runs = convergence.long_runs()
    table = convergence.waste(runs, valleys)
    assert (convergence.gains(table)["gain"] > 0).all()
    assert table["times"].dropna().gt(1).all()
    assert table.groupby("width").size().to_dict() == {8: 3, 12: 3, 16: 4}
    fig, axes = plt.subplots(1, 4)
    convergence_figures.plot_laws(axes[:3], valleys)
    curves = pd.concat([campaign.curves(name) for name in ("main", "convergence")])
    ax = convergence_figures.plot_long_runs(axes[3], curves, runs, valleys)
    labels = ax.get_legend_handles_labels()[1]
    assert len(labels) == 4
    tips = [line.get_gid() for line in ax.lines if line.get_gid()]
    assert len(tips) == len(runs)
    plt.close(fig)


def test_fronts_of_planted_laws():
    """Runs that a smaller one beats are left out, and L = N^-0.08 is found where text is in plenty."""
    sizes = np.geomspace(1e3, 1e6, 7)
    plenty = pd.DataFrame({"params": sizes, "tokens": 100 * sizes, "val_loss": 5 * sizes**-0.08})
    large = pd.DataFrame({"params": sizes, "tokens": sizes, "val_loss": 9 * sizes**-0.1})
    runs = pd.concat([plenty, large], ignore_index=True)
    runs["params_non_embedding"], runs["flops"] = runs["params"], 6 * runs["params"] * runs["tokens"]
    beaten = runs.iloc[[0]].assign(params_non_embedding=2e4, params=2e4, tokens=2e6)
    runs = pd.concat([runs, beaten], ignore_index=True)
    found = convergence.in_plenty(runs)
    assert len(found["params_non_embedding"][0]) == len(found["tokens"][0]) == 7
    assert vars(found["params_non_embedding"][1]) == pytest.approx(
        dict.fromkeys(("whole", "first", "last"), 0.08)
    )
    assert found["tokens"][1].whole == pytest.approx(0.1)
    assert (found["flops"][0]["val_loss"].diff().dropna() < 0).all()
    with pytest.raises(ValueError, match="six runs or more; the front of"):
        convergence.in_plenty(runs.head(3))
