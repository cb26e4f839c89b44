"""Jobs of several runs: which runs share one, within which time, and what they teach of the pace."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minichin.drive import Queue
from minichin.jobs import kin
from minichin.pace import Pace, evaluations
from minichin.plan import RunSpec
from minichin.unfinished import STACKED, Begun
from tests.test_drive import record
from tests.test_train import tiny

specs = st.lists(
    st.builds(
        tiny,
        width=st.sampled_from([8, 16]),
        batch_tokens=st.sampled_from([64, 128]),
        corpus=st.sampled_from(["help", "synthetic"]),
        seed=st.integers(0, 3),
        steps=st.sampled_from([20, 40, 400]),
    ),
    max_size=16,
    unique_by=lambda spec: spec.spec_hash,
)
begun = st.none() | st.builds(Begun, st.sampled_from([5, 10]), st.sampled_from([STACKED, "torch"]))
sizes = st.integers(1, 5)


def jobs(queue: Queue) -> list[tuple[RunSpec, ...]]:
    """All jobs that the queue gives now."""
    return list(iter(queue.next, ()))


@given(todo=specs, marks=st.lists(begun, min_size=16, max_size=16), stack=sizes)
@settings(deadline=None)
def test_every_run_is_given_out_once_with_its_like(todo, marks, stack):
    """No run is left or given out twice; a job holds runs of one kind, at one step, no more than allowed.

    Runs that another engine began stay alone. Each job opens with the first run that is left, begun ones
    before all others, and no two jobs of one kind could have been one.
    """
    before = {s.spec_hash: mark for s, mark in zip(todo, marks, strict=False) if mark is not None}
    queue = Queue(todo, None, begun=before, stack=stack)
    in_order = list(queue.todo)
    assert [s.spec_hash in before for s in in_order] == sorted(
        (s.spec_hash in before for s in todo), reverse=True
    )
    given_out = jobs(queue)
    assert sorted(s.spec_hash for job in given_out for s in job) == sorted(s.spec_hash for s in todo)
    rooms: dict[tuple, int] = {}
    for job in given_out:
        kinds = {(kin(s), before.get(s.spec_hash)) for s in job}
        assert len(kinds) == 1
        assert 1 <= len(job) <= stack
        assert job[0] == in_order[0]
        assert [s for s in in_order if s in job] == list(job)
        in_order = [s for s in in_order if s not in job]
        (kind,) = kinds
        if kind[1] is not None and kind[1].engine != STACKED:
            assert len(job) == 1
        else:
            assert rooms.get(kind, 0) == 0
            rooms[kind] = stack - len(job)
    assert in_order == []


@given(todo=specs, stack=sizes, share=st.floats(0.01, 1.0), alone=st.floats(0.01, 1.0))
@settings(deadline=None)
def test_runs_that_would_not_fit_begin_alone_if_at_all(todo, stack, share, alone):
    """With a time limit, a job of several runs is one that ends in time, by its shares and by each run alone.

    What is left over does not fit into the time that is left, though it would into a whole slice.
    """
    queue = Queue(todo, 100.0, stack=stack)
    for spec in todo:
        queue.pace.see(spec, 1, alone)
        queue.pace.see(spec, 1, share, stacked=True)
    given_out = jobs(queue)
    for job in given_out:
        if len(job) > 1:
            assert sum(queue.pace.seconds(spec, stacked=True) for spec in job) <= 100.0
            assert max(queue.pace.seconds(spec) for spec in job) <= 100.0
    assert sum(map(len, given_out)) + len(queue.todo) == len(todo)
    left = queue.left()
    assert all(left < queue.pace.seconds(spec) <= 100.0 for spec in queue.todo)


def test_a_stack_takes_what_ends_in_time_and_leaves_the_rest():
    """Of six runs whose shares are 20 s each, a slice of 90 s takes four; a longer one comes alone, last."""
    six, long = [tiny(steps=100, seed=seed) for seed in range(6)], tiny(steps=1000)
    queue = Queue([*six, long], 90.0, stack=6)
    queue.pace.see(six[0], 1, 0.1)
    queue.pace.see(six[0], 1, 20.0 / 1.1 / (100 + evaluations(six[0])), stacked=True)
    assert queue.next() == tuple(six[:4])
    assert queue.next() == tuple(six[4:])
    assert queue.next() == (long,)


def test_runs_of_a_stopped_stack_stay_together_whatever_the_time():
    """Begun runs at one step of a stack are one job though they would not end in this slice."""
    runs = [tiny(steps=1000, seed=seed) for seed in range(3)]
    queue = Queue(runs, 5.0, begun={spec.spec_hash: Begun(7, STACKED) for spec in runs}, stack=4)
    queue.pace.see(runs[0], 1, 1.0)
    assert queue.next() == tuple(runs)
    assert queue.stacked(tuple(runs))
    assert queue.stacked(tuple(runs[:1]))


def test_a_share_is_the_time_of_the_runs_that_report():
    """A stack's reports teach each run's share; a half that waits has none; after an end it is taken anew."""
    job = tuple(tiny(seed=seed, steps=1000) for seed in range(4))
    pace, steps = Pace(), 1.1 * (1000 + evaluations(job[0]))

    def report(reporting: tuple[RunSpec, ...], step: int, now: float) -> float:
        for spec in reporting:
            pace.progress(spec, job, True, step, now)
        return pace.seconds(job[0], stacked=True) / steps

    assert report(job[:2], 10, 5.0) == 0.0
    assert report(job[:2], 20, 6.0) == pytest.approx(0.1 / 2)
    assert pace.seconds(job[0]) == pytest.approx(0.05 * steps)  # while runs alone are not known
    pace.finish(record(job[0], 3.0), job)
    assert report(job[1:2], 30, 9.0) == pytest.approx(0.05)
    assert report(job[1:2], 40, 9.2) == pytest.approx(0.02)
    pace.see(job[0], 1, 0.5)
    assert pace.seconds(job[0]) == pytest.approx(0.5 * steps)
    assert report(job[1:2], 50, 9.4) == pytest.approx(0.02)
