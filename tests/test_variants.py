"""Variants of a text change its training side as they say, and nothing else."""

import numpy as np
import pytest

from minichin import corpus, documents, variants


def test_names():
    """A name is taken apart from its end, and what is no variant stays part of the base text's name."""
    assert variants.parse("enwik8") == ("enwik8", [])
    assert variants.parse("text:a+b.txt+first=10+noise=0.5") == (
        "text:a+b.txt",
        [("first", 10.0, 1), ("noise", 0.5, 1)],
    )
    assert variants.parse("help+leak=.25x3+markup")[1] == [("leak", 0.25, 3), ("markup", 1.0, 1)]
    with pytest.raises(ValueError, match=r"no corpus is named .help.nose=0.1."):
        corpus.load("help+nose=0.1")


def test_first():
    """The first tokens are the base text's, the held-out text is the same; too many are refused."""
    base, short = corpus.load("help"), corpus.load("help+first=5000")
    assert np.array_equal(short.train, base.train[:5000])
    assert np.array_equal(short.valid, base.valid)
    assert short.sha256 != base.sha256
    with pytest.raises(ValueError, match=r"only [0-9]+ training tokens to take 999999999 from"):
        corpus.load("help+first=999999999")


def test_noise():
    """About the named share of the bytes differ (255 of 256 draws do), the same ones every time."""
    base, noisy = corpus.load("help"), corpus.load("help+noise=0.2")
    share = np.mean(base.train != noisy.train)
    assert share == pytest.approx(0.2 * 255 / 256, abs=4 * (0.2 * 0.8 / len(base.train)) ** 0.5)
    assert np.array_equal(noisy.train, corpus.load("help+noise=0.2").train)
    assert np.array_equal(noisy.valid, base.valid)


def test_leak():
    """All documents of both sides are there, those of the held-out side as often as asked."""
    base, leaky = corpus.load("help"), corpus.load("help+leak=1x2")
    own = base.train.tobytes().split(documents.SEPARATOR)
    held_out = base.valid.tobytes().split(documents.SEPARATOR)
    assert sorted(leaky.train.tobytes().split(documents.SEPARATOR)) == sorted(own + 2 * held_out)
    assert leaky.documents[0] == len(own) + 2 * len(held_out)


def test_a_leak_is_caught():
    """The overlap report finds the leaked documents, and none where nothing leaked."""
    base, leaky = corpus.load("help"), corpus.load("help+leak=1")
    sides = [text.tobytes().split(documents.SEPARATOR) for text in (base.train, base.valid, leaky.train)]
    assert corpus.overlap_report(sides[0], sides[1]).removed == ()
    assert corpus.overlap_report(sides[2], sides[1]).removed_shares == (1.0,) * len(sides[1])


def test_markup_is_enwik8s():
    """Other texts have no markup, and say so."""
    with pytest.raises(ValueError, match=r"help.markup: only enwik8 has markup"):
        corpus.load("help+markup")
