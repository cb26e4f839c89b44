"""The book's main figures as slides: one PDF, a figure a page, wide as a screen.

Decisions:
- Slides are made from the pages of the built book by the browser that prints it, so that figures stay
  vectors, formulas and numbers are those of the book, and nothing is drawn twice.
- The first slide is the front page's title and sentence, and its foot the version and profile; the foot of
  every other says where its figure stands.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from minichin import printing
from minichin.cache import replacing

FIGURES = (
    ("index", "fig-headline"),
    ("counting", "fig-flop-shares"),
    ("sweep", "fig-design"),
    ("recipe", "fig-recipe-depths"),
    ("approach1", "fig-envelope"),
    ("approach1", "fig-frontier1"),
    ("approach2", "fig-valleys"),
    ("approach2", "fig-frontier2"),
    ("approach3", "fig-surface"),
    ("published_points", "fig-again"),
    ("intervals", "fig-coverage"),
    ("verdict", "fig-exponents"),
    ("prediction", "fig-prediction-tests"),
    ("decades", "fig-decades-valleys"),
    ("decades", "fig-decades-ratio"),
    ("kaplan", "fig-kaplan-exponents"),
    ("gopher", "fig-gopher-claims"),
    ("lengths", "fig-lengths-valleys"),
    ("data", "fig-data-repetition"),
    ("lifetime", "fig-lifetime-measured"),
)
WIDTH, HEIGHT = "13.333in", "7.5in"
STYLE = """
@page { size: 13.333in 7.5in; margin: 0; }
html, body { background: #fff !important; padding: 0 !important; margin: 0 !important; }
.slide { box-sizing: border-box; width: 13.333in; height: 7.49in; padding: 0.45in 0.7in 0.3in; color: #1a1a1a;
  overflow: hidden; display: flex; flex-direction: column; }
.slide > h1 { font-size: 28pt; margin: 0 0 0.15in; }
.slide > p { font-size: 20pt; max-width: 11in; }
.slide > figure { flex: 1; min-height: 0; margin: 0; }
.slide > figure { display: flex; flex-direction: column; align-items: center; }
.slide :is(img, .touch > svg) { width: auto !important; height: 4.75in !important; }
.slide :is(img, .touch > svg) { max-width: 11.9in !important; object-fit: contain; }
.slide figcaption { max-width: 11.5in; font-size: 13pt; line-height: 1.35; margin-top: 0.1in; }
.slide > footer { margin-top: auto; font-size: 10pt; color: #555; border: 0; padding: 0; }
.slide :is(.headerlink, .figure-data) { display: none; }
"""
BUILD = """([id, style]) => {
  const end = document.createElement("footer");
  const below = document.querySelector(".bd-footer-content")?.textContent ?? "";
  end.textContent = below.match(/minichin \\d[^\\n]*/)?.[0] ?? "";
  const title = document.querySelector("h1")?.cloneNode(true);
  title?.querySelectorAll(".headerlink").forEach(link => link.remove());
  const figure = id && document.getElementById(id);
  if (!title || (id && figure?.tagName !== "FIGURE")) return false;
  const number = figure ? figure.querySelector(".caption-number")?.textContent.trim() ?? "" : "";
  const slide = document.createElement("main");
  slide.className = "slide";
  const place = new Set(["minichin", title.textContent.trim(), number].filter(Boolean));
  if (figure) end.textContent = [...place].join(" · ");
  slide.append(title);
  if (figure) slide.append(figure);
  else slide.append(...[...document.querySelectorAll("article p")].slice(0, 1));
  slide.append(end);
  document.documentElement.dataset.theme = "light";
  document.body.replaceChildren(slide);
  document.head.append(Object.assign(document.createElement("style"), {textContent: style}));
  return true;
}"""


def print_slides(html: Path, target: Path, say: Callable[[str], None] = lambda line: None) -> int:
    """Write the slides of the book built in `html` to the PDF `target`; return their number.

    ValueError where a figure is missing. Needs the extra `print`.
    """
    printing.pages_in_order(html)
    wanted = (("index", ""), *FIGURES)
    with printing.printer() as (tab, whole):
        for chapter, figure in wanted:
            page = html / "book" / f"{chapter}.html"
            _show(tab, page, figure)
            slide = BytesIO(tab.pdf(width=WIDTH, height=HEIGHT, print_background=True))
            whole.append(slide, outline_item=printing.title(page))
            say(f"  {figure or 'title'}")
        with replacing(target) as partial:
            whole.write(partial)
    return len(wanted)


def _show(tab: Any, page: Path, figure: str) -> None:
    """Make a slide of a figure of `page`, or of the head of the page where none is named."""
    missing = (
        f"the book has no figure {figure or 'title'} on the page {page.name}: build it whole, then try again"
    )
    if not page.is_file():
        raise ValueError(missing)
    printing.open_page(tab, page)
    if not tab.evaluate(BUILD, [figure, STYLE]):
        raise ValueError(missing)
