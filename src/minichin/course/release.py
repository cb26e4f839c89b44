"""From one source to what students get: the course folder, made by nbgrader.

Decisions
- An assignment is one notebook, NAME.ipynb, with nbgrader's marks round solutions and hidden tests. Student
  versions are made from it and never edited.
- The instructor's folder wins over the public sources, name by name: there lie the solutions and hidden
  tests that must stay secret.
- The course folder is nbgrader's own layout (source, release, gradebook.db), so its other tools work on it.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minichin.cache import tree_hash
from minichin.course import hidden

NAMES = ("counting", "sweeping", "approaches", "surface", "capstone")
STAMP = "course.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
Say = Callable[[str], None]


def need_nbgrader() -> None:
    """Raise ValueError where nbgrader is not installed, with what to type."""
    if find_spec("nbgrader") is None:
        raise ValueError(
            'nbgrader is not installed: pip install "minichin[course]" (in a clone: ".[course]")'
        )


def public_sources() -> Path:
    """The folder of this version's assignments."""
    from minichin.book import repository

    return repository() / "notebooks" / "assignments"


def sources(given: Path | None = None) -> dict[str, Path]:
    """Name -> source notebook; those of the folder `given` win over the public ones."""
    found: dict[str, Path] = {}
    folders = [given] if given else []
    try:
        folders.insert(0, public_sources())
    except ValueError:
        if not given:
            raise ValueError(
                "the assignments' sources lie in a clone of minichin, in notebooks/assignments: "
                "run this there, or name a folder with --source"
            ) from None
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder of assignments")
        for path in sorted([*folder.glob("*.ipynb"), *folder.glob("*/*.ipynb")]):
            if path.parent in (folder, folder / path.stem):
                found[path.stem] = path
    if not found:
        raise ValueError(f"there is no assignment (NAME.ipynb) in {' or '.join(map(str, folders))}")
    order = {name: place for place, name in enumerate(NAMES)}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def choose(given: Path | None, wanted: Sequence[str]) -> dict[str, Path]:
    """The sources of the assignments `wanted`, all where none is named."""
    found = sources(given)
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ValueError(f"there is no assignment {unknown[0]!r}; there are {', '.join(found)}")
    return {name: path for name, path in found.items() if not wanted or name in wanted}


def _digest(chosen: Mapping[str, Path]) -> str:
    """A hash of all that the sources consist of."""
    total = hashlib.sha256()
    for name, path in chosen.items():
        files = [f for f in path.parent.rglob("*") if f.is_file()] if path.parent.name == name else [path]
        total.update(f"{name}:{tree_hash(files, path.parent)}".encode())
    return total.hexdigest()


def prepare(course: Path, chosen: Mapping[str, Path]) -> str:
    """Make the course folder from the sources unless it is current; return the sources' hash."""
    need_nbgrader()
    digest, stamp = _digest(chosen), course / STAMP
    if stamp.is_file() and json.loads(stamp.read_text("utf-8")).get("sources") == digest:
        return digest
    for part in ("source", "release", "gradebook.db"):
        path = course / part
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name, path in chosen.items():
        folder = course / "source" / name
        if path.parent.name == name:
            shutil.copytree(path.parent, folder)
        else:
            folder.mkdir(parents=True)
            shutil.copy(path, folder / path.name)
    in_process("make_release", course, list(chosen), course / "release.log")
    stamp.write_text(json.dumps({"sources": digest, "assignments": list(chosen)}) + "\n", "utf-8")
    return digest


def in_process(function: str, *arguments: Any) -> None:
    """Call a function of `minichin.course.nb` in a process of its own; RuntimeError where it fails."""
    context = servers()
    theirs, ours = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(ours, function, arguments))
    process.start()
    ours.close()
    try:
        problem = theirs.recv()
    except EOFError:
        problem = f"the process ended without a word (see {arguments[-1]})"
    process.join()
    if problem:
        raise RuntimeError(problem)


def servers() -> Any:
    """Processes that come from one which has nbgrader imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["minichin.course.warm"])
    return context


def _call(answer: Any, function: str, arguments: tuple[Any, ...]) -> None:
    from minichin.course import nb

    try:
        getattr(nb, function)(*arguments)
        answer.send("")
    except Exception as reason:
        answer.send(f"{reason}" or type(reason).__name__)


def read_secret(path: Path | None) -> bytes | None:
    """The instructor's secret: the bytes of a file, at least 16 of them."""
    if path is None:
        return None
    secret = path.read_bytes().strip()
    if len(secret) < 16:
        raise ValueError(
            f"the secret in {path} has {len(secret)} bytes; take 16 or more, for example 32 random"
        )
    return secret


def read_students(path: Path) -> list[str]:
    """User names, one a line; empty lines and lines that begin with # do not count."""
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    names = [line for line in lines if line and not line.startswith("#")]
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"the user name {name!r} in {path} is not made of letters, digits and . _ @ - only"
            )
    return names


def release(
    course: Path,
    given: Path | None = None,
    wanted: Sequence[str] = (),
    secret: Path | None = None,
    students: Path | None = None,
    say: Say = print,
) -> None:
    """Make the student versions under `course`/release and, with a secret, a ticket for each student."""
    if (secret is None) != (students is None):
        raise ValueError("--secret and --students go together: tickets are made by the one for the others")
    chosen = choose(given, wanted)
    prepare(course, chosen)
    for name in chosen:
        say(f"{name}: {course / 'release' / name / f'{name}.ipynb'}")
    key = read_secret(secret)
    if key and students:
        names = read_students(students)
        for name in names:
            folder = course / "tickets" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hidden.TICKET).write_text(hidden.make_ticket(name, key), "utf-8")
        say(f"{len(names)} tickets: {course / 'tickets'}")
