"""Checks that teach: what an assignment's test cells call, and what students read when one fails.

Decisions
- A failed check raises `CheckError` with what was returned, what was asked for, and a hint: a bare
  `assert` says only that something is wrong.
- Marks in between are a number that ends a cell: nbgrader takes it as partial credit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


class CheckError(AssertionError):
    """A check failed; the message says what was found and what to think about."""


def _say(text: str, hint: str) -> CheckError:
    return CheckError(f"{text}\nHint: {hint}" if hint else text)


def that(condition: object, message: str, hint: str = "") -> None:
    """Raise `CheckError` with `message` unless `condition` is true."""
    if not condition:
        raise _say(message, hint)


def close(what: str, got: Any, wanted: float, rel: float = 1e-3, hint: str = "", near: float = 0.0) -> None:
    """Raise `CheckError` unless `got` is a number within `rel` of `wanted` (or within `near` of it)."""
    try:
        value = float(got)
    except (TypeError, ValueError):
        raise _say(f"{what} should be a number, but it is {got!r}.", hint) from None
    if not math.isfinite(value):
        raise _say(f"{what} is {value}, which is no finite number.", hint)
    if abs(value - wanted) <= max(rel * abs(wanted), near):
        return
    ratio = f", {value / wanted:.4g} times what it should be" if wanted else ""
    raise _say(f"{what} is {value:.6g}{ratio}; it is not within {max(rel, 0):.2g} of the right value.", hint)


def keys(what: str, got: Any, wanted: Iterable[str]) -> None:
    """Raise `CheckError` unless `got` is a dictionary with exactly these keys."""
    wanted = list(wanted)
    if not isinstance(got, Mapping):
        raise CheckError(
            f"{what} should be a dictionary with the keys {', '.join(wanted)}, but it is {got!r}."
        )
    missing = [key for key in wanted if key not in got]
    extra = [str(key) for key in got if key not in wanted]
    if missing:
        raise CheckError(f"{what} lacks the key(s) {', '.join(missing)}.")
    if extra:
        raise CheckError(f"{what} has the key(s) {', '.join(extra)}, which were not asked for.")


def marks(got: float, full: float, why: str) -> float:
    """Print `why`, and return `got` within 0 and `full`, to two decimals: the marks of the cell it ends."""
    value = round(min(max(float(got), 0.0), full), 2)
    print(f"{value:g} of {full:g} marks: {why}")
    return value
