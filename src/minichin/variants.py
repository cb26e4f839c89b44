"""Variants of a text, for experiments on data: shorter, noisy, with its markup left in, or with a leak.

Decisions:
- A variant is part of the corpus' name, `NAME+KIND=VALUE+...`, so that a spec still says all of its run.
- Only the training side changes: the losses of all variants of a text are taken on the same held-out bytes.
- Variants are made when they are loaded, from the base text and the seed alone, and are not cached. Their
  checksum is that of the base text together with what was done to it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from minichin import documents

if TYPE_CHECKING:
    from minichin.corpus import Corpus

VERSION = 1  # part of every variant's checksum: raise it when a change here changes a text
KINDS = {
    "first=TOKENS": "the first so many training tokens",
    "noise=SHARE": "this share of the training bytes replaced by random ones",
    "leak=SHARE[xCOPIES]": "this share of the held-out documents put among the training documents, so often",
    "markup": "the training articles as they are in the dump, markup and all (enwik8 only)",
}
_PART = re.compile(r"\+(?:(first)=(\d+)|(noise)=(0?\.\d+|1)|(leak)=(0?\.\d+|1)(?:x(\d+))?|(markup))")
Parts = Sequence[tuple[str, float, int]]


def parse(name: str) -> tuple[str, Parts]:
    """The base text's name and the parts of the variant, in order: (kind, value, copies).

    A name whose end is no variant is a base text's; one like `enwik8+nose=0.1` is refused there.
    """
    base, parts = name, list[tuple[str, float, int]]()
    while found := re.search(_PART.pattern + "$", base):
        kind = next(group for group in found.groups() if group and group.isalpha())
        value = found[2] or found[4] or found[6] or "1"
        parts.insert(0, (kind, float(value), int(found[7] or 1)))
        base = base[: found.start()]
    return base, parts


def make(base: Corpus, name: str, parts: Parts, markup: Callable[[], np.ndarray]) -> Corpus:
    """The variant `name` of `base`; `markup` gives the training side with its markup."""
    train = base.train
    rng = np.random.default_rng([base.seed, VERSION])
    for kind, value, copies in parts:
        if kind == "markup":
            train = markup()
        elif kind == "first":
            if value > len(train):
                raise ValueError(
                    f"{name}: there are only {len(train)} training tokens to take {value:.0f} from"
                )
            train = train[: int(value)]
        elif kind == "noise":
            train = noisy(train, value, rng)
        else:
            train = leaky(train, base.valid, value, copies, rng)
    digest = hashlib.sha256(f"{base.sha256} {parts} {VERSION}".encode()).hexdigest()
    count = train.tobytes().count(documents.SEPARATOR) + 1
    return replace(
        base, name=name, train=train, sha256=digest, documents=(count, base.documents[1]), overlap=None
    )


def noisy(text: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A copy of `text` in which each byte is, with probability `share`, drawn afresh from all 256 values."""
    hit = rng.random(len(text), np.float32) < share
    made = text.copy()
    made[hit] = rng.integers(0, 256, int(hit.sum()), np.uint8)
    return made


def leaky(
    train: np.ndarray, valid: np.ndarray, share: float, copies: int, rng: np.random.Generator
) -> np.ndarray:
    """`train` with `share` of the documents of `valid`, `copies` times each, at random places among them."""
    held_out = valid.tobytes().split(documents.SEPARATOR)
    leaked = [text for text, draw in zip(held_out, rng.random(len(held_out)), strict=True) if draw < share]
    texts = [*train.tobytes().split(documents.SEPARATOR), *(leaked * copies)]
    return documents.joined([texts[i] for i in rng.permutation(len(texts))])
