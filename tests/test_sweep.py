"""The sweep: resumes, survives kill -9 at any moment, stops cleanly, and equals an undisturbed one."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from minichin import corpus, sweep
from minichin.plan import RunSpec
from minichin.runs import Store, default_store
from minichin.train import train
from minichin.unfinished import Unfinished

# A driver of its own: ten short runs, so that a kill may fall before, in, between or after any of them.
DRIVER = """
import sys
from minichin import sweep
from tests import test_sweep
if __name__ == "__main__":
    sweep.sweep(getattr(test_sweep, sys.argv[2])(), sys.argv[1], workers=2, engine=sys.argv[3])
"""
LIMIT = 120
SECONDS = (3, 5, 8, 12, 18, 27, 40)
LONG_STEPS = 2500


def specs() -> list[RunSpec]:
    """Ten runs of well under a second each."""
    return [
        RunSpec(
            width=8 * (1 + seed % 3),
            budget=1e9 * (1 + seed % 2),
            steps=150,
            lr=0.01,
            warmup_steps=20,
            seed=seed,
            corpus="help",
            depth=1,
            context=32,
            head_dim=8,
            batch_tokens=64,
            valid_tokens=1024,
            curve_tokens=256,
            curve_points=4,
        )
        for seed in range(10)
    ]


def long_specs() -> list[RunSpec]:
    """A short run and one of some seconds: when two workers have done the first, the second is on its way."""
    short, other = specs()[:2]
    return [short, dataclasses.replace(other, steps=LONG_STEPS, curve_points=6)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Store:
    """The store of a sweep that nobody disturbed."""
    return sweep.sweep(specs(), tmp_path_factory.mktemp("undisturbed"), workers=1, progress=False)


@pytest.fixture(scope="module")
def undisturbed_long(tmp_path_factory) -> Store:
    """The store of the long runs, trained in one go."""
    return sweep.sweep(
        long_specs(), tmp_path_factory.mktemp("long"), workers=2, engine="torch", progress=False
    )


def same_runs(one: Store, two: Store) -> bool:
    """Whether two stores hold the same runs with bitwise equal losses."""
    a, b = one.by_key(), two.by_key()
    return a.keys() == b.keys() and all(a[key].same_result(b[key]) for key in a)


def start(store, what: str = "specs", engine: str = "auto") -> subprocess.Popen:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(store), what, engine],
        cwd=root,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def group_is_gone(group: int, within: float) -> bool:
    """Whether every process of a group ends within so many seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_kill_nine_at_ten_random_moments(tmp_path, undisturbed):
    """Killed ten times at random moments and run again, a sweep loses and repeats no finished run.

    The store reads after every kill, the workers end by themselves, and the final losses are those of an
    undisturbed sweep, bit for bit.
    """
    moments = random.Random(7)
    written = 0
    for _ in range(10):
        driver = start(tmp_path)
        time.sleep(moments.uniform(0.5, 6.0))
        driver.kill()
        driver.wait()
        driver.stderr.close()
        assert group_is_gone(driver.pid, within=30)
        if (tmp_path / "runs.jsonl").exists():
            now = len(Store(tmp_path).records())
            assert now >= written
            written = now
    last = start(tmp_path)
    _, errors = last.communicate(timeout=LIMIT)
    assert last.returncode == 0, errors
    store = Store(tmp_path)
    lines = store.file.read_text().splitlines()[1:]
    assert len(lines) - store.torn_lines == 10
    assert same_runs(store, undisturbed)


def test_interrupt_stops_cleanly(tmp_path, undisturbed):
    """Ctrl-C ends driver and workers at once; what was finished is kept and the rest follows later."""
    driver = start(tmp_path)
    while driver.poll() is None and not ((tmp_path / "runs.jsonl").exists() and Store(tmp_path).records()):
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=LIMIT)
    assert group_is_gone(driver.pid, within=30)
    kept = len(Store(tmp_path).records())
    assert kept >= 1
    sweep.sweep(specs(), tmp_path, workers=1, progress=False)
    assert same_runs(Store(tmp_path), undisturbed)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_run_goes_on_where_it_was(tmp_path, undisturbed_long, how):
    """Runs in training when the driver is killed or interrupted go on from there, to the same record.

    The workers of a killed driver save their runs by themselves. The next sweep says that it goes on, ends as
    an undisturbed one does, bit for bit, and leaves no checkpoint behind.
    """
    store = Store(tmp_path)
    begun: dict[str, int] = {}
    for longer in (0.0, 3.0, 9.0):  # should the worker with the long run have come late
        driver = start(tmp_path, "long_specs", "torch")
        while driver.poll() is None and not store.records():
            time.sleep(0.02)
        time.sleep(longer)
        driver.send_signal(how)
        driver.communicate(timeout=LIMIT)
        assert group_is_gone(driver.pid, within=30)
        begun = {key: b.step for key, b in Unfinished(store).begun(long_specs()).items() if b.step}
        if begun:
            break
    assert [0 < steps < LONG_STEPS for steps in begun.values()] == [True]
    last = start(tmp_path, "long_specs", "torch")
    _, errors = last.communicate(timeout=LIMIT)
    assert last.returncode == 0, errors
    assert "going on after step" in errors
    assert same_runs(Store(tmp_path), undisturbed_long)  # read anew: an interrupted write may be taken back
    assert not (tmp_path / "unfinished").exists()


def test_checkpoints_of_finished_runs_are_cleared(tmp_path, undisturbed):
    """What a crash left between a record and the removal of its checkpoint goes with the next sweep."""
    store = Store(tmp_path)
    for record in undisturbed.records():
        store.append(record)
    left = tmp_path / "unfinished" / f"{specs()[0].spec_hash}.npz"
    left.parent.mkdir()
    left.write_bytes(b"torn")
    left.with_name(f"{left.name}.1234.part").write_bytes(b"torn")
    sweep.sweep(specs(), store, progress=False)
    assert not left.parent.exists()


def test_finished_runs_are_not_repeated(undisturbed):
    """A sweep over a full store trains nothing and changes nothing."""
    before = undisturbed.file.stat()
    sweep.sweep(specs(), undisturbed, progress=False)
    after = undisturbed.file.stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def test_workers_give_what_train_gives(undisturbed):
    """A record made by a worker equals `train` in this process, bit for bit."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    record = train(specs()[4], corpus.load("help"))
    torch.set_num_threads(threads)
    assert undisturbed.by_key()[record.key].same_result(record)


def test_time_limit(tmp_path):
    """With no time at all the sweep ends at once, without an error, and a later one does the work."""
    store = sweep.sweep(specs(), tmp_path, workers=1, time_limit=0.01, progress=False)
    assert len(store.records()) < 10


def test_a_run_longer_than_the_limit_goes_on_slice_by_slice(tmp_path, undisturbed_long):
    """Runs longer than every slice are trained over several, and end as if in one go, bit for bit."""
    wanted, reached = long_specs(), []
    for seconds in SECONDS:  # a slow machine does not even begin in the first of them
        store = sweep.sweep(wanted, tmp_path, workers=2, time_limit=seconds, engine="torch", progress=False)
        if not sweep.missing(wanted, store):
            break
        reached.append(sum(b.step for b in Unfinished(store).begun(wanted).values()))
    assert reached == sorted(reached)
    assert 0 < reached[-1] < LONG_STEPS
    assert same_runs(store, undisturbed_long)
    assert not (tmp_path / "unfinished").exists()


def test_another_version_of_the_text_is_refused(tmp_path, undisturbed):
    """Runs on a changed text are not mixed into a store; the error names text and store."""
    line = undisturbed.file.read_text().splitlines()[1]
    digest = undisturbed.records()[0].corpus_sha256
    changed = line.replace(digest, "0" * 64)
    (tmp_path / "runs.jsonl").write_text('{"minichin_store": 1}\n' + changed + "\n")
    with pytest.raises(ValueError, match=r"another version of the text 'help'.*--store"):
        sweep.sweep(specs(), tmp_path, progress=False)


def test_workers_must_be_positive(tmp_path):
    """Zero workers are refused in words."""
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        sweep.sweep(specs(), tmp_path, workers=0, progress=False)


def test_a_failing_run_is_told(tmp_path):
    """A run that fails in a worker ends the sweep with its width, budget and error."""
    bad = dataclasses.replace(specs()[0], valid_tokens=16)
    with pytest.raises(sweep.SweepError, match=r"width 8 at 1e\+09 FLOPs, seed 0: ValueError: corpus 'help'"):
        sweep.sweep([bad], tmp_path, workers=1, progress=False)


def test_order_is_small_budgets_first_and_long_runs_first_within_one():
    """Runs are handed out by rising budget, and within one budget by falling number of steps."""
    from minichin.plan import plan

    ordered = sweep.order(plan("cpu"))
    keys = [(s.budget, -s.steps) for s in ordered]
    assert keys == sorted(keys)


def test_published_needs_no_training():
    """`ensure("published")` opens the committed records and changes nothing in them."""
    before = default_store("published").joinpath("runs.jsonl").read_bytes()
    assert len(sweep.ensure("published").records()) > 0
    assert default_store("published").joinpath("runs.jsonl").read_bytes() == before
