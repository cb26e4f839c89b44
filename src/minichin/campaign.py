"""The records of the campaign's experiments, from the committed stores or from the reader's own.

Decisions:
- An experiment is a list of specs (`experiments`); its records are found by their keys, wherever they lie:
  a run that two experiments share is kept once.
- Missing runs are an error that says how many they are and how to train them; nothing is left out silently.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from minichin.experiments import specs
from minichin.runs import COMMITTED, RunRecord, Store, open_store
from minichin.tables import curves_table, runs_table


@cache
def _committed() -> dict[str, RunRecord]:
    """Every record of the committed stores that were trained on a CPU, by key."""
    stores = [open_store(name) for name in COMMITTED if "gpu" not in name]
    return {key: record for store in stores for key, record in store.by_key().items()}


def records(name: str, store: str | Path = "") -> list[RunRecord]:
    """The records of the experiment `name`, in the order of its specs; from `store`, a folder, if given.

    Raises `ValueError` for an unknown name, and where runs are missing.
    """
    keys = [spec.spec_hash for spec in specs(name)]
    known = Store(store, create=False).by_key() if store else _committed()
    gone = sum(key not in known for key in keys)
    if gone:
        raise ValueError(
            f"{gone} of the {len(keys)} runs of {name} are not in {store or 'the committed stores'}; "
            f"train them by `minichin sweep --experiment {name}`"
        )
    return [known[key] for key in keys]


def table(name: str, store: str | Path = "") -> pd.DataFrame:
    """One row a run of the experiment, columns `tables.TABLE_COLUMNS`."""
    return runs_table(records(name, store))


def curves(name: str, store: str | Path = "") -> pd.DataFrame:
    """One row an evaluation of its runs, columns `tables.CURVE_COLUMNS`."""
    return curves_table(records(name, store))
