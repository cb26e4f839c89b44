"""Numbers and sentences as a terminal shows them: 110 columns, three or four digits.

Decisions
- Signs are typographic (−); what has no interval says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from minichin.fit.result import Interval

WIDTH = 110
SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def wrapped(text: str, indent: str = "") -> list[str]:
    """`text` in lines of at most `WIDTH` characters, the second and later ones indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def shown(value: float, interval: Interval | None, form: Callable[[float], str]) -> str:
    """A value with its interval."""
    span = "(no interval)" if interval is None else f"({form(interval[0])}, {form(interval[1])})"
    return f"{form(value)} {span}"


def decimal(value: float) -> str:
    """Three decimals and a typographic minus."""
    return f"{value:.3f}".replace("-", "−")


def constant(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def count(value: float) -> str:
    """`value` to three digits with k, M, B or T: 61.2k, 1.86M; as a rough power of ten beyond those."""
    for scale, letter in SCALES:
        if 0.9995 * scale <= value < 999.5 * scale:
            return f"{float(f'{value / scale:.3g}'):g}{letter}"
    return f"{value:.3g}" if 1e-3 <= value < 1e3 else f"{value:.0e}"


def listed(rows: Sequence[object]) -> str:
    """The first few row numbers."""
    return ", ".join(map(str, rows[:8])) + (" …" if len(rows) > 8 else "")
