"""Strings in a text that may be private or offensive: e-mail addresses, telephone numbers, listed words.

Decisions:
- Counts only. What was matched is nowhere kept or printed, since it may be private.
- E-mail addresses are those of plain form, name@host.domain. Obfuscated ones (`name at host dot org`) are
  missed, and examples (`user@domain.example`) are counted.
- Telephone numbers are of three forms: international after a plus sign, North American in groups of
  3-3-4 digits, and any six or more digits that follow tel, phone or fax. Others are missed, and made-up
  numbers, or other numbers of these forms, are counted.
- Listed words match whole words, case ignored, and say nothing of what is meant: medicine and history use
  them too. Entries with other signs than letters, digits, spaces and hyphens (disguises) are left out.
- The list is that of the package better-profanity; none is kept here. `python -m minichin.scan`, with that
  package, scans the training text of enwik8 and writes `data/scan.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from minichin import corpus, documents

STORED = Path(__file__).parent / "data" / "scan.json"
LIST = "better-profanity"  # MIT licence
SHOWN = 5  # most frequent listed words that are named
PATTERNS: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "e-mail addresses": re.compile(rb"(?<![\w.%+-])[\w.%+-]+@[a-z\d-]+(?:\.[a-z\d-]+)*\.[a-z]{2,}", re.I),
        "telephone numbers": re.compile(
            rb"(?<![\w+.])\+\d{1,3}(?:[ .-]?\(\d{1,4}\)[ .-]?|[ .-])\d{2,5}(?:[ .-]\d{2,5}){1,4}(?![\w-])"
            rb"|(?<![\w./-])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-.]\d{4}(?![\w-])"
            rb"|\b(?:tel|phone|telephone|fax)\b[.:]{0,2} {0,2}(?=(?:[^\da-z\n]{0,3}\d){6})"
            rb"(?:\[?\(?\d+[\])]{0,2}[ -]?){2,6}(?<=\d{3})(?!\w)",
            re.I,
        ),
    }
)
_TOKEN = re.compile(rb"[a-z0-9\x80-\xff]+")
_PLAIN = re.compile(r"[a-z0-9 -]+")


@dataclass(frozen=True)
class Found:
    """How often something was found: matches, different ones among them, and documents with any."""

    matches: int
    distinct: int
    documents: int


def of_pattern(texts: Iterable[bytes], pattern: re.Pattern[bytes]) -> Found:
    """Count the matches of `pattern` in documents; equal ones, case ignored, are one distinct."""
    seen: Counter[bytes] = Counter()
    touched = 0
    for text in texts:
        found = [match.lower() for match in pattern.findall(text)]
        seen.update(found)
        touched += bool(found)
    return Found(seen.total(), len(seen), touched)


def of_words(texts: Iterable[bytes], words: Iterable[str]) -> tuple[Found, Counter[str]]:
    """Count whole words and phrases, case and punctuation ignored; and how often each was found."""
    entries = {b" ".join(_TOKEN.findall(word.lower().encode())): word for word in words}
    singles = {entry for entry in entries if b" " not in entry}
    phrases = set(entries) - singles
    seen: Counter[str] = Counter()
    touched = 0
    for text in texts:
        tokens = _TOKEN.findall(text.lower())
        found = {entries[token]: n for token, n in Counter(tokens).items() if token in singles}
        spaced = b" " + b" ".join(tokens) + b" "
        found |= {entries[p]: n for p in phrases if (n := spaced.count(b" " + p + b" "))}
        seen.update(found)
        touched += bool(found)
    return Found(seen.total(), len(seen), touched), seen


def plain(entries: Sequence[str]) -> list[str]:
    """The entries of a list that are plain words or phrases, in lower case, each once."""
    return sorted({entry.strip().lower() for entry in entries if _PLAIN.fullmatch(entry.strip().lower())})


def word_list() -> list[str]:
    """The entries of the package's list; `ValueError` where it is not installed."""
    try:
        file = resources.files("better_profanity") / "profanity_wordlist.txt"
    except ModuleNotFoundError:
        raise ValueError(f"the word list is missing: pip install {LIST}, or minichin[scan]") from None
    return file.read_text("utf-8").split("\n")


def scan(name: str = "enwik8") -> dict[str, Any]:
    """Scan the training text of a corpus: what `data/scan.json` holds."""
    found = corpus.load(name)
    text = found.train.tobytes()
    texts = text.split(documents.SEPARATOR)
    entries = [entry for entry in word_list() if entry.strip()]
    words = plain(entries)
    listed, each = of_words(texts, words)
    return {
        "corpus": name,
        "sha256": found.sha256,
        "train_sha256": hashlib.sha256(text).hexdigest(),
        "bytes": len(text),
        "documents": len(texts),
        **{kind: asdict(of_pattern(texts, pattern)) for kind, pattern in PATTERNS.items()},
        "list": f"{LIST} {metadata.version(LIST)}",
        "entries": len(entries),
        "entries_used": len(words),
        "listed words": asdict(listed),
        "most": each.most_common(SHOWN),
    }


def stored() -> dict[str, Any]:
    """The counts of the training text of enwik8, as they were made."""
    return json.loads(STORED.read_text("utf-8"))


if __name__ == "__main__":
    STORED.write_text(json.dumps(scan(), indent=1) + "\n", "utf-8")
