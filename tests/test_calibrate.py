"""Estimates of time: every size is timed once, by the engine that would train, and runs add up."""

import pytest

from minichin.calibrate import EVALUATION_SHARE, run_seconds, seconds_per_step, sweep_seconds
from tests.test_train import tiny


def test_every_size_is_timed_once():
    """Each (width, batch) of the plan has one positive time, whatever the length of its runs."""
    specs = [tiny(), tiny(seed=1, steps=10**9), tiny(width=24, steps=10**9), tiny(batch_tokens=128)]
    found = seconds_per_step(specs, "cpu")
    assert set(found) == {(16, 64), (24, 64), (16, 128)}
    assert all(seconds > 0 for seconds in found.values())


def test_the_engine_asked_for_is_timed():
    """The reference can be timed too; an engine that is not there is refused in words."""
    assert seconds_per_step([tiny()], "cpu", "torch")[16, 64] > 0
    with pytest.raises(ValueError, match="unknown engine 'magic'"):
        seconds_per_step([tiny()], "cpu", "magic")


def test_runs_and_sweeps_add_up():
    """By hand: a run's seconds are its steps' and its evaluations'; runs go to the first free worker."""
    spec, per_step = tiny(steps=100, valid_tokens=3200, curve_tokens=640, curve_points=5), {(16, 64): 0.5}
    one = 0.5 * (100 + EVALUATION_SHARE * 100)
    assert run_seconds(spec, per_step) == pytest.approx(one)
    assert sweep_seconds([spec] * 3, per_step, 1) == pytest.approx(3 * one)
    assert sweep_seconds([spec] * 3, per_step, 2) == pytest.approx(2 * one)
