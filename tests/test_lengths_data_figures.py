"""The pictures of the chapters on lengths and on data hold the numbers that they were given."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minichin import beside, beside_figures, campaign, data_figures, data_quality, lengths, lengths_figures
from minichin.engine import lr_factor
from minichin.experiments import EXPERIMENTS
from minichin.law import LossSurface


@pytest.fixture
def axes():
    """Two axes of a figure that is closed afterwards."""
    figure, both = plt.subplots(1, 2)
    yield both
    figure.canvas.draw()
    plt.close(figure)


def test_pictures_of_cosines(axes) -> None:
    """Every cycle has its curve, in order, and the costs stand with their intervals."""
    table, curves = campaign.table("cosine-lengths"), campaign.curves("cosine-lengths")
    cycles = dict(zip(table["spec_hash"], table["cycle"], strict=True))
    one = curves[(curves["width"] == 40) & (curves["seed"] == 0)]
    drawn = lengths_figures.plot_cycles(axes[0], one, cycles)
    names = [text.get_text() for text in drawn.get_legend().get_texts()]
    assert names == ["1 ×", "1.1 ×", "1.25 ×", "1.5 ×", "2 ×", "5 ×"]
    costs = lengths.cycle_costs(table)
    drawn = lengths_figures.plot_costs(axes[1], costs)
    assert len(drawn.containers) == 2
    assert drawn.containers[0][0].get_ydata() == pytest.approx(costs["cost"][:5])


def test_pictures_of_trunks(axes) -> None:
    """A rate ends where the schedule says, and the trunk's final losses are its records'."""
    spec = EXPERIMENTS["trunk"]()[0]
    drawn = lengths_figures.plot_rates(axes[0], {"constant": spec}, lr_factor)
    assert max(drawn.lines[0].get_ydata()) == 0.5
    trunk, main = campaign.table("trunk"), campaign.table("main")
    own = main[(main["width"] == 32) & (main["budget"] <= 1e12)]
    drawn = lengths_figures.plot_trunk(axes[1], campaign.curves("trunk"), trunk, own)
    assert drawn.lines[4].get_ydata() == pytest.approx(trunk["val_loss"])


def test_pictures_of_worse_text(axes) -> None:
    """The changes are those of the cells, and two fits have two names."""
    main, grades = campaign.table("main"), campaign.table("grades")
    noisy = grades[grades["corpus"] == "enwik8+noise=0.1"]
    changed = beside.changes(main, noisy)
    drawn = beside_figures.plot_changes(axes[0], changed, "noise")
    assert sum(len(line.get_ydata()) for line in drawn.lines[1:]) == len(changed)
    fits = beside.fits({"clean": beside.matched(main, noisy), "noise": noisy}, bootstrap=0)
    drawn = beside_figures.plot_beside(axes[1], fits)
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["clean", "noise"]


def test_pictures_of_leaks_and_repetition(axes) -> None:
    """Each leak and budget has its line; worths start at one and lines are drawn with their names."""
    leaks, overlap = campaign.table("leaks"), data_quality.stored_overlap()
    leaks = leaks.assign(readings=data_quality.readings(leaks, overlap), change=0.0)
    drawn = data_figures.plot_leaks(axes[0], leaks, {name: name for name in overlap.index[1:]})
    assert len(drawn.lines) == 1 + 9 + 3
    runs = data_quality.repeated(campaign.table("repetition"), LossSurface(1.0, 11.0, 17.0, 0.31, 0.25))
    drawn = data_figures.plot_repetition(axes[1], runs, "worth", {"R* = 15": data_figures.worth_line(15)})
    assert np.allclose([line.get_ydata()[0] for line in drawn.lines], 1)
    assert drawn.lines[-1].get_label() == "R* = 15"
