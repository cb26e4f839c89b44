"""Run tables that others published, for fitting again: read from a folder, or fetched from where they are.

Decisions
- The tables belong to other projects and are not carried here.  They are read from the folder that the
  environment variable MINICHIN_PUBLISHED_DATA names, `../shared/data` beside the clone by default.
- What is not in that folder is downloaded by `pooch` from the table's own repository, at a fixed commit and
  by SHA-256, into the cache folder, and put into the same columns and rows.
- Only files whose exact bytes could be established have an address here.  The other tables come from the
  folder alone: `gadre_104` is gathered from 104 JSON files; the two of Porian et al. are Python pickles,
  which are code to whoever opens them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from minichin import cache

TIMEOUT = 10.0  # seconds without an answer


class TableMissing(ValueError):
    """A published table cannot be had; `why` says so in words without this machine's paths."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True)
class Download:
    """One file of a repository at a fixed commit, and how to put it into tidy columns."""

    url: str
    sha256: str
    tidy: Callable[[Path], pd.DataFrame]


@dataclass(frozen=True)
class RunTable:
    """A published table of runs: rows, source, licence, what approach 3 must find in it, its download."""

    name: str
    rows: int
    source: str
    licence: str
    expected: dict[str, float]
    download: Download | None = None


def _tidy_chinchilla(path: Path) -> pd.DataFrame:
    """Columns C, N, D, loss as flops, params, tokens, loss."""
    names = {"N": "params", "D": "tokens", "C": "flops", "loss": "loss"}
    return pd.read_csv(path).rename(columns=names)[list(names.values())]


def _tidy_cs336(path: Path) -> pd.DataFrame:
    """Records of parameters, compute_budget, final_loss; tokens are C / 6 / N."""
    records = pd.DataFrame(json.loads(path.read_text("utf-8")))
    params, flops = records["parameters"], records["compute_budget"]
    columns = {"params": params, "tokens": flops / 6 / params, "flops": flops, "loss": records["final_loss"]}
    return pd.DataFrame(columns)


_GITHUB = "https://raw.githubusercontent.com"
_PORIAN = "formll/resolving-scaling-law-discrepancies"
RUN_TABLES = {
    table.name: table
    for table in (
        RunTable(
            "chinchilla_234",
            234,
            "kyo-takano/chinchilla, examples/llm/df.csv",
            "Apache-2.0",
            {"E": 1.784, "A": 442.0, "B": 1272.0, "alpha": 0.3426, "beta": 0.3420, "a": 0.4995},
            Download(
                f"{_GITHUB}/kyo-takano/chinchilla/6e34bdd639e66ed2a987be7a59fb597087a86c1a/examples/llm/df.csv",
                "2ed2c412c6b408cb26896b92c0721fe9afa6515726b0db78c33db37cbf2816f9",
                _tidy_chinchilla,
            ),
        ),
        RunTable("gadre_104", 104, "mlfoundations/scaling, exp_data/models", "MIT", {}),
        RunTable(
            "cs336_isoflops_72",
            72,
            "stanford-cs336/assignment3-scaling, data/isoflops_curves.json",
            "MIT",
            {"E": 2.69, "A": 1606.4, "B": 3210.7, "alpha": 0.34, "beta": 0.36, "a": 0.514286},
            Download(
                f"{_GITHUB}/stanford-cs336/spring2024-assignment3-scaling/"
                "c5126b463ba5485a5ba2aa7c1f490213c82addc2/data/isoflops_curves.json",
                "da6a464c3f5e5039d3f20e137dfcab3031a3d8e7ef0ac2f376f96e295d4afd27",
                _tidy_cs336,
            ),
        ),
        RunTable("porian_isoflop_1745", 1745, f"{_PORIAN}, data/", "MIT", {}),
        RunTable("porian_exponents_15", 15, _PORIAN, "MIT", {}),
    )
}
PORIAN_GROUP = ["train_set", "hparams", "warmup", "decay", "flop_count", "evaluated_on"]
GADRE_EXPONENTS = {"c4_original": 0.500, "rpj": 0.526, "rw_original": 0.555}


def data_folder() -> Path:
    """The folder of published run tables; it need not exist."""
    named = os.environ.get("MINICHIN_PUBLISHED_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared" / "data"


def load_runs(name: str) -> pd.DataFrame:
    """Read a published run table by name: from the folder, else by download.

    ValueError for an unknown name; TableMissing, a ValueError of one line, where the table cannot be had.
    """
    if name not in RUN_TABLES:
        raise ValueError(f"no published run table {name!r}; there are {', '.join(RUN_TABLES)}")
    return read_table(RUN_TABLES[name])


def read_table(table: RunTable) -> pd.DataFrame:
    """Read `table` from the folder, else by download."""
    path = data_folder() / f"{table.name}.csv"
    if path.is_file():
        return pd.read_csv(path)
    cure = f"set MINICHIN_PUBLISHED_DATA to the folder that holds {path.name}"
    if table.download is None:
        why = f"{path.name} is not in the folder of published tables, and cannot be downloaded as one file"
        raise TableMissing(f"{path} is not here, and it cannot be downloaded as one file: {cure}", why)
    try:
        return table.download.tidy(fetch(table.download.url, table.download.sha256))
    except OSError as error:
        why = f"{path.name} is not in the folder of published tables, and {error}"
        raise TableMissing(f"{path} is not here, and {error}: {cure}", why) from None


def fetch(url: str, sha256: str) -> Path:
    """The file at `url`, from the cache where its checksum agrees, else over the network.

    OSError of one line where there is no answer, or where what came is not what was pinned.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    folder = cache.writable_cache_dir() / "published"
    parts = urlsplit(url)
    try:
        got = pooch.retrieve(
            url,
            f"sha256:{sha256}",
            fname=f"{sha256[:12]}-{Path(parts.path).name}",
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT),
        )
    except OSError as error:
        answer = getattr(getattr(error, "response", None), "status_code", None)
        said = f"answered with status {answer}" if answer else f"did not answer ({type(error).__name__})"
        raise OSError(f"{parts.netloc} {said}") from None
    except ValueError:
        raise OSError(f"what {parts.netloc} sent has another checksum than the one pinned") from None
    return Path(got)


def porian_sweeps(
    runs: pd.DataFrame | None = None, published: pd.DataFrame | None = None
) -> list[tuple[pd.Series, pd.DataFrame]]:
    """The 15 IsoFLOP sweeps of Porian et al. 2024, each as (what its authors publish of it, its runs).

    Their tables `porian_isoflop_1745` and `porian_exponents_15` are loaded unless given.
    """
    runs = load_runs("porian_isoflop_1745") if runs is None else runs
    published = load_runs("porian_exponents_15") if published is None else published
    groups = dict(list(runs.groupby(PORIAN_GROUP, sort=False)))
    return [(row, groups[tuple(row[PORIAN_GROUP])]) for _, row in published.iterrows()]
