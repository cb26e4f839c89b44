"""Two stores against each other: the losses of the runs in both, and the exponents of the budgets in both.

Decisions:
- Runs of one spec should agree to `LOSS_TOLERANCE` nats on any machine: engines round differently, so that
  losses drift apart by some thousandths, while a mistake in the recipe costs hundredths.
- Exponents are those of approach 2 on the budgets that both stores hold, each store with its own sizes and
  seeds. Intervals that do not overlap are a difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from minichin import words
from minichin.fit import FitError, Interval, fit_isoflop
from minichin.runs import Store
from minichin.tables import runs_table

LOSS_TOLERANCE = 0.02  # nats


@dataclass(frozen=True)
class Comparison:
    """What two stores have in common.

    `common`: specs in both; `same`: of these, with the same losses bit for bit; `largest`: the largest
    difference of their final losses, nats (None: no common finished run), of the run `worst`; `one_sided`:
    specs that diverged in one store only; `budgets`: FLOPs that both hold; `a` and `a_interval` of both by
    approach 2 (`full` count); `reason`: why there are no exponents.
    """

    common: int
    same: int
    largest: float | None
    worst: str
    one_sided: int
    budgets: tuple[float, ...]
    a: tuple[float, float] | None
    a_interval: tuple[Interval | None, Interval | None]
    reason: str

    @property
    def overlap(self) -> bool:
        """Whether the intervals of a overlap; exponents without intervals count as equal to two digits."""
        if self.a is None:
            return True
        if None in self.a_interval:
            return abs(self.a[0] - self.a[1]) < 0.01
        return words.overlaps(*self.a_interval)

    @property
    def differ(self) -> bool:
        """Whether the stores say different things."""
        return (self.largest or 0.0) > LOSS_TOLERANCE or self.one_sided > 0 or not self.overlap


def compare(one: Store, other: Store, *, bootstrap: int = 1000, seed: int = 0) -> Comparison:
    """Compare two stores; ValueError where they have neither a run nor a budget in common."""
    mine, theirs = one.by_key(), other.by_key()
    common = [key for key in mine if key in theirs]
    pairs = {key: (mine[key].val_loss, theirs[key].val_loss) for key in common}
    gaps = {key: abs(a - b) for key, (a, b) in pairs.items() if a is not None and b is not None}
    worst = max(gaps, key=lambda key: gaps[key], default="")
    tables = [runs_table(store.records()) for store in (one, other)]
    budgets = sorted(set(tables[0]["budget"]) & set(tables[1]["budget"]))
    if not common and not budgets:
        raise ValueError(f"{one.folder} and {other.folder} have no run and no budget in common")
    a, intervals, reason = _exponents(tables, budgets, bootstrap, seed)
    return Comparison(
        common=len(common),
        same=sum(mine[key].same_result(theirs[key]) for key in common),
        largest=gaps.get(worst),
        worst=worst,
        one_sided=sum((a is None) != (b is None) for a, b in pairs.values()),
        budgets=tuple(budgets),
        a=a,
        a_interval=intervals,
        reason=reason,
    )


def _exponents(
    tables: list[pd.DataFrame], budgets: list[float], bootstrap: int, seed: int
) -> tuple[tuple[float, float] | None, tuple[Interval | None, Interval | None], str]:
    """Exponents of both on common budgets, their intervals, and why there are none."""
    try:
        fits = [
            fit_isoflop(table[table["budget"].isin(budgets)], bootstrap=bootstrap, seed=seed)
            for table in tables
        ]
    except (FitError, ValueError) as error:
        return None, (None, None), str(error)
    return (fits[0].a, fits[1].a), (fits[0].a_interval, fits[1].a_interval), ""


def text(found: Comparison, one: str, other: str) -> str:
    """What was found, in words."""
    lines = [f"{found.common} runs are in both, {found.same} of them equal bit for bit"]
    if found.largest is not None:
        lines.append(
            f"largest difference of a final loss: {found.largest:.4f} nats (run {found.worst}); "
            f"up to {LOSS_TOLERANCE} is expected of other machines"
        )
    if found.one_sided:
        lines.append(f"{found.one_sided} runs diverged in one store and not in the other")
    if found.a is None:
        lines.append(f"no exponents: {found.reason}")
    else:
        shared = ", ".join(f"{budget:.3g}" for budget in found.budgets)
        lines.append(f"approach 2 on the budgets in both ({shared} FLOPs, full count):")
        for name, a, interval in zip((one, other), found.a, found.a_interval, strict=True):
            lines.append(f"  a = {words.with_interval(a, interval, 3)} in {name}")
    lines.append("the stores differ" if found.differ else "no difference")
    return "\n".join(lines)
