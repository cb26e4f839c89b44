"""The results of `again` and `known_surfaces` in words, for the notebook and the chapter.

Decisions
- A result reads the same wherever it stands: `…_words` serves the notebook's tables and the chapter's.
- Facts are what the notebook glues: text, or numbers where the sentence chooses the digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minichin import again, words

Record = dict[str, Any]
Facts = dict[str, str | float | int]
CONSTANTS = ("E", "A", "B", "alpha", "beta")
WAYS = ("sum", "sum_differences", "mean", "mean_differences", "finer")


def percent(share: float) -> str:
    """A small share in per cent, to two digits; in words where it is no more than an optimiser's rounding."""
    return "less than 0.001 %" if share < 1e-5 else f"{float(f'{100 * share:.2g}'):g} %"


def law_words(record: Record) -> dict[str, str]:
    """A published law: its constants, and what it recommends at Gopher's budget."""
    return {
        **{name: f"{record[name]:.7g}" for name in CONSTANTS if name in record},
        "a": words.number(record["a"], 4),
        "parameters": words.count(record["params"]),
        "tokens": words.count(record["tokens"]),
        "tokens a parameter": words.number(record["ratio"], 1),
    }


def fit_words(record: Record) -> dict[str, str]:
    """A fit of approach 3: constants and a with intervals, tokens a parameter, and the certificate."""
    second = record["second_best_objective"]
    surface = words.surface_facts({name: record[name] for name in CONSTANTS}, record["intervals"])
    return {
        **{name: surface[f"{name}_text"] for name in CONSTANTS},
        "a": words.with_interval(record["a"], record["a_interval"], 3),
        "tokens a parameter": words.number(record["ratio"], 1),
        "objective (sum)": f"{record['objective']:.6g}",
        "scaled gradient": words.scientific(record["gradient_norm"], 0),
        "starts that agree": f"{record['starts_at_best']:,} of {record['starts']:,}",
        "next best objective": "none" if second is None else f"{second:.6g}",
    }


def size_words(row: Record) -> dict[str, str]:
    """A row of the table of optimal sizes beside what the constants give."""
    return {
        "parameters": words.count(row["params"]),
        "FLOPs, their table": words.scientific(row["flops"], 2),
        "FLOPs over 6ND": words.number(row["row_over_6nd"], 3),
        "FLOPs, source": words.scientific(row["flops_tex"], 2),
        "FLOPs, printed": words.scientific(row["flops_printed"], 2),
        "misprint": row["misprint"],
    }


def ends_words(record: Record) -> dict[str, str]:
    """Where scipy's starts ended; `arrived` is within a millionth of the least sum."""
    return {
        "minimised": record["minimised"],
        "starts": f"{record['starts']:,}",
        "stopped by the gradient": f"{record['stopped_by_gradient']:,}",
        "arrived": f"{record['at_optimum']:,}",
        "ended within 10 %": f"{record['within_10']:,}",
        "best end above the least": percent(record["gap"]),
        **{name: words.significant(record[name]) for name in CONSTANTS},
        "a": words.number(record["a"], 3),
    }


def step_words(record: Record) -> dict[str, str]:
    """One of Porian's steps: their exponent and ours."""
    return {
        "step": record["step"],
        "budgets": str(record["budgets"]),
        "runs": str(record["runs"]),
        "theirs": words.with_interval(record["theirs"], record["theirs_interval"], 3),
        "fitted again": words.with_interval(record["a"], record["a_interval"], 3),
    }


def bias_words(record: Record) -> dict[str, str]:
    """How far approach 2 misses on a known surface, beside what is published, and once corrected."""
    published, left = record["published"], (record["tokens_corrected"], record["tokens_both"])
    return {
        "tokens off by": f"{words.number(100 * record['tokens'])} %",
        "published": "" if published is None else f"{words.number(100 * published, 1)} %",
        "a off by": words.number(record["a"], 4),
        "a off by, centres drifting": words.number(record["a_drifting"], 4),
        "corrected, tokens off by": percent(max(abs(each) for each in left)),
    }


def law_facts(laws: Iterable[Record], rounded: Iterable[Record], sizes: Iterable[Record]) -> Facts:
    """What follows from the published constants alone."""
    facts: Facts = {}
    for law in laws:
        name = law["law"]
        facts |= {f"{name}_ratio": law["ratio"], f"{name}_params_billions": law["params"] / 1e9}
        facts[f"{name}_a"] = law["a"]
    for record in rounded:
        facts[f"rounded_{record['rounded'].replace(' ', '_').replace(',', '')}"] = record["ratio"]
    for row in sizes:
        if row["misprint"]:
            facts["misprint_over_6nd"] = row["row_over_6nd"]
            facts["misprint_says"] = words.scientific(row["flops"], 2)
            facts["misprint_source"] = words.scientific(row["flops_tex"], 2)
    good = [row for row in sizes if not row["misprint"]]
    for name in ("tex", "printed"):
        off = [100 * (row[f"flops_{name}"] / row["flops"] - 1) for row in good]
        facts |= {f"{name}_off_low": min(off), f"{name}_off_high": max(off)}
    return facts


def part_facts(parts: Mapping[str, again.Section], everywhere: again.Section) -> Facts:
    """What the tables of runs gave; `everywhere` is scipy from all of the paper's starts."""
    facts: Facts = {f"{name}_note": part.note for name, part in parts.items()}
    facts |= {"everywhere_note": everywhere.note}
    for record in parts["judged"].records:
        facts[f"{record['law']}_gap"] = 100 * record["gap"]
    facts |= _fit_facts("", "loss", parts["losses"].records)
    facts |= _fit_facts("", "corpus", parts["corpora"].records)
    facts |= _fit_facts("delta", None, parts["deltas"].records)
    for place, record in enumerate(parts["deltas"].records):
        facts[f"delta{place}"] = words.scientific(record["delta"])
    for name, record in zip(WAYS, everywhere.records, strict=True):
        facts |= {f"{name}_starts": record["starts"], f"{name}_arrived": record["at_optimum"]}
        facts |= {f"{name}_near": record["within_10"], f"{name}_flat": record["stopped_by_gradient"]}
        facts |= {f"{name}_gap": percent(record["gap"]), f"{name}_a": words.number(record["a"], 3)}
    steps = parts["steps"].records
    for place, record in enumerate(steps, start=1):
        said = step_words(record)
        facts |= {f"step{place}_{key.replace(' ', '_')}": text for key, text in said.items()}
    facts["steps_apart"] = max(abs(record["a"] - record["theirs"]) for record in steps)
    facts["steps_overlap"] = sum(words.overlaps(r["a_interval"], r["theirs_interval"]) for r in steps)
    for record in parts["noise_free"].records:
        facts[f"course_{record['method'].replace(' ', '_')}"] = words.number(record["a"], 4)
        facts["course_truth"] = words.number(record["truth"], 4)
    return facts


def _fit_facts(prefix: str, name: str | None, records: Iterable[Record]) -> Facts:
    """`fit_words` of each record, keyed by its column `name` or else by its place."""
    return {
        f"{prefix}{record[name] if name else place}_{key.split(' (')[0].replace(' ', '_')}": text
        for place, record in enumerate(records)
        for key, text in fit_words(record).items()
    }


def bias_facts(bias: Iterable[Record]) -> Facts:
    """By how many per cent approach 2 is low on known surfaces, and what is left once corrected."""
    facts: Facts = {}
    for record in bias:
        facts[f"bias{record['reach']}"] = -100 * record["tokens"]
        facts[f"drift{record['reach']}"] = words.number(record["a_drifting"], 4)
    left = [abs(record[name]) for record in bias for name in ("tokens_corrected", "tokens_both")]
    return facts | {"bias_corrected": percent(max(left))}
