"""A corpus' card says what the corpus says, and survives being written down."""

import math

import numpy as np
import pytest

from minichin import corpus
from minichin.card import FILE_NAME, CorpusCard, card_for, card_of
from minichin.runs import PUBLISHED, Store


@pytest.fixture(scope="module")
def card():
    """The card of Python's help topics."""
    return card_of(corpus.load("help"))


def test_card_counts_what_the_corpus_holds(card):
    """Sizes are the corpus' own, and the byte counts add up to the held-out text."""
    text = corpus.load("help")
    assert (card.train_bytes, card.valid_bytes) == (text.train.size, text.valid.size)
    assert sum(card.byte_counts) == card.valid_bytes
    assert card.sha256 == text.sha256
    assert bytes(text.valid[:20]).decode() == card.sample[:20]


def test_card_survives_json(card):
    """Written and read again, a card is equal to itself, its overlap report included."""
    assert CorpusCard.from_json(card.to_json()) == card


def test_byte_entropy_is_that_of_the_frequencies(card):
    """Two bytes, one three times as common, have the entropy ln 4 − (3/4) ln 3."""
    counts = np.zeros(256, int)
    counts[[65, 66]] = 3, 1
    fields = {name: getattr(card, name) for name in card.__dataclass_fields__}
    made = CorpusCard(**{**fields, "byte_counts": tuple(counts.tolist())})
    assert made.byte_entropy == pytest.approx(math.log(4) - 0.75 * math.log(3))


def test_card_beside_the_runs_is_used(card, tmp_path):
    """Where a card is kept in the store's folder, the text itself is not needed."""
    store = Store(tmp_path)
    (tmp_path / FILE_NAME).write_text(card.to_json(), "utf-8")
    assert card_for(store) == card


def test_store_without_runs_has_no_card(tmp_path):
    """A store that names no text is the caller's mistake, and the line says so."""
    with pytest.raises(ValueError, match="read 0 texts"):
        card_for(Store(tmp_path))


def test_published_card_is_whole():
    """The committed card is of enwik8, and its counts add up."""
    card = CorpusCard.from_json((PUBLISHED / FILE_NAME).read_text("utf-8"))
    assert card.name == "enwik8"
    assert sum(card.byte_counts) == card.valid_bytes
    assert card.overlap is not None
