"""Costs of a schedule's length, against planted costs and counts by hand."""

import matplotlib as mpl

mpl.use("Agg")

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from minichin import beside, lengths
from minichin.engine import lr_factor
from minichin.fit import fit_isoflop
from minichin.plan import make_spec
from minichin.shape import ModelShape


def ladder(costs: dict[float, float], noise: float, seeds: int = 4) -> pd.DataFrame:
    """Losses of two ladders with these costs, a shift a seed, and noise a run."""
    rng = np.random.default_rng(0)
    rows = []
    for budget, width in ((3e11, 24), (1e12, 40)):
        for seed in range(seeds):
            shift = rng.normal(2, 0.05)
            for cycle, cost in {1.0: 0.0, **costs}.items():
                loss = shift + cost + rng.normal(0, noise)
                rows.append(
                    {"budget": budget, "width": width, "seed": seed, "cycle": cycle, "val_loss": loss}
                )
    return pd.DataFrame(rows)


def test_planted_costs_are_found() -> None:
    """Without noise the costs come back exactly, whatever the seeds have in common."""
    costs = lengths.cycle_costs(ladder({1.1: 0.0, 2.0: 0.08}, 0))
    assert costs["cost"].to_numpy() == pytest.approx([0, 0.08, 0, 0.08], abs=1e-12)
    assert (costs["seeds"] == 4).all()


def test_intervals_are_students() -> None:
    """One cell alone has the interval of scipy's paired t-test."""
    table = ladder({2.0: 0.08}, 0.01)
    one = table[table["width"] == 24]
    runs = one.pivot(index="seed", columns="cycle", values="val_loss")
    told = stats.ttest_rel(runs[2.0], runs[1.0]).confidence_interval(0.95)
    row = lengths.cycle_costs(one).iloc[0]
    assert (row["low"], row["high"]) == pytest.approx((told.low, told.high))
    with pytest.raises(ValueError, match="every cell has one seed"):
        lengths.cycle_costs(one[one["seed"] == 0])


def test_the_first_clear_cycle() -> None:
    """It is the smallest from which on all are clear, in every ladder; None where the longest is not."""
    costs = lengths.cycle_costs(ladder({1.1: 0.0, 1.5: 0.03, 5.0: 0.1}, 0.001))
    assert lengths.first_clear(costs) == 1.5
    assert lengths.first_clear(lengths.cycle_costs(ladder({5.0: 0.0}, 0.001))) is None


def test_the_constant_part_is_the_schedules() -> None:
    """The rate is one half up to there and lower beyond."""
    spec = make_spec(1e12, 32, schedule="constant")
    begin = int(lengths.constant_steps(spec))
    assert lr_factor(begin, spec) == 0.5
    assert lr_factor(begin + 2, spec) < 0.5


def test_savings_by_hand() -> None:
    """Four lengths 1, 2, 4, 8 need 0.8 · 8 + 0.2 · 15 = 9.4 of 15; one alone saves nothing."""
    assert lengths.saving_of([1, 2, 4, 8]) == pytest.approx(9.4 / 15)
    assert lengths.saving_of([3]) == pytest.approx(1)
    spec = make_spec(1e12, 32, schedule="constant", seed=0)
    some = [replace(spec, steps=1000 * part, warmup_steps=1) for part in (1, 2, 4, 8)]
    found = lengths.saving(some)
    assert found.separate == sum(one.flops for one in some)
    assert found.share == pytest.approx(9.4 / 15, rel=1e-3)
    apart = [replace(one, seed=place) for place, one in enumerate(some)]
    assert lengths.saving(apart).share == pytest.approx(1)


def test_between_budgets() -> None:
    """A power law is met exactly between its budgets; beyond them, nothing is said."""
    budgets = np.array([1e11, 3e11, 1e12])
    table = pd.DataFrame({"budget": budgets, "width": 32, "val_loss": 3 * (budgets / 1e11) ** -0.1})
    assert lengths.between_budgets(table, 32, 5e11) == pytest.approx(3 * 5**-0.1)
    with pytest.raises(ValueError, match="must lie between three of them"):
        lengths.between_budgets(table, 32, 5e12)


def test_the_cost_of_a_trunk() -> None:
    """What was put on top of a power law is what each length costs."""
    budgets = np.array([1e11, 3e11, 1e12])
    cosine = pd.DataFrame({"budget": budgets, "width": 32, "val_loss": 3 * (budgets / 1e11) ** -0.1})
    flops = np.array([1e12, 2.5e11])
    trunk = pd.DataFrame({"width": 32, "flops": flops, "steps": [400, 100]})
    trunk = trunk.assign(val_loss=3 * (flops / 1e11) ** -0.1 + [0, 0.03])
    found = lengths.trunk_costs(trunk, cosine)
    assert found["part"].tolist() == [0.25, 1]
    assert found["cost"].to_numpy() == pytest.approx([0.03, 0])


def valleys(a: float, rng: np.random.Generator, noise: float = 0.003) -> pd.DataFrame:
    """Runs of three budgets about optima ∝ C^a, by a parabola in ln N."""
    rows = []
    for budget, widths in (
        (1e11, (8, 12, 16, 24, 32, 48)),
        (3e11, (12, 16, 24, 32, 48, 64)),
        (1e12, (16, 24, 32, 48, 64, 96)),
    ):
        for width in widths:
            shape = ModelShape(width, 3, 64, 256, width // 4)
            tokens = budget / shape.flops_per_token("full")
            x = np.log(shape.params / (20e3 * (budget / 1e11) ** a))
            loss = 2 - 0.05 * np.log(budget / 1e11) + 0.05 * x**2 + rng.normal(0, noise)
            rows.append(
                {
                    "params": shape.params,
                    "tokens": tokens,
                    "flops": budget,
                    "budget": budget,
                    "val_loss": loss,
                    "width": width,
                    "seed": 0,
                }
            )
    return pd.DataFrame(rows)


def test_a_planted_difference_of_exponents() -> None:
    """The interval of a difference holds the planted one, and not zero where it is far from it."""
    rng = np.random.default_rng(1)
    found = beside.fits({"own": valleys(0.45, rng), "other": valleys(0.6, rng)}, bootstrap=200)
    value, interval = beside.difference(found["other"], found["own"])
    assert interval is not None
    assert interval[0] < 0.15 < interval[1]
    assert interval[0] > 0
    assert value == pytest.approx(0.15, abs=0.05)
    assert len(beside.optima(found)) == 6


def test_cells_are_matched() -> None:
    """Only the cells of the table are taken, the change is by cell, and a missing one is told."""
    own = valleys(0.45, np.random.default_rng(2))
    some = own[own["width"] > 8].assign(val_loss=lambda t: t["val_loss"] + 0.25)
    assert len(beside.matched(own, some)) == len(some)
    assert beside.changes(own, some)["change"].to_numpy() == pytest.approx(0.25)
    told = stats.ttest_1samp([0.1, 0.2, 0.4], 0).confidence_interval(0.95)
    mean = beside.mean_change(pd.DataFrame({"change": [0.1, 0.2, 0.4]}))
    assert mean.interval == pytest.approx((told.low, told.high))
    assert beside.difference(fit_isoflop(own, bootstrap=0), fit_isoflop(own, bootstrap=0)) == (0, None)
    with pytest.raises(ValueError, match="such as width 8 at 1e"):
        beside.matched(some, own)
