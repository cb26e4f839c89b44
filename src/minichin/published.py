"""Published numbers to hold ours against, as frozen data with their sources.

Decisions
- Numbers are kept as printed; a misprint is kept too, flagged by name, with what it must have been beside it.
- Published tables of runs, which are not carried here, are loaded by `published_runs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from minichin.law import LossSurface
from minichin.published_runs import GADRE_EXPONENTS as GADRE_EXPONENTS
from minichin.published_runs import RUN_TABLES as RUN_TABLES
from minichin.published_runs import data_folder as data_folder
from minichin.published_runs import load_runs as load_runs
from minichin.published_runs import porian_sweeps as porian_sweeps

H22 = "Hoffmann et al. 2022, arXiv 2203.15556"
K20 = "Kaplan et al. 2020, arXiv 2001.08361"
B24 = "Besiroglu et al. 2024, arXiv 2404.10102"
P24 = "Porian et al. 2024, arXiv 2406.19146"
PS24 = "Pearce and Song 2024, arXiv 2406.12907"
C26 = "Czech et al. 2026, arXiv 2603.22339"

Range = tuple[float, float]


@dataclass(frozen=True)
class PublishedLaw:
    """A published loss surface; `note` says what to beware of."""

    name: str
    surface: LossSurface
    source: str
    note: str = ""


@dataclass(frozen=True)
class PublishedExponents:
    """Published exponents of N_opt ∝ C^a and D_opt ∝ C^b; `level` says what the intervals hold."""

    method: str
    a: float
    b: float | None
    source: str
    approach: int | None = None
    a_interval: Range | None = None
    b_interval: Range | None = None
    level: str = ""
    note: str = ""


@dataclass(frozen=True)
class OptimalSize:
    """One row of a table of compute-optimal sizes; `misprint` names what is wrong with it, if anything is."""

    params: float
    flops: float
    tokens: float
    misprint: str = ""


@dataclass(frozen=True)
class PublishedModel:
    """A trained model of H22, Table 4."""

    name: str
    params: float
    layers: int
    heads: int
    key_size: int
    width: int
    tokens: float
    max_lr: float
    batch_tokens: Range
    flops: float = 5.76e23
    source: str = H22


LAWS = {
    "chinchilla": PublishedLaw(
        "chinchilla",
        LossSurface(1.69, 406.4, 410.7, 0.34, 0.28),
        f"{H22}, equation 10",
        "the printed constants are rounded and do not reproduce the paper's own tables; chinchilla_tex does",
    ),
    "chinchilla_tex": PublishedLaw(
        "chinchilla_tex",
        LossSurface(math.exp(0.52672), math.exp(6.0073404), math.exp(6.0179186), 0.33917084, 0.2849083),
        f"{H22}, constants in its TeX source",
    ),
    "besiroglu": PublishedLaw(
        "besiroglu",
        LossSurface(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
        B24,
        "standard errors: E 0.026, A 124.5, B 1293, alpha 0.015, beta 0.021, a 0.020",
    ),
}
BESIROGLU_STANDARD_ERRORS = {"E": 0.026, "A": 124.5, "B": 1293.0, "alpha": 0.015, "beta": 0.021, "a": 0.020}
BESIROGLU_INTERVALS = {"E": (1.769, 1.871), "alpha": (0.317, 0.373), "beta": (0.331, 0.415)}

_LEVEL = "10th to 90th percentile"
TABLE_2 = (
    PublishedExponents(
        "minimum over training curves",
        0.50,
        0.50,
        f"{H22}, Table 2",
        1,
        (0.488, 0.502),
        (0.501, 0.512),
        _LEVEL,
        "printed so: the interval of b leaves its value out",
    ),
    PublishedExponents(
        "IsoFLOP profiles", 0.49, 0.51, f"{H22}, Table 2", 2, (0.462, 0.534), (0.483, 0.529), _LEVEL
    ),
    PublishedExponents(
        "parametric loss",
        0.46,
        0.54,
        f"{H22}, Table 2",
        3,
        (0.454, 0.455),
        (0.542, 0.543),
        _LEVEL,
        "the interval of a leaves its value out, and is far too narrow for the number of runs (B24)",
    ),
)
KAPLAN = PublishedExponents("Kaplan et al.", 0.73, 0.27, K20, note="non-embedding parameters")
OTHER_CORPORA = (
    PublishedExponents("IsoFLOP profiles, C4", 0.50, 0.50, f"{H22}, App. C", 2),
    PublishedExponents("IsoFLOP profiles, GitHub code", 0.53, 0.47, f"{H22}, App. C", 2),
)
PORIAN_LADDER = tuple(
    PublishedExponents(step, a, None, f"{P24}, RefinedWeb", 2, interval, level="95 %")
    for step, a, interval in (
        ("Kaplan et al. reproduced", 0.835, (0.824, 0.846)),
        ("and the last layer's FLOPs counted", 0.706, (0.691, 0.717)),
        ("and the warm-up scaled with size", 0.602, (0.591, 0.617)),
        ("and the cosine matched to each run", 0.571, (0.560, 0.589)),
        ("and learning rate, batch and beta2 tuned, constant learning rate", 0.497, (0.491, 0.505)),
    )
)
PORIAN_LADDER_OPENWEBTEXT2 = (0.864, 0.699, 0.603, 0.574, 0.518)
PEARCE_SONG_LOCAL = {"non-embedding": (0.74, 0.78), "total": (0.46, 0.515)}
APPROACH_2_BIAS = {2: -0.003, 8: -0.029, 16: -0.051}  # C26: sizes within so many times of the optimum → D_opt


def _sizes(flops: tuple[float, ...], tokens: tuple[float, ...]) -> tuple[OptimalSize, ...]:
    """Rows of H22's tables of optimal sizes, which share one ladder of parameters."""
    params = (400e6, 1e9, 10e9, 67e9, 175e9, 280e9, 520e9, 1e12, 10e12)
    return tuple(OptimalSize(n, c, d) for n, c, d in zip(params, flops, tokens, strict=True))


TABLE_3 = _sizes(
    (1.92e19, 1.21e20, 1.23e22, 5.76e23, 3.85e24, 9.90e24, 3.43e25, 1.27e26, 1.30e28),
    (8.0e9, 20.2e9, 205.1e9, 1.5e12, 3.7e12, 5.9e12, 11.0e12, 21.2e12, 216.2e12),
)
TABLE_A3_APPROACH_2 = _sizes(
    (1.84e19, 1.20e20, 1.32e22, 6.88e23, 4.54e24, 1.18e25, 4.19e25, 1.59e26, 1.75e28),
    (7.7e9, 20.0e9, 219.5e9, 1.7e12, 4.3e12, 7.1e12, 13.4e12, 26.5e12, 292.0e12),
)
TABLE_A3_APPROACH_3 = tuple(
    OptimalSize(row.params, row.flops, row.tokens, "must be 1.26e25: as printed, C / (6 N D) is 0.100")
    if row.flops == 1.26e24
    else row
    for row in _sizes(
        (2.21e19, 1.62e20, 2.46e22, 1.71e24, 1.26e24, 3.52e25, 1.36e26, 5.65e26, 8.55e28),
        (9.2e9, 27.1e9, 410.1e9, 4.1e12, 12.0e12, 20.1e12, 43.5e12, 94.1e12, 1425.5e12),
    )
)
GOPHER = PublishedModel("Gopher", 280e9, 80, 128, 128, 16384, 300e9, 4e-5, (3e6, 6e6))
CHINCHILLA = PublishedModel("Chinchilla", 70e9, 80, 64, 128, 8192, 1.4e12, 1e-4, (1.5e6, 3e6))

FLOPS_OVER_6ND = {73e6: 1.03, 305e6: 1.10, 552e6: 1.08, 1.1e9: 1.04, 1.6e9: 1.03, 6.8e9: 0.99}
FLOPS_OVER_6ND_NOTE = (
    f"{H22}, Table A4; with V = 32,000 and S = 2,048 the formula of its App. F gives 1.60, 1.32, 1.23, 1.15, "
    "1.12, 1.03, and the table only without the embedding and logit terms"
)
HEAD_TO_HEAD_1E21 = {"Kaplan et al.": 4.68e9, "approach 1": 2.86e9, "trained": (4.74e9, 2.80e9)}
