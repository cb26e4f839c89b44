"""What comes next in a sweep, how long it is expected to take, and what is shown of it."""

import dataclasses
import io

import pytest
from rich.console import Console

from minichin.drive import Queue
from minichin.jobs import Message
from minichin.pace import Pace, evaluations
from minichin.plan import RunSpec
from minichin.progress import Rate, SweepDisplay, memory_text, short
from minichin.runs import Evaluation, RunRecord
from minichin.unfinished import Begun
from tests.test_train import tiny


def record(spec: RunSpec, seconds: float) -> RunRecord:
    """A finished run that took so long."""
    return RunRecord(
        spec=spec,
        val_loss=2.0,
        curve=(Evaluation(spec.steps, 2.0, 2.0),),
        status="finished",
        stopped_at=spec.steps,
        seconds=seconds,
        device="cpu: test",
        versions={"engine": "torch"},
        corpus_sha256="0" * 64,
    )


def test_runs_too_long_for_the_time_left_are_not_started():
    """With a limit, a run that would fit into a whole slice but not into what is left of this one waits."""
    long, short_run = tiny(steps=200), tiny(steps=10)
    queue = Queue([long, short_run], time_limit=60.0)
    queue.pace.see(long, 100, 20.0)
    assert queue.deadline is not None
    queue.deadline -= 30.0
    assert queue.next() == (short_run,)
    assert queue.next() == ()
    assert Queue([long, short_run], time_limit=None).next() == (long,)


def test_a_run_longer_than_any_slice_is_started_last():
    """A run that no slice can hold is started where nothing else fits: it goes on over several."""
    long, short_run = tiny(steps=1000), tiny(steps=10)
    queue = Queue([long, short_run], time_limit=60.0)
    queue.pace.see(long, 100, 20.0)
    assert [queue.next(), queue.next(), queue.next()] == [(short_run,), (long,), ()]


def test_unfinished_runs_come_first():
    """A run that was begun comes before all others, with or without a limit, however long it is."""
    short_run, long = tiny(steps=10), tiny(steps=1000)
    for limit in (None, 5.0):
        queue = Queue([short_run, long], time_limit=limit, begun={long.spec_hash: Begun(100)})
        queue.pace.see(long, 100, 20.0)
        assert queue.next() == (long,)


def test_what_is_done_of_a_run_is_not_counted_again():
    """The expected time of a run that goes on is that of its further steps and losses."""
    pace, spec = Pace(), tiny(steps=1000)
    pace.see(spec, 10, 1.0)
    whole, rest = pace.seconds(spec), pace.seconds(spec, 900)
    assert whole == pytest.approx(1.1 * 0.1 * (1000 + evaluations(spec)))
    assert rest == pytest.approx(1.1 * 0.1 * (100 + evaluations(spec, 0.1)))


def test_records_tell_the_pace_before_the_first_run():
    """A store's records stand in for what this sweep has not seen, at the speed that it sees now."""
    small, large = tiny(steps=100), tiny(width=32, steps=100)
    count = 100 + evaluations(small)
    pace = Pace([record(small, 0.01 * count), record(large, 0.04 * count)])
    assert pace.seconds(large) == pytest.approx(1.1 * 0.04 * count)
    pace.see(small, 10, 0.2)  # twice as slow as then
    assert pace.seconds(large) == pytest.approx(1.1 * 0.08 * count)


def test_runs_too_short_to_report_teach_by_their_record():
    """A run that ended before its first report still tells the pace."""
    pace, spec = Pace(), tiny(steps=100)
    pace.finish(record(spec, 3.0), (spec,))
    assert pace.seconds(spec) == pytest.approx(1.1 * 3.0)


def test_numbers_are_short():
    """Counts are written in three figures with a unit, up to the next one."""
    assert [short(n) for n in (0, 950, 999.6, 64_230, 999_900, 1.284e6, 3.4e9)] == [
        "0",
        "950",
        "1.00k",
        "64.2k",
        "1.00M",
        "1.28M",
        "3.40G",
    ]


def test_memory_of_workers_is_added_and_a_gpus_shown_as_a_share():
    """Workers' resident bytes are summed; of one GPU the whole is named too."""
    assert memory_text({}) == ""
    assert memory_text({"a": (300_000_000, 0), "b": (500_000_000, 0)}) == "0.8 GB"
    assert memory_text({"gpu": (3_100_000_000, 141_000_000_000)}) == "3.1 of 141 GB"


def test_rate_counts_the_last_seconds():
    """Tokens a second are those of the last ten seconds, not of the whole sweep."""
    rate = Rate()
    assert rate(0, 0.0) == 0.0
    assert rate(100, 10.0) == 10.0
    for second in range(11, 40):
        latest = rate(100 + 50 * (second - 10), float(second))
    assert latest == pytest.approx(50.0)


def test_the_line_of_the_whole_shows_speed_and_memory():
    """While runs train, tokens a second of all of them and the memory in use stand in the overall line."""
    specs = [tiny(seed=seed, steps=1000) for seed in range(2)]
    with SweepDisplay(specs, specs, enabled=False) as display:
        for spec in specs:
            display.start(spec, 0)
        display.rate.seen.append((display.started - 5.0, 0.0))
        for worker, spec in enumerate(specs):
            display.update(
                spec, Message("progress", step=500, loss=3.0, worker=str(worker), memory=250_000_000)
            )
        info = display.live.tasks[0].fields["info"]
    assert "tokens/s, 0.5 GB, " in info


def test_a_finished_run_is_told_with_its_speed():
    """The line of a finished run holds its loss and its own tokens a second."""
    spec = tiny(steps=1000)
    with SweepDisplay([spec], [spec]) as display:
        display.console = Console(file=io.StringIO(), width=200)
        display.start(spec, 0)
        display.finish(spec, record(spec, 10.0))
        told = display.console.file.getvalue()
    assert f"2.0000 nats a token, 10 s, {short(100 * spec.batch_tokens)} tokens/s" in told


def test_steps_of_an_earlier_sweep_are_not_speed():
    """A run that goes on starts where it was, and the time left counts only what this sweep does."""
    spec = dataclasses.replace(tiny(), steps=1000)
    with SweepDisplay([spec], [spec], enabled=False) as display:
        display.start(spec, 900)
        display.started -= 10.0
        assert display.time_left() is None
        display.update(spec, Message("progress", step=950))
        assert display.time_left() == pytest.approx(10.0, rel=0.05)
