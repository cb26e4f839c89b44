"""The command line: parse, call, print. Every mistake of the caller ends in one line and exit status 2."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minichin import __version__, cli_bench, cli_course, cli_fit, cli_runs
from minichin.cli_fit import AS_JSON, dumps

if TYPE_CHECKING:
    from minichin.plan import RunSpec

PROFILE = click.option("--profile", default="cpu", show_default=True, help="smoke, cpu, gpu or published.")
DEVICE = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Default: CUDA where there is one."
)


def parse_time(text: str) -> float:
    """Seconds in `90`, `90s`, `9m`, `1h30m`; `ValueError` for anything else."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ValueError(f"--time-limit {text!r} is no time; write 90s, 9m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60.0 * minutes + seconds


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="minichin")
def cli() -> None:
    """The Chinchilla scaling result in miniature: plan, train, fit, read."""


for _command in (cli_fit.fit_command, cli_fit.optimum_command, cli_fit.suggest_command):
    cli.add_command(_command)
for _group in (cli_bench.bench_group, cli_course.course_group, cli_runs.runs_group, cli_runs.data_group):
    cli.add_command(_group)


@cli.command("plan")
@PROFILE
@DEVICE
@click.option("--workers", type=int, help="Workers to plan for (default: one a core).")
@click.option("--calibrate/--no-calibrate", default=True, help="Time a few steps to estimate the duration.")
@AS_JSON
def plan_command(
    profile: str, device: str | None, workers: int | None, calibrate: bool, as_json: bool
) -> None:
    """Show the runs of a profile, and how long they would take on this machine."""
    from minichin import report_plan

    view = report_plan.view(profile, device=device, workers=workers, calibrate=calibrate)
    click.echo(dumps(view.to_json()) if as_json else view.text())


@cli.command("sweep")
@PROFILE
@click.option("--experiment", metavar="NAME", help="The runs of an experiment of the book, not of a profile.")
@click.option("--store", help="Folder of the runs store (default: runs/PROFILE, or runs/experiments).")
@click.option("--corpus", "text", metavar="NAME", help="Another text than the profile's; needs --store.")
@click.option("--workers", type=int, help="Worker processes (default: one a core; on a GPU 8, as threads).")
@click.option("--time-limit", help="Stop after this time, for example 9m; run again to go on.")
@DEVICE
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "compiled"]),
    default="auto",
    show_default=True,
    help="The reference (torch), the compiled one, or the fastest that runs here.",
)
@click.option(
    "--on",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Train by workers of this machine's own, or by those of a Ray cluster.",
)
@click.option(
    "--ray-address",
    metavar="HOST:PORT|auto",
    help="Join this Ray cluster (auto: the one on this machine); default: a new one, here.",
)
@click.option(
    "--stack",
    type=int,
    metavar="N",
    help="Train up to N runs of one shape together (default: 16 on a GPU, else 1).",
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
def sweep_command(
    profile: str,
    experiment: str | None,
    store: str | None,
    text: str | None,
    workers: int | None,
    time_limit: str | None,
    device: str | None,
    engine: str,
    on: str,
    ray_address: str | None,
    stack: int | None,
    quiet: bool,
) -> None:
    """Train the runs of a profile, or of an experiment, that its store does not hold yet."""
    from minichin import experiments, runs, sweep

    limit = parse_time(time_limit) if time_limit else None
    if experiment and text:
        raise ValueError(f"--experiment {experiment} has its own texts; leave --corpus {text} out")
    all_runs = experiments.specs(experiment) if experiment else _runs_of(profile, text, store, quiet)
    done = sweep.sweep(
        all_runs,
        store or (runs.runs_folder() / "experiments" if experiment else runs.default_store(profile)),
        workers=workers,
        time_limit=limit,
        device=device,
        engine=engine,
        on=on,
        ray_address=ray_address,
        stack=stack,
        progress=not quiet,
    )
    left = len(sweep.missing(all_runs, done))
    name = f"experiment {experiment}" if experiment else f"profile {profile}"
    click.echo(f"{len(all_runs) - left} of {len(all_runs)} runs of {name} are in {done.folder}")


def _runs_of(profile: str, text: str | None, store: str | None, quiet: bool) -> list[RunSpec]:
    """The runs of a profile, on its own text or another; what the text is too short for is told."""
    from minichin import corpus, plan, report_plan

    if profile == "published":
        raise ValueError(
            "profile published trains nothing: its records come with minichin; see `minichin runs`"
        )
    if text and not store:
        raise ValueError(f"--corpus {text} needs --store DIR, so that the runs of two texts are not mixed")
    chosen = plan.profile(profile)
    loaded = corpus.load(text or chosen.corpus, progress=not quiet)
    if text:
        chosen = plan.on_text(chosen, text, loaded.train.size)
    for spec in plan.left_out(chosen):
        click.echo(report_plan.why_left_out(spec, chosen), err=True)
    return plan.plan(chosen)


@cli.command("flops")
@click.option("--width", type=int, required=True)
@click.option("--depth", type=int, default=3, show_default=True)
@click.option("--context", type=int, default=64, show_default=True)
@click.option("--vocab", type=int, default=256, show_default=True)
@click.option("--head-dim", type=int, help="Default: a quarter of the width.")
@AS_JSON
def flops_command(
    width: int, depth: int, context: int, vocab: int, head_dim: int | None, as_json: bool
) -> None:
    """Count a model's parameters and FLOPs, part by part and by every convention."""
    from minichin import report_plan

    view = report_plan.flops_view(width, depth, context, vocab, head_dim)
    click.echo(dumps(view) if as_json else report_plan.flops_text(view))


@cli.command("book")
@PROFILE
@click.option("--open", "open_browser", is_flag=True, help="Open the book in a browser.")
@click.option("--store", default="", help="Folder of the runs store (default: runs/PROFILE).")
@click.option(
    "-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="Set a notebook parameter; repeatable."
)
def book_command(profile: str, open_browser: bool, store: str, parameter: tuple[str, ...]) -> None:
    """Train what is missing, run the notebooks and build the book."""
    from minichin import book

    book.build(
        profile,
        store=store,
        open_browser=open_browser,
        parameters=dict(map(_assignment, parameter)),
        say=click.echo,
    )


@cli.command("print")
@click.argument("html", type=click.Path(path_type=Path))
@click.argument("target", metavar="FILE.pdf", type=click.Path(path_type=Path))
@click.option("--slides", "as_slides", is_flag=True, help="The main figures as slides instead.")
def print_command(html: Path, target: Path, as_slides: bool) -> None:
    """Print the book built in HTML to FILE.pdf, and each page beside it (needs Chromium)."""
    from minichin import printing, slides

    if as_slides:
        click.echo(f"{slides.print_slides(html, target, say=click.echo)} slides are in {target}")
        return
    count = printing.print_book(html, target, say=click.echo)
    click.echo(f"{count} pages of the book are in {target}")


def _assignment(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, the value as a Python literal where it is one."""
    import ast

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"parameter {text!r} is not NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: this process's own); return its exit status."""
    try:
        status = cli.main(arguments, prog_name="minichin", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        click.echo(f"minichin: {error.format_message()}", err=True)
        return 2
    except (ValueError, FileNotFoundError, PermissionError) as error:
        click.echo(f"minichin: {' '.join(str(error).split())}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("minichin: stopped; finished runs are kept, the same command goes on", err=True)
        return 130
    except RuntimeError as error:
        click.echo(f"minichin: {error}", err=True)
        return 1
    return status if isinstance(status, int) else 0  # a command's own, by `Context.exit`


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run())
