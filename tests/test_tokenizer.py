"""Tokenizers lose nothing, and BPE merges what it says it merges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minichin import corpus, tokenizer
from minichin.tokenizer import BPETokenizer, ByteTokenizer

SAMPLE = "The cat sat on the mat.\n\nThe naïve café — 日本語 — costs 12 €.\n" * 40


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    return BPETokenizer.train(SAMPLE, 320)


@given(st.binary())
def test_bytes_come_back_whatever_they_are(text: bytes) -> None:
    """decode(encode(x)) = x for any bytes, valid UTF-8 or not, and there is one id a byte."""
    ids = ByteTokenizer().encode(text)
    assert ids.dtype == np.uint8
    assert ids.size == len(text)
    assert ByteTokenizer().decode(ids) == text


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_bpe_gives_any_text_back(bpe: BPETokenizer, text: str) -> None:
    """decode(encode(x)) = x for any Unicode text, also of characters that training never saw."""
    ids = bpe.encode(text)
    assert bpe.decode(ids) == text.encode()
    assert ids.size <= len(text.encode())
    assert ids.max(initial=0) < bpe.vocab


def test_bpe_merges_the_textbook_example() -> None:
    """aaabdaaabac with three merges is X d X a c with X = aaab.

    By hand: aa occurs most (4 times) and is merged first; then ab (twice, at aa|ab); then aa+ab.
    """
    rules = BPETokenizer.train("aaabdaaabac", 259)
    assert [rules.decode(np.array([i])) for i in (256, 257, 258)] == [b"aa", b"ab", b"aaab"]
    pieces = [rules.decode(np.array([i])) for i in rules.encode("aaabdaaabac")]
    assert pieces == [b"aaab", b"d", b"aaab", b"a", b"c"]


def test_every_byte_has_its_own_id() -> None:
    """The base alphabet is all 256 bytes, each standing for itself, so nothing is unknown."""
    rules = BPETokenizer.train("", 256)
    assert rules.vocab == 256
    assert {rules.decode(np.array([i])) for i in range(256)} == {bytes([b]) for b in range(256)}


def test_saved_tokenizer_is_the_same(bpe: BPETokenizer, tmp_path) -> None:
    """load(save(x)) encodes as x does; another file is refused in one line that names it."""
    bpe.save(tmp_path / "rules.json")
    assert np.array_equal(BPETokenizer.load(tmp_path / "rules.json").encode(SAMPLE), bpe.encode(SAMPLE))
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "missing.json"):
        with pytest.raises(ValueError, match=rf"{name} is not a tokenizer.*train it anew"):
            BPETokenizer.load(tmp_path / name)


def test_long_text_is_encoded_as_if_in_one_piece(bpe: BPETokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding piece by piece, which bounds the memory, gives the ids of the whole."""
    whole = bpe.encode(SAMPLE)
    monkeypatch.setattr(tokenizer, "_PIECE", 100)
    assert len(tokenizer._pieces(SAMPLE.encode())) > 10
    assert np.array_equal(bpe.encode(SAMPLE), whole)


def test_mistakes_are_told_with_their_numbers(bpe: BPETokenizer) -> None:
    """Too small a vocabulary, ids out of range, and text that is no UTF-8 are one-line ValueErrors."""
    with pytest.raises(ValueError, match="vocab = 100"):
        BPETokenizer.train(SAMPLE, 100)
    with pytest.raises(ValueError, match="from 3 to 999"):
        bpe.decode(np.array([3, 999]))
    with pytest.raises(ValueError, match="from 0 to 256"):
        ByteTokenizer().decode(np.array([0, 256]))
    with pytest.raises(ValueError, match="0xff is not valid UTF-8"):
        bpe.encode(b"abc\xff")
    with pytest.raises(ValueError, match="uint8 bytes, not int64"):
        bpe.encode(np.zeros(3, np.int64))


def test_both_sides_of_a_corpus_are_tokenized() -> None:
    """Bytes are the corpus itself; BPE of either side decodes to that side."""
    text = corpus.load("help")
    assert tokenizer.tokenize(text, ByteTokenizer())[0] is text.train
    rules = BPETokenizer.train(text.valid, 300)
    train, valid = tokenizer.tokenize(text, rules)
    assert rules.decode(train) == text.train.tobytes()
    assert valid.size < text.valid.size
