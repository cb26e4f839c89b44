"""Mini-Gopher against mini-Chinchilla: the same compute in a large model and in one of the optimal size.

Decisions:
- `python -m minichin.gopher STORE FOLDER` trains what is missing, keeps the models in FOLDER, asks each of
  them what `downstream` knows, and writes the answers to `gopher.csv` in the store's folder.
- Records go into the store as those of a sweep do: the same spec gives the same record.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from minichin.corpus import Corpus, load
from minichin.plan import RunSpec
from minichin.runs import RunRecord, Store
from minichin.sweep import cores

HELD_OUT = RunSpec.valid_tokens  # bytes of the held-out text that are asked for words
PAIRS = 100  # of each paradigm
#: Columns of the answers.
COLUMNS = {
    "spec_hash": "key of the run",
    "width": "width of the model",
    "params": "all weights",
    "seed": "seed of the run",
    "val_loss": "held-out loss, nats a byte",
    "bits": "bits a byte of held-out text, each byte after 32 to 64 others",
    "bits_other": "bits a byte of Python's help topics",
    "bytes_right": "share of held-out bytes that were the likeliest",
    "words_right": "share of held-out words of which every byte was",
    "words": "how many words",
    "pairs_right": "share of BLiMP's pairs whose good sentence was the likelier",
    "pairs": "how many pairs",
}


def answers(spec: RunSpec, folder: Path, pairs: int = PAIRS) -> tuple[RunRecord, dict]:
    """Train a run unless it is kept in `folder`, and ask the model: the record, and a row of `COLUMNS`."""
    import torch

    from minichin import downstream
    from minichin.trained import train_and_keep

    torch.set_num_threads(1)
    text, other = load(spec.corpus), load("help")
    record, model = train_and_keep(spec, text, folder)
    held_out = text.valid[:HELD_OUT].tobytes()
    words, single = downstream.word_scores(model, held_out)
    scores = downstream.pair_scores(model, downstream.minimal_pairs(pairs))
    row = {
        "spec_hash": spec.spec_hash,
        "width": spec.width,
        "params": spec.shape.params,
        "seed": spec.seed,
        "val_loss": record.val_loss,
        "bits": downstream.bits_per_byte(model, held_out),
        "bits_other": downstream.bits_per_byte(model, _whole(other)),
        "bytes_right": single.accuracy,
        "words_right": words.accuracy,
        "words": words.items,
        "pairs_right": float(np.mean([score.accuracy for score in scores.values()])),
        "pairs": sum(score.items for score in scores.values()),
    }
    return record, row


def _whole(text: Corpus) -> bytes:
    return text.train.tobytes() + text.valid.tobytes()


def compare(specs: Sequence[RunSpec], store: Store, folder: Path, pairs: int = PAIRS) -> pd.DataFrame:
    """The answers of all these runs, one row a run, trained where they are missing, a core each."""
    with get_context("spawn").Pool(min(len(specs), cores())) as pool:
        rows = []
        for record, row in pool.imap_unordered(partial(answers, folder=folder, pairs=pairs), specs):
            store.append(record)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["width", "seed"], ignore_index=True)


def main(where: str, folder: str) -> None:
    """Do the experiment `gopher`, and write the answers beside the records."""
    from minichin.experiments import gopher

    store = Store(where)
    table = compare(gopher(), store, Path(folder))
    table.to_csv(store.folder / "gopher.csv", index=False)
    print(table.to_string())


if __name__ == "__main__":
    main(*sys.argv[1:3])
