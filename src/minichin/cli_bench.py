"""The part of the command line that measures minichin itself: bench."""

from __future__ import annotations

from pathlib import Path

import click

from minichin.cli_fit import dumps, write_output


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


@bench_group.command("coverage")
@click.argument("csv_file", metavar="FILE.csv", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--studies", type=click.IntRange(1), default=500, show_default=True, help="Simulated studies.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
def bench_coverage_command(csv_file: Path, studies: int, workers: int) -> None:
    """Measure how often the 95 % intervals of a hold the truth; adds to FILE.csv what it lacks (hours)."""
    from minichin import coverage

    for row in coverage.measure(csv_file, studies=studies, workers=workers):
        click.echo(coverage.line(row))
