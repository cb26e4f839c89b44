"""The plan is data: the recipe's values and the profiles' rows are held against numbers by hand."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minichin.plan import (
    PROFILES,
    PlanError,
    RunSpec,
    left_out,
    make_spec,
    on_text,
    peak_lr,
    plan,
    profile,
    warmup_steps,
)


def test_recipe_by_hand():
    """Warm-up is counted in steps, min(200, steps / 5), never less than one."""
    assert [warmup_steps(s) for s in (1, 10, 500, 1000, 50_000)] == [1, 2, 100, 200, 200]


@given(st.integers(1, 64), st.integers(100, 100_000))
def test_peak_lr_falls_with_width_and_length(eighths, steps):
    """The peak learning rate falls with width and never rises with the number of steps."""
    width = 8 * eighths
    assert peak_lr(width, steps) > peak_lr(width + 8, steps)
    assert peak_lr(width, steps) >= peak_lr(width, 2 * steps)


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu"])
def test_every_run_spends_its_budget(name):
    """Each run's FLOPs meet the budget within the profile's stated tolerance, and keys are unique."""
    specs = plan(name)
    assert all(abs(s.flops - s.budget) <= profile(name).tolerance * s.budget for s in specs)
    assert len({s.spec_hash for s in specs}) == len(specs)


def test_cpu_grid_brackets_the_known_optima():
    """Each budget's widths lie on both sides of the optimum that earlier sweeps found (design, lab log)."""
    optimum = {1e11: 20e3, 3e11: 31e3, 1e12: 61e3, 3e12: 104e3, 1e13: 203e3}
    for budget, params in optimum.items():
        sizes = sorted({s.shape.params for s in plan("cpu") if s.budget == budget})
        assert len(sizes) == {3e12: 6, 1e13: 4}.get(budget, 7)
        assert sizes[0] < params / 2
        assert sizes[-1] > (2 if budget == 1e13 else 4) * params


def test_cpu_runs_stay_under_one_epoch():
    """No run of the default profile sees a token twice."""
    assert all(s.tokens <= PROFILES["cpu"].train_tokens for s in plan("cpu"))


def test_plan_leaves_out_what_would_repeat_the_text():
    """Runs that would see the text more often than the profile allows are left out and reported."""
    strict = dataclasses.replace(PROFILES["gpu"], max_epochs=4.0)
    limit = 4 * strict.train_tokens
    assert all(s.tokens <= limit for s in plan(strict))
    assert left_out(strict)
    assert all(s.tokens > limit for s in left_out(strict))
    assert not left_out("gpu")


def test_hash_covers_every_field():
    """Changing any field of a spec changes its hash."""
    base = make_spec(1e11, 16)
    for field in dataclasses.fields(RunSpec):
        value = getattr(base, field.name)
        other = {"schedule": "linear", "corpus": "help", "cycle": 2.0}.get(field.name) or (
            value * 2 if isinstance(value, int) and value else value + 1
        )
        assert dataclasses.replace(base, **{field.name: other}).spec_hash != base.spec_hash, field.name


def test_impossible_budget_is_a_plan_error():
    """A budget that whole steps cannot meet is refused with the size of the miss."""
    with pytest.raises(PlanError, match=r"width 160 at 1e\+09 FLOPs: 1 steps spend .* off by"):
        make_spec(1e9, 160)


def test_unknown_profile():
    """An unknown profile is refused with the list of names."""
    with pytest.raises(ValueError, match="unknown profile 'cpus'; choose one of smoke, cpu, gpu, published"):
        plan("cpus")


def test_another_text():
    """The same runs on another text differ in the corpus alone; a text too small leaves the longest out."""
    other = on_text("cpu", "text:mine", PROFILES["cpu"].train_tokens)
    assert [dataclasses.replace(s, corpus="enwik8") for s in plan(other)] == plan("cpu")
    assert {s.corpus for s in plan(other)} == {"text:mine"}
    small = on_text("cpu", "text:mine", 1_000_000)
    assert left_out(small)
    assert max(s.tokens for s in plan(small)) <= 4_000_000


def test_published_trains_nothing():
    """The profile `published` has no runs to train."""
    assert plan("published") == []
