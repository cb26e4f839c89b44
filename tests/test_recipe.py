"""The checks of the recipe, by planted losses: what a factor changes, and the floor of each valley."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from minichin import campaign, recipe, recipe_figures
from tests.planted import surface, sweep


def test_a_factor_is_judged_by_the_recipes_own_run():
    """The recipe's own runs change nothing; a planted change of another rate or warm-up comes out."""
    records = campaign.records("rates")
    planted = []
    for record in records:
        spec = record.spec
        own = replace(record, val_loss=2.0 + spec.width / 100)
        planted.append(own)
    table = recipe.factors(planted)
    assert (table["change"] == 0).all()
    assert sorted(table["rate"].unique()) == [0.25, 0.5, 1, 2]
    off = next(place for place, rate in enumerate(table["rate"]) if rate == 2)
    planted[off] = replace(planted[off], val_loss=planted[off].val_loss + 0.25)
    assert recipe.factors(planted)["change"][off] == pytest.approx(0.25)
    assert recipe.factors(planted)["change"].sum() == pytest.approx(0.25)


def test_floors_of_planted_valleys():
    """Each depth's floor is the optimum of the surface that its losses were drawn from."""
    laws = {2: surface(0.35, 0.35), 3: surface(0.4, 0.3)}
    table = pd.concat([sweep(law).assign(depth=depth) for depth, law in laws.items()], ignore_index=True)
    found = recipe.floors(table, "6ND")
    assert len(found) == 2 * table["budget"].nunique()
    for row in found.to_dict("records"):
        best = laws[row["depth"]].optimum(row["budget"])
        assert row["bracketed"]
        assert row["params"] == pytest.approx(float(best.params), rel=0.1)
        assert row["val_loss"] == pytest.approx(float(best.loss), rel=2e-3)
        assert row["ratio"] == pytest.approx(row["tokens"] / row["params"])


def test_pictures_show_every_check():
    """A line for each budget and width, a valley and a star for each depth."""
    checks = recipe.factors(campaign.records("rates"))
    ax = recipe_figures.plot_factors(Figure().subplots(), checks, "rate", "peak learning rate")
    assert len(ax.lines) == 9
    table = campaign.table("depths")
    table = table[table["budget"] == 1e12]
    ax = recipe_figures.plot_depths(Figure().subplots(), table, recipe.floors(table))
    assert len(ax.lines) == 2 * table["depth"].nunique()
    assert np.isfinite(ax.lines[1].get_xdata()).all()


def test_regret_is_what_the_best_rate_would_have_saved():
    """A run whose rate gives 0.03 nats less than the recipe's is a regret of 0.03; warm-ups do not count."""
    checks = pd.DataFrame(
        {
            "budget": 1e11,
            "width": [8, 8, 8, 16],
            "rate": [1.0, 0.5, 1.0, 1.0],
            "warmup": [1.0, 1.0, 4.0, 1.0],
            "val_loss": [2.0, 1.97, 1.5, 1.8],
        }
    )
    assert list(recipe.regrets(checks)["rate"].round(6)) == [0.03, 0.0]


def test_exponent_of_planted_floors():
    """Sizes that grow as the square root of compute give 0.5."""
    floors = pd.DataFrame({"budget": [1e11, 1e12, 1e13], "params": np.sqrt([1e11, 1e12, 1e13])})
    assert recipe.exponent(floors) == pytest.approx(0.5)


def test_checks_on_the_gpu_are_those_of_the_lab_log():
    """Five sizes with other rates, two of which diverged at the double; three widths with other batches."""
    rates, batches = recipe.at_scale()
    tried = rates[rates["rate"] != 1]
    assert len(tried.groupby(["budget", "width"])) == 5
    assert sorted(tried[tried["val_loss"].isna()]["width"]) == [320, 512]
    assert (rates[rates["rate"] == 1]["change"] == 0).all()
    assert batches.groupby("width")["batch_tokens"].nunique().to_dict() == {96: 2, 128: 3, 256: 3}


def test_six_layers_on_the_gpu_lie_lower_and_do_not_move_the_floor():
    """Two budgets have four sizes of six layers or more; the lab log's floors."""
    floors = recipe.floors(recipe.depths_at_scale()).set_index(["budget", "depth"])
    assert list(floors.index) == [(1e14, 3), (1e14, 6), (1e15, 3), (1e15, 6)]
    assert floors["bracketed"].all()
    for budget in (1e14, 1e15):
        assert 0.01 < floors.loc[(budget, 3), "val_loss"] - floors.loc[(budget, 6), "val_loss"] < 0.03
        assert floors.loc[(budget, 6), "params"] == pytest.approx(floors.loc[(budget, 3), "params"], rel=0.1)


def test_redrawn_exponents_scatter_about_the_planted_one():
    """Seeds that agree leave no scatter; seeds that differ scatter the exponent about the planted 0.5."""
    table = sweep(surface(0.35, 0.35), noise=0.0)
    budgets = sorted(table["budget"].unique())
    table = pd.concat(
        [table.assign(depth=3, width=table["params"], seed=seed) for seed in (0, 1)], ignore_index=True
    )
    same = recipe.redrawn(table, dict.fromkeys(budgets, 3), draws=20)
    assert np.ptp(same) < 1e-9
    noisy = table.assign(val_loss=table["val_loss"] + np.where(table["seed"] == 0, 0.003, -0.003))
    found = recipe.redrawn(noisy, dict.fromkeys(budgets, 3), draws=200)
    assert found.mean() == pytest.approx(same.mean(), abs=0.03)
    assert found.std() > 1e-3
