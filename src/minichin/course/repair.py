"""A submission as nbgrader needs it, whatever was done to it: only what students write is taken from it.

Decisions
- What a cell is (its marks, whether it is a check) comes from the source, never from the submission.
- A check that is missing is put back; an answer that is missing becomes an empty one; of two cells with one
  name the first counts, the other is a cell like any other.
- Outputs, attachments and metadata of the submission are dropped.
"""

from __future__ import annotations

from typing import Any

import nbformat

MISSING = "raise NotImplementedError('this cell was missing in the submission')"


def _about(cell: Any) -> dict[str, Any]:
    about = cell.get("metadata", {}).get("nbgrader", {}) if isinstance(cell.get("metadata"), dict) else {}
    return about if isinstance(about, dict) else {}


def _text(cell: Any) -> str:
    source = cell.get("source", "")
    parts = source if isinstance(source, list) else [source]
    return "".join(part for part in parts if isinstance(part, str))


def _cell(kind: str, text: str) -> Any:
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    return make.get(kind, nbformat.v4.new_raw_cell)(text)


def repaired(submission: Any, source: Any) -> Any:
    """A valid notebook with the submission's text and the source's metadata; both as JSON holds them."""
    named = {_about(cell)["grade_id"]: cell for cell in source["cells"] if _about(cell).get("grade_id")}
    cells: list[Any] = []
    places: dict[str, Any] = {}
    for cell in submission["cells"]:
        if not isinstance(cell, dict):
            continue
        name = _about(cell).get("grade_id")
        known = named.get(name) if isinstance(name, str) and name not in places else None
        fresh = _cell(str((known or cell).get("cell_type")), _text(cell))
        if known:
            fresh.metadata["nbgrader"] = nbformat.from_dict(_about(known))
            places[str(name)] = fresh
        cells.append(fresh)
    before = None
    for name, known in named.items():
        if name not in places:
            own = _about(known).get("solution") or _about(known).get("task")
            fresh = _cell(known["cell_type"], MISSING if own else _text(known))
            fresh.metadata["nbgrader"] = nbformat.from_dict(_about(known))
            at = next(i for i, cell in enumerate(cells) if cell is before) + 1 if before is not None else 0
            cells.insert(at, fresh)
            places[name] = fresh
        before = places[name]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook
