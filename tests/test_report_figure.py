"""The picture of a report: panels that are there, files fit for print, labels apart, large tables thinned."""

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minichin import report_figure, report_panels
from minichin.fit.report import Report, fit_report
from tests.planted import curves, grid, surface, sweep

OPTIONS = {"noise": 0.005, "seeds": 2}


@pytest.fixture(scope="module")
def report() -> Report:
    """All three approaches on a planted sweep with curves."""
    law = surface(0.4, 0.3)
    return fit_report(sweep(law, **OPTIONS), curves(law, **OPTIONS), bootstrap=60, predict=[1e15])


def drawn(report: Report) -> Figure:
    """The picture, laid out."""
    with mpl.rc_context(report_figure.STYLE):
        figure = report_figure.draw(report)
        figure.canvas.draw()
    return figure


def titles(figure: Figure) -> list[str]:
    """The panels' titles, each after its letter."""
    return [f"{ax.get_title(loc='left')} {ax.texts[-1].get_text()}" for ax in figure.axes]


def apart(ax: Axes) -> bool:
    """Whether the labels of the ticks on each axis do not touch."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        boxes = [
            label.get_window_extent()
            for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
            if low <= place <= high and label.get_text()
        ]
        if any(one.overlaps(two) for one, two in pairwise(boxes)):
            return False
    return True


def test_panels_are_lettered_and_their_labels_apart(report: Report) -> None:
    """Six lettered panels for three approaches; no two tick labels touch; losses are nats a token."""
    figure = drawn(report)
    assert [title[:2] for title in titles(figure)] == ["a ", "b ", "c ", "d ", "e ", "f "]
    assert all(apart(ax) for ax in figure.axes)
    labels = {ax.get_ylabel() for ax in figure.axes}
    assert {"loss (nats a token)", "training tokens"} <= labels
    assert not any("byte" in label for label in labels)


@pytest.mark.parametrize("approach", [1, 2, 3])
def test_one_approach_alone_can_be_drawn(approach: int) -> None:
    """Whichever approach was asked for, its frontier and exponent are drawn."""
    alone = fit_report(sweep(surface(), **OPTIONS), approaches=(approach,), bootstrap=30)
    assert [title[2:] for title in titles(drawn(alone))][-3:] == [
        "optimal parameters",
        "optimal tokens",
        "exponents",
    ]


def test_power_laws_are_dashed_beyond_the_data(report: Report) -> None:
    """A law is solid up to the table's largest compute, and dashed on to the farthest prediction."""
    ax = next(ax for ax in drawn(report).axes if ax.texts[-1].get_text() == "optimal parameters")
    largest = float(report.table["flops"].max())
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    for line, (_, fit) in zip(dashed, sorted(report.fits.items()), strict=True):
        x, y = (np.asarray(v) for v in line.get_data())
        assert (x[0], x[-1]) == pytest.approx((largest, 1e15))
        np.testing.assert_allclose(y, fit.n_opt(x))
    solid = next(line for line in ax.lines if str(line.get_label()).startswith("3: a"))
    assert np.max(solid.get_xdata()) == pytest.approx(largest)


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_files_are_fit_for_print(report: Report, tmp_path: Path, kind: str) -> None:
    """The same report gives the same file; text stays text in SVG, fonts are embedded as Type 42 in PDF."""
    one, two = tmp_path / f"one.{kind}", tmp_path / f"two.{kind}"
    report_figure.save(report, str(one))
    report_figure.save(report, str(two))
    assert one.read_bytes() == two.read_bytes()
    if kind == "svg":
        assert ">optimal parameters</text>" in one.read_text()
    if kind == "pdf":
        assert b"/FontFile2" in one.read_bytes()
        assert b"/Type3" not in one.read_bytes()


def test_runs_left_out_by_reading_do_not_shift_the_others() -> None:
    """With diverged rows gone from the table, the runs drawn are still those that the fit used."""
    table = sweep(surface(), **OPTIONS)
    table.index = pd.RangeIndex(1, len(table) + 1, name="row")
    table = table.drop(index=[1, 2, 3])
    found = fit_report(table, approaches=(3,), bootstrap=0)
    ax = drawn(found).axes[0]
    runs = next(line for line in ax.lines if line.get_label() == "runs used")
    np.testing.assert_allclose(np.sort(runs.get_ydata()), np.sort(table["params"]))


def test_large_tables_are_thinned_evenly_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit an even share of the runs is drawn, as pixels if still many, and it is said."""
    monkeypatch.setattr(report_panels, "MOST_RUNS", 100)
    monkeypatch.setattr(report_figure, "RASTER", 50)
    found = fit_report(grid(surface(), 30, 30), approaches=(3,), bootstrap=0)
    figure = drawn(found)
    assert "(100 of 900 runs shown)" in titles(figure)[0]
    runs = next(line for line in figure.axes[0].lines if line.get_label() == "runs used")
    assert np.size(runs.get_xdata()) == 100
    assert runs.get_rasterized()
    assert list(report_panels.evenly(7, 3)) == [0, 3, 6]
    assert list(report_panels.evenly(2, 3)) == [0, 1]


def test_many_budgets_and_curves_are_thinned() -> None:
    """Twelve valleys at most with few sizes each, three hundred curves at most, told in the title."""
    law = surface()
    table = sweep(law, budgets=tuple(np.geomspace(1e11, 1e14, 20)), widths=9)
    fit = fit_report(table, approaches=(2,), bootstrap=0).fits[2]
    few, said = report_panels.thinned_valleys(fit)  # type: ignore[arg-type]
    assert len(few.valleys) == 12
    assert said == " (12 of 20 budgets shown)"
    assert [v.budget for v in few.valleys][::11] == [table["budget"].min(), table["budget"].max()]
    runs = pd.concat(
        [pd.DataFrame({"spec_hash": f"r{i}", "params": 1e4 + i, "flops": [1e10, 2e10]}) for i in range(400)]
    )
    kept, said = report_panels.thinned_curves(runs)
    assert kept["spec_hash"].nunique() == 300
    assert len(kept) == 600
    assert "300 of 400 runs" in said
