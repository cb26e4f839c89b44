"""The published points, fitted again: what the chapter of that name shows.

Decisions
- Each section is a list of records made from published tables.  It is computed where its tables can be had
  (`published_runs`), and read from `data/published_fits.json` where they cannot; it says which.
- `python -m minichin.again` computes all sections anew, from all of the paper's starts, and writes that file
  with its date, versions, settings and the tables' checksums (some minutes).  No number of it is typed.
- All fits take every row, and count FLOPs as 6 N D or, for the sweeps of Porian et al., as these authors do.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import minichin
from minichin import published
from minichin.averaging import STARTS, sum_or_mean
from minichin.bench_rivals import Rows, objective, paper_grid
from minichin.fit import ParametricFit, fit_isoflop, fit_parametric
from minichin.fit.methods import METHODS
from minichin.published_runs import RUN_TABLES, TableMissing, load_runs, porian_sweeps

Record = dict[str, Any]
STORE = Path(__file__).with_name("data") / "published_fits.json"
LOSSES = {"huber": "log-Huber", "squares": "least squares", "absolute": "absolute errors"}
DELTAS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1)
CORPORA = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}
STEPS = 5  # of the ladder of Porian et al. on RefinedWeb, the first rows of their table


@dataclass(frozen=True)
class Settings:
    """How the sections are computed: bootstrap resamples, seed, how many of the paper's starts scipy gets."""

    bootstrap: int = 200
    seed: int = 0
    scipy_starts: int = STARTS


@dataclass(frozen=True)
class Tables:
    """The published tables that could be had, and why the others could not."""

    frames: Mapping[str, pd.DataFrame] = field(repr=False)
    missing: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """Records of one section; `stored` where they are those of the last run, which `note` then dates."""

    name: str
    records: list[Record] = field(repr=False)
    stored: bool
    note: str


def load_tables() -> Tables:
    """Have every published table that can be had, each asked for once."""
    frames, missing = {}, {}
    for name in RUN_TABLES:
        try:
            frames[name] = load_runs(name)
        except TableMissing as error:
            missing[name] = error.why
    return Tables(frames, missing)


def _parametric(fit: ParametricFit) -> Record:
    """A fit of approach 3 with its certificate; `ratio` is tokens a parameter at Gopher's budget."""
    best = fit.surface.optimum(published.GOPHER.flops)
    return {
        **asdict(fit.surface),
        "intervals": fit.intervals,
        "a": fit.a,
        "a_interval": fit.a_interval,
        "ratio": float(best.tokens / best.params),
        "rows": len(fit.rows),
        "objective": fit.objective,
        "gradient_norm": fit.gradient_norm,
        "starts": fit.starts,
        "starts_at_best": fit.starts_at_best,
        "second_best_objective": fit.second_best_objective,
    }


def _approach_3(table: pd.DataFrame, settings: Settings, **options: Any) -> ParametricFit:
    return fit_parametric(
        table,
        convention="6ND",
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        min_steps=None,
        within=None,
        **options,
    )


def _losses(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The 234 points by each loss."""
    points = tables["chinchilla_234"]
    return [{"loss": loss, **_parametric(_approach_3(points, settings, loss=loss))} for loss in LOSSES]


def _judged(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The published constants on the 234 points: their sum of Huber losses, and how far above the least."""
    points = tables["chinchilla_234"]
    least = _approach_3(points, Settings(bootstrap=0)).objective
    rows = Rows.read(points)
    records = []
    for name, law in published.LAWS.items():
        e, a, b, alpha, beta = astuple(law.surface)
        total = objective(np.array([*np.log([e, a, b]), alpha, beta]), rows)
        records.append({"law": name, "objective": total, "gap": total / least - 1})
    return records


def _deltas(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The 234 points by Huber's loss of several thresholds."""
    points = tables["chinchilla_234"]
    return [{"delta": delta, **_parametric(_approach_3(points, settings, delta=delta))} for delta in DELTAS]


def _averaging(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The 234 points by scipy, which minimises the sum or the mean."""
    points = tables["chinchilla_234"]
    return sum_or_mean(points, _approach_3(points, Settings(bootstrap=0)).objective, settings.scipy_starts)


def _corpora(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The runs of Gadre et al. by training set."""
    runs = tables["gadre_104"]
    return [
        {"corpus": said, **_parametric(_approach_3(runs[runs["train_set"] == name], settings))}
        for name, said in CORPORA.items()
    ]


def _steps(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The ladder of Porian et al. by approach 2, beside their exponents."""
    records = []
    sweeps = porian_sweeps(tables["porian_isoflop_1745"], tables["porian_exponents_15"])[:STEPS]
    for (theirs, runs), step in zip(sweeps, published.PORIAN_LADDER, strict=True):
        fit = fit_isoflop(runs, bootstrap=settings.bootstrap, seed=settings.seed)
        records.append(
            {
                "step": step.method,
                "a": fit.a,
                "a_interval": fit.a_interval,
                "budgets": len(fit.valleys),
                "runs": len(runs),
                "theirs": float(theirs["a_weighted"]),
                "theirs_interval": (float(theirs["a_low95"]), float(theirs["a_high95"])),
            }
        )
    return records


def _noise_free(tables: Mapping[str, pd.DataFrame], settings: Settings) -> list[Record]:
    """The 72 noise-free points of a course: the true a by approach 3, and how far approach 2 misses it.

    Besides the methods of `fit_isoflop`, a line through the runs of smallest loss.
    """
    points = tables["cs336_isoflops_72"]
    fit = _approach_3(points, Settings(bootstrap=0))
    lowest = points.loc[points.groupby("flops")["loss"].idxmin()]
    slopes = {"smallest loss": float(np.polyfit(np.log(lowest["flops"]), np.log(lowest["params"]), 1)[0])}
    for method in METHODS:
        slopes[method] = fit_isoflop(points, convention="6ND", bootstrap=0, method=method).a
    return [{"method": name, "a": a, "truth": fit.a, "miss": a - fit.a} for name, a in slopes.items()]


Make = Callable[[Mapping[str, pd.DataFrame], Settings], list[Record]]
SECTIONS: dict[str, tuple[tuple[str, ...], Make]] = {
    "losses": (("chinchilla_234",), _losses),
    "judged": (("chinchilla_234",), _judged),
    "deltas": (("chinchilla_234",), _deltas),
    "averaging": (("chinchilla_234",), _averaging),
    "corpora": (("gadre_104",), _corpora),
    "steps": (("porian_isoflop_1745", "porian_exponents_15"), _steps),
    "noise_free": (("cs336_isoflops_72",), _noise_free),
}


def section(name: str, tables: Tables, settings: Settings) -> Section:
    """Compute a section from its tables, or read the last run's where one of them is missing."""
    if name not in SECTIONS:
        raise ValueError(f"no section {name!r}; there are {', '.join(SECTIONS)}")
    needs, make = SECTIONS[name]
    gone = [tables.missing[table] for table in needs if table in tables.missing]
    if gone:
        return stored(name, "; ".join(gone))
    note = f"Computed for this page from {' and '.join(needs)}, with {settings.bootstrap:,} resamples."
    return Section(name, make(tables.frames, settings), False, note)


def stored(name: str, why: str = "") -> Section:
    """A section of the last run, with its stamp; `why` says why it is shown."""
    last = json.loads(STORE.read_text("utf-8"))
    versions = ", ".join(f"{package} {version}" for package, version in last["versions"].items())
    settings = Settings(**last["settings"])
    how = f"{settings.bootstrap:,} resamples, scipy from {settings.scipy_starts:,} starts"
    note = f"Stored results of {last['date']} ({versions}; {how})" + (f", because {why}." if why else ".")
    return Section(name, last["sections"][name], True, note)


def checksum(table: pd.DataFrame) -> str:
    """SHA-256 of a table as CSV, whatever file it came from."""
    return hashlib.sha256(table.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def store(path: Path = STORE, settings: Settings | None = None) -> None:
    """Compute every section and write them with their stamp; TableMissing unless all tables are here."""
    settings = settings or Settings(bootstrap=1000, scipy_starts=len(paper_grid()))
    tables = load_tables()
    for why in tables.missing.values():
        raise TableMissing(f"nothing was written: {why}", why)
    names = ("numpy", "pandas", "scipy")
    last = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"minichin": minichin.__version__, "python": sys.version.split()[0]}
        | {name: importlib.metadata.version(name) for name in names},
        "settings": asdict(settings),
        "tables": {name: checksum(frame) for name, frame in tables.frames.items()},
        "sections": {name: make(tables.frames, settings) for name, (_, make) in SECTIONS.items()},
    }
    path.write_text(json.dumps(last, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


if __name__ == "__main__":
    store()
