"""The book is printed whole, in its own order, with solutions folded; what is missing is said in a line."""

import subprocess
import sys
from pathlib import Path

import pytest

from minichin import printing
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
    pytest.importorskip("playwright", reason="printing is tested with playwright (extra print) only")
    pypdf = pytest.importorskip("pypdf", reason="printing is tested with pypdf (extra print) only")
    try:
        printing.find_browser()
    except ValueError as missing:
        pytest.skip(str(missing))
    target = tmp_path / "whole.pdf"
    program = (
        f"from minichin.cli import run; raise SystemExit(run(['print', {str(html)!r}, {str(target)!r}]))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)  # one browser a process
    reader = pypdf.PdfReader(target)
    assert [item.title for item in reader.outline] == ["Index & more", "Two & more", "One & more"]
    assert "second" in reader.pages[1].extract_text()
    assert {file.name for file in (tmp_path / "whole").iterdir()} == {
        "book-index.pdf",
        "book-two.pdf",
        "notebooks-one.pdf",
    }
