"""The hull of approach 1 against scipy's, and its redrawn curves against tables of repeated rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from minichin.fit import heats
from minichin.fit.envelope import METHODS
from minichin.fit.hull import hull_vertices
from minichin.fit.race import Race, find_runs, race_of_curves
from minichin.fit.table import points
from tests.planted import curves, surface


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(5, 60), missing=st.floats(0, 0.6))
@settings(max_examples=60, deadline=None)
def test_vertices_are_those_of_qhull(seed: int, size: int, missing: float) -> None:
    """On random points, some of them absent, the falling lower vertices are those that Qhull finds."""
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.uniform(0, 10, size)), rng.normal(0, 1, (size, 3))
    y[rng.uniform(size=y.shape) < missing] = np.inf
    found = hull_vertices(x, y)
    for column in range(3):
        there = np.flatnonzero(np.isfinite(y[:, column]))
        if there.size < 3:
            continue
        hull = there[ConvexHull(np.column_stack([x[there], y[there, column]])).vertices]
        lowest = there[np.argmin(y[there, column])]
        chord = np.interp(x, x[[there[0], lowest]], y[[there[0], lowest], column])
        expected = sorted(v for v in hull if v <= lowest and y[v, column] <= chord[v] + 1e-12)
        assert np.flatnonzero(found[:, column]).tolist() == expected


def race(seeds: dict[int, int]) -> Race:
    """A race of 28 cells with two seeds each, the runs of `seeds` standing in the table so many times."""
    runs = curves(surface(), noise=0.01, seeds=2)
    parts = [runs.assign(spec_hash=runs["spec_hash"] + f"-{k}") for k in range(4)]
    many = runs["spec_hash"].map(lambda name: seeds.get(int(name[3:]), 1))
    table = [part[many > k] for k, part in enumerate(parts)]
    data = points(pd.concat(table))
    return race_of_curves(data, data.log_c, find_runs(data)[1], 0.2, 0.0)


@pytest.mark.parametrize("method", METHODS)
@given(weights=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=28, max_size=28))
@settings(max_examples=6, deadline=None)
def test_weight_two_is_a_doubled_run(method: str, weights: list[tuple[int, int]]) -> None:
    """Runs drawn w times race as in a table where each stands w times."""
    flat = [w for pair in weights for w in pair]
    hull = method == "hull"
    once, repeated = race({}), race(dict(enumerate(flat)))
    names = [int(v) for v in once.run]
    assert sorted(names) == list(range(56))
    drawn = heats.weighted(once, np.array([flat[i] for i in names])[:, None])
    (weighed,) = heats.exponents(once, iter([(drawn, 1)]), hull)
    (measured,) = heats.exponents(repeated, heats.as_measured(repeated), hull)
    assert weighed == pytest.approx(measured, abs=1e-9)
