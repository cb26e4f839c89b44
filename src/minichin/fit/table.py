"""From a user's table to checked arrays: which rows, which N, which C, which budget.

Decisions
- A wrong value is the caller's mistake: ValueError, one line, with the row, the column and the value. A run
  that diverged is no mistake: it is left out, and listed with the reason.  No row disappears otherwise.
- Rows are counted from 1, the header not counted; a frame whose index is named `row` keeps its own numbers.
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
from minichin.law import Floats

CONVENTIONS = ("full", "6ND", "6ND_non_embedding")
BUDGET_GAP = 1.1
BUDGET_SPAN = 1.5
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
        lost: Any = np.setdiff1d(self.row, arrays["row"]) if why else []
        return replace(
            self, **arrays, dropped=self.dropped + tuple({"row": int(r), "why": why} for r in lost)
        )

    @property
    def cells(self) -> NDArray[np.int64]:
        """Label of each row's (budget, N) cell: the same design point, different seeds."""
        key = np.column_stack([np.log(self.budget), np.round(self.log_n, 9)])
        return np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)


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
    log_full = np.log(positive(frame, "flops")) if "flops" in frame else np.log(6.0) + log_params + log_d
    log_c = log_full if convention == "full" else np.log(6.0) + log_n + log_d
    given = "budget" in frame and not frame["budget"].isna().all()
    budget = positive(frame, "budget") if given else cluster_budgets(log_full)
    steps = positive(frame, "steps") if "steps" in frame and not frame["steps"].isna().all() else None
    rows = row_numbers(frame)
    run = next((frame[name].to_numpy() for name in ("spec_hash", "run") if name in frame), rows)
    loss = positive(frame, loss_name)
    return Points(rows, log_n, log_d, log_c, loss, budget, steps, run, given, dropped)


def as_frame(table: Table) -> pd.DataFrame:
    """A DataFrame of the user's table, which may be a mapping of equally long columns."""
    if isinstance(table, pd.DataFrame):
        return table
    try:
        return pd.DataFrame(dict(table))
    except (TypeError, ValueError) as error:
        raise ValueError(f"a table is a DataFrame or a mapping of equally long columns: {error}") from error


def require_columns(frame: pd.DataFrame, convention: str = "full", cure: str = "") -> str:
    """Raise ValueError unless every needed column is there; the name of the loss column."""
    loss_name = "val_loss" if "val_loss" in frame else "loss"
    needed = ["params", "tokens", loss_name]
    if convention == "6ND_non_embedding":
        needed.append("params_non_embedding")
    missing = ["loss (or val_loss)" if name == "loss" else name for name in needed if name not in frame]
    if missing:
        there = ", ".join(map(str, frame.columns)) or "no columns"
        raise ValueError(f"the table lacks {', '.join(missing)}; it has {there}{cure}")
    return loss_name


def drop_diverged(frame: pd.DataFrame) -> tuple[pd.DataFrame, Dropped]:
    """Leave out rows whose `status` is "diverged", and say which."""
    if "status" not in frame:
        return frame, ()
    diverged = (frame["status"] == "diverged").to_numpy()
    rows = row_numbers(frame)[diverged]
    kept = frame.set_axis(pd.Index(row_numbers(frame), name="row"))[~diverged]
    return kept, tuple({"row": int(row), "why": "the run diverged"} for row in rows)


def positive(frame: pd.DataFrame, name: str, source: str = "") -> Floats:
    """Column `name` as positive finite float64; a ValueError that names row, column and value otherwise."""
    column = frame[name]
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        values = np.array([_number(value) for value in column], dtype=np.float64)
    else:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        row, value = int(row_numbers(frame)[bad[0]]), column.iloc[bad[0]]
        place = f"row {row}{f' (line {row + 1} of {source})' if source else ''}"
        more = f", and in {bad.size - 1} more" if bad.size > 1 else ""
        shown = (
            "empty" if value is None or value is pd.NA or str(value).strip() in ("", "nan") else repr(value)
        )
        shown = shown.replace("np.float64(", "").replace("np.int64(", "").rstrip(")")
        raise ValueError(f"column {name} is {shown} in {place}{more}: it must be a positive number")
    return values


def row_numbers(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Data rows counted from 1, or the frame's own numbers where its index is named `row`."""
    if frame.index.name == "row":
        return frame.index.to_numpy(dtype=np.int64)
    return np.arange(1, len(frame) + 1, dtype=np.int64)


def cluster_budgets(log_c: Floats) -> Floats:
    """Label each run with the geometric mean FLOPs of its cluster (neighbours within 10 %)."""
    order = np.argsort(log_c, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(log_c[order]) > np.log(BUDGET_GAP))])
    mean = np.bincount(group, weights=log_c[order]) / np.bincount(group)
    labels = np.empty(len(log_c))
    labels[order] = np.exp(mean[group])
    return labels


def is_budget(log_c: Floats) -> bool:
    """Whether these runs' FLOPs lie close enough together to be called one budget."""
    return bool(np.ptp(log_c) <= np.log(BUDGET_SPAN))


def require_rows(count: int, needed: int, what: str) -> None:
    """FitError unless there are enough rows for the fit to be had at all."""
    if count < needed:
        raise FitError(f"{what} needs at least {needed} rows, got {count}")


def _number(value: object) -> float:
    """`value` as a float, NaN where it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")
