"""From a user's table to checked arrays: which rows, which N, which C, which budget.

Decisions
- A wrong value is the caller's mistake: ValueError, one line, with the row, the column and the value. A run
  that diverged is no mistake: it is left out, and listed with the reason.  No row disappears otherwise.
- Rows are counted from 1, the header not counted; a frame whose index is named `row` keeps its own numbers
  (whole, none twice).
- 6·params·tokens is formed in logarithms: 64-bit integers end at 9.2e18.
- Budgets that differ by less than 1e-7 (printing, float32) are one budget, and such sizes one cell; what is
  fitted are the sizes as they stand.
- `val_loss` is read before `loss`.  `flops` is 6·params·tokens where the table has none.
- A convention picks which N and which C the fit speaks of:

  | convention | N | C |
  |---|---|---|
  | `full` | params | the table's `flops` |
  | `6ND` | params | 6·params·tokens |
  | `6ND_non_embedding` | params_non_embedding | 6·params_non_embedding·tokens |

  The runs stay the same, and so do the groups that compete at equal budget: this is a rescoring of one sweep,
  not a new one.
- Without a `budget` column, runs whose FLOPs differ by less than 10 % from a neighbour's share a budget. A
  chain of such neighbours that spans more than a factor 1.5 is no budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.fit.result import FitError
from minichin.fit.values import listed, number, refusal, shown, within_limits
from minichin.law import Floats

CONVENTIONS = ("full", "6ND", "6ND_non_embedding")
BUDGET_GAP = 1.1
BUDGET_SPAN = 1.5
ROUNDING = 1e-7
NAMES = ("params", "tokens", "loss", "val_loss", "params_non_embedding", "flops", "budget", "steps", "status")
Dropped = tuple[Mapping[str, object], ...]
Table = pd.DataFrame | Mapping[str, Sequence[Any] | NDArray[Any]]


@dataclass(frozen=True)
class Points:
    """Checked runs as arrays of one length, in natural logarithms where the name says so.

    `log_n` and `log_c` follow the convention.
    `run` is the run's name where the table has one (`spec_hash` or `run`), else the row number.
    """

    row: NDArray[np.int64]
    log_n: Floats
    log_d: Floats
    log_c: Floats
    loss: Floats
    budget: Floats
    steps: Floats | None
    run: NDArray[Any]
    budget_given: bool
    dropped: Dropped

    def __len__(self) -> int:
        return len(self.row)

    def take(self, keep: NDArray[Any], why: str = "") -> Points:
        """The rows of a mask or index; with `why`, those left out are added to `dropped`."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {name: value[keep] for name, value in chosen.items() if isinstance(value, np.ndarray)}
        gone = np.ones(len(self), dtype=bool)
        gone[keep] = False
        lost = left_out(self.row[gone], why) if why else ()
        return replace(self, **arrays, dropped=self.dropped + lost)

    @property
    def cells(self) -> NDArray[np.int64]:
        """Label (0, 1, …) of each row's (budget, N) cell: the same design point, different seeds."""
        budget, size = (nearby(v, ROUNDING) for v in (np.log(self.budget), self.log_n))
        return np.unique(budget * (size.max(initial=0) + 1) + size, return_inverse=True)[1].reshape(-1)


def points(table: Table, convention: str = "full") -> Points:
    """Check `table` and lay it out by `convention`; ValueError for what the caller must mend."""
    if convention not in CONVENTIONS:
        raise ValueError(f"no convention {convention!r}; there are {', '.join(CONVENTIONS)}")
    frame = as_frame(table)
    loss_name = require_columns(frame, convention)
    frame, dropped = drop_diverged(frame)
    if frame.empty:
        raise ValueError("the table has no rows that finished" if dropped else "the table is empty")
    log_params, log_d = np.log(positive(frame, "params")), np.log(positive(frame, "tokens"))
    log_n = (
        log_params if convention != "6ND_non_embedding" else np.log(positive(frame, "params_non_embedding"))
    )
    optional = {name: positive(frame, name) for name in ("flops", "budget", "steps") if _given(frame, name)}
    log_full = np.log(optional["flops"]) if "flops" in optional else np.log(6.0) + log_params + log_d
    log_c = log_full if convention == "full" else np.log(6.0) + log_n + log_d
    given = "budget" in optional
    budget = _merged(optional["budget"]) if given else cluster_budgets(log_full)
    rows = row_numbers(frame)
    loss = positive(frame, loss_name)
    return Points(
        row=rows,
        log_n=log_n,
        log_d=log_d,
        log_c=log_c,
        loss=loss,
        budget=budget,
        steps=optional.get("steps"),
        run=_run_names(frame, rows),
        budget_given=given,
        dropped=dropped,
    )


def as_frame(table: Table) -> pd.DataFrame:
    """A DataFrame of the user's table, which may be a mapping of equally long columns."""
    try:
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(dict(table))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a table is a DataFrame or a mapping of equally long columns: {shown(error, 200)}"
        ) from error
    twice = [name for name in NAMES if list(frame.columns).count(name) > 1]
    if frame.columns.nlevels > 1 or twice:
        what = f"has {twice[0]} twice" if twice else f"has names of {frame.columns.nlevels} levels"
        raise ValueError(f"the table {what}: every column needs one name of its own")
    return frame


def require_columns(frame: pd.DataFrame, convention: str = "full", cure: str = "") -> str:
    """Raise ValueError unless every needed column is there; the name of the loss column."""
    loss_name = "val_loss" if "val_loss" in frame else "loss"
    needed = ["params", "tokens", loss_name]
    if convention == "6ND_non_embedding":
        needed.append("params_non_embedding")
    missing = ["loss (or val_loss)" if name == "loss" else name for name in needed if name not in frame]
    if missing:
        there = listed(frame.columns) or "no columns"
        raise ValueError(f"the table lacks {', '.join(missing)}; it has {there}{cure}")
    return loss_name


def drop_diverged(frame: pd.DataFrame) -> tuple[pd.DataFrame, Dropped]:
    """Leave out rows whose `status` is "diverged", and say which."""
    if "status" not in frame:
        return frame, ()
    diverged = frame["status"].isin(["diverged"]).to_numpy()
    rows = row_numbers(frame)
    kept = frame.set_axis(pd.Index(rows, name="row"))[~diverged]
    return kept, left_out(rows[diverged], "the run diverged")


def left_out(rows: NDArray[np.int64], why: str) -> Dropped:
    """An entry of `dropped` for each of `rows`."""
    return tuple([{"row": row, "why": why} for row in rows.tolist()])


def positive(frame: pd.DataFrame, name: str) -> Floats:
    """Column `name` as float64 within its limits; a ValueError that names row, column and value otherwise."""
    column = frame[name]
    if column.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = np.array([number(value) for value in column], dtype=np.float64)
    bad = np.flatnonzero(~within_limits(values, name))
    if bad.size:
        raise refusal(name, column.iloc[bad[0]], f"row {row_numbers(frame)[bad[0]]}", bad.size)
    return values


def row_numbers(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Data rows counted from 1, or the frame's own numbers where its index is named `row`."""
    index = frame.index
    if index.name == "row" and index.dtype.kind in "iu" and index.is_unique:
        return index.to_numpy(dtype=np.int64)
    return np.arange(1, len(frame) + 1, dtype=np.int64)


def nearby(values: Floats, gap: float) -> NDArray[np.int64]:
    """Label values by rising group: a new group begins where the next value is more than `gap` away."""
    order = np.argsort(values, kind="stable")
    label = np.zeros(len(values), dtype=np.int64)
    label[order[1:]] = np.cumsum(np.diff(values[order]) > gap)
    return label


def cluster_budgets(log_c: Floats) -> Floats:
    """Label each run with the geometric mean FLOPs of its cluster (neighbours within 10 %)."""
    group = nearby(log_c, float(np.log(BUDGET_GAP)))
    mean = np.bincount(group, weights=log_c) / np.bincount(group)
    return np.exp(mean)[group]


def is_budget(log_c: Floats) -> bool:
    """Whether these runs' FLOPs lie close enough together to be called one budget."""
    return bool(np.ptp(log_c) <= np.log(BUDGET_SPAN))


def require_rows(count: int, needed: int, what: str) -> None:
    """FitError unless there are enough rows for the fit to be had at all."""
    if count < needed:
        raise FitError(f"{what} needs at least {needed} rows, got {count}")


def _given(frame: pd.DataFrame, name: str) -> bool:
    """Whether the table has this optional column, with something in it."""
    return name in frame and not frame[name].isna().all()


def _merged(values: Floats) -> Floats:
    """`values` with those that differ by mere rounding made equal (to the lowest of them)."""
    label = nearby(np.log(values), ROUNDING)
    lowest = np.full(label.max(initial=-1) + 1, np.inf)
    np.minimum.at(lowest, label, values)
    return lowest[label]


def _run_names(frame: pd.DataFrame, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Names of the runs; a row without one is a run of its own, named by its number."""
    name = next((name for name in ("spec_hash", "run") if name in frame), None)
    if name is None:
        return rows
    nameless = (frame[name].isna() | (frame[name] == "")).to_numpy(dtype=bool)
    names = frame[name].to_numpy()
    return np.where(nameless, rows.astype(object), names.astype(object)) if nameless.any() else names
