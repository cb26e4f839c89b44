"""The record of a run: what it was, what it gave, and its one line of JSON.

Decisions:
- The key is the hash of the spec, and a line that does not hash to its key is refused.
- A record never holds a loss that is not finite: a run that diverged has none, and says so.
- An evaluation is a tuple: a sweep has hundreds of thousands of them, and they are made afresh on reading.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

from minichin.plan import RunSpec


class Evaluation(NamedTuple):
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
        return json.dumps({"key": self.key, **values}, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_values(cls, values: dict) -> RunRecord:
        """The inverse of `to_line`, parsed; raise `ValueError` where the key does not fit the spec."""
        values = dict(values)
        key = values.pop("key")
        values["spec"] = RunSpec(**values["spec"])
        values["curve"] = tuple(map(Evaluation._make, values["curve"]))
        record = cls(**values)
        if record.key != key:
            raise ValueError(f"record {key} does not hash to its key ({record.key}): its spec was changed")
        return record
