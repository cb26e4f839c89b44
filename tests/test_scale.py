"""Costs on paper, against arithmetic by hand, the shapes' own counts, and published numbers."""

import math

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minichin import scale, scale_figures
from minichin.law import PowerLaw
from minichin.plan import plan
from minichin.runs import Store, open_store
from minichin.scale import Ladder, Speed
from minichin.shape import ModelShape

N_OPT, D_OPT = PowerLaw(0.1, 0.5), PowerLaw(1.5, 0.5)


def test_a_ladder_by_hand() -> None:
    """Two budgets a decade from 1e16 to 1e18 are five; seven sizes and two seeds cost fourteen times them."""
    ladder = Ladder(1e16, 1e18, per_decade=2, sizes=7, seeds=2)
    half = math.sqrt(10)
    assert ladder.budgets() == pytest.approx([1e16, half * 1e16, 1e17, half * 1e17, 1e18])
    assert ladder.flops() == pytest.approx(14 * (1.11 + 0.11 * half) * 1e18)
    assert ladder.shares()[-1] == pytest.approx(1 / (1.11 + 0.11 * half))


@given(st.floats(1e10, 1e13), st.floats(0.01, 10), st.integers(1, 6))
def test_a_ladder_is_a_geometric_series(smallest: float, decades: float, per_decade: int) -> None:
    """The sum stays below largest / (1 - 10^(-1/k)); the largest budget is exact, the smallest not passed."""
    ladder = Ladder(smallest, smallest * 10**decades, per_decade)
    budgets = ladder.budgets()
    assert budgets[-1] == ladder.largest
    assert smallest * (1 - 1e-6) <= budgets[0] < smallest * 10 ** (1 / per_decade) * (1 + 1e-6)
    assert ladder.flops() < ladder.sizes * ladder.largest / (1 - 10 ** (-1 / per_decade))
    assert ladder.shares().sum() == pytest.approx(1)


def test_an_impossible_ladder() -> None:
    """A ladder that falls, or without sizes, is refused with its numbers."""
    with pytest.raises(ValueError, match=r"1e\+18 to 1e\+16"):
        Ladder(1e18, 1e16)
    with pytest.raises(ValueError, match="sizes 0"):
        Ladder(1e16, 1e18, sizes=0)


@pytest.mark.parametrize("width", [8, 64, 640, 4096])
def test_width_for_inverts_the_count(width: int) -> None:
    """The width found for a shape's parameters is the shape's."""
    assert float(scale.width_for(ModelShape(width).params)) == pytest.approx(width)


def test_speed_is_read_from_records() -> None:
    """Of each width the fastest run counts; between widths it is a power law, beyond them constant."""
    table = pd.DataFrame(
        {
            "width": [10, 10, 1000],
            "flops": [100.0, 300.0, 1e6],
            "seconds": [10.0, 20.0, 10.0],
            "device": "cpu: x",
        }
    )
    speed = scale.measured_speed(table)
    assert speed == Speed("cpu: x", (10, 1000), pytest.approx((15.0, 1e5)))
    assert speed.at([1, 10, 100, 1000, 9999]) == pytest.approx([15, 15, math.sqrt(15e5), 1e5, 1e5])
    with pytest.raises(ValueError, match="the table holds 2: cpu: x, other"):
        scale.measured_speed(table.assign(device=["cpu: x", "other", "cpu: x"]))


@pytest.mark.parametrize("name", ["published", "published-gpu"])
def test_speed_of_the_committed_records(name: str) -> None:
    """No committed run is faster than the speed that is read from all of them."""
    table = open_store(name).table()
    speed = scale.measured_speed(table)
    assert (table["flops"] / table["seconds"] <= speed.at(table["width"]) * (1 + 1e-9)).all()


def test_runs_of_a_ladder() -> None:
    """Sizes lie evenly around the best by the law; hours are FLOPs over speed, and sum up."""
    speed = Speed("x", (8, 4096), (1e12, 1e12))
    runs = scale.runs_of(Ladder(1e15, 1e16, per_decade=1, sizes=3, seeds=2), N_OPT, speed)
    best = 0.1 * 1e16**0.5
    assert runs.params[6:] == pytest.approx([best / 4, best / 4, best, best, 4 * best, 4 * best])
    assert runs.hours == pytest.approx(6 * 1.1e16 / 1e12 / 3600)


def test_repeated_text_by_hand() -> None:
    """One pass is worth itself, four 93 % of new text (Muennighoff et al.: nearly as good), forty 38 %."""
    assert float(scale.worth(1)) == 1
    assert float(scale.worth(4)) == pytest.approx((1 + 15.387756 * (1 - math.exp(-3 / 15.387756))) / 4)
    assert float(scale.worth(4)) == pytest.approx(0.93, abs=0.005)
    assert float(scale.worth(40)) == pytest.approx(0.38, abs=0.005)


def test_memory_of_chinchilla() -> None:
    """70 billion parameters have 1.12 terabytes of state: they fit eight H200, by a hair, and not one."""
    need = float(scale.state_bytes(70e9))
    assert need == pytest.approx(1.12e12)
    assert scale.DEVICES[1].bytes < need < scale.DEVICES[2].bytes


def test_critical_batch_is_near_what_the_gpu_profile_takes() -> None:
    """At the gpu profile's budgets the batch is within a factor of two of the rule's, near the best size."""
    best = [spec for spec in plan("gpu") if 20 < spec.tokens / spec.shape.params < 50]
    assert len({spec.budget for spec in best}) >= 5
    for spec in best:
        assert 0.5 < float(scale.critical_batch(spec.tokens)) / spec.batch_tokens < 2
    assert float(scale.critical_batch(1e6)) == 256


def test_changes_come_in_order_and_where_they_say() -> None:
    """Each change stands at the budget at which its own condition begins to hold."""
    found = {change.what: change.flops for change in scale.changes(N_OPT, D_OPT, 1e8)}
    assert list(found.values()) == sorted(found.values())
    assert float(D_OPT(found["another text"])) == pytest.approx(4e8)
    assert float(scale.critical_batch(D_OPT(found["larger batches"]))) == pytest.approx(256)
    assert float(scale.state_bytes(N_OPT(found["several GPUs a run"]))) == pytest.approx(141e9)
    params = float(N_OPT(found["word pieces"]))
    width = min(range(4, 8192, 4), key=lambda d: abs(scale.shape_of(d, vocab=32_000).params - params))
    assert scale.shape_of(width, vocab=32_000).params == pytest.approx(params)
    assert scale.vocab_share(scale.shape_of(width, vocab=32_000)) < 0.25
    assert scale.vocab_share(scale.shape_of(width - 4, vocab=32_000)) >= 0.25


def test_shares_are_those_of_a_shape() -> None:
    """Deep down, comparing S tokens costs 4Sd a layer and token, and the matrices cost 24d²."""
    shape = ModelShape(1024, depth=1000, context=1536, head_dim=1024)
    assert scale.context_share(shape) == pytest.approx(4 * 1536 / (4 * 1536 + 24 * 1024), rel=0.01)


def test_no_width_will_do() -> None:
    """A condition that never holds is told, not searched for ever."""
    with pytest.raises(ValueError, match="no width below 100"):
        scale.first_width(lambda width: False, 100)


def test_appending_is_measured(tmp_path) -> None:
    """The measurement appends every record given to it, and is a positive time."""
    records = open_store("published").records()[:5]
    assert scale.append_seconds(records, tmp_path / "x") > 0
    assert Store(tmp_path / "x").records() == records


def test_pictures_say_what_they_show() -> None:
    """Each picture has named axes, and its lines hold the numbers that it was given."""
    figure, axes = plt.subplots(2, 3)
    ladders = [Ladder(1e13, 1e18, k) for k in (1, 2, 3)]
    shares = scale_figures.plot_shares(axes[0, 0], ladders)
    assert [round(bar.get_width()) for bar in shares.patches if bar.get_x() == 0] == [90, 68, 54]
    hours = scale_figures.plot_hours(axes[0, 1], [1e16, 1e18], {"a core": [1, 100]}, {"Chinchilla": 5.76e23})
    assert hours.lines[0].get_ydata().tolist() == [1, 100]
    assert [text.get_text() for text in hours.texts] == ["Chinchilla"]
    needs = scale_figures.plot_needs(axes[0, 2], [1e16, 1e18], [1e8, 1e9], 4, {"C4": 750e9}, "bytes")
    assert "bytes" in needs.get_ylabel()
    made = scale_figures.plot_makespan(axes[1, 0], [1, 2], {"longest first": [4, 2]}, [4, 2], 2)
    assert [text.get_text() for text in made.get_legend().get_texts()] == ["lower bound", "longest first"]
    used = scale_figures.plot_utilisation(axes[1, 1], [1, 2], {"longest first": [1.0, 0.5]}, 2)
    assert used.lines[0].get_ydata().tolist() == [100, 50]
    failed = scale_figures.plot_failures(
        axes[1, 2], [1, 10], {"resume": np.array([[1, 2, 9], [1, 1, 1]])}, {}
    )
    assert failed.lines[0].get_ydata().tolist() == [2, 1]
    for ax in (hours, needs, made, used, failed):
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    figure.canvas.draw()
    plt.close(figure)
