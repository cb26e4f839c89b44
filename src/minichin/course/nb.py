"""What needs nbgrader: making student versions, grading one submission, writing its feedback.

Decisions
- Everything here runs in a process of its own: nbgrader is slow to import, changes the working folder and
  logs to handlers of its own.
- Each submission is graded in a private course folder with a private copy of the gradebook, so that it can
  neither see others nor harm the common one, whatever happens to it.
- Feedback shows what a check said, and neither its hidden part nor the traceback, which quotes it.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from minichin.course import box, sandbox
from minichin.course.lab import USER
from minichin.course.limits import Limits


def _quiet(log: Path) -> None:
    """Send what nbgrader says to the file `log`, let its dependencies' warnings be, and find alembic."""
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    os.environ["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    )
    warnings.simplefilter("ignore")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    logger = logging.getLogger("traitlets")
    logger.setLevel(logging.WARNING)
    logger.addHandler(logging.StreamHandler())


def _course(root: Path, assignment: str, student: str | None = None) -> tuple[Any, Any]:
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.assignment_id = assignment
    if student:
        config.CourseDirectory.student_id = student
    return CourseDirectory(config=config), config


def make_release(root: Path, names: list[str], log: Path) -> None:
    """Make release/NAME from source/NAME under `root`, and the gradebook, for each name.

    RuntimeError with nbgrader's own words where a source is not in order.
    """
    _quiet(log)
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException

    for name in names:
        coursedir, config = _course(root, name)
        try:
            GenerateAssignment(coursedir=coursedir, config=config, force=True).start()
        except (NbGraderException, RuntimeError) as reason:
            raise RuntimeError(f"the source of assignment {name} is not in order: {reason}") from None


def _private_course(place: Path, job: dict[str, Any]) -> Path:
    """A course folder that holds this one submission, its source and a copy of the gradebook."""
    import nbformat

    from minichin.course.repair import repaired

    root, name = place / "course", job["assignment"]
    shutil.copytree(Path(job["course"]) / "source" / name, root / "source" / name)
    shutil.copy(Path(job["course"]) / "gradebook.db", root / "gradebook.db")
    folder = root / "submitted" / job["student"] / name
    folder.mkdir(parents=True)
    source = root / "source" / name / f"{name}.ipynb"
    texts = [path.read_text("utf-8") for path in (Path(job["notebook"]), source)]
    nbformat.write(repaired(*map(json.loads, texts)), folder / f"{name}.ipynb")
    return root


def grade_one(job: dict[str, Any]) -> None:
    """Grade one submission in the folder `job["place"]`, and leave result.json there, and feedback.html."""
    box.die_with_parent()
    os.setsid()
    place, limits = Path(job["place"]), Limits(**job["limits"])
    _quiet(place / "grader.log")
    os.environ.pop(USER, None)
    from nbgrader.converters import Autograde, GenerateFeedback
    from nbgrader.preprocessors import Execute

    from minichin.course.execute import TAMPERED, BoxedExecute

    root = _private_course(place, job)
    sandbox.describe(place, job, limits)
    BoxedExecute.place, BoxedExecute.limits, BoxedExecute.nonce = place, limits, secrets.token_hex(8)
    coursedir, config = _course(root, job["assignment"], job["student"])
    config.OverwriteCells.add_missing_cells = True
    chain = [
        BoxedExecute if step is Execute else step for step in Autograde.autograde_preprocessors.default()
    ]
    Autograde(coursedir=coursedir, config=config, autograde_preprocessors=chain).start()
    result = _read_marks(root, job)
    result["ended"] = json.loads((place / "ended.json").read_text("utf-8"))
    result["tampered"] = result["ended"].startswith(TAMPERED)
    _hide(root, job)
    coursedir, config = _course(root, job["assignment"], job["student"])
    GenerateFeedback(coursedir=coursedir, config=config).start()
    html = root / "feedback" / job["student"] / job["assignment"] / f"{job['assignment']}.html"
    shutil.copy(html, place / "feedback.html")
    (place / "result.json").write_text(json.dumps(result), "utf-8")


def _autograded(root: Path, job: dict[str, Any]) -> Path:
    name = job["assignment"]
    return root / "autograded" / job["student"] / name / f"{name}.ipynb"


def _read_marks(root: Path, job: dict[str, Any]) -> dict[str, Any]:
    """The marks of every check, with what it said."""
    import nbformat
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as book:
        notebook = book.find_submission_notebook(job["assignment"], job["assignment"], job["student"])
        marks = {g.name: (float(g.auto_score or 0.0), float(g.max_score)) for g in notebook.grades}
    nb = nbformat.read(_autograded(root, job), as_version=4)
    said = {}
    for cell in nb.cells:
        about = cell.metadata.get("nbgrader", {})
        if about.get("grade") and cell.cell_type == "code":
            said[about["grade_id"]] = _said(cell)
    checks = [
        {"check": name, "score": score, "max": most, "said": said.get(name, "")}
        for name, (score, most) in marks.items()
    ]
    return {"checks": checks, "score": sum(c["score"] for c in checks), "max": sum(c["max"] for c in checks)}


def _said(cell: Any) -> str:
    """What a check told the student: its error, or what it printed."""
    for output in cell.outputs:
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue}"[:2000]
    texts = [output.text for output in cell.outputs if output.output_type == "stream"]
    return "".join(texts).strip()[:2000]


def _hide(root: Path, job: dict[str, Any]) -> None:
    """Keep the graded copy as it is, and make that from which feedback is written fit to be seen."""
    import nbformat

    from minichin.course.feedback import censor

    path, name = _autograded(root, job), job["assignment"]
    shutil.copy(path, Path(job["place"]) / "autograded.ipynb")
    nb = nbformat.read(path, as_version=4)
    source = nbformat.read(root / "source" / name / f"{name}.ipynb", as_version=4)
    censor(nb, {cell.source for cell in source.cells})
    os.chmod(path, 0o644)
    nbformat.write(nb, path)


def merge(course: Path, results: list[dict[str, Any]], log: Path) -> None:
    """Write the marks of `results` into the course's own gradebook, for nbgrader's other tools."""
    _quiet(log)
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        for result in results:
            name, student = result["assignment"], result["student"]
            book.update_or_create_student(student)
            book.update_or_create_submission(name, student)
            notebook = book.find_submission_notebook(name, name, student)
            marks = {check["check"]: check["score"] for check in result["checks"]}
            for grade in notebook.grades:
                grade.auto_score, grade.needs_manual_grade = marks.get(grade.name, 0.0), False
            book.db.commit()
