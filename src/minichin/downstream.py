"""What a model is good for beyond its loss: minimal pairs, next words, other text, and its cost in use.

Decisions:
- Everything is a likelihood of bytes given the bytes before, in windows of the model's context of which the
  second half is scored (the first window whole), so no answer depends on how text is generated.
- A sentence stands behind the separator of documents, as at the start of an article.
- Accuracies come with the number of items, so that their error can be told: sqrt(p (1 - p) / items).
- The cost of use is measured on one thread, models in turn, and given as medians.
"""

from __future__ import annotations

import json
import math
import statistics
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minichin import documents
from minichin.model import Transformer
from minichin.published_runs import data_folder, fetch

BLIMP = "https://github.com/alexwarstadt/blimp/raw/master/data.zip"
BLIMP_SHA256 = "172a1a714d72e72a89e8384dd531483f3d0f8a9aee3d33dccaf7992d8cecbb73"
BATCH = 64  # windows at a time


@dataclass(frozen=True)
class Score:
    """An accuracy, and over how many items."""

    accuracy: float
    items: int

    @property
    def error(self) -> float:
        """Standard error of the accuracy, binomial."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.items)


@torch.no_grad()
def byte_losses(model: Transformer, text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """For each byte of `text` but the first: its cross-entropy in nats, and whether it was the likeliest.

    Every byte is predicted from at least half a context before it, where there are so many.
    """
    context, ids = model.shape.context, np.frombuffer(text, np.uint8).astype(np.int64)
    stride = max(1, context // 2)
    starts = [0, *range(stride, max(1, len(ids) - context), stride)]
    if len(ids) - 1 > starts[-1] + context:
        starts.append(starts[-1] + stride)
    losses, hits = np.empty(len(ids) - 1), np.empty(len(ids) - 1, bool)
    for first in range(0, len(starts), BATCH):
        some = starts[first : first + BATCH]
        windows = np.zeros((len(some), context + 1), np.int64)
        for window, start in zip(windows, some, strict=True):
            piece = ids[start : start + context + 1]
            window[: len(piece)] = piece
        logits = model(torch.from_numpy(windows[:, :-1])).float()
        targets = torch.from_numpy(windows[:, 1:])
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").numpy()
        right = (logits.argmax(-1) == targets).numpy()
        for row, start in enumerate(some):
            skip = 0 if start == 0 else context - stride
            until = min(context, len(ids) - 1 - start)
            losses[start + skip : start + until] = nats[row, skip:until]
            hits[start + skip : start + until] = right[row, skip:until]
    return losses, hits


def bits_per_byte(model: Transformer, text: bytes) -> float:
    """Mean cross-entropy of the bytes of `text`, in bits."""
    return float(byte_losses(model, text)[0].mean() / math.log(2))


def log_likelihoods(model: Transformer, sentences: Sequence[str]) -> np.ndarray:
    """ln p of each sentence in nats, behind a document's separator, its end included."""
    found = np.empty(len(sentences))
    for place, sentence in enumerate(sentences):
        text = documents.SEPARATOR + sentence.encode() + b"\n"
        found[place] = -byte_losses(model, text)[0][len(documents.SEPARATOR) - 1 :].sum()
    return found


def minimal_pairs(each: int = 100) -> dict[str, list[tuple[str, str]]]:
    """The first `each` pairs (good, bad) of each of BLiMP's 67 paradigms (Warstadt et al. 2020, CC BY 4.0).

    Read from the folder of published data, else downloaded; OSError of one line where neither is to be had.
    """
    path = data_folder() / "blimp.zip"
    found = {}
    with zipfile.ZipFile(path if path.is_file() else fetch(BLIMP, BLIMP_SHA256)) as archive:
        for name in sorted(n for n in archive.namelist() if n.startswith("data/") and n.endswith(".jsonl")):
            lines = archive.read(name).decode().splitlines()[:each]
            pairs = [json.loads(line) for line in lines]
            found[Path(name).stem] = [(pair["sentence_good"], pair["sentence_bad"]) for pair in pairs]
    return found


def pair_scores(model: Transformer, pairs: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, Score]:
    """For each paradigm, how often the good sentence is likelier than the bad one."""
    found = {}
    for name, some in pairs.items():
        good, bad = (log_likelihoods(model, side) for side in zip(*some, strict=True))
        found[name] = Score(float(np.mean(good > bad)), len(some))
    return found


def length_scores(pairs: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, float]:
    """For each paradigm, how often the good sentence has fewer bytes than the bad one; a tie counts half.

    This is what a model would score that prefers the shorter sentence, as sums of log-likelihoods tend to.
    """
    sizes = {
        name: np.array([[len(side.encode()) for side in pair] for pair in some])
        for name, some in pairs.items()
    }
    return {name: float(((np.sign(both[:, 1] - both[:, 0]) + 1) / 2).mean()) for name, both in sizes.items()}


def word_scores(model: Transformer, text: bytes) -> tuple[Score, Score]:
    """Next words of `text`: how often every byte of one and its end is the likeliest; the same for bytes.

    A word is a run of letters between blanks; those in the first half context are passed over.
    """
    _, hits = byte_losses(model, text)
    values = np.frombuffer(text, np.uint8)
    letter = np.isin(values | 0x20, np.arange(ord("a"), ord("z") + 1))
    blanks = np.flatnonzero(values == ord(" "))
    begins, ends = blanks[:-1] + 1, blanks[1:]
    inside = np.concatenate([[0], np.cumsum(letter)])
    lengths = ends - begins
    words = (lengths > 0) & (inside[ends] - inside[begins] == lengths) & (begins > model.shape.context)
    right = np.concatenate([[0], np.cumsum(hits)])  # hits[i] is of byte i + 1
    whole = right[ends[words]] - right[begins[words] - 1] == lengths[words] + 1
    return Score(float(whole.mean()), int(words.sum())), Score(float(hits.mean()), len(hits))


@torch.no_grad()
def use_cost(
    models: Mapping[str, Transformer], rounds: int = 7, seconds: float = 0.3, texts: int = 16
) -> dict[str, dict[str, Any]]:
    """What it costs to read `texts` contexts at once, on this process' threads.

    Under each model's name: `tokens_per_s`, the median of the rounds, `rates`, all of them in order (models
    take turns, so that what disturbs a round disturbs all), and `weight_bytes`.
    """
    ids = {n: torch.randint(0, m.shape.vocab, (texts, m.shape.context)) for n, m in models.items()}
    rates: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < seconds:
                model(ids[name])
                count += ids[name].numel()
            rates[name].append(count / (time.perf_counter() - started))
    return {
        name: {
            "tokens_per_s": statistics.median(rates[name]),
            "rates": [round(rate) for rate in rates[name]],
            "weight_bytes": sum(p.numel() * p.element_size() for p in model.parameters()),
        }
        for name, model in models.items()
    }
