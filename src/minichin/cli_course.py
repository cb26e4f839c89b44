"""The part of the command line for coursework: course release, course grade."""

from __future__ import annotations

from pathlib import Path

import click

SOURCE = click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder with sources of your own; they win over the public ones of the same name.",
)
SECRET = click.option(
    "--secret", type=click.Path(path_type=Path), help="File with the key of the hidden laws."
)
ASSIGNMENT = click.option("--assignment", "names", multiple=True, help="Only this one; repeatable.")


@click.group("course")
def course_group() -> None:
    """Release assignments to students, and grade what they hand in (needs the extra `course`)."""


@course_group.command("release")
@click.argument("course", metavar="FOLDER", type=click.Path(path_type=Path))
@ASSIGNMENT
@SOURCE
@SECRET
@click.option(
    "--students", type=click.Path(path_type=Path), help="User names, one a line, to make tickets for."
)
def release_command(
    course: Path, names: tuple[str, ...], source: Path | None, secret: Path | None, students: Path | None
) -> None:
    """Make the student versions of the assignments in FOLDER/release, from their one source."""
    from minichin.course.release import release

    release(course, source, names, secret, students, say=click.echo)


@course_group.command("grade")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the results (default: FOLDER-graded)."
)
@ASSIGNMENT
@SOURCE
@SECRET
@click.option("--workers", type=click.IntRange(1), help="Submissions at a time (default: one a core).")
@click.option("--cell-limit", type=float, default=60.0, show_default=True, help="Seconds for one cell.")
@click.option("--time-limit", type=float, default=300.0, show_default=True, help="Seconds for one notebook.")
@click.option("--memory", type=float, default=4.0, show_default=True, help="Gigabytes for one notebook.")
@click.option(
    "--sandbox",
    type=click.Choice(["auto", "namespaces", "none"]),
    default="auto",
    show_default=True,
    help="Shut notebooks in where the system permits, refuse where it does not, or do not try.",
)
def grade_command(
    folder: Path,
    out: Path | None,
    names: tuple[str, ...],
    source: Path | None,
    secret: Path | None,
    workers: int | None,
    cell_limit: float,
    time_limit: float,
    memory: float,
    sandbox: str,
) -> None:
    """Grade FOLDER/STUDENT/NAME/NAME.ipynb, each in a box of its own; run again to go on."""
    from minichin.course.grade import grade
    from minichin.course.limits import Limits

    limits = Limits(cell=cell_limit, notebook=time_limit, memory=int(memory * 2**30))
    grade(
        folder,
        out,
        source,
        names,
        secret=secret,
        workers=workers,
        limits=limits,
        sandbox=sandbox,
        say=click.echo,
    )
