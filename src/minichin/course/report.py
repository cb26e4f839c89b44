"""Results as tables and pages: marks.csv, checks.csv, and a page for what could not be graded."""

from __future__ import annotations

import csv
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minichin.cache import replacing

MARKS = ("student", "assignment", "score", "max", "status", "why", "seconds", "feedback")
CHECKS = ("student", "assignment", "check", "score", "max", "said")


def _plain(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple("=+-@\t\r")) else value


def _write(path: Path, columns: Sequence[str], rows: list[dict[str, Any]]) -> None:
    with (
        replacing(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.DictWriter(file, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows({key: _plain(value) for key, value in row.items()} for row in rows)


def write_reports(out: Path, results: list[dict[str, Any]]) -> None:
    """Write marks.csv (one row a submission) and checks.csv (one row a check), and the missing feedback."""
    rows = []
    for result in results:
        page = out / "feedback" / result["student"] / f"{result['assignment']}.html"
        if not result["checks"]:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(_page(result), "utf-8")
        rows.append({**result, "feedback": page.relative_to(out).as_posix()})
    _write(out / "marks.csv", MARKS, rows)
    checks = [
        {"student": result["student"], "assignment": result["assignment"], **check}
        for result in results
        for check in result["checks"]
    ]
    _write(out / "checks.csv", CHECKS, checks)


def _page(result: dict[str, Any]) -> str:
    """Feedback on what could not be graded."""
    title = html.escape(f"{result['assignment']}: no marks")
    why = html.escape(result["why"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title}</h1><p>{why}.</p></html>\n"
    )
