"""Trained models: kept after a run, and made into the book's torch model, whatever engine trained them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from minichin.corpus import Corpus
from minichin.engine_torch import flatten
from minichin.model import Transformer
from minichin.plan import RunSpec
from minichin.runs import RunRecord
from minichin.train import train


def train_and_keep(spec: RunSpec, corpus: Corpus, folder: Path) -> tuple[RunRecord, Transformer]:
    """Train a run, keep its last state in `folder`, and return its record and the model.

    A run whose state is there already is not trained again.
    """
    file = folder / f"{spec.spec_hash}.npz"
    record = train(spec, corpus, checkpoint=file, keep=True)
    return record, load(spec, file)


def load(spec: RunSpec, file: Path) -> Transformer:
    """The model of `spec` with the weights that are kept in `file`."""
    model = Transformer(spec.shape)
    with np.load(file, allow_pickle=False) as state:
        names = [name for name in ("weights", "weights0", "weights1") if f"state/{name}" in state.files]
        weights = np.concatenate([state[f"state/{name}"].reshape(-1) for name in names])
    if len(weights) != spec.shape.params:
        raise ValueError(
            f"{file} holds {len(weights)} weights; the model of width {spec.width} has {spec.shape.params}"
        )
    flats = flatten(model)
    with torch.no_grad():
        for flat, part in zip(flats, np.split(weights, [len(flats[0])]), strict=True):
            flat.copy_(torch.from_numpy(part))
    return model.eval()
