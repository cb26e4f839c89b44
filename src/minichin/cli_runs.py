"""The part of the command line that works on stores of runs, and on texts: runs, data."""

from __future__ import annotations

from dataclasses import asdict

import click

from minichin.cli_fit import AS_JSON, dumps, write_output


@click.group("runs")
def runs_group() -> None:
    """Look at, merge and check stores of run records."""


@runs_group.command("table")
@click.argument("store")
@click.option("--csv", "csv_file", metavar="FILE|-", default="-", show_default=True)
def runs_table(store: str, csv_file: str) -> None:
    """Write the runs of STORE (a folder, or `published`) as CSV, one row a run."""
    from minichin import runs

    write_output(runs.open_store(store).table().to_csv(index=False), csv_file)


@runs_group.command("merge")
@click.argument("stores", nargs=-1, required=True)
@click.option("--into", required=True, help="Folder of the store that receives the records.")
def runs_merge(stores: tuple[str, ...], into: str) -> None:
    """Copy the records of STORES into one; the same run with another result is refused."""
    from minichin import runs

    new = runs.merge([runs.open_store(store) for store in stores], into)
    click.echo(f"{new} new runs, {len(runs.Store(into).by_key())} in {into}")


@runs_group.command("check")
@click.argument("store")
def runs_check(store: str) -> None:
    """Read every record of STORE and say what is there."""
    from minichin import runs

    opened = runs.open_store(store)
    records = opened.records()
    diverged = sum(record.status == "diverged" for record in records)
    click.echo(
        f"{opened.folder}: {len(records)} runs, {diverged} of them diverged, "
        f"{opened.torn_lines} line(s) cut off by an interruption and skipped"
    )


@runs_group.command("compare")
@click.argument("one")
@click.argument("other")
@click.option("--bootstrap", type=click.IntRange(1), default=1000, show_default=True, help="Resamples.")
@AS_JSON
@click.pass_context
def runs_compare(context: click.Context, one: str, other: str, bootstrap: int, as_json: bool) -> None:
    """Hold the exponents and losses of two stores against each other; exit status 1 where they differ."""
    from minichin import compare, runs

    found = compare.compare(runs.open_store(one), runs.open_store(other), bootstrap=bootstrap)
    click.echo(dumps(asdict(found)) if as_json else compare.text(found, one, other))
    if found.differ:
        context.exit(1)


@click.group("data")
def data_group() -> None:
    """List, fetch and check texts."""


@data_group.command("list")
def data_list() -> None:
    """List the texts that can be named."""
    from minichin import corpus

    for info in corpus.available():
        click.echo(f"{info.name}\n    {info.what} ({info.licence}){', cached' if info.cached else ''}")


@data_group.command("fetch")
@click.argument("name", default="enwik8")
def data_fetch(name: str) -> None:
    """Fetch a text into the cache, verified and cleaned; what is there is not fetched again."""
    from minichin import corpus

    path = corpus.fetch(name, progress=True)
    loaded = corpus.load(name)
    click.echo(f"{name}: {path}")
    if loaded.overlap is not None:
        click.echo(loaded.overlap.text())


@data_group.command("check")
@click.argument("name", default="enwik8")
def data_check(name: str) -> None:
    """Verify the checksums of a cached text."""
    from minichin import corpus

    click.echo(corpus.check(name))
