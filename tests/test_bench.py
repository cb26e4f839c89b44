"""The benchmark of the fits: honest rivals, honest scaling, and the same minimum for both sides."""

import importlib.util
import json

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from minichin import bench, bench_rivals, bench_text
from minichin.fit import fit_parametric
from minichin.law import LossSurface
from tests.planted import grid, published_runs
from tests.test_cli import assert_one_line, run

LAW = LossSurface(1.7, 400.0, 410.0, 0.34, 0.28)
THETA = np.array([np.log(1.7), np.log(400.0), np.log(410.0), 0.34, 0.28])


@pytest.fixture(scope="module")
def quick() -> dict:
    """One run of the whole benchmark at toy sizes."""
    return bench.fit_bench("quick")


@pytest.fixture
def rows() -> bench_rivals.Rows:
    """A planted grid with noise, so that residuals lie on both sides of the Huber threshold."""
    table = grid(LAW)
    table["loss"] *= np.exp(np.random.default_rng(0).normal(0, 2e-3, len(table)))
    return bench_rivals.Rows.read(table)


def test_ours_is_never_above_a_rival(quick):
    """Our objective is at most 1e-10 (relative) above every rival's, by the rivals' own function."""
    found = [*quick["point_fit"]["rivals"].values(), quick["chinchilla"]]
    for rival in found:
        if "skipped" not in rival:
            assert rival["ours_above"] <= 1e-10, rival["says"]
    assert quick["bootstrap"]["rival"]["ours_above_most"] <= 1e-10


def test_everything_is_measured(quick):
    """Every line has its numbers, as JSON without NaN, with machine, data and sizes beside them."""
    again = json.loads(json.dumps(quick, allow_nan=False))
    assert again["machine"].keys() >= {"cpu", "cores", "python", "numpy", "scipy", "blas_threads"}
    assert again["data"]["rows"] == 234
    assert set(again["point_fit"]["rivals"]) == set(bench_rivals.WAYS)
    for rival in (*again["point_fit"]["rivals"].values(), again["bootstrap"]["rival"]):
        assert rival["extrapolated"]
        assert rival["timed"] < rival["of"]
        assert rival["cpu_s"] > 0
    for fresh in (again["together"], again["large"]):
        assert fresh["replicates"] == again["sizes"]["bootstrap"]
        assert fresh["wall_s"] > fresh["import_s"] > 0
        assert fresh["peak_mb"] > 10
    assert again["hoffmann"]["starts"] == 4500
    assert again["hoffmann"]["share"] == again["hoffmann"]["starts_at_best"] / 4500


def test_text_says_what_was_scaled_and_what_was_skipped(quick):
    """The text marks what was scaled up from a sample, and says in one line that a rival is missing."""
    lines = bench_text.text(quick).splitlines()
    for way in bench_rivals.WAYS.values():
        line = next(line for line in lines if way.says in line)
        assert "* " in line
        assert f"{quick['sizes']['starts']} of 4,500" in line
    assert quick["data"]["name"] in lines[1]
    missing = importlib.util.find_spec("chinchilla") is None
    assert sum("SKIPPED: the package chinchilla" in line for line in lines) == missing


def test_quick_and_full_exclude_each_other():
    """Both switches at once are the caller's mistake."""
    assert_one_line(run("bench", "fit", "--quick", "--full"), "--quick", "--full")


def test_the_rivals_minimise_what_the_paper_says(rows):
    """By hand: nothing at noise-free truth; delta·(|r| − delta/2) outside of delta, r²/2 inside, summed."""
    clean = bench_rivals.Rows.read(grid(LAW))
    assert bench_rivals.objective(THETA, clean) == pytest.approx(0.0, abs=1e-25)
    off = bench_rivals.Rows(clean.log_n, clean.log_d, clean.log_loss + 0.5)
    assert bench_rivals.objective(THETA, off) == pytest.approx(36 * 1e-3 * (0.5 - 0.5e-3))
    near = bench_rivals.Rows(clean.log_n, clean.log_d, clean.log_loss - 4e-4)
    assert bench_rivals.objective(THETA, near) == pytest.approx(36 * 4e-4**2 / 2)
    by_scipy = bench_rivals.objective_by_logsumexp(THETA, rows)
    assert by_scipy == pytest.approx(bench_rivals.objective(THETA, rows), rel=1e-12)


def test_the_rivals_gradient_is_exact(rows):
    """It agrees with scipy's differences, at the truth and away from it."""
    for theta in (THETA, THETA + np.array([0.1, -0.2, 0.3, 0.01, -0.02])):
        differences = approx_fprime(theta, bench_rivals.objective, 1e-8, rows)
        assert bench_rivals.gradient(theta, rows) == pytest.approx(differences, rel=1e-3, abs=2e-5)


def test_ours_and_the_rivals_count_alike():
    """On the published points our objective is the rivals' function at our surface."""
    table = published_runs("chinchilla_234")
    fit = fit_parametric(table, bootstrap=0)
    surface = fit.surface
    theta = np.array([*np.log([surface.E, surface.A, surface.B]), surface.alpha, surface.beta])
    again = bench_rivals.objective(theta, bench_rivals.Rows.read(table))
    assert again == pytest.approx(fit.objective, rel=1e-12)


def test_the_grid_is_the_papers():
    """4,500 different starts: alpha, beta to 2 and e from −1 to 1 by halves, ln A, ln B to 25 by fives."""
    starts = bench_rivals.paper_grid()
    assert len(np.unique(starts, axis=0)) == len(starts) == 4500
    by_hand = ([-1, -0.5, 0, 0.5, 1], [0, 5, 10, 15, 20, 25], [0, 5, 10, 15, 20, 25], [0, 0.5, 1, 1.5, 2])
    for column, values in zip(starts.T, (*by_hand, by_hand[-1]), strict=True):
        assert np.unique(column) == pytest.approx(values)


def test_a_sample_is_even():
    """One index out of each of as many equal blocks; all where as many are asked for; none is refused."""
    drawn = bench_rivals.sample(4500, 60)
    assert (drawn // 75).tolist() == list(range(60))
    assert len(np.unique(drawn % 25)) > 10
    assert bench_rivals.sample(7, 7).tolist() == list(range(7))
    with pytest.raises(ValueError, match="cannot time 0 of 7"):
        bench_rivals.sample(7, 0)


def test_scaling_by_count():
    """Two solves of 1 s and 3 s stand for 20 ± 10 s of ten; a whole set is its sum and not scaled."""
    two = bench_rivals.scaled(np.array([1.0, 3.0]), 10)
    assert (two["cpu_s"], two["cpu_s_error"], two["extrapolated"]) == (20.0, pytest.approx(10.0), True)
    whole = bench_rivals.scaled(np.array([1.0, 3.0]), 2)
    assert (whole["cpu_s"], whole["cpu_s_error"], whole["extrapolated"]) == (4.0, 0.0, False)


def test_without_the_published_points(tmp_path, monkeypatch):
    """Without the file and the network a synthetic table of that size stands in, named so, the same twice."""
    for name in ("MINICHIN_PUBLISHED_DATA", "MINICHIN_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    name, table = bench.benchmark_table()
    assert name.startswith("synthetic")
    assert len(table) == 234
    assert table.equals(bench.benchmark_table()[1])
    fit = fit_parametric(table, bootstrap=0)
    assert fit.surface.a == pytest.approx(0.3658 / (0.3478 + 0.3658), abs=0.05)


def test_peak_memory_is_of_the_program_alone():
    """A child that holds 100 MB shows at least that; a small one stays small under a parent that is large."""
    code = "import json; from minichin.bench import peak_mb; {}; print(json.dumps({{'peak': peak_mb()}}))"
    ballast = np.ones(50_000_000)
    small = bench.run(["-c", code.format("pass")])["peak"]
    large = bench.run(["-c", code.format("held = bytes(range(256)) * 400_000")])["peak"]
    assert small < 0.2 * ballast.nbytes / 1e6
    assert small + 100 < large < small + 150


def test_a_measuring_process_that_fails_is_told():
    """Its last words come back as one error."""
    with pytest.raises(RuntimeError, match="status 1: ValueError: no luck"):
        bench.run(["-c", "raise ValueError('no luck')"])


def test_the_package_chinchilla_fits_the_same_surface():
    """Called as its users call it, the package ends near our minimum on the published points, not below."""
    pytest.importorskip("chinchilla")
    table = published_runs("chinchilla_234")
    found = bench_rivals.chinchilla_package(bench_rivals.Rows.read(table), full=False)
    ours = fit_parametric(table, bootstrap=0).objective
    assert ours * (1 - 1e-10) <= found["objective"] <= ours * 1.01
