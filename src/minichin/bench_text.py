"""The results of `minichin bench fit` as lines, each number beside what it should reach."""

from __future__ import annotations

from typing import Any


def text(result: dict[str, Any]) -> str:
    """Lay out what `bench.fit_bench` returns."""
    host, data = result["machine"], result["data"]
    lines = [
        f"{host['cpu']}, {host['cores']} cores; Python {host['python']}, numpy {host['numpy']}, "
        f"scipy {host['scipy']}; one BLAS thread",
        f"data: {data['name']}, {data['rows']} rows; mode {result['sizes']['mode']}",
        "",
        *_point_fit(result),
        "",
        *_bootstrap(result),
        "",
        *_whole(result),
        "",
        "* timed on a sample of the starts or replicates and scaled by their number; --full times all",
    ]
    return "\n".join(lines)


def _point_fit(result: dict[str, Any]) -> list[str]:
    """The point fit, ours first."""
    goal, ours, package = result["targets"], result["point_fit"]["ours"], result["chinchilla"]
    return [
        f"point fit with certificate (targets: ratio ≥ {goal['point_ratio']:,}×, "
        f"ours at most {goal['objective_above']:g} above scipy's objective)",
        f"  {'':44}{'CPU s':>10}  {'objective':>18}  {'ours above':>10}  {'ratio':>8}",
        f"  {'minichin':44}{ours['cpu_s']:10.4f}  {ours['objective']:18.12e}",
        *map(_rival, result["point_fit"]["rivals"].values()),
        f"  SKIPPED: {package['skipped']}" if "skipped" in package else _rival(package),
        f"  ours: {ours['starts_at_best']} of {ours['starts']} starts at the best objective, "
        f"scaled gradient {ours['gradient_norm']:.1e}, wall {ours['wall_s']:.4f} s",
    ]


def _rival(rival: dict[str, Any]) -> str:
    """One other way to fit the points: time, objective, how far ours is above it, ratio of times."""
    return (
        f"  {rival['says']:44}{_seconds(rival)}  {rival['objective']:18.12e}  "
        f"{rival['ours_above']:+10.1e}  {rival['ratio']:7,.0f}×{_sample(rival)}"
    )


def _seconds(rival: dict[str, Any]) -> str:
    """CPU seconds, with a star where they were scaled up from a sample."""
    return f"{rival['cpu_s']:9.2f}{'*' if rival['extrapolated'] else ' '}"


def _sample(rival: dict[str, Any]) -> str:
    """How much of it was timed, and the standard error that comes of it."""
    if not rival["extrapolated"]:
        return f"  all {rival['of']:,}"
    error = f", ± {rival['cpu_s_error']:.2g} s" if rival["cpu_s_error"] else ""
    how = f" ({rival['sample']})" if "sample" in rival else ""
    return f"  {rival['timed']:,} of {rival['of']:,}{how}{error}"


def _bootstrap(result: dict[str, Any]) -> list[str]:
    """The bootstrap, ours and BFGS."""
    boot = result["bootstrap"]
    ours, rival = boot["ours"], boot["rival"]
    ratio = "too short to tell" if rival["ratio"] is None else f"{rival['ratio']:,.0f}×"
    return [
        f"{boot['replicates']:,} bootstraps (target: ratio ≥ {result['targets']['bootstrap_ratio']:,}×)",
        f"  {'minichin':44}{ours['cpu_s']:10.4f} CPU s; with the point fit "
        f"{ours['cpu_s_with_point_fit']:.4f}, wall {ours['wall_s_with_point_fit']:.4f} s",
        f"  {rival['says'] + ', warm':44}{_seconds(rival)} CPU s{_sample(rival)}",
        f"  ratio {ratio}; with our point fit counted in {rival['ratio_with_point_fit']:,.0f}×",
        f"  {rival['compared']} resampled tables by both: "
        f"BFGS stops {rival['above_ours_median']:.1e} above ours in the median, "
        f"{rival['above_ours_most']:.1e} at most; ours above BFGS {rival['ours_above_most']:.1e} at most",
    ]


def _whole(result: dict[str, Any]) -> list[str]:
    """Fresh interpreters, and the paper's starts by our solver."""
    goal, large, basin = result["targets"], result["large"], result["hoffmann"]
    return [
        f"both in a fresh interpreter, imports included: {_fresh(result['together'])} "
        f"(target < {goal['together_wall_s']} s)",
        f"{large['rows']:,} rows × {large['bootstrap']:,} bootstraps, the same way: {_fresh(large)} "
        f"(targets < {goal['large_wall_s']} s, < {goal['large_peak_mb']} MB)",
        f"the paper's {basin['starts']:,} starts by our solver, {basin['rows']} rows: "
        f"{basin['share']:.1%} end in the best basin (target ≥ {goal['hoffmann_share']:.0%}), "
        f"CPU {basin['cpu_s']:.2f} s, wall {basin['wall_s']:.2f} s",
    ]


def _fresh(run: dict[str, Any]) -> str:
    """Wall time and peak memory of one fresh interpreter."""
    if "stopped_after_s" in run:
        return f"stopped after {run['stopped_after_s']} s"
    return f"{run['wall_s']:.2f} s (import {run['import_s']:.2f} s), peak {run['peak_mb']:.0f} MB"
