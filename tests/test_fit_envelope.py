"""Approach 1 against planted training curves."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minichin.fit import FitError, fit_envelope
from minichin.fit.bootstrap import KINDS, SCHEMES
from minichin.fit.envelope import METHODS
from tests.planted import curves, surface, sweep

FINE = {"widths": 41, "reach": 6.0, "budgets": (1e11, 2e11, 4e11, 8e11, 1.6e12, 3.2e12)}


@pytest.mark.parametrize(("alpha", "beta"), [(0.35, 0.35), (0.45, 0.3)])
def test_planted_exponent_is_recovered(alpha: float, beta: float) -> None:
    """On a fine ladder of sizes the envelope's winners follow the planted exponent."""
    law = surface(alpha, beta)
    fit = fit_envelope(curves(law, **FINE), bootstrap=0)
    assert fit.a == pytest.approx(law.a, abs=0.01)
    assert fit.b == pytest.approx(law.b, abs=0.01)
    assert fit.warnings == ("winners_mid_run",)


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


def test_frontier_is_the_lowest_loss_of_any_run() -> None:
    """At each compute of the envelope, no run interpolated there by numpy has a lower loss."""
    runs = curves(surface(), noise=0.02, widths=30)
    front = fit_envelope(runs, bootstrap=0).frontier
    lowest = np.full(len(front), np.inf)
    at = np.log(front["flops"].to_numpy())
    for _, run in runs.groupby("spec_hash"):
        x = np.log(run["flops"].to_numpy())
        loss = np.interp(at, x, run["val_loss"])
        lowest = np.where((at >= x[-1] + np.log(0.2)) & (at <= x[-1]), np.minimum(lowest, loss), lowest)
    ends = front["fraction_of_run"].to_numpy() == 1
    assert front["val_loss"].to_numpy()[~ends] == pytest.approx(lowest[~ends], rel=1e-12)
    assert (front["val_loss"].to_numpy()[ends] <= lowest[ends] + 1e-12).all()


def test_winners_in_mid_run_are_named() -> None:
    """With budgets a factor 3 apart winners are in mid-training, which is named; not with 10 % between."""
    assert "winners_mid_run" in fit_envelope(curves(surface(), decay=0.5), bootstrap=0).warnings
    dense = curves(surface(), decay=0.5, budgets=tuple(np.geomspace(1e11, 1e12, 26)))
    fit = fit_envelope(dense, bootstrap=0)
    assert fit.warnings == ()
    assert fit.frontier["fraction_of_run"].min() >= 0.85


def test_hull_keeps_the_ends_of_runs() -> None:
    """The hull of curves that fall steeply at their ends touches nothing but ends, one a budget."""
    fit = fit_envelope(curves(surface(), widths=15, decay=0.5), bootstrap=0, method="hull")
    assert fit.frontier["fraction_of_run"].to_numpy() == pytest.approx(np.ones(4))
    assert fit.a == pytest.approx(0.5, abs=0.03)
    assert fit.warnings == ()


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_curves", [True, False])
@given(order=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_row_order_does_not_matter(method: str, with_curves: bool, order) -> None:  # type: ignore[no-untyped-def]
    """Shuffled rows give the same exponents, frontier and interval."""
    make = curves if with_curves else sweep
    runs = make(surface(), noise=0.01, seeds=2)
    rows = list(range(len(runs)))
    order.shuffle(rows)
    fit, shuffled = (
        fit_envelope(t, bootstrap=40, method=method).frontier.drop(columns="spec_hash")
        for t in (runs, runs.iloc[rows])
    )
    pd.testing.assert_frame_equal(shuffled, fit)
    one, other = (fit_envelope(t, bootstrap=40, method=method) for t in (runs, runs.iloc[rows]))
    assert other.a_interval == pytest.approx(one.a_interval, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@given(scale=st.floats(1e-3, 1e6), resample=st.sampled_from(SCHEMES), interval=st.sampled_from(KINDS))
@settings(max_examples=10, deadline=None)
def test_units_of_params_move_the_coefficient_alone(
    method: str, scale: float, resample: str, interval: str
) -> None:
    """Params counted in other units, at the same FLOPs, change k_N by the factor and nothing else."""
    runs = curves(surface(), noise=0.01)
    options = {"bootstrap": 60, "method": method, "resample": resample, "interval": interval}
    fit = fit_envelope(runs, **options)  # type: ignore[arg-type]
    scaled = fit_envelope(runs.assign(params=runs["params"] * scale), **options)  # type: ignore[arg-type]
    assert scaled.n_opt.coefficient == pytest.approx(scale * fit.n_opt.coefficient, rel=1e-8)
    assert scaled.d_opt.coefficient == pytest.approx(fit.d_opt.coefficient, rel=1e-8)
    assert (scaled.a, scaled.b) == pytest.approx((fit.a, fit.b), abs=1e-9)
    assert scaled.a_interval == pytest.approx(fit.a_interval, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@given(more=st.lists(st.integers(0, 27), min_size=1, max_size=5))
@settings(max_examples=10, deadline=None)
def test_a_run_given_twice_changes_no_mean(method: str, more: list[int]) -> None:
    """Runs that stand in the table twice, under another name, leave the point fit as it is."""
    runs = curves(surface(), noise=0.01)
    twice = runs[runs["spec_hash"].isin([f"run{i}" for i in more])]
    both = pd.concat([runs, twice.assign(spec_hash=twice["spec_hash"] + "again")])
    fit, other = (fit_envelope(t, bootstrap=0, method=method) for t in (runs, both))
    assert (other.a, other.b) == pytest.approx((fit.a, fit.b), abs=1e-12)


@pytest.mark.parametrize("interval", KINDS)
@pytest.mark.parametrize("resample", SCHEMES)
def test_every_scheme_gives_an_interval_round_the_estimate(resample: str, interval: str) -> None:
    """Each way of redrawing and of reading off holds the estimate, and the result says which it was."""
    runs = curves(surface(), noise=0.01, seeds=2, budgets=tuple(np.geomspace(1e11, 3e12, 6)))
    fit = fit_envelope(runs, bootstrap=200, resample=resample, interval=interval)
    assert (fit.resample, fit.interval_kind) == (resample, interval)
    low, high = fit.a_interval or (0, 0)
    assert low <= fit.a <= high
    assert 0.001 < high - low < 0.6


def test_more_seeds_narrow_the_interval() -> None:
    """Ten seeds a cell give an interval of a at most two thirds as wide as one seed does, at equal noise."""
    wide, narrow = (
        fit_envelope(curves(surface(), noise=0.01, seeds=n, seed=1), bootstrap=200).a_interval or (0, 0)
        for n in (1, 10)
    )
    assert narrow[1] - narrow[0] < (wide[1] - wide[0]) * 2 / 3


def test_without_any_sign_of_noise_cells_are_redrawn() -> None:
    """Where neither seeds nor valleys tell the noise, the interval comes from redrawn cells, and says so."""
    params = np.geomspace(1e4, 1e6, 12)
    table = {"params": params, "tokens": 25 * params, "loss": surface().value(params, 25 * params)}
    fit = fit_envelope(table, bootstrap=100)
    assert fit.a == pytest.approx(0.5, abs=1e-9)
    assert fit.resample == "seeds"
    assert {"seed_noise_unknown", "no_curves"} <= set(fit.warnings)
    assert fit.a_interval is not None


THREE_ROWS = {
    "three sizes": {"params": [1e4, 1e5, 1e6], "tokens": [1e6, 1e7, 1e8], "loss": [4.0, 3.0, 2.0]},
    "one budget": {"params": [1e4, 1e5, 1e6], "tokens": [1e8, 1e7, 1e6], "loss": [4.0, 3.0, 3.5]},
    "one curve": {"run": ["x"] * 3, "params": [1e4] * 3, "tokens": [1e6, 1e7, 1e8], "loss": [4.0, 3.0, 2.0]},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", THREE_ROWS)
def test_three_rows_are_refused_in_one_line(name: str, method: str) -> None:
    """Three rows show no exponent, whatever they are: one line, with the number that it takes."""
    with pytest.raises(FitError, match=r"^approach 1 needs at least 4 rows, got 3$"):
        fit_envelope(THREE_ROWS[name], method=method)


def test_one_budget_cannot_be_redrawn() -> None:
    """Redrawing budgets of a table that has one is refused, with the cure."""
    params = np.geomspace(1e4, 1e6, 200)
    table = {"params": params, "tokens": 25 * params, "loss": surface().value(params, 25 * params)}
    with pytest.raises(FitError, match="budgets needs two units or more, the table has one"):
        fit_envelope(table, resample="budgets")


@pytest.mark.parametrize(
    "options",
    [
        {"method": "lowest"},
        {"resample": "runs"},
        {"interval": "normal"},
        {"skip": 1.0},
        {"smooth": -1.0},
        {"smooth": float("inf")},
        {"bootstrap": -1},
    ],
)
def test_bad_arguments_are_named(options: dict[str, object]) -> None:
    """An argument that cannot be is the caller's mistake, named in the message."""
    with pytest.raises(ValueError, match=next(iter(options))):
        fit_envelope(curves(surface()), **options)  # type: ignore[arg-type]


def test_a_run_of_one_evaluation_competes() -> None:
    """A finished run of one evaluation among curves wins where it has the lowest loss."""
    runs = curves(surface())
    last = runs[runs["spec_hash"] == "run10"].tail(1)
    alone = last.assign(spec_hash="alone", params=last["params"] * 1.1, val_loss=last["val_loss"] - 0.05)
    front = fit_envelope(pd.concat([runs, alone]), bootstrap=0).frontier
    won = front[front["spec_hash"] == "alone"]
    assert len(won) == 1
    assert won["flops"].iloc[0] == pytest.approx(last["flops"].iloc[0], rel=1e-12)
    assert won["fraction_of_run"].iloc[0] == 1


@pytest.mark.parametrize("evaluations", [1, 8])
def test_large_tables_need_no_table_of_runs_by_compute(evaluations: int) -> None:
    """80,000 rows take less than 100 MB; a table of runs by compute takes 120, or 960 without curves."""
    rng = np.random.default_rng(0)
    runs = 80_000 // evaluations
    law, done = surface(), np.geomspace(0.1, 1, evaluations) if evaluations > 1 else np.ones(1)
    flops = rng.choice(np.geomspace(1e11, 1e14, 30), runs)
    params = np.asarray(law.optimum(flops).params) * np.exp(rng.uniform(-1.4, 1.4, runs))
    spent, n = (flops[:, None] * done).ravel(), params.repeat(evaluations)
    loss = law.value(n, spent / 6 / n) + 0.1 * (1 - np.tile(done, runs)) + rng.normal(0, 0.01, n.size)
    table = {"run": np.arange(runs).repeat(evaluations), "params": n, "tokens": spent / 6 / n, "loss": loss}
    table["budget"] = flops.repeat(evaluations)
    tracemalloc.start()
    fit = fit_envelope(table, bootstrap=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e8
    assert fit.a == pytest.approx(law.a, abs=0.05)


def test_smoothing_leaves_smooth_curves_alone() -> None:
    """A light Gaussian window moves the exponent of smooth curves by little."""
    runs = curves(surface(), **FINE, evaluations=60)
    assert fit_envelope(runs, bootstrap=0, smooth=0.5).a == pytest.approx(
        fit_envelope(runs, bootstrap=0).a, abs=0.02
    )
