"""Which run next: what is suggested, whether it helps, and whether its expected intervals are true."""

import json
import math
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from minichin import cli
from minichin.fit import FitError, fit_parametric
from minichin.fit.information import Design, huber_factor, in_order, noise_scale, search
from minichin.fit.read import read_any
from minichin.fit.suggest import Suggestion, suggest_runs
from minichin.fit.table import points
from minichin.law import Floats, LossSurface
from tests import planted

LAW = planted.surface(0.40, 0.30)
BUDGET, RUNS, STUDIES, NOISE = 5e12, 5, 24, 0.005


def trained(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The runs with losses of LAW, and normal noise of NOISE on ln L."""
    loss = LAW.value(table["params"], table["tokens"]) * np.exp(rng.normal(0, NOISE, len(table)))
    return table.assign(flops=6 * table["params"] * table["tokens"], val_loss=loss)


def study(seed: int) -> pd.DataFrame:
    """A simulated sweep: 28 runs of 1e11 to 3e12 FLOPs, within 4× of the optimum."""
    return trained(planted.sweep(LAW), np.random.default_rng(seed))


def sizes(found: Suggestion) -> tuple[Floats, Floats]:
    """Params and tokens of the suggested runs."""
    return np.array([run.params for run in found.runs]), np.array([run.tokens for run in found.runs])


def refitted(table: pd.DataFrame, params: Floats, tokens: Floats, rng: np.random.Generator) -> float:
    """The exponent a of the table with more runs, trained and fitted."""
    more = trained(pd.DataFrame({"params": params, "tokens": tokens}), rng)
    return fit_parametric(pd.concat([table[list(more)], more], ignore_index=True), bootstrap=0).a


@pytest.fixture(scope="module")
def studies() -> pd.DataFrame:
    """Errors of a in simulated studies, now, with the suggested runs, and with uniform ones of equal compute.

    `uniform` has its sizes evenly spaced in ln N within 4× of the true optimum; `wide` over all tokens a
    parameter for which runs are suggested.  Also the expected standard errors now and after.
    """
    each, rows = BUDGET / RUNS, []
    near = LAW.optimum(each).params * np.geomspace(1 / 4, 4, RUNS)
    for seed in range(STUDIES):
        table, rng = study(seed), np.random.default_rng(1000 + seed)
        found = suggest_runs(table, BUDGET, RUNS)
        ratio = table["tokens"] / table["params"]
        wide = np.sqrt(each / 6 / np.geomspace(ratio.min() / 2, ratio.max() * 2, RUNS))
        sets = {
            "suggested": sizes(found),
            "uniform": (near, each / 6 / near),
            "wide": (wide, each / 6 / wide),
        }
        assert found.flops <= BUDGET
        row = {name: refitted(table, *runs, rng) - LAW.a for name, runs in sets.items()}
        rows.append(
            row | {"now": found.estimate - LAW.a, "expected": found.now, "expected_after": found.after}
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("other", ["uniform", "wide"])
def test_suggested_runs_beat_uniform_ones(studies: pd.DataFrame, other: str) -> None:
    """Trained and refitted, the suggested runs leave a smaller error of a than uniform ones of equal compute.

    Root mean square errors are less than 0.6 of theirs, and beyond chance: errors' sums and differences
    correlate at three sigma (Pitman and Morgan's test of two variances in pairs).
    """
    ours, theirs = studies["suggested"], studies[other]
    assert (ours**2).mean() < 0.6**2 * (theirs**2).mean()
    together = np.corrcoef(theirs + ours, theirs - ours)[0, 1]
    assert together * math.sqrt((STUDIES - 2) / (1 - together**2)) > 3


@pytest.mark.parametrize(("before", "expected"), [("now", "expected"), ("suggested", "expected_after")])
def test_expected_errors_are_the_errors(studies: pd.DataFrame, before: str, expected: str) -> None:
    """Errors expected beforehand, now and after training, are those found, by a chi-square of all studies."""
    squares = float(((studies[before] / studies[expected]) ** 2).sum())
    low, high = chi2.interval(0.998, STUDIES)
    assert low < squares < high


def test_information_is_that_of_the_law() -> None:
    """The expected error of a and of ln N_opt is that of least squares, by differences of the law itself."""
    table = planted.sweep(LAW)
    data = points(table)
    middle = np.array([LAW.E, LAW.A, LAW.B, LAW.alpha, LAW.beta])

    def slope(value, step=1e-6):  # type: ignore[no-untyped-def]
        """Derivative by the logarithm of each constant, by central differences."""
        ends = [middle * np.exp(s * step * row) for row in np.eye(5) for s in (1, -1)]
        values = [value(LossSurface(*map(float, end))) for end in ends]
        return np.array(
            [(up - down) / (2 * step) for up, down in zip(values[::2], values[1::2], strict=True)]
        )

    by_constants = slope(lambda law: np.log(law.value(table["params"], table["tokens"])))
    covariance = 0.01**2 * np.linalg.inv(by_constants @ by_constants.T)
    own = np.array([[math.log(LAW.E), math.log(LAW.A), math.log(LAW.B), LAW.alpha, LAW.beta]])
    none = np.empty(0)
    for at, target in ((None, lambda law: law.a), (1e15, lambda law: np.log(law.optimum(1e15).params))):
        truth = math.sqrt(slope(target) @ covariance @ slope(target))
        design = Design.of(own, data, 0.01, at)
        assert design.standard_error(none, none) == pytest.approx(truth, rel=0.02)


def test_search_finds_the_best_set() -> None:
    """Of few candidates the search finds a set within 1 % of the best of all that the budget pays for."""
    table = study(0)
    fit = fit_parametric(table, bootstrap=0)
    law = fit.surface
    own = np.array([[math.log(law.E), math.log(law.A), math.log(law.B), law.alpha, law.beta]])
    design = Design.of(own, points(table), 0.005, None)
    rng = np.random.default_rng(0)
    log_n, log_d = rng.uniform(8, 14, 14), rng.uniform(12, 18, 14)
    candidates, cost = design.sensitivity(log_n, log_d), 6 * np.exp(log_n + log_d)
    budget = float(np.sort(cost)[10])
    sets = [s for s in combinations_with_replacement(range(14), 3) if cost[list(s)].sum() <= budget]
    best = min(design.log_variance(candidates[:, list(s)]) for s in sets)
    found = search(design, candidates, cost, budget, 3)
    assert len(found) == 3
    assert cost[found].sum() <= budget
    assert design.log_variance(candidates[:, found]) <= best + 2 * math.log(1.01)
    order, errors = in_order(design, candidates, cost, found)
    assert sorted(order) == sorted(found)
    assert errors[-1] == pytest.approx(design.standard_error(log_n[found], log_d[found]))


def test_noise_and_what_huber_costs() -> None:
    """Ruined runs are no noise; at 1.345 standard deviations Huber has its textbook efficiency of 95 %."""
    rng = np.random.default_rng(0)
    residuals = rng.normal(0, 0.01, 4000)
    assert noise_scale(residuals) == pytest.approx(0.01, rel=0.05)
    residuals[:80] += 3.0
    assert noise_scale(residuals) == pytest.approx(0.01, rel=0.1)
    assert huber_factor(1.345) ** -2 == pytest.approx(0.95, abs=5e-4)
    assert huber_factor(1e-6) == pytest.approx(math.sqrt(math.pi / 2), rel=1e-3)
    assert huber_factor(50.0) == pytest.approx(1.0)


@pytest.mark.parametrize("beyond", [1.0, 4.0])
def test_runs_stay_near_the_table(beyond: float) -> None:
    """Runs lie within `beyond` of sampled params and tokens, off a fixed ratio, and cost 6 N D."""
    table = study(1)
    found = suggest_runs(table, BUDGET, 8, beyond=beyond)
    for name, values in zip(("params", "tokens"), sizes(found), strict=True):
        assert values.min() >= table[name].min() / beyond * (1 - 1e-9)
        assert values.max() <= table[name].max() * beyond * (1 + 1e-9)
    params, tokens = sizes(found)
    assert np.ptp(np.log(tokens / params)) > math.log(10)
    assert [run.flops for run in found.runs] == pytest.approx(6 * params * tokens)
    fit = fit_parametric(table, bootstrap=0)
    assert [run.loss for run in found.runs] == pytest.approx(fit.surface.value(params, tokens))
    errors = [found.now, *(run.after for run in found.runs)]
    assert errors == sorted(errors, reverse=True)
    assert any("beyond the sampled" in note for note in found.notes) == (beyond > 1)


def test_published_runs_keep_to_the_recipe() -> None:
    """On the committed records runs have 1,500 steps of 256 tokens or more, and cost the full count."""
    table = read_any("published")[0]
    found = suggest_runs(table, 1e13)
    _, tokens = sizes(found)
    assert tokens.min() >= 1500 * 256 * (1 - 1e-9)
    assert found.flops <= 1e13
    ratio = table["flops"] / (6 * table["params"] * table["tokens"])
    costs = np.array([run.flops for run in found.runs]) / (6 * np.prod(sizes(found), axis=0))
    assert ((costs >= ratio.min() - 1e-9) & (costs <= ratio.max() + 1e-9)).all()
    assert any("rows left out" in note for note in found.notes)


def test_units_do_not_matter() -> None:
    """Params counted in thousands give the same runs, in thousands."""
    table = study(2)
    thousands = table.assign(
        params=table["params"] / 1e3, flops=table["flops"] / 1e3, budget=table["budget"] / 1e3
    )
    one, other = suggest_runs(table, BUDGET), suggest_runs(thousands, BUDGET / 1e3)
    assert sizes(other)[0] * 1e3 == pytest.approx(sizes(one)[0], rel=1e-6)
    assert sizes(other)[1] == pytest.approx(sizes(one)[1], rel=1e-6)
    assert other.after == pytest.approx(one.after, rel=1e-3)


def test_a_line_of_runs_is_refused_with_its_cure() -> None:
    """Tokens at 20 a parameter are refused by name; the two runs that the message asks for cure it."""
    params = np.geomspace(1e4, 1e6, 9)
    table = pd.DataFrame({"params": params, "tokens": 20 * params})
    table["loss"] = LAW.value(table["params"], table["tokens"])
    with pytest.raises(FitError, match="collinear_design") as refused:
        suggest_runs(table, 1e13)
    assert "\n" not in str(refused.value)
    words = str(refused.value).replace(",", " ").split()
    across = [
        (float(words[i - 1]), float(words[i + 2]))
        for i, word in enumerate(words)
        if word == "params" and words[i + 1] == "on"
    ]
    assert len(across) == 2
    more = pd.DataFrame(across, columns=["params", "tokens"])
    more["loss"] = LAW.value(more["params"], more["tokens"])
    found = suggest_runs(pd.concat([table, more], ignore_index=True), 1e13)
    assert len(found.runs) == 5
    assert any("without noise" in note for note in found.notes)


def minichin(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit status, output and error of a command."""
    status = cli.run(["suggest", *map(str, words)])
    return status, *capsys.readouterr()


def test_the_command_prints_and_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`minichin suggest` prints a line a run, and the same numbers go into --json; - prints JSON alone."""
    table, file = tmp_path / "runs.csv", tmp_path / "next.json"
    study(3).to_csv(table, index=False)
    words = (table, "--budget", "1e13", "--runs", 3, "--target", "n_opt", "--at", "1e15")
    status, out, err = minichin(capsys, *words, "--json", file)
    assert (status, err) == (0, "")
    found = json.loads(file.read_text())
    lines = out.splitlines()
    assert lines[0].startswith("N_opt at 1e+15 FLOPs = ")
    for number, run in enumerate(found["runs"], 1):
        line = next(line.split() for line in lines if line.split()[:1] == [str(number)])
        shown = [run["params"], run["tokens"], run["tokens"] / run["params"], run["flops"], run["loss"]]
        assert [float(word) for word in line[1:6]] == pytest.approx(shown, rel=6e-3)
    low, high = found["interval"]["after"]
    assert found["interval"]["now"][0] < low < found["estimate"] < high < found["interval"]["now"][1]
    assert json.loads(minichin(capsys, *words, "--json", "-")[1]) == found


MISTAKES = {
    "--budget 0": "budget (--budget) is 0",
    "--budget -1e13": "budget (--budget) is -1e+13",
    "--budget nan": "budget (--budget) is nan",
    "--budget 1e13 --runs 0": "runs (--runs) is 0",
    "--budget 1e13 --runs 100000": "from 1 to 100",
    "--budget 1e3": "budget 1000 FLOPs (--budget) pays for no run near those of the table: give at least",
    "--budget 1e13 --target n_opt": "needs at (--at)",
    "--budget 1e13 --target n_opt --at -3": "at (--at) is -3",
    "--budget 1e13 --at 1e15": "at (--at) is 1e+15, but the target is a",
    "--budget 1e13 --beyond 0.5": "beyond (--beyond) is 0.5",
    "--budget 1e13 --beyond inf": "beyond (--beyond) is inf",
    "--budget 1e13 --seed -1": "seed (--seed) is -1",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_end_in_one_line(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A request that cannot be met ends in one line that names value, place and cure, and exit status 2."""
    status, out, err = minichin(capsys, "published", *words.split())
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert MISTAKES[words] in err


def test_what_the_budget_cannot_pay_is_told() -> None:
    """Fewer runs than asked for, compute left over, and rows left out are said in the notes."""
    table = study(4)
    cheapest = 6 * table["params"].min() * table["tokens"].min() / 16
    few = suggest_runs(table, 50 * cheapest, 100)
    assert len(few.runs) < 100
    assert any("runs, not 100" in note for note in few.notes)
    lost = ({"row": 30, "why": "no loss"},)
    rich = suggest_runs(table, 1e18, 2, dropped=lost)
    assert any("ask for more runs" in note for note in rich.notes)
    assert "1 rows left out: no loss" in rich.notes
    assert rich.dropped == lost
