"""A class of simulated students, some of them hostile: every mark is as planted, and nothing else is harmed.

Each hostile notebook holds the right answers of the assignment `counting` but for the first, `param_parts`,
where it misbehaves. Without that answer two checks of forward_flops still hold: 5 of 20 marks.
"""

import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from minichin.course.grade import grade, have_namespaces
from minichin.course.limits import Limits
from minichin.course.release import release

SOURCE = Path(__file__).resolve().parents[1] / "notebooks" / "assignments" / "counting.ipynb"
UNBOXED = have_namespaces()
LIMITS = Limits(cell=5, notebook=20, memory=2 << 30, disk=32 << 20, output=1 << 18)
ALL, REST = 20.0, 5.0  # marks with a right param_parts, and without any

RIGHT = """
def param_parts(width, depth, vocab):
    return {
        "embedding": vocab * width,
        "attention": depth * 4 * width * width,
        "feed_forward": depth * 8 * width * width,
        "norms": (2 * depth + 1) * width,
    }
"""
WRONG = "def param_parts(width, depth, vocab):\n    return {}\n"


@dataclass(frozen=True)
class Planted:
    """One student: what stands in place of the first answer, and what must come of it."""

    code: str = RIGHT
    score: float = ALL
    status: str = "graded"
    told: str = ""  # somewhere in the reason or in what the checks said
    change: Callable[[Any], Any] | None = None  # of the notebook; its bytes where it returns some
    boxed: bool = False  # dangerous outside of the box


def attack(code: str, then: str = RIGHT) -> str:
    """Code that swallows its own errors, and then an answer."""
    body = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    return f"try:\n{body}\nexcept BaseException:\n    pass\n{then}"


def cell_of(nb: Any, grade_id: str) -> Any:
    """The cell with this grade_id."""
    return next(cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def graded(nb: Any) -> list[Any]:
    """The cells with checks."""
    return [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade")]


def rewrite_checks(nb: Any) -> None:
    for cell in graded(nb):
        cell.source = "print('all is well')"


def delete_checks(nb: Any) -> None:
    nb.cells = [cell for cell in nb.cells if cell not in graded(nb)]


def raise_points(nb: Any) -> None:
    for cell in graded(nb):
        cell.metadata.nbgrader["points"] = 100


def unlock_checks(nb: Any) -> None:
    for cell in graded(nb):
        cell.metadata.nbgrader.update(grade=False, locked=False, solution=True)


def skip_checks(nb: Any) -> None:
    for cell in graded(nb):
        cell.metadata["tags"] = ["skip-execution", "raises-exception"]


def forge_outputs(nb: Any) -> None:
    for cell in graded(nb):
        data = {"text/plain": str(float(cell.metadata.nbgrader["points"]))}
        cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
        cell.execution_count = 1


def double_ids(nb: Any) -> None:
    for grade_id in ("param-parts-small", "forward-flops"):
        copy = nbformat.from_dict(cell_of(nb, grade_id))
        copy.source = "pass"
        nb.cells.append(copy)


def other_kernel(nb: Any) -> None:
    nb.metadata["kernelspec"] = {"name": "bash", "display_name": "evil", "language": "bash"}


def no_cells(nb: Any) -> None:
    nb.cells = []


def huge(nb: Any) -> bytes:
    cell_of(nb, "param-parts")["outputs"] = [nbformat.v4.new_output("stream", text="x" * (50 << 20))]
    return json.dumps(nb).encode()


SHOWN_TWO = "import sys\n" + WRONG.replace("return", "sys.displayhook(2.0)\n    return")
PATCHED = "from minichin.course import check as c\nc.close = c.that = c.keys = lambda *a, **k: None\n"
PATCHED_ANSWER = "from minichin.shape import ModelShape\nModelShape.param_breakdown = lambda self: {}\n"
FORK_BOMB = """
import os
while True:
    try:
        if os.fork() == 0:
            while True:
                try: os.fork()
                except OSError: pass
    except OSError:
        break
"""
CLASS = {
    "right": Planted(),
    "wrong": Planted(WRONG, REST, told="lacks the key"),
    "raises": Planted("1 / 0", REST, told="NameError"),
    "exits": Planted("import os; os._exit(0)", 0, "stopped early", "kernel ended"),
    "segfaults": Planted("import ctypes; ctypes.string_at(0)", 0, "stopped early", "kernel ended"),
    "endless": Planted("while True: pass", REST, told="NameError"),
    "stubborn": Planted(
        "import signal; signal.signal(2, signal.SIG_IGN)\nwhile True: pass", 0, "stopped early"
    ),
    "floods": Planted("while True: print('x' * 100_000)", 0, "stopped early", "megabytes"),
    "swallows-memory": Planted("x = []\nwhile True: x.append(bytearray(1 << 26))", REST, told="NameError"),
    "fork-bomb": Planted(FORK_BOMB, 0, "stopped early", boxed=True),
    "fills-disk": Planted(
        attack("import os\nfor i in range(100):\n    open(f'f{i}', 'wb').write(bytes(1 << 24))"), boxed=True
    ),
    "deletes": Planted(
        attack("import os; os.system('rm -rf --no-preserve-root ~ / 2>/dev/null')"), boxed=True
    ),
    "patches-check": Planted(PATCHED + WRONG, 0, "tampered", "changed how checks are judged"),
    "shadows-check": Planted("class check:\n    that = close = keys = print\n" + WRONG, 0, told="check"),
    "shadows-sum": Planted("sum = lambda x: 164_288\n" + WRONG, 2, told="uses sum"),
    "patches-package": Planted(PATCHED_ANSWER + WRONG, 0, "tampered", "changed how checks are judged"),
    "shows-marks": Planted(SHOWN_TWO, REST, told="lacks the key"),
    "rewrites-checks": Planted(WRONG, REST, told="lacks the key", change=rewrite_checks),
    "deletes-checks": Planted(WRONG, REST, change=delete_checks),
    "raises-points": Planted(WRONG, REST, change=raise_points),
    "unlocks-checks": Planted(WRONG, REST, change=unlock_checks),
    "skips-checks": Planted(WRONG, REST, change=skip_checks),
    "forges-outputs": Planted(WRONG, REST, change=forge_outputs),
    "double-ids": Planted(change=double_ids),
    "other-kernel": Planted(change=other_kernel),
    "no-cells": Planted(score=0, change=no_cells),
    "invalid-json": Planted(
        score=0, status="not graded", told="cannot be read", change=lambda nb: b"{'cells':"
    ),
    "empty-file": Planted(score=0, status="not graded", told="cannot be read", change=lambda nb: b""),
    "huge": Planted(score=0, status="not graded", told="megabytes", change=huge),
    "last": Planted(),
}


def notebook(course: Path, planted: Planted) -> bytes:
    """The submission of a planted student."""
    source = nbformat.read(SOURCE, as_version=4)
    right = {
        cell.metadata.nbgrader["grade_id"]: cell.source
        for cell in source.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    nb = nbformat.read(course / "release" / "counting" / "counting.ipynb", as_version=4)
    for grade_id, text in {**right, "param-parts": planted.code}.items():
        cell_of(nb, grade_id).source = text
    changed = planted.change(nb) if planted.change else None
    return changed if isinstance(changed, bytes) else json.dumps(nb).encode()


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder with the released assignment."""
    folder = tmp_path_factory.mktemp("course")
    release(folder, wanted=["counting"], say=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def klass(
    course: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, dict[str, Any]]]:
    """The folders of submissions and of results, and the results by student."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("graded")
    only = os.environ.get("ONLY", "").split()
    for student, planted in CLASS.items():
        if (planted.boxed and UNBOXED) or (only and student not in only):
            continue
        place = folder / student / "counting"
        place.mkdir(parents=True)
        (place / "counting.ipynb").write_bytes(notebook(course, planted))
    results = grade(folder, out, wanted=["counting"], workers=2, limits=LIMITS, say=print)
    return folder, out, {result["student"]: result for result in results}


@pytest.mark.parametrize("student", CLASS)
def test_every_mark_is_as_planted(klass: tuple[Path, Path, dict[str, dict[str, Any]]], student: str) -> None:
    planted = CLASS[student]
    if planted.boxed and UNBOXED:
        pytest.skip(f"dangerous where notebooks cannot be shut in: {UNBOXED}")
    result = klass[2][student]
    told = "\n".join([result["why"], *(check["said"] for check in result["checks"])])
    assert (result["score"], result["status"]) == (planted.score, planted.status), told
    assert planted.told in told
