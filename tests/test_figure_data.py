"""The CSV behind a picture holds what the picture draws, and a notebook keeps it beside the picture."""

import csv
import io

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from minichin import figure_data
from minichin.style import TIP, tip
from minichin.templates import own_kernel


@pytest.fixture
def figure():
    fig, axes = plt.subplots(1, 2)
    axes[0].plot([1, 10], [2.5, 1.25], label="loss")
    axes[0].axhline(2)  # stands at axes coordinates in x: no data
    axes[0].plot([3], [4], "o")
    axes[0].set(xlabel="FLOPs", ylabel="nats", title="left")
    axes[1].scatter([7, 8], [9, 1 / 3])
    axes[1].bar(["a", "b"], [2, 5], label="bars")
    yield fig
    plt.close(fig)


def rows(figure):
    return list(csv.DictReader(io.StringIO(figure_data.drawn(figure))))


def test_lines_dots_and_bars_are_in_it(figure):
    """A row a point with its panel, axes, name and place; nothing that is not at data coordinates."""
    found = rows(figure)
    left = [(r["series"], r["what"], r["x"], r["y"]) for r in found if r["panel"] == "left"]
    assert left == [
        ("loss", "line", "1", "2.5"),
        ("loss", "line", "10", "1.25"),
        ("", "points", "3", "4"),
    ]
    assert {(r["x_axis"], r["y_axis"]) for r in found if r["panel"] == "left"} == {("FLOPs", "nats")}
    right = [(r["what"], float(r["x"]), float(r["y"])) for r in found if r["panel"] == "2"]
    assert ("points", 8.0, pytest.approx(1 / 3, rel=1e-5)) in right
    tops = [y for what, _, y in right if what == "bar" and y > 0]
    assert tops == [2, 5]


def test_a_tip_names_what_can_be_touched(figure):
    """The text of a tip is the name of its group in the SVG, escaped."""
    tip(figure.axes[0].lines[0], "one run & <more>")
    out = io.StringIO()
    figure.savefig(out, format="svg")
    assert f'<g id="{TIP}one run &amp; &lt;more&gt;">' in out.getvalue()


def test_a_notebook_keeps_the_data_beside_the_picture():
    """After `use_svg`, the output of a figure has both, and the data are those drawn."""
    code = "import matplotlib.pyplot as plt\nfrom minichin import figures\nfigures.use_svg()"
    draw = "fig, ax = plt.subplots()\nax.plot([1, 2], [3, 4.5], label='x');"
    cells = [nbformat.v4.new_code_cell(text) for text in (code, draw)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with own_kernel() as kernel:
        NotebookClient(notebook, kernel_name=kernel, timeout=60).execute()
    (data,) = [o.data for o in notebook.cells[1].outputs if o.output_type == "display_data"]
    assert "<svg" in data["image/svg+xml"]
    assert list(csv.reader(io.StringIO(data["text/csv"])))[1:] == [
        ["1", "", "", "x", "line", "1", "3"],
        ["1", "", "", "x", "line", "2", "4.5"],
    ]
    assert np.isfinite(float(data["text/csv"].split(",")[-1]))
