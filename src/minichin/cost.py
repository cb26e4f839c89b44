"""`minichin bench cost`: what the runs of a store cost, from their records.

Decisions
- FLOPs and tokens are those of the steps that were taken, by the full count; evaluations count in the seconds
  but not in the FLOPs.
- Seconds are the records' own, of one single-threaded worker on a CPU: core-seconds. Runs that shared a GPU
  side by side each count the whole time (runs of one stack their share), so there FLOP/s are a lower bound.
- A result of `minichin bench train` adds the share of the ceiling, and an energy: each run's FLOPs times the
  joules a FLOP of the nearest cell, by ln width and ln tokens a step. It is used for the runs of the device
  that it names; that it is of the same machine is for the caller to see to, as records do not name CPUs.
  Without one, or where it reports no energy, the output says so.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minichin.runs import RunRecord


def load_bench(path: Path) -> dict[str, Any]:
    """Read a result of `minichin bench train --json`; `ValueError` where the file holds none."""
    try:
        result = json.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        result = None
    if not isinstance(result, dict) or not result.get("cells") or "clock" not in result:
        raise ValueError(f"{path} is no result of `minichin bench train --json {path}`; make one with it")
    return result


def cost(records: Iterable[RunRecord], bench: dict[str, Any] | None = None) -> dict[str, Any]:
    """Sum up runs by the device and engine that they ran on; `ValueError` where there are none."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.device, record.versions.get("engine", "torch")), []).append(record)
    if not groups:
        raise ValueError("the store holds no runs; train some with `minichin sweep`")
    measured_on = bench["machine"]["device"] if bench else None
    if bench is None:
        energy = "unknown: give a result of `minichin bench train` by --bench"
    elif all(device != measured_on for device, _ in groups):
        energy = f"unknown: the benchmark is of {measured_on}, where no run of the store was"
    else:
        energy = bench["energy"]
    return {
        "count": "full",
        "groups": [
            {
                "device": device,
                "engine": engine,
                **group_cost(group, bench if device == measured_on else None),
            }
            for (device, engine), group in sorted(groups.items())
        ],
        "energy": energy,
    }


def group_cost(records: list[RunRecord], bench: dict[str, Any] | None) -> dict[str, Any]:
    """Runs, FLOPs, tokens, seconds, FLOP/s; share of the ceiling and joules where `bench` tells."""
    flops = sum(run_flops(record) for record in records)
    seconds = sum(record.seconds for record in records)
    found: dict[str, Any] = {
        "runs": len(records),
        "flops": flops,
        "tokens": sum(record.stopped_at * record.spec.batch_tokens for record in records),
        "seconds": seconds,
        "flops_per_s": flops / seconds if seconds > 0 else None,
        "share": None,
        "joules": None,
    }
    if bench is None:
        return found
    ceiling = statistics.median(cell["ceiling_flops_per_s"] for cell in bench["cells"])
    if found["flops_per_s"] is not None:
        found["share"] = found["flops_per_s"] / ceiling
    spent = [run_flops(r) / 1e12 * j for r in records if (j := joules_per_teraflop(r, bench)) is not None]
    if len(spent) == len(records):
        found["joules"] = sum(spent)
    return found


def run_flops(record: RunRecord) -> float:
    """FLOPs of the steps that a run took, full count."""
    return record.spec.flops * record.stopped_at / record.spec.steps


def joules_per_teraflop(record: RunRecord, bench: dict[str, Any]) -> float | None:
    """What the bench measured nearest to this run's width and tokens a step."""

    def distance(cell: dict[str, Any]) -> float:
        return math.hypot(
            math.log(cell["width"] / record.spec.width),
            math.log(cell["batch_tokens"] / record.spec.batch_tokens),
        )

    nearest = min(bench["cells"], key=distance)
    found = nearest["contenders"]["ours"]["joules_per_teraflop"]
    return None if found is None else float(found)


def text(result: dict[str, Any]) -> str:
    """Lay out what `cost` returns, a line a device and engine."""
    lines = [
        f"{'device, engine':40}{'runs':>6}{'FLOPs':>10}{'tokens':>10}{'run-seconds':>13}{'GFLOP/s':>9}"
        f"{'of ceiling':>12}{'joules':>10}"
    ]
    for group in result["groups"]:
        rate, share, joules = group["flops_per_s"], group["share"], group["joules"]
        lines.append(
            f"{group['device'] + ', ' + group['engine']:40}{group['runs']:6,}{group['flops']:10.2e}"
            f"{group['tokens']:10.2e}{group['seconds']:13,.0f}"
            f"{'-' if rate is None else f'{rate / 1e9:,.1f}':>9}"
            f"{'-' if share is None else f'{share:.0%}':>12}{'-' if joules is None else f'{joules:,.0f}':>10}"
        )
    lines.append("FLOPs by the full count, of training alone; run-seconds hold the evaluations too")
    if any(group["device"].startswith("cuda") for group in result["groups"]):
        lines.append("runs side by side on a GPU each count the whole time: its GFLOP/s are a lower bound")
    if all(group["share"] is None for group in result["groups"]):
        lines.append("share of the ceiling: needs --bench, a result of `minichin bench train` on that device")
    lines.append(f"energy: {result['energy']}")
    return "\n".join(lines)
