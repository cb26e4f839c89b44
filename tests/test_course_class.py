"""A class of simulated students, some of them hostile: every mark is as planted, and nothing else is harmed.

Each hostile notebook holds the right answers of the assignment `counting` but for the first, `param_parts`,
where it misbehaves. Without that answer two checks of forward_flops still hold: 5 of 20 marks.
"""

import csv
import hashlib
import html
import json
import os
import re
import socket
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from minichin.course.feedback import censor
from minichin.course.grade import grade
from minichin.course.limits import Limits
from minichin.course.release import release
from minichin.course.sandbox import have_namespaces

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
        os._exit(1)  # there are as many as there may be, and they go on
"""
SPY = """
import json, os, socket
facts, found = json.loads(FACTS), []
for path in facts["paths"]:
    if os.path.exists(path):
        found.append(path)
for family, address in ((socket.AF_INET, ("127.0.0.1", facts["port"])), (socket.AF_UNIX, facts["local"])):
    with socket.socket(family) as s:
        s.settimeout(2)
        try:
            s.connect(address)
            found.append(str(address))
        except OSError:
            pass
for name in facts["environment"]:
    if name in os.environ:
        found.append(name)
for pid in facts["processes"]:
    try:
        os.kill(pid, 0)
        if os.path.exists(f"/proc/{pid}") and pid > 100:
            found.append(str(pid))
    except OSError:
        pass
for top in facts["walk"]:
    for folder, inner, files in os.walk(top):
        inner[:] = [name for name in inner if name not in ("proc", "usr", "site-packages", ".pyenv", "lib")]
        for name in {"gradebook.db", "counting.ipynb", "counting.json", "box.json"} & set(files):
            found.append(os.path.join(folder, name))
            open(found[-1], "a").close()
        if folder.endswith("sockets"):
            try:
                open(os.path.join(folder, "x"), "w").close()
                found.append(folder)
            except OSError:
                pass
"""
TELL = "\nprint('FOUND', json.dumps(found))\n"
COPY = "\nfor _text in In: print(_text)\nprint(In)\n"
PAGE = """
from IPython.display import HTML, Javascript, Latex, display
display(HTML('<b id="evil">20 of 20</b>'), Latex('<script>evil()</script>'), Javascript('evil()'))
print('<script>evil()</script>')
"""


def look_back(nb: Any) -> None:
    """The last answer prints all that was run before."""
    cell_of(nb, "exponents").source += COPY


def write_markup(nb: Any) -> None:
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("<script>evil()</script>"))
    nb.cells.insert(0, nbformat.v4.new_raw_cell("<script>evil()</script>"))


CLASS = {
    "right": Planted(),
    "semicolon": Planted(RIGHT + "param_parts(8, 1, 10);"),
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
    "spies": Planted(SPY + TELL + RIGHT),
    "looks-back": Planted(change=look_back),
    "paints": Planted(PAGE + RIGHT, change=write_markup),
    "formula": Planted(WRONG.replace("{}", "'=1+1'"), REST, told="=1+1"),
    "odd name, with blanks": Planted(score=0, status="not graded", told="rename it"),
    "missing": Planted(score=0, status="not graded", told="is missing", change=lambda nb: b"(none)"),
    "link": Planted(score=0, status="not graded", told="no regular file", change=lambda nb: b"(link)"),
    "linked-folder": Planted(score=0, status="not graded", told="but a link", change=lambda nb: b"(folder)"),
    "no-cells": Planted(score=0, change=no_cells),
    "invalid-json": Planted(
        score=0, status="not graded", told="cannot be read", change=lambda nb: b"{'cells':"
    ),
    "empty-file": Planted(score=0, status="not graded", told="cannot be read", change=lambda nb: b""),
    "huge": Planted(score=0, status="not graded", told="megabytes", change=huge),
    "last": Planted(),
}


def notebook(course: Path, planted: Planted, facts: str) -> bytes:
    """The submission of a planted student; `facts` stand in place of (FACTS)."""
    source = nbformat.read(SOURCE, as_version=4)
    right = {
        cell.metadata.nbgrader["grade_id"]: cell.source
        for cell in source.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }
    nb = nbformat.read(course / "release" / "counting" / "counting.ipynb", as_version=4)
    for grade_id, text in {**right, "param-parts": planted.code.replace("(FACTS)", f"({facts})")}.items():
        cell_of(nb, grade_id).source = text
    changed = planted.change(nb) if planted.change else None
    return changed if isinstance(changed, bytes) else json.dumps(nb).encode()


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder with the released assignment."""
    folder = tmp_path_factory.mktemp("course")
    release(folder, wanted=["counting"], say=lambda line: None)
    return folder


@dataclass(frozen=True)
class Class:
    """A graded class: its folders, its results by student, and what the spy was told to look for."""

    folder: Path
    out: Path
    results: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    before: dict[str, str]


def digests(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def hand_in(folder: Path, student: str, text: bytes) -> None:
    """Write one submission, or what stands in its place."""
    place = folder / student / "counting"
    place.parent.mkdir(parents=True)
    if text == b"(folder)":
        place.symlink_to(folder / "right" / "counting")
        return
    place.mkdir()
    if text == b"(link)":
        (place / "counting.ipynb").symlink_to(folder / "right" / "counting" / "counting.ipynb")
    elif text != b"(none)":
        (place / "counting.ipynb").write_bytes(text)


@pytest.fixture(scope="module")
def klass(course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """The simulated class, graded once."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("graded")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0minichin-{os.getpid()}")
        local.listen()
        facts = {
            "paths": [str(path) for path in (SOURCE, Path(__file__), folder / "right", out, course)],
            "port": server.getsockname()[1],
            "local": f"\0minichin-{os.getpid()}",
            "environment": ["MINICHIN_TEST_SECRET"],
            "processes": [os.getpid()],
            "walk": [] if UNBOXED else ["/"],
        }
        for student, planted in CLASS.items():
            if not (planted.boxed and UNBOXED):
                hand_in(folder, student, notebook(course, planted, repr(json.dumps(facts))))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MINICHIN_TEST_SECRET", "gold")
            before = digests(folder)
            results = grade(folder, out, wanted=["counting"], workers=2, limits=LIMITS, say=print)
            yield Class(folder, out, {result["student"]: result for result in results}, facts, before)


@pytest.mark.parametrize("student", CLASS)
def test_every_mark_is_as_planted(klass: Class, student: str) -> None:
    planted = CLASS[student]
    if planted.boxed and UNBOXED:
        pytest.skip(f"dangerous where notebooks cannot be shut in: {UNBOXED}")
    result = klass.results[student]
    told = "\n".join([result["why"], *(check["said"] for check in result["checks"])])
    assert (result["score"], result["status"]) == (planted.score, planted.status), told
    assert planted.told in told


def test_a_notebook_sees_nothing_of_the_machine_and_of_the_others(klass: Class, tmp_path: Path) -> None:
    if UNBOXED:
        pytest.skip(f"notebooks cannot be shut in here: {UNBOXED}")
    graded = (klass.out / "autograded" / "spies" / "counting.ipynb").read_text("utf-8")
    outputs = [
        o["text"] for cell in json.loads(graded)["cells"] for o in cell.get("outputs", []) if "text" in o
    ]
    assert [line for text in outputs for line in "".join(text).splitlines() if "FOUND" in line] == [
        "FOUND []"
    ]


def test_the_spy_finds_what_is_there_to_be_found(klass: Class, tmp_path: Path) -> None:
    """Without the box each of its ways works; otherwise the test before this one would show nothing."""
    (tmp_path / "sockets").mkdir()
    (tmp_path / "gradebook.db").touch()
    facts = {**klass.facts, "walk": [str(tmp_path)]}
    space: dict[str, Any] = {"FACTS": json.dumps(facts)}
    exec(SPY, space)
    wanted = [*facts["paths"], str(("127.0.0.1", facts["port"])), facts["local"], *facts["environment"]]
    wanted += [str(os.getpid()), str(tmp_path / "gradebook.db"), str(tmp_path / "sockets")]
    assert space["found"] == wanted


def test_submissions_and_gradebook_are_unharmed(klass: Class) -> None:
    from nbgrader.api import Gradebook

    assert digests(klass.folder) == klass.before
    marked = {name: result["score"] for name, result in klass.results.items() if result["checks"]}
    with Gradebook(f"sqlite:///{klass.out / 'course' / 'gradebook.db'}") as book:
        in_book = {s.student.id: s.score for s in book.assignment_submissions("counting")}
    assert in_book == marked


def test_everybody_has_a_row_and_a_page_that_says_why(klass: Class) -> None:
    with (klass.out / "marks.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(klass.results)
    for student, row in rows.items():
        result, page = klass.results[student], (klass.out / row["feedback"]).read_text("utf-8")
        assert float(row["score"]) == result["score"]
        if not result["checks"]:
            assert result["why"].split("(")[0].strip() in html.unescape(page)
        for check in result["checks"]:
            said = check["said"].split("\n")[0].strip()
            assert check["score"] == check["max"] or html.escape(said, quote=False) in page
            assert check["score"] == check["max"] or said
    assert rows["endless"]["feedback"] == "feedback/endless/counting.html"


def test_a_table_holds_no_formula(klass: Class) -> None:
    with (klass.out / "checks.csv").open(encoding="utf-8", newline="") as file:
        cells = [value for row in csv.DictReader(file) for value in row.values()]
    assert any("=1+1" in cell for cell in cells)
    assert [cell for cell in cells if cell.startswith(tuple("=+-@"))] == []


def hidden_lines() -> list[str]:
    """The lines of the hidden tests that nobody may read: those that no visible line holds anyway."""
    lines, seen, inside = [], "", False
    for cell in graded(nbformat.read(SOURCE, as_version=4)):
        for line in cell.source.split("\n"):
            inside = (inside or "BEGIN HIDDEN" in line) and "END HIDDEN" not in line
            if inside and "HIDDEN" not in line and len(line.strip()) >= 12:
                lines.append(line.strip())
            elif not inside:
                seen += line + "\n"
    found = [line for line in lines if line not in seen]
    assert len(found) > len(lines) / 2
    return found


@pytest.mark.parametrize("student", ["right", "wrong", "looks-back"])
def test_feedback_repeats_no_hidden_test(klass: Class, student: str) -> None:
    page = (klass.out / "feedback" / student / "counting.html").read_text("utf-8")
    shown = re.sub("<[^>]*>", "", page)
    for line in hidden_lines():
        for form in {line, repr(line)[1:-1]}:
            assert html.escape(form, quote=False) not in shown
            assert form not in html.unescape(shown)
    told = (klass.out / "autograded" / student / "counting.ipynb").read_text("utf-8")
    assert json.dumps(hidden_lines()[0])[1:-1] in told  # the instructor's copy has them


def test_feedback_shows_what_the_visible_checks_show() -> None:
    """A line of the hidden part that the visible part has as well is no secret."""
    lines = ["check.close(", "    1, 1", ")", "### BEGIN HIDDEN TESTS", "check.close("]
    source = "\n".join([*lines, "    secret_number", ")", "### END HIDDEN TESTS"])
    graded_cell = nbformat.v4.new_code_cell(source, metadata={"nbgrader": {"grade": True}})
    mine = nbformat.v4.new_code_cell("print(1)")
    said = "check.close( and secret_number"
    mine.outputs = [nbformat.v4.new_output("stream", text=said)]
    notebook = nbformat.v4.new_notebook(cells=[graded_cell, mine])
    censor(notebook, set())
    assert mine.outputs[0].text == "check.close( and (hidden)"


def test_feedback_is_safe_to_open(klass: Class) -> None:
    page = (klass.out / "feedback" / "paints" / "counting.html").read_text("utf-8")
    assert "evil()" in page
    assert "<script>evil" not in page
    assert 'id="evil"' not in re.sub("<pre>.*?</pre>", "", page, flags=re.DOTALL)
