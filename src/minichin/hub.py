"""Text of a Hugging Face data set, streamed until enough has come and kept in the cache (the extra `hf`)."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minichin import cache, documents
from minichin.download import CorpusUnavailable

COLUMN = "text"
MEGABYTES = 100
_SYNTAX = re.compile(r"hf:(?P<path>[^:@#]+)(?::(?P<config>[^@#]+))?(?:@(?P<split>[^#]+))?(?:#(?P<size>\d+))?")
_FORMATS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv", ".txt": "text"}


@dataclass(frozen=True)
class HubName:
    """The parts of `hf:NAME[:CONFIG][@SPLIT][#MEGABYTES]`; NAME may be a local file or folder."""

    path: str
    config: str | None = None
    split: str = "train"
    megabytes: int = MEGABYTES


def parse(name: str) -> HubName:
    """Return the parts of a name; ValueError where it is not of that form."""
    found = _SYNTAX.fullmatch(name)
    if found is None or found["size"] == "0":
        raise ValueError(f"{name!r} is not of the form hf:NAME[:CONFIG][@SPLIT][#MEGABYTES]")
    size = int(found["size"] or MEGABYTES)
    return HubName(found["path"], found["config"], found["split"] or "train", size)


def documents_path(name: str) -> Path:
    """Return where the documents of this data set are kept."""
    parts = parse(name)
    readable = re.sub(r"\W+", "-", parts.path).strip("-")[-40:]
    return cache.cache_dir() / f"hf-{readable}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}.bin"


def build(name: str, path: Path, progress: bool = True) -> Path:
    """Stream the data set's text until it has its size, and keep it at `path`."""
    parts = parse(name)
    cache.writable_cache_dir()
    try:
        import datasets
    except ImportError:
        raise CorpusUnavailable(
            f"{name} needs the package datasets; install it with: pip install 'minichin[hf]'"
        ) from None
    try:
        texts = list(_until(_texts(name, _rows(datasets, parts)), parts, progress))
    except CorpusUnavailable:
        raise
    except Exception as error:  # the library and its transport raise a dozen unrelated types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CorpusUnavailable(
            f"{name} could not be read ({type(error).__name__}: {reason}); check its name, configuration and "
            "split, and the network, or train on your own files with the corpus text:PATH"
        ) from None
    documents.save(path, texts, source=name, licence="as named by the data set's page")
    return path


def _rows(datasets: Any, parts: HubName) -> Iterable[dict[str, Any]]:
    """Open the data set for streaming: a saved folder, a local file, or a name on the hub."""
    local = Path(parts.path).expanduser()
    if (local / "state.json").is_file() or (local / "dataset_dict.json").is_file():
        saved = datasets.load_from_disk(str(local))
        return saved[parts.split] if (local / "dataset_dict.json").is_file() else saved
    if local.is_file():
        kind = _FORMATS.get(local.suffix.lower(), "text")
        return datasets.load_dataset(kind, data_files=str(local), split="train", streaming=True)
    return datasets.load_dataset(parts.path, parts.config, split=parts.split, streaming=True)


def _texts(name: str, rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the column `text` of each row that has something in it."""
    for row in rows:
        if not isinstance(row.get(COLUMN), str):
            raise CorpusUnavailable(
                f"{name} has no column of strings named {COLUMN!r} (columns: {', '.join(row)})"
            )
        if row[COLUMN].strip():
            yield row[COLUMN].encode("utf-8", errors="replace")


def _until(texts: Iterable[bytes], parts: HubName, progress: bool) -> Iterator[bytes]:
    """Pass documents on until their sizes reach the wanted one."""
    wanted = parts.megabytes * 1_000_000
    got = 0
    with tqdm(total=wanted, desc=parts.path, unit="B", unit_scale=True, disable=not progress) as bar:
        for text in texts:
            yield text
            got += len(text)
            bar.update(len(text))
            if got >= wanted:
                return
