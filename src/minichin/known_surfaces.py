"""What follows from published loss surfaces alone, without any run: rounding, and approach 2's own bias.

Decisions
- The constants that Hoffmann et al. 2022 print are those of their TeX source, rounded; so each can be rounded
  by itself to see what it does.
- The bias of approach 2 is that of Czech et al. 2026: noise-free valleys of the printed surface at 1e17 …
  1e21 FLOPs, 15 sizes each, evenly spaced in ln N within so many times of the true optimum; a parabola
  through all of them; the tokens that the power law gives at 1e24 FLOPs, over the true ones.
"""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pandas as pd

from minichin.fit import fit_isoflop
from minichin.law import LossSurface
from minichin.published import APPROACH_2_BIAS, GOPHER, LAWS, TABLE_A3_APPROACH_3, PublishedLaw

Record = dict[str, Any]
PRINTED, EXACT = LAWS["chinchilla"].surface, LAWS["chinchilla_tex"].surface
BUDGETS = (1e17, 1e18, 1e19, 1e20, 1e21)
TARGET = 1e24
SIZES = 15
REACHES = (2, 4, 8, 16)
DRIFT = 1.5


def at_gopher(surface: LossSurface) -> Record:
    """a, and parameters, tokens and tokens a parameter at Gopher's budget of 5.76e23 FLOPs."""
    best = surface.optimum(GOPHER.flops)
    return {
        "a": surface.a,
        "params": float(best.params),
        "tokens": float(best.tokens),
        "ratio": float(best.tokens / best.params),
    }


def constants(laws: dict[str, PublishedLaw] = LAWS) -> list[Record]:
    """Each published law's constants, and what it recommends at Gopher's budget."""
    names = ("E", "A", "B", "alpha", "beta")
    return [
        {"law": name, **dict(zip(names, astuple(law.surface), strict=True)), **at_gopher(law.surface)}
        for name, law in laws.items()
    ]


def rounding() -> list[Record]:
    """The constants of the TeX source at Gopher's budget, with some of them rounded as printed."""
    changes = {
        "none": {},
        "E, A and B": {name: getattr(PRINTED, name) for name in ("E", "A", "B")},
        "alpha": {"alpha": PRINTED.alpha},
        "beta": {"beta": PRINTED.beta},
        "all": {name: getattr(PRINTED, name) for name in ("E", "A", "B", "alpha", "beta")},
    }
    return [{"rounded": name, **at_gopher(replace(EXACT, **change))} for name, change in changes.items()]


def sizes() -> list[Record]:
    """Their table of optimal sizes by approach 3, beside what its constants give: FLOPs and tokens.

    A row's FLOPs are those at which its parameters are optimal; tokens are C / (6 N).
    """
    rows = []
    for row in TABLE_A3_APPROACH_3:
        record: Record = {"params": row.params, "flops": row.flops, "tokens": row.tokens}
        for name, surface in (("tex", EXACT), ("printed", PRINTED)):
            flops = float(surface.power_laws()[0].inverse(row.params))
            record |= {f"flops_{name}": flops, f"tokens_{name}": flops / 6 / row.params}
        rows.append(
            record | {"misprint": row.misprint, "row_over_6nd": row.flops / 6 / row.params / row.tokens}
        )
    return rows


def valleys(surface: LossSurface, reach: float, drift: float = 1.0, sizes: int = SIZES) -> pd.DataFrame:
    """Noise-free runs of a surface: at each budget `sizes` sizes within `reach` times of the centre.

    The centre moves from 1 / `drift` of the optimum to `drift` times it, smallest to largest budget.
    """
    around = np.geomspace(1 / reach, reach, sizes)
    parts = []
    for flops, off in zip(BUDGETS, np.geomspace(1 / drift, drift, len(BUDGETS)), strict=True):
        params = float(surface.optimum(flops).params) * off * around
        loss = surface.value_at(flops, params)
        columns = {"params": params, "tokens": flops / 6 / params, "flops": flops, "loss": loss}
        parts.append(pd.DataFrame({**columns, "budget": flops}))
    return pd.concat(parts, ignore_index=True)


def bias(surface: LossSurface = PRINTED) -> list[Record]:
    """How far approach 2 misses D_opt at 1e24 FLOPs, and a, on noise-free valleys, by their reach.

    `…_corrected` is with the correction by the surface's exponents, `…_drifting` on grids whose centre drifts
    from 1 / 1.5 of the optimum to 1.5 times it, and `…_both` with both.
    """
    truth = float(surface.optimum(TARGET).tokens)
    options: dict[str, Any] = {"convention": "6ND", "bootstrap": 0, "method": "parabola"}
    mend = (surface.alpha, surface.beta)
    said = APPROACH_2_BIAS if surface == PRINTED else {}
    rows = []
    for reach in REACHES:
        level, drifting = valleys(surface, reach), valleys(surface, reach, DRIFT)
        fits = [fit_isoflop(table, **options, correct=c) for table in (level, drifting) for c in (None, mend)]
        tokens = [float(fit.d_opt(TARGET)) / truth - 1 for fit in fits]
        record: Record = {"reach": reach, "published": said.get(reach)}
        for name, off, fit in zip(("", "_corrected", "_drifting", "_both"), tokens, fits, strict=True):
            record |= {f"tokens{name}": off, f"a{name}": fit.a - surface.a}
        rows.append(record)
    return rows
