"""Predictions held against what came: verdicts by hand, planted laws, and the committed files."""

import json
import math
from importlib import resources

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from minichin import campaign, decades, prediction, prediction_figures
from minichin import hindcast as hindcasts
from minichin.fit import fit_isoflop
from minichin.style import budget_colours
from tests.test_decades import SURFACE, planted

BUDGETS = (1e11, 3e11, 1e12, 3e12, 1e13, 3e13)


@pytest.fixture(scope="module")
def valley():
    return fit_isoflop(planted(), bootstrap=100).valleys[-1]


@pytest.mark.parametrize(
    ("found", "interval", "expected"),
    [
        (2.0, None, "hit"),
        (1.0, (0.5, 1.5), "hit"),
        (3.5, (2.9, 4.0), "touches"),
        (3.5, (3.1, 4.0), "miss"),
        (0.5, (0.1, 1.0), "touches"),
        (3.5, None, "miss"),
    ],
)
def test_verdicts_by_hand(found, interval, expected):
    """An interval of 1 to 3 hits, touches or misses."""
    assert prediction.verdict((1.0, 3.0), found, interval) == expected


def test_a_statement_is_compared_quantity_by_quantity(valley):
    """What was said is kept as it was; the miss is relative; what was not said has no row."""
    said = {
        "approach2": {"params": 1.5 * valley.params_opt, "params_interval": [1.0, 2.0 * valley.params_opt]},
        "approach3": {"params": None, "loss": 0.9 * valley.loss_opt, "loss_interval": [0.1, 0.2]},
    }
    found = prediction.compare(said, valley)
    assert list(zip(found["approach"], found["quantity"], found["verdict"], strict=True)) == [
        (2, "params", "hit"),
        (3, "loss", "miss"),
    ]
    np.testing.assert_allclose(found["miss"], [0.5, -0.1])
    assert (found["found_low"][0], found["found_high"][0]) == valley.params_opt_interval


def test_the_files_say_what_the_lab_log_says():
    """The committed statements, against the lab log's; an unknown budget is refused."""
    said = prediction.stated("prediction_from_1e12.json", 1e13)
    assert said["approach2"]["params"] == pytest.approx(187e3, rel=0.003)
    assert said["approach3"]["loss_interval"] == pytest.approx([1.652, 1.781], abs=5e-4)
    assert prediction.stated("prediction_from_3e12.json", 3e13)["approach2"]["params"] == pytest.approx(
        332e3, rel=0.003
    )
    assert prediction.stated("statement_1e16.json", 1e16)["approach2"]["loss"] == 1.222
    with pytest.raises(ValueError, match="says nothing of 1e\\+15 FLOPs"):
        prediction.stated("statement_1e16.json", 1e15)


@pytest.mark.parametrize(("file", "last"), [("1e12", 1e12), ("3e12", 3e12)])
def test_a_file_was_made_from_smaller_budgets_only(file, last):
    """The committed prediction is what the runs up to its last budget say, and knows of none beyond."""
    content = json.loads(
        resources.files("minichin.data").joinpath(f"prediction_from_{file}.json").read_text("utf-8")
    )
    runs = campaign.table("main")
    runs = runs[runs["budget"] <= last]
    assert content["rows"] == len(runs)
    assert [each["budget"] for each in content["approach2"]["budgets"]] == sorted(runs["budget"].unique())
    assert content["approach2"]["a"] == pytest.approx(fit_isoflop(runs, bootstrap=0).a, rel=1e-9)


def test_the_price_of_a_wrong_size(valley):
    """Nothing at the optimum; elsewhere the planted surface's loss above its floor."""
    assert hindcasts.price(valley, valley.params_opt) == pytest.approx(0, abs=1e-6)
    sizes = np.array([1.0, 0.6]) * valley.params_opt
    losses = SURFACE.value(sizes, valley.tokens_opt * valley.params_opt / sizes)
    assert hindcasts.price(valley, sizes[1]) == pytest.approx(losses[1] - losses[0], abs=0.003)


def test_the_floors_of_a_known_law():
    """E, k and the exponent of planted floors are found again; three floors are refused."""
    flops = np.geomspace(1e11, 1e14, 6)
    constant, factor, gamma = hindcasts.floor_law(flops, 1.1 + 20 * flops**-0.12)
    assert gamma == pytest.approx(0.12, abs=0.0005)
    assert constant == pytest.approx(1.1, abs=0.01)
    assert factor == pytest.approx(20, rel=0.03)
    with pytest.raises(ValueError, match="four floors or more; these are 3"):
        hindcasts.floor_law(flops[:3], flops[:3])


@pytest.fixture(scope="module")
def hindcast():
    return hindcasts.hindcast(planted(), bootstrap=40)


def test_hindcasts_of_a_law_that_holds(hindcast):
    """Where one surface holds throughout, every fit predicts the next budgets well, and no row is missing."""
    pairs = [(known, target) for known in BUDGETS[2:-1] for target in BUDGETS if target > known]
    for method in ("approach 2", "approach 3", hindcasts.HALF):
        part = hindcast[hindcast["method"] == method]
        assert list(zip(part["known"], part["target"], strict=True)) == pairs
    assert set(hindcast["decades"]) == {0.5, 1.0, 1.5}
    fits = hindcast[hindcast["method"].isin(["approach 2", "approach 3"])]
    assert fits["miss_params"].abs().max() < 0.15
    assert hindcast["miss_loss"].abs().max() < 0.01
    assert (hindcast["price"].dropna() < 0.01).all()


def test_hindcasts_see_nothing_of_what_they_predict(hindcast):
    """Other losses at the largest budget change the misses there, and by the truth's own change alone."""
    table = planted()
    table.loc[table["budget"] == BUDGETS[-1], "val_loss"] += 0.5
    found = hindcasts.hindcast(table, bootstrap=0)
    before = hindcast.set_index(["method", "known", "target"])["miss_loss"].dropna()
    after = found.set_index(["method", "known", "target"])["miss_loss"].dropna()
    truth = fit_isoflop(planted(), bootstrap=0).valleys[-1].loss_opt
    for key, miss in before.items():
        moved = math.log(truth / (truth + 0.5)) if key[2] == BUDGETS[-1] else 0.0
        assert after[key] - miss == pytest.approx(moved, abs=1e-6)


def test_smallest_budgets_can_be_left_out():
    """`low` drops budgets below it; the plain rule, which sees the last one alone, does not change."""
    found = hindcasts.hindcast(planted(), low=1e12, approaches=(2,), bootstrap=0)
    assert set(found["low"]) == {1e12}
    assert set(found["known"]) == {1e13}
    with pytest.raises(ValueError, match="needs the curves"):
        hindcasts.hindcast(planted(), approaches=(1,))


def test_the_summary_by_distance():
    """Medians, and how many intervals held, of misses written by hand."""
    rows = pd.DataFrame(
        {
            "method": "approach 2",
            "decades": [1.0, 1.0, 1.0, 2.0],
            "miss_params": [0.1, -0.3, 0.2, math.nan],
            "held_params": [True, False, None, True],
            "wide": [2.0, 3.0, 4.0, 5.0],
        }
    )
    (row,) = hindcasts.by_distance(rows).to_dict("records")
    assert row == {
        "method": "approach 2",
        "decades": 1.0,
        "median": 0.2,
        "most": 0.3,
        "held": 1,
        "asked": 2,
        "wide": 3.0,
        "count": 3,
    }


def test_valleys_of_other_depths_take_a_budgets_place():
    """One budget is swapped, the others stay; a depth that was not trained is refused."""
    table, depths = campaign.table("main"), campaign.table("depths")
    found = hindcasts.deeper(table, depths, {1e11: 2})
    assert set(found[found["budget"] == 1e11]["depth"]) == {2}
    assert (
        found[found["budget"] > 1e11]["val_loss"].tolist()
        == table[table["budget"] > 1e11]["val_loss"].tolist()
    )
    with pytest.raises(ValueError, match="no valley of"):
        hindcasts.deeper(table, depths, {1e11: 7})


def test_the_floor_that_approach_3_sees():
    """With enough budgets E is the planted one, within its interval."""
    found = hindcasts.floors_seen(planted(), bootstrap=40)
    assert list(found["known"]) == list(BUDGETS[2:])
    assert found["E"].iloc[-1] == pytest.approx(SURFACE.E, abs=0.03)
    assert (found["low"] <= found["E"]).all()


def test_pictures_show_what_the_tables_hold(hindcast):
    """A mark a statement at said over found; a line a known budget; the floors in their places."""
    table = decades.joined(decades.cores(), decades.gpu())
    tests = prediction.tests(fit_isoflop(table, bootstrap=40).valleys)
    _, axes = plt.subplots(1, 3)
    prediction_figures.plot_tests(axes, tests)
    for ax, (_, part) in zip(axes, tests.groupby("quantity", sort=False), strict=True):
        marks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("o", "s")]
        np.testing.assert_allclose(sorted(marks), sorted(part["miss"] + 1))
    _, pair = plt.subplots(1, 2)
    for ax, quantity, method in zip(pair, ("params", "loss"), ("approach 2", "floors"), strict=True):
        some = hindcast[hindcast["method"] == method]
        prediction_figures.plot_fan(ax, some, quantity, method, BUDGETS)
        lines = [line for line in ax.lines if line.get_marker() == "o"]
        assert len(lines) == some["known"].nunique()
        assert all(line.get_ydata()[0] == 1 for line in lines)
        colours = budget_colours(BUDGETS)
        assert [line.get_color() for line in lines] == [
            colours[known] for known in sorted(set(some["known"]))
        ]
    prediction_figures.finish_fans(pair)
    assert pair[0].get_ylim() == pair[1].get_ylim()
    floors = pd.DataFrame({"known": [1e12, 1e13], "E": [1.5, 1.0], "low": [1.0, 0.5], "high": [1.7, 1.2]})
    ax = prediction_figures.plot_floor(plt.figure().subplots(), floors)
    assert list(ax.lines[0].get_ydata()) == [1.5, 1.0]
    plt.close("all")
