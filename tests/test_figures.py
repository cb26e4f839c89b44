"""Each picture shows what its result says: data where they belong, units and conventions on the axes."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from minichin import figures, style
from minichin.fit import fit_envelope, fit_isoflop, fit_parametric
from minichin.law import LossSurface
from minichin.overlap import overlap_report
from minichin.plan import make_spec
from minichin.shape import ModelShape

SURFACE = LossSurface(E=1.0, A=30.0, B=200.0, alpha=0.4, beta=0.4)
BUDGETS = (1e11, 1e12, 1e13)


@pytest.fixture(scope="module")
def table():
    """Noisy runs on a planted surface: three budgets, seven sizes, C = 6 N D."""
    rng, rows = np.random.default_rng(0), []
    for budget in BUDGETS:
        for params in float(SURFACE.optimum(budget).params) * np.geomspace(0.25, 4, 7):
            tokens = budget / (6 * params)
            loss = float(SURFACE.value(params, tokens)) * (1 + 0.001 * rng.standard_normal())
            rows.append((params, 0.8 * params, tokens, budget, budget, loss, f"{budget:g}-{params:g}"))
    names = ["params", "params_non_embedding", "tokens", "flops", "budget", "val_loss", "spec_hash"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope="module")
def curves(table):
    """Training curves of those runs, each point on the planted surface."""
    parts = []
    for run in table.itertuples():
        tokens = run.tokens * np.geomspace(0.05, 1, 20)
        loss = SURFACE.value(run.params, tokens)
        part = pd.DataFrame({"tokens": tokens, "flops": 6 * run.params * tokens, "val_loss": loss})
        parts.append(
            part.assign(params=run.params, budget=run.budget, spec_hash=run.spec_hash, train_loss=loss - 0.01)
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def ax():
    """Fresh axes, closed afterwards."""
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def legend(ax):
    """The texts of the legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_pictures_leave_matplotlibs_settings_alone(table):
    """Drawing and importing change no global setting."""
    before = mpl.rcParams.copy()
    figure, axes = plt.subplots()
    figures.plot_losses(axes, table)
    figure.canvas.draw()
    plt.close(figure)
    assert mpl.rcParams == before


def test_flop_shares_fill_the_axes(ax):
    """The stacked shares of all eight parts end at 100 per cent at every width."""
    shapes = [ModelShape(width=width) for width in (8, 16, 64)]
    assert figures.plot_flop_shares(ax, shapes) is ax
    top = ax.collections[-1].get_paths()[0].vertices
    assert top[:, 1].max() == pytest.approx(100)
    assert len(legend(ax)) == 8
    assert ax.get_ylabel() == "share of forward FLOPs (%, full count)"


def test_flop_ratio_is_that_of_the_counts(ax):
    """The first line holds full / 6ND of each shape, against its parameters."""
    shape = ModelShape(width=64)
    figures.plot_flop_ratio(ax, [shape, ModelShape(width=128)])
    x, y = ax.lines[0].get_data()
    assert x[0] == shape.params
    assert y[0] == pytest.approx(shape.flops_per_token("full") / (6 * shape.params))


def test_schedules_end_with_their_runs(ax):
    """Each curve spans its own steps and peaks at its own learning rate."""
    specs = [make_spec(1e11, width) for width in (16, 32)]
    figures.plot_schedules(ax, specs, lambda step, spec: 1.0 - step / spec.steps)
    for line, spec in zip(ax.lines, specs, strict=True):
        assert line.get_xdata().max() == spec.steps
        assert line.get_ydata().max() == pytest.approx(spec.lr)
    assert legend(ax) == ["width 16", "width 32"]


def test_loss_curve_names_its_landmarks(ax, curves):
    """Held-out and training losses are drawn as given, and landmarks are named at their height."""
    run = curves[curves["spec_hash"] == curves["spec_hash"].iloc[0]]
    figures.plot_loss_curve(ax, run, {"knows nothing": 5.545})
    np.testing.assert_allclose(ax.lines[0].get_ydata(), run["val_loss"])
    assert [text.get_text() for text in ax.texts] == ["knows nothing"]
    assert ax.get_ylabel() == "loss (nats a byte)"
    assert "full count" in ax.get_xlabel()


def test_design_shows_every_run(ax, table):
    """Every run is a point at its parameters and tokens, and the legend names the budgets."""
    figures.plot_design(ax, table)
    points = [line for line in ax.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in points) == len(table)
    assert legend(ax) == ["10¹¹", "10¹²", "10¹³"]


def test_losses_are_the_tables(ax, table):
    """Points are the table's losses, and nothing is fitted."""
    figures.plot_losses(ax, table)
    points = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "o"])
    assert sorted(points) == sorted(table["val_loss"])
    assert ax.get_ylabel() == style.LOSS


def test_valleys_have_a_star_at_each_optimum(ax, table):
    """Stars stand at the fitted optima, one a budget, and parabolas pass through them."""
    fit = fit_isoflop(table, bootstrap=0)
    figures.plot_valleys(ax, fit)
    stars = [line for line in ax.lines if line.get_marker() == "*"]
    assert [float(star.get_xdata()[0]) for star in stars] == [valley.params_opt for valley in fit.valleys]
    assert all(to_hex(star.get_markerfacecolor()) == style.OKABE_ITO[1].lower() for star in stars)
    assert ax.get_xlabel() == "parameters (all weights)"
    assert ax.get_legend().get_title().get_text() == "FLOPs (full count)"


def test_valleys_name_the_convention_of_their_parameters(ax, table):
    """Under Kaplan's count the axis says that embeddings are left out."""
    figures.plot_valleys(ax, fit_isoflop(table, convention="6ND_non_embedding", bootstrap=0))
    assert ax.get_xlabel() == "non-embedding parameters"


@pytest.mark.parametrize("column", ["params", "tokens"])
def test_frontier_is_the_power_law_with_its_band(ax, table, column):
    """The line is the fitted power law, the band holds it, and the legend gives the exponent."""
    fit = fit_isoflop(table, bootstrap=100)
    figures.plot_frontier(ax, fit, column)
    law, name = (fit.n_opt, "a") if column == "params" else (fit.d_opt, "b")
    line = next(line for line in ax.lines if line.get_label().startswith(name))
    x, y = line.get_data()
    np.testing.assert_allclose(y, law(x))
    assert legend(ax) == [f"{name} = {law.exponent:.2f}"]
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() <= y.min() <= y.max() <= edges.max()


def test_frontier_refuses_an_unknown_column(ax, table):
    """A misspelt column is the caller's mistake, and is named."""
    with pytest.raises(ValueError, match="'token'"):
        figures.plot_frontier(ax, fit_isoflop(table, bootstrap=0), "token")


def test_envelope_lies_on_the_frontier(ax, curves):
    """One line a run, and the envelope's points as the fit gives them; unused frontier points are hollow."""
    fit = fit_envelope(curves, bootstrap=0)
    figures.plot_envelope(ax, fit, curves)
    assert len(ax.lines) == curves["spec_hash"].nunique() + 1
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), fit.frontier["val_loss"])
    figure, other = plt.subplots()
    figures.plot_frontier(other, fit)
    hollow = [line for line in other.lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == int((~fit.frontier["used"]).sum())
    plt.close(figure)


def test_surface_shows_runs_and_frontier(ax, table):
    """The runs are drawn at their FLOPs and parameters, and the frontier is the fit's."""
    fit = fit_parametric(table, bootstrap=0)
    figures.plot_surface(ax, fit, table)
    runs, frontier = ax.lines
    np.testing.assert_allclose(np.sort(runs.get_ydata()), np.sort(table["params"]))
    np.testing.assert_allclose(frontier.get_ydata(), fit.n_opt(frontier.get_xdata()))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("FLOPs (full count)", "parameters (all weights)")


def test_each_run_on_the_surface_says_what_it_is(ax, table):
    """To be touched, every run is a mark with its loss and the fitted one."""
    fit = fit_parametric(table, bootstrap=0)
    figures.plot_surface(ax, fit, table, touch=True)
    runs = [line for line in ax.lines if line.get_gid()]
    np.testing.assert_allclose(sorted(run.get_ydata()[0] for run in runs), np.sort(table["params"]))
    assert all("nats" in run.get_gid() and "fitted" in run.get_gid() for run in runs)


def test_residuals_are_in_per_cent(ax, table):
    """A residual of one thousandth of the loss stands at a tenth of a per cent."""
    fit = fit_parametric(table, bootstrap=0)
    figures.plot_residuals(ax, fit, table)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], 100 * fit.residuals)
    assert "%" in ax.get_ylabel()


def test_exponents_stand_in_the_order_given(ax):
    """Rows run from top to bottom, intervals are as given, and a row without one is a point only."""
    rows = [
        figures.ForestRow("approach 2", 0.53, (0.49, 0.57), "full"),
        figures.ForestRow("", 0.73, None, "Kaplan et al."),
    ]
    figures.plot_exponents(ax, rows)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["full, approach 2", "Kaplan et al."]
    assert ax.yaxis_inverted()
    assert list(ax.lines[0].get_xdata()) == [0.49, 0.57]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"] == [0.53, 0.73]


def test_overlap_bars_count_the_documents(ax):
    """The bars add up to the documents of the report, the copied one in the last bar."""
    words = [f"word{i}" for i in range(60)]
    report = overlap_report([" ".join(words)], [" ".join(words), " ".join(reversed(words))])
    figures.plot_overlap(ax, report)
    heights = [bar.get_height() for bar in ax.patches]
    assert sum(heights) == report.documents_before == 2
    assert heights[-1] == 1
    assert legend(ax) == ["threshold"]


@pytest.mark.parametrize("span", [2, 8, 60, 1e3, 1e6])
def test_labels_of_a_logarithmic_axis_do_not_touch(ax, span):
    """Between one and eight labels, whatever the range."""
    ax.plot([2e10, 2e10 * span], [1, 2])
    style.finish(ax, "FLOPs", "loss", log_x=True)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [t for t in ax.get_xticks() if low <= t <= high]
    assert 1 <= len(shown) <= 8


def test_colours_of_budgets_are_distinct_and_ordered():
    """Each budget has its own colour, lighter with rising budget."""
    colours = list(style.budget_colours([3e12, 1e11, 1e12, 1e11]).values())
    brightness = [0.2 * r + 0.7 * g + 0.1 * b for r, g, b, _ in colours]
    assert len(colours) == 3
    assert brightness == sorted(brightness)
