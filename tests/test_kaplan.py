"""Kaplan's rule and the steps of his procedure, against planted losses and exponents."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from minichin import beside, kaplan, kaplan_figures
from minichin.experiments import SMALL
from minichin.law import LossSurface
from minichin.plan import make_spec, profile
from minichin.shape import ModelShape

from .planted import surface


def table(law: LossSurface, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """The ablations' cells, with losses of a planted surface and noise."""
    rng, rows = np.random.default_rng(seed), []
    for budget in SMALL:
        for width, _ in profile("cpu").grid[budget]:
            spec = make_spec(budget, width)
            rows.append(
                {
                    "budget": budget,
                    "width": width,
                    "seed": 0,
                    "params": spec.shape.params,
                    "params_non_embedding": spec.shape.params_non_embedding,
                    "tokens": spec.tokens,
                    "flops": float(spec.flops),
                    "val_loss": float(law.value(spec.shape.params, spec.tokens)) + rng.normal(0, noise),
                }
            )
    return pd.DataFrame(rows)


def rule(gaps: list[float]) -> pd.DataFrame:
    """Runs of the two rules, Kaplan's worse by a gap a seed, whatever a seed's two runs have in common."""
    rows = []
    for seed, gap in enumerate(gaps):
        base = 1.6 + 0.1 * seed
        rows += [(seed, kaplan.PAPER_WIDTH, base), (seed, kaplan.KAPLAN_WIDTH, base + gap)]
    return pd.DataFrame(rows, columns=["seed", "width", "val_loss"])


def test_the_rules_ask_for_their_widths() -> None:
    """The two widths are 3.2 and 5.5 times a model of 65 thousand weights, the optimum at a tenth of it."""
    sizes = {w: ModelShape(w, head_dim=w // 4).params for w in (kaplan.PAPER_WIDTH, kaplan.KAPLAN_WIDTH)}
    assert sizes[kaplan.PAPER_WIDTH] / 65e3 == pytest.approx(10**0.5, rel=0.02)
    assert sizes[kaplan.KAPLAN_WIDTH] / 65e3 == pytest.approx(5.5, rel=0.02)


def test_the_contest_is_the_paired_t_interval() -> None:
    """Mean and interval of the gaps are those of scipy's t-test of one sample."""
    gaps = [0.010, 0.012, 0.007, -0.001, 0.011]
    found = kaplan.contest(rule(gaps))
    interval = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(gaps))
    assert found.interval == pytest.approx((interval.low, interval.high))
    assert (found.seeds, found.worse) == (5, 4)


def test_one_seed_has_no_interval_and_none_is_an_error() -> None:
    """A contest of one seed says so; without a common seed there is none."""
    assert kaplan.contest(rule([0.01])).interval is None
    with pytest.raises(ValueError, match="no seed has both"):
        kaplan.contest(rule([0.01, 0.01]).iloc[[0, 3]])
    with pytest.raises(ValueError, match="widths 72 and 96"):
        kaplan.contest(rule([0.01]).iloc[[0]])


def test_a_planted_tilt_is_found() -> None:
    """A change that grows by 0.03 nats per e-fold of size at one budget only gives that slope there."""
    base = table(surface())
    extra = np.where(base["budget"] == 1e11, 0.03 * np.log(base["params"]), 0.1)
    changes = beside.changes(base, base.assign(val_loss=base["val_loss"] + extra))
    assert kaplan.tilts(changes).to_numpy() == pytest.approx([0.03, 0, 0], abs=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(0.35, 0.35), (0.40, 0.30)])
def test_recount_by_6nd_recovers_the_planted_exponent(alpha: float, beta: float) -> None:
    """Where sizes compete at equal 6ND, a is beta/(alpha+beta), as the law says in closed form."""
    found = kaplan.recount(table(surface(alpha, beta)), "6ND", bootstrap=0)
    assert found.inside
    assert found.interval is None
    assert found.a == pytest.approx(beta / (alpha + beta), abs=0.03)


def test_recount_by_kaplans_count_is_the_minimum_along_equal_compute() -> None:
    """Under Kaplan's count the slope is that of the surface minimised by brute force at equal 6ND'."""
    law = surface()
    widths = np.arange(8, 97, 4)
    all_, some = (
        np.array([getattr(make_spec(1e12, int(w)).shape, name) for w in widths], dtype=float)
        for name in ("params", "params_non_embedding")
    )
    fine = np.linspace(np.log(8), np.log(96), 4000)
    size, counted = (np.exp(np.interp(fine, np.log(widths), np.log(v))) for v in (all_, some))
    levels = np.geomspace(4e10, 6e11, 3)
    best = [counted[np.argmin(law.value(size, level / 6 / counted))] for level in levels]
    truth = np.polyfit(np.log(levels), np.log(best), 1)[0]
    found = kaplan.recount(table(law), "6ND_non_embedding", bootstrap=0)
    assert truth > 0.52  # above the law's own 0.5: the count alone raises the exponent
    assert found.a == pytest.approx(truth, abs=0.03)


def test_the_interval_of_a_recount_holds_noise() -> None:
    """With noise as between seeds, about 95 % of intervals hold the noise-free value: 16 of 20 or more."""
    truth = kaplan.recount(table(surface()), "6ND", bootstrap=0).a
    held = 0
    for seed in range(20):
        interval = kaplan.recount(table(surface(), 0.003, seed), "6ND", bootstrap=100, seed=seed).interval
        assert interval is not None
        held += interval[0] < truth < interval[1]
    assert held >= 16


def test_the_sentence_follows_the_interval() -> None:
    """Who wins is said from the sign, and whether it counts from the interval."""
    assert "excludes zero" in kaplan.contest_text(kaplan.contest(rule([0.010, 0.011])))
    assert "Kaplan's way" in kaplan.contest_text(kaplan.contest(rule([-0.010, -0.011])))
    assert "cannot tell" in kaplan.contest_text(kaplan.contest(rule([0.010, -0.009])))
    assert "no interval" in kaplan.contest_text(kaplan.contest(rule([0.010])))


def test_the_pictures_are_drawn() -> None:
    """Each picture shows what it was given: panels with names, a legend of counts, a dot a seed."""
    tables = {name: table(surface(), 0.003) for name in (kaplan.UNCHANGED, *kaplan.ABLATIONS.values())}
    fits = beside.fits(tables, bootstrap=20)
    _, axes = plt.subplots(3, 2)
    kaplan_figures.plot_ablations(axes.ravel(), fits)
    assert [ax.get_title() for ax in axes.flat][:5] == list(kaplan.ABLATIONS.values())
    changes = {name: beside.changes(tables[kaplan.UNCHANGED], tables[name]) for name in list(tables)[1:5]}
    _, axes = plt.subplots(2, 2)
    kaplan_figures.plot_all_changes(axes.ravel(), changes)
    assert [ax.get_legend() is not None for ax in axes.flat] == [True, False, False, False]
    _, ax = plt.subplots()
    rows = [("one", {"full": (0.5, (0.4, 0.6)), "other": (0.6, None)}), ("two", {"full": (0.7, None)})]
    kaplan_figures.plot_steps(ax, rows, 0.5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["full", "other"]
    runs = rule([0.01, 0.02])
    runs["params"] = runs["width"].map({kaplan.PAPER_WIDTH: 205_560, kaplan.KAPLAN_WIDTH: 357_024})
    _, ax = plt.subplots()
    kaplan_figures.plot_rule(ax, runs, runs)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 0, 2, 2]
    plt.close("all")
