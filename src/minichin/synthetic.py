"""A source of text whose entropy rate is known exactly, so that the fitted E has a truth to be held against.

Decisions. The source is a Markov chain of order 3 over 32 symbols. The next symbol's log-probability is a
Zipf law plus three Gaussian tables that look one, two and three symbols back: a hierarchy, so that a model
gains from each longer context in turn, and a skewed one, so that most contexts are rare and are learnt late.
Repeats are made unlikely, without which a run of blanks would be a quarter of the text. It is small enough
(32³ contexts) for the stationary distribution, and with it the entropy rate, to be computed, not estimated.
Samples are many chains run side by side and laid end to end; each starts in the stationary distribution. At a
join the context is lost for three symbols, which adds less than 0.001 nats to the mean.
Symbols are written as common English characters, so tokens stay below 256 and samples can be printed.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

VERSION = 1
ALPHABET = b" etaoinshrdlcumwfgypbvkjxqz.,'-\n"  # in order of Zipf rank
ZIPF = 1.0  # exponent
STRENGTHS = (1.2, 1.2, 1.0)  # of the tables that look 1, 2 and 3 symbols back
REPEAT = 3.0  # taken from the log-probability of the symbol just seen
TOKENS = 20_000_000
VALID_TOKENS = 1_000_000
CHAIN = 16_384  # tokens a chain, at least, where the sample is long enough
MOST_CHAINS = 1024


@dataclass(frozen=True, eq=False)
class MarkovSource:
    """A Markov chain of order 3, given by P(next | three before): an array [a, b, c, next]."""

    probabilities: np.ndarray

    @cached_property
    def stationary(self) -> np.ndarray:
        """The probability of each context: the fixed point of π(b, c, x) = Σ_a π(a, b, c) P(x | a, b, c)."""
        size = self.probabilities.shape[0]
        current = np.full((size,) * 3, size**-3.0)
        for _ in range(10_000):
            following = np.einsum("abc,abcx->bcx", current, self.probabilities)
            following /= following.sum()
            if np.abs(following - current).sum() < 1e-14:
                return following
            current = following
        raise ValueError("the chain has no stationary distribution that power iteration finds")

    @cached_property
    def entropy_rate(self) -> float:
        """Entropy of the next symbol given the whole past, in nats a token: -Σ π(s) Σ_x P(x|s) ln P(x|s)."""
        return self.entropies[3]

    @cached_property
    def entropies(self) -> tuple[float, float, float, float]:
        """Entropies given 0, 1, 2 and 3 symbols, in nats: where the losses of n-gram models level off."""
        joint = self.stationary[..., None] * self.probabilities
        ladder = []
        for axes in ((0, 1, 2), (0, 1), (0,), ()):
            block = joint.sum(axis=axes)
            ladder.append(_entropy(block) - _entropy(block.sum(axis=-1)))
        return ladder[0], ladder[1], ladder[2], ladder[3]

    def sample(self, tokens: int, seed: int | np.random.SeedSequence = 0) -> np.ndarray:
        """Draw `tokens` symbols (indices, uint8), as chains laid end to end."""
        rng = np.random.default_rng(seed)
        chains = int(np.clip(tokens // CHAIN, 1, MOST_CHAINS))
        steps = -(-tokens // chains)
        size = self.probabilities.shape[0]
        keep, other = self._alias
        state = rng.choice(size**3, size=chains, p=self.stationary.ravel())
        out = np.empty((steps, chains), np.uint8)
        for start in range(0, steps, 256):
            uniform = rng.random((min(256, steps - start), chains)) * size
            slot = uniform.astype(np.int64)
            uniform -= slot
            for step in range(len(slot)):
                cell = state * size + slot[step]
                symbol = np.where(uniform[step] < keep[cell], slot[step], other[cell])
                out[start + step] = symbol
                state = (state % size**2) * size + symbol
        return np.ascontiguousarray(out.T).ravel()[:tokens]

    def log_loss(self, symbols: np.ndarray) -> np.ndarray:
        """Return -ln P(symbol | three before) in nats for every symbol after the third."""
        s = symbols.astype(np.int64)
        return -np.log(self.probabilities[s[:-3], s[1:-2], s[2:-1], s[3:]])

    @cached_property
    def _alias(self) -> tuple[np.ndarray, np.ndarray]:
        """Walker's alias tables, flat: a slot is kept with this probability, else replaced by the other."""
        size = self.probabilities.shape[-1]
        share = self.probabilities.reshape(-1, size) * size
        rows = np.arange(len(share))
        keep, other = np.ones_like(share), np.tile(np.arange(size), (len(share), 1))
        left = share.copy()
        for _ in range(size - 1):  # each round settles one slot of every row
            least, most = left.argmin(axis=1), np.where(np.isinf(left), -1.0, left).argmax(axis=1)
            keep[rows, least], other[rows, least] = left[rows, least], most
            left[rows, most] -= 1.0 - left[rows, least]
            left[rows, least] = np.inf
        return keep.ravel(), other.ravel()


@lru_cache(maxsize=4)
def default_source(seed: int = 2022) -> MarkovSource:
    """Return the source of the corpus `synthetic`; `seed` fixes its tables, not the sample."""
    size = len(ALPHABET)
    rng = np.random.default_rng(seed)
    logits = np.broadcast_to(-ZIPF * np.log(np.arange(1, size + 1)), (size,) * 4).copy()
    for back, strength in enumerate(STRENGTHS, start=1):
        table = strength * rng.standard_normal((size,) * (back + 1))
        logits += table.reshape((1,) * (3 - back) + table.shape)
    every = np.arange(size)
    logits[:, :, every, every] -= REPEAT
    weights = np.exp(logits)
    return MarkovSource(weights / weights.sum(axis=-1, keepdims=True))


def entropy_rate() -> float:
    """Return the exact entropy rate of the corpus `synthetic`, in nats a token."""
    return default_source().entropy_rate


def tokens_wanted(name: str) -> int:
    """Return TOKENS of `synthetic:TOKENS`, which may be written 5000000, 5_000_000, 5e6 or 5M."""
    text = name.partition(":")[2].strip()
    found = re.fullmatch(r"([\d_]+(?:\.\d*)?(?:[eE]\+?\d+)?)([kKmMgG]?)", text) if ":" in name else None
    if ":" in name and found is None:
        raise ValueError(f"{name!r}: TOKENS is a number such as 5000000, 5e6 or 5M")
    wanted = TOKENS
    if found:
        wanted = int(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()])
    if not 1000 <= wanted <= 10**10:
        raise ValueError(f"{name!r}: {wanted:,} tokens; between 1,000 and 10,000,000,000 can be had")
    return wanted


def samples(tokens: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, str]:
    """Return independent training and validation samples as bytes, and the checksum of both."""
    letters = np.frombuffer(ALPHABET, np.uint8)
    first, second = np.random.SeedSequence([VERSION, seed]).spawn(2)
    source = default_source()
    train = letters[source.sample(tokens, first)]
    valid = letters[source.sample(min(VALID_TOKENS, max(1000, tokens // 10)), second)]
    digest = hashlib.sha256(train.data)
    digest.update(valid.data)
    return train, valid, digest.hexdigest()


def _entropy(probabilities: np.ndarray) -> float:
    """Return -Σ p ln p in nats."""
    p = probabilities[probabilities > 0]
    return float(-(p * np.log(p)).sum())
