"""From a MediaWiki XML dump to plain prose.

Decisions. Regular expressions, innermost brackets first, because wiki markup is nested but not regular and a
real parser is a hundred times slower. Whatever is not running text goes: templates, tables, pictures,
footnotes, formulas, category and interlanguage links, and the link lists that close an article. What stays
is what a reader would read aloud: paragraphs, list items, headings that have something below them.
`CLEANING` is part of every cache file's name: raise it when a change here changes the text.
"""

import html
import re
from collections.abc import Iterator

from tqdm import tqdm

CLEANING = 1
SHORTEST = 200  # characters; below it an article is a stub

_TITLE = re.compile(r"<title>([^<]*)</title>")
_BODY = re.compile(r"<text[^>/]*>([^<]*)</text>")
_REDIRECT = re.compile(r"\s*#\s*redirect", re.I)
_NOT_ARTICLES = re.compile(
    r"(?:Media|Special|(?:User|Wikipedia|Image|File|MediaWiki|Template|Help|Category|Portal)(?: talk)?|Talk):"
)

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_DROPPED = "ref|math|gallery|timeline|table|pre|script|style|hiero"
_DROPPED_ELEMENT = re.compile(rf"<({_DROPPED})\b[^<>]*(?<!/)>.*?</\1\s*>", re.S | re.I)
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|blockquote|center|h\d)\b[^<>]*>", re.I)
_SUPERSCRIPT = re.compile(r"<sup\b[^<>]*>\s*(?=[\w+−-])", re.I)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_PARAMETER = re.compile(r"\{\{\{[^{}]*\}\}\}")
_TABLE_EDGE = re.compile(r"\{\||^[ :*]*\|\}(?!\})|\|\}(?!\})", re.M)
_TABLE_LINE = re.compile(r"^[ :*]*(?:\{\||\|\}|\||!(?=[ |!]|\w+=)).*$", re.M)
_BRACE_LINE = re.compile(r"^.*(?:\{\{|\}\}).*$", re.M)
_LINK = re.compile(r"\[\[([^\[\]]*)\]\]")
_NAMESPACE = re.compile(
    r"\s*(?:image|file|media|category|[a-z]{2,3}|simple|zh-[a-z-]+|be-x-old|roa-rup|map-bms|fiu-vro|nds-nl|"
    r"bat-smg|tokipona|minnan)\s*:",
    re.I,
)
_TOWARDS = re.compile(r"\s*:?\s*[\w ]{2,20}:(?=\S)")  # the "Wikipedia:" of [[Wikipedia:About]]
_URL_LINK = re.compile(r"\[\s*(?:https?|ftp|news|irc|mailto)[^\s\]|]*[\s|]*([^\[\]\n]*)\]", re.I)
_PICTURE_LINE = re.compile(r"^.*\b(?:Image|File):[^\n|]*\|.*$", re.M | re.I)
_URL = re.compile(r"(?:https?|ftp)://[^\s<>\])}]+", re.I)
_QUOTES = re.compile(r"'{2,5}")
_HEADING = re.compile(r"^[ ]*(={1,6})[ \t]*(.*?)[ \t]*=+[ \t]*$", re.M)
_CLOSING = re.compile(
    r"^(?:see also|references?|external (?:links?|references?)|further reading|bibliography|notes|footnotes|"
    r"sources|notes and references|references and (?:notes|external links|further reading)|"
    r"related (?:topics|articles|links)|links|web ?sites|gallery|discography|filmography)\W*$",
    re.I,
)
_MARKER = re.compile(r"^[ \t]*[*#:;]+[ \t]*", re.M)
_MAGIC = re.compile(r"__[A-Z]{3,}__")
_RULE = re.compile(r"^-{4,}", re.M)
_HOLLOW = re.compile(r"[(\[][\s,;:/|–—-]*[)\]]")
_AFTER_OPENING = re.compile(r"\([\s,;:]+")
_SPACES = re.compile(r"[ \t\u00a0\u200b\ufeff]{2,}|[\t\u00a0\u200b\ufeff]")
_BEFORE_POINT = re.compile(r" (?=[,.;:)](?:\s|\Z))")
_WORDLESS = re.compile(r"^[^\w\n]+$", re.M)
_TRAILING = re.compile(r" +\n *|\n +")
_BLANKS = re.compile(r"\n{3,}")


def articles(dump: str) -> Iterator[tuple[str, str]]:
    """Yield (title, wiki markup) of every page of the dump that is an article and no redirect.

    A page that the dump's end cuts off is left out.
    """
    for page in dump.split("<page>")[1:]:
        title, body = _TITLE.search(page), _BODY.search(page)
        if title is None or body is None or _NOT_ARTICLES.match(title[1]):
            continue
        markup = html.unescape(body[1])
        if not _REDIRECT.match(markup):
            yield html.unescape(title[1]), markup


def prose(markup: str) -> str:
    """Return the running text of one article's wiki markup."""
    text = _COMMENT.sub("", markup.replace("\r", ""))
    text = _DROPPED_ELEMENT.sub("", text)
    text = _without_blocks(text)
    text = _without_links(text)
    text = _SUPERSCRIPT.sub("^", _BREAK.sub("\n", text))
    text = _TAG.sub("", text)
    text = html.unescape(text)
    text = _MAGIC.sub("", _RULE.sub("", _QUOTES.sub("", text)))
    text = _MARKER.sub("", _without_sections(text))
    return _tidy(text)


def documents(dump: bytes, shortest: int = SHORTEST, progress: bool = False) -> list[bytes]:
    """Return the prose of every article of `dump` that has at least `shortest` characters, in order."""
    pages = tqdm(
        articles(dump.decode("utf-8", errors="ignore")), "cleaning", unit=" articles", disable=not progress
    )
    texts = (prose(markup) for _, markup in pages)
    return [text.encode() for text in texts if len(text) >= shortest]


def _without_blocks(text: str) -> str:
    """Drop templates and tables, which may hold one another, then what is left of broken ones."""
    for _ in range(8):
        before = text
        if "{{" in text:
            text = _TEMPLATE.sub("", _PARAMETER.sub("", text))
        if "{|" in text:
            text = _without_tables(text)
        if text == before:
            break
    if "{{" in text or "}}" in text:
        text = _BRACE_LINE.sub("", text)
    return _TABLE_LINE.sub("", text)


def _without_tables(text: str) -> str:
    """Drop every closed `{| ... |}` with the tables inside it, in one pass."""
    kept, depth, start = [], 0, 0
    for edge in _TABLE_EDGE.finditer(text):
        if edge[0] == "{|":
            if depth == 0:
                kept.append(text[start : edge.start()])
                start = edge.start()
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                start = edge.end()
    kept.append(text[start:])
    return "".join(kept)


def _link_text(link: re.Match[str]) -> str:
    """Return what a reader sees of one `[[target|text]]`; pictures, categories and other languages vanish."""
    target, bar, shown = link[1].partition("|")
    if _NAMESPACE.match(target):
        return ""
    if bar:
        return shown.rpartition("|")[2]
    return target.lstrip(" :") if not _TOWARDS.match(target) else target.partition(":")[2]


def _without_links(text: str) -> str:
    """Replace links by their text, from the innermost outwards, so that captions holding links go whole."""
    text = _URL_LINK.sub(r"\1", text)
    for _ in range(4):
        text, count = _LINK.subn(_link_text, text)
        if not count:
            break
    if "://" in text:
        text = _URL.sub("", text)
    text = text.replace("[[", "").replace("]]", "")
    return _PICTURE_LINE.sub("", text) if "mage:" in text or "ile:" in text else text


def _without_sections(text: str) -> str:
    """Drop the sections that are lists of links or notes, and headings with nothing below them."""
    parts = _HEADING.split(text)  # text, (level, heading, text)*
    kept, skipping = [parts[0]], 0
    pending: list[tuple[int, str]] = []
    for level, heading, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        depth = len(level)
        if skipping and depth > skipping:
            continue
        skipping = depth if _CLOSING.match(heading) else 0
        pending = [above for above in pending if above[0] < depth]
        if skipping:
            continue
        pending.append((depth, heading))
        if body.strip():
            kept += [f"\n\n{name}\n\n" for _, name in pending] + [body.lstrip("\n")]
            pending = []
    return "".join(kept)


def _tidy(text: str) -> str:
    """Mend what removals leave behind: hollow brackets, doubled blanks, lines without a word."""
    text = _HOLLOW.sub("", text)
    text = _AFTER_OPENING.sub("(", text)
    text = _BEFORE_POINT.sub("", _SPACES.sub(" ", text))
    text = _WORDLESS.sub("", _TRAILING.sub("\n", text))
    return _BLANKS.sub("\n\n", text).strip()
