"""Text to token ids and back.

Decisions. Bytes are the default vocabulary: at these sizes a learnt vocabulary's embedding would be most of
the model, and bytes last longest per FLOP. The alternative is byte-level BPE, trained by the `tokenizers`
library, whose base alphabet is all 256 bytes, so that nothing is ever unknown. Ids are unsigned integers of
the smallest sufficient width.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tokenizers import Tokenizer as Rules
from tokenizers import decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from minichin.corpus import Corpus

BYTES = 256
_PIECE = 1 << 20  # bytes of text encoded at a time


class Tokenizer(Protocol):
    """Anything that turns text into ids below `vocab` and back."""

    @property
    def vocab(self) -> int:
        """The number of ids."""

    def encode(self, text: str | bytes | np.ndarray) -> np.ndarray:
        """Return the ids of `text`."""

    def decode(self, ids: np.ndarray) -> bytes:
        """Return the bytes that `ids` stand for."""


class ByteTokenizer:
    """One id a byte; any bytes at all, valid UTF-8 or not, come back as they were."""

    vocab = BYTES

    def encode(self, text: str | bytes | np.ndarray) -> np.ndarray:
        """Return the bytes of `text` as ids (uint8); a uint8 array is returned as it is."""
        if isinstance(text, np.ndarray):
            return text
        return np.frombuffer(bytearray(_bytes(text)), np.uint8)

    def decode(self, ids: np.ndarray) -> bytes:
        """Return the ids as bytes."""
        ids = np.asarray(ids)
        if ids.size and not 0 <= ids.min() <= ids.max() < BYTES:
            raise ValueError(f"ids from {ids.min()} to {ids.max()}: bytes lie between 0 and {BYTES - 1}")
        return ids.astype(np.uint8).tobytes()


class BPETokenizer:
    """Byte-level byte-pair encoding: the most frequent neighbours are merged, again and again.

    Text must be valid UTF-8, since that is what the library's rules are written for.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        names = rules.get_vocab()
        table = [b""] * len(names)
        for name, index in names.items():
            table[index] = bytes(_BYTE_OF[letter] for letter in name)
        self._table = table

    @classmethod
    def train(cls, text: str | bytes | np.ndarray, vocab: int) -> "BPETokenizer":
        """Learn merges from `text` until there are `vocab` ids, or no pair is left that occurs twice."""
        if vocab < BYTES:
            raise ValueError(f"vocab = {vocab}: the {BYTES} bytes alone need {BYTES} ids; ask for more")
        rules = Rules(models.BPE())
        rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rules.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab, min_frequency=2, initial_alphabet=alphabet, show_progress=False
        )
        rules.train_from_iterator(_pieces(_bytes(text)), trainer)
        return cls(rules)

    @classmethod
    def load(cls, path: str | Path) -> "BPETokenizer":
        """Read what `save` wrote; ValueError where the file is missing or something else."""
        try:
            return cls(Rules.from_file(str(path)))
        except Exception as error:  # the library raises bare Exception
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{path} is not a tokenizer that can be read ({reason}); train it anew"
            ) from None

    def save(self, path: str | Path) -> None:
        """Write the vocabulary and the merges as JSON."""
        self._rules.save(str(path))

    @property
    def vocab(self) -> int:
        """The number of ids."""
        return len(self._table)

    def encode(self, text: str | bytes | np.ndarray) -> np.ndarray:
        """Return the ids of `text` (uint16, or uint32 above 65,536 ids)."""
        kind = np.uint16 if self.vocab <= 1 << 16 else np.uint32
        parts = [np.array(self._rules.encode(piece).ids, kind) for piece in _pieces(_bytes(text))]
        return np.concatenate(parts) if parts else np.zeros(0, kind)

    def decode(self, ids: np.ndarray) -> bytes:
        """Return the bytes that the ids stand for, one after another."""
        ids = np.asarray(ids)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.vocab:
            raise ValueError(f"ids from {ids.min()} to {ids.max()}: this vocabulary has {self.vocab}")
        return b"".join(self._table[index] for index in ids.tolist())


def tokenize(corpus: "Corpus", tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of the corpus's training and validation sides."""
    return tokenizer.encode(corpus.train), tokenizer.encode(corpus.valid)


def _bytes(text: str | bytes | np.ndarray) -> bytes:
    if isinstance(text, np.ndarray):
        if text.dtype != np.uint8:
            raise ValueError(f"text as an array is uint8 bytes, not {text.dtype}")
        return text.tobytes()
    return text.encode() if isinstance(text, str) else text


def _pieces(text: bytes) -> list[str]:
    """Cut long text before a newline that follows a non-space, where the library's rules cut too."""
    cuts = [0]
    while len(text) - cuts[-1] > _PIECE:
        at = text.find(b"\n", cuts[-1] + _PIECE)
        while at > 0 and text[at - 1 : at].isspace():
            at = text.find(b"\n", at + 1)
        if at < 0:
            break
        cuts.append(at)
    ends = [*cuts[1:], len(text)]
    try:
        return [text[start:end].decode() for start, end in zip(cuts, ends, strict=True) if end > start]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.object[error.start]:#x} is not valid UTF-8 text, which BPE needs; "
            "use bytes (ByteTokenizer) or convert the text"
        ) from None


def _letters() -> dict[str, int]:
    """Return the byte behind each printable letter that byte-level BPE writes for it.

    Printable Latin-1 bytes stand for themselves; the others are numbered upwards from U+0100.
    """
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(BYTES) if byte not in itself]
    return {chr(b): b for b in itself} | {chr(BYTES + i): b for i, b in enumerate(others)}


_BYTE_OF = _letters()
