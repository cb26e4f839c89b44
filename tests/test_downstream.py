"""What models are asked beyond their loss, held against slow and plain computations."""

import math

import numpy as np
import pytest
import torch

from minichin import corpus, downstream
from minichin.model import Transformer
from minichin.trained import load, train_and_keep
from tests.test_train import tiny


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(tiny(context=16).shape, seed=1).eval()


@pytest.mark.parametrize("length", [2, 9, 16, 17, 18, 24, 25, 40, 41, 257])
def test_byte_losses_one_at_a_time(model, length):
    """Each byte's loss is that after at least half a context of the bytes before it, or all there are."""
    text = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8)
    losses, hits = downstream.byte_losses(model, text.tobytes())
    assert len(losses) == length - 1
    for place in range(1, length):
        start = 0 if place <= 16 else 8 * math.ceil((place - 16) / 8)
        logits = model(torch.from_numpy(text[start:place].astype(np.int64))[None])[0, -1].detach()
        assert losses[place - 1] == pytest.approx(-float(logits.log_softmax(-1)[text[place]]), rel=1e-4)
        assert hits[place - 1] == (int(logits.argmax()) == text[place])


def test_sentences(model):
    """A sentence's likelihood is the sum over its bytes and its end, given the separator before it."""
    found = downstream.log_likelihoods(model, ["Ab"])[0]
    ids = torch.tensor([list(b"\n\n\nAb\n")])
    by_hand = model(ids[:, :-1]).log_softmax(-1)[0, torch.arange(5), ids[0, 1:]][2:].sum()
    assert found == pytest.approx(float(by_hand.detach()), rel=1e-5)


class Oracle(Transformer):
    """A model that knows one text by heart, but for one byte of it."""

    def __init__(self, text: bytes, wrong: int) -> None:
        super().__init__(tiny(context=16).shape)
        self.text, self.answers = text, bytearray(text + b".")
        self.answers[wrong] = ord("?")

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = [self.text.find(bytes(row.tolist()).rstrip(b"\0")) + 1 for row in ids]
        rows = [
            (list(self.answers[at : at + ids.shape[1]]) + ids.shape[1] * [0])[: ids.shape[1]] for at in places
        ]
        return torch.nn.functional.one_hot(torch.tensor(rows), 256).float()


def test_words_by_hand():
    """A word counts where all its letters and the blank behind it were the likeliest; others do not."""
    text = b"0123456789abcdef0 the cat 2x sat on it"
    words, single = downstream.word_scores(Oracle(text, text.index(b"sat") + 1), text)
    assert (words.items, words.accuracy) == (4, 3 / 4)  # the, cat, sat, on; "2x" is no word, "it" has no end
    assert single.accuracy == pytest.approx(1 - 1 / (len(text) - 1))


def test_pairs_of_a_model_that_has_learned(tmp_path):
    """A kept model is the one that was trained, is not trained twice, and prefers words that it has seen."""
    text = corpus.load("help")
    record, trained = train_and_keep(tiny(width=16, context=16, steps=400), text, tmp_path)
    again, same = train_and_keep(record.spec, text, tmp_path)
    assert record.same_result(again)
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), same.parameters(), strict=True))
    bits = downstream.bits_per_byte(trained, text.valid[:20_000].tobytes())
    assert 0.85 * record.val_loss < bits * math.log(2) < record.val_loss  # more bytes before each, on average
    pairs = {"words": [("the same value", "tqe szme vxlue"), ("is not an object", "ix nqt zn obkect")]}
    assert downstream.pair_scores(trained, pairs)["words"] == downstream.Score(1.0, 2)
    assert (
        downstream.use_cost({"one": trained}, 1, 0.01)["one"]["weight_bytes"] == 4 * record.spec.shape.params
    )
    with pytest.raises(ValueError, match=r"holds \d+ weights; the model of width 24"):
        load(tiny(width=24, context=16), tmp_path / f"{record.key}.npz")


def test_all_of_blimp_is_there():
    """BLiMP's 67 paradigms are read, as many pairs of each as asked for."""
    if not (downstream.data_folder() / "blimp.zip").is_file():
        pytest.skip("blimp.zip is not in the folder of published data; set MINICHIN_PUBLISHED_DATA")
    pairs = downstream.minimal_pairs(3)
    assert len(pairs) == 67
    assert all(len(some) == 3 for some in pairs.values())
    assert pairs["causative"][0] == ("Aaron breaks the glass.", "Aaron appeared the glass.")
