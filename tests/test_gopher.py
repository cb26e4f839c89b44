"""Mini-Gopher against mini-Chinchilla: claims by hand, the committed answers, and how they are made."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from minichin import campaign, downstream, gopher, gopher_claims, gopher_figures
from minichin.experiments import gopher as specs
from minichin.fit import fit_isoflop
from minichin.runs import Store
from tests.test_train import tiny

SMALL, LARGE = gopher_claims.SMALL, gopher_claims.LARGE


def by_hand() -> pd.DataFrame:
    """Three seeds of both sizes: the smaller one has a lower loss by 0.1 and 1 % fewer pairs right."""
    rows = []
    for seed, luck in enumerate((-0.01, 0.0, 0.01)):
        for width, loss, share in ((SMALL, 1.5, 0.52), (LARGE, 1.6 + luck, 0.53)):
            row = dict.fromkeys(gopher_claims.MEASURES, loss) | {"pairs_right": share, "bits_other": 2.0}
            rows.append({"width": width, "seed": seed, "spec_hash": f"{width}-{seed}", **row})
    return pd.DataFrame(rows)


def test_claims_by_hand():
    """Advantages point to the smaller model, intervals are Student's, verdicts follow from them."""
    found = gopher_claims.claims(by_hand())
    loss = found.loc["val_loss"]
    half = 4.302652729911275 * 0.01 / np.sqrt(3)  # Student's t, 97.5 %, two degrees of freedom
    assert loss["advantage"] == pytest.approx(0.1)
    assert (loss["low"], loss["high"]) == pytest.approx((0.1 - half, 0.1 + half))
    assert (loss["wins"], loss["seeds"], loss["verdict"]) == (3, 3, "better")
    assert found.loc["words_right", "advantage"] == pytest.approx(-10)  # a share, in per cent: more is better
    assert found.loc["words_right", "verdict"] == "worse"
    assert found.loc["pairs_right", "advantage"] == pytest.approx(-1)
    assert found.loc["bits_other", "verdict"] == "cannot tell"


def test_claims_need_both_sizes():
    """One size alone is refused; one seed has an advantage and no verdict."""
    table = by_hand()
    with pytest.raises(ValueError, match="widths 72 and 152 are needed"):
        gopher_claims.claims(table[table["width"] == SMALL])
    one = gopher_claims.claims(table[table["seed"] == 0])
    assert one.loc["val_loss", "verdict"] == "cannot tell"
    assert np.isnan(one.loc["val_loss", "low"])


def test_chance_and_its_interval():
    """A share of 0.52 over 10,000 pairs is above chance, over 1,000 it is not."""
    value, interval = gopher_claims.above_chance([0.51, 0.53], 10_000)
    assert value == pytest.approx(0.02)
    assert interval == pytest.approx((0.0102, 0.0298))
    assert gopher_claims.above_chance([0.51, 0.53], 1000)[1][0] < 0


def test_the_worth_of_a_loss():
    """A floor is worth its own budget, a loss between two floors something between, another is refused."""
    valleys = fit_isoflop(campaign.table("main"), bootstrap=0).valleys
    assert gopher_claims.worth(valleys[2].loss_opt, valleys) == pytest.approx(valleys[2].flops)
    middle = (valleys[2].loss_opt + valleys[3].loss_opt) / 2
    assert gopher_claims.worth(middle, valleys) == pytest.approx(np.sqrt(valleys[2].flops * valleys[3].flops))
    with pytest.raises(ValueError, match="lies outside of the floors"):
        gopher_claims.worth(5.0, valleys)


def test_speeds_by_hand():
    """The ratio is taken round by round: a round that disturbs both models leaves it alone."""
    rates = {str(SMALL): {"rates": [30, 3, 60, 90]}, str(LARGE): {"rates": [10, 1, 20, 30]}}
    assert gopher_claims.speed({"texts": {"16": rates}}, 16) == (3.0, (3.0, 3.0))
    found = {"repeats": [{"1": {str(SMALL): small, str(LARGE): 10}} for small in (20, 35, 30)]}
    assert gopher_claims.repeats(found, 1) == (2.0, 3.5)


def test_the_committed_answers_are_those_of_the_committed_runs():
    """Answers, paradigms and records name the same ten runs, with the same losses and mean shares."""
    table, pairs = gopher_claims.answers(), gopher_claims.paradigms()
    runs = campaign.table("gopher").set_index("spec_hash")
    assert sorted(table["spec_hash"]) == sorted(runs.index)
    assert list(table) == list(gopher.COLUMNS)
    for row in table.to_dict("records"):
        assert row["val_loss"] == pytest.approx(runs.loc[row["spec_hash"], "val_loss"], rel=1e-12)
        assert row["pairs_right"] == pytest.approx(pairs[row["spec_hash"]].mean(), abs=1e-9)
    assert len(pairs) == 67


def test_the_committed_cost_is_of_these_models():
    """Weights take four bytes each, and the FLOPs of a token are those of the shapes."""
    found = gopher_claims.use()
    for spec in specs()[:2]:
        width = str(spec.width)
        assert found["flops_per_token"][width] == pytest.approx(spec.shape.flops_per_token("full") / 3)
        for of_texts in found["texts"].values():
            assert of_texts[width]["weight_bytes"] == 4 * spec.shape.params
            assert of_texts[width]["tokens_per_s"] == pytest.approx(
                np.median(of_texts[width]["rates"]), rel=1e-3
            )
    assert found["machine"]["cpu"]


def test_paradigms_are_averaged_over_seeds():
    """Means and differences of one paradigm, by hand."""
    table = by_hand()
    shares = {f"{SMALL}-{s}": [0.5 + 0.1 * s] for s in range(3)} | {f"{LARGE}-{s}": [0.4] for s in range(3)}
    pairs = pd.DataFrame({"shorter": [0.25], **shares}, index=pd.Index(["one"], name="paradigm"))
    (row,) = gopher_claims.by_paradigm(pairs, table).to_dict("records")
    assert row["small"] == pytest.approx(0.6)
    assert row["advantage"] == pytest.approx(0.2)
    assert row["low"] < 0 < row["high"]
    assert row["shorter"] == 0.25


def test_the_shorter_sentence():
    """Shorter, longer and equal good sentences count one, nothing and a half."""
    found = downstream.length_scores({"three": [("a", "bb"), ("aa", "b"), ("a", "b")]})
    assert found == {"three": 0.5}


def test_answers_of_a_model_made_from_nothing(tmp_path):
    """A run is trained, kept and asked; asked again it is the same; what it costs is of both sizes."""
    if not (downstream.data_folder() / "blimp.zip").is_file():
        pytest.skip("blimp.zip is not in the folder of published data; set MINICHIN_PUBLISHED_DATA")
    some = [dataclasses.replace(tiny(width=width, context=16, steps=20), seed=0) for width in (8, 16)]
    table, pairs = gopher.compare(some, Store(tmp_path / "store"), tmp_path, pairs=1)
    assert table["width"].tolist() == [8, 16]
    assert list(table) == list(gopher.COLUMNS)
    assert list(pairs) == ["shorter", *table["spec_hash"]]
    assert (table["pairs"] == 67).all()
    assert pairs[table["spec_hash"][0]].mean() == pytest.approx(table["pairs_right"][0])
    assert Store(tmp_path / "store").by_key().keys() == set(table["spec_hash"])
    _, row, _ = gopher.answers(some[0], tmp_path, pairs=1)
    assert row == table.iloc[0].to_dict()
    cost = gopher.cost(some, tmp_path, rounds=2, seconds=0.01)
    assert set(cost["texts"]) == {"1", "16"}
    assert set(cost["texts"]["16"]) == {"8", "16"}


def test_pictures_show_what_the_tables_hold():
    """Dots of both sizes, a filled mark where an interval excludes zero, a dot a paradigm."""
    runs = campaign.table("gopher")
    main = campaign.table("main")
    ax = gopher_figures.plot_pair(plt.figure().subplots(), main[main["budget"] == 1e13], runs)
    assert [len(line.get_xdata()) for line in ax.lines[2:]] == [5, 5]
    claims = gopher_claims.claims(by_hand())
    ax = gopher_figures.plot_claims(plt.figure().subplots(), claims)
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in marks] == list(
        claims["verdict"] == "cannot tell"
    )
    shares = pd.DataFrame({"small": [0.2, 0.9], "large": [0.1, 0.8], "shorter": [0.5, 0.5]})
    ax = gopher_figures.plot_paradigms(plt.figure().subplots(), shares)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [20, 90])
    plt.close("all")
