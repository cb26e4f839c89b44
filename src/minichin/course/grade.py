"""Grading many submissions: one process each, bounded in time, and nothing that one does reaches the others.

Decisions
- Every submission is graded in a new folder outside of FOLDER, by a process that is ended from outside when
  it takes too long; whatever becomes of it, a result is written and the next one starts.
- A result is kept under the hash of all that it depends on, this package included, so that the same command
  goes on where it was stopped, and grades anew only what changed.
- Whether the boxes hide this machine from the notebooks is tried out first, and told.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from minichin.cache import replacing, tree_hash
from minichin.course import hidden
from minichin.course.limits import Limits
from minichin.course.release import Say, choose, in_process, prepare, read_secret, servers
from minichin.course.report import write_reports
from minichin.course.sandbox import choose_sandbox, engine
from minichin.course.submissions import problem, submissions


@dataclass
class Task:
    """One submission to grade; `result` is filled in when it is done."""

    student: str
    assignment: str
    notebook: Path
    key: str
    result: dict[str, Any] = field(default_factory=dict)
    place: Path = Path()
    process: Any = None
    started: float = 0.0


def basis(course: str, package: Path, limits: Limits, secret: bytes | None) -> str:
    """A hash of all that every result depends on: sources, this package, limits, secret."""
    code = tree_hash(package.rglob("*.py"), package)
    hashed = hashlib.sha256(secret or b"").hexdigest()
    return hashlib.sha256(f"{course}:{code}:{asdict(limits)}:{hashed}".encode()).hexdigest()


class Grader:
    """Grades the submissions of one folder into another."""

    def __init__(
        self, out: Path, given: Path | None, wanted: Sequence[str], secret: Path | None, limits: Limits
    ) -> None:
        self.out, self.limits = out, limits
        self.course = out / "course"
        self.secret = read_secret(secret)
        self.sources = choose(given, wanted)
        course = prepare(self.course, self.sources)
        self.basis = basis(course, Path(__file__).parents[1], limits, self.secret)
        self.readonly, self.environment = engine()
        self.namespaces = False

    def key(self, student: str, name: str, notebook: Path) -> str:
        """A hash of all that one result depends on."""
        total = hashlib.sha256(f"{self.basis}:{student}:{name}".encode("utf-8", "surrogateescape"))
        if not problem(notebook, self.limits):
            total.update(notebook.read_bytes())
        return total.hexdigest()

    def result_file(self, task: Task) -> Path:
        """Where a task's result is kept."""
        return self.out / "results" / task.student / f"{task.assignment}.json"

    def stored(self, task: Task) -> dict[str, Any] | None:
        """The result that is there already, if it is of this very submission and the grader did not fail."""
        try:
            result: dict[str, Any] = json.loads(self.result_file(task).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return result if result.get("key") == task.key and result["status"] != "grader failed" else None

    def start(self, task: Task, context: Any) -> None:
        """Start the process that grades `task`."""
        task.place = Path(tempfile.mkdtemp(prefix="mc-"))
        task.place.chmod(0o755)  # the box's user must reach its sockets
        job = {
            "place": str(task.place),
            "course": str(self.course.resolve()),
            "assignment": task.assignment,
            "student": task.student,
            "notebook": str(task.notebook.resolve()),
            "ticket": hidden.make_ticket(task.student, self.secret) if self.secret else "",
            "namespaces": self.namespaces,
            "readonly": self.readonly,
            "environment": self.environment,
            "limits": asdict(self.limits),
        }
        task.process = context.Process(target=_grade_one, args=(job,))
        task.process.start()
        task.started = time.monotonic()

    def finish(self, task: Task, late: bool) -> None:
        """Take the result of a process that ended, or was ended; keep it and remove its folder."""
        seconds = time.monotonic() - task.started
        try:
            result = json.loads((task.place / "result.json").read_text("utf-8"))
            result["status"] = "stopped early" if result["ended"] else "graded"
            result["status"] = "tampered" if result.pop("tampered") else result["status"]
            result["why"] = result.pop("ended")
            for kind, suffix in (("feedback", "html"), ("autograded", "ipynb")):
                target = self.out / kind / task.student / f"{task.assignment}.{suffix}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(task.place / f"{kind}.{suffix}", target)
        except (OSError, ValueError):
            why = f"it took longer than {self.limits.wall:g} seconds" if late else _last_words(task.place)
            result = {"status": "grader failed", "why": f"the submission could not be graded: {why}"}
            if (task.place / "grader.log").is_file():
                (self.out / "logs").mkdir(parents=True, exist_ok=True)
                shutil.copy(
                    task.place / "grader.log", self.out / "logs" / f"{task.student}-{task.assignment}.log"
                )
        self.keep(task, result, seconds)
        shutil.rmtree(task.place, ignore_errors=True)

    def keep(self, task: Task, result: dict[str, Any], seconds: float) -> None:
        """Write a result, whole or not at all."""
        result = {"checks": [], "score": 0.0, "max": None, **result}
        about = {"key": task.key, "student": task.student, "assignment": task.assignment}
        task.result = {**about, "seconds": round(seconds, 2), **result}
        path = self.result_file(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_text(json.dumps(task.result, indent=1) + "\n", "utf-8")

    def run(self, tasks: list[Task], workers: int, say: Say) -> None:
        """Grade all tasks, `workers` at a time; whatever was begun is ended when this is interrupted."""
        context, waiting = servers(), list(tasks)
        running: list[Task] = []
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    task = waiting.pop(0)
                    self.start(task, context)
                    running.append(task)
                time.sleep(0.05)
                for task in list(running):
                    late = time.monotonic() - task.started > self.limits.wall
                    if task.process.is_alive() and not late:
                        continue
                    _end(task)
                    self.finish(task, late)
                    running.remove(task)
                    say(line(task.result))
        finally:
            for task in running:
                _end(task)
                shutil.rmtree(task.place, ignore_errors=True)


def line(result: dict[str, Any]) -> str:
    """One line on a result."""
    of = f" of {result['max']:g}" if result["max"] else ""
    why = f": {result['why']}" if result["why"] else ""
    student = result["student"].encode("utf-8", "backslashreplace").decode()  # any bytes can name a folder
    return f"{student} {result['assignment']}: {result['score']:g}{of} ({result['status']}{why})"


def _grade_one(job: dict[str, Any]) -> None:
    from minichin.course import nb

    nb.grade_one(job)


def _end(task: Task) -> None:
    """End a task's process and its group; the box's processes end with it."""
    if task.process.is_alive():
        for end in (lambda: os.killpg(task.process.pid, signal.SIGKILL), task.process.kill):
            try:
                end()
            except (ProcessLookupError, PermissionError):
                continue
    task.process.join()


def _last_words(place: Path) -> str:
    try:
        lines = (place / "grader.log").read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][-300:] if lines else "its process ended without a word"


def grade(
    folder: Path,
    out: Path | None = None,
    given: Path | None = None,
    wanted: Sequence[str] = (),
    *,
    secret: Path | None = None,
    workers: int | None = None,
    limits: Limits | None = None,
    sandbox: str = "auto",
    say: Say = print,
) -> list[dict[str, Any]]:
    """Grade every submission under `folder` into `out` (default: FOLDER-graded); return all results."""
    out = out or folder.parent / f"{folder.name}-graded"
    if out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents:
        raise ValueError(f"the results must not lie among the submissions: choose another --out than {out}")
    limits = limits or Limits()
    grader = Grader(out, given, wanted, secret, limits)
    found = list(submissions(folder, list(grader.sources)))
    if not found:
        raise ValueError(f"there is no submission STUDENT/NAME/NAME.ipynb in {folder}")
    tasks = [Task(s, name, path, grader.key(s, name, path)) for s, name, path in found]
    todo = []
    for task in tasks:
        stored = grader.stored(task)
        if stored:
            task.result = stored
        elif why := problem(task.notebook, limits):
            grader.keep(task, {"status": "not graded", "why": why}, 0.0)
            say(line(task.result))
        else:
            todo.append(task)
    if todo:
        say(f"{len(todo)} of {len(tasks)} submissions are to be graded")
        grader.namespaces = choose_sandbox(sandbox, say)
        grader.run(todo, workers or os.cpu_count() or 1, say)
    results = [task.result for task in tasks]
    graded = [result for result in results if result["checks"]]
    if graded:
        in_process("merge", grader.course, graded, out / "merge.log")
    write_reports(out, results)
    say(f"{len(graded)} of {len(results)} submissions have marks: {out / 'marks.csv'}")
    return results
