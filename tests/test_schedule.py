"""Schedules and failures against hand-worked examples, exact optima, known bounds and closed forms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minichin.schedule import (
    budgets_up,
    expected_seconds,
    list_schedule,
    longest_first,
    lower_bound,
    useful_workers,
    with_failures,
)

lengths = st.lists(st.floats(0.01, 1000), min_size=1, max_size=40)


def test_a_hand_worked_schedule() -> None:
    """Runs of 3, 2, 2, 4 and 1 on two workers end at 3, 2, 4, 7 and 5; one hour of fourteen is idle."""
    made = list_schedule([3, 2, 2, 4, 1], 2)
    assert made.worker.tolist() == [0, 1, 1, 0, 1]
    assert made.start.tolist() == [0, 0, 2, 3, 4]
    assert made.end.tolist() == [3, 2, 4, 7, 5]
    assert made.makespan == 7
    assert made.utilisation == pytest.approx(12 / 14)


def test_longest_first_where_it_helps() -> None:
    """The same runs, longest first, end at 6, which no schedule of twelve hours on two workers can beat."""
    seconds = np.array([3, 2, 2, 4, 1])
    assert longest_first(seconds).tolist() == [3, 0, 1, 2, 4]
    assert list_schedule(seconds[longest_first(seconds)], 2).makespan == 6 == lower_bound(seconds, 2)


def test_grahams_worst_case() -> None:
    """Six runs of 1 and one of 3 on three workers take 5, (2 - 1/3) times the best: the bound is sharp."""
    assert list_schedule([1, 1, 1, 1, 1, 1, 3], 3).makespan == 5
    assert list_schedule([3, 1, 1, 1, 1, 1, 1], 3).makespan == 3


def test_the_sweeps_order() -> None:
    """Budgets rise, and within one the longest run comes first."""
    assert budgets_up([10, 1, 10, 1], [5, 1, 9, 2]).tolist() == [3, 1, 2, 0]


@given(lengths, st.integers(1, 50))
def test_a_schedule_keeps_every_bound(seconds: list[float], workers: int) -> None:
    """The makespan lies between the lower bound and (2 - 1/m) times it; no worker does two runs at once."""
    made, bound = list_schedule(seconds, workers), lower_bound(seconds, workers)
    assert bound * (1 - 1e-9) <= made.makespan <= (2 - 1 / workers) * bound * (1 + 1e-9)
    assert 0 < made.utilisation <= 1 + 1e-9
    for worker in range(workers):
        mine = np.flatnonzero(made.worker == worker)
        assert (made.start[mine][1:] >= made.end[mine][:-1] - 1e-9).all()


@given(lengths)
def test_where_workers_stop_helping(seconds: list[float]) -> None:
    """Beyond `useful_workers` the longest run is the bound, below it the total; a worker a run reaches it."""
    many = useful_workers(seconds)
    assert lower_bound(seconds, math.ceil(many)) == pytest.approx(max(seconds))
    below = max(1, math.floor(many))
    assert lower_bound(seconds, below) == pytest.approx(sum(seconds) / below)
    assert list_schedule(seconds, len(seconds)).makespan == pytest.approx(max(seconds))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=7), st.integers(1, 3))
def test_longest_first_against_the_optimum(seconds: list[int], workers: int) -> None:
    """Longest first takes at most 4/3 - 1/(3m) times the optimum found by trying every assignment."""
    best = min(
        max(np.bincount(chosen, weights=seconds, minlength=workers))
        for chosen in itertools.product(range(workers), repeat=len(seconds))
    )
    made = list_schedule(np.array(seconds)[longest_first(seconds)], workers).makespan
    assert best <= made <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9


@pytest.mark.parametrize("checkpoint", [None, 3.0])
def test_failures_take_the_expected_time(checkpoint: float | None) -> None:
    """The mean of 20,000 drawn runs is that of the closed form, within four standard errors."""
    drawn = with_failures(np.full(20_000, 10.0), 8.0, np.random.default_rng(0), checkpoint)
    (expected,) = expected_seconds([10.0], 8.0, checkpoint)
    assert abs(drawn.mean() - expected) < 4 * drawn.std() / math.sqrt(len(drawn))


def test_expected_times_by_hand() -> None:
    """With a failure every 10 s, 10 s take 10 (e - 1); cut into pieces of 4, 4 and 2 they take less."""
    assert expected_seconds([10.0], 10.0)[0] == pytest.approx(10 * (math.e - 1))
    pieces = 10 * (2 * (math.exp(0.4) - 1) + math.exp(0.2) - 1)
    assert expected_seconds([10.0], 10.0, 4.0)[0] == pytest.approx(pieces)


@given(lengths, st.integers(0, 100))
def test_failures_only_cost_time(seconds: list[float], seed: int) -> None:
    """No run takes less than without failures, and where these are very rare each takes as long."""
    rng = np.random.default_rng(seed)
    assert (with_failures(seconds, 200.0, rng, 50.0) >= np.array(seconds) * (1 - 1e-12)).all()
    assert with_failures(seconds, 1e12, rng).tolist() == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: list_schedule([], 2), "at least one"),
        (lambda: list_schedule([1, -1], 2), r"positive and finite, got -1\.0"),
        (lambda: list_schedule([1], 0), "workers must be at least 1, not 0"),
        (lambda: with_failures([100.0], 1.0, np.random.default_rng(0)), "make checkpoints more often"),
        (lambda: with_failures([1.0], 0.0, np.random.default_rng(0)), "must be positive"),
    ],
)
def test_what_cannot_be_scheduled(call, complaint: str) -> None:
    """Impossible inputs are refused in one line that names the value."""
    with pytest.raises(ValueError, match=complaint):
        call()
