"""The assignments, from their one source to marks, with real nbgrader.

Each assignment NAME has tests/assignments/NAME.json with typical wrong solutions: for each its answers (cells
by grade_id, the others are the reference's) and the marks of the checks that should not get all of theirs.
"""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from minichin.course.grade import grade
from minichin.course.release import release, sources

FIXTURES = Path(__file__).parent / "assignments"
SOURCES = sources()
WRONG = {name: json.loads((FIXTURES / f"{name}.json").read_text("utf-8")) for name in SOURCES}
TYPICAL = [(name, student) for name in SOURCES for student in list(WRONG[name])[:3]]
OTHERS = [(name, student) for name in SOURCES for student in list(WRONG[name])[3:]]
Marks = dict[tuple[str, str], dict[str, Any]]


def about(cell: Any) -> dict[str, Any]:
    """A cell's nbgrader metadata."""
    return dict(cell.metadata.get("nbgrader", {}))


def hand_in(folder: Path, student: str, name: str, notebook: Any) -> None:
    """Put a notebook where the grader looks for it."""
    place = folder / student / name
    place.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, place / f"{name}.ipynb")


def solved(course: Path, name: str, answers: dict[str, str] | None = None) -> Any:
    """The student version with the reference's answers, and with `answers` instead where they are given."""
    answers = answers or {}
    source = nbformat.read(SOURCES[name], as_version=4)
    right = {about(c)["grade_id"]: c.source for c in source.cells if about(c).get("solution")}
    assert set(answers) <= set(right)
    notebook = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if about(cell).get("solution"):
            cell.source = answers.get(about(cell)["grade_id"], right[about(cell)["grade_id"]])
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The course folder with all released assignments."""
    folder = tmp_path_factory.mktemp("course")
    release(folder, say=lambda line: None)
    return folder


@pytest.fixture(scope="module")
def marks(course: Path, tmp_path_factory: pytest.TempPathFactory) -> Marks:
    """The results of the reference, the empty notebook and three wrong ones, by (assignment, student)."""
    folder = tmp_path_factory.mktemp("class")
    for name in SOURCES:
        hand_in(folder, "reference", name, solved(course, name))
        hand_in(
            folder, "empty", name, nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
        )
    for name, student in TYPICAL:
        hand_in(folder, student, name, solved(course, name, WRONG[name][student]["answers"]))
    return by_student(grade(folder, tmp_path_factory.mktemp("graded"), say=lambda line: None))


@pytest.fixture(scope="module")
def other_marks(course: Path, tmp_path_factory: pytest.TempPathFactory) -> Marks:
    """The results of the other wrong solutions."""
    folder = tmp_path_factory.mktemp("others")
    for name, student in OTHERS:
        hand_in(folder, student, name, solved(course, name, WRONG[name][student]["answers"]))
    return by_student(grade(folder, tmp_path_factory.mktemp("graded"), say=lambda line: None))


def by_student(results: list[dict[str, Any]]) -> Marks:
    """Results by (assignment, student)."""
    return {(result["assignment"], result["student"]): result for result in results}


def as_intended(marks: Marks, name: str, student: str) -> None:
    """Whether a wrong solution has the marks that its file says, and was told why."""
    result, wrong = marks[name, student], WRONG[name][student]
    full = {check["check"]: check["max"] for check in result["checks"]}
    assert points(result) == {**full, **wrong["marks"]}
    for check in result["checks"]:
        for word in wrong.get("told", {}).get(check["check"], []):
            assert word in check["said"]


def points(result: dict[str, Any]) -> dict[str, float]:
    """Marks by check."""
    return {check["check"]: check["score"] for check in result["checks"]}


@pytest.mark.parametrize("name", SOURCES)
def test_what_students_get_holds_no_solution_and_no_hidden_test(course: Path, name: str) -> None:
    text = (course / "release" / name / f"{name}.ipynb").read_text("utf-8")
    student = nbformat.reads(text, as_version=4)
    for word in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS"):
        assert word not in text
    source = nbformat.read(SOURCES[name], as_version=4)
    released = {about(c)["grade_id"]: c.source for c in student.cells if about(c)}
    for cell in source.cells:
        secret, inside = [], False
        for line in cell.source.split("\n"):
            inside = inside and "### END" not in line
            if inside and len(line.strip()) > 12:
                secret.append(line.strip())
            inside = inside or "### BEGIN" in line
        shown = released.get(about(cell).get("grade_id", ""), "").split("\n")
        assert not set(secret) & {line.strip() for line in shown}
    assert all(not cell.get("outputs") for cell in student.cells)
    graded = [about(cell) for cell in student.cells if about(cell).get("grade")]
    assert graded
    assert all(cell["locked"] and cell["points"] > 0 for cell in graded)


@pytest.mark.parametrize("name", SOURCES)
def test_the_reference_earns_full_marks_and_the_empty_notebook_none(marks: Marks, name: str) -> None:
    right, empty = marks[name, "reference"], marks[name, "empty"]
    assert points(right) == {check["check"]: check["max"] for check in right["checks"]}
    assert right["max"] == 20
    assert set(points(empty).values()) == {0.0}


@pytest.mark.parametrize(("name", "student"), TYPICAL)
def test_a_typical_wrong_solution_earns_the_marks_intended(marks: Marks, name: str, student: str) -> None:
    as_intended(marks, name, student)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "student"), OTHERS)
def test_other_wrong_solutions_earn_the_marks_intended(other_marks: Marks, name: str, student: str) -> None:
    as_intended(other_marks, name, student)


def test_every_assignment_has_three_wrong_solutions() -> None:
    assert {name: len(wrong) >= 3 for name, wrong in WRONG.items()} == dict.fromkeys(SOURCES, True)
