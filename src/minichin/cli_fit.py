"""The part of the command line that works on tables of runs: fit, optimum."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def write_output(text: str, target: str) -> None:
    """Write to a file, whole or not at all, or to standard output for `-`."""
    if target == "-":
        click.echo(text, nl=not text.endswith("\n"))
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text if text.endswith("\n") else text + "\n")
        temporary.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; name another file") from None


def dumps(values: object) -> str:
    """JSON as this command line prints it."""
    return json.dumps(values, indent=1, allow_nan=False)


@click.command("fit")
@click.argument("table")
@click.option("--approach", type=click.Choice(["1", "2", "3", "all"]), default="all", show_default=True)
@click.option("--convention", default="full", show_default=True, help="full, 6ND or 6ND_non_embedding.")
@click.option("--bootstrap", type=int, default=4000, show_default=True, help="Bootstrap replicates.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--delta", type=float, default=1e-3, show_default=True, help="Huber threshold, approach 3.")
@click.option(
    "--rename", multiple=True, metavar="THEIRS=OURS", help="Read column THEIRS as OURS; repeatable."
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the results as JSON.")
@click.option("--plot", metavar="FILE", help="Draw the fits into a file (.svg, .pdf or .png).")
def fit_command(
    table: str,
    approach: str,
    convention: str,
    bootstrap: int,
    seed: int,
    delta: float,
    rename: tuple[str, ...],
    json_file: str | None,
    plot: str | None,
) -> None:
    """Fit the three approaches to TABLE: a CSV file, a runs store, or `published`."""
    from minichin.fit import report

    rows, curves, dropped = report.read_any(table, rename)
    result = report.fit_report(
        rows,
        curves=curves,
        approaches=(1, 2, 3) if approach == "all" else (int(approach),),
        convention=convention,
        bootstrap=bootstrap,
        seed=seed,
        delta=delta,
        dropped=dropped,
    )
    if plot:
        from minichin import report_figure

        report_figure.save(result, plot)
    if json_file:
        write_output(dumps(result.to_json()), json_file)
    if json_file != "-":
        click.echo(result.text())


@click.command("optimum")
@click.option("--flops", type=float, required=True, help="Training compute, FLOPs.")
@click.option("--law", default="chinchilla", show_default=True, help="chinchilla, besiroglu, … or FILE.json.")
@AS_JSON
def optimum_command(flops: float, law: str, as_json: bool) -> None:
    """Give the compute-optimal parameters, tokens and loss for a compute budget."""
    from minichin.fit import report

    found = report.optimum(flops, law)
    if as_json:
        click.echo(dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name:20} {value:.6g}" if isinstance(value, float) else f"{name:20} {value}")


@click.group("bench")
def bench_group() -> None:
    """Time minichin against the other ways to the same result."""


@bench_group.command("fit")
@click.option("--quick", is_flag=True, help="Toy sizes, in seconds: the numbers mean little.")
@click.option("--full", is_flag=True, help="Time every start and replicate of the rivals; slow.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the results as JSON.")
def bench_fit_command(quick: bool, full: bool, json_file: str | None) -> None:
    """Time the fits of approach 3 against scipy, and the package chinchilla where it is installed."""
    if quick and full:
        raise ValueError("--quick and --full exclude each other: give one of them")
    from minichin import bench, bench_text

    mode = "quick" if quick else "full" if full else "default"
    result = bench.fit_bench(mode, say=lambda line: click.echo(line, err=True))
    if json_file:
        write_output(dumps(result), json_file)
    if json_file != "-":
        click.echo(bench_text.text(result))
