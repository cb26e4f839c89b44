"""The store of run records: the only writer of results.

Decisions:
- A store is a folder with one file, `runs.jsonl`: a header line with the format's version, then one line
  a run. Text, so it can be read, copied, compared and committed.
- A line is appended by one `write` under a lock and flushed to the disk, so several writers can share a
  store. A line that was cut off by a crash is sealed by the next writer and skipped by readers, who count
  it: only that one, unfinished record is lost.
- The key is the hash of the spec. A key already in the store is not written twice; a different result
  under the same key is refused.
- Records that come together (a merge) are written together or not at all: every conflict is looked for
  first, and a write that fails half-way is cut off again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pandas as pd

from minichin.plan import profile
from minichin.record import Evaluation, RunRecord
from minichin.tables import CURVE_COLUMNS, TABLE_COLUMNS, curves_table, runs_table

__all__ = [
    "COMMITTED",
    "CURVE_COLUMNS",
    "PUBLISHED",
    "TABLE_COLUMNS",
    "Evaluation",
    "RunRecord",
    "Store",
    "default_store",
    "merge",
    "open_store",
    "runs_folder",
]

STORE_VERSION = 1
FILE_NAME = "runs.jsonl"
PUBLISHED = Path(__file__).parent / "data" / "published"
#: name -> what the committed store holds.
COMMITTED = {
    "published": "six valleys, 1e11 to 3e13 FLOPs, on two CPU cores",
    "published-experiments": "the experiments on these valleys, on two CPU cores",
    "published-first": "the first sweep, 6e10 to 6e12 FLOPs, by the reference engine on two CPU cores",
    "published-gpu": "the gpu profile, 1e13 to 1e16 FLOPs",
    "published-gpu-checks": "learning rates, batches, depths and CPU specs tried on the GPU",
}


class Store:
    """An append-only, resumable collection of run records in a folder.

    `create=False` refuses a folder that holds no store. Every fault is a `ValueError` of one line.
    """

    def __init__(self, folder: str | Path, *, create: bool = True) -> None:
        self.folder = Path(folder)
        self.file = self.folder / FILE_NAME
        self._records: dict[str, RunRecord] = {}
        self._offset = self._line = self._torn = 0
        self._fragment = b""
        if not self.file.exists() or not self.file.stat().st_size:
            if not create:
                raise ValueError(
                    f"no runs store at {self.folder}: {FILE_NAME} is missing there; run a sweep first"
                )
            self._create()
        self._check_header()

    def _create(self) -> None:
        header = json.dumps({"minichin_store": STORE_VERSION}) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked() as handle:
                if handle.seek(0, os.SEEK_END) == 0:
                    handle.write(header.encode())
        except OSError as error:
            raise ValueError(
                f"cannot write a runs store in {self.folder}: {error.strerror}; "
                "name another folder with --store"
            ) from None

    def _check_header(self) -> None:
        try:
            with self.file.open("rb") as handle:
                header = json.loads(handle.readline())
            version = header["minichin_store"]
        except OSError as error:
            raise ValueError(f"cannot read the runs store {self.file}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{self.file} is not a minichin runs store: its first line is no header"
            ) from None
        if version != STORE_VERSION:
            raise ValueError(
                f"{self.file} was written in store format {version}, this minichin reads {STORE_VERSION}; "
                "use the minichin that wrote it, or another --store"
            )

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        """Open the file for appending under an exclusive lock that the system drops with the process."""
        with self.file.open("ab+", buffering=0) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle

    def _refresh(self) -> None:
        """Read the whole lines that were added since the last look, by whatever writer."""
        with self.file.open("rb") as handle:
            handle.seek(self._offset)
            new = handle.read()
        whole, _, self._fragment = new.rpartition(b"\n")
        for line in whole.split(b"\n") if whole else []:
            self._line += 1
            try:
                values = json.loads(line) if self._line > 1 and line else None
            except ValueError:
                self._torn += 1
                continue
            if values is not None:
                self._add(values)
        self._offset += len(new) - len(self._fragment)

    def _add(self, values: dict) -> None:
        try:
            record = RunRecord.from_values(values)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self.file}, line {self._line}: {error}") from None
        known = self._records.setdefault(record.key, record)
        if known is not record and not known.same_result(record):
            raise ValueError(
                f"{self.file}, line {self._line}: run {record.key} stands there twice, differently"
            )

    @property
    def torn_lines(self) -> int:
        """Lines cut off by a crash, which readers skip."""
        self._refresh()
        return self._torn + bool(self._fragment)

    def append(self, record: RunRecord) -> bool:
        """Add a record; False if it is there already; `ValueError` if it is there with another result."""
        return bool(self.extend([record]))

    def extend(self, records: Iterable[RunRecord]) -> int:
        """Add the records that are not there yet, all or none; return how many these were.

        Raises `ValueError` where one of them is there, or comes twice, with different results.
        """
        with self._locked() as handle:
            self._refresh()
            new: dict[str, RunRecord] = {}
            for record in records:
                known = self._records.get(record.key) or new.setdefault(record.key, record)
                if not known.same_result(record):
                    raise ValueError(
                        f"run {record.key} is in {self.file} with another result "
                        f"({known.val_loss} there, {record.val_loss} here); keep the two in separate stores"
                    )
            lines = b"".join(record.to_line().encode() + b"\n" for record in new.values())
            if lines:
                self._write(handle, (b"\n" if self._fragment else b"") + lines)
        return len(new)

    def _write(self, handle: FileIO, data: bytes) -> None:
        """Put `data` at the end of the file and on the disk, whole or not at all."""
        end = handle.seek(0, os.SEEK_END)
        whole = end + len(data)
        try:
            while data:
                data = data[handle.write(data) :]
            os.fsync(handle.fileno())
        except BaseException as error:
            if isinstance(error, OSError) or handle.seek(0, os.SEEK_END) < whole:
                handle.truncate(end)  # at Ctrl-C what is there whole stays: a reader may have seen it
            if isinstance(error, OSError):
                raise ValueError(
                    f"cannot write to {self.file}: {error.strerror}; what was there is unchanged"
                ) from None
            raise

    def records(self) -> list[RunRecord]:
        """All records in the order written."""
        return list(self.by_key().values())

    def by_key(self) -> dict[str, RunRecord]:
        """The records by spec hash."""
        self._refresh()
        return dict(self._records)

    def table(self) -> pd.DataFrame:
        """One row a run, columns `TABLE_COLUMNS`, sorted by budget, params and seed."""
        return runs_table(self.records())

    def curves(self) -> pd.DataFrame:
        """One row an evaluation, columns `CURVE_COLUMNS`, sorted by run and step."""
        return curves_table(self.records())


def merge(sources: Iterable[Store], into: str | Path) -> int:
    """Add every record of `sources` to the store in the folder `into`; return how many were new.

    Where two stores hold different results of a run, `ValueError` says how many such runs there are and
    names the first, and nothing is written, nor is a store made.
    """
    there = [Store(into)] if (Path(into) / FILE_NAME).exists() else []
    seen: dict[str, tuple[RunRecord, Store]] = {}
    conflicts: dict[str, str] = {}
    for store in (*there, *sources):
        for key, record in store.by_key().items():
            first, where = seen.setdefault(key, (record, store))
            if not first.same_result(record):
                conflicts.setdefault(
                    key, f"{first.val_loss} in {where.folder}, {record.val_loss} in {store.folder}"
                )
    if conflicts:
        key, losses = next(iter(conflicts.items()))
        what = "1 run has" if len(conflicts) == 1 else f"{len(conflicts)} runs have"
        raise ValueError(
            f"{what} different results in these stores, the first {key} ({losses}); "
            "nothing was written; keep such stores apart"
        )
    return Store(into).extend(record for record, _ in seen.values())


def runs_folder() -> Path:
    """Where stores live: `MINICHIN_RUNS`, else `runs` in the clone that holds this folder, else `./runs`."""
    override = os.environ.get("MINICHIN_RUNS")
    if override:
        return Path(override)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "_toc.yml").exists() and (folder / "pyproject.toml").exists():
            return folder / "runs"
    return here / "runs"


def default_store(name: str) -> Path:
    """The folder of a profile's store: the package's own records for `published`, else `runs/<profile>`."""
    profile(name)
    return PUBLISHED if name == "published" else runs_folder() / name


def open_store(where: str | Path) -> Store:
    """Open an existing store by folder, or one of the `COMMITTED` by its name."""
    name = str(where)
    return Store(PUBLISHED.with_name(name) if name in COMMITTED else where, create=False)
