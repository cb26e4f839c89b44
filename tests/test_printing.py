"""The book is printed whole, in its own order, with solutions folded; what is missing is said in a line."""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from minichin import printing, slides
from minichin.cli import run as minichin

NAV = """<nav class="bd-links"><a class="reference internal" href="two.html">Two</a>
<a class="reference internal" href="../notebooks/one.html">One</a>
<a class="reference internal" href="gone.html">Gone</a></nav>"""


@pytest.fixture
def html(tmp_path: Path) -> Path:
    """Three pages of a small book."""
    for name, body in (("book/index", NAV), ("book/two", "<p>second"), ("notebooks/one", "<p>last")):
        file = tmp_path / "html" / f"{name}.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        title = f"{name.split('/')[1].title()} &amp; more — minichin"
        file.write_text(f"<html><title>{title}</title><body>{body}</body></html>", "utf-8")
    return tmp_path / "html"


def _pypdf() -> Any:
    """The module pypdf; the test is skipped without it, playwright or a browser."""
    pytest.importorskip("playwright", reason="printing is tested with playwright (extra print) only")
    pypdf = pytest.importorskip("pypdf", reason="printing is tested with pypdf (extra print) only")
    try:
        printing.find_browser()
    except ValueError as missing:
        pytest.skip(str(missing))
    return pypdf


def _run(*arguments: str, status: int = 0) -> Any:
    """`minichin print` in a process of its own, since there is one browser a process."""
    program = f"from minichin.cli import run; raise SystemExit(run({['print', *arguments]!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert done.returncode == status, done.stderr
    return done


def test_pages_come_in_the_order_of_the_contents(html: Path) -> None:
    """The front page first, then as the navigation names them; what is not there is left out."""
    assert [page.stem for page in printing.pages_in_order(html)] == ["index", "two", "one"]
    assert printing.title(html / "book" / "two.html") == "Two & more"


def test_all_pages_of_the_real_book_are_found(smoke_book: Path) -> None:
    """Each chapter and each notebook of the built book is among them, once."""
    html = smoke_book / "_build" / "html"
    found = printing.pages_in_order(html)
    assert len(found) == len(set(found))
    built = {page for folder in ("book", "notebooks") for page in (html / folder).glob("*.html")}
    assert {page.resolve() for page in found} == {page.resolve() for page in built}


def test_a_folder_without_a_book_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says what is not there and how to make it."""
    assert minichin(["print", str(tmp_path), str(tmp_path / "book.pdf")]) == 2
    assert "holds no built book" in capsys.readouterr().err


def test_the_pages_are_joined_into_one_file(html: Path, tmp_path: Path) -> None:
    """One PDF with an outline entry a page, and the single pages beside it."""
    pypdf = _pypdf()
    target = tmp_path / "whole.pdf"
    _run(str(html), str(target))
    reader = pypdf.PdfReader(target)
    assert [item.title for item in reader.outline] == ["Index & more", "Two & more", "One & more"]
    assert "second" in reader.pages[1].extract_text()
    assert {file.name for file in (tmp_path / "whole").iterdir()} == {
        "book-index.pdf",
        "book-two.pdf",
        "notebooks-one.pdf",
    }


def test_the_main_figures_become_slides(smoke_book: Path, tmp_path: Path) -> None:
    """A title and every figure of the list, one a page, wide as a screen, in the order of the list."""
    pypdf = _pypdf()
    html, target = smoke_book / "_build" / "html", tmp_path / "slides.pdf"
    _run("--slides", str(html), str(target))
    reader = pypdf.PdfReader(target)
    assert len(reader.pages) == 1 + len(slides.FIGURES)
    assert {round(float(page.mediabox.width / page.mediabox.height), 2) for page in reader.pages} == {1.78}
    texts = [unicodedata.normalize("NFKC", " ".join(page.extract_text().split())) for page in reader.pages]
    assert "The Chinchilla scaling result" in texts[0]
    assert "You have a fixed amount" not in texts[0]
    assert "profile smoke" in texts[0]
    for (chapter, figure), text in zip(slides.FIGURES, texts[1:], strict=True):
        place = dict.fromkeys(["minichin", printing.title(html / "book" / f"{chapter}.html")])
        assert re.search(re.escape(" · ".join(place)) + r" · Fig\. \d+$", text), figure


def test_slides_come_in_the_order_of_the_book(smoke_book: Path) -> None:
    """Chapters of the list follow one another as in the table of contents."""
    order = [page.stem for page in printing.pages_in_order(smoke_book / "_build" / "html")]
    places = [order.index(chapter) for chapter, _ in slides.FIGURES]
    assert places == sorted(places)


def test_a_book_without_a_wanted_figure_is_refused(html: Path, tmp_path: Path) -> None:
    """One line that names the figure and the page; no file is left."""
    _pypdf()
    done = _run("--slides", str(html), str(tmp_path / "slides.pdf"), status=2)
    assert "no figure title on the page index.html" in done.stderr
    assert not (tmp_path / "slides.pdf").exists()
