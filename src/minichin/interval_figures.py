"""Pictures of how well exponents are known: coverage of intervals, and the profile of approach 3."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from minichin.coverage import way_name
from minichin.fit.profile import SurfaceProfile
from minichin.style import DARK, GREY, OKABE_ITO, finish

AIM = (0.93, 0.97)  # what 500 studies can show of a coverage of 95 %
LEVELS = (1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0)


def plot_coverage(ax: Axes, table: pd.DataFrame) -> Axes:
    """Draw the share of studies whose interval holds the truth: a line a way, a dot a design and surface.

    `table` is that of `coverage.stored`; the grey band is 93 to 97 %.
    """
    names = [way_name(row) for row in table.to_dict("records")]
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    ax.axvspan(*(100 * share for share in AIM), color=GREY, alpha=0.25, linewidth=0)
    for k, (surface, part) in enumerate(table.groupby("surface", sort=False)):
        y = [places[names[i]] + 0.15 * (2 * k - 1) for i in part.index]
        ax.plot(100 * part["coverage"], y, "os"[k], color=OKABE_ITO[k], ms=5, label=f"{surface} surface")
    ax.set_yticks(range(len(places)), list(places))
    ax.invert_yaxis()
    return finish(ax, "studies whose 95 % interval of a holds the truth (%)", "")


def plot_profile(ax: Axes, profile: SurfaceProfile) -> Axes:
    """Draw contours of the objective over (alpha, beta), as multiples of the lowest, and its local minima."""
    lowest = profile.minima[0, 2]
    shown = profile.objective.T / lowest
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.8, len(LEVELS)))
    lines = ax.contour(profile.alphas, profile.betas, shown, levels=LEVELS, colors=colours, linewidths=1)
    ax.clabel(lines, fmt=lambda level: f"{level:g}", fontsize="small")
    ax.plot(profile.minima[:, 0], profile.minima[:, 1], "o", color=DARK, ms=4, label="local minimum")
    ends = np.array([max(profile.alphas[0], profile.betas[0]), min(profile.alphas[-1], profile.betas[-1])])
    ax.plot(ends, ends, color=GREY, linestyle="--", linewidth=1, label="α = β, equal scaling")
    return finish(ax, "α", "β", log_x=True, log_y=True)
