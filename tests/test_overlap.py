"""Leaks across the cut are counted exactly, held against a count by Python sets."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minichin import overlap
from minichin.overlap import gram_counts, overlap_report

RNG = np.random.default_rng(0)
WORDS = [f"w{i}" for i in range(500)]


def essay(words: int) -> str:
    return " ".join(RNG.choice(WORDS, words))


def by_sets(train: list[str], valid: list[str], n: int) -> list[tuple[int, int]]:
    """The same count with tuples of words in a set: slow, plain."""

    def grams(text: str) -> list[tuple[str, ...]]:
        words = re.findall(r"[a-z0-9\x80-\U0010ffff]+", text.lower())
        if 0 < len(words) < n:
            return [("short", *words)]
        return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]

    seen = {gram for text in train for gram in grams(text)}
    return [(len(grams(text)), sum(gram in seen for gram in grams(text))) for text in valid]


texts = st.lists(st.text("abAB .,\n", max_size=40), max_size=6)


@given(texts, texts, st.integers(1, 5))
@settings(deadline=None)
def test_counts_are_those_of_sets_of_words(train: list[str], valid: list[str], n: int) -> None:
    """Windows and matches equal those counted with Python sets, at every length and across odd spacing."""
    totals, found = gram_counts(train, valid, n)
    assert list(zip(totals.tolist(), found.tolist(), strict=True)) == by_sets(train, valid, n)


def test_counts_do_not_depend_on_how_the_text_is_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text hashed in many small batches gives the counts of one batch."""
    train, valid = [essay(200) for _ in range(20)], [essay(100) for _ in range(5)]
    valid[2] = train[13]
    whole = gram_counts(train, valid)
    monkeypatch.setattr(overlap, "_CHUNK", 1000)
    assert all(np.array_equal(a, b) for a, b in zip(whole, gram_counts(train, valid), strict=True))
    assert whole[1].tolist() == [0, 0, 188, 0, 0]


def test_planted_leak_is_caught_and_named() -> None:
    """A copy, and a copy of two thirds, are reported with their exact shares; fresh text is not."""
    train, valid = [essay(400) for _ in range(30)], [essay(300) for _ in range(6)]
    valid[1] = train[4]
    valid[4] = " ".join(valid[4].split()[:112] + train[9].split()[:200])
    report = overlap_report(train, valid)
    assert (report.documents_before, report.documents_after) == (6, 4)
    assert report.removed_shares == pytest.approx((1.0, (200 - 12) / (312 - 12)))
    assert report.removed[0] == train[4][:60]
    assert report.max_share == 1.0
    assert report.max_share_after == report.share_after == 0.0
    assert sum(report.histogram) == 6
    assert report.histogram[0] == 4
    assert "2 above 20% left the validation side" in report.text()
    assert "\n" not in report.text()


def test_case_punctuation_and_line_breaks_hide_nothing() -> None:
    """A copy with other capitals, stops and line breaks is still a copy."""
    text = essay(100)
    disguised = ",\n".join(text.upper().split()) + "!"
    assert overlap_report([text], [disguised]).max_share == 1.0


def test_windows_do_not_run_across_documents() -> None:
    """Two training documents laid side by side do not make a window that neither has."""
    words = essay(26).split()
    train = [" ".join(words[:6]), " ".join(words[6:])]
    assert overlap_report(train, [" ".join(words[:13])]).grams_found == 0


def test_short_documents_match_only_as_a_whole() -> None:
    """A document of fewer than 13 words is a copy if training has the equal document, else it is fresh."""
    report = overlap_report(
        ["Hello, world", essay(50) + " good night"], ["hello world", "good night", "", "..."]
    )
    assert report.removed == ("hello world",)
    assert report.documents_after == 3


def test_threshold_is_a_limit_not_a_target() -> None:
    """A share equal to the threshold stays; the report counts but removes nothing at threshold 1."""
    text = essay(60)
    assert overlap_report([text], [text], threshold=1.0).documents_after == 1
    assert "none was removed" in overlap_report([text], [text], threshold=1.0).text()
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="a share lies between 0 and 1"):
            overlap_report([text], [text], threshold=wrong)
    with pytest.raises(ValueError, match="n = 0"):
        overlap_report([text], [text], n=0)


@pytest.mark.parametrize(("train", "valid"), [([], []), ([], ["a b"]), (["a b"], []), ([""], [""])])
def test_nothing_overlaps_with_nothing(train: list[str], valid: list[str]) -> None:
    """Empty sides give a report of zeros, not an error."""
    report = overlap_report(train, valid)
    assert (report.grams_found, report.share_found, report.documents_after) == (0, 0.0, len(valid))
