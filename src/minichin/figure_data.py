"""What a picture draws, as CSV: the data behind each figure of the book, read off the picture itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

COLUMNS = ("panel", "x_axis", "y_axis", "series", "what", "x", "y")


def _name(artist: Line2D | PathCollection | Rectangle) -> str:
    """The label of an artist as the legend shows it; what has none there has none here."""
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _series(ax: Axes) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, kind and (points, 2) of everything on the axes that stands at data coordinates."""
    for line in ax.lines:
        if line.get_transform().contains_branch(ax.transData):
            xy = np.asarray(line.get_xydata(), dtype=object)
            kind = "points" if line.get_linestyle() == "None" else "line"
            yield _name(line) or (line.get_gid() or ""), kind, xy
    for collection in ax.collections:
        if isinstance(collection, PathCollection):
            yield _name(collection), "points", np.asarray(collection.get_offsets())
    for container in ax.containers:
        for bar in container:
            if isinstance(bar, Rectangle):
                (x, y), width, height = bar.get_xy(), bar.get_width(), bar.get_height()
                sides = np.array([[x + width / 2, y], [x + width / 2, y + height]])
                if width > height and str(getattr(container, "orientation", "vertical")) == "horizontal":
                    sides = np.array([[x, y + height / 2], [x + width, y + height / 2]])
                yield str(container.get_label()).lstrip("_"), "bar", sides


def drawn(figure: Figure) -> str:
    """CSV with a row a point, columns `COLUMNS`: panels in order, lines, dots and the two ends of bars.

    Numbers have six significant digits. What is no point (shades, contours, words) is not in it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, ax in enumerate(figure.axes, start=1):
        title = ax.get_title() or str(place)
        for name, what, points in _series(ax):
            for x, y in points:
                writer.writerow([title, ax.get_xlabel(), ax.get_ylabel(), name, what, _digits(x), _digits(y)])
    return out.getvalue()


def _digits(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, int | float | np.number) else str(value)


def show_beside_pictures() -> None:
    """Let the notebook that calls this keep the CSV of every figure beside its picture (`text/csv`)."""
    from IPython.core.formatters import BaseFormatter
    from IPython.core.getipython import get_ipython
    from traitlets import ObjectName, Unicode

    class CsvFormatter(BaseFormatter):
        format_type = Unicode("text/csv")
        print_method = ObjectName("_repr_csv_")

    shell = get_ipython()
    if shell is None or shell.display_formatter is None:
        return
    formatter = CsvFormatter(parent=shell.display_formatter)
    formatter.for_type(Figure, drawn)
    shell.display_formatter.formatters["text/csv"] = formatter
