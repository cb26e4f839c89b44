"""Running the notebook templates with papermill, and proving afterwards that a copy is what it claims to be.

Decisions:
- papermill only logs a parameter that the notebook does not have, and saves a notebook whose cell failed. So
  names are checked before anything runs, the output goes to a temporary file, and only a copy that passes
  `verify_executed` is moved into place.
- The kernel is this interpreter, by a kernel specification of our own: whatever kernels the machine has
  registered under the name `python3` does not matter.
- An executed copy carries a stamp (`minichin` in its metadata). Timing metadata is taken out, so that equal
  inputs give equal files but for the stamp's date.
- A copy is current while its stamp's `key` stands: the hash of the template, of the parameters and of
  whatever else the caller names (the runs, the package's source).
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

STAMP = "minichin"
KERNEL = "minichin-book"
LANGUAGE = {"name": "python3", "display_name": "Python 3", "language": "python"}


class BookError(RuntimeError):
    """The book cannot be made: a cell failed, a copy is not what it should be, or the build warned."""


def read(path: Path) -> Any:
    """Read a notebook as nbformat 4; raise `ValueError` where the file is not one."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a notebook: {error}") from None


def source_hash(template: Path) -> str:
    """Hash what a template says: its cells' kinds, sources and metadata; outputs and counts do not matter."""
    cells = [[c.cell_type, c.source, c.metadata] for c in read(template).cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def tagged(notebook: Any, tag: str) -> list[Any]:
    """Return the cells that carry `tag`."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def parameters_of(template: Path) -> dict[str, Any]:
    """Return names and defaults of the template's `parameters` cell, which must hold literals only.

    papermill injects its own cell after this one, so a value derived here would keep its default.
    """
    cells = tagged(read(template), "parameters")
    if len(cells) != 1:
        raise ValueError(f"{template} has {len(cells)} cells tagged 'parameters'; it must have exactly one")
    found = {}
    for statement in ast.parse(cells[0].source).body:
        line = ast.unparse(statement)
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            raise ValueError(f"{template}: {line!r} in the parameters cell is not of the form name = literal")
        try:
            found[statement.targets[0].id] = ast.literal_eval(statement.value)
        except ValueError:
            raise ValueError(f"{template}: {line!r} in the parameters cell is not a literal") from None
    return found


def check_parameters(template: Path, given: Mapping[str, Any]) -> None:
    """Raise `ValueError`, naming the nearest match, for a parameter that the template does not have."""
    known = parameters_of(template)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise ValueError(f"{template.name} has no parameter {name!r}; {hint}")


@contextmanager
def own_kernel() -> Iterator[str]:
    """Register this interpreter as a kernel for the time of the block; yield the kernel's name.

    The kernel's own warnings (on how it talks to us) are kept off the terminal.
    """
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    inline = "module://matplotlib_inline.backend_inline"  # whatever MPLBACKEND says here: pages need figures
    spec = {
        "argv": [*launch, "--IPKernelApp.log_level=50"],
        "display_name": KERNEL,
        "language": "python",
        "env": {"MINICHIN_BOOK": "1", "MPLBACKEND": inline, "PYTHONHASHSEED": "0"},
    }
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "kernels", KERNEL)
        home.mkdir(parents=True)
        (home / "kernel.json").write_text(json.dumps(spec), "utf-8")
        os.environ["JUPYTER_PATH"] = folder + (os.pathsep + before if before else "")
        try:
            yield KERNEL
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before


def current(target: Path, key: str) -> bool:
    """Whether `target` is an executed copy whose stamp holds `key`."""
    if not target.is_file():
        return False
    try:
        return bool(read(target).metadata.get(STAMP, {}).get("key") == key)
    except ValueError:
        return False


def execute(
    template: Path, target: Path, parameters: Mapping[str, Any], *, stamp: Mapping[str, Any] | None = None
) -> None:
    """Run `template` with `parameters` in its own folder and put the verified copy at `target`.

    Nothing is left at `target` unless every cell ran. `stamp` is added to the copy's metadata. Raises
    `ValueError` for a parameter that the template lacks, `BookError` with the cell and error if one fails.
    """
    check_parameters(template, parameters)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".running-") as folder:
        running, started = Path(folder, target.name), time.monotonic()
        _run(template, running, parameters)
        seconds = time.monotonic() - started
        notebook = read(running)
        _clean(notebook)
        notebook.metadata[STAMP] = {
            **(stamp or {}),
            "source": source_hash(template),
            "parameters": dict(parameters),
            "seconds": round(seconds, 1),
        }
        nbformat.write(notebook, running)
        verify_executed(running, template)
        os.replace(running, target)


def _run(template: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """Let papermill run the template; turn its errors into a `BookError` that shows the cell."""
    from nbclient.exceptions import DeadKernelError

    with own_kernel() as kernel, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of papermill's own dependencies; cells run in another process
        import papermill
        from papermill.exceptions import PapermillExecutionError

        try:
            papermill.execute_notebook(
                template.resolve(),
                output.resolve(),
                parameters=dict(parameters),
                kernel_name=kernel,
                language="python",
                cwd=template.parent.resolve(),
                progress_bar=False,
                request_save_on_cell_execute=False,
            )
        except PapermillExecutionError as error:
            source = "\n".join(f"    {line}" for line in error.source.splitlines())
            raise BookError(
                f"{template.name}, cell [{error.exec_count}] failed:\n\n{source}\n\n"
                f"{error.ename}: {error.evalue}\n\n" + "\n".join(error.traceback)
            ) from None
        except DeadKernelError:
            raise BookError(
                f"{template.name}: the kernel died while running it; was there memory enough?"
            ) from None


def _clean(notebook: Any) -> None:
    """Take out what differs from run to run, and name the kernel that every Jupyter has."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = dict(LANGUAGE)
    for cell in notebook.cells:
        for name in ("papermill", "execution", "ExecuteTime"):
            cell.metadata.pop(name, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"


def verify_executed(path: Path, template: Path) -> None:
    """Raise `BookError` unless `path` is `template`, wholly executed.

    Guaranteed afterwards: its cells are the present template's, with at most papermill's own cell added right
    after the parameters; every code cell ran, in order; none gave an error.
    """
    notebook, source = read(path), read(template)
    stamp = notebook.metadata.get(STAMP, {})
    if stamp.get("source") != source_hash(template):
        raise BookError(f"{path} was not made from the present {template.name}; run the build again")
    injected = tagged(notebook, "injected-parameters")
    cells = [cell for cell in notebook.cells if cell not in injected]
    if [(c.cell_type, c.source) for c in cells] != [(c.cell_type, c.source) for c in source.cells]:
        raise BookError(f"{path} holds other cells than {template.name}; run the build again")
    if len(injected) > 1 or (injected and not _follows_parameters(notebook, injected[0])):
        raise BookError(f"{path}: the injected parameters do not stand right after the parameters cell")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if (counts := [cell.execution_count for cell in code]) != list(range(1, len(code) + 1)):
        raise BookError(f"{path}: its cells did not run once each, in order (counts {counts})")
    for cell in code:
        for output in cell.outputs:
            if output.output_type == "error":
                raise BookError(f"{path}, cell [{cell.execution_count}]: {output.ename}: {output.evalue}")


def _follows_parameters(notebook: Any, injected: Any) -> bool:
    """Whether the cell before `injected` is the parameters cell."""
    before = notebook.cells[notebook.cells.index(injected) - 1]
    return "parameters" in before.metadata.get("tags", [])
