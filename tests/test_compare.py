"""Stores that say the same do not differ; another loss or another exponent is found and named."""

import dataclasses
import json

import numpy as np
import pytest

from minichin import compare
from minichin.cli import run as minichin
from minichin.runs import Store, open_store


@pytest.fixture
def published():
    return open_store("published")


def changed(records, folder, change):
    """A store of the records, each changed."""
    store = Store(folder)
    store.extend(change(record) for record in records)
    return store


def test_a_store_equals_itself(published):
    """All runs are in both, equal bit for bit, and the exponent is one."""
    found = compare.compare(published, published, bootstrap=50)
    assert found.common == found.same == len(published.records())
    assert found.largest == 0
    assert found.a is not None
    assert found.a[0] == found.a[1]
    assert not found.differ


def test_a_loss_that_differs_is_found_and_named(published, tmp_path):
    """A run whose loss is 0.03 nats higher is a difference; one of 0.003 is not."""
    first = published.records()[0]
    for much, differ in ((0.03, True), (0.003, False)):

        def change(record, much=much):
            return dataclasses.replace(record, val_loss=record.val_loss + much * (record.key == first.key))

        store = changed(published.records(), tmp_path / str(much), change)
        found = compare.compare(store, published, bootstrap=20)
        assert found.largest == pytest.approx(much)
        assert found.worst == first.key
        assert found.differ is differ


def test_another_exponent_is_a_difference(published, tmp_path):
    """Losses tilted so that larger models win at larger budgets: intervals part, though no run is in both."""

    def change(record):
        tilt = 0.02 * np.log(record.spec.budget / 1e12) * np.log(record.spec.shape.params / 1e5)
        spec = dataclasses.replace(record.spec, seed=record.spec.seed + 100)
        return dataclasses.replace(record, spec=spec, val_loss=record.val_loss - tilt)

    store = changed(published.records(), tmp_path / "tilted", change)
    found = compare.compare(store, published, bootstrap=100)
    assert found.common == 0
    assert found.a[0] > found.a[1]
    assert not found.overlap
    assert found.differ


def test_a_run_that_diverged_once_is_a_difference(published, tmp_path):
    """Finished in one store, diverged in the other."""
    records = published.records()

    def change(record):
        gone = record.key == records[3].key
        return dataclasses.replace(record, val_loss=None, status="diverged") if gone else record

    found = compare.compare(changed(records, tmp_path / "d", change), published, bootstrap=20)
    assert found.one_sided == 1
    assert found.differ


def test_the_command_says_it_and_exits_by_it(published, tmp_path, capsys):
    """Status 0 and `no difference`, or 1 and `the stores differ`; JSON on demand; strangers are refused."""
    assert minichin(["runs", "compare", "published", "published", "--bootstrap", "20"]) == 0
    assert "no difference" in capsys.readouterr().out
    low = [r for r in published.records() if r.spec.budget < 5e11]
    worse = changed(low, tmp_path / "w", lambda r: dataclasses.replace(r, val_loss=r.val_loss + 0.1))
    assert minichin(["runs", "compare", str(worse.folder), "published", "--bootstrap", "20", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["largest"] == pytest.approx(0.1)
    other = changed(
        low[:1],
        tmp_path / "o",
        lambda r: dataclasses.replace(r, spec=dataclasses.replace(r.spec, budget=7e10)),
    )
    assert minichin(["runs", "compare", str(other.folder), "published"]) == 2
    assert "no run and no budget in common" in capsys.readouterr().err
