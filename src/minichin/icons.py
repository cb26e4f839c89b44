"""The icons that the pages show, cut out of the theme's script of all icons (1.5 megabytes).

Decisions:
- Which are shown is read off the built pages. Of an icon that is solid and outlined, the solid one is taken.
- The script that remains puts the same SVGs into the same places, once, when the page is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

NAME = re.compile(r"\bfa-([a-z0-9-]+)")
TEMPLATE = """/* Icons of Font Awesome Free, those that this book shows. Icons: CC BY 4.0, fontawesome.com. */
"use strict";
addEventListener("DOMContentLoaded", () => {
  const SHAPES = %s, SVG = "http://www.w3.org/2000/svg";
  const style = document.createElement("style");
  style.textContent = ".svg-inline--fa { display: inline-block; width: 1.25em; height: 1em;"
    + " overflow: visible; vertical-align: -.125em; } .svg-inline--fa.fa-lg { vertical-align: -.2em; }";
  document.head.append(style);
  for (const old of document.querySelectorAll("i[class*='fa-'], span[class*='fa-']")) {
    const name = [...old.classList].map(name => name.replace(/^fa-/, "")).find(name => name in SHAPES);
    if (!name) continue;
    const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
    const [width, height, shape] = SHAPES[name];
    for (const {name, value} of old.attributes) if (name !== "title") svg.setAttribute(name, value);
    svg.classList.remove("fa-solid", "fa-brands", "fas", "fab");
    svg.classList.add("svg-inline--fa");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("fill", "currentColor");
    path.setAttribute("d", shape);
    svg.append(path);
    old.replaceWith(svg);
  }
});
"""


def shown(pages: Iterable[str]) -> set[str]:
    """Names of the icons in these pages, without `fa-`; words that are no icons among them do no harm."""
    return {name for page in pages for name in NAME.findall(page)}


def shapes(script: str, names: Iterable[str]) -> dict[str, list]:
    """Width, height and path of each of these icons that the theme's script holds."""
    found = {}
    for name in sorted(names):
        entry = re.compile(rf'(?:"{name}"|(?<![\w-]){name}):\[(\d+),(\d+),\[[^\]]*\],"[0-9a-f]+","([^"]+)"\]')
        if entries := entry.findall(script):
            width, height, path = entries[-1]
            found[name] = [int(width), int(height), path]
    return found


def small(script: str, pages: Iterable[str]) -> str:
    """A script that shows the icons of these pages; ValueError where the theme's holds none of them."""
    found = shapes(script, shown(pages))
    if not found:
        raise ValueError("none of the pages' icons is in the theme's script; its form has changed")
    return TEMPLATE % json.dumps(found)


def shrink(html: Path) -> None:
    """Replace the theme's script in a built book by the small one."""
    script = html / "_static" / "scripts" / "fontawesome.js"
    pages = [page.read_text("utf-8") for page in html.rglob("*.html")]
    script.write_text(small(script.read_text("utf-8"), pages), "utf-8")
