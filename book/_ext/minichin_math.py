"""Sphinx extension: formulas become MathML when the book is built.

Decisions:
- Browsers draw MathML themselves, so that a page needs no script for its formulas, and a screen reader gets
  them as they are. A script that draws TeX in the page is 2 MB, more than all else on it.
- The conversion is that of latex2mathml. What follows it here is spacing and placement that TeX has and a
  browser's MathML has not.
- The TeX source stays in an annotation, for those who copy it.
- A formula that cannot be converted is a warning, which stops a strict build, and is shown as its source.
"""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree as ET

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
THIN = "0.1667em"
FUNCTIONS = ("ln", "log", "exp", "max", "min", "var", "arg")
UNDER = ("max", "min", "arg")
SCRIPTS = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
OPENS = ("(", "[", "{", "|")
TIGHT = ("/",)
SIGNS = ("-", "−", "+")
RELATIONS = ("=", "≈", "<", ">", "≤", "≥", "→", ",", "×", "·")
MARKS = re.compile(r"[,.;:)?]+")
WRAPPED = re.compile(r"\\begin\{split\}(.*)\\end\{split\}", re.DOTALL)
ROWS = re.compile(r"\\begin\{(gathered|aligned)\}(.*)\\end\{\1\}", re.DOTALL)


def _text(element: ET.Element) -> str:
    return (element.text or "").strip()


def _space(part: ET.Element, width: str) -> None:
    part.set("lspace", width)
    part.set("rspace", width)


def _tighten(element: ET.Element) -> None:
    """Take the space round operators out of indices and exponents, and round slashes and signs everywhere."""
    for row in element.iter():
        before = None
        for part in row:
            sign = (
                before is not None
                and before.tag == "mo"
                and _text(before) in RELATIONS
                and _text(part) in SIGNS
            )
            if part.tag == "mo" and (_text(part) in TIGHT or sign):
                _space(part, "0")
            elif part.tag == "mo" and _text(part) == ":":
                _space(part, "0.2778em")
            before = part
    for script in (e for e in element.iter() if e.tag in SCRIPTS):
        for child in list(script)[1:]:
            for part in child.iter("mo"):
                _space(part, "0")


def _is_function(element: ET.Element) -> bool:
    """Whether this is ln, max …, with or without an index or exponent."""
    while element.tag in SCRIPTS or (element.tag == "mrow" and len(element) == 1):
        element = element[0]
    return element.tag in ("mi", "mo") and _text(element) in FUNCTIONS


def _opens(element: ET.Element) -> bool:
    while len(element) and element.tag in ("mrow", *SCRIPTS):
        element = element[0]
    return element.tag == "mo" and _text(element) in OPENS


def _space_functions(element: ET.Element) -> None:
    """A thin space between a function's name and its argument, and before the name, as TeX has it."""
    for child in element:
        _space_functions(child)
    if element.tag not in ("mrow", "math", "mtd", "mstyle"):
        return
    for at in range(len(element) - 1, -1, -1):
        if not _is_function(element[at]):
            continue
        if at + 1 < len(element) and not _opens(element[at + 1]) and element[at + 1].tag != "mo":
            element.insert(at + 1, ET.Element("mspace", width=THIN))
        if at and element[at - 1].tag not in ("mo", "mspace"):
            element.insert(at, ET.Element("mspace", width=THIN))


def _place_under(element: ET.Element) -> None:
    """In a display, the index of max and min goes below."""
    for part in element.iter("msub"):
        if _text(part[0]) in UNDER:
            part.tag = "munder"


def _converted(source: str, display: str, tex: str) -> ET.Element:
    """latex2mathml's element, if it is whole: it takes unknown commands for letters, and minds no braces."""
    problem = "its braces do not match" if source.count("{") != source.count("}") else ""
    try:
        root = ET.fromstring(re.sub(r' xmlns="[^"]*"', "", convert(source, display=display)))
    except Exception as reason:  # latex2mathml raises many kinds
        problem = problem or str(reason) or type(reason).__name__
    else:
        unknown = [_text(part) for part in root.iter() if "\\" in _text(part)]
        problem = problem or (f"{unknown[0]} is not known" if unknown else "")
    if problem:
        raise ValueError(f"the formula {tex!r} cannot be converted: {problem}")
    return root


def mathml(tex: str, *, display: bool = False) -> str:
    """Return the MathML element for the TeX source `tex`; ValueError where it cannot be converted."""
    source = WRAPPED.sub(r"\1", tex).strip()
    rows = ROWS.fullmatch(source)
    if rows or r"\\" in source:
        body = rows[2] if rows else source
        columns = "rl" if "&" in body else "c"
        source = rf"\begin{{array}}{{{columns}}}{body}\end{{array}}"
    root = _converted(source, "block" if display else "inline", tex)
    _tighten(root)
    _space_functions(root)
    if display:
        _place_under(root)
        for table in root.iter("mtable"):
            table.set("displaystyle", "true")
            table.set("rowspacing", "0.6em")
    body = ET.Element("mrow")
    body.extend(list(root))
    semantics = ET.Element("semantics")
    semantics.append(body)
    note = ET.SubElement(semantics, "annotation", encoding="application/x-tex")
    note.text = tex
    root[:] = [semantics]
    root.set("xmlns", NAMESPACE)
    return ET.tostring(root, encoding="unicode")


def _convert(node: nodes.Element, *, display: bool) -> str:
    try:
        return mathml(node.astext(), display=display)
    except ValueError as reason:
        LOGGER.warning(str(reason), location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write a formula in a line."""
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(_convert(node, display=False) + node.get("after", "") + "</span>")
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a formula of its own, with its number and the link to it."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_convert(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def keep_punctuation(app: Sphinx, document: nodes.document, name: str) -> None:
    """Move a comma or a stop behind a formula into its element, which is not broken over lines."""
    for node in list(document.findall(nodes.math)):
        after = node.next_node(descend=False, siblings=True)
        if isinstance(after, nodes.Text) and (mark := MARKS.match(after)):
            node["after"] = mark[0]
            node.parent.replace(after, nodes.Text(after[mark.end() :]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Let MathML be the way in which formulas are written."""
    app.connect("doctree-resolved", keep_punctuation)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
