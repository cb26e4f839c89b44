"""The page that tells how the notebooks of a build were run, from the stamps that they carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEAD = """# How this book was run

Every notebook of this build, in order, with the time that it took and the digest of the source that was run.
None of them is older than its source: the build refuses such a copy.
Training is not in these times, since the sweep comes before the notebooks.
"""


def page(stamps: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of the page; `stamps` by notebook name in the order of the book (`templates.execute`)."""
    if not stamps:
        return HEAD + "\nThis build holds no executed notebooks.\n"
    last = max(stamps.values(), key=lambda stamp: str(stamp["date"]))
    lines = [HEAD, f"The profile is `{last['profile']}`."]
    if last["device"]:
        lines.append(f"Its runs were trained on: {last['device']}.")
    lines += [
        "",
        "| notebook | seconds | run on | profile | parameters | source |",
        "|---|---|---|---|---|---|",
    ]
    for name, stamp in stamps.items():
        given = ", ".join(f"`{key} = {value!r}`" for key, value in stamp["parameters"].items()) or "its own"
        row = [
            f"[](../notebooks/{name}.ipynb)",
            f"{stamp['seconds']:.1f}",
            stamp["date"],
            f"`{stamp['profile']}`",
            given,
            f"`{stamp['source'][:12]}`",
        ]
        lines.append(f"| {' | '.join(row)} |")
    total = sum(stamp["seconds"] for stamp in stamps.values())
    lines += ["", f"All together: {total:.0f} seconds.", "", "| software | version |", "|---|---|"]
    lines += [f"| {name} | {version} |" for name, version in last["versions"].items()]
    return "\n".join(lines) + "\n"
