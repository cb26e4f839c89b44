"""`minichin fit` as users meet it: every option arrives, small and odd tables end in plain words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from minichin import cli_fit
from minichin.fit import bootstrap, methods, parametric
from tests.planted import surface, sweep
from tests.test_cli import assert_one_line, run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy planted sweep with two seeds, as a CSV file."""
    path = tmp_path_factory.mktemp("fit") / "runs.csv"
    sweep(surface(0.4, 0.3), noise=0.01, seeds=2).to_csv(path, index=False)
    return path


def test_names_that_options_offer_are_those_of_the_fits() -> None:
    """The command line, which imports no fit before it must, offers the very names that the fits take."""
    assert cli_fit.SCHEMES == bootstrap.SCHEMES
    assert cli_fit.KINDS == bootstrap.KINDS
    assert cli_fit.VALLEYS == methods.METHODS
    assert cli_fit.LOSSES == parametric.LOSSES


def test_readme_explains_every_option() -> None:
    """Every option of `minichin fit` stands in the README's section on it."""
    text = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
    section = text.split("## Your own runs")[1].split("\n## ")[0]
    options = [name for option in cli_fit.fit_command.params for name in option.opts if name[:2] == "--"]
    assert len(options) > 10
    assert [name for name in options if f"`{name}" not in section and f" {name} " not in section] == []


def test_every_option_arrives(runs: Path) -> None:
    """What the words of the command line say is what the fits were called with, and what JSON tells."""
    words = "--bootstrap 30 --seed 5 --resample rows --interval bca --hull --method cubic --correct"
    words += " --delta 0.01 --loss squares --profile --predict 1e16 --predict 3e15 --json -"
    done = run("fit", runs, *words.split())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    common = {"convention": "full", "bootstrap": 30, "seed": 5, "resample": "rows", "interval": "bca"}
    third = found["approach3"]
    assert found["settings"] == {
        "approach1": {**common, "method": "hull"},
        "approach2": {**common, "method": "cubic", "correct": [third["alpha"], third["beta"]]},
        "approach3": {**common, "delta": 0.01, "loss": "squares"},
    }
    assert {1e16, 3e15} <= {budget["flops"] for budget in found["predictions"]}
    assert found["profile"]["minima"]
    assert {found[f"approach{i}"]["interval_kind"] for i in (1, 2, 3)} == {"bca"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--predict 0", "predictions are at a positive number of FLOPs, got 0.0"),
        ("--predict nan", "positive number of FLOPs"),
        ("--delta 0", "delta must be a positive number"),
        ("--bootstrap -1", "bootstrap must be 0 or more"),
        ("--method quartic", "'quartic' is not one of"),
        ("--correct --method shared", "shared-exponent valley"),
        ("--seed -1", "seed"),
    ],
)
def test_bad_options_are_one_line(runs: Path, words: str, says: str) -> None:
    """A bad value of an option is one line that names it, status 2."""
    assert_one_line(run("fit", runs, *words.split()), says)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_table_of_few_rows_is_refused_in_one_line(tmp_path: Path, rows: int) -> None:
    """Three rows hold no exponents: one line says of every approach what it lacks."""
    path = tmp_path / "few.csv"
    sweep(surface()).iloc[::3].head(rows).to_csv(path, index=False)
    assert_one_line(
        run("fit", path),
        "approach 1 needs at least 4 rows",
        "approach 2 needs two",
        "3 needs at least 6 rows",
    )


def test_tokens_that_follow_from_parameters_are_refused_by_name(tmp_path: Path) -> None:
    """D = 20 N everywhere: approach 3 is refused as a collinear design, and the rest of the report stands."""
    path = tmp_path / "line.csv"
    n = np.geomspace(1e6, 1e9, 30)
    pd.DataFrame({"params": n, "tokens": 20 * n, "loss": surface().value(n, 20 * n)}).to_csv(path)
    done = run("fit", path, "--bootstrap", 50, "--profile", "--plot", tmp_path / "line.svg")
    assert done.returncode == 0, done.stderr
    assert "collinear_design: params and tokens do not vary independently" in " ".join(done.stdout.split())
    assert "compute-optimal at other budgets" in done.stdout
    assert (tmp_path / "line.svg").stat().st_size > 1000


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_six_n_d_does_not_overflow(tmp_path: Path, scale: float) -> None:
    """Whole numbers whose product is far beyond 64 bits give the planted exponents."""
    law = surface(0.4, 0.3)
    table = sweep(law)
    frame = pd.DataFrame(
        {
            "params": [int(n * scale * 1e6) for n in table["params"]],
            "tokens": [int(d * scale * 1e6) for d in table["tokens"]],
            "loss": table["val_loss"],
        }
    )
    path = tmp_path / "huge.csv"
    frame.to_csv(path, index=False)
    done = run("fit", path, "--bootstrap", 0, "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["approach3"]["alpha"] == pytest.approx(0.4, abs=1e-5)
    assert found["approach3"]["a"] == pytest.approx(0.3 / 0.7, abs=1e-5)
    flops = [budget["flops"] for budget in found["approach2"]["budgets"]]
    assert flops == pytest.approx([b * (scale * 1e6) ** 2 for b in (1e11, 3e11, 1e12, 3e12)], rel=1e-4)
