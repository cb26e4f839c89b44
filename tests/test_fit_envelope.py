"""Approach 1 against planted training curves."""

import numpy as np
import pandas as pd
import pytest

from minichin.fit import FitError, fit_envelope
from tests.planted import curves, surface, sweep

FINE = {"widths": 41, "reach": 6.0, "budgets": (1e11, 2e11, 4e11, 8e11, 1.6e12, 3.2e12)}


@pytest.mark.parametrize(("alpha", "beta"), [(0.35, 0.35), (0.45, 0.3)])
def test_planted_exponent_is_recovered(alpha: float, beta: float) -> None:
    """On a fine ladder of sizes the envelope's winners follow the planted exponent."""
    law = surface(alpha, beta)
    fit = fit_envelope(curves(law, **FINE), bootstrap=0)
    assert fit.a == pytest.approx(law.a, abs=0.01)
    assert fit.b == pytest.approx(law.b, abs=0.01)
    assert fit.warnings == ("seed_noise_unknown",) or fit.warnings == ()


def test_frontier_is_a_lower_envelope() -> None:
    """Loss never rises along the frontier, and nothing cheaper has reached what is on it."""
    runs = curves(surface(), seeds=2, noise=0.01)
    front = fit_envelope(runs, bootstrap=0).frontier
    assert list(front.columns[:6]) == [
        "flops",
        "params",
        "tokens",
        "val_loss",
        "spec_hash",
        "fraction_of_run",
    ]
    assert (np.diff(front["flops"]) > 0).all()
    assert (np.diff(front["val_loss"]) <= 0).all()
    assert front["fraction_of_run"].between(0, 1 + 1e-9).all()
    assert set(front["spec_hash"]) <= set(runs["spec_hash"])


def test_winners_lie_late_in_their_runs() -> None:
    """Where the loss falls with the learning rate, the winners are late in training, as the paper's are."""
    front = fit_envelope(curves(surface(), decay=0.5), bootstrap=0).frontier
    assert front["fraction_of_run"].median() > 0.75


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Over 30 planted studies of seven sizes and 0.01 nats of noise, intervals hold a in 25 or more."""
    law = surface()
    hits = 0
    for seed in range(30):
        table = curves(law, noise=0.01, seeds=2, seed=seed, off_center=float(np.exp(0.1 * (seed % 7 - 3))))
        low, high = fit_envelope(table, bootstrap=100, seed=seed).a_interval or (0, 0)
        hits += low <= law.a <= high
    assert hits >= 25


def test_without_curves_final_losses_serve() -> None:
    """One row a run is the envelope of final losses, with a warning: the best run of each budget."""
    law = surface()
    table = sweep(law, widths=15)
    fit = fit_envelope(table, bootstrap=0)
    assert "no_curves" in fit.warnings
    assert len(fit.frontier) == 4
    assert fit.a == pytest.approx(law.a, abs=0.02)


def test_edge_winners_are_named_and_unused() -> None:
    """A budget won by its largest size says that the frontier lies beyond, and does not bend the exponent."""
    law = surface()
    table = pd.concat([sweep(law), sweep(law, budgets=(1e13,), off_center=1 / 12)])
    fit = fit_envelope(table, bootstrap=0)
    assert "minimum_not_bracketed" in fit.warnings
    assert list(fit.frontier["used"]) == [True] * 4 + [False]
    assert fit.a == pytest.approx(law.a, abs=0.02)


def test_diverged_curves_are_listed() -> None:
    """A run whose loss became no number is left out as a whole, row by row."""
    runs = curves(surface())
    rows = np.flatnonzero(runs["spec_hash"] == "run3")
    runs.loc[rows[-2:], "val_loss"] = np.nan
    fit = fit_envelope(runs, bootstrap=0)
    assert [d["row"] for d in fit.dropped] == list(rows + 1)
    assert "run3" not in set(fit.frontier["spec_hash"])


def test_one_size_shows_no_exponent() -> None:
    """Runs of a single size have no frontier to speak of."""
    table = sweep(surface())
    with pytest.raises(FitError, match="shows no exponent"):
        fit_envelope(table.assign(params=1e5), bootstrap=0)


def test_row_order_does_not_matter() -> None:
    """Shuffled evaluations give the same envelope."""
    runs = curves(surface(), noise=0.01)
    fit, shuffled = (
        fit_envelope(runs, bootstrap=0),
        fit_envelope(runs.sample(frac=1, random_state=0), bootstrap=0),
    )
    assert shuffled.a == pytest.approx(fit.a, abs=1e-9)


def test_smoothing_leaves_smooth_curves_alone() -> None:
    """A light Gaussian window moves the exponent of smooth curves by little."""
    runs = curves(surface(), **FINE, evaluations=60)
    assert fit_envelope(runs, bootstrap=0, smooth=0.5).a == pytest.approx(
        fit_envelope(runs, bootstrap=0).a, abs=0.02
    )
