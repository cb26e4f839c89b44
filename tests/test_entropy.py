"""Estimates of E on planted laws, and the picture of the committed runs on the source of known entropy."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minichin import entropy, entropy_figures
from minichin.fit import FitError
from minichin.law import LossSurface
from minichin.synthetic import default_source
from tests.planted import sweep


def floors(law, count=6):
    flops = 10.0 ** np.linspace(11, 14, count)
    return [SimpleNamespace(flops=c, loss_opt=float(law(c))) for c in flops]


def test_the_floor_of_a_planted_power_law_is_found():
    """Without noise E comes out exactly, and its interval has no width."""
    found = entropy.by_floors(floors(lambda c: 1.3 + 40 * c**-0.15), replicates=20)
    assert found.value == pytest.approx(1.3, abs=1e-4)
    assert found.interval == pytest.approx((1.3, 1.3), abs=1e-3)
    with pytest.raises(FitError, match="four budgets or more"):
        entropy.by_floors(floors(lambda c: 1.3 + 40 * c**-0.15, 3))


def test_noise_gives_an_interval_that_holds_the_truth():
    """Scattered floors: the interval is wide and holds the planted E."""
    rng = np.random.default_rng(0)
    found = entropy.by_floors(floors(lambda c: 1.3 + 40 * c**-0.15 + 0.002 * rng.standard_normal(), 9))
    assert found.holds(1.3)
    assert not found.holds(0.0)
    assert not entropy.Estimate("bare", 1.3, None).holds(1.3)
    assert found.interval[1] - found.interval[0] > 0.01


def test_readers_are_scored_as_models_are():
    """Worked by hand: in blocks of four predictions the first knows one symbol, the second two."""
    assert entropy.scored((3.0, 2.0, 1.5, 1.0), 4) == pytest.approx((3.0, 2.0, 1.625, 1.375))
    assert entropy.scored((3.0, 2.0, 1.5, 1.0), 10**4)[-1] == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ValueError, match="one prediction or more"):
        entropy.scored((3.0, 2.0), 0)


def test_the_source_itself_scores_the_least():
    """Blocks drawn from the source and read with all that is known in each place: the mean is `scored`."""
    source, context = default_source(), 4
    blocks = source.sample(5 * 40_000, 3).reshape(-1, context + 1).astype(int).T
    joint = source.stationary[..., None] * source.probabilities
    pairs, triples = joint.sum(axis=(0, 1)), joint.sum(axis=0)
    pairs, triples = (table / table.sum(axis=-1, keepdims=True) for table in (pairs, triples))
    a, b, c, d, e = blocks
    chances = (
        pairs[a, b],
        triples[a, b, c],
        source.probabilities[a, b, c, d],
        source.probabilities[b, c, d, e],
    )
    losses = -np.log(np.array(chances)).mean(axis=0)
    error = losses.std() / np.sqrt(len(losses))
    assert losses.mean() == pytest.approx(entropy.scored(source.entropies, context)[-1], abs=5 * error)
    assert abs(losses.mean() - source.entropy_rate) > 20 * error


def test_a_power_law_above_the_entropy_has_equal_slopes():
    """With the true entropy slopes are equal; with a wrong one they are not."""
    valleys = floors(lambda c: 1.3 + 40 * c**-0.15)
    assert entropy.excess_slopes(valleys, 1.3) == pytest.approx([0.15] * 5)
    assert np.ptp(entropy.excess_slopes(valleys, 1.2)) > 0.01


def test_approach_3_finds_a_planted_entropy():
    """E of a planted surface comes out of a table without noise; budgets beyond the limit stay out."""
    surface = LossSurface(1.5, 40.0, 60.0, 0.4, 0.35)
    table = sweep(surface, noise=0.0)
    most = float(table["budget"].max())
    found = entropy.by_surface(table, most, bootstrap=0)
    assert found.value == pytest.approx(1.5, abs=0.01)
    assert found.interval is None
    fewer = entropy.by_surface(table, float(table["budget"].median()), bootstrap=0)
    later = entropy.by_surface(table, least=float(table["budget"].median()), bootstrap=0)
    assert len({found.name, fewer.name, later.name}) == 3
    assert found.left < 1e-3
    bent = table.assign(val_loss=table["val_loss"] + 0.1 * (table["budget"] == table["budget"].min()))
    assert entropy.by_surface(bent, bootstrap=0).left > 0.01
    assert entropy.misfit(table).abs().max() < 2e-3
    assert entropy.misfit(bent)[bent["budget"] == bent["budget"].min()].mean() > 0.01
    assert entropy.by_surface(bent, least=float(table["budget"].min()) * 1.1, bootstrap=0).left < 1e-3


def test_intervals_cover_where_the_law_holds():
    """On copies that follow the law the bootstrap holds the planted E mostly; without intervals, never."""
    table = sweep(LossSurface(1.5, 40.0, 60.0, 0.4, 0.35), noise=0.003)
    assert entropy.covered(table, 0, 5, bootstrap=30) >= 3
    assert entropy.covered(table, 0, 2, bootstrap=0) == 0


def test_committed_runs_lie_above_the_entropy():
    """No run beats the source; more symbols known leave less to learn; all runs are on that source."""
    table, levels = entropy.runs(), entropy.truth()
    (context,) = table["context"].unique()
    least = entropy.scored(levels, int(context))[-1]
    assert list(levels) == sorted(levels, reverse=True)
    assert table["val_loss"].min() > least > levels[-1]
    assert set(table["corpus"]) == {"synthetic"}
    assert table["budget"].nunique() == 5


def test_pictures_show_each_estimate_and_floor():
    """A dot an estimate, a line for the truth, the floors above it."""
    fig, axes = plt.subplots(1, 2)
    estimates = [entropy.Estimate("one", 1.2, (1.1, 1.4)), entropy.Estimate("two", 1.5, None)]
    entropy_figures.plot_estimates(axes[0], estimates, 1.3, 1.6)
    assert sum(line.get_marker() == "o" for line in axes[0].lines) == 2
    valleys = floors(lambda c: 1.3 + 40 * c**-0.15)
    entropy_figures.plot_excess(axes[1], valleys, (3.0, 2.2, 1.6, 1.3))
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), [v.loss_opt - 1.3 for v in valleys])
    plt.close(fig)
