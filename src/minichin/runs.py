"""The record of a run, the store of records, and the tables made from it: the only schema of results.

Decisions:
- A store is a folder with one file, `runs.jsonl`: a header line with the format's version, then one line
  a run. Text, so it can be read, copied, compared and committed.
- A line is appended by one `write` under a lock and flushed to the disk, so several writers can share a
  store. A line that was cut off by a crash is sealed by the next writer and skipped by readers, who count
  it: only that one, unfinished record is lost.
- The key is the hash of the spec. A key already in the store is not written twice; a different result
  under the same key is refused.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from minichin.plan import RunSpec, profile

STORE_VERSION = 1
FILE_NAME = "runs.jsonl"
PUBLISHED = Path(__file__).parent / "data" / "published"
#: name -> what the committed store holds.
COMMITTED = {
    "published": "the cpu profile and one budget more, on two CPU cores",
    "published-gpu": "the gpu profile, 1e13 to 3e15 FLOPs",
    "published-gpu-checks": "learning rates, batches and CPU specs tried on the GPU; no valley of its own",
}

#: Columns of `Store.table()`, with their meaning.
TABLE_COLUMNS = {
    "params": "all weights",
    "params_non_embedding": "weights without the token embedding",
    "tokens": "training tokens seen",
    "flops": "training FLOPs by the full count",
    "budget": "FLOPs aimed at: runs of one IsoFLOP curve share it",
    "val_loss": "held-out loss after the last step, nats a token (empty for a diverged run)",
    "train_loss": "running mean of the training loss at the end, nats a token",
    "seed": "seed of the weights and of the data order",
    "steps": "optimiser steps",
    "batch_tokens": "tokens a step",
    "width": "width of the residual stream",
    "depth": "layers",
    "context": "tokens a sequence",
    "vocab": "token values",
    "head_dim": "key size of one attention head",
    "lr": "peak learning rate",
    "warmup_steps": "steps of linear warm-up",
    "schedule": "course of the learning rate: cosine, linear or constant",
    "corpus": "name of the text",
    "status": "finished or diverged",
    "seconds": "wall-clock seconds of the run",
    "device": "hardware it ran on",
    "versions": "versions of torch and Python",
    "spec_hash": "key of the run: the hash of its spec",
}
CURVE_COLUMNS = {
    "spec_hash": "key of the run",
    "step": "optimiser steps so far",
    "tokens": "training tokens so far",
    "flops": "training FLOPs so far, full count",
    "val_loss": "held-out loss on the curve's blocks, nats a token",
    "train_loss": "running mean of the training loss, nats a token",
    "params": "all weights",
    "params_non_embedding": "weights without embeddings",
    "budget": "FLOPs aimed at",
    "width": "width of the residual stream",
    "seed": "seed of the run",
    "steps": "steps of the whole run",
}


@dataclass(frozen=True)
class Evaluation:
    """One point of a run's curve: losses in nats a token after `step` steps."""

    step: int
    val_loss: float
    train_loss: float


@dataclass(frozen=True)
class RunRecord:
    """What one run gave. Losses in nats a token; `val_loss` is None exactly when the run diverged."""

    spec: RunSpec
    val_loss: float | None
    curve: tuple[Evaluation, ...]
    status: str
    stopped_at: int
    seconds: float
    device: str
    versions: dict[str, str]
    corpus_sha256: str

    def __post_init__(self) -> None:
        if self.status not in ("finished", "diverged"):
            raise ValueError(f"status {self.status!r} of run {self.key} is neither finished nor diverged")
        if (self.val_loss is None) != (self.status == "diverged"):
            raise ValueError(f"run {self.key}: status {self.status} does not go with loss {self.val_loss}")
        if self.val_loss is not None and not math.isfinite(self.val_loss):
            raise ValueError(f"run {self.key}: the loss {self.val_loss} is not finite")

    @property
    def key(self) -> str:
        """The spec's hash."""
        return self.spec.spec_hash

    def same_result(self, other: RunRecord) -> bool:
        """Whether both records hold the same losses, bit for bit (wall-clock time may differ)."""
        return (self.spec, self.status, self.val_loss, self.curve) == (
            other.spec,
            other.status,
            other.val_loss,
            other.curve,
        )

    def to_line(self) -> str:
        """One line of JSON, without the newline."""
        values = asdict(self)
        values["curve"] = [[e.step, e.val_loss, e.train_loss] for e in self.curve]
        return json.dumps({"key": self.key, **values}, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_values(cls, values: dict) -> RunRecord:
        """The inverse of `to_line`, parsed; raise `ValueError` where the key does not fit the spec."""
        values = dict(values)
        key = values.pop("key")
        values["spec"] = RunSpec(**values["spec"])
        values["curve"] = tuple(Evaluation(*point) for point in values["curve"])
        record = cls(**values)
        if record.key != key:
            raise ValueError(f"record {key} does not hash to its key ({record.key}): its spec was changed")
        return record

    def row(self) -> dict[str, object]:
        """This run as a row of `Store.table()`."""
        spec, shape = self.spec, self.spec.shape
        known: dict[str, object] = {
            "params": shape.params,
            "params_non_embedding": shape.params_non_embedding,
            "val_loss": math.nan if self.val_loss is None else self.val_loss,
            "train_loss": self.curve[-1].train_loss if self.curve else math.nan,
            "versions": " ".join(f"{k}={v}" for k, v in sorted(self.versions.items())),
            "spec_hash": self.key,
        }
        return {
            name: known.get(name, getattr(self, name, getattr(spec, name, None))) for name in TABLE_COLUMNS
        }

    def curve_rows(self) -> Iterator[dict[str, object]]:
        """The evaluations of this run as rows of `Store.curves()`."""
        spec, shape = self.spec, self.spec.shape
        for point in self.curve:
            tokens = point.step * spec.batch_tokens
            yield {
                "spec_hash": self.key,
                "step": point.step,
                "tokens": tokens,
                "flops": tokens * shape.flops_per_token("full"),
                "val_loss": point.val_loss,
                "train_loss": point.train_loss,
                "params": shape.params,
                "params_non_embedding": shape.params_non_embedding,
                "budget": spec.budget,
                "width": spec.width,
                "seed": spec.seed,
                "steps": spec.steps,
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
    def _locked(self) -> Iterator:
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
        if not known.same_result(record):
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
        with self._locked() as handle:
            self._refresh()
            known = self._records.get(record.key)
            if known is not None:
                if not known.same_result(record):
                    raise ValueError(
                        f"run {record.key} is in {self.file} with another result "
                        f"({known.val_loss} there, {record.val_loss} here); keep the two in separate stores"
                    )
                return False
            seal = b"\n" if self._fragment else b""
            handle.write(seal + record.to_line().encode() + b"\n")
            os.fsync(handle.fileno())
        return True

    def records(self) -> list[RunRecord]:
        """All records in the order written."""
        return list(self.by_key().values())

    def by_key(self) -> dict[str, RunRecord]:
        """The records by spec hash."""
        self._refresh()
        return dict(self._records)

    def table(self) -> pd.DataFrame:
        """One row a run, columns `TABLE_COLUMNS`, sorted by budget, params and seed."""
        rows = [record.row() for record in self.records()]
        frame = pd.DataFrame(rows, columns=list(TABLE_COLUMNS))
        return frame.sort_values(["budget", "params", "seed", "spec_hash"], ignore_index=True)

    def curves(self) -> pd.DataFrame:
        """One row an evaluation, columns `CURVE_COLUMNS`, sorted by run and step."""
        rows = [row for record in self.records() for row in record.curve_rows()]
        frame = pd.DataFrame(rows, columns=list(CURVE_COLUMNS))
        return frame.sort_values(["budget", "params", "seed", "spec_hash", "step"], ignore_index=True)


def merge(sources: Iterable[Store], into: Store) -> int:
    """Append every record of `sources` to `into`; return how many were new; conflicts raise `ValueError`."""
    return sum(into.append(record) for store in sources for record in store.records())


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
