"""Near-duplicates across the train/validation cut, counted by word 13-grams.

Decisions. A word is a run of letters, digits and non-ASCII bytes, case ignored, so that punctuation and line
breaks cannot hide a copy. Every window of 13 words gets a 64-bit hash; a validation document's overlap is the
share of its windows that occur anywhere in training. All hashes are compared, not a sketch of them: numpy
gets through 70 MB in seconds, and an exact share needs no tuning (for 1e5 windows against 1e7, the odds of a
single chance match are 1e-7).
A document of fewer than 13 words is one window, matched only by an equal document.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WORDS = 13
THRESHOLD = 0.2
BINS = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)

_CHUNK = 4 << 20  # bytes hashed at a time
_GAP = b"\n"
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_STEP = np.uint64(0xD1342543DE82EF95)
_FILTER_BITS = 24


@dataclass(frozen=True)
class OverlapReport:
    """What was found across a cut, and what was taken out of the validation side because of it."""

    n: int
    threshold: float
    documents_before: int
    documents_after: int
    removed: tuple[str, ...]  # how each removed document starts
    removed_shares: tuple[float, ...]
    grams: int  # windows on the validation side, before removal
    grams_found: int  # those of them that occur in training
    max_share: float  # the most overlapping document, before removal
    max_share_after: float
    share_after: float  # share of windows still found, after removal
    histogram: tuple[int, ...]  # documents with a share of 0, then in the bins ending at BINS[1:]

    @property
    def share_found(self) -> float:
        """Share of validation windows that occur in training, before removal."""
        return self.grams_found / self.grams if self.grams else 0.0

    def text(self) -> str:
        """Return the report as one readable paragraph."""
        counts = ", ".join(
            f"{count} up to {edge:.0%}" for count, edge in zip(self.histogram[1:], BINS[1:], strict=True)
        )
        first = (
            f"Of {self.grams:,} word {self.n}-grams in {self.documents_before:,} validation documents, "
            f"{self.grams_found:,} ({self.share_found:.2%}) also occur in training "
            f"(documents by share: {self.histogram[0]} none, {counts}; most {self.max_share:.0%})."
        )
        if not self.removed:
            return f"{first} No document exceeds the threshold of {self.threshold:.0%}; none was removed."
        names = "; ".join(f"“{start}”" for start in self.removed[:5])
        more = f" and {len(self.removed) - 5} more" if len(self.removed) > 5 else ""
        return (
            f"{first} {len(self.removed)} above {self.threshold:.0%} left the validation side "
            f"({names}{more}); in the {self.documents_after:,} that stay, {self.share_after:.2%} "
            f"occur in training (most {self.max_share_after:.0%})."
        )


def overlap_report(
    train_docs: Iterable[str | bytes],
    valid_docs: Sequence[str | bytes],
    n: int = WORDS,
    threshold: float = THRESHOLD,
) -> OverlapReport:
    """Report which of `valid_docs` share more than `threshold` of their word n-grams with `train_docs`."""
    return report_and_kept(train_docs, valid_docs, n, threshold)[0]


def report_and_kept(
    train_docs: Iterable[str | bytes],
    valid_docs: Sequence[str | bytes],
    n: int = WORDS,
    threshold: float = THRESHOLD,
) -> tuple[OverlapReport, list[int]]:
    """Return the report and the indices of the validation documents that stay."""
    if n < 1:
        raise ValueError(f"n = {n}: an n-gram has at least one word")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold = {threshold}: a share lies between 0 and 1")
    valid = [_bytes(text) for text in valid_docs]
    totals, found = gram_counts(train_docs, valid, n)
    shares = found / np.maximum(totals, 1)
    stays = shares <= threshold
    gone = np.flatnonzero(~stays)
    report = OverlapReport(
        n=n,
        threshold=threshold,
        documents_before=len(valid),
        documents_after=int(stays.sum()),
        removed=tuple(_start(valid[i]) for i in gone),
        removed_shares=tuple(float(shares[i]) for i in gone),
        grams=int(totals.sum()),
        grams_found=int(found.sum()),
        max_share=float(shares.max(initial=0.0)),
        max_share_after=float(shares[stays].max(initial=0.0)),
        share_after=float(found[stays].sum() / max(1, totals[stays].sum())),
        histogram=tuple(int(c) for c in np.bincount(np.searchsorted(BINS, shares), minlength=len(BINS))),
    )
    return report, [int(i) for i in np.flatnonzero(stays)]


def gram_counts(
    train_docs: Iterable[str | bytes], valid_docs: Sequence[str | bytes], n: int = WORDS
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each validation document, its number of n-grams and how many of them occur in training."""
    grams, owner = _concatenated(_hashed(valid_docs, n))
    totals = np.bincount(owner, minlength=len(valid_docs))
    wanted = np.unique(grams)
    low = np.uint64((1 << _FILTER_BITS) - 1)
    maybe = np.zeros(1 << _FILTER_BITS, bool)  # most training windows are turned away by one look-up
    maybe[wanted & low] = True
    seen = np.zeros(wanted.size, bool)
    for hashes, _ in _hashed(train_docs, n) if wanted.size else ():
        candidates = hashes[maybe[hashes & low]]
        at = np.minimum(np.searchsorted(wanted, candidates), wanted.size - 1)
        seen[at[wanted[at] == candidates]] = True
    hit = seen[np.searchsorted(wanted, grams)]
    return totals, np.bincount(owner[hit], minlength=len(valid_docs))


def _hashed(docs: Iterable[str | bytes], n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (hashes of windows, index of the document each lies in), some megabytes at a time."""
    batch: list[bytes] = []
    first = size = 0
    for text in docs:
        batch.append(_bytes(text))
        size += len(batch[-1])
        if size >= _CHUNK:
            yield _windows(batch, first, n)
            first, size, batch = first + len(batch), 0, []
    if batch:
        yield _windows(batch, first, n)


def _windows(batch: list[bytes], first: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash every window of `n` words of each document of `batch`, and short documents whole."""
    words, starts = _words(np.frombuffer(_GAP.join(batch), np.uint8))
    edges = np.cumsum([0] + [len(text) + len(_GAP) for text in batch])
    owner = np.searchsorted(edges, starts, side="right") - 1
    hashes = np.zeros(max(0, words.size - n + 1), np.uint64)
    for i in range(n):
        hashes = hashes * _STEP + words[i : i + hashes.size]
    inside = owner[: hashes.size] == owner[n - 1 :] if hashes.size else np.zeros(0, bool)
    counts = np.bincount(owner, minlength=len(batch))
    firsts = np.cumsum(counts) - counts
    short = np.flatnonzero((counts > 0) & (counts < n))
    whole = np.zeros(short.size, np.uint64)
    for row, document in enumerate(short):
        total = int(counts[document])
        for word in words[firsts[document] : firsts[document] + total].tolist():
            total = (total * int(_STEP) + word) % (1 << 64)
        whole[row] = total
    kept_owner = owner[: hashes.size][inside]
    return _mixed(np.concatenate([hashes[inside], whole])), np.concatenate([kept_owner, short]) + first


def _words(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 64-bit hash of every word and the position where it starts.

    Prefix sums of value·BASE^position make a word's hash one subtraction; BASE^-start takes out its place.
    """
    values = _VALUES[text]
    is_word = np.concatenate([[False], values != 0, [False]])
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    starts, ends = edges[::2], edges[1::2]
    sums = np.zeros(text.size + 1, np.uint64)
    np.cumsum(values * _powers(_BASE, text.size), out=sums[1:])
    return _mixed((sums[ends] - sums[starts]) * _powers(_INVERSE, text.size)[starts]), starts


def _powers(base: np.uint64, count: int) -> np.ndarray:
    """Return base^0 … base^(count-1) modulo 2**64."""
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread 64-bit values over all their bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _byte_values() -> np.ndarray:
    """Return a 64-bit value for each byte: 0 outside words, equal for upper and lower case."""
    values = _mixed(np.arange(1, 257, dtype=np.uint64) * _BASE) | np.uint64(1)
    for byte in range(256):
        if byte < 128 and not chr(byte).isalnum():
            values[byte] = 0
        elif ord("A") <= byte <= ord("Z"):
            values[byte] = values[byte + 32]
    return values


_VALUES = _byte_values()


def _concatenated(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(parts)
    if not pairs:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate([hashes for hashes, _ in pairs]), np.concatenate([owner for _, owner in pairs])


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", errors="surrogatepass") if isinstance(text, str) else text


def _start(text: bytes, length: int = 60) -> str:
    """Return how a document starts, on one line."""
    return " ".join(text[: 4 * length].decode("utf-8", errors="replace").split())[:length]
