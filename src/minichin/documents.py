"""Documents are lists of bytes: from Python's help topics, the user's own files, or kept in the cache."""

import glob
import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from minichin import cache

SEPARATOR = b"\n\n\n"  # between documents; it occurs in no cleaned one

PIECE = 2000  # bytes: about the size of the documents that one long file is cut into
LARGEST = 1 << 20  # bytes: a file above this is cut, also among others
SUFFIXES = (".txt", ".md")


def help_topics() -> list[bytes]:
    """Return the topics of Python's own help (`pydoc_data.topics`), about 465 kB of English, sorted by name.

    Every CPython has them; the text differs between Python versions, which the corpus' checksum shows.
    """
    from pydoc_data.topics import topics

    return [topics[name].strip().encode() for name in sorted(topics)]


def text_files(pattern: str) -> list[bytes]:
    """Return the documents at `pattern`: a file, a folder (its .txt and .md files, sorted), or a glob.

    Several files are one document each, unless longer than 1 MB; a lone or longer file is cut at blank lines
    into pieces of about 2 kB. Bytes stay as they are, whatever their encoding.
    """
    paths = _paths(pattern)
    texts = []
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(f"text:{pattern}: {path} cannot be read ({error.strerror or error})") from None
        texts += pieces(content) if len(paths) == 1 or len(content) > LARGEST else [content]
    documents = [text for text in texts if text.strip()]
    if not documents:
        raise ValueError(
            f"text:{pattern}: {len(paths)} file(s) and no text in them; name files that hold text"
        )
    return documents


def pieces(text: bytes, size: int = PIECE) -> list[bytes]:
    """Cut `text` where a blank line (failing that a line, failing that `size` bytes) follows `size` bytes."""
    cut: list[bytes] = []
    start = 0
    while start < len(text):
        end = text.find(b"\n\n", start + size, start + 3 * size)
        if end < 0:
            end = text.find(b"\n", start + size, start + 3 * size)
        if end < 0:
            end = start + size if len(text) - start >= 3 * size else len(text)
        if len(text) - end < size // 4:
            end = len(text)
        cut.append(text[start:end].strip(b"\n"))
        start = end
    return [piece for piece in cut if piece]


def joined(texts: Sequence[bytes]) -> np.ndarray:
    """Return the documents one after another with the separator between them, as uint8."""
    return np.frombuffer(bytearray(SEPARATOR.join(texts)), np.uint8)


def sha256_of(texts: Sequence[bytes]) -> str:
    """Return the SHA-256 of the documents, each followed by the separator, in hexadecimal."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text)
        digest.update(SEPARATOR)
    return digest.hexdigest()


def save(path: Path, texts: Sequence[bytes], **meta: Any) -> None:
    """Keep documents in a cache file, with their checksum and `meta`."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    text = np.frombuffer(b"".join(texts), np.uint8)
    cache.write(path, {**meta, "sha256": sha256_of(texts)}, {"ends": ends, "text": text})


def restore(path: Path, cure: str, full: bool = False) -> tuple[list[bytes], dict[str, Any]]:
    """Return the documents of a cache file and its meta; if `full`, their checksum is verified too."""
    meta, arrays = cache.read(path, cure, full)
    content = arrays["text"].tobytes()
    ends = [0, *arrays["ends"].tolist()]
    texts = [content[start:end] for start, end in pairwise(ends)]
    if full and sha256_of(texts) != meta["sha256"]:
        raise ValueError(f"the cached file {path} is damaged: its text's checksum is wrong; {cure}")
    return texts, meta


def _paths(pattern: str) -> list[Path]:
    """Resolve a file, folder or glob to the files it names, sorted."""
    if not pattern:
        raise ValueError(
            "text: names no file; write text:PATH with a file, a folder or a pattern such as *.txt"
        )
    path = Path(pattern).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ValueError(
                f"text:{pattern}: no .txt or .md file in this folder; give a pattern such as *.rst"
            )
        return found
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise ValueError(f"text:{pattern}: no such file, folder or pattern with a match")
    return found
