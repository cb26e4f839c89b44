"""The commands of coursework: going on after an interruption, secret sources and tickets, what is refused."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner

from minichin.cli import cli
from minichin.course import hidden
from minichin.course.grade import basis
from minichin.course.limits import Limits
from minichin.course.release import release
from minichin.course.sandbox import have_namespaces

MINICHIN = [sys.executable, "-c", "from minichin.cli import main; main()"]
SECRET_TEST = "check.that(answer == 42, 'it is not what it should be', 'count the mice')"


def _cell(grade_id: str, source: str, **about: Any) -> Any:
    cell = nbformat.v4.new_code_cell(source, id=grade_id)
    base = {"grade": False, "locked": True, "solution": False, "task": False, "schema_version": 3}
    cell.metadata["nbgrader"] = {**base, "grade_id": grade_id, **about}
    return cell


def _assignment(folder: Path, name: str = "tiny", test: str = SECRET_TEST) -> Path:
    """A source with one answer and one check of two marks, with a hidden part."""
    cells = [
        _cell("setup", "from minichin.course import check"),
        _cell("answer", "### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION", locked=False, solution=True),
        _cell(
            "answer-check",
            "check.that(answer > 0, 'answer should be positive')\n"
            f"### BEGIN HIDDEN TESTS\n{test}\n### END HIDDEN TESTS",
            grade=True,
            points=2,
        ),
    ]
    folder.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / f"{name}.ipynb")
    return folder


def _hand_in(folder: Path, student: str, answer: str, name: str = "tiny") -> None:
    place = folder / student / name
    place.mkdir(parents=True, exist_ok=True)
    cells = [
        _cell("setup", "from minichin.course import check"),
        _cell("answer", answer, locked=False, solution=True),
        _cell("answer-check", "check.that(answer > 0, '')", grade=True, points=2),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / f"{name}.ipynb")


def _rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "marks.csv").open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def _run(*arguments: object) -> str:
    done = CliRunner().invoke(cli, ["course", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the source of the assignment `tiny`."""
    return _assignment(tmp_path / "secret")


def test_the_secret_folder_is_used_and_its_hidden_tests_reach_no_student(
    source: Path, tmp_path: Path
) -> None:
    _run("release", tmp_path / "course", "--source", source, "--assignment", "tiny")
    released = (tmp_path / "course" / "release" / "tiny" / "tiny.ipynb").read_text("utf-8")
    assert "should be positive" in released
    assert "mice" not in released
    assert "answer = 42" not in released
    _hand_in(tmp_path / "in", "good", "answer = 42")
    _hand_in(tmp_path / "in", "bad", "answer = 41")
    _run("grade", tmp_path / "in", "--source", source, "--assignment", "tiny", "--out", tmp_path / "out")
    rows = _rows(tmp_path / "out")
    assert {student: float(row["score"]) for student, row in rows.items()} == {"good": 2.0, "bad": 0.0}
    for student in rows:
        page = (tmp_path / "out" / rows[student]["feedback"]).read_text("utf-8")
        assert "answer == 42" not in page
        assert ("it is not what it should be" in page) == (student == "bad")


def test_a_source_of_ones_own_wins_over_the_public_one(tmp_path: Path) -> None:
    _assignment(tmp_path / "own", "counting")
    _run("release", tmp_path / "course", "--source", tmp_path / "own", "--assignment", "counting")
    assert "answer-check" in (tmp_path / "course/release/counting/counting.ipynb").read_text("utf-8")


def test_only_what_changed_is_graded_again(source: Path, tmp_path: Path) -> None:
    for student, answer in {"ada": "answer = 42", "bea": "answer = 1", "cem": "answer = 2"}.items():
        _hand_in(tmp_path / "in", student, answer)
    command = ("grade", tmp_path / "in", "--source", source, "--assignment", "tiny")
    assert "3 of 3 submissions are to be graded" in _run(*command)
    assert "are to be graded" not in _run(*command)
    _hand_in(tmp_path / "in", "bea", "answer = 42")
    again = _run(*command)
    assert "1 of 3 submissions are to be graded" in again
    assert "bea tiny: 2 of 2" in again
    assert {s: float(row["score"]) for s, row in _rows(tmp_path / "in-graded").items()} == {
        "ada": 2.0,
        "bea": 2.0,
        "cem": 0.0,
    }
    _assignment(source, test="check.that(answer == 2, 'not two')")
    assert "3 of 3 submissions are to be graded" in _run(*command)
    assert float(_rows(tmp_path / "in-graded")["cem"]["score"]) == 2


def test_another_minichin_grades_anew(tmp_path: Path) -> None:
    """What a result depends on has the package's code in it, since checks call it."""
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "check.py").write_text("1")

    def now(cell: float = 60, secret: bytes | None = None) -> str:
        return basis("sources", tmp_path, Limits(cell=cell), secret)

    before = now()
    assert now() == before
    assert len({before, now(cell=1), now(secret=b"s")}) == 3
    (tmp_path / "course" / "check.py").write_text("2")
    assert now() != before


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupted_grading_goes_on_and_leaves_no_process(
    source: Path, tmp_path: Path, how: signal.Signals
) -> None:
    _hand_in(tmp_path / "in", "a-first", "answer = 42")
    _hand_in(tmp_path / "in", "b-slow", f"import time\ntime.sleep(30)  # {tmp_path}\nanswer = 42")
    words = ["course", "grade", str(tmp_path / "in"), "--source", str(source), "--assignment", "tiny"]
    command = [*MINICHIN, *words, "--workers", "1", "--cell-limit", "40"]
    before = _kernels()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    first = tmp_path / "in-graded" / "results" / "a-first" / "tiny.json"
    _until(lambda: first.exists() and _kernels() - before)
    process.send_signal(how)
    assert process.wait(60) != 0
    _until(lambda: not _kernels() - before)
    assert json.loads(first.read_text("utf-8"))["score"] == 2
    _hand_in(tmp_path / "in", "b-slow", "answer = 42")
    said = _run(*words[1:], "--cell-limit", "40")
    assert "1 of 2 submissions are to be graded" in said
    assert {s: float(row["score"]) for s, row in _rows(tmp_path / "in-graded").items()} == {
        "a-first": 2.0,
        "b-slow": 2.0,
    }


def _kernels() -> set[str]:
    """The ids of boxes that run kernels on this machine."""
    done = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=", "-o", "args="], capture_output=True, text=True, check=True
    )
    return {
        line.split()[0] for line in done.stdout.splitlines() if "box.json" in line and "ipykernel" in line
    }


def _until(true: Any) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen within a minute")


def test_tickets_are_made_for_each_student_and_used_by_the_grader(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(os.urandom(32))
    (tmp_path / "names").write_text("# the class\nada\n\nbea\n")
    source = _assignment(tmp_path / "own", test="check.that(answer == 42, 'no')")
    _run(
        "release", tmp_path / "course", "--source", source, "--assignment", "tiny",
        "--secret", tmp_path / "key", "--students", tmp_path / "names",
    )  # fmt: skip
    tickets = {name: tmp_path / "course" / "tickets" / name / hidden.TICKET for name in ("ada", "bea")}
    laws = {name: hidden.open_ticket(name, path)[0] for name, path in tickets.items()}
    assert laws["ada"] != laws["bea"]
    ask = "from minichin.course import Lab\nprint(repr(Lab('x').train(1e8, 1e9).loss))\nanswer = 42"
    for name in laws:
        _hand_in(tmp_path / "in", name, ask)
    out = tmp_path / "out"
    _run(
        "grade", tmp_path / "in", "--source", source, "--assignment", "tiny",
        "--secret", tmp_path / "key", "--out", out,
    )  # fmt: skip
    for name, law in laws.items():
        cells = json.loads((out / "autograded" / name / "tiny.ipynb").read_text("utf-8"))["cells"]
        (loss,) = [
            float("".join(o["text"])) for cell in cells for o in cell.get("outputs", []) if "text" in o
        ]
        assert loss == pytest.approx(float(law.value(1e8, 1e9)), abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["release", "c", "--assignment", "none"], "there is no assignment 'none'"),
        (["release", "c", "--secret", "in"], "go together"),
        (["grade", "nowhere"], "there is no folder"),
        (["grade", "in"], "there is no submission"),
        (["grade", "in", "--out", "in/out"], "must not lie among the submissions"),
        (["grade", "in", "--time-limit", "0"], "must be positive"),
        (["grade", "in", "--source", "nowhere"], "is no folder of assignments"),
        (["grade", "in", "--secret", "short"], "16 or more"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "short").write_text("abc")
    done = subprocess.run([*MINICHIN, "course", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_told_how_notebooks_run(source: Path, tmp_path: Path) -> None:
    _hand_in(tmp_path / "in", "ada", "answer = 42")
    command = ("grade", tmp_path / "in", "--source", source, "--assignment", "tiny")
    said = _run(*command, "--sandbox", "none")
    assert "WARNING: notebooks run with your rights" in said
    assert "ada tiny: 2 of 2" in said
    if why := have_namespaces():
        pytest.skip(f"notebooks cannot be shut in here: {why}")
    _hand_in(tmp_path / "in", "bea", "answer = 42")
    assert "without network" in _run(*command, "--sandbox", "namespaces")


def test_a_source_that_is_not_in_order_is_told(tmp_path: Path) -> None:
    source = _assignment(tmp_path / "own")
    text = (source / "tiny.ipynb").read_text("utf-8").replace("### END SOLUTION", "")
    (source / "tiny.ipynb").write_text(text, "utf-8")
    with pytest.raises(RuntimeError, match="tiny is not in order"):
        release(tmp_path / "course", source, ["tiny"])
