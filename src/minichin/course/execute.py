"""nbgrader's `Execute`, with the kernel in a box and the checks made harder to cheat.

Decisions
- Only the kernel runs in the box. What judges its outputs runs outside, and reaches it by sockets.
- nbgrader gives full marks to a check without an error. So whatever did not run gets one: a cell that was
  tagged to be skipped, one behind a crash, one behind the time limit.
- A cell that gives marks in between must end in one number.
- When all is done canaries are asked: an error that must come back, checks that must fail, a number that must
  be shown. A notebook in which they do not sing has tampered with its judges, and earns nothing.
- Output beyond a limit is dropped, and far beyond it the kernel is ended.
"""

from __future__ import annotations

import ast
import json
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import zmq
from jupyter_client.manager import AsyncKernelManager
from nbclient.client import NotebookClient
from nbgrader.preprocessors import Execute
from nbgrader.utils import is_grade, is_locked

from minichin.course import box, probe
from minichin.course.limits import Limits

SCORE = re.compile(r"^(check\.)?marks\(", re.MULTILINE)
HIDDEN = re.compile("(BEGIN|END) HIDDEN TESTS")
LONGEST_MESSAGE = 8 << 20  # bytes; the kernel that sends a longer one is cut off
FLOOD = 20  # times the limit of output that end the kernel
CANARIES = (
    ("raise AssertionError('{nonce}')", "error", "{nonce}"),
    ("from minichin.course import check as _c\n_c.close('{nonce}', 1.0, 2.0)", "error", "{nonce} is 1"),
    ("from minichin.course import check as _c\n_c.that(False, '{nonce}')", "error", "{nonce}"),
    ("from minichin.course import check as _c\n_c.marks(0.5, 2, '{nonce}')", "execute_result", "0.5"),
)


def error(name: str, text: str) -> Any:
    """An error output, as a failed cell has it."""
    return nbformat.v4.new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


class BoxedManager(AsyncKernelManager):
    """Starts the kernel in the box that the configuration file describes."""

    box_config = ""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        """The box's command in front of the kernel's."""
        command = super().format_kernel_cmd(extra_arguments)
        return [sys.executable, "-I", str(Path(box.__file__)), self.box_config, *command]


class BoxedExecute(Execute):
    """Runs a notebook's cells in a kernel in the box; `place` and `limits` are set by the worker."""

    place = Path()
    limits = Limits()
    nonce = "canary"

    def create_kernel_manager(self) -> Any:
        """A manager whose kernel talks through sockets in the box's folder."""
        sockets = self.place / "sockets"
        manager = BoxedManager(
            kernel_name="python3",
            transport="ipc",
            ip=str(sockets / "k"),
            connection_file=str(sockets / "kernel.json"),
        )
        manager.box_config = str(self.place / "box.json")
        self.km = manager
        return manager

    def preprocess(self, nb: Any, resources: Any, km: Any = None) -> tuple[Any, Any]:
        """Run all cells that can be run; leave an error in every one that was not."""
        NotebookClient.__init__(self, nb, km)
        self.timeout, self.iopub_timeout = self.limits.cell, 5
        self.startup_timeout, self.shutdown_kernel = 60, "immediate"
        self.nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        self._check_assign_resources(resources)
        self.reset_execution_trackers()
        self.sent, self.ended = 0, ""
        locked = [cell.source for cell in nb.cells if cell.cell_type == "code" and is_locked(cell)]
        self.imports = probe.imports_of(locked)
        self.stored = set().union(*(probe.names_in(source, ast.Store) for source in locked))
        with (self.place / "kernel.err").open("wb") as log:
            try:
                with self.setup_kernel(stdout=subprocess.DEVNULL, stderr=log):
                    self.kc.iopub_channel.socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_MESSAGE)
                    self._run_all(nb)
            except RuntimeError as reason:  # the kernel did not start
                self.ended = self.ended or f"the kernel did not start ({reason})"
        (self.place / "ended.json").write_text(json.dumps(self.ended))
        _close_the_books(nb, self.ended)
        return nb, self.resources

    def _run_all(self, nb: Any) -> None:
        deadline = time.monotonic() + self.limits.notebook
        for index, cell in enumerate(nb.cells):
            if cell.cell_type != "code" or self.ended:
                continue
            left = deadline - time.monotonic()
            if left <= 1:
                self.ended = f"the notebook ran longer than its limit of {self.limits.notebook:g} seconds"
                break
            self.timeout = max(1, int(min(self.limits.cell, left)))
            if not is_grade(cell) or self._trusted(cell):
                self._run_one(cell, index)
            if is_grade(cell) and not self.ended:
                self._trusted(cell)
        if not self.ended and not self._canaries_sing():
            self.ended = TAMPERED

    def _trusted(self, cell: Any) -> bool:
        """Whether what judges is itself; otherwise the check gets an error, or all of them do."""
        nonce = secrets.token_hex(8)
        used = probe.names_in(cell.source, ast.Load) - self.stored
        asked = self._ask(probe.question(nonce, used, self.imports))
        answers = [
            output.data.get("text/plain", "") for output in asked if output.output_type == "execute_result"
        ]
        if answers == [repr(nonce)]:
            return True
        said = answers[0].strip("\"'").split("|") if len(answers) == 1 else []
        names = [what.removeprefix("name ") for what in said[1:] if what.startswith("name ")]
        if said[:1] == [nonce] and len(names) == len(said) - 1:
            text = f"your notebook gives the name {', '.join(names)} to something else: choose other names"
            cell.outputs = [error("NameTaken", f"this check uses {', '.join(names)}, but {text}")]
        elif not self.ended:
            self.ended = f"{TAMPERED} ({said[1]})" if said[:1] == [nonce] else MUTE
        return False

    def _ask(self, source: str) -> list[Any]:
        """The outputs of a cell of the grader's own."""
        cell = nbformat.v4.new_code_cell(source)
        self.nb.cells.append(cell)
        try:
            # stored: of a cell that is not, IPython asks the one before whether it ended in a quiet semicolon
            self.execute_cell(cell, len(self.nb.cells) - 1)
        except Exception as reason:
            self.ended = self.ended or f"the kernel ended before a check: {str(reason).partition(chr(10))[0]}"
        finally:
            self.nb.cells.pop()
        return list(cell.outputs)

    def _run_one(self, cell: Any, index: int) -> None:
        cell.metadata.pop("tags", None)
        source = cell.source
        if is_grade(cell):  # nothing shall tell the hidden part from the visible
            cell.source = "\n".join(line for line in source.split("\n") if not HIDDEN.search(line))
        try:
            self.execute_cell(cell, index)
        except Exception as reason:  # whatever the student's code does to the kernel
            short = str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
            if self.sent > FLOOD * self.limits.output:
                short = f"it printed more than {FLOOD * self.limits.output >> 20} megabytes"
            self.ended = f"the kernel ended in this cell or before: {self._word_of_the_box() or short}"
            cell.outputs.append(error("KernelEnded", self.ended))
        cell.source = source
        for output in cell.outputs:
            if output.output_type == "error" and output.ename == "CellTimeoutError":
                output.evalue = f"this cell ran longer than {self.timeout} seconds and was interrupted"
                output.traceback = [f"CellTimeoutError: {output.evalue}"]

    def _word_of_the_box(self) -> str:
        """Why the box ended the kernel, if it did."""
        lines = (self.place / "kernel.err").read_text("utf-8", "replace").splitlines()
        said = [line.removeprefix("box: ") for line in lines if line.startswith("box: ")]
        return said[-1][:200] if said else ""

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Count what is printed; drop what is beyond the limit."""
        if msg["msg_type"] in ("stream", "display_data", "execute_result", "update_display_data"):
            before = self.sent
            self.sent += len(repr(msg["content"]))
            if self.sent > FLOOD * self.limits.output:
                raise RuntimeError("too much output")
            if self.sent > self.limits.output:
                if before <= self.limits.output:
                    text = (
                        f"\n[more than {self.limits.output >> 10} kilobytes of output: the rest is dropped]\n"
                    )
                    cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=text))
                return None
        return super().process_message(msg, cell, cell_index)

    def _canaries_sing(self) -> bool:
        self.sent = 0
        for source, kind, wanted in CANARIES:
            shown = [o for o in self._ask(source.format(nonce=self.nonce)) if o.output_type == kind]
            text = wanted.format(nonce=self.nonce)
            if not any(text in (o.get("evalue") or o.get("data", {}).get("text/plain", "")) for o in shown):
                return False
        return True


MUTE = "the kernel no longer answers the grader's questions, so no check counts"
TAMPERED = "something in this notebook has changed how checks are judged, so no check counts"


def _close_the_books(nb: Any, ended: str) -> None:
    """Leave an error in every check that did not run, or that cannot be believed."""
    for cell in nb.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        failed = any(output.output_type == "error" for output in cell.outputs)
        if ended.startswith((TAMPERED, MUTE)) and is_grade(cell):
            cell.outputs = [error("NoChecks", ended)]
        elif cell.execution_count is None and not failed:
            cell.outputs = [error("NotRun", f"this cell was not run: {ended or 'it was skipped'}")]
        elif is_grade(cell) and not failed:
            for output in cell.outputs:  # nbgrader takes a warning for a failure
                if output.output_type == "stream":
                    output.name = "stdout"
            if not _believable(cell):
                cell.outputs.append(error("NoMarks", "this check should have ended in one number of marks"))
        if is_grade(cell) and any(output.output_type == "error" for output in cell.outputs):
            # nbgrader would take a number that was shown before the error for the marks
            cell.outputs = [o for o in cell.outputs if o.output_type != "execute_result"]


def _believable(cell: Any) -> bool:
    """Whether the cell shows as many results as it may, and no number beyond its marks."""
    results = [o.data.get("text/plain", "") for o in cell.outputs if o.output_type == "execute_result"]
    if len(results) > 1 or (SCORE.search(cell.source) and not results):
        return False
    try:
        return all(0 <= float(result) <= float(cell.metadata.nbgrader["points"]) for result in results)
    except ValueError:  # no number, but something that the check shows
        return not SCORE.search(cell.source)
