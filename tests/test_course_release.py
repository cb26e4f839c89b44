"""Released assignments hold no solution and no hidden test; the source itself runs."""

from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbgrader")
from minichin.course.release import release

SOURCE = Path(__file__).resolve().parents[1] / "notebooks" / "assignments"


def code(path: Path) -> str:
    """All code of a notebook."""
    return "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")


def test_release(tmp_path: Path) -> None:
    """No solution, no hidden test is released; the visible checks are; the empty notebook fails them."""
    names = sorted(path.name for path in SOURCE.glob("*.ipynb"))
    assert names
    assert [path.name for path in release(SOURCE, tmp_path)] == names
    for name in names:
        text = code(tmp_path / name)
        assert "SOLUTION" not in text
        assert "HIDDEN" not in text
        assert "assert" in text
        exec(code(SOURCE / name), {})
        with pytest.raises(NotImplementedError):
            exec(text, {})
