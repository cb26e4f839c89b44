"""Sweeps that train same-shape runs in stacks: the same runs, once each, however often they are stopped."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

from minichin import engine_graphs, sweep
from minichin.jobs import Message, train_job
from minichin.plan import RunSpec
from minichin.runs import Store
from minichin.stack import train_stack
from minichin.train import train
from minichin.unfinished import STACKED, Begun, Unfinished
from tests.conftest import ROOT
from tests.test_stack import large
from tests.test_stack_rest import until_stopped
from tests.test_sweep import group_is_gone, same_runs
from tests.test_train import tiny

LIMIT = 300
STEPS = 1000
DRIVER = """
import sys
from minichin import sweep
from tests.test_sweep_stack import mixed
if __name__ == "__main__":
    sweep.sweep(mixed(), sys.argv[1], workers=1, stack=4, device="cpu")
"""


def mixed() -> list[RunSpec]:
    """Two shapes with several seeds, one of them in two lengths and with a run that diverges; and a loner."""
    short = [tiny(width=width, seed=seed) for width in (8, 16) for seed in range(3)]
    wild = tiny(lr=1e4, seed=7)
    return [*short, wild, *(tiny(seed=seed, steps=STEPS) for seed in (8, 9)), tiny(width=24)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Store:
    """The store of a sweep with stacks of four that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return sweep.sweep(mixed(), folder, workers=2, stack=4, device="cpu", progress=False)


@pytest.mark.usefixtures("one_thread")
def test_stacks_train_every_run_once(undisturbed, text):
    """Every run has one record, within 0.02 nats of its reference; the one that diverges harms none."""
    records = undisturbed.records()
    assert sorted(r.key for r in records) == sorted(spec.spec_hash for spec in mixed())
    assert [r.spec.width for r in records if r.versions["engine"] != STACKED] == [24]
    assert [r.spec.seed for r in records if r.status == "diverged"] == [7]
    for found in records:
        if found.spec.steps < STEPS:
            alone = train(found.spec, text, device="cpu", engine="torch")
            assert found.val_loss == pytest.approx(alone.val_loss, abs=0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_stopped_stack_goes_on_in_the_next_sweep(tmp_path, undisturbed, how):
    """The long runs of a stack whose driver is killed or interrupted go on together from the same step.

    The sweep ends as the undisturbed one did, bit for bit, and leaves no checkpoint behind.
    """
    watched = Store(tmp_path)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while driver.poll() is None and len(watched.records()) < 2:
        time.sleep(0.02)
    driver.send_signal(how)
    _, errors = driver.communicate(timeout=LIMIT)
    assert group_is_gone(driver.pid, within=30)
    assert "up to 4 runs of one shape train together, by the engine stack in torch; on a CPU" in errors
    store = Store(tmp_path)  # read anew: an interrupted write, which was seen, may have been taken back
    begun = Unfinished(store).begun(mixed())
    both = [begun[spec.spec_hash] for spec in mixed() if spec.steps == STEPS]
    assert both[0] == both[1]
    assert (both[0].engine, 60 <= both[0].step < STEPS) == (STACKED, True)
    sweep.sweep(mixed(), tmp_path, workers=1, stack=4, device="cpu", progress=False)
    assert same_runs(store, undisturbed)
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.usefixtures("one_thread")
def test_a_stack_longer_than_the_limit_goes_on_slice_by_slice(tmp_path, text):
    """Begun before anything is known of the pace, a stack is trained over several slices, bit for bit."""
    wanted, reached = [tiny(seed=seed, steps=STEPS) for seed in (8, 9)], []
    for seconds in (3, 5, 8, 12, 18, 27, 40):
        store = sweep.sweep(
            wanted, tmp_path, workers=1, time_limit=seconds, stack=2, device="cpu", progress=False
        )
        if not sweep.missing(wanted, store):
            break
        reached.append({begun.step for begun in Unfinished(store).begun(wanted).values()})
    assert max(map(len, reached)) == 1
    assert max(steps.pop() for steps in reached if steps) < STEPS
    whole = {record.key: record for record in train_stack(wanted, text, device="cpu")}
    assert all(record.same_result(whole[record.key]) for record in store.records())


@pytest.mark.usefixtures("one_thread")
def test_a_run_of_a_stopped_stack_goes_on_alone(tmp_path, text, monkeypatch):
    """Without stacks, a run that was stopped in one goes on from there by the same engine, bit for bit."""
    monkeypatch.setattr(engine_graphs, "TELL_EVERY", 0.0)
    pair = [tiny(seed=seed, steps=200) for seed in (1, 2)]
    until_stopped(pair, text, 50, tmp_path / "unfinished")
    assert set(Unfinished(Store(tmp_path)).begun(pair).values()) == {Begun(50, STACKED)}
    store = sweep.sweep(pair, tmp_path, workers=1, device="cpu", progress=False)
    whole = {record.key: record for record in train_stack(pair, text, device="cpu")}
    assert len(store.records()) == 2
    assert all(record.same_result(whole[record.key]) for record in store.records())


def told(job, text, folder, stop=lambda message: False) -> list[Message]:
    """What is told of a job; `stop` answers each message."""
    heard: list[Message] = []

    def tell(message: Message) -> bool:
        heard.append(message)
        return stop(message)

    train_job(job, lambda _: text, device="cpu", engine="auto", checkpoints=folder, tell=tell)
    return heard


def test_what_is_told_of_a_stack(text, tmp_path, monkeypatch):
    """Each run is told to have started, to go on, and how it ended: done, stopped or failed (and why)."""
    monkeypatch.setattr(engine_graphs, "TELL_EVERY", 0.0)
    job = tuple(tiny(seed=seed, steps=20 * seed) for seed in (1, 2, 3))
    keys = [spec.spec_hash for spec in job]
    heard = told(job, text, tmp_path)
    assert [(m.kind, m.key) for m in heard[:6]] == [(k, key) for k in ("started", "progress") for key in keys]
    ends = [message for message in heard if message.kind == "done"]
    assert [(m.key, m.record.key, m.step) for m in ends] == [
        (keys[n], keys[n], 20 * n + 20) for n in range(3)
    ]
    heard = told(job, text, tmp_path, lambda message: message.step == 30)
    assert [(m.kind, m.key) for m in heard[-2:]] == [("stopped", keys[1]), ("stopped", keys[2])]
    bad = (job[0], job[1], dataclasses.replace(job[2], valid_tokens=16))
    heard = told(bad, text, tmp_path / "bad")
    assert [m.key for m in heard if m.kind == "failed"] == [spec.spec_hash for spec in bad]
    assert heard[-1].text.startswith("ValueError: corpus 'help' holds")


HALVED = """
import re, resource, sys, warnings
from pathlib import Path
import torch
from minichin import corpus
from minichin.drive import Queue, drive
from minichin.progress import SweepDisplay
from minichin.runs import Store
from minichin.stack import train_stack
from minichin.workers import LocalPool
from tests.test_stack import large

def size():
    return int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
list(train_stack(large(1), corpus.load("help"), device="cpu"))  # what one run loads later ones need not
store, specs = Store(sys.argv[1]), large(4)
with warnings.catch_warnings(record=True) as caught, SweepDisplay(specs, specs, enabled=False) as display:
    warnings.simplefilter("always")
    pool = LocalPool(1, checkpoints=store.folder / "unfinished", device="cpu", threads=True)
    resource.setrlimit(resource.RLIMIT_AS, (size() + 200 * 2**20, -1))
    drive(Queue(specs, None, stack=4), pool, store, display)
print(*(warning.message for warning in caught), sep="\\n")
"""


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_a_stack_too_large_for_the_memory_is_halved_in_a_sweep(tmp_path, text):
    """Where an allocation fails in a worker, the sweep goes on with smaller stacks to the same losses."""
    frugal = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}  # a thread's heap counts as used
    out = subprocess.run(
        [sys.executable, "-c", HALVED, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **frugal},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("a stack of 4 runs is halved: ")
    found = {record.spec.seed: record.val_loss for record in Store(tmp_path).records()}
    whole = {record.spec.seed: record.val_loss for record in train_stack(large(4), text, device="cpu")}
    assert found == pytest.approx(whole, abs=1e-4)
    assert not (tmp_path / "unfinished").exists()


def test_a_stack_of_none_is_refused(tmp_path):
    """Stacks of fewer than one run are refused in words."""
    with pytest.raises(ValueError, match="a stack must hold at least 1 run, not 0"):
        sweep.sweep(mixed(), tmp_path, stack=0, progress=False)
