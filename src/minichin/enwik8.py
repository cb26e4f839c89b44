"""The default corpus: the first 1e8 bytes of the English Wikipedia of 3 March 2006, cleaned to prose."""

import re
from collections.abc import Sequence
from pathlib import Path

from minichin import cache, documents, download, wikitext

NAME = "enwik8"
LICENCE = "GFDL / CC BY-SA"
SHA256 = "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"
SOURCES: tuple[download.Source, ...] = (
    download.Url("http://mattmahoney.net/dc/enwik8.zip", "enwik8"),
    download.SourceDistribution(
        "mingru-pytorch",
        "0.2.1",
        "fc9b278b4e04db930a5cd4cdab36e2713b1d6e14084269b161d4f133819e758d",
        "data/enwik8.gz",
        36_568_913,
    ),
    download.SourceDistribution(
        "native-sparse-attention-pytorch",
        "0.2.3",
        "7b9481bb52ee565d5098868c7345285e88342248915ff8e3e62f7fe945be2da0",
        "data/enwik8.gz",
        36_834_508,
    ),
)


def raw_path() -> Path:
    """Return where the dump is kept as it came."""
    return cache.cache_dir() / NAME


def prose_path() -> Path:
    """Return where the cleaned articles are kept; the version of the cleaning is in the name."""
    return cache.cache_dir() / f"{NAME}-prose{wikitext.CLEANING}.bin"


def markup_path() -> Path:
    """Return where the same articles are kept with their markup."""
    return cache.cache_dir() / f"{NAME}-markup{wikitext.CLEANING}.bin"


def build_markup(progress: bool = False) -> Path:
    """Keep the markup of the articles whose prose is kept, in the same order, and return the path.

    Three blank lines, which separate documents, become one.
    """
    if not raw_path().is_file():
        build(progress)
    pages = wikitext.articles(raw_path().read_text("utf-8", errors="ignore"))
    kept = (markup for _, markup in pages if len(wikitext.prose(markup)) >= wikitext.SHORTEST)
    texts = [re.sub(r"\n{3,}", "\n\n", markup).strip("\n").encode() for markup in kept]
    documents.save(markup_path(), texts, source=f"{NAME}, sha256 {SHA256}", licence=LICENCE)
    return markup_path()


def build(progress: bool = True, sources: Sequence[download.Source] = SOURCES, sha256: str = SHA256) -> Path:
    """Fetch the dump where it is missing or damaged, clean it, and return the path of the prose."""
    folder = cache.writable_cache_dir()
    raw = folder / NAME
    if not (raw.is_file() and download.sha256_of(raw) == sha256):
        download.fetch_first(NAME, sources, sha256, raw, progress)
    articles = wikitext.documents(raw.read_bytes(), progress=progress)
    documents.save(prose_path(), articles, source=f"{NAME}, sha256 {sha256}", licence=LICENCE)
    return prose_path()
