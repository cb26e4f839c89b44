"""Approach 2's methods: polynomials and the shared-exponent valley, their correction, and what is redrawn."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from minichin import published
from minichin.fit import FitError, fit_isoflop
from minichin.fit.bootstrap import KINDS, SCHEMES
from minichin.fit.isoflop import METHODS, budget_groups, fit_floor
from minichin.fit.shared import LEAST, MOST, fit_shared
from minichin.fit.table import points
from minichin.law import LossSurface
from tests.planted import BUDGETS, surface, sweep

exponents = st.floats(0.2, 0.6)


def drifting(law: LossSurface, drift: float, **options: object) -> pd.DataFrame:
    """A sweep whose grids drift from `drift` times below the optimum to `drift` times above it."""
    centers = np.geomspace(1 / drift, drift, len(BUDGETS))
    return pd.concat(
        [
            sweep(law, budgets=(budget,), off_center=center, seed=i, **options)  # type: ignore[arg-type]
            for i, (budget, center) in enumerate(zip(BUDGETS, centers, strict=True))
        ]
    )


@pytest.mark.parametrize(("reach", "low"), [(2, 0.003), (8, 0.029), (16, 0.051)])
def test_the_published_bias_of_the_parabola(reach: float, low: float) -> None:
    """On H22's printed surface D_opt at 1e24 FLOPs is low by what Czech et al. give, by reach; a is exact."""
    law = published.LAWS["chinchilla"].surface
    table = sweep(law, budgets=(1e17, 1e18, 1e19, 1e20, 1e21), widths=15, reach=reach)
    fit = fit_isoflop(table, method="parabola", bootstrap=0)
    assert float(fit.d_opt(1e24)) / float(law.optimum(1e24).tokens) - 1 == pytest.approx(-low, abs=5e-4)
    assert fit.a == pytest.approx(law.a, abs=1e-9)
    mended = fit_isoflop(table, method="parabola", bootstrap=0, correct=(law.alpha, law.beta))
    assert float(mended.d_opt(1e24)) == pytest.approx(float(law.optimum(1e24).tokens), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(exponents, exponents, st.floats(1.2, 2.0), st.sampled_from(["window", "parabola", "cubic"]))
def test_the_correction_finds_the_optimum_of_drifting_grids(
    alpha: float, beta: float, drift: float, method: str
) -> None:
    """With the true alpha and beta every optimum is exact, wherever the grid lies; the note says how far."""
    law = surface(alpha, beta)
    fit = fit_isoflop(
        drifting(law, drift, reach=8.0), method=method, bootstrap=0, window=8.0, correct=(alpha, beta)
    )
    for valley in fit.valleys:
        assert valley.params_opt == pytest.approx(float(law.optimum(valley.budget).params), rel=1e-5)
    assert fit.a == pytest.approx(law.a, abs=1e-5)
    assert any("corrected for alpha" in note for note in fit.notes)


def test_a_drifting_grid_biases_the_parabola_only() -> None:
    """Noise-free and off centre: the parabola misses a by 0.004 or more, shared exponents do not."""
    law = surface(0.4, 0.3)
    table = drifting(law, 1.5, reach=16.0)
    assert abs(fit_isoflop(table, method="parabola", bootstrap=0).a - law.a) > 0.004
    assert fit_isoflop(table, method="shared", bootstrap=0).a == pytest.approx(law.a, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(exponents, exponents, st.floats(1.0, 2.0), st.integers(5, 11), st.floats(4.0, 16.0))
def test_shared_exponents_are_recovered(
    alpha: float, beta: float, drift: float, widths: int, reach: float
) -> None:
    """Noise-free valleys give back alpha, beta, every optimum and its loss, though the grid drifts."""
    law = surface(alpha, beta)
    fit = fit_isoflop(drifting(law, drift, widths=widths, reach=reach), method="shared", bootstrap=0)
    assert fit.warnings == ()
    for valley in fit.valleys:
        best = law.optimum(valley.budget)
        assert valley.exponents == pytest.approx((alpha, beta), rel=1e-4)
        assert valley.params_opt == pytest.approx(float(best.params), rel=1e-5)
        assert valley.loss_opt == pytest.approx(float(law.value(best.params, best.tokens)), rel=1e-6)
        assert np.allclose(valley.loss_at(valley.params), valley.val_loss, rtol=1e-7)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.0, 6.0), st.sampled_from([0.003, 0.01, 0.03]))
def test_no_optimiser_finds_better_shared_exponents(seed: int, off_center: float, noise: float) -> None:
    """The squares left are at most those of scipy: non-negative least squares inside of Nelder–Mead."""
    table = sweep(surface(0.4, 0.3), noise=noise, seed=seed, off_center=off_center)
    groups, _ = budget_groups(points(table))
    floors = fit_shared(groups, [g.loss[None, :] for g in groups], [None] * len(groups))

    def squares(logs: np.ndarray) -> float:
        alpha, beta = np.exp(np.clip(logs, np.log(LEAST), np.log(MOST)))
        total = 0.0
        for group in groups:
            z = group.x - group.x.mean()
            columns = np.column_stack([np.ones_like(z), np.exp(beta * z), np.exp(-alpha * z)])
            total += nnls(columns, group.loss)[1] ** 2
        return total

    shape = floors[0].exponents
    assert shape is not None
    for start in ((-1.0, -1.0), (-2.0, 0.0), (0.0, -2.0)):
        rival = minimize(squares, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-14})
        assert squares(np.log(shape[0])) <= rival.fun * (1 + 1e-5)


def test_shared_exponents_beat_the_parabola_in_most_designs() -> None:
    """In most of six designs, 24 studies each, the root-mean-square error of a is smaller, and on average."""
    ratios = []
    for reach, drift in ((4.0, 1.0), (8.0, 1.0), (8.0, 1.5), (16.0, 1.0), (16.0, 1.25), (16.0, 1.5)):
        misses: dict[str, list[float]] = {"parabola": [], "shared": []}
        for seed in range(24):
            law = surface(*[(0.35, 0.35), (0.4, 0.3), (0.3, 0.4)][seed % 3])
            table = drifting(law, drift, reach=reach)
            noise = np.random.default_rng(seed).normal(0, 0.01, len(table))
            noisy = table.assign(val_loss=table["val_loss"] + noise)
            for method, found in misses.items():
                found.append(fit_isoflop(noisy, method=method, bootstrap=0).a - law.a)
        parabola, shared = (np.sqrt(np.mean(np.square(misses[m]))) for m in ("parabola", "shared"))
        ratios.append(shared / parabola)
    assert sum(ratio < 1 for ratio in ratios) > len(ratios) / 2
    assert np.mean(ratios) < 0.9


@settings(max_examples=20, deadline=None)
@given(st.floats(-1.0, 1.0), st.floats(0.05, 0.3), st.floats(-0.03, 0.03))
def test_a_cubic_is_exact_on_a_cubic(vertex: float, curvature: float, skew: float) -> None:
    """Cubic losses with a known minimum give it back to rounding."""
    size = np.geomspace(1e4, 1e6, 9)
    table = sweep(surface(), widths=9)
    u = np.tile(np.log(size / 1e5), len(BUDGETS)) - vertex
    table = table.assign(
        params=np.tile(size, len(BUDGETS)), val_loss=2 + curvature * u**2 * (1 + skew * u)
    ).assign(tokens=lambda t: t["budget"] / 6 / t["params"])
    fit = fit_isoflop(table, method="cubic", bootstrap=0)
    for valley in fit.valleys:
        assert np.log(valley.params_opt / 1e5) == pytest.approx(vertex, abs=1e-8)
        assert valley.loss_opt == pytest.approx(2.0)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_names_a_budget_without_a_minimum(method: str) -> None:
    """Grids far above the optimum: the method says that the minimum is not bracketed, and answers."""
    bad = sweep(surface(), budgets=(1e13,), off_center=30.0)
    fit = fit_isoflop(pd.concat([sweep(surface()), bad]), method=method, bootstrap=0, min_points=3)
    assert "minimum_not_bracketed" in fit.warnings
    assert [v.bracketed for v in fit.valleys] == [True] * 4 + [False]
    assert fit.a == pytest.approx(0.5, abs=0.01)
    assert fit.method == method


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(METHODS), st.integers(0, 1000))
def test_a_weight_of_two_is_a_doubled_row(method: str, seed: int) -> None:
    """Integer weights are counts: a cell of weight 2 is a table with that row twice; of 0, without it."""
    table = sweep(surface(0.4, 0.3), noise=0.003, seed=seed, widths=9)
    rng = np.random.default_rng(seed)
    counts = rng.choice([0, 1, 1, 1, 2], (len(BUDGETS), 9))
    counts[:, [0, 8]] = 1
    again, _ = budget_groups(points(table.loc[table.index.repeat(counts.reshape(-1))]))
    groups, _ = budget_groups(points(table))
    weights = [c[None, :].astype(float) for c in counts]
    if method == "shared":
        drawn = fit_shared(groups, [g.loss[None, :] for g in groups], list(weights))
        doubled = fit_shared(again, [g.loss[None, :] for g in again], [None] * len(again))
    else:
        reach = {"degree": 3} if method == "cubic" else {}
        window = 5.0 if method == "window" else np.inf
        drawn = [
            fit_floor(g, g.loss[None, :], window, 5, weight=w, **reach)
            for g, w in zip(groups, weights, strict=True)
        ]
        doubled = [fit_floor(g, g.loss[None, :], window, 5, **reach) for g in again]
    for one, two in zip(drawn, doubled, strict=True):
        assert one.x == pytest.approx(two.x, abs=1e-4 if method == "shared" else 1e-9)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(METHODS), st.floats(1e-3, 1e3))
def test_units_of_size_move_the_coefficient_alone(method: str, unit: float) -> None:
    """Counting parameters in other units leaves a as it is, and scales the optima."""
    table = sweep(surface(0.4, 0.3), noise=0.01)
    scaled = table.assign(params=table["params"] * unit, tokens=table["tokens"] / unit)
    fit, other = (fit_isoflop(t, method=method, bootstrap=0) for t in (table, scaled))
    assert other.a == pytest.approx(fit.a, abs=1e-6)
    for one, two in zip(fit.valleys, other.valleys, strict=True):
        assert two.params_opt == pytest.approx(one.params_opt * unit, rel=1e-5)


def study(seed: int) -> pd.DataFrame:
    """Six budgets of 13 sizes with the measured noise."""
    return sweep(surface(0.4, 0.3), noise=0.01, widths=13, budgets=(*BUDGETS, 1e13, 3e13), seed=seed)


@cache
def scatter() -> float:
    """Standard deviation of a over such studies."""
    return float(np.std([fit_isoflop(study(seed), bootstrap=0).a for seed in range(30)]))


@pytest.mark.parametrize("interval", KINDS)
@pytest.mark.parametrize("resample", SCHEMES)
def test_every_scheme_gives_an_interval_of_the_same_order(resample: str, interval: str) -> None:
    """Whatever is redrawn, the interval holds the estimate, and is as wide as the scatter of studies says."""
    fit = fit_isoflop(study(4), resample=resample, interval=interval, bootstrap=400)
    assert (fit.resample, fit.interval_kind) == (resample, interval)
    low, high = fit.a_interval or (0.0, 0.0)
    assert low < fit.a < high
    assert 1.5 < (high - low) / scatter() < 10
    assert all((v.params_opt_interval is None) == (resample == "budgets") for v in fit.valleys)


def test_a_million_runs_would_do() -> None:
    """100,000 runs at sizes of their own are fitted as they are: the truth, far closer than with thirty."""
    law = surface(0.4, 0.3)
    rng = np.random.default_rng(0)
    budget = np.repeat(BUDGETS, 25_000)
    params = law.optimum(budget).params * np.exp(rng.uniform(-1.4, 1.4, budget.size))
    tokens = budget / 6 / params
    loss = law.value(params, tokens) + rng.normal(0, 0.01, budget.size)
    table = pd.DataFrame(
        {"params": params, "tokens": tokens, "flops": budget, "budget": budget, "val_loss": loss}
    )
    for method in ("parabola", "shared"):
        fit = fit_isoflop(table, method=method, bootstrap=50)
        assert fit.a == pytest.approx(law.a, abs=5e-4)
        low, high = fit.a_interval or (0.0, 1.0)
        assert high - low < 2e-3


def test_very_many_budgets_share_the_steps() -> None:
    """Of 600 budgets of 60 sizes each, fewer steps each are kept, every run counts, the truth is found."""
    law = surface(0.4, 0.3)
    table = sweep(law, budgets=tuple(np.geomspace(1e11, 1e14, 600)), widths=60, noise=0.01)
    fit = fit_isoflop(table, bootstrap=0)
    assert {len(valley.params) for valley in fit.valleys} == {32}
    assert sum(int(valley.seeds.sum()) for valley in fit.valleys) == len(table)
    assert fit.a == pytest.approx(law.a, abs=2e-3)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("method must be one of window, parabola, cubic, shared, got 'spline'", {"method": "spline"}),
        ("resample must be one of", {"resample": "runs"}),
        ("interval must be one of", {"interval": "normal"}),
        ("correct must be .alpha, beta., both between 0 and 10", {"correct": (0.3, -0.1)}),
        ("correct must be .alpha, beta., both between 0 and 10", {"correct": (0.3, float("nan"))}),
        ("a shared-exponent valley has its own skewness", {"method": "shared", "correct": (0.3, 0.4)}),
        ("window must exceed 1", {"window": 1.0}),
        ("min_points be 3 or more", {"min_points": 2}),
        ("bootstrap must be 0 or more", {"bootstrap": -1}),
    ],
)
def test_a_wrong_argument_is_named(words: str, options: dict[str, object]) -> None:
    """A caller's mistake is one line with the value and what is allowed."""
    with pytest.raises(ValueError, match=words) as caught:
        fit_isoflop(sweep(surface()), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_three_rows_are_refused_once_and_clearly() -> None:
    """Three runs make no valley, let alone two: one line that says what is needed and what was found."""
    with pytest.raises(
        FitError, match=r"needs two budgets or more with three sizes each, found \d"
    ) as caught:
        fit_isoflop(sweep(surface()).head(3))
    assert "\n" not in str(caught.value)
