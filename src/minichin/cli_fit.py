"""The part of the command line that works on tables of runs: fit, optimum."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

SCHEMES = ("noise", "rows", "seeds", "budgets")
KINDS = ("percentile", "bca")
VALLEYS = ("window", "parabola", "cubic", "shared")
LOSSES = ("huber", "squares", "absolute")
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
@click.option(
    "--resample", type=click.Choice(SCHEMES), help="What a replicate redraws.  [default: by approach]"
)
@click.option(
    "--interval", type=click.Choice(KINDS), default="percentile", show_default=True, help="Kind of interval."
)
@click.option("--hull", is_flag=True, help="Approach 1: vertices of the lower convex hull only.")
@click.option(
    "--method",
    type=click.Choice(VALLEYS),
    default="window",
    show_default=True,
    help="Approach 2: curve of a valley.",
)
@click.option("--correct", is_flag=True, help="Approach 2: take its bias out with approach 3's exponents.")
@click.option("--delta", type=float, default=1e-3, show_default=True, help="Approach 3: Huber threshold.")
@click.option(
    "--loss",
    type=click.Choice(LOSSES),
    default="huber",
    show_default=True,
    help="Approach 3: loss function of the fit.",
)
@click.option("--profile", is_flag=True, help="Approach 3: profile a, and count minima over alpha, beta.")
@click.option(
    "--rename", multiple=True, metavar="THEIRS=OURS", help="Read column THEIRS as OURS; repeatable."
)
@click.option(
    "--predict",
    type=float,
    multiple=True,
    metavar="FLOPS",
    help="Predict at this compute too, beside 10 and 100 times the largest; repeatable.",
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the results as JSON.")
@click.option("--plot", metavar="FILE", help="Draw the fits into a file (.svg, .pdf or .png).")
def fit_command(
    table: str,
    approach: str,
    rename: tuple[str, ...],
    json_file: str | None,
    plot: str | None,
    **options: Any,
) -> None:
    """Fit the three approaches to TABLE: a CSV file, a runs store, or `published`."""
    from minichin.fit import report

    rows, curves, dropped = report.read_any(table, rename)
    which = (1, 2, 3) if approach == "all" else (int(approach),)
    result = report.fit_report(rows, curves, which, dropped=dropped, **options)
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


@click.command("suggest")
@click.argument("table")
@click.option("--budget", type=float, required=True, help="FLOPs for all suggested runs together.")
@click.option("--runs", type=int, default=5, show_default=True, help="How many runs.")
@click.option("--target", type=click.Choice(["a", "n_opt"]), default="a", show_default=True)
@click.option("--at", type=float, metavar="FLOPS", help="Compute of the model to size, for n_opt.")
@click.option(
    "--beyond", type=float, default=4.0, show_default=True, help="Factor past the sampled sizes and tokens."
)
@click.option("--convention", default="full", show_default=True, help="full, 6ND or 6ND_non_embedding.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option(
    "--rename", multiple=True, metavar="THEIRS=OURS", help="Read column THEIRS as OURS; repeatable."
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the suggestion as JSON.")
def suggest_command(
    table: str,
    budget: float,
    runs: int,
    target: str,
    at: float | None,
    beyond: float,
    convention: str,
    seed: int,
    rename: tuple[str, ...],
    json_file: str | None,
) -> None:
    """Say which runs to add to TABLE (a CSV file, a runs store, or `published`) to know the frontier best."""
    from minichin.fit.read import read_any
    from minichin.fit.suggest import suggest_runs

    rows, _, dropped = read_any(table, rename)
    found = suggest_runs(
        rows, budget, runs, target, at, beyond=beyond, convention=convention, seed=seed, dropped=dropped
    )
    if json_file:
        write_output(dumps(found.to_json()), json_file)
    if json_file != "-":
        click.echo(found.text())
