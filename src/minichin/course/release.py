"""Student versions of the assignments, made from their one source by nbgrader's own preprocessors."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import nbformat


def student_version(source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return `source` without solutions, hidden tests and outputs, its checks locked; needs nbgrader."""
    steps = import_module("nbgrader.preprocessors")

    notebook = nbformat.from_dict(source)
    for step in (
        steps.LockCells,
        steps.ClearSolutions,
        steps.ClearOutput,
        steps.ComputeChecksums,
        steps.ClearHiddenTests,
        steps.CheckCellMetadata,
    ):
        notebook, _ = step().preprocess(notebook, {"nbgrader": {"assignment": "", "notebook": ""}})
    return notebook


def release(source: Path, target: Path) -> list[Path]:
    """Write the student version of every notebook of the folder `source` into `target`; return the files."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(source.glob("*.ipynb")):
        notebook = student_version(nbformat.read(path, as_version=4))
        nbformat.write(notebook, target / path.name)
        written.append(target / path.name)
    return written
