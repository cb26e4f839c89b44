"""The picture of `minichin fit --plot`: valleys, frontier and exponents in one file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from minichin import figures, published
from minichin.figures import ForestRow
from minichin.fit import EnvelopeFit, IsoflopFit, ParametricFit
from minichin.fit.report import Report
from minichin.style import LOSS

FORMATS = (".svg", ".pdf", ".png")
#: The book's labels speak of bytes; a user's tokens may be anything.
NEUTRAL = {LOSS: "loss (nats a token)", "training tokens (bytes)": "training tokens"}


def _panels(report: Report) -> list[Callable[[Axes], Axes]]:
    """The drawings that this report has something for, in reading order."""
    panels: list[Callable[[Axes], Axes]] = []
    for fit in report.fits.values():
        if isinstance(fit, EnvelopeFit) and report.curves is not None:
            panels.append(partial(figures.plot_envelope, fit=fit, curves=report.curves))
        if isinstance(fit, IsoflopFit):
            panels.append(partial(figures.plot_valleys, fit=fit))
        if isinstance(fit, ParametricFit):
            panels.append(partial(figures.plot_surface, fit=fit, table=_with_flops(report.table)))
    best = report.fits.get(2) or next(iter(report.fits.values()))
    panels.append(partial(figures.plot_frontier, fit=best, column="params"))
    panels.append(partial(figures.plot_frontier, fit=best, column="tokens"))
    panels.append(partial(figures.plot_exponents, rows=_rows(report)))
    return panels


def _with_flops(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `flops`: 6·params·tokens where it has none of its own."""
    if "flops" in table:
        return table
    return table.assign(flops=6.0 * table["params"].astype(float) * table["tokens"].astype(float))


def _rows(report: Report) -> list[ForestRow]:
    ours = [
        ForestRow(f"approach {fit.approach}", fit.a, fit.a_interval, report.convention)
        for fit in report.fits.values()
    ]
    paper = [
        ForestRow(f"approach {row.approach}", row.a, row.a_interval, "Hoffmann et al.")
        for row in published.TABLE_2
    ]
    return [*ours, *paper]


def save(report: Report, target: str) -> None:
    """Draw the report into a .svg, .pdf or .png file, whole or not at all."""
    path = Path(target)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"cannot draw into {path.name}: end its name in one of {', '.join(FORMATS)}")
    panels = _panels(report)
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(11, 4 * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    for place, draw in enumerate(panels, start=1):
        ax = draw(figure.add_subplot(rows, 2, place))
        ax.set_ylabel(NEUTRAL.get(ax.get_ylabel(), ax.get_ylabel()))
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(temporary)
        temporary.replace(path)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; name another file") from None
    finally:
        temporary.unlink(missing_ok=True)
