"""The machinery of approach 3: derivatives, minima, copies, profiles; scipy is the referee."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import t as student_t

from minichin.fit import fit_parametric
from minichin.fit.bootstrap import bca_interval, draw_weights, leave_one_out
from minichin.fit.parametric import distinct_ends, prepare, solve
from minichin.fit.problem import Problem, derivatives, huber_moments, objective, predict
from minichin.fit.profile import profile_interval, profile_surface, profiled, student
from minichin.fit.refit import refit
from minichin.fit.replicate import Optimum, replicates
from minichin.fit.solver import minimise
from minichin.fit.starts import hoffmann_starts
from tests.planted import grid, published_runs, surface, sweep

thetas = st.tuples(*(st.floats(lo, hi) for lo, hi in ((0.1, 1), (-2, 0), (-2, 0), (0.05, 1.5), (0.05, 1.5))))


def posed(table: pd.DataFrame, delta: float = 1e-3) -> Problem:
    """The problem of all rows of a table."""
    loss = "loss" if "loss" in table else "val_loss"
    logs = (np.log(table[name].to_numpy(dtype=float)) for name in ("params", "tokens", loss))
    return Problem.build(*logs, delta=delta)


@settings(max_examples=40, deadline=None)
@given(thetas, st.sampled_from([1e-3, 0.05, np.inf]), st.integers(0, 99))
def test_derivatives_agree_with_differences(theta: tuple[float, ...], delta: float, seed: int) -> None:
    """Gradient and Hessian equal central differences of the objective, at weights and noise of any kind."""
    problem = posed(sweep(surface(0.4, 0.3), noise=0.02, seed=seed), delta)
    rng = np.random.default_rng(seed)
    weight = rng.integers(0, 4, (1, problem.x.size)).astype(float)
    at = np.array([theta])
    _, gradient, hessian = derivatives(problem, at, weight)
    residual = predict(problem, at)[0] - problem.target
    edges = np.abs(np.abs(residual) - delta).min() if np.isfinite(delta) else 1.0
    h = 1e-5 * np.eye(5)
    if edges < 1e-3 * 1e-1:  # a kink within the step: the second difference straddles it
        h *= min(1.0, 0.1 * edges / 1e-5)
    if h[0, 0] < 1e-8:
        return
    ups, downs = ([derivatives(problem, at + s * row, weight) for row in h] for s in (1, -1))
    step = 2 * h[0, 0]
    slope = np.array([(u[0] - d[0])[0] / step for u, d in zip(ups, downs, strict=True)])
    bend = np.array([(u[1] - d[1])[0] / step for u, d in zip(ups, downs, strict=True)])
    assert slope == pytest.approx(gradient[0], rel=1e-4, abs=1e-6 * np.abs(gradient).max() + 1e-9)
    assert bend == pytest.approx(hessian[0], rel=1e-3, abs=1e-4 * np.abs(hessian).max() + 1e-9)


def test_weight_two_is_a_doubled_row() -> None:
    """Fitting with weights 1 and 2 gives the surface of the table in which those rows stand twice."""
    table = sweep(surface(0.4, 0.3), noise=0.01, seed=3)
    rng = np.random.default_rng(1)
    weight = rng.integers(1, 3, len(table))
    doubled = table.loc[table.index.repeat(weight)].drop(columns=["flops", "budget"])
    fit = fit_parametric(doubled, bootstrap=0)
    problem = posed(table)
    best = minimise(problem, solve(problem).theta, weight.astype(float))
    k = int(best.objective.argmin())
    assert best.objective[k] == pytest.approx(fit.objective, rel=1e-10)
    assert problem.uncentre(best.theta[k])[3:] == pytest.approx(
        [fit.surface.alpha, fit.surface.beta], rel=1e-6
    )


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 0.7), st.floats(0.2, 0.7), st.sampled_from([1, 1e3]), st.integers(0, 99))
def test_noise_free_surfaces_are_recovered(alpha: float, beta: float, unit: float, seed: int) -> None:
    """Without noise the constants come back to 1e-8, whatever the units of N and however the rows lie."""
    law = surface(alpha, beta)
    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(8, 15, 30)), np.exp(rng.uniform(14, 20, 30))
    fit = fit_parametric({"params": n * unit, "tokens": d, "loss": law.value(n, d)}, bootstrap=0)
    assert pytest.approx(law.E, rel=1e-8) == fit.surface.E
    assert fit.surface.alpha == pytest.approx(law.alpha, rel=1e-8)
    assert fit.surface.beta == pytest.approx(law.beta, rel=1e-8)
    assert pytest.approx(law.A * unit**law.alpha, rel=1e-7) == fit.surface.A
    assert pytest.approx(law.B, rel=1e-7) == fit.surface.B


@settings(max_examples=8, deadline=None)
@given(st.floats(0.25, 0.6), st.floats(0.25, 0.6), st.floats(0.001, 0.1), st.integers(0, 10_000))
def test_scipy_finds_nothing_lower(alpha: float, beta: float, noise: float, seed: int) -> None:
    """From our end, the truth and ten of the paper's starts L-BFGS-B ends no lower."""
    law = surface(alpha, beta)
    table = sweep(law, noise=noise, seed=seed).drop(columns=["flops", "budget"])
    problem = posed(table)
    ours = solve(problem)
    best = ours.theta[ours.objective.argmin()]
    one = np.ones((1, len(table)))

    def both(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient, _ = derivatives(problem, np.clip(theta, *problem.box)[None], one)
        return float(value[0]), gradient[0]

    truth = problem.centre(np.array([law.E, np.log(law.A), np.log(law.B), law.alpha, law.beta]))
    starts = [best, truth, *hoffmann_starts(problem, 10)]
    ends = [
        minimize(
            both, s, jac=True, method="L-BFGS-B", bounds=problem.box.T, options={"ftol": 1e-15, "gtol": 1e-14}
        )
        for s in starts
    ]
    assert ours.objective.min() <= min(end.fun for end in ends) * (1 + 1e-10)


def test_objective_is_the_papers_own() -> None:
    """The objective written as the paper does, by log-sum-exp of uncentred terms, is the same number."""
    table = published_runs("chinchilla_234")
    fit = fit_parametric(table, bootstrap=0)
    law = fit.surface
    log_n, log_d, log_loss = (np.log(table[n].to_numpy(float)) for n in ("params", "tokens", "loss"))
    parts = [np.log(law.E) + 0 * log_n, np.log(law.A) - law.alpha * log_n, np.log(law.B) - law.beta * log_d]
    size = np.abs(logsumexp(parts, axis=0) - log_loss)
    total = np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 5e-4)).sum()
    assert fit.objective == pytest.approx(total, rel=1e-10)


@pytest.mark.parametrize("noisy", [False, True])
def test_copies_agree_with_cold_fits(noisy: bool) -> None:
    """What the series finds in float32 and float64 is what the general solver finds for each copy."""
    problem = posed(published_runs("chinchilla_234"))
    ours = solve(problem)
    theta = ours.theta[ours.objective.argmin()]
    rng = np.random.default_rng(0)
    rows = problem.x.size
    weight = np.ones((60, rows)) if noisy else draw_weights(rng, np.arange(rows), 60)
    noise = rng.normal(0, 0.01, (60, rows)) if noisy else None
    found, value, arrived = refit(problem, theta, weight, noise)
    cold = minimise(problem, np.tile(theta, (60, 1)), weight, noise)
    assert arrived.mean() > 0.7
    assert value[arrived] == pytest.approx(cold.objective[arrived], rel=2e-5)
    a, expected = (t[:, 4] / (t[:, 3] + t[:, 4]) for t in (found, cold.theta))
    assert a[arrived] == pytest.approx(expected[arrived], abs=2e-3)
    if noise is None:
        assert value[arrived] == pytest.approx(objective(problem, found, weight)[arrived], rel=1e-7)


def test_small_tables_are_refitted_from_several_starts() -> None:
    """Hardly a copy of a small table ends above what a dozen starts find; more do without restarts."""
    table = sweep(surface(0.4, 0.3), noise=0.03, seed=6).drop(columns=["flops", "budget"])
    study = prepare(table)
    problem, ours = study.problem, solve(study.problem)
    best = int(ours.objective.argmin())
    weight = draw_weights(np.random.default_rng(0), np.arange(len(study.data)), 100)
    ends = [
        minimise(problem, np.tile(start, (100, 1)), weight).objective
        for start in hoffmann_starts(problem, 12)
    ]
    missed = []
    for others in (distinct_ends(problem, ours, best), np.empty((0, 5))):
        copies = replicates(Optimum(problem, ours.theta[best], others), study.data, "rows", 100, 0)
        missed.append((objective(problem, copies, weight) > np.min(ends, axis=0) * 1.003).mean())
    assert missed[0] <= 0.03
    assert missed[0] < missed[1]


def test_bca_is_scipys() -> None:
    """The BCa interval of a skewed mean is scipy's, which percentiles are not."""
    rng = np.random.default_rng(0)
    sample = rng.exponential(size=25) ** 2
    weight = draw_weights(rng, np.arange(25), 40_000)
    copies = weight @ sample / 25
    left = leave_one_out(np.arange(25)) @ sample / 24
    ours = bca_interval(float(sample.mean()), copies, left)
    theirs = scipy_bootstrap((sample,), np.mean, n_resamples=40_000, method="BCa", rng=1).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), rel=0.02)
    assert np.percentile(copies, 97.5) < 0.97 * theirs.high


def test_moments_of_huber() -> None:
    """The moments of Huber's psi are those of a large normal sample; at no threshold psi is the residual."""
    z = np.random.default_rng(0).normal(size=400_000)
    for k in (0.1, 1.0, 1.345):
        slope, square = huber_moments(k)
        assert slope == pytest.approx((np.abs(z) < k).mean(), abs=3e-3)
        assert square == pytest.approx((np.clip(z, -k, k) ** 2).mean(), rel=1e-2)
    assert huber_moments(np.inf) == (1.0, 1.0)


def test_student_quantiles() -> None:
    """Quantiles of Student's t are scipy's, to 0.005 at three degrees of freedom and 2e-4 from six on."""
    for degrees in (1, 2, 3, 6, 20, 300):
        limit = 2e-4 if degrees > 5 else 5e-3
        assert student(0.975, degrees) == pytest.approx(student_t.ppf(0.975, degrees), abs=limit)


def test_profile_surface_has_the_optimum_as_its_lowest_point() -> None:
    """The profile of a clear study has one minimum, the fit; nowhere on the grid is it lower."""
    table = sweep(surface(0.4, 0.3), noise=0.005, seed=2)
    fit, found = fit_parametric(table, bootstrap=0), profile_surface(table, points=21)
    assert found.objective.shape == (21, 21)
    assert len(found.minima) == 1
    assert found.minima[0] == pytest.approx([fit.surface.alpha, fit.surface.beta, fit.objective], rel=1e-6)
    assert found.objective.min() >= fit.objective * (1 - 1e-10)


@pytest.mark.parametrize("loss", ["huber", "squares", "absolute"])
def test_profile_reports_the_objective_of_the_fit(loss: str) -> None:
    """Whatever the loss, the lowest minimum of the profile is the objective that the fit reports."""
    table = sweep(surface(0.4, 0.3), noise=0.005, seed=2)
    fit = fit_parametric(table, loss=loss, bootstrap=0)
    assert profile_surface(table, loss=loss, points=11).minima[0, 2] == pytest.approx(fit.objective, rel=1e-3)


def test_profile_surface_counts_every_minimum() -> None:
    """Two laws mixed in one table leave more than one local minimum, lowest first, each stationary."""
    one, other = (grid(surface(*ab), 5, 5) for ab in ((0.2, 0.9), (0.9, 0.2)))
    table = pd.concat([one, other], ignore_index=True)
    minima = profile_surface(table, points=25).minima
    fit = fit_parametric(table, bootstrap=0)
    assert len(minima) >= 2
    assert np.all(np.diff(minima[:, 2]) >= 0)
    assert minima[0, 2] == pytest.approx(fit.objective, rel=1e-8)


def test_profile_interval_ends_where_the_excess_is_significant() -> None:
    """At both ends the profiled objective is the same, above the lowest, and inside it is lower."""
    table = sweep(surface(0.4, 0.3), noise=0.01, seed=1)
    study = prepare(table)
    ours = solve(study.problem)
    theta = ours.theta[ours.objective.argmin()]
    low, high = profile_interval(table)
    at = profiled(study.problem, theta, np.array([low, (low + high) / 2, high]))
    assert low < surface(0.4, 0.3).a < high
    assert at[0] == pytest.approx(at[2], rel=1e-2)
    assert at[1] < at[0]
    assert at[0] > ours.objective.min()
    narrow = profile_interval(table, level=0.5)
    assert low < narrow[0] < narrow[1] < high
