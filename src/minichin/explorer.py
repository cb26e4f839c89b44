"""The laws that the explorer page offers, written from the package as a script that the page loads.

Decisions:
- Nothing is typed: published laws come from `published.LAWS`, ours are fitted when the book is staged, to the
  committed records, with a seed. So the page says what `minichin optimum` says.
- A law is what `minichin fit --json` writes of one approach, `n_opt`, `d_opt` and the five constants where
  there is a loss surface; hence the reader's own file is one more law.
- Each of ours is fitted once a counting convention; a published law has the one that it was printed with.
- `replicates` has one row a bootstrap replicate: ln k_N, a, ln k_D, b and, where there is a surface, E, A, B,
  alpha, beta of the same replicate. The page reads its intervals off them.
- The file is a script, not JSON: a page opened from a disk may not fetch.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minichin import decades
from minichin.fit import Fit, fit_isoflop, fit_parametric
from minichin.fit.parametric import NAMES
from minichin.fit.result import ParametricFit
from minichin.law import Floats, LossSurface, PowerLaw
from minichin.published import LAWS
from minichin.shape import CONVENTIONS

FILE = "explorer_laws.js"
VARIABLE = "MINICHIN_LAWS"
REPLICATES = 400
DIGITS = 8  # significant digits of a replicate's numbers: four of N at 1e30 FLOPs, and some to spare
LABELS = {
    "chinchilla": "Hoffmann et al., as printed",
    "chinchilla_tex": "Hoffmann et al., constants of the TeX source",
    "besiroglu": "Besiroglu et al.",
}
TABLES = {"cores": "two cores", "gpu": "one GPU", "five": "five decades"}
UNITS = {True: "nats a byte", False: "nats a token"}


def laws() -> list[dict[str, Any]]:
    """Every law of the page, in the order in which it lists them: published, then ours."""
    cores, gpu = decades.cores(), decades.gpu()
    tables = {"cores": cores, "gpu": gpu, "five": decades.joined(cores, gpu)}
    ours = [_ours(key, table, approach) for key, table in tables.items() for approach in (3, 2)]
    return [_published(name) for name in LAWS] + ours


def write(folder: Path) -> Path:
    """Write the script that hands the laws and the counting conventions to the page; return its path."""
    found = {"conventions": CONVENTIONS, "laws": laws()}
    text = json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    file = folder / FILE
    file.write_text(f"window.{VARIABLE} = {text};\n", "utf-8")
    return file


def _published(name: str) -> dict[str, Any]:
    """A published law, which has no bootstrap sample."""
    law = LAWS[name]
    n_opt, d_opt = law.surface.power_laws()
    return {
        "id": name,
        "label": LABELS.get(name, name),
        "source": law.source,
        "note": law.note,
        "unit": UNITS[False],
        "range": None,
        "counts": {"6ND": _law(n_opt, d_opt, law.surface, None)},
    }


def _ours(key: str, table: pd.DataFrame, approach: int) -> dict[str, Any]:
    """One of our fits, by each counting convention."""
    fitter = fit_parametric if approach == 3 else fit_isoflop
    counts = {}
    for convention in CONVENTIONS:
        fit: Fit = fitter(table, convention=convention, bootstrap=REPLICATES, seed=0)
        surface = fit.surface if isinstance(fit, ParametricFit) else None
        counts[convention] = _law(fit.n_opt, fit.d_opt, surface, _sample(fit))
    return {
        "id": f"{key}{approach}",
        "label": f"Ours, {TABLES[key]}, approach {approach}",
        "source": f"{len(table)} runs that come with the repository",
        "note": "" if approach == 3 else "approach 2 gives sizes and tokens, and no loss",
        "unit": UNITS[True],
        "range": [float(table["budget"].min()), float(table["budget"].max())],
        "counts": counts,
    }


def _law(
    n_opt: PowerLaw, d_opt: PowerLaw, surface: LossSurface | None, sample: Floats | None
) -> dict[str, Any]:
    """The keys that an approach has in the object of `minichin fit --json`, and `replicates`."""
    found: dict[str, Any] = {
        "n_opt": {"coefficient": n_opt.coefficient, "exponent": n_opt.exponent},
        "d_opt": {"coefficient": d_opt.coefficient, "exponent": d_opt.exponent},
    }
    if surface:
        found |= dict(zip(NAMES, astuple(surface), strict=True))
    rows = None if sample is None else [[float(f"{x:.{DIGITS}g}") for x in row] for row in sample]
    return found | {"replicates": rows}


def _sample(fit: Fit) -> Floats | None:
    """Replicates as the page wants them; None where lines and surfaces cannot be paired."""
    if not isinstance(fit, ParametricFit):
        return fit.replicates
    if len(fit.replicates) != len(fit.surface_replicates):
        return None
    return np.column_stack([fit.replicates, fit.surface_replicates])
