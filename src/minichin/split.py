"""The cut of a corpus into training and validation.

Decisions. Whole documents go to one side or the other, in an order shuffled by the seed (enwik8's articles
come sorted by age), until validation holds 1 MB or a tenth of the text, whichever is less; validation
documents that share more than a fifth of their word 13-grams with training are taken out, and the report
says which.
"""

from collections.abc import Sequence

import numpy as np

from minichin import overlap
from minichin.overlap import OverlapReport

CUT = 1  # part of every cached cut's name: raise it when a change here changes either side
VALID_BYTES = 1_000_000
VALID_SHARE = 0.1


def sides(lengths: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of the documents of these lengths (bytes) go to training, and which to validation."""
    sizes = np.array(lengths)
    order = np.random.default_rng(seed).permutation(len(sizes))
    wanted = min(VALID_BYTES, VALID_SHARE * float(sizes.sum()))
    count = int(np.searchsorted(np.cumsum(sizes[order]), wanted)) + 1
    count = min(count, len(sizes) - 1)
    return order[count:], order[:count]


def cut(
    texts: Sequence[bytes], seed: int = 0, threshold: float = overlap.THRESHOLD
) -> tuple[list[bytes], list[bytes], OverlapReport]:
    """Shuffle documents by `seed`, fill validation up to its size, and drop its near-duplicates.

    Returns the training documents, the validation documents and the overlap report.
    """
    if len(texts) < 2:
        raise ValueError(
            f"{len(texts)} document(s) cannot be cut into training and validation; bring more text"
        )
    first, second = sides([len(text) for text in texts], seed)
    train, valid = [texts[i] for i in first], [texts[i] for i in second]
    report, stays = overlap.report_and_kept(train, valid, threshold=threshold)
    if not stays:
        raise ValueError(
            f"all {len(valid)} validation documents are near-duplicates of training (at least "
            f"{min(report.removed_shares):.0%} of their word {report.n}-grams); bring more varied text"
        )
    return train, [valid[i] for i in stays], report
