"""What all tests share: a place for runs that is not the user's, and the book built once at smoke size."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from minichin.corpus import Corpus

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")  # else jupyter_core warns

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Let drivers that tests start be interrupted, although a shell starts background jobs deaf to it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where profiles' stores go during the tests: `MINICHIN_RUNS` if set, else a temporary folder."""
    given = os.environ.get("MINICHIN_RUNS")
    folder = Path(given).resolve() if given else tmp_path_factory.mktemp("runs")
    os.environ["MINICHIN_RUNS"] = str(folder)
    yield folder
    if given is None:
        del os.environ["MINICHIN_RUNS"]
    else:
        os.environ["MINICHIN_RUNS"] = given


@pytest.fixture(scope="session")
def smoke_book(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole book from smoke runs, made by the functions that `minichin book` uses; its folder."""
    from minichin import book, sweep

    folder = tmp_path_factory.mktemp("book")
    sweep.ensure("smoke", progress=False)
    book.execute_all(ROOT, folder / "source" / "notebooks", "smoke")
    book.stage(ROOT, folder / "source")
    book.render(folder / "source", folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """The system's Chromium, headless; skip, saying what to install, where there is none."""
    from minichin import printing

    try:
        found = printing.find_browser()
    except ValueError as why:
        pytest.skip(f"the pages are not tested: {why}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with an empty folder of tables, an empty cache, and no way out of it."""
    monkeypatch.setenv("MINICHIN_PUBLISHED_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MINICHIN_CACHE", str(tmp_path / "cache"))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody answers
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path


@pytest.fixture(scope="session")
def text() -> "Corpus":
    """Python's help topics."""
    from minichin import corpus

    return corpus.load("help")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, as workers run it."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
