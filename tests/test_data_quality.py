"""Leaks are found where they are, and planted worths of repeated tokens come back."""

import re

import numpy as np
import pandas as pd
import pytest

from minichin import beside, corpus, data_quality, documents, scale
from minichin.experiments import LEAKS
from minichin.fit import ParametricFit
from minichin.law import LossSurface

SURFACE = LossSurface(E=1.0, A=40.0, B=300.0, alpha=0.35, beta=0.4)


def test_a_leak_is_described() -> None:
    """Twice the held-out text among the training text: all of it found, and its share is arithmetic."""
    base, found = corpus.load("help"), data_quality.overlap_of("help+leak=1x2")
    held_out = base.valid.tobytes().split(documents.SEPARATOR)
    size = sum(map(len, held_out))
    assert found["leaked"] == found["caught"] == found["held_out"] == len(held_out)
    assert (found["copies"], found["leaked_bytes"], found["share_found"]) == (2, size, 1)
    assert found["leak_share"] == pytest.approx(2 * size / found["train_bytes"])
    assert found["evaluated_share"] == pytest.approx(1, abs=0.001)


def test_no_leak_is_made_up() -> None:
    """Where nothing leaked, nothing is found."""
    found = data_quality.overlap_of("help")
    assert (found["leaked"], found["caught"], found["copies"], found["leak_share"]) == (0, 0, 0, 0)


def test_part_of_a_leak() -> None:
    """With some documents leaked, the evaluated bytes that leaked are those of these documents."""
    found = data_quality.overlap_of("help+leak=0.5")
    assert 0 < found["leaked"] == found["caught"] < found["held_out"]
    assert 0 < found["evaluated_share"] < 1


def test_the_stored_overlap_is_the_experiments() -> None:
    """One row for each text of the experiment, with its checksum; the report caught every leaked document."""
    stored = data_quality.stored_overlap()
    assert list(stored.index) == [f"enwik8+first=2000000{leak}" for leak in LEAKS]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in stored["sha256"])
    assert (stored["caught"] == stored["leaked"]).all()
    assert stored["leaked"].is_monotonic_increasing


def test_readings_by_hand() -> None:
    """A run over the whole text once reads what leaked twice where two copies lie there."""
    overlap = pd.DataFrame({"leaked_bytes": [0, 100], "leak_share": [0.0, 0.2]}, index=["own", "leaky"])
    table = pd.DataFrame({"corpus": ["leaky", "own"], "tokens": [1000, 1000]})
    assert data_quality.readings(table, overlap).tolist() == [2, 0]


def runs(reuse: float) -> pd.DataFrame:
    """Two cells read 1 to 40 times over, with losses as this R* has them, off the surface by 0.1 nats."""
    rows = []
    for budget, width, params, tokens in ((1e12, 40, 68e3, 1_760_000), (3e12, 56, 127e3, 3_040_000)):
        for count in (1, 2, 4, 8, 16, 40):
            effective = tokens * float(data_quality.worth(count, reuse))
            name = f"enwik8+first={-(-tokens // count)}"
            loss = 0.1 + float(SURFACE.value(params, effective))
            rows.append((budget, width, params, tokens, name, loss))
    columns = ["budget", "width", "params", "tokens", "corpus", "val_loss"]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("reuse", [1.0, 5.0, 15.4, 60.0])
def test_a_planted_reuse_comes_back(reuse: float) -> None:
    """Worths and R* are recovered whatever constant error the surface has."""
    found = data_quality.repeated(runs(reuse), SURFACE)
    assert found["epochs"].tolist() == [1, 2, 4, 8, 16, 40] * 2
    assert found["worth"].to_numpy() == pytest.approx(data_quality.worth(found["epochs"], reuse), rel=1e-6)
    assert data_quality.fit_reuse(found) == pytest.approx(reuse, rel=1e-3)
    assert data_quality.fit_reuse(found, most=4) == pytest.approx(reuse, rel=1e-3)
    row = found.iloc[3]
    told = data_quality.expected_change(8, SURFACE, row["params"], row["tokens"], reuse)
    assert row["change"] == pytest.approx(float(told))


def test_worth_is_the_published_formula() -> None:
    """With the published R* it is that of `scale.worth`; one epoch is worth itself."""
    counts = [1, 2, 4, 16, 40]
    assert data_quality.worth(counts, scale.REUSE) == pytest.approx(scale.worth(counts))


def test_epochs_need_a_part() -> None:
    """A text whose length the name does not tell is refused, and so is a fit without repetition."""
    with pytest.raises(ValueError, match=r"need a part \+first=TOKENS"):
        data_quality.epochs(pd.DataFrame({"corpus": ["enwik8"], "tokens": [1]}))
    once = data_quality.repeated(runs(5), SURFACE).query("epochs == 1")
    with pytest.raises(ValueError, match="no run reads its text more than once"):
        data_quality.fit_reuse(once)


def test_a_surface_or_the_reason() -> None:
    """A table that holds no surface gives the reason in words; one that does, its fit."""
    sizes = np.geomspace(1e4, 1e6, 6)
    rows = [(n, d, SURFACE.value(n, d)) for n in sizes for d in (1e6, 3e6, 1e7, 3e7)]
    whole = pd.DataFrame(rows, columns=["params", "tokens", "val_loss"])
    found = data_quality.surfaces({"whole": whole, "few": whole[:3]}, bootstrap=0, within=None)
    fit = found["whole"]
    assert isinstance(fit, ParametricFit)
    assert abs(fit.surface.E - 1) < 0.01
    assert isinstance(found["few"], str)


def test_a_pairing_is_by_seed() -> None:
    """A second run of a cell in the reference is told, since a change would be of no one run."""
    table = pd.DataFrame({"budget": [1e12], "width": [8], "seed": [0], "val_loss": [2.0]})
    with pytest.raises(ValueError, match="1 cells of the reference hold two runs"):
        beside.changes(pd.concat([table, table]), table)
