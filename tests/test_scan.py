"""Scans count what they say, on strings made by hand."""

import re
import sys

import pytest

from minichin import scan
from minichin.scan import Found

EMAIL, PHONE = (scan.PATTERNS[kind] for kind in ("e-mail addresses", "telephone numbers"))


@pytest.mark.parametrize(
    "text",
    [
        "write to a.b+c@mail.example.org.",
        "<X_Y@HOST.COM>",
        "mailto:z@a-b.co.uk, please",
    ],
)
def test_an_address_is_found(text: str) -> None:
    """A plain address is found once, whatever stands around it, and without the full stop that ends it."""
    found = EMAIL.findall(text.encode())
    assert len(found) == 1
    assert not found[0].endswith(b".")


@pytest.mark.parametrize("text", ["SETI@home analysis", "68000 @ 8 MHz", "C60@Li^+", "f(u)@f(v)", "@Stake"])
def test_no_address_is_made_up(text: str) -> None:
    """An at sign alone, as encyclopaedias use it, is no address."""
    assert not EMAIL.findall(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "+351 262 598 174",
        "+64(8)320-1231",
        "(202) 319-1991",
        "call 1-212-555-0123 now",
        "617.353.0014",
        "telephone: [291] (1) 120004",
        "Fax: 0207-384-4715",
        "tel. 202-965-6820",
    ],
)
def test_a_number_is_found(text: str) -> None:
    """Each of the three forms is found, once."""
    assert len(PHONE.findall(text.encode())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 0-14-044913-X",
        "in 1998-2004",
        "3.14159 and 299792458",
        "Halifax, (1661-1715)",
        "Quastel, Juda, (1899-1987)",
        "the fax of 1843",
        "telephone 12",
        "Tel: 27219",
        "the phone 1998 model",
        "2006-11-26",
        "+07.7) 23 (+11)",
        "population 1,234,567",
    ],
)
def test_no_number_is_made_up(text: str) -> None:
    """Years, dates, ISBNs, constants and tables of numbers are no telephone numbers."""
    assert not PHONE.findall(text.encode())


def test_counts_of_a_pattern() -> None:
    """Matches, distinct ones whatever their case, and documents, counted by hand."""
    texts = [b"a@b.org and A@B.org", b"none", b"c@d.org"]
    assert scan.of_pattern(texts, EMAIL) == Found(matches=3, distinct=2, documents=2)
    assert scan.of_pattern([], EMAIL) == Found(0, 0, 0)


def test_counts_of_words() -> None:
    """Whole words and phrases count, parts of words do not; case and punctuation do not matter."""
    texts = [b"Darn! Scunthorpe is darning; darn it.", b"oh, my-word", "é darné".encode(), b"DARN"]
    found, each = scan.of_words(texts, ["darn", "my word", "thorpe"])
    assert each == {"darn": 3, "my word": 1}
    assert found == Found(matches=4, distinct=2, documents=3)


def test_disguised_entries_are_left_out() -> None:
    """Entries with signs among the letters are no plain words; equal ones are one."""
    assert scan.plain(["Darn", "darn ", "d@rn", "my word", "d*rn", "", "so-so"]) == [
        "darn",
        "my word",
        "so-so",
    ]


def test_the_stored_counts_are_of_this_text() -> None:
    """They name the text by its checksum, fit one another, and hold no string that may be private."""
    counts = scan.stored()
    assert counts["corpus"] == "enwik8"
    assert re.fullmatch("[0-9a-f]{64}", counts["sha256"])
    for kind in (*scan.PATTERNS, "listed words"):
        found = Found(**counts[kind])
        assert 0 < found.distinct <= found.matches
        assert 0 < found.documents <= min(found.matches, counts["documents"])
    assert counts["entries_used"] <= counts["entries"]
    assert "@" not in scan.STORED.read_text("utf-8")


def test_the_list_is_the_packages() -> None:
    """The package's list has hundreds of plain entries."""
    pytest.importorskip("better_profanity")
    assert len(scan.plain(scan.word_list())) > 300


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how to have the list."""
    monkeypatch.setitem(sys.modules, "better_profanity", None)
    with pytest.raises(ValueError, match=r"pip install better-profanity, or minichin\[scan\]"):
        scan.word_list()
