"""What the book says of a text: a corpus' card, small enough to commit beside the records of its runs.

Decisions:
- The book renders from committed records on machines that do not have the text. So what it says of the text
  is a card, computed where the text is and kept as JSON in the folder of the published store.
- Counts of bytes are of the held-out part, the one on which all losses are taken.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minichin.corpus import Corpus
from minichin.overlap import OverlapReport
from minichin.runs import Store

FILE_NAME = "corpus.json"


@dataclass(frozen=True)
class CorpusCard:
    """A corpus without its text. `byte_counts[i]` is how often byte i occurs in the held-out part."""

    name: str
    source: str
    licence: str
    sha256: str
    train_bytes: int
    valid_bytes: int
    train_documents: int
    valid_documents: int
    byte_counts: tuple[int, ...]
    sample: str
    overlap: OverlapReport | None

    @property
    def byte_entropy(self) -> float:
        """Entropy of single bytes, −Σ p ln p, in nats: the loss of who knows only how common each byte is."""
        p = np.array(self.byte_counts, dtype=np.float64)
        p = p[p > 0] / p.sum()
        return float(-(p * np.log(p)).sum())

    def to_json(self) -> str:
        """The card as text; `from_json` is the inverse."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CorpusCard:
        """Read a card; lists become the tuples that they were."""
        values = _tuples(json.loads(text))
        found = values.pop("overlap")
        return cls(**values, overlap=OverlapReport(**_tuples(found)) if found else None)


def card_of(corpus: Corpus, sample: int = 400) -> CorpusCard:
    """Make the card of a loaded corpus; `sample` is how many bytes of held-out text it shows."""
    return CorpusCard(
        name=corpus.name,
        source=corpus.source,
        licence=corpus.licence,
        sha256=corpus.sha256,
        train_bytes=int(corpus.train.size),
        valid_bytes=int(corpus.valid.size),
        train_documents=corpus.documents[0],
        valid_documents=corpus.documents[1],
        byte_counts=tuple(np.bincount(corpus.valid, minlength=256).tolist()),
        sample=bytes(corpus.valid[:sample]).decode("utf-8", errors="ignore"),
        overlap=corpus.overlap,
    )


def card_for(store: Store) -> CorpusCard:
    """The card of the text that a store's runs read: the one kept beside them, else made from the text."""
    kept = store.folder / FILE_NAME
    if kept.exists():
        return CorpusCard.from_json(kept.read_text("utf-8"))
    names = sorted(set(store.table()["corpus"]))
    if len(names) != 1:
        raise ValueError(f"the runs in {store.folder} read {len(names)} texts ({', '.join(names)}), not one")
    from minichin import corpus

    return card_of(corpus.load(names[0]))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
