"""Mini-Gopher against mini-Chinchilla: the same compute in a large model and in one of the optimal size.

Decisions:
- `python -m minichin.gopher STORE FOLDER` trains what is missing, keeps the models in FOLDER, asks each of
  them what `downstream` knows, and writes the answers to `gopher.csv` in the store's folder, and those of
  each of BLiMP's paradigms to `gopher_pairs.csv`.
- What it costs to use one kept model of each size is measured at the end, with nothing else running, and
  written to `gopher_cost.json` beside the answers, with the name of the machine.
- Records go into the store as those of a sweep do: the same spec gives the same record.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minichin.bench import machine
from minichin.corpus import Corpus, load
from minichin.plan import RunSpec
from minichin.runs import RunRecord, Store
from minichin.sweep import cores

HELD_OUT = RunSpec.valid_tokens  # bytes of the held-out text that are asked for words
PAIRS = 100  # of each paradigm
TEXTS_AT_ONCE = (1, 16)
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


def answers(
    spec: RunSpec, folder: Path, pairs: int = PAIRS
) -> tuple[RunRecord, dict[str, Any], dict[str, float]]:
    """Train a run unless it is kept in `folder`, and ask the model.

    The record, a row of `COLUMNS`, and the share of good sentences that were the likelier, by paradigm.
    """
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
    return record, row, {name: score.accuracy for name, score in scores.items()}


def _whole(text: Corpus) -> bytes:
    return text.train.tobytes() + text.valid.tobytes()


def compare(
    specs: Sequence[RunSpec], store: Store, folder: Path, pairs: int = PAIRS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The answers of all these runs, trained where they are missing, a core each.

    One row a run, and one row a paradigm of BLiMP with a column for each run's key and one, `shorter`, that
    is `downstream.length_scores`.
    """
    from minichin import downstream

    with get_context("spawn").Pool(min(len(specs), cores())) as pool:
        rows, shares = [], {}
        for record, row, scores in pool.imap(partial(answers, folder=folder, pairs=pairs), specs):
            store.append(record)
            rows.append(row)
            shares[row["spec_hash"]] = scores
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(["width", "seed"], ignore_index=True)
    shares["shorter"] = downstream.length_scores(downstream.minimal_pairs(pairs))
    columns = ["shorter", *table["spec_hash"]]
    return table, pd.DataFrame(shares, columns=columns).rename_axis("paradigm")


def cost(specs: Sequence[RunSpec], folder: Path, rounds: int = 60, seconds: float = 0.1) -> dict[str, Any]:
    """Tokens a second and bytes of weights of the kept model of each width's first seed, on one thread.

    `machine` names the processor; `flops_per_token`, of the forward pass by the full count, is by width; and
    `texts` has, by the number of contexts read at once, `downstream.use_cost` by width.
    """
    import torch

    from minichin import downstream
    from minichin.trained import load as load_model

    torch.set_num_threads(1)
    first = {str(spec.width): spec for spec in specs if spec.seed == 0}
    models = {width: load_model(spec, folder / f"{spec.spec_hash}.npz") for width, spec in first.items()}
    return {
        "machine": machine("torch"),
        "flops_per_token": {width: spec.shape.flops_per_token("full") / 3 for width, spec in first.items()},
        "texts": {str(texts): downstream.use_cost(models, rounds, seconds, texts) for texts in TEXTS_AT_ONCE},
    }


def main(where: str, folder: str) -> None:
    """Do the experiment `gopher`, and write the answers beside the records."""
    from minichin.experiments import gopher

    store = Store(where)
    table, pairs = compare(gopher(), store, Path(folder))
    table.to_csv(store.folder / "gopher.csv", index=False)
    pairs.to_csv(store.folder / "gopher_pairs.csv")
    print(table.to_string())
    (store.folder / "gopher_cost.json").write_text(json.dumps(cost(gopher(), Path(folder)), indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
