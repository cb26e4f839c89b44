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
