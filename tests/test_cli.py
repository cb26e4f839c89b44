"""The command line as users meet it: contracts of JSON, one clear line and status 2 for every mistake."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from minichin import cli
from minichin.cli import parse_time

MINICHIN = Path(sys.executable).with_name("minichin")


class Done(NamedTuple):
    """What a command gave back."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: object) -> Done:
    """Run the command line in this process, which saves three seconds of imports a call."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run([str(word) for word in words])
    return Done(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A small planted sweep: E 1.7, A 400, B 410, alpha = beta = 0.34."""
    rows = []
    for budget in (1e18, 3e18, 1e19, 3e19, 1e20):
        for factor in (0.25, 0.4, 0.63, 1.0, 1.6, 2.5, 4.0):
            params = factor * (budget / 6) ** 0.5
            tokens = budget / (6 * params)
            loss = 1.7 + 400 / params**0.34 + 410 / tokens**0.34
            rows.append({"params": params, "tokens": tokens, "loss": loss})
    path = tmp_path_factory.mktemp("table") / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def assert_one_line(done: Done, *words: str) -> None:
    """Status 2, nothing on standard output, one line on standard error that holds the words."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("minichin: ")
    for word in words:
        assert word in lines[0]


def test_fit_json_contract(table):
    """`fit --json -` writes one object with the keys that the design promises, and the planted exponents."""
    done = run("fit", table, "--bootstrap", 50, "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"rows", "dropped", "convention", "approach1", "approach2", "approach3"} <= found.keys()
    assert found["rows"] == 35
    common = {"a", "a_interval", "b", "b_interval", "a_minus_b", "a_minus_b_interval", "warnings"}
    for approach in (1, 2, 3):
        assert common <= found[f"approach{approach}"].keys()
    assert {"flops", "params_opt", "tokens_opt", "loss", "bracketed"} <= found["approach2"]["budgets"][
        0
    ].keys()
    three = found["approach3"]
    certificate = {"objective", "gradient_norm", "starts", "starts_at_best", "second_best_objective", "delta"}
    assert certificate | {"E", "A", "B", "alpha", "beta", "intervals"} <= three.keys()
    assert found["approach2"]["a"] == pytest.approx(0.5, abs=1e-3)
    assert three["a"] == pytest.approx(0.5, abs=1e-5)
    assert three["E"] == pytest.approx(1.7, abs=1e-4)


def test_fit_text_plot_and_optimum(table, tmp_path):
    """A fit prints the three approaches, draws a picture, and its JSON serves `optimum` as a law."""
    out, picture = tmp_path / "fit.json", tmp_path / "fit.svg"
    done = run("fit", table, "--bootstrap", 50, "--json", out, "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert "IsoFLOP valleys" in done.stdout
    assert "parametric loss" in done.stdout
    assert picture.read_text().count("<svg") == 1
    best = json.loads(run("optimum", "--flops", 1e21, "--law", out, "--json").stdout)
    assert best["tokens_per_param"] == pytest.approx((410 / 400) ** (1 / 0.34), rel=0.01)


def test_optimum_of_the_paper():
    """The printed constants give 32B parameters at Gopher's budget, 92.6 tokens a parameter."""
    done = run("optimum", "--flops", 5.76e23, "--law", "chinchilla", "--json")
    assert json.loads(done.stdout)["tokens_per_param"] == pytest.approx(92.6, abs=0.1)


def test_flops():
    """`flops --json` gives parts that sum to the totals, under every convention."""
    found = json.loads(run("flops", "--width", 64, "--json").stdout)
    assert sum(found["params_by_part"].values()) == found["params"]
    total = 3 * sum(found["forward_flops_per_sequence_by_part"].values()) / 64
    assert found["training_flops_per_token"]["full"] == pytest.approx(total)
    assert "training FLOPs a token" in run("flops", "--width", 64).stdout


def test_plan_is_readable_and_json():
    """`plan` prints a row a run with an estimate of time; with --json the same as an object."""
    done = run("plan", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "about" in done.stdout.splitlines()[1]
    assert "peak LR" in done.stdout
    found = json.loads(run("plan", "--profile", "smoke", "--json").stdout)
    assert found["estimated_seconds"] > 0
    assert len(found["runs"]) == len(done.stdout.splitlines()) - 4


def test_data_list():
    """`data list` names every kind of text."""
    done = run("data", "list")
    for name in ("enwik8", "help", "text:PATH", "hf:NAME", "synthetic"):
        assert name in done.stdout


def test_runs_commands(tmp_path):
    """`runs table`, `merge` and `check` work on the committed records."""
    done = run("runs", "table", "published")
    assert done.stdout.startswith("params,params_non_embedding,tokens,flops,budget,val_loss")
    count = len(done.stdout.splitlines()) - 1
    assert count >= 28
    merged = run("runs", "merge", "published", "--into", tmp_path / "m")
    assert f"{count} new runs" in merged.stdout
    assert f"{count} runs, 0 of them diverged" in run("runs", "check", tmp_path / "m").stdout


MISTAKES = [
    (("plan", "--profile", "cpus"), ("unknown profile 'cpus'", "smoke, cpu, gpu, published")),
    (("plan", "--profil", "cpu"), ("No such option",)),
    (("sweep", "--profile", "published"), ("trains nothing",)),
    (("sweep", "--profile", "smoke", "--time-limit", "soon"), ("--time-limit 'soon'", "9m")),
    (("sweep", "--profile", "smoke", "--workers", "0"), ("workers must be at least 1",)),
    (("sweep", "--experiment", "rate"), ("unknown experiment 'rate'", "rates, main, depths")),
    (("sweep", "--experiment", "rates", "--corpus", "help"), ("has its own texts; leave --corpus help out",)),
    (("sweep", "--profile", "smoke", "--stack", "0"), ("a stack must hold at least 1 run, not 0",)),
    (("sweep", "--corpus", "text:mine.txt"), ("--corpus text:mine.txt needs --store",)),
    (("sweep", "--corpus", "text:{nowhere}", "--store", "s"), ("nowhere",)),
    (("fit", "missing.csv"), ("missing.csv",)),
    (("fit", "{empty}"), ("is empty",)),
    (("fit", "{header}"), ("has a header and no rows",)),
    (("fit", "{column}"), ("tokens", "--rename")),
    (("fit", "{word}"), ("n/a", "row 2", "loss")),
    (("fit", "{negative}"), ("-3.1", "row 2", "loss")),
    (("fit", "{table}", "--convention", "7ND"), ("7ND",)),
    (("fit", "{table}", "--json", "{file}/x.json"), ("cannot write", "name another file")),
    (("fit", "{table}", "--plot", "x.gif"), ("x.gif", ".svg")),
    (("optimum", "--flops", "1e21", "--law", "nobody"), ("no law 'nobody'", "besiroglu")),
    (("optimum", "--flops", "-1"), ("positive",)),
    (("flops", "--width", "65"), ("width 65 is not a multiple",)),
    (("runs", "table", "{nowhere}"), ("no runs store at",)),
    (("runs", "check", "{other}"), ("store format 99",)),
    (("sweep", "--profile", "smoke", "--store", "{file}/s"), ("cannot write a runs store", "--store")),
    (("data", "fetch", "enwik9"), ("enwik9", "enwik8")),
    (("data", "check", "text:{nowhere}"), ("nowhere",)),
    (("book", "--profile", "nope"), ("unknown profile 'nope'",)),
    (("book", "--profile", "published", "-p", "botstrap=5"), ("botstrap", "bootstrap")),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory, table) -> dict[str, str]:
    """Files and folders with one fault each."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "other").mkdir()
    contents = {
        "empty": "",
        "header": "params,tokens,loss\n",
        "column": "params,loss\n1,2\n",
        "word": "params,tokens,loss\n1,2,3\n1,2,n/a\n",
        "negative": "params,tokens,loss\n1,2,3\n1,2,-3.1\n",
        "file": "",
        "other/runs.jsonl": '{"minichin_store": 99}\n',
    }
    for name, text in contents.items():
        (folder / name).write_text(text)
    found = {name: str(folder / name) for name in (*contents, "nowhere", "other")}
    return {**found, "table": str(table)}


@pytest.mark.parametrize(("words", "says"), MISTAKES, ids=lambda value: " ".join(value)[:40])
def test_every_mistake_ends_in_one_line(words, says, places, tmp_path, monkeypatch):
    """A mistake of the caller: one line that names the value and the cure, status 2, no traceback."""
    monkeypatch.setenv("MINICHIN_RUNS", str(tmp_path / "runs"))
    assert_one_line(run(*(word.format(**places) for word in words)), *says)


def test_the_installed_command(places):
    """The console script gives the same as `run`: one line, status 2."""
    done = subprocess.run(
        [str(MINICHIN), "fit", places["empty"]], capture_output=True, text=True, check=False
    )
    assert_one_line(Done(done.returncode, done.stdout, done.stderr), "is empty")


def test_a_damaged_text_is_told(tmp_path, monkeypatch):
    """A corrupted file in the cache is named with the cure, before anything is trained."""
    monkeypatch.setenv("MINICHIN_CACHE", str(tmp_path))
    from minichin import corpus

    damaged = corpus._cut_path(corpus._documents_path("enwik8"), 0)
    damaged.write_bytes(b"nonsense")
    done = run("sweep", "--profile", "cpu", "--store", tmp_path / "s")
    assert_one_line(done, str(damaged), "minichin data fetch enwik8")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("9m", 540), ("1h30m", 5400), ("1h", 3600)]
)
def test_times(text, seconds):
    """Times are written as 90, 90s, 9m or 1h30m."""
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "9 minutes", "-5m", "1.5h"])
def test_bad_times(text):
    """Anything else is refused with examples."""
    with pytest.raises(ValueError, match="write 90s, 9m or 1h30m"):
        parse_time(text)
