"""The book on paper: every page printed by Chromium, and all of them in one file.

Decisions:
- Pages are printed by a browser, since that is what lays out their formulas and pictures; the order is that
  of the book's own table of contents.
- Solutions stay folded on paper as they are on the screen.
- One PDF a page lies in a folder beside the whole, named like the page.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

from minichin.cache import replacing

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EDGE = "16mm"
NAVIGATION = re.compile(r'<nav class="bd-links.*?</nav>', re.DOTALL)
LINK = re.compile(r'<a class="reference internal" href="([^"#]+)">(.*?)</a>', re.DOTALL)
TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)


def find_browser() -> str:
    """Path of a Chromium or Chrome; `ValueError` where there is none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise ValueError(
        f"no browser to print with: none of {', '.join(BROWSERS)} is installed; install chromium"
    )


def pages_in_order(html: Path) -> list[Path]:
    """The pages of a built book in the order of its table of contents, the front page first."""
    front = html / "book" / "index.html"
    if not front.is_file():
        raise ValueError(f"{html} holds no built book (no book/index.html); build one by `minichin book`")
    navigation = NAVIGATION.search(front.read_text("utf-8"))
    links = LINK.findall(navigation.group()) if navigation else []
    found = [front, *((front.parent / href).resolve() for href, _ in links)]
    return [page for page in dict.fromkeys(found) if page.is_file()]


def title(page: Path) -> str:
    """The title of a page, without the name of the book."""
    match = TITLE.search(page.read_text("utf-8"))
    return unescape(match.group(1)).split(" — ")[0].strip() if match else page.stem


@contextmanager
def printer() -> Iterator[tuple[Any, Any]]:
    """A browser's tab, and pypdf's writer for what it prints; ValueError without the extra `print`."""
    try:
        from playwright.sync_api import sync_playwright
        from pypdf import PdfWriter
    except ImportError as missing:
        raise ValueError(
            f"printing needs the package {missing.name}: pip install 'minichin[print]'"
        ) from None

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            yield browser.new_page(), PdfWriter()
        finally:
            browser.close()


def open_page(tab: Any, page: Path) -> None:
    """Show `page` in `tab`, its fonts loaded."""
    tab.goto(page.as_uri())
    tab.evaluate("() => document.fonts.ready.then(() => true)")


def print_book(html: Path, target: Path, say: Callable[[str], None] = lambda line: None) -> int:
    """Print the book built in `html` to the PDF `target`, and its pages beside it; return their number.

    The single pages go to a folder named like `target` without its suffix. Needs the extra `print`.
    """
    pages = pages_in_order(html)
    folder = target.with_suffix("")
    with printer() as (tab, whole):
        folder.mkdir(parents=True, exist_ok=True)
        for page in pages:
            one = folder / f"{page.parent.name}-{page.stem}.pdf"
            open_page(tab, page)
            tab.pdf(path=one, format="A4", margin={"top": EDGE, "bottom": EDGE, "left": EDGE, "right": EDGE})
            whole.append(str(one), outline_item=title(page))
            say(f"  {one.name}")
        with replacing(target) as partial:
            whole.write(partial)
    return len(pages)
