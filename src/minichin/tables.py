"""The tables made from run records: one row a run, and one row an evaluation. The only schema of results.

Decisions:
- Tables are built column by column: ten thousand runs have 160,000 evaluations, and a dict for each would
  take longer than everything else.
- What a shape costs is asked once a run, never once an evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from minichin.record import RunRecord

#: Columns of `runs_table`, with their meaning.
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
    "cycle": "length of the cosine in lengths of the run",
    "corpus": "name of the text",
    "status": "finished or diverged",
    "seconds": "wall-clock seconds of the run",
    "device": "hardware it ran on",
    "versions": "versions of torch and Python, and the engine",
    "spec_hash": "key of the run: the hash of its spec",
}
#: Columns of `curves_table`, with their meaning.
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
OF_RECORD = ("status", "seconds", "device")
ORDER = ["budget", "params", "seed", "spec_hash"]


def runs_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row a run, columns `TABLE_COLUMNS`, sorted by budget, params and seed."""
    columns: dict[str, list] = {
        "params": [r.spec.shape.params for r in records],
        "params_non_embedding": [r.spec.shape.params_non_embedding for r in records],
        "val_loss": [math.nan if r.val_loss is None else r.val_loss for r in records],
        "train_loss": [r.curve[-1].train_loss if r.curve else math.nan for r in records],
        "versions": [" ".join(f"{k}={v}" for k, v in sorted(r.versions.items())) for r in records],
    }
    for name in TABLE_COLUMNS:
        if name in OF_RECORD:
            columns[name] = [getattr(r, name) for r in records]
        elif name not in columns:
            columns[name] = [getattr(r.spec, name) for r in records]
    frame = pd.DataFrame(columns, columns=list(TABLE_COLUMNS))
    return frame.sort_values(ORDER, ignore_index=True)


def curves_table(records: Sequence[RunRecord]) -> pd.DataFrame:
    """One row an evaluation, columns `CURVE_COLUMNS`, sorted by run and step."""
    specs = [r.spec for r in records]
    counts = [len(r.curve) for r in records]
    points = [point for r in records for point in r.curve]

    def along(values: list, kind: type = object) -> np.ndarray:
        """One value a run, repeated for each of its evaluations."""
        return np.repeat(np.array(values, dtype=kind), counts)

    step = np.array([point.step for point in points], dtype=int)
    tokens = step * along([spec.batch_tokens for spec in specs], int)
    columns = {
        "spec_hash": along([spec.spec_hash for spec in specs]),
        "step": step,
        "tokens": tokens,
        "flops": tokens * along([spec.shape.flops_per_token("full") for spec in specs], float),
        "val_loss": np.array([point.val_loss for point in points], dtype=float),
        "train_loss": np.array([point.train_loss for point in points], dtype=float),
        "params": along([spec.shape.params for spec in specs], int),
        "params_non_embedding": along([spec.shape.params_non_embedding for spec in specs], int),
        "budget": along([spec.budget for spec in specs], float),
        "width": along([spec.width for spec in specs], int),
        "seed": along([spec.seed for spec in specs], int),
        "steps": along([spec.steps for spec in specs], int),
    }
    frame = pd.DataFrame(columns, columns=list(CURVE_COLUMNS))
    return frame.sort_values([*ORDER, "step"], ignore_index=True)
