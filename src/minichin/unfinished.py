"""The checkpoints of a store's unfinished runs: one file a run in the folder `unfinished` of the store.

Decisions:
- `train` writes them; the driver of a sweep removes one as soon as the run's record is in the store, and at
  the next sweep those that a crash left behind between the two.
- A checkpoint that does not fit (another engine, other versions) is for `train` to tell; here it only counts
  how many steps of the run are done.
"""

from __future__ import annotations

import zipfile
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from minichin.plan import RunSpec
from minichin.runs import Store


class Unfinished:
    """The folder of checkpoints that belongs to a store."""

    def __init__(self, store: Store) -> None:
        self.folder = store.folder / "unfinished"

    def steps(self, specs: Iterable[RunSpec]) -> dict[str, int]:
        """Steps in the checkpoints of these runs, by spec hash; runs without one are left out."""
        there = {path.stem for path in self.folder.glob("*.npz")}
        begun = [spec.spec_hash for spec in specs if spec.spec_hash in there]
        return {key: _steps(self.folder / f"{key}.npz") for key in begun}

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


def _steps(path: Path) -> int:
    """The step of a checkpoint; 0 where it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return int(file["state/step"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return 0
