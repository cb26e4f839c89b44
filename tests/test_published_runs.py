"""Published tables of runs: from the folder, by checksum from where they are, or a line that says why not."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from minichin import published_runs
from tests.planted import published_runs as table_or_skip


class Quiet(SimpleHTTPRequestHandler):
    """A file server that keeps no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(bare: Path) -> Iterator[tuple[str, Path]]:
    """A web server of this machine: its address, and the folder that it serves."""
    served = bare / "served"
    served.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}", served
        httpd.shutdown()
        thread.join()


def at(name: str, url: str, sha256: str = "") -> published_runs.RunTable:
    """The description of a table, its download moved to another address, and perhaps another checksum."""
    table = published_runs.RUN_TABLES[name]
    assert table.download is not None
    return replace(table, download=replace(table.download, url=url, sha256=sha256 or table.download.sha256))


def original_chinchilla(tidy: pd.DataFrame, folder: Path) -> bytes:
    """The repository's df.csv, made again from the tidy table's own digits."""
    text = (folder / "chinchilla_234.csv").read_text("utf-8").split()
    rows = [line.split(",") for line in text[1:]]
    assert len(rows) == len(tidy)
    return ("C,N,D,loss\n" + "".join(f"{c},{n},{d},{loss}\n" for n, d, c, loss in rows)).encode()


def original_cs336(tidy: pd.DataFrame, folder: Path) -> bytes:
    """The repository's isoflops_curves.json, made again."""
    keys = ("parameters", "compute_budget", "final_loss")
    columns = zip(tidy["params"], tidy["flops"], tidy["loss"], strict=True)
    rows = [dict(zip(keys, row, strict=True)) for row in columns]
    return json.dumps(rows, indent=2).encode()


def test_missing_tables_say_how_to_get_them(bare: Path) -> None:
    """Without folder and network a loader raises one line that names the cure; so does an unknown name."""
    for name in published_runs.RUN_TABLES:
        with pytest.raises(published_runs.TableMissing, match="MINICHIN_PUBLISHED_DATA") as caught:
            published_runs.load_runs(name)
        assert "\n" not in str(caught.value)
        assert str(bare) not in caught.value.why
    with pytest.raises(ValueError, match="there are chinchilla_234"):
        published_runs.load_runs("nothing")


@pytest.mark.parametrize(
    ("name", "original"),
    [("chinchilla_234", original_chinchilla), ("cs336_isoflops_72", original_cs336)],
)
def test_a_download_becomes_the_same_table(
    name: str,
    original: Callable[[pd.DataFrame, Path], bytes],
    request: pytest.FixtureRequest,
) -> None:
    """The repository's own file has the pinned checksum, and becomes the folder's table; then it is kept."""
    tidy, folder = table_or_skip(name), published_runs.data_folder()
    body = original(tidy, folder)
    url, served = request.getfixturevalue("server")
    (served / "file").write_bytes(body)
    there = at(name, f"{url}/file")
    assert there.download is not None
    assert hashlib.sha256(body).hexdigest() == there.download.sha256
    pd.testing.assert_frame_equal(published_runs.read_table(there), tidy)
    (served / "file").unlink()
    pd.testing.assert_frame_equal(published_runs.read_table(there), tidy)


def test_a_changed_file_is_refused(server: tuple[str, Path]) -> None:
    """A file of another checksum is no table: one line says so, and nothing of it stays in the cache."""
    url, served = server
    (served / "df.csv").write_text("C,N,D,loss\n1,2,3,4\n")
    with pytest.raises(published_runs.TableMissing, match="another checksum than the one pinned") as caught:
        published_runs.read_table(at("chinchilla_234", f"{url}/df.csv"))
    assert "\n" not in str(caught.value)
    assert not [path for path in (served.parent / "cache").rglob("*") if path.is_file()]


def test_a_damaged_copy_is_fetched_again(server: tuple[str, Path]) -> None:
    """A cached file that no longer has its checksum is replaced."""
    url, served = server
    body = b"C,N,D,loss\n6e18,1000000000,1000000000,3.5\n"
    (served / "df.csv").write_bytes(body)
    there = at("chinchilla_234", f"{url}/df.csv", hashlib.sha256(body).hexdigest())
    first = published_runs.read_table(there)
    (kept,) = (path for path in (served.parent / "cache").rglob("*") if path.is_file())
    kept.write_bytes(b"C,N,D,loss\n")
    pd.testing.assert_frame_equal(published_runs.read_table(there), first)


def test_a_missing_file_is_told(server: tuple[str, Path]) -> None:
    """An address that has moved is told with the server's status."""
    url, _ = server
    with pytest.raises(published_runs.TableMissing, match="answered with status 404"):
        published_runs.read_table(at("chinchilla_234", f"{url}/moved.csv"))


@pytest.mark.parametrize("name", sorted(published_runs.RUN_TABLES))
def test_tables_have_their_rows(name: str) -> None:
    """A published table that is here has as many rows as its description says."""
    try:
        assert len(published_runs.load_runs(name)) == published_runs.RUN_TABLES[name].rows
    except ValueError as error:
        pytest.skip(str(error))
