"""The synthetic source has the entropy that it claims."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minichin import corpus, synthetic
from minichin.synthetic import MarkovSource, default_source


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    monkeypatch.setenv("MINICHIN_CACHE", str(tmp_path))
    return tmp_path


def first_order(rows: np.ndarray) -> MarkovSource:
    """A chain of order 1, written as one of order 3 that ignores what is further back."""
    size = len(rows)
    return MarkovSource(np.broadcast_to(rows, (size,) * 4).copy())


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_entropy_of_a_two_state_chain_is_the_textbook_formula(p: float, q: float) -> None:
    """With P(0→1) = p and P(1→0) = q the rate is (q·h(p) + p·h(q)) / (p + q), h the binary entropy."""

    def h(x: float) -> float:
        return float(-x * np.log(x) - (1 - x) * np.log(1 - x))

    source = first_order(np.array([[1 - p, p], [q, 1 - q]]))
    assert source.entropy_rate == pytest.approx((q * h(p) + p * h(q)) / (p + q), rel=1e-10)


def test_entropy_without_memory_is_that_of_the_marginal() -> None:
    """A source that ignores its past has the entropy of one symbol, whatever the context."""
    p = np.array([0.5, 0.25, 0.25])
    source = first_order(np.tile(p, (3, 1)))
    assert source.entropies == pytest.approx([1.5 * np.log(2)] * 4)


def test_stationary_distribution_stays() -> None:
    """Stepping the chain once from the stationary distribution leaves every context as likely as before."""
    source = default_source()
    assert source.probabilities.sum(axis=-1) == pytest.approx(1)
    assert source.stationary.sum() == pytest.approx(1)
    after = np.einsum("abc,abcx->bcx", source.stationary, source.probabilities)
    assert np.abs(after - source.stationary).max() < 1e-14


def test_log_loss_of_the_true_source_is_the_entropy() -> None:
    """On a long sample, the source's own loss equals its entropy rate within four standard errors."""
    source = default_source()
    losses = source.log_loss(source.sample(1_000_000, seed=3))
    error = losses.std() / np.sqrt(losses.size)
    assert error < 0.002
    assert abs(losses.mean() - source.entropy_rate) < 4 * error + 5e-4  # the second term for joins of chains


def test_counts_of_a_sample_give_the_entropy_ladder() -> None:
    """Entropies counted from a sample, knowing nothing of the source, agree given 0, 1 and 2 symbols.

    The plug-in estimate is low by about (cells seen)/(2·tokens), which Miller and Madow's correction adds.
    """
    source = default_source()
    symbols = source.sample(1_000_000, seed=4).astype(np.int64)

    def block(length: int) -> float:
        code = sum(symbols[i : symbols.size - 2 + i] * 32 ** (length - 1 - i) for i in range(length))
        counts = np.bincount(code)
        p = counts[counts > 0] / counts.sum()
        return float(-(p * np.log(p)).sum() + (p.size - 1) / (2 * counts.sum()))

    counted = (block(1), block(2) - block(1), block(3) - block(2))
    assert counted == pytest.approx(source.entropies[:3], abs=0.01)


def test_each_longer_context_helps_and_the_last_step_is_learnt_late() -> None:
    """The ladder falls at every step by at least 0.2 nats, and few contexts hold half of the mass."""
    source = default_source()
    steps = -np.diff(source.entropies)
    assert (steps > 0.2).all()
    mass = np.cumsum(np.sort(source.stationary.ravel())[::-1])
    assert np.searchsorted(mass, 0.5) < 0.03 * mass.size
    assert mass[0] < 0.05


def test_samples_are_repeatable_and_independent() -> None:
    """Equal seeds give equal bytes; training and validation, and other seeds, are other draws."""
    first, again, other = (corpus.load("synthetic:200k", seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.train, again.train)
    assert first.sha256 == again.sha256 != other.sha256
    assert (first.train.size, first.valid.size) == (200_000, 20_000)
    assert np.mean(first.train[:20_000] == first.valid) < 0.2
    assert first.entropy == default_source().entropy_rate == synthetic.entropy_rate()
    assert set(first.train.tobytes()) <= set(synthetic.ALPHABET)


def test_long_samples_are_kept(cache: Path) -> None:
    """A sample above 4 MB is drawn once, then memory-mapped from the cache, and is the same."""
    drawn = corpus.load("synthetic:5M", seed=7)
    (file,) = cache.glob("synthetic*")
    stamp = file.stat().st_mtime_ns
    again = corpus.load("synthetic:5M", seed=7)
    assert file.stat().st_mtime_ns == stamp
    assert np.array_equal(drawn.train, again.train)
    assert (drawn.entropy, drawn.sha256) == (again.entropy, again.sha256)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"synthetic.*is damaged: it is cut short; delete it"):
        corpus.load("synthetic:5M", seed=7)


@pytest.mark.parametrize(
    ("name", "tokens"), [("synthetic", 20_000_000), ("synthetic:5e6", 5_000_000), ("synthetic:1_000k", 10**6)]
)
def test_number_of_tokens_is_read(name: str, tokens: int) -> None:
    """TOKENS may be written plainly, with an exponent or with a letter."""
    assert synthetic.tokens_wanted(name) == tokens


@pytest.mark.parametrize(
    "name", ["synthetic:", "synthetic:many", "synthetic:-5", "synthetic:10", "synthetic:1e12"]
)
def test_senseless_numbers_of_tokens_are_refused(name: str) -> None:
    """What is no number, or too few or too many tokens, is a ValueError that repeats the name."""
    with pytest.raises(ValueError, match=f"'{name}'"):
        corpus.load(name)
