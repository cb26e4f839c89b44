"""The checkpoints of a store's unfinished runs: one file a run in the folder `unfinished` of the store.

Decisions:
- `train` and `train_stack` write them; the driver of a sweep removes one as soon as the run's record is in
  the store, and at the next sweep those that a crash left behind between the two.
- A checkpoint that does not fit (other versions, another device) is for whoever trains to tell; here it only
  says how many steps of the run are done and by which engine, since only that one can go on from it.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minichin.plan import RunSpec
from minichin.runs import Store

STACKED = "stack"  # the name of `stack_engine.StackEngine`, which needs torch


class Begun(NamedTuple):
    """How far a run has come, and the name of the engine that trained it; 0 and "" for none that reads."""

    step: int = 0
    engine: str = ""


class Unfinished:
    """The folder of checkpoints that belongs to a store."""

    def __init__(self, store: Store) -> None:
        self.folder = store.folder / "unfinished"

    def begun(self, specs: Iterable[RunSpec]) -> dict[str, Begun]:
        """What the checkpoints of these runs tell, by spec hash; runs without one are left out."""
        there = {path.stem for path in self.folder.glob("*.npz")}
        keys = [spec.spec_hash for spec in specs if spec.spec_hash in there]
        return {key: read(self.folder / f"{key}.npz") for key in keys}

    def clear(self, key: str) -> None:
        """Remove the checkpoint of the run `key` and what a crash left of it; the folder if it is empty."""
        for path in self.folder.glob(f"{key}.npz*"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def clear_all(self, finished: Container[str]) -> None:
        """Remove the checkpoints of finished runs."""
        for path in list(self.folder.glob("*.npz*")):
            key = path.name.partition(".")[0]
            if key in finished:
                self.clear(key)


def read(path: Path) -> Begun:
    """What a checkpoint tells; nothing where there is none, or one that cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Begun(int(file["state/step"]), json.loads(str(file["about"]))["identity"]["engine"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return Begun()
