"""The simulated studies behind the table of coverages, and that table."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from minichin import coverage
from minichin.cli import cli
from minichin.fit.profile import profile_surface
from minichin.interval_figures import plot_coverage, plot_profile

DESIGN = coverage.Design("3 × 5", 3, 5, 2)


def test_a_study_is_a_sweep_of_its_surface() -> None:
    """A study has the design's runs at its budgets, with losses that scatter about the surface as said."""
    law = coverage.SURFACES["asymmetric"]
    table = coverage.study(law, DESIGN, seed=3)
    assert len(table) == 3 * 5 * 2
    assert table["budget"].nunique() == 3
    assert (6 * table["params"] * table["tokens"]).to_numpy() == pytest.approx(table["flops"].to_numpy())
    many = pd.concat([coverage.study(law, DESIGN, seed) for seed in range(40)])
    noise = many["val_loss"].to_numpy() - law.value(many["params"].to_numpy(), many["tokens"].to_numpy())
    assert noise.std() == pytest.approx(coverage.NOISE, rel=0.1)
    assert table.equals(coverage.study(law, DESIGN, seed=3))
    assert not table.equals(coverage.study(law, DESIGN, seed=4))


def test_curves_end_in_their_runs_and_lie_above_before() -> None:
    """The last point of a run's curve is the run itself; earlier ones lie above the surface."""
    law = coverage.SURFACES["symmetric"]
    table = coverage.study(law, DESIGN, seed=0)
    curves = coverage.curves(law, table)
    last = curves.groupby("run").tail(1)
    for name in ("params", "tokens", "flops", "val_loss"):
        assert last[name].to_numpy() == pytest.approx(table[name].to_numpy())
    early = curves.drop(last.index)
    assert (early["val_loss"] - law.value(early["params"], early["tokens"])).mean() > 0.03


def test_summary_counts_what_covers() -> None:
    """Intervals on either side of the truth, around it, and missing ones are told apart."""
    rows = np.array([[0.5, 0.4, 0.6], [0.4, 0.3, 0.45], [0.6, 0.55, 0.7], [np.nan] * 3])
    found = coverage.summary(rows, 0.5)
    assert (found["coverage"], found["too_low"], found["too_high"], found["none"]) == (0.25, 0.25, 0.25, 1)
    assert found["bias"] == pytest.approx(0.0)


def test_the_command_adds_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`minichin bench coverage` writes a row a way, design and surface, and a second call adds none."""
    monkeypatch.setattr(
        coverage.measure,
        "__kwdefaults__",
        coverage.measure.__kwdefaults__
        | {
            "ways": coverage.WAYS[3:4],
            "designs": (DESIGN,),
            "bootstrap": 40,
        },
    )
    path = tmp_path / "coverage.csv"
    first = CliRunner().invoke(cli, ["bench", "coverage", str(path), "--studies", "4"])
    assert first.exit_code == 0, first.output
    table = pd.read_csv(path)
    assert list(table["surface"]) == ["symmetric", "asymmetric"]
    assert table["coverage"].isin([0, 0.25, 0.5, 0.75, 1]).all()
    again = CliRunner().invoke(cli, ["bench", "coverage", str(path), "--studies", "4"])
    assert again.exit_code == 0
    assert again.output == ""
    assert pd.read_csv(path).equals(table)


def test_the_stored_table_is_whole() -> None:
    """The committed table holds at least 500 studies of every way, design and surface."""
    table = coverage.stored()
    assert (table["studies"] >= 500).all()
    combinations = len(coverage.WAYS) * len(coverage.DESIGNS) * len(coverage.SURFACES)
    assert len(table.drop_duplicates(coverage.KEY)) == len(table) == combinations


def test_the_tables_pictures() -> None:
    """The coverage picture has a dot a row, the profile's a mark a minimum."""
    table = coverage.stored()
    _, axes = plt.subplots(1, 2)
    plot_coverage(axes[0], table)
    dots = [x for line in axes[0].get_lines() for x in line.get_xdata()]
    assert sorted(dots) == pytest.approx(sorted(100 * table["coverage"]))
    study = coverage.study(coverage.SURFACES["symmetric"], DESIGN, 0)
    profile = profile_surface(study, points=15)
    plot_profile(axes[1], profile)
    assert len(axes[1].get_lines()[0].get_xdata()) == len(profile.minima)
    plt.close("all")
