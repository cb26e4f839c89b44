"""Where text comes from, and how it is cut into training and validation.

Decisions. A corpus has a name, a checksum and a report of what its two sides share. What costs more than a
moment is cached, memory-mapped, and never fetched or computed twice. A damaged cache file is an error with
a cure, and `fetch` is the cure.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minichin import cache, documents, enwik8, hub, synthetic, variants
from minichin.cache import cache_dir
from minichin.download import CorpusUnavailable
from minichin.overlap import OverlapReport, overlap_report
from minichin.split import CUT, cut, sides

__all__ = [
    "Corpus",
    "CorpusInfo",
    "CorpusUnavailable",
    "OverlapReport",
    "available",
    "cache_dir",
    "check",
    "cut",
    "fetch",
    "load",
    "overlap_report",
]

CACHED_FROM = 4 << 20  # bytes; smaller corpora are cut afresh every time


@dataclass(frozen=True, eq=False)
class Corpus:
    """Text cut in two, as bytes (uint8), and what is known about it."""

    name: str
    train: np.ndarray
    valid: np.ndarray
    sha256: str  # of the whole text before the cut
    documents: tuple[int, int]  # on the training side, on the validation side
    overlap: OverlapReport | None  # None for synthetic text, whose sides are independent draws
    entropy: float | None  # nats a token, where the source is known
    licence: str
    source: str
    seed: int


@dataclass(frozen=True)
class CorpusInfo:
    """One line of `minichin data list`."""

    name: str
    what: str
    licence: str
    cached: bool


def load(name: str = "enwik8", *, seed: int = 0, progress: bool = False) -> Corpus:
    """Return the corpus of this name, cut by `seed`; fetch or build it first where it is not cached.

    Names: `enwik8`, `help`, `text:PATH`, `hf:NAME[:CONFIG][@SPLIT][#MEGABYTES]`, `synthetic[:TOKENS]`;
    and with a variant behind, such as `enwik8+noise=0.1` (see `variants.KINDS`).
    Raises ValueError, in one line, for a name that means nothing, for a damaged file in the cache, and
    (CorpusUnavailable) where no source can be reached.
    """
    base, parts = variants.parse(name)
    if parts:
        return variants.make(load(base, seed=seed), name, parts, lambda: _markup(base, seed))
    kind = _kind(name)
    if kind == "synthetic":
        return _synthetic(name, seed)
    if kind == "help":
        return _cut_corpus(name, documents.help_topics(), seed, "PSF", "pydoc_data.topics of this Python")
    if kind == "text":
        return _from_files(name, seed)
    path = _cut_path(_documents_path(name), seed)
    if not path.exists():
        if not _documents_path(name).exists():
            fetch(name, progress)
        if not path.exists():
            texts, meta = documents.restore(_documents_path(name), _cure(name))
            _keep(path, _cut_corpus(name, texts, seed, meta["licence"], meta["source"]))
    return _restored(path, name)


def fetch(name: str = "enwik8", progress: bool = True) -> Path:
    """Bring a corpus into the cache, whole and verified, and return its file; damaged files are replaced.

    What is there and whole is not fetched again. `help` and `text:PATH` need no fetching.
    """
    name = variants.parse(name)[0]
    kind = _kind(name)
    if kind == "help":
        import pydoc_data.topics as topics

        return Path(topics.__file__)
    if kind == "text":
        documents.text_files(name.partition(":")[2])
        return Path(name.partition(":")[2])
    if kind == "synthetic":
        load(name)
        path = _synthetic_path(name, 0)
        return path if path.exists() else Path(synthetic.__file__)
    path = _documents_path(name)
    if not _whole(path):
        path = enwik8.build(progress) if kind == "enwik8" else hub.build(name, path, progress)
    for cut_file in path.parent.glob(f"{path.stem}-cut*.bin"):
        if not _whole(cut_file):
            cut_file.unlink()
    if not _cut_path(path, 0).exists():
        load(name)
    return path


def check(name: str = "enwik8") -> str:
    """Verify the full checksums of everything cached under this name; return one line that says so.

    Raises ValueError where something is missing or damaged, naming the file and the cure.
    """
    kind = _kind(name)
    if kind not in ("enwik8", "hf"):
        corpus = load(name)
        return f"{name}: {corpus.train.size + corpus.valid.size:,} bytes, sha256 {corpus.sha256}"
    path = _documents_path(name)
    if not path.exists():
        raise ValueError(f"{name} is not in the cache {cache_dir()}; run `minichin data fetch {name}`")
    texts, meta = documents.restore(path, _cure(name), full=True)
    cuts = sorted(path.parent.glob(f"{path.stem}-cut*.bin"))
    for cut_file in cuts:
        cut_meta, _ = cache.read(cut_file, _cure(name), full=True)
        if cut_meta["sha256"] != meta["sha256"]:
            raise ValueError(f"the cached file {cut_file} was cut from another text; {_cure(name)}")
    return (
        f"{name}: {len(texts):,} documents, {sum(map(len, texts)):,} bytes, sha256 {meta['sha256']}, "
        f"{len(cuts)} cut(s), all whole"
    )


def available() -> list[CorpusInfo]:
    """Return the corpora that can be named, and which of them are in the cache."""
    here = cache_dir()
    hub_files = here.is_dir() and any(here.glob("hf-*.bin"))
    return [
        CorpusInfo(
            "enwik8",
            "the first 1e8 bytes of the English Wikipedia of 2006, cleaned to 68 MB of prose",
            enwik8.LICENCE,
            enwik8.prose_path().exists(),
        ),
        CorpusInfo("help", "Python's own help topics, 0.5 MB", "PSF", True),
        CorpusInfo(
            "text:PATH", "your own files: a file, a folder of .txt and .md, or a pattern", "yours", True
        ),
        CorpusInfo(
            "hf:NAME[:CONFIG][@SPLIT][#MEGABYTES]",
            "the column text of a Hugging Face data set, streamed until 100 MB (needs minichin[hf])",
            "as named there",
            hub_files,
        ),
        CorpusInfo(
            "synthetic[:TOKENS]",
            "a Markov source of exactly known entropy, 20M tokens",
            "public domain",
            True,
        ),
    ]


def _kind(name: str) -> str:
    """Return the kind of corpus that `name` names."""
    kind, colon, _ = name.partition(":")
    if (kind in ("text", "hf") and colon) or kind == "synthetic" or name in ("enwik8", "help"):
        return kind
    names = ", ".join(info.name for info in available())
    raise ValueError(f"no corpus is named {name!r}; the names are {names}")


def _documents_path(name: str) -> Path:
    return enwik8.prose_path() if name == "enwik8" else hub.documents_path(name)


def _cut_path(source: Path, seed: int) -> Path:
    return source.with_name(f"{source.stem}-cut{CUT}-seed{seed}.bin")


def _cure(name: str) -> str:
    return f"run `minichin data fetch {name}` to mend it" if _kind(name) in ("enwik8", "hf") else "delete it"


def _whole(path: Path) -> bool:
    """Return whether a cache file is there and its checksum is right."""
    try:
        cache.read(path, "", full=True)
    except ValueError:
        return False
    return True


def _cut_corpus(name: str, texts: Sequence[bytes], seed: int, licence: str, source: str) -> Corpus:
    train, valid, report = cut(texts, seed)
    return Corpus(
        name=name,
        train=documents.joined(train),
        valid=documents.joined(valid),
        sha256=documents.sha256_of(texts),
        documents=(len(train), len(valid)),
        overlap=report,
        entropy=None,
        licence=licence,
        source=source,
        seed=seed,
    )


def _markup(base: str, seed: int) -> np.ndarray:
    """The training side of enwik8 with the markup of its articles."""
    if base != "enwik8":
        raise ValueError(f"{base}+markup: only enwik8 has markup")
    path = enwik8.markup_path()
    if not path.exists():
        enwik8.build_markup()
    texts, _ = documents.restore(path, f"delete {path}")
    prose, _ = documents.restore(_documents_path(base), _cure(base))
    train, _ = sides([len(text) for text in prose], seed)
    return documents.joined([texts[i] for i in train])


def _from_files(name: str, seed: int) -> Corpus:
    """Cut the user's files; the cut of more than 4 MB is cached under the checksum of the text."""
    texts = documents.text_files(name.partition(":")[2])
    if sum(map(len, texts)) < CACHED_FROM:
        return _cut_corpus(name, texts, seed, "the user's own", name)
    path = _cut_path(cache_dir() / f"text-{documents.sha256_of(texts)[:16]}.bin", seed)
    if not path.exists():
        _keep(path, _cut_corpus(name, texts, seed, "the user's own", name))
    return _restored(path, name)


def _synthetic(name: str, seed: int) -> Corpus:
    """Draw training and validation independently; long samples are cached."""
    wanted, path = synthetic.tokens_wanted(name), _synthetic_path(name, seed)
    if path.exists():
        return _restored(path, name)
    train, valid, digest = synthetic.samples(wanted, seed)
    made = Corpus(
        name=name,
        train=train,
        valid=valid,
        sha256=digest,
        documents=(1, 1),
        overlap=None,
        entropy=synthetic.default_source().entropy_rate,
        licence="public domain",
        source=f"minichin.synthetic, version {synthetic.VERSION}",
        seed=seed,
    )
    if wanted < CACHED_FROM:
        return made
    _keep(path, made)
    return _restored(path, name)


def _synthetic_path(name: str, seed: int) -> Path:
    return cache_dir() / f"synthetic{synthetic.VERSION}-{synthetic.tokens_wanted(name)}-seed{seed}.bin"


def _keep(path: Path, corpus: Corpus) -> None:
    """Write a cut corpus to the cache."""
    cache.writable_cache_dir()
    meta: dict[str, Any] = {
        field: getattr(corpus, field)
        for field in ("sha256", "documents", "entropy", "licence", "source", "seed")
    }
    meta["overlap"] = None if corpus.overlap is None else asdict(corpus.overlap)
    cache.write(path, meta, {"train": corpus.train, "valid": corpus.valid})


def _restored(path: Path, name: str) -> Corpus:
    """Open a cut corpus from the cache."""
    meta, arrays = cache.read(path, _cure(name))
    found = meta.pop("overlap")
    if found is not None:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        found = OverlapReport(**fields)
    meta["documents"] = tuple(meta["documents"])
    return Corpus(name=name, train=arrays["train"], valid=arrays["valid"], overlap=found, **meta)
