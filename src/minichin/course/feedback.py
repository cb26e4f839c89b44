"""What of a graded notebook the student may see, made safe for whoever opens it.

Decisions
- Hidden tests are cut out of the checks, together with tracebacks, which quote them, and every line of them
  that some output repeats as it stands.
- Pages are opened by instructors, too: outputs keep text and images; markup and scripts are dropped.
"""

from __future__ import annotations

import html
import re
from typing import Any

HIDDEN = ("BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
SHORTEST = 12  # characters of a hidden line that is worth hiding where it is repeated
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
IMAGES = ("image/png", "image/jpeg")
TEXTS = ("text", "evalue")


def split_hidden(source: str) -> tuple[str, list[str]]:
    """The source without its hidden tests, and their lines."""
    kept: list[str] = []
    cut: list[str] = []
    inside = False
    for line in source.split("\n"):
        if HIDDEN[0] in line:
            inside = True
            kept.append("# (hidden checks)")
        (cut if inside else kept).append(line)
        inside = inside and HIDDEN[1] not in line
    return "\n".join(kept), [line.strip() for line in cut if len(line.strip()) >= SHORTEST]


def _scrub(text: str, secrets: list[str]) -> str:
    for line in secrets:
        text = text.replace(line, "(hidden)")
    return text


def _safe(output: Any, secrets: list[str], *, graded: bool) -> None:
    """Leave text and images in an output."""
    for key in TEXTS:
        if key in output:
            output[key] = _scrub(str(output[key]), secrets)
    if output.output_type == "error":
        plain = [f"{output.ename}: {output.evalue}"]
        output.traceback = plain if graded else [_scrub(str(line), secrets) for line in output.traceback]
    if "data" in output:
        images = {key: output.data[key] for key in IMAGES if BASE64.fullmatch(str(output.data.get(key, "<")))}
        texts = {key: _scrub(str(output.data[key]), secrets) for key in ("text/plain",) if key in output.data}
        output.data, output.metadata = {**texts, **images}, {}


def censor(nb: Any, trusted: set[str]) -> None:
    """Make a graded notebook fit for students' eyes; `trusted` are the texts that the source has."""
    code = [split_hidden(cell.source) for cell in nb.cells if cell.cell_type == "code"]
    seen = "\n".join(kept for kept, cut in code if cut)  # what checks show anyway, such as the head of a call
    found = [line for _, cut in code for line in cut if line not in seen]
    lines = sorted({*found, *(repr(line)[1:-1] for line in found)}, key=len, reverse=True)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = split_hidden(cell.source)[0]
            for output in cell.outputs:
                _safe(output, lines, graded=bool(cell.metadata.get("nbgrader", {}).get("grade")))
        elif cell.source not in trusted:
            cell.source = html.escape(cell.source, quote=False)
