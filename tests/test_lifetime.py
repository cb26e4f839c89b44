"""The cheapest model for a life: unused it is Chinchilla's, more use makes it smaller, none is cheaper."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minichin import lifetime as life
from minichin import lifetime_figures, published
from minichin.law import LossSurface

surfaces = st.builds(
    LossSurface,
    st.floats(0.1, 2.5),
    st.floats(5, 500),
    st.floats(5, 2000),
    st.floats(0.2, 0.6),
    st.floats(0.2, 0.6),
)
compute = st.floats(1e12, 1e24)


@given(surfaces, compute)
def test_without_use_it_is_the_compute_optimal_model(surface, flops):
    """No tokens served: Chinchilla's size, tokens and cost."""
    found, best = life.lifetime(surface, flops, 0.0), surface.optimum(flops)
    assert found.params == float(best.params)
    assert found.tokens == float(best.tokens)
    assert found.cost == pytest.approx(flops, rel=1e-9)
    assert found.params_ratio == found.cost_ratio == 1


@given(surfaces, compute, st.floats(0.01, 1e3))
def test_no_other_size_of_that_loss_is_cheaper(surface, flops, times):
    """Sizes a little and a lot smaller or larger, of the same loss, cost no less over the whole life."""
    served = times * float(surface.optimum(flops).tokens)
    found = life.lifetime(surface, flops, served)
    assert float(surface.value(found.params, found.tokens)) == pytest.approx(found.loss, rel=1e-7)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        try:
            tokens = float(surface.tokens_for(found.loss, factor * found.params))
        except ValueError:
            continue  # too small for that loss
        other = life.TRAIN * factor * found.params * tokens + life.SERVE * factor * found.params * served
        assert other >= found.cost * (1 - 1e-9)


@given(surfaces, compute, st.floats(0.01, 100), st.floats(1.5, 100))
def test_more_use_means_smaller_and_longer(surface, flops, times, factor):
    """More tokens served: fewer parameters, more text, more training, and a larger part of the cost saved."""
    tokens = float(surface.optimum(flops).tokens)
    some, more = (life.lifetime(surface, flops, n * tokens) for n in (times, times * factor))
    assert more.params < some.params <= float(surface.optimum(flops).params)
    assert more.tokens > some.tokens
    assert more.flops_ratio > some.flops_ratio >= 1
    assert more.cost_ratio <= some.cost_ratio <= 1


def test_bad_use_is_refused():
    """Negative or infinite tokens are refused with the number."""
    for served in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="tokens served must be zero or more"):
            life.lifetime(published.LAWS["besiroglu"].surface, 1e21, served)


def test_a_shrunk_model_needs_more_text_and_compute():
    """At share one nothing changes; half the size costs more; a size that cannot reach the loss is NaN."""
    surface = published.LAWS["besiroglu"].surface
    assert life.shrunk(surface, 1e23, 1.0) == pytest.approx((1, 1))
    tokens, flops = life.shrunk(surface, 1e23, 0.5)
    assert tokens > 2
    assert 1 < flops < tokens
    table = life.over_training(surface, 1e23, np.array([1e-3, 0.5, 1.0]))
    assert np.isnan(table[0]).all()
    assert table[1] == pytest.approx((tokens, flops))


def test_intervals_hold_the_estimate_of_a_planted_fit():
    """Replicates that are the surface itself give an interval of no width; scattered ones a wider one."""
    surface = LossSurface(1.0, 40.0, 60.0, 0.4, 0.35)
    row = np.array([1.0, 40.0, 60.0, 0.4, 0.35])
    spread = row * np.exp(0.05 * np.random.default_rng(0).standard_normal((100, 5)))
    for rows, width in ((np.tile(row, (50, 1)), 0.0), (spread, 0.01)):
        fit = SimpleNamespace(surface=surface, surface_replicates=rows)
        value, interval = life.with_intervals(fit, 1e14, 1e9)["params_ratio"]
        assert interval[0] <= value + 1e-12
        assert interval[1] >= value - 1e-12
        assert interval[1] - interval[0] >= width


def test_pictures_show_laws_and_runs():
    """One line a law, one dot a run."""
    laws = {"one": published.LAWS["besiroglu"].surface, "two": LossSurface(1.0, 40.0, 60.0, 0.4, 0.35)}
    fig, axes = plt.subplots(1, 3)
    lifetime_figures.plot_served(axes[0], laws, 1e22)
    lifetime_figures.plot_shrunk(axes[1], laws, 1e22)
    assert [len(ax.get_legend_handles_labels()[1]) for ax in axes[:2]] == [2, 2]
    runs = pd.DataFrame(
        {"width": 8, "params": 1e4, "tokens": [1e5, 1e6], "budget": [1e10, 1e11], "val_loss": [3, 2.5]}
    )
    table = life.by_width(runs, [8])
    assert list(table["ratio"]) == [10, 100]
    lifetime_figures.plot_fixed_sizes(axes[2], table, laws["two"])
    assert sum(line.get_marker() == "o" for line in axes[2].lines) == 2
    plt.close(fig)


@given(surfaces, compute, st.floats(0.02, 100))
def test_over_training_costs_the_same_share_at_every_loss(surface, flops, factor):
    """The share is that of a model of this size on the surface itself, and one at the optimum."""
    (extra,) = life.over_trained(surface, [factor])
    best = surface.optimum(flops)
    size = np.sqrt(extra / factor) * float(best.params)
    tokens = factor * float(best.tokens) / float(best.params) * size
    assert float(surface.value(size, tokens)) == pytest.approx(float(best.loss), rel=1e-9)
    assert extra >= 1 - 1e-12
    assert life.over_trained(surface, [1.0])[0] == 1
    with pytest.raises(ValueError, match="positive and finite, got 0"):
        life.over_trained(surface, [0])


def test_runs_of_a_planted_surface_lie_on_its_line():
    """Noiseless runs, held against noiseless floors, cost what the surface says; beyond them none is told."""
    surface = LossSurface(0.0, 4.0, 6.0, 0.1, 0.1)  # without a floor: interpolation in logarithms is exact
    valleys = []
    for flops in (1e11, 1e13, 1e15):
        best = surface.optimum(flops)
        values = {"params_opt": best.params, "tokens_opt": best.tokens, "loss_opt": best.loss}
        valleys.append(SimpleNamespace(flops=flops, **values))
    params = np.array([0.2, 0.5, 2.0]) * float(surface.optimum(1e14).params)
    runs = pd.DataFrame({"budget": 1e14, "width": [8, 16, 32], "params": params, "flops": 1e14})
    runs["tokens"] = 1e14 / 6 / runs["params"]
    runs["val_loss"] = surface.value(runs["params"], runs["tokens"])
    table = life.measured(pd.concat([runs, runs.assign(width=9, val_loss=0.1)]), valleys)
    assert sorted(table["width"]) == [8, 16, 32]
    assert table["extra"].to_numpy() == pytest.approx(life.over_trained(surface, table["factor"]))
    fig, ax = plt.subplots()
    spread = life.over_trained_spread(
        SimpleNamespace(surface_replicates=np.array([[0.0, 4, 6, 0.1, 0.1], [0.0, 4, 6, 0.3, 0.1]])),
        lifetime_figures.FACTORS,
    )
    assert (spread[0] <= spread[1]).all()
    lifetime_figures.plot_measured(ax, table, surface, spread)
    assert sum(line.get_marker() == "o" for line in ax.lines) == 3
    plt.close(fig)


def test_a_published_saving_is_found():
    """Sardana et al., Fig. 1: 7 billion in place of 13, with 2e12 tokens served, saves 17 %, 1.7e22 FLOPs."""
    surface = published.LAWS["chinchilla_tex"].surface
    flops = float(surface.power_laws()[0].inverse(13e9))
    saved = flops * (1 - life.shrunk(surface, flops, 7 / 13)[1]) + life.SERVE * 6e9 * 2e12
    assert saved == pytest.approx(1.7e22, rel=0.05)
    assert saved / (flops + life.SERVE * 13e9 * 2e12) == pytest.approx(0.17, abs=0.01)
