"""Running templates: wrong names are told first, failures leave nothing, copies are what they claim."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from minichin import book, templates
from minichin.templates import BookError
from tests.extension import load

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = 'profile = "smoke"\nstore = ""\nseed = 0'


def write(path: Path, *cells: str, parameters: str = PARAMETERS) -> Path:
    """Write a small template; cells that begin with `#` and a space are Markdown."""
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}, id="parameters")
    rest = [
        (nbformat.v4.new_markdown_cell if text.startswith("# ") else nbformat.v4.new_code_cell)(
            text, id=f"c{i}"
        )
        for i, text in enumerate(cells)
    ]
    metadata = {"kernelspec": {"name": "no-such-kernel", "display_name": "None", "language": "python"}}
    path.parent.mkdir(exist_ok=True, parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *rest], metadata=metadata), path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A template and its executed copy."""
    folder = tmp_path_factory.mktemp("executed")
    code = (
        "import os, sys\n(sys.executable, os.environ['MINICHIN_BOOK'], os.path.basename(os.getcwd()), seed)"
    )
    template = write(folder / "notebooks" / "x.ipynb", "# Title", code)
    target = folder / "out" / "x.ipynb"
    templates.execute(template, target, {"seed": 7}, stamp={"profile": "smoke", "key": "abc"})
    return template, target


def test_kernel_is_this_interpreter(executed: tuple[Path, Path]) -> None:
    """A template runs under this interpreter and in its own folder, whatever kernel it names."""
    result = templates.read(executed[1]).cells[-1].outputs[0].data["text/plain"]
    assert result == str((sys.executable, "1", "notebooks", 7))


def test_copy_is_stamped_and_free_of_timing(executed: tuple[Path, Path]) -> None:
    """The copy says what it was made from, names the usual kernel, and holds no timing of its cells."""
    template, target = executed
    notebook = templates.read(target)
    stamp = notebook.metadata["minichin"]
    assert stamp["source"] == templates.source_hash(template)
    assert stamp["parameters"] == {"seed": 7}
    assert (stamp["profile"], stamp["key"]) == ("smoke", "abc")
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert "papermill" not in target.read_text("utf-8")
    assert [p.name for p in target.parent.iterdir()] == ["x.ipynb"]


def test_copy_is_current_only_under_its_key(executed: tuple[Path, Path]) -> None:
    """A copy counts as current for the key that it was made with, and for no other."""
    assert templates.current(executed[1], "abc")
    assert not templates.current(executed[1], "abd")
    assert not templates.current(executed[1].with_name("missing.ipynb"), "abc")


def test_whole_copy_is_accepted(executed: tuple[Path, Path]) -> None:
    """`verify_executed` accepts what `execute` made."""
    templates.verify_executed(executed[1], executed[0])


def _unrun(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].execution_count = None


def _reorder(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].execution_count, notebook.cells[1].execution_count = 2, 1


def _fail(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].outputs = [
        nbformat.v4.new_output("error", ename="KeyError", evalue="'a'", traceback=[])
    ]


def _edit(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[-1].source += "  # tampered"


def _move(notebook: nbformat.NotebookNode) -> None:
    notebook.cells.insert(0, notebook.cells.pop(1))
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = number


def _older(notebook: nbformat.NotebookNode) -> None:
    notebook.metadata["minichin"]["source"] = "0" * 64


@pytest.mark.parametrize("spoil", [_unrun, _reorder, _fail, _edit, _move, _older], ids=lambda f: f.__name__)
def test_spoilt_copy_is_refused(
    spoil: Callable[[nbformat.NotebookNode], None], executed: tuple[Path, Path], tmp_path: Path
) -> None:
    """`verify_executed` refuses a copy with a cell unrun, out of order, failed, edited, moved or outdated."""
    notebook = templates.read(executed[1])
    spoil(notebook)
    spoilt = tmp_path / "x.ipynb"
    nbformat.write(notebook, spoilt)
    with pytest.raises(BookError, match=r"x\.ipynb"):
        templates.verify_executed(spoilt, executed[0])


def test_misspelt_parameter_is_told_before_anything_runs(tmp_path: Path) -> None:
    """A parameter that the template does not have is refused with the nearest name, and no cell runs."""
    template = write(tmp_path / "x.ipynb", f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(ValueError, match="no parameter 'sede'; did you mean 'seed'"):
        templates.execute(template, tmp_path / "out.ipynb", {"sede": 1})
    assert not (tmp_path / "ran").exists()


def test_failing_cell_stops_and_leaves_the_last_good_copy(tmp_path: Path) -> None:
    """A failing cell raises with its source and error; the copy that stood at the target stays as it was."""
    template = write(tmp_path / "x.ipynb", "1 + 1", "answer = {}['no such key']", "3 + 3")
    target = tmp_path / "out" / "x.ipynb"
    target.parent.mkdir()
    target.write_text("the last good copy")
    with pytest.raises(BookError, match=r"(?s)x\.ipynb, cell \[4\].*answer = .*KeyError: 'no such key'"):
        templates.execute(template, target, {"seed": 1})
    assert target.read_text() == "the last good copy"
    assert [p.name for p in target.parent.iterdir()] == ["x.ipynb"]


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [("seed = 2 * 3", "not a literal"), ("seed = other", "not a literal"), ("import os", "name = literal")],
)
def test_parameters_must_be_literals(tmp_path: Path, parameters: str, complaint: str) -> None:
    """A derived value in the parameters cell is refused: papermill's own cell would come too late for it."""
    with pytest.raises(ValueError, match=complaint):
        templates.parameters_of(write(tmp_path / "x.ipynb", parameters=parameters))


def test_profile_and_bootstrap_are_passed_where_the_template_has_them(tmp_path: Path) -> None:
    """The book passes the profile, and more resamples where a template takes them; no default twice."""
    plain = write(tmp_path / "a.ipynb")
    fitted = write(tmp_path / "b.ipynb", parameters=f"{PARAMETERS}\nbootstrap = 200")
    assert book.parameters_for(plain, "smoke") == {}
    assert book.parameters_for(plain, "cpu") == {"profile": "cpu"}
    assert book.parameters_for(fitted, "cpu") == {"profile": "cpu", "bootstrap": book.BOOTSTRAP}
    assert book.parameters_for(fitted, "smoke", given={"bootstrap": 10}) == {"bootstrap": 10}
    assert book.parameters_for(plain, "smoke", given={"bootstrap": 10}) == {}


def test_parameter_that_no_notebook_has_is_refused() -> None:
    """The book refuses a parameter that no template has, naming the nearest, and one that is an option."""
    with pytest.raises(ValueError, match="no notebook has a parameter 'sede'; did you mean 'seed'"):
        book.check_given(ROOT, {"sede": 1})
    with pytest.raises(ValueError, match="use --profile"):
        book.check_given(ROOT, {"profile": "cpu"})


def _clone(folder: Path, index: str) -> Path:
    """A repository with one chapter, one notebook, and this book's configuration and extension."""
    write(folder / "notebooks" / "x.ipynb", "# X", "from myst_nb import glue\nglue('a', 0.5, display=False)")
    for name in (
        "_config.yml",
        "book/_ext/minichin_book.py",
        "book/_ext/minichin_math.py",
        "book/_static/minichin.css",
        "book/references.bib",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/x\n", "utf-8"
    )
    (folder / "book" / "index.md").write_text(index, "utf-8")
    return folder


def test_missing_number_fails_the_build_and_leaves_the_last_good_book(tmp_path: Path) -> None:
    """A number that no notebook gives fails the build by name, and what was built before stays.

    Unchanged sources are not built again.
    """
    good = "# Front\n\nIt is {glue:text}`/notebooks/x.ipynb::a:.2f`.\n"
    root, out = _clone(tmp_path / "clone", good), tmp_path / "out"
    templates.execute(root / "notebooks" / "x.ipynb", out / "source" / "notebooks" / "x.ipynb", {})
    copy = out / "source" / "notebooks" / "x.ipynb"
    notebook = templates.read(copy)
    notebook.metadata["minichin"] |= {"date": "2026-01-01", "profile": "smoke", "device": ""}
    nbformat.write(notebook, copy)
    book.stage(root, out / "source")
    page = book.render(out / "source", out).parent / "book" / "index.html"
    assert "0.50" in page.read_text("utf-8")
    made = page.stat().st_mtime_ns
    book.stage(root, out / "source")
    book.render(out / "source", out)
    assert page.stat().st_mtime_ns == made
    (root / "book" / "index.md").write_text(good.replace("::a:", "::b:"), "utf-8")
    book.stage(root, out / "source")
    with pytest.raises(BookError, match=r"book/index\.md:3: WARNING: .*'b'"):
        book.render(out / "source", out)
    assert "0.50" in page.read_text("utf-8")


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    """The book's Sphinx extension as a module."""
    return load("minichin_book")


def test_picture_is_found_by_glue_key_and_by_figure_name(extension: ModuleType) -> None:
    """`run-figure` finds a glued picture that was not displayed, and one that its cell names."""
    hidden = {
        "metadata": {"scrapbook": {"name": "valley", "mime_prefix": "application/papermill.record/"}},
        "data": {"application/papermill.record/image/png": "aGVsbG8="},
    }
    shown = {"metadata": {}, "data": {"image/svg+xml": ["<svg>", "</svg>"]}}
    card = {"mystnb": {"figure": {"name": "fig-line"}, "image": {"alt": "A line"}}}
    cells = [{"metadata": {}, "outputs": [hidden]}, {"metadata": card, "outputs": [shown]}, {"metadata": {}}]
    assert extension.find_picture({"cells": cells}, "valley") == ("png", b"hello", "")
    assert extension.find_picture({"cells": cells}, "fig-line") == ("svg", b"<svg></svg>", "A line")
    assert extension.find_picture({"cells": cells}, "other") is None


def test_figures_say_whose_runs_they_show(extension: ModuleType) -> None:
    """Own runs are named by the profile; in a build without training all are the committed ones."""
    cell = {"metadata": {"mystnb": {"figure": {"name": "fig"}}, "runs": "own"}}
    other = {"metadata": {"mystnb": {"figure": {"name": "plan"}}, "runs": "none"}}
    built = {"cells": [cell, other], "metadata": {"minichin": {"profile": "cpu"}}}
    assert "this build, profile cpu" in extension.runs_shown(built, "fig")
    assert extension.runs_shown(built, "plan") == extension.runs_shown(built, "nothing") == ""
    untrained = {**built, "metadata": {"minichin": {"profile": "published"}}}
    assert "come with the repository" in extension.runs_shown(untrained, "fig")


def test_a_touchable_picture_is_made_part_of_the_page(extension: ModuleType) -> None:
    """Tips become labels, ids and what refers to them are the picture's own, the head of the file goes."""
    svg = (
        '<?xml version="1.0"?><!DOCTYPE svg><svg><metadata>x</metadata><defs><clipPath id="p1"/></defs>'
        '<g id="tip: 3 nats &amp; more"><g clip-path="url(#p1)"><use xlink:href="#p1"/></g></g></svg>'
    )
    assert extension.touchable(svg, "fig") == (
        '<svg><defs><clipPath id="fig-p1"/></defs><g class="tip" role="img" aria-label="3 nats &amp; more">'
        '<g clip-path="url(#fig-p1)"><use xlink:href="#fig-p1"/></g></g></svg>'
    )


def test_data_of_a_figure_are_those_of_its_cell(extension: ModuleType) -> None:
    """The CSV is found by the figure's name; a figure without one has none."""
    output = {"data": {"image/svg+xml": "<svg/>", "text/csv": ["x,y\n", "1,2\n"]}}
    cell = {"metadata": {"mystnb": {"figure": {"name": "fig"}}}, "outputs": [output]}
    assert extension.find_data({"cells": [cell]}, "fig") == "x,y\n1,2\n"
    assert extension.find_data({"cells": [cell]}, "other") == ""


@pytest.mark.parametrize("template", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_figure_says_what_runs_it_shows(template: Path) -> None:
    """The cell of each figure has `runs` in its metadata: own, committed or none."""
    cells = templates.read(template).cells
    figures = [c["metadata"] for c in cells if "figure" in c["metadata"].get("mystnb", {})]
    assert [
        m["mystnb"]["figure"]["name"] for m in figures if m.get("runs") not in ("own", "committed", "none")
    ] == []


def test_the_pages_tell_own_runs_from_committed_ones(smoke_book: Path) -> None:
    """In a built book, a figure of the sweep names the profile, one of the campaign does not."""
    html = smoke_book / "_build" / "html"
    for page in ("book/approach2.html", "notebooks/approach2.html"):
        assert "Runs of this build, profile smoke." in (html / page).read_text("utf-8")
    for page in ("book/kaplan.html", "notebooks/kaplan.html"):
        assert "Runs that come with the repository." in (html / page).read_text("utf-8")
