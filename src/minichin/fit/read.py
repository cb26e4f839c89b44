"""Reading run tables: a CSV file of anybody's, or a store of runs.

Decisions
- Cells are turned into numbers here, while their text is at hand: a message quotes what the file says, with
  the data row and the line of the file.
- `params`, `tokens` and the loss are numbers in every row, and so are `flops`, `budget`, `steps` and
  `params_non_embedding`, unless they are blank in all.  `spec_hash`, `run` and `status` are text, however
  they look.  Any other column is numbers where every cell is one or blank, else text.
- `--rename theirs=ours` wins over a column that already has our name.  Renaming onto `loss` or `val_loss`
  makes that column the loss, whatever else is there.
- Nothing is guessed: no column is taken for another without being told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.fit.delimited import Delimited, open_delimited
from minichin.fit.table import Dropped, left_out, require_columns
from minichin.fit.values import listed, number, numbers, refusal, shown, within_limits
from minichin.law import Floats

OPTIONAL = ("params_non_embedding", "flops", "budget", "steps")
TEXT = ("spec_hash", "run", "status")
LOSSES = ("val_loss", "loss")


def read_table(
    path: str | Path, rename: Mapping[str, str] | Iterable[str] = ()
) -> tuple[pd.DataFrame, Dropped]:
    """Read a CSV of runs; the checked frame (its index `row` counts data rows from 1), and rows left out.

    `rename` maps their column names to ours, as a mapping or as "theirs=ours".  The file may be gzip, and
    parted by tabs or semicolons.  ValueError, in one line, for a missing or empty file, a missing column, a
    row of another length than the header, or a value that is no positive number.
    """
    if not str(path).strip():
        raise ValueError("no file is named")
    file = open_delimited(Path(path))
    names = file.header()
    kept = new_names(names, rename)
    loss = require_columns(pd.DataFrame(columns=[name for name in kept if name]), cure=_cure(names, file))
    needed = ("params", "tokens", loss)
    columns, rows, diverged = _columns(file, kept, needed)
    if not rows.size:
        if diverged.size:
            raise ValueError(f"every row of {shown(path, 5000)} is of a run that diverged")
        raise ValueError(f"{shown(path, 5000)} has a header and no rows")
    found: dict[str, Floats | Sequence[str]] = {}
    for column in columns:
        if column.wrong and (column.name in needed or column.filled):
            row = int(rows[column.first])
            raise refusal(column.name, column.cell, f"row {row} {file.place(row)}", column.wrong)
        if column.filled or column.name not in OPTIONAL:
            found[column.name] = column.values()
    return pd.DataFrame(found, index=pd.Index(rows, name="row")), left_out(diverged, "the run diverged")


def read_any(
    source: str | Path, rename: Mapping[str, str] | Iterable[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame | None, Dropped]:
    """Read a CSV file, or a runs store by folder or committed name: (table, curves or None, dropped)."""
    from minichin.runs import COMMITTED, open_store

    if str(source) in COMMITTED or (str(source).strip() and Path(source).is_dir()):
        store = open_store(str(source))
        table = store.table()
        if table.empty:
            raise ValueError(f"the store {source} holds no runs yet; `minichin sweep` makes some")
        curves = store.curves()
        return renamed(table, rename), (curves if len(curves) else None), ()
    table, dropped = read_table(source, rename)
    return table, None, dropped


def renamed(frame: pd.DataFrame, rename: Mapping[str, str] | Iterable[str]) -> pd.DataFrame:
    """The frame with columns renamed; ValueError for a column that is not there."""
    names = new_names(list(frame.columns), rename)
    kept = [i for i, name in enumerate(names) if name is not None]
    return frame.iloc[:, kept].set_axis([names[i] for i in kept], axis=1)


def new_names(names: Sequence[str], rename: Mapping[str, str] | Iterable[str]) -> list[str | None]:
    """The columns' names, all renamings made at once; None for a column that a renamed one replaces."""
    pairs = list(rename.items()) if isinstance(rename, Mapping) else list(map(_pair, rename))
    for theirs, ours in pairs:
        if theirs not in names:
            raise ValueError(f"no column {theirs} to rename to {ours}; there are {listed(names)}")
    given = dict(pairs)
    taken = ["loss" if ours in LOSSES else ours for ours in given.values()]
    if len(given) < len(pairs) or len(set(taken)) < len(taken):
        raise ValueError("--rename THEIRS=OURS: each name on either side may stand there once")
    replaced = {name for ours in given.values() for name in (LOSSES if ours in LOSSES else (ours,))}
    return [given.get(name, None if name in replaced else name) for name in names]


def _pair(text: str) -> tuple[str, str]:
    """ "theirs=ours" as a pair."""
    theirs, equals, ours = (part.strip() for part in str(text).partition("="))
    if not (theirs and equals and ours):
        raise ValueError(f"--rename wants THEIRS=OURS, got {text!r}")
    return theirs, ours


def _cure(names: Sequence[str], file: Delimited) -> str:
    """What may have gone wrong with a header that lacks columns."""
    if all(np.isfinite(number(name)) for name in names):
        return "; the first line must name the columns"
    if len(names) == 1:
        return "; columns are parted by commas, tabs or semicolons"
    return "; --rename THEIRS=OURS maps other names"


@dataclass
class _Column:
    """One column while it is read; `strict` ones are positive numbers, others turn into text if need be."""

    name: str
    strict: bool
    text: bool
    parts: list[Floats] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    late: bool = False
    filled: bool = False
    rows: int = 0
    wrong: int = 0
    first: int = 0
    cell: str = ""

    def add(self, cells: Sequence[str]) -> None:
        """Take the next cells in."""
        values = np.empty(0) if self.text else numbers(cells)
        odd = np.flatnonzero(~within_limits(values, self.name) if self.strict else ~np.isfinite(values))
        self.filled = self.filled or odd.size < len(cells) or any(map(str.strip, cells))
        if self.strict and odd.size:
            if not self.wrong:
                self.first, self.cell = self.rows + int(odd[0]), cells[int(odd[0])]
            self.wrong += odd.size
        elif not self.strict and any(cells[i].strip() for i in odd.tolist()):
            self.text, self.late = True, self.rows > 0
        if self.text:
            self.cells += map(str.strip, cells)
        else:
            self.parts.append(values)
        self.rows += len(cells)

    def values(self) -> Floats | list[str]:
        """The whole column."""
        return self.cells if self.text else np.concatenate(self.parts)


def _columns(
    file: Delimited, names: Sequence[str | None], needed: Sequence[str], text: Iterable[str] = TEXT
) -> tuple[list[_Column], NDArray[np.int64], NDArray[np.int64]]:
    """Columns of the runs that did not diverge, their data rows, and those of the runs that did."""
    places = [i for i, name in enumerate(names) if name is not None]
    columns = [_Column(n, n in (*needed, *OPTIONAL), n in text) for n in names if n is not None]
    status = names.index("status") if "status" in names else None
    diverged: list[bool] = []
    for batch in file.batches(len(names)):
        gone = [status is not None and cells[status].strip() == "diverged" for cells in batch]
        if any(gone):
            batch = [cells for cells, out in zip(batch, gone, strict=True) if not out]
        diverged += gone
        by_place = list(zip(*batch, strict=True))
        for column, place in zip(columns, places if batch else [], strict=False):
            column.add(by_place[place])
    late = [column.name for column in columns if column.late]
    if late:
        return _columns(file, names, needed, (*text, *late))
    lost = np.array(diverged, dtype=bool)
    return columns, np.flatnonzero(~lost) + 1, np.flatnonzero(lost) + 1
