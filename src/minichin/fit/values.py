"""One cell of a table: what counts as a number, and how a message quotes what does not.

Decisions
- A number is what a table prints: digits, a point, an exponent.  `float` would also take 1_000, full-width
  digits, inf and nan.  Nothing is guessed of 70B, 1,000,000 or 3,5, and True is no number.
- Numbers lie within 1e±150 (FLOPs and budgets within 1e±300), so that 6·params·tokens neither overflows nor
  vanishes; it is formed in logarithms all the same, since 64-bit integers end at 9.2e18.
- A message is one line of printable text, however long or odd the cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.law import Floats

LIMITS = {"flops": 1e300, "budget": 1e300}
LIMIT = 1e150
PLAIN = frozenset("0123456789.+-eE")
HARMLESS = b"0123456789.+-eE \t"


def numbers(cells: Sequence[str]) -> Floats:
    """Cells of text as float64, NaN where one is no number (see `number`), fast where all are."""
    text = "".join(cells)
    if text.isascii() and not text.encode().translate(None, HARMLESS):
        try:
            return np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            pass
    return np.fromiter(map(number, cells), np.float64, len(cells))


def within_limits(values: Floats, name: str) -> NDArray[np.bool_]:
    """Which values of column `name` are positive numbers that the fits can work with."""
    limit = LIMITS.get(name, LIMIT)
    return (values >= 1 / limit) & (values <= limit)


def refusal(name: str, value: Any, place: str, count: int) -> ValueError:
    """The error for a column with `count` wrong values, the first of which is `value` at `place`."""
    value = value.item() if isinstance(value, np.generic) else value
    amount, limit = number(value), LIMITS.get(name, LIMIT)
    cure = f" between {1 / limit:g} and {limit:g}" if amount > 0 else ""
    what = shown(value)
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)) or not what:
        what = "empty"
    elif isinstance(value, str):
        what = repr(what)
        if np.isnan(amount) and any(map(str.isdigit, value)):
            cure = ", written out like 70e9 or 3.25, without units, separators or decimal commas"
    more = f", and in {count - 1} more" if count > 1 else ""
    return ValueError(f"column {name} is {what} in {place}{more}: it must be a positive number{cure}")


def number(value: object) -> float:
    """`value` as a float; NaN where it is none, or is text that only `float` would take for one."""
    if isinstance(value, str):
        value = value.strip()
        if not PLAIN.issuperset(value):
            return float("nan")
    elif isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf" if value > 0 else "-inf")  # type: ignore[operator]
    except ValueError:
        return float("nan")


def shown(value: object, length: int = 40) -> str:
    """`value` as text of one line and no more than `length` characters, fit to print anywhere."""
    try:
        text = str(value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        text = f"a number of type {type(value).__name__}"
    text = text if len(text) <= length else text[: length - 1] + "…"
    text = " ".join(text.split())
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def listed(names: Iterable[object], most: int = 30) -> str:
    """Names parted by commas; of very many, the first."""
    every = [shown(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
