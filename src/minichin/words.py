"""Numbers and results as words, for prose that must be true whatever the numbers turn out to be.

Decisions:
- The book's prose is written once and rendered from any runs, so sentences that depend on a result are made
  here from the result. They are plain text: no markup survives where they are put in.
- A missing interval is said to be missing. Signs are typographic (−), powers of ten are superscripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minichin.fit import Fit, Interval, IsoflopFit

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SCALES = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


def number(value: float, digits: int = 2) -> str:
    """`value` with a fixed number of decimals and a typographic minus: −0.03."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def scientific(value: float, digits: int = 1) -> str:
    """`value` as a power of ten, without a needless 1 in front: 3 × 10¹², 10¹²."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa} × {power}"


def count(value: float) -> str:
    """`value` to three digits in words: 61.2 thousand, 1.86 million."""
    for scale, name in SCALES:
        if abs(value) >= 0.9995 * scale:
            return f"{float(f'{value / scale:.3g}'):g} {name}"
    return f"{float(f'{value:.3g}'):g}"


def span(interval: Interval | None, digits: int = 2) -> str:
    """An interval as `low to high`; words where there is none."""
    return (
        "no interval"
        if interval is None
        else f"{number(interval[0], digits)} to {number(interval[1], digits)}"
    )


def with_interval(value: float, interval: Interval | None, digits: int = 2) -> str:
    """A value with its interval in brackets: 0.53 (0.49 to 0.57)."""
    return f"{number(value, digits)} ({span(interval, digits)})"


def exponent_facts(fit: Fit, suffix: str = "") -> dict[str, float | str]:
    """a, b and a − b of a fit as floats and, under `…_text`, as words with intervals."""
    facts: dict[str, float | str] = {}
    for name in ("a", "b", "a_minus_b"):
        value, interval = getattr(fit, name), getattr(fit, f"{name}_interval")
        facts[name + suffix] = float(value)
        facts[f"{name}{suffix}_text"] = with_interval(value, interval)
    return facts


def equal_scaling(fit: Fit) -> str:
    """One sentence: is a = b, within the interval of a − b?"""
    where = f"By approach {fit.approach} (count: {fit.convention}), a − b is {number(fit.a_minus_b)}"
    interval = fit.a_minus_b_interval
    if interval is None:
        return f"{where}; there is no interval, so nothing can be said about equal scaling."
    where = f"{where} with a 95 % interval of {span(interval)}"
    if interval[0] <= 0 <= interval[1]:
        return f"{where}, which contains zero: equal scaling is compatible with these runs."
    faster, slower = ("parameters", "tokens") if interval[0] > 0 else ("tokens", "parameters")
    return f"{where}, which excludes zero: in these runs the best {faster} grow faster than the {slower}."


def overlaps(one: Interval | None, other: Interval | None) -> bool:
    """Whether two intervals have a point in common; False where one is missing."""
    return one is not None and other is not None and max(one[0], other[0]) <= min(one[1], other[1])


def agreement(fits: Sequence[Fit]) -> str:
    """One sentence: do the intervals of a of these fits have a common point, pair by pair?"""
    with_one = [fit for fit in fits if fit.a_interval is not None]
    if len(with_one) < 2:
        return "Fewer than two approaches have an interval, so their agreement cannot be judged."
    apart = [
        f"{first.approach} and {second.approach}"
        for i, first in enumerate(with_one)
        for second in with_one[i + 1 :]
        if not overlaps(first.a_interval, second.a_interval)
    ]
    if not apart:
        return f"The 95 % intervals of a of all {len(with_one)} approaches overlap, each with each."
    return f"The 95 % intervals of a do not overlap for approaches {', '.join(apart)}: these disagree."


def doubts(fit: Fit) -> str:
    """What the fit itself warns of, in its own words."""
    if not fit.notes and not fit.warnings:
        return "The fit carries no warnings."
    said = fit.notes or tuple(name.replace("_", " ") for name in fit.warnings)
    return f"The fit comes with warnings: {'; '.join(note.rstrip('.') for note in said)}."


def bracketing(fit: IsoflopFit) -> str:
    """One sentence: how many valleys have their minimum inside of the sizes tried?"""
    inside = [valley for valley in fit.valleys if valley.bracketed]
    outside = [scientific(valley.budget) for valley in fit.valleys if not valley.bracketed]
    if not outside:
        return f"every valley ({len(inside)} of {len(inside)}) has its minimum bracketed."
    return (
        f"{len(inside)} of {len(fit.valleys)} valleys have their minimum bracketed; "
        f"those at {', '.join(outside)} FLOPs do not, and only bound it."
    )


def valley_facts(fit: IsoflopFit) -> dict[str, float | str]:
    """The optimum of the smallest and the largest budget (used ones where there are any), as words."""
    valleys = [valley for valley in fit.valleys if valley.used] or list(fit.valleys)
    facts: dict[str, float | str] = {}
    for name, valley in (("first", valleys[0]), ("last", valleys[-1])):
        ratio = valley.tokens_per_param
        facts |= {
            f"{name}_budget": scientific(valley.budget),
            f"{name}_params": count(valley.params_opt),
            f"{name}_tokens": count(valley.tokens_opt),
            f"{name}_ratio": with_interval(ratio, valley.tokens_per_param_interval, 0),
            f"{name}_loss": float(valley.loss_opt),
        }
    return facts


def significant(value: float) -> str:
    """`value` to three significant digits: 406, 0.348, and powers of ten beyond 1e5."""
    return f"{float(f'{value:.3g}'):g}" if 1e-3 <= abs(value) < 1e5 else scientific(value)


def surface_facts(values: Mapping[str, float], intervals: Mapping[str, Interval | None]) -> dict[str, str]:
    """The five constants of a loss surface with their intervals, as words: `E_text`, `A_text`, …

    A and B, which range over decades, to three digits; the others to three decimals.
    """
    facts = {}
    for name, value in values.items():
        interval = intervals.get(name)
        if name in ("A", "B") and interval is not None:
            text = f"{significant(value)} ({significant(interval[0])} to {significant(interval[1])})"
        elif name in ("A", "B"):
            text = f"{significant(value)} (no interval)"
        else:
            text = with_interval(value, interval, 3)
        facts[f"{name}_text"] = text
    return facts


def profile_note(name: str, about: str) -> str:
    """One sentence on which runs a rendering shows; a warning for the profile that is for tests only."""
    if name == "smoke":
        return (
            "This rendering shows the runs of the profile smoke, which exists for tests: "
            "the runs are far too small for the numbers to mean anything."
        )
    if name == "published":
        return "This rendering shows the runs that come with the repository; nothing was trained for it."
    return f"This rendering shows the runs of the profile {name}: {about}."
