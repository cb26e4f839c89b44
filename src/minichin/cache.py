"""Where minichin keeps text that was costly to have: one folder, one file format, no half-written files.

Decisions. A cache file is a line of JSON (what it is, its arrays, their checksum) followed by the arrays
themselves, so that one rename publishes it whole and a memory map opens it at once. Every write goes to a
uniquely named file in the same folder and is renamed over the target: two processes at work at the same time
do no harm, and an interruption leaves nothing that could be mistaken for a result.
"""

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

FORMAT = "minichin-cache-1"
PARTIAL = ".partial-"
STALE = 24 * 3600  # seconds after which another machine's leftovers are swept away
CRC_LIMIT = 256 << 20  # bytes; larger files are checked by size on opening, wholly by `check`


def cache_dir() -> Path:
    """Return the cache folder: `MINICHIN_CACHE`, else the platform's cache folder of this user."""
    override = os.environ.get("MINICHIN_CACHE")
    return Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("minichin", False))


def writable_cache_dir() -> Path:
    """Return the cache folder, made where missing; ValueError where it cannot be written."""
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"the cache folder {folder} cannot be written ({reason}); "
            "set MINICHIN_CACHE to a folder that you may write"
        ) from None
    return folder


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends well, else remove it."""
    sweep_leftovers(path.parent)
    partial = partial_path(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sweep_leftovers(folder: Path) -> None:
    """Remove what killed processes left behind: dead ones of this machine, day-old ones of any."""
    for leftover in folder.glob(f"*{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if _is_dead(leftover.name) or time.time() - leftover.stat().st_mtime > STALE:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def partial_path(path: Path) -> Path:
    """Return a new name beside `path` that tells which process on which machine is writing."""
    return path.with_name(f"{path.name}{PARTIAL}{platform.node()}.{os.getpid()}.{secrets.token_hex(4)}")


def _is_dead(name: str) -> bool:
    """Return whether the name is that of a process of this machine that is no more."""
    owner = name.rpartition(PARTIAL)[2].removeprefix(platform.node() + ".").split(".")
    if os.name != "posix" or len(owner) != 2 or not owner[0].isdigit():
        return False
    try:
        os.kill(int(owner[0]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def write(path: Path, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `meta` (JSON values) and one-dimensional `arrays` to `path`, atomically."""
    blocks = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    crc = 0
    for block in blocks.values():
        crc = zlib.crc32(block.data, crc)
    header = {
        "format": FORMAT,
        "arrays": {name: [block.dtype.str, block.size] for name, block in blocks.items()},
        "crc32": crc,
        "meta": dict(meta),
    }
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            file.write(json.dumps(header, ensure_ascii=True).encode() + b"\n")
            for block in blocks.values():
                file.write(block.data)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror or error}); free some space, or set MINICHIN_CACHE"
        ) from None


def read(path: Path, cure: str, full: bool = False) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Open a cache file: its meta and its arrays, memory-mapped copy-on-write.

    A file that is cut short, longer than it says, altered or of another format raises ValueError with `cure`.
    Checksums of files up to 256 MB are verified on every opening (about 0.05 s), larger ones if `full`.
    """
    try:
        header, start = _header(path)
        arrays, end = {}, start
        for name, (dtype, size) in header["arrays"].items():
            kind = np.dtype(dtype)
            if path.stat().st_size < end + size * kind.itemsize:
                raise ValueError("it is cut short")
            arrays[name] = _map(path, kind, end, size)
            end += size * kind.itemsize
        if path.stat().st_size != end:
            raise ValueError("it is longer than it should be")
        if full or end <= CRC_LIMIT:
            crc = 0
            for array in arrays.values():
                crc = zlib.crc32(array.data, crc)
            if crc != header["crc32"]:
                raise ValueError("its checksum is wrong")
        return dict(header["meta"]), arrays
    except (ValueError, KeyError, TypeError, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ValueError(f"the cached file {path} is damaged: {reason}; {cure}") from None


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the first line's JSON and the offset of what follows it."""
    with path.open("rb") as file:
        line = file.readline(1 << 24)
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT or not line.endswith(b"\n"):
        raise ValueError("its first line is not that of a minichin cache file")
    return header, len(line)


def _map(path: Path, dtype: np.dtype, offset: int, size: int) -> np.ndarray:
    """Map `size` items copy-on-write: torch gets a writable array and the file stays as it is."""
    if size == 0:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "c", offset, (size,)).view(np.ndarray)


def tree_hash(files: Iterable[Path], root: Path) -> str:
    """Hash the names and the contents of files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
