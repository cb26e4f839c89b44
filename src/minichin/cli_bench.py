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


@bench_group.command("train")
@click.option("--quick", is_flag=True, help="Toy sizes, in seconds: the numbers mean little.")
@click.option("--widths", metavar="16,32,…", default="", help="Only these widths.")
@click.option("--tokens", metavar="256,512,…", default="", help="Only these numbers of tokens a step.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="Default: CUDA where there is one.")
@click.option(
    "--nanogpt", metavar="PATH", type=click.Path(path_type=Path), help="A checkout of nanoGPT, timed too."
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the results as JSON.")
def bench_train_command(
    quick: bool, widths: str, tokens: str, device: str | None, nanogpt: Path | None, json_file: str | None
) -> None:
    """Time the training engine against an ordinary loop and the matrix products' ceiling (five minutes)."""
    from minichin import bench_train, bench_train_text

    result = bench_train.train_bench(
        "quick" if quick else "default",
        widths=_numbers("--widths", widths),
        batch_tokens=_numbers("--tokens", tokens),
        device=device,
        checkout=nanogpt,
        say=lambda line: click.echo(line, err=True),
    )
    if json_file:
        write_output(dumps(result), json_file)
    if json_file != "-":
        click.echo(bench_train_text.text(result))


def _numbers(option: str, text: str) -> list[int]:
    """Read 16,32: whole numbers, none for nothing; `ValueError` for anything else."""
    parts = [part.strip() for part in text.split(",")] if text else []
    wrong = [part for part in parts if not part.isdecimal() or int(part) < 1]
    if wrong:
        raise ValueError(f"{option} {text}: {wrong[0]!r} is no positive whole number; write them as 16,32")
    return [int(part) for part in parts]


@bench_group.command("cost")
@click.argument("store")
@click.option(
    "--bench", metavar="FILE", type=click.Path(path_type=Path), help="JSON of `bench train` on that machine."
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the results as JSON.")
def bench_cost_command(store: str, bench: Path | None, json_file: str | None) -> None:
    """Sum up what the runs of STORE cost: FLOPs, tokens, core-seconds, share of the ceiling, energy."""
    from minichin import cost, runs

    result = cost.cost(runs.open_store(store).records(), cost.load_bench(bench) if bench else None)
    if json_file:
        write_output(dumps(result), json_file)
    if json_file != "-":
        click.echo(cost.text(result))


@bench_group.command("coverage")
@click.argument("csv_file", metavar="FILE.csv", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--studies", type=click.IntRange(1), default=500, show_default=True, help="Simulated studies.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
def bench_coverage_command(csv_file: Path, studies: int, workers: int) -> None:
    """Measure how often the 95 % intervals of a hold the truth; adds to FILE.csv what it lacks (hours)."""
    from minichin import coverage

    for row in coverage.measure(csv_file, studies=studies, workers=workers):
        click.echo(coverage.line(row))
