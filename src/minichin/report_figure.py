"""The picture of `minichin fit --plot`: what each approach saw, frontiers with predictions, exponents.

Decisions
- Made for print: a page wide, letters of 8 points, a letter a panel, fonts embedded in PDF (Type 42), text
  left as text in SVG, the same file from the same report.
- More than `RASTER` points of one line become pixels in vector formats; everything else stays vector.
- What a user's tokens are is not known: losses are nats a token.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from minichin import figures, report_panels
from minichin.fit import EnvelopeFit, IsoflopFit, ParametricFit
from minichin.fit.report import Report
from minichin.style import LOSS

FORMATS = (".svg", ".pdf", ".png")
#: The book's labels speak of bytes; a user's tokens may be anything.
NEUTRAL = {LOSS: "loss (nats a token)", "training tokens (bytes)": "training tokens"}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "minichin",
}
PAGE, ROW = 7.2, 2.6  # inches
RASTER = 1500
Panel = tuple[str, Callable[[Axes], Axes]]


def _panels(report: Report) -> list[Panel]:
    """Titles and drawings that this report has something for, in reading order."""
    panels: list[Panel] = []
    for fit in report.fits.values():
        if isinstance(fit, EnvelopeFit) and report.curves is not None:
            curves, said = report_panels.thinned_curves(report.curves)
            panels.append(
                (f"approach 1: envelope{said}", partial(figures.plot_envelope, fit=fit, curves=curves))
            )
        if isinstance(fit, IsoflopFit):
            few, said = report_panels.thinned_valleys(fit)
            panels.append((f"approach 2: valleys{said}", partial(figures.plot_valleys, fit=few)))
        if isinstance(fit, ParametricFit):
            thin, said = report_panels.thinned_runs(fit)
            panels.append(
                (f"approach 3: loss{said}", partial(figures.plot_surface, fit=thin, table=report.table))
            )
    for column, title in (("params", "optimal parameters"), ("tokens", "optimal tokens")):
        panels.append((title, partial(report_panels.frontier, report=report, column=column)))
    panels.append(("exponents", partial(report_panels.forest, report=report)))
    return panels


def draw(report: Report) -> Figure:
    """The whole picture; call it, and save it, under `STYLE`."""
    panels = _panels(report)
    rows = -(-len(panels) // 2)
    heights = [1.0] * (rows - len(panels) % 2) + [0.65] * (len(panels) % 2)
    figure = Figure(figsize=(PAGE, ROW * sum(heights)), layout="constrained", dpi=200)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, 2, height_ratios=heights)
    for place, (title, fill) in enumerate(panels):
        alone = place == len(panels) - 1 and place % 2 == 0
        ax = fill(figure.add_subplot(grid[place // 2, :] if alone else grid[place // 2, place % 2]))
        ax.set_ylabel(NEUTRAL.get(ax.get_ylabel(), ax.get_ylabel()))
        _entitle(ax, chr(ord("a") + place), title)
        legend = ax.get_legend()
        if legend is not None:  # readable over points, too
            legend.set_frame_on(True)
            legend.get_frame().set(alpha=0.8, edgecolor="none")
        for line in ax.lines:
            many = np.size(line.get_xdata()) > RASTER
            line.set_markersize((0.3 if many else 0.7) * line.get_markersize())
            line.set_linewidth(0.8 * line.get_linewidth())
            line.set_rasterized(many)
    return figure


def _entitle(ax: Axes, letter: str, title: str) -> None:
    """A bold letter and a title beside it, at the top left; no formula, so that SVG keeps it as text."""
    ax.set_title(letter, loc="left", fontweight="bold", pad=6)
    ax.annotate(title, (0, 1), xycoords="axes fraction", xytext=(11, 6), textcoords="offset points")


def save(report: Report, target: str) -> None:
    """Draw the report into a .svg, .pdf or .png file, whole or not at all."""
    path = Path(target)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise ValueError(f"cannot draw into {path.name}: end its name in one of {', '.join(FORMATS)}")
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(kind)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        with mpl.rc_context(STYLE):
            draw(report).savefig(temporary, metadata=undated)
        temporary.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; name another file") from None
    finally:
        temporary.unlink(missing_ok=True)
