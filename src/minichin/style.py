"""How the book's pictures look: colours, names of axes, and the finishing of axes.

Decisions:
- Colours hold for the colour-blind: viridis for ordered things (budgets, sizes), Okabe and Ito's for others.
- Every count of FLOPs or parameters on an axis names its convention.
- Nothing here changes matplotlib's settings on import; `use_svg` does so when a notebook calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from minichin.words import scientific

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999", "#F0E442")
DARK, GREY = "#222222", "#8a8a8a"
LOSS = "held-out loss (nats a byte)"
FLOPS = {
    "full": "FLOPs (full count)",
    "6ND": "FLOPs (6ND)",
    "6ND_non_embedding": "FLOPs (6ND, non-embedding)",
}
PARAMS = {"6ND_non_embedding": "non-embedding parameters"}
ALL_PARAMS = "parameters (all weights)"
TIP = "tip: "  # begins the SVG's name of whatever can be touched


def use_svg() -> None:
    """Let a notebook show its pictures as SVG with lasting identifiers, and keep the data that they draw."""
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    from minichin.figure_data import show_beside_pictures

    mpl.rcParams["svg.hashsalt"] = "minichin"
    set_matplotlib_formats("svg")
    show_beside_pictures()


def tip(artist: Artist, text: str) -> None:
    """Let the book say `text` where a reader touches the artist, or comes to it by the keyboard."""
    artist.set_gid(TIP + text)


def budget_colours(budgets: Sequence[float]) -> dict[float, tuple[float, float, float, float]]:
    """A colour for each distinct budget, dark to light with rising budget."""
    distinct = sorted(set(budgets))
    return {
        b: mpl.colormaps["viridis"](x)
        for b, x in zip(distinct, np.linspace(0, 0.88, len(distinct)), strict=True)
    }


def finish(
    ax: Axes,
    x: str,
    y: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    legend: str | None = "",
    place: Literal["best", "upper left", "upper right"] = "best",
) -> Axes:
    """Label, scale and tidy the axes; `legend` is its title, None for no legend, at `place`.

    To look for the best place takes long, and warns, where there are many points.
    """
    if log_x:
        ax.set_xscale("log")
        _log_ticks(ax.xaxis)
    if log_y:
        ax.set_yscale("log")
        _log_ticks(ax.yaxis)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    if legend is not None and ax.get_legend_handles_labels()[0]:
        ax.legend(loc=place, title=legend or None, frameon=False, fontsize="small", title_fontsize="small")
    return ax


def _log_ticks(axis: Axis) -> None:
    """Label few enough places of a logarithmic axis that they never touch: the fewer, the more decades."""
    axis.axes.autoscale_view()
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low)
    places = (1.0,) if decades > 1.9 else (1.0, 3.0) if decades > 1 else (1.0, 2.0, 4.0)
    axis.set_major_locator(LogLocator(subs=places))
    axis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))
    axis.set_minor_formatter(NullFormatter())
