"""The pages in a real browser: no error, nothing asked of the network, formulas drawn, and readable by all.

A browser is what the readers use; what its console says, they run into. Accessibility is judged by axe-core
(serious and critical findings) in light and in dark, at the width of a phone and of a desk.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1440, "height": 900}
WAYS = (("light", DESK), ("dark", PHONE), ("dark", DESK), ("light", PHONE))
SEEN_IN_ALL_WAYS = ("index", "approach2", "explorer", "search")  # the others in one of two, to save minutes
#: Only what is wanted, and no fetching of style sheets, which a page from a disk may not do.
AXE = {"preload": False, "resultTypes": ["violations"]}
GRAVE = ("serious", "critical")
MATHS_LEFT = """() => [...document.querySelectorAll('.math')]
  .filter(e => !e.querySelector('math') || (
    e.checkVisibility() && e.querySelector('math').getBoundingClientRect().width < 2))
  .concat([...document.querySelectorAll('merror')]).map(e => e.textContent.slice(0, 60))"""
TOO_WIDE = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


@dataclass
class Visit:
    """What was seen on one page."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    maths: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    overflow: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def html(smoke_book: Path) -> Path:
    """The folder of the built pages."""
    return smoke_book / "_build" / "html"


def pages(html: Path) -> list[Path]:
    """The chapters and notebooks of a built book."""
    return sorted(
        [*(html / "book").glob("*.html"), *(html / "notebooks").glob("*.html"), html / "search.html"]
    )


@pytest.fixture(scope="module")
def visits(html: Path, browser: Any) -> dict[str, Visit]:
    """Every page opened once; a few looked at in all four ways, the others in one of two."""
    return {page.relative_to(html).as_posix(): visit(browser, page) for page in pages(html)}


def visit(browser: Any, file: Path, *, all_ways: bool = False) -> Visit:
    """Open a page and note what goes wrong on it."""
    from axe_playwright_python.sync_playwright import Axe

    seen, axe = Visit(), Axe()
    context = browser.new_context(viewport=DESK, color_scheme="light")
    page = context.new_page()
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(file.as_uri())
    page.evaluate("() => document.fonts.ready.then(() => true)")
    seen.maths = page.evaluate(MATHS_LEFT)
    one = sum(map(ord, file.stem)) % 2
    all_ways = all_ways or file.stem in SEEN_IN_ALL_WAYS
    for scheme, size in WAYS if all_ways else WAYS[one : one + 1]:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(size)
        name = f"{scheme}, {size['width']} px"
        seen.overflow[name] = page.evaluate(TOO_WIDE)
        for fault in axe.run(page, options=AXE).response["violations"]:
            if fault["impact"] in GRAVE:
                where = ", ".join(node["target"][0] for node in fault["nodes"][:3])
                seen.faults.append(f"{name}: {fault['id']} at {where}")
    context.close()
    return seen


def found(visits: dict[str, Visit], name: str) -> dict[str, list[str]]:
    """What is not empty among the visits' lists of this name."""
    return {page: getattr(seen, name) for page, seen in visits.items() if getattr(seen, name)}


def test_no_page_has_an_error(visits: dict[str, Visit]) -> None:
    """No script fails, and the console tells of no error."""
    assert found(visits, "errors") == {}


def test_nothing_is_asked_of_the_network(visits: dict[str, Visit]) -> None:
    """Every request of every page is for a file of the book."""
    asked = {url for seen in visits.values() for url in seen.requests}
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []


def test_every_formula_is_drawn(visits: dict[str, Visit]) -> None:
    """Each formula is MathML that takes room on the page, without an error."""
    assert found(visits, "maths") == {}


def test_every_page_can_be_read_by_all(visits: dict[str, Visit]) -> None:
    """axe-core finds nothing serious or critical, in light and dark, on a phone and on a desk."""
    assert found(visits, "faults") == {}


def test_no_page_scrolls_sideways(visits: dict[str, Visit]) -> None:
    """Nothing is wider than the window, a phone's included."""
    wide = {page: {k: v for k, v in seen.overflow.items() if v > 0} for page, seen in visits.items()}
    assert {page: ways for page, ways in wide.items() if ways} == {}


@pytest.mark.slow
def test_every_page_can_be_read_by_all_in_all_ways(html: Path, browser: Any) -> None:
    """The two guarantees above, for each page in light and dark, on a phone and on a desk."""
    seen = {page.stem: visit(browser, page, all_ways=True) for page in pages(html)}
    assert found(seen, "faults") == {}
    assert [page for page, one in seen.items() if max(one.overflow.values()) > 0] == []


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh tab at a desk."""
    context = browser.new_context(viewport=DESK)
    yield context.new_page()
    context.close()


def test_search_finds_isoflop(page: Any, html: Path) -> None:
    """The search page lists chapters for the word."""
    page.goto(f"{(html / 'search.html').as_uri()}?q=IsoFLOP")
    page.wait_for_selector("#search-results li a")
    titles = page.locator("#search-results li > a").all_inner_texts()
    assert any("Approach 2" in title for title in titles)


def test_solutions_are_closed_and_open_on_click(page: Any, html: Path) -> None:
    """A worked solution is hidden at first, on every chapter that has one; a click shows it."""
    chapters = [file for file in (html / "book").glob("*.html") if "solution" in file.read_text("utf-8")]
    assert len(chapters) > 8
    page.goto((html / "book" / "approach2.html").as_uri())
    solution = page.locator(".solution.dropdown").first
    body = solution.locator(".section, section, p:not(.admonition-title)").first
    assert not body.is_visible()
    solution.locator("button, summary, .admonition-title").first.click()
    assert body.is_visible()


def test_a_picture_answers_to_touch_and_to_keys(page: Any, html: Path) -> None:
    """A dot of the valleys tells its run, under the pointer and by the arrow keys; Escape ends it."""
    page.goto((html / "book" / "approach2.html").as_uri())
    picture = page.locator(".touch").first
    told = picture.locator(".touch-text")
    assert not told.is_visible()
    picture.locator(".tip").nth(1).hover(force=True)
    assert "parameters" in told.inner_text()
    before = told.inner_text()
    picture.focus()
    page.keyboard.press("ArrowRight")
    assert told.inner_text() != before
    page.keyboard.press("Escape")
    assert not told.is_visible()


def test_data_links_lead_to_what_is_drawn(page: Any, html: Path) -> None:
    """The link under a figure leads to a CSV with its columns and at least a row."""
    page.goto((html / "book" / "approach2.html").as_uri())
    links = page.locator("a.figure-data")
    assert links.count() >= 2
    for i in range(links.count()):
        file = (html / "book" / str(links.nth(i).get_attribute("href"))).resolve()
        lines = file.read_text("utf-8").splitlines()
        assert lines[0] == "panel,x_axis,y_axis,series,what,x,y"
        assert len(lines) > 1
