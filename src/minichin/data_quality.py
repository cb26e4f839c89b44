"""What the text does: held-out text that leaked, worse text, and text that is read again.

Decisions:
- Every variant is judged on the same held-out bytes, against runs of the same size, budget and seed
  (`beside`), so that a change of loss is the text's.
- How often a run has read the held-out text is expected, not counted: its tokens times the share of its
  text that leaked, over the leaked bytes.
- What a repeated token is worth is read off the loss surface of the unchanged recipe: as many new tokens as
  would give the same rise. The rise is taken against one epoch in the same cell, so the surface's own error
  there drops out.
- The text enwik8 is large, so what its leaks look like is computed once: `python -m minichin.data_quality`
  writes `data/leaks.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from minichin import beside, corpus, documents, variants
from minichin.experiments import leaks
from minichin.fit import FitError, ParametricFit, fit_parametric
from minichin.law import Floats, LossSurface
from minichin.plan import RunSpec

STORED = Path(__file__).parent / "data" / "leaks.json"
EVALUATED = RunSpec.valid_tokens  # held-out tokens of a run's final loss
CELL = ["budget", "width"]


def overlap_of(name: str) -> dict[str, Any]:
    """What the overlap report finds in a corpus, and how much of its training text is held-out text.

    `leaked`: held-out documents that also lie in training, whole; `leak_share`: their part of the training
    bytes; `copies` of each; `evaluated_share`: their part of the bytes that the loss is taken on.
    """
    found = corpus.load(name)
    texts = found.train.tobytes().split(documents.SEPARATOR)
    held_out = found.valid.tobytes().split(documents.SEPARATOR)
    report = corpus.overlap_report(texts, held_out)
    counts = dict.fromkeys(held_out, 0)
    for text in texts:
        if text in counts:
            counts[text] += 1
    leaked = [text for text in held_out if counts[text]]
    size = sum(counts[text] * len(text) for text in leaked)
    edges = np.cumsum([0] + [len(text) + len(documents.SEPARATOR) for text in held_out])
    seen = sum(
        max(0, min(EVALUATED, start + len(text)) - start)
        for text, start in zip(held_out, edges[:-1].tolist(), strict=True)
        if counts[text]
    )
    return {
        "corpus": name,
        "sha256": found.sha256,
        "train_bytes": len(found.train),
        "held_out": len(held_out),
        "leaked": len(leaked),
        "leaked_bytes": sum(map(len, leaked)),
        "copies": max(counts.values()),
        "leak_share": size / len(found.train),
        "evaluated_share": seen / min(EVALUATED, len(found.valid)),
        "caught": len(report.removed),
        "share_found": report.share_found,
    }


def overlap_of_leaks() -> list[dict[str, Any]]:
    """`overlap_of` every text of the experiment `leaks`."""
    return [overlap_of(name) for name in dict.fromkeys(spec.corpus for spec in leaks())]


def stored_overlap() -> pd.DataFrame:
    """What `overlap_of_leaks` found in enwik8, one row a text, indexed by its name."""
    return pd.DataFrame(json.loads(STORED.read_text("utf-8"))).set_index("corpus")


def readings(table: pd.DataFrame, overlap: pd.DataFrame) -> pd.Series:
    """How often each run of `table` read a leaked byte, on average: tokens · leak share / leaked bytes."""
    rows = overlap.loc[table["corpus"]]
    size = rows["leaked_bytes"].to_numpy(dtype=float)
    read = table["tokens"].to_numpy() * rows["leak_share"].to_numpy() / np.maximum(size, 1)
    return pd.Series(read, index=table.index)


def surfaces(tables: Mapping[str, pd.DataFrame], **settings: Any) -> dict[str, ParametricFit | str]:
    """Approach 3 of each table, or the reason why it cannot be had."""
    found: dict[str, ParametricFit | str] = {}
    for name, table in tables.items():
        try:
            found[name] = fit_parametric(table, **settings)
        except FitError as error:
            found[name] = str(error)
    return found


def epochs(table: pd.DataFrame) -> pd.Series:
    """How often each run read its text, from the corpus' name: tokens over those of its part `first`."""
    firsts = []
    for name in table["corpus"]:
        parts = {kind: value for kind, value, _ in variants.parse(name)[1]}
        if "first" not in parts:
            raise ValueError(f"{name} does not say how many tokens it has; epochs need a part +first=TOKENS")
        firsts.append(parts["first"])
    return table["tokens"] / np.array(firsts)


def repeated(table: pd.DataFrame, surface: LossSurface) -> pd.DataFrame:
    """What repetition costs and what a repeated token is worth, one row a run.

    Columns added: epochs (whole), change (loss less that of one epoch in the same cell, nats), and worth:
    of all tokens read, the share of new ones that would give this change on `surface`.
    """
    table = table.assign(epochs=epochs(table).round().astype(int))
    change = beside.less(table, table[table["epochs"] == 1], CELL)
    once = surface.value(table["params"], table["tokens"])
    tokens = [
        float(surface.tokens_for(loss, params))
        for loss, params in zip(once + change, table["params"], strict=True)
    ]
    return table.assign(change=change, worth=np.array(tokens) / table["tokens"])


def worth(epochs: ArrayLike, reuse: float) -> Floats:
    """What a token read so often is worth: (1 + R* (1 - e^(-R / R*))) / (1 + R), R = epochs - 1.

    Muennighoff et al. 2023, equation 5, with R* = `reuse`.
    """
    again = np.asarray(epochs, dtype=np.float64) - 1
    return (1 + reuse * -np.expm1(-again / reuse)) / (1 + again)


def expected_change(
    epochs: ArrayLike, surface: LossSurface, params: float, tokens: float, reuse: float
) -> Floats:
    """The rise of the loss that this `reuse` implies on `surface`, nats."""
    effective = tokens * worth(epochs, reuse)
    return np.asarray(surface.value(params, effective) - surface.value(params, tokens))


def fit_reuse(runs: pd.DataFrame, most: int | None = None) -> float:
    """The R* that fits the worth of `runs` (`repeated`) best, up to `most` epochs, by least squares."""
    some = runs[runs["epochs"] > 1]
    some = some if most is None else some[some["epochs"] <= most]
    if some.empty:
        raise ValueError("no run reads its text more than once; R* needs some that do")

    def misfit(log_reuse: float) -> float:
        return float(np.sum((worth(some["epochs"], np.exp(log_reuse)) - some["worth"]) ** 2))

    return float(np.exp(minimize_scalar(misfit, bounds=(-5.0, 7.0), method="bounded").x))


if __name__ == "__main__":
    STORED.write_text(json.dumps(overlap_of_leaks(), indent=1) + "\n", "utf-8")
