"""Reading run tables: a CSV file of anybody's, or a store of runs.

Decisions
- Cells are read as text and turned into numbers here, so that a message can quote what the file says, with
  the data row and the line of the file.
- `--rename theirs=ours` wins over a column that already has our name.  Renaming onto `loss` or `val_loss`
  makes that column the loss, whatever else is there.
- Nothing is guessed: no column is taken for another without being told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from minichin.fit.table import Dropped, drop_diverged, positive, require_columns

CURE = "; --rename THEIRS=OURS maps other names"
NUMBERS = ("params_non_embedding", "flops", "budget", "steps")
LOSSES = ("val_loss", "loss")


def read_table(
    path: str | Path, rename: Mapping[str, str] | Iterable[str] = ()
) -> tuple[pd.DataFrame, Dropped]:
    """Read a CSV of runs; the checked frame (its index `row` counts data rows from 1), and rows left out.

    `rename` maps their column names to ours, as a mapping or as "theirs=ours".  ValueError, in one line,
    for a missing or empty file, a missing column, or a value that is no positive number.
    """
    path = Path(path)
    try:
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig"
        )
    except FileNotFoundError as error:
        raise ValueError(f"there is no file {path}") from error
    except pd.errors.EmptyDataError as error:
        raise ValueError(f"{path} is empty") from error
    except (pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} cannot be read as CSV: {' '.join(str(error).split())}") from error
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    frame = renamed(frame, rename)
    if not len(frame):
        raise ValueError(f"{path} has a header and no rows")
    require_columns(frame, cure=CURE)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    frame, dropped = drop_diverged(frame)
    if frame.empty:
        raise ValueError(f"every row of {path} is of a run that diverged")
    return _numeric(frame, path.name), dropped


def read_any(
    source: str | Path, rename: Mapping[str, str] | Iterable[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame | None, Dropped]:
    """Read a CSV file, or a runs store by its folder or as `published`: (table, curves or None, dropped)."""
    path = Path(source)
    if path.is_dir() or str(source) == "published":
        from minichin.runs import open_store

        store = open_store(str(source))
        table = store.table()
        if table.empty:
            raise ValueError(f"the store {source} holds no runs yet; `minichin sweep` makes some")
        curves = store.curves()
        return renamed(table, rename), (curves if len(curves) else None), ()
    table, dropped = read_table(path, rename)
    return table, None, dropped


def renamed(frame: pd.DataFrame, rename: Mapping[str, str] | Iterable[str]) -> pd.DataFrame:
    """Rename columns; ValueError for a column that is not there."""
    pairs = dict(rename) if isinstance(rename, Mapping) else dict(map(_pair, rename))
    for theirs, ours in pairs.items():
        if theirs not in frame:
            raise ValueError(
                f"no column {theirs} to rename to {ours}; there are {', '.join(map(str, frame.columns))}"
            )
        replaced = [
            name for name in (LOSSES if ours in LOSSES else (ours,)) if name in frame and name != theirs
        ]
        frame = frame.drop(columns=replaced).rename(columns={theirs: ours})
    return frame


def _pair(text: str) -> tuple[str, str]:
    """ "theirs=ours" as a pair."""
    theirs, equals, ours = (part.strip() for part in str(text).partition("="))
    if not (theirs and equals and ours):
        raise ValueError(f"--rename wants THEIRS=OURS, got {text!r}")
    return theirs, ours


def _numeric(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """The frame with every column that is one in numbers; ValueError for a wrong value in a needed one."""
    columns: dict[str, object] = {}
    needed = ["params", "tokens", "val_loss" if "val_loss" in frame else "loss"]
    for name in frame.columns:
        text = frame[name].str.strip()
        if name in needed or (name in NUMBERS and (text != "").any()):
            columns[name] = positive(text.to_frame(name), name, source)
        elif name not in NUMBERS:
            numbers = pd.to_numeric(text.where(text != ""), errors="coerce")
            clean = bool(numbers.notna().any()) and bool((numbers.notna() | (text == "")).all())
            columns[name] = numbers if clean else text
    return pd.DataFrame(columns, index=frame.index).replace([np.inf, -np.inf], np.nan)
