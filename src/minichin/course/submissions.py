"""What was handed in: where it lies, and why a file cannot be graded at all.

A submission is FOLDER/STUDENT/NAME/NAME.ipynb, nbgrader's own layout; nothing else in FOLDER is looked at.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from minichin.course.limits import Limits
from minichin.course.release import NAME

MOST_CELLS = 2000


def submissions(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, str, Path]]:
    """Yield (student, assignment, notebook) of every folder FOLDER/STUDENT/NAME with a known NAME."""
    if (folder / "submitted").is_dir():
        folder = folder / "submitted"
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} of submissions")
    for student in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
        for name in names:
            if (student / name).is_dir() and not student.name.startswith("."):
                yield student.name, name, student / name / f"{name}.ipynb"


def problem(notebook: Path, limits: Limits) -> str:
    """Why a file cannot be graded; empty where it can."""
    student = notebook.parents[1].name
    if not NAME.fullmatch(student):
        return f"the folder name {student!a} is not made of letters, digits and . _ @ - only: rename it"
    if notebook.parent.is_symlink():
        return f"{notebook.parent.name} is no folder, but a link"
    try:
        about = notebook.lstat()
        if not stat.S_ISREG(about.st_mode):
            return f"{notebook.name} is no regular file"
        if about.st_size > limits.submission:
            size = about.st_size >> 20
            return f"{notebook.name} has {size} megabytes, more than the limit; clear its outputs"
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        if not isinstance(cells, list):
            return f"{notebook.name} holds no cells"
        return f"{notebook.name} has more than {MOST_CELLS} cells" if len(cells) > MOST_CELLS else ""
    except FileNotFoundError:
        return f"{notebook.name} is missing in the submission"
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        return f"{notebook.name} cannot be read as a notebook ({type(error).__name__})"
