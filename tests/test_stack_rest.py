"""Stopped stacks: every run leaves a checkpoint of its own, and they go on bit for bit."""

import dataclasses
import os
import subprocess
import sys

import pytest

from minichin import engine_graphs, train
from minichin.engine import Stopped
from minichin.stack import train_stack
from minichin.stack_engine import StackEngine
from minichin.unfinished import STACKED, Begun, read
from tests.conftest import ROOT
from tests.test_stack import MIXED, large
from tests.test_train import tiny

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def told_of_every_step(monkeypatch):
    """Progress is reported after each step."""
    monkeypatch.setattr(engine_graphs, "TELL_EVERY", 0.0)


def stop_at(step: int):
    """A progress callback that ends a stack once it has reached `step`."""

    def progress(_spec, now: int, _loss: float) -> None:
        if now >= step:
            raise Stopped

    return progress


def until_stopped(specs, text, step: int, folder) -> dict:
    """The records that a stack yields before it is stopped at `step`."""
    found = {}
    stack = train_stack(specs, text, device="cpu", progress=stop_at(step), checkpoints=folder)
    with pytest.raises(Stopped):
        found.update((record.key, record) for record in stack)
    return found


def test_a_stopped_stack_ends_as_an_undisturbed_one(text, tmp_path):
    """Stopped twice, before and after the end of a run, every run gives the same record bit for bit.

    The first stop falls on a step at which a held-out loss is due. The seconds of all slices are counted.
    """
    whole = {record.key: record for record in train_stack(MIXED, text, device="cpu")}
    due = train.evaluation_steps(MIXED[0])[1]
    assert until_stopped(MIXED, text, due, tmp_path / "deep") == {}
    begun = {key: read(tmp_path / "deep" / f"{key}.npz") for key in whole}
    assert set(begun.values()) == {Begun(due, STACKED)}
    records = until_stopped(MIXED, text, 75, tmp_path / "deep")
    assert [record.stopped_at for record in records.values()] == [60]
    rest = [spec for spec in MIXED if spec.spec_hash not in records]
    last = list(train_stack(rest, text, device="cpu", checkpoints=tmp_path / "deep"))
    records |= {record.key: record for record in last}
    assert records.keys() == whole.keys()
    assert all(records[key].same_result(whole[key]) for key in whole)
    assert all(len(record.curve) == record.spec.curve_points for record in last)
    assert {path.stem for path in (tmp_path / "deep").iterdir()} == set(whole)


def test_runs_that_have_come_equally_far_go_on_together(text, tmp_path):
    """Of four runs, two wait at one step, one at another, one is new: three stacks, and the same records."""
    until_stopped(MIXED[:2], text, 10, tmp_path)
    until_stopped(MIXED[2:3], text, 20, tmp_path)
    stacks: dict[str, set[int]] = {}

    def watch(spec, step: int, _loss: float) -> None:
        stacks.setdefault(spec.spec_hash, set()).add(step)

    records = list(train_stack(MIXED, text, device="cpu", progress=watch, checkpoints=tmp_path))
    first_steps = [min(stacks[spec.spec_hash]) for spec in MIXED]
    assert first_steps == [14, 14, 24, 4]  # a new engine takes three steps before its first report
    whole = {record.key: record for record in train_stack(MIXED, text, device="cpu")}
    assert sorted(record.key for record in records) == sorted(whole)
    assert all(record.same_result(whole[record.key]) for record in records)


def test_checkpoints_are_renewed_on_the_way(text, tmp_path, monkeypatch):
    """While a stack goes on, the checkpoint of each of its runs follows, so that a crash loses little."""
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 0.0)
    specs, seen = [tiny(seed=seed, steps=20) for seed in (1, 2)], []

    def watch(spec, step: int, _loss: float) -> None:
        seen.append((step, read(tmp_path / f"{spec.spec_hash}.npz").step))

    list(train_stack(specs, text, device="cpu", progress=watch, checkpoints=tmp_path))
    later = [(step, saved) for step, saved in seen if saved]
    assert len(later) > 20
    assert {step - saved for step, saved in later} == {1}


def test_the_checkpoint_of_another_engine_is_left_alone(text, tmp_path):
    """A run begun by another engine starts afresh in a stack, with a warning, and the other way round."""
    spec = tiny(steps=200)
    file = tmp_path / f"{spec.spec_hash}.npz"

    def progress(step: int, _loss: float) -> None:
        if step >= 50:
            raise Stopped

    with pytest.raises(Stopped):
        train.train(spec, text, device="cpu", engine="torch", progress=progress, checkpoint=file)
    with pytest.warns(UserWarning, match="is of engine torch, not stack; the run starts afresh"):
        found = list(train_stack([spec], text, device="cpu", checkpoints=tmp_path))
    assert found[0].same_result(next(train_stack([spec], text, device="cpu")))
    until_stopped([spec], text, 20, tmp_path / "stack")
    with pytest.warns(UserWarning, match="is of engine stack, not torch; the run starts afresh"):
        train.train(spec, text, device="cpu", engine="torch", checkpoint=tmp_path / "stack" / file.name)


def test_without_a_place_a_stopped_stack_leaves_nothing(text, tmp_path, monkeypatch):
    """Without a folder for checkpoints a stack ends with `Stopped` alone."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Stopped):
        list(train_stack(MIXED, text, device="cpu", progress=stop_at(10)))
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_the_engine_is_known_without_torch():
    """What checkpoints of stacks are told apart by is the name of the engine."""
    assert StackEngine.name == STACKED


HALVED = """
import re, resource, sys, warnings
from pathlib import Path
import torch
from minichin import corpus, engine_graphs
from minichin.engine import Stopped
from minichin.stack import train_stack
from tests.test_stack_rest import of_two_lengths, stop_at

def size():
    return int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(1)
engine_graphs.TELL_EVERY = 0.0
text = corpus.load("help")
list(train_stack(of_two_lengths()[:1], text, device="cpu"))  # what one run loads later ones need not
enough = size() + 150 * 2**20
runs = train_stack(of_two_lengths(), text, device="cpu", progress=stop_at(8), checkpoints=Path(sys.argv[1]))
print(next(runs).spec.seed)
resource.setrlimit(resource.RLIMIT_AS, (enough, -1))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        next(runs)
    except Stopped:
        print(*(warning.message for warning in caught), sep="\\n")
"""


def of_two_lengths():
    """A short run and three longer ones; each takes more than a hundred megabytes."""
    short, *longer = large(4)
    return [dataclasses.replace(short, steps=4), *(dataclasses.replace(spec, steps=9) for spec in longer)]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_the_half_that_waits_is_kept_too(text, tmp_path):
    """A stack is halved on its way, and stopped while its first half trains: no run starts afresh.

    The child process may take 150 MB more than one run needed, too few for the three that are left after the
    first has ended at step 4. The half that trains is stopped at step 8; the other waits at step 4.
    """
    command = [sys.executable, "-c", HALVED, str(tmp_path)]
    blocks_go_back = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # to the system as soon as they are freed
    out = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **blocks_go_back},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    seed, note, *_ = out.stdout.splitlines()
    assert (seed, note[:29]) == ("0", "a stack of 3 runs is halved: ")
    rest = of_two_lengths()[1:]
    steps = [read(tmp_path / f"{spec.spec_hash}.npz").step for spec in rest]
    assert sorted(set(steps)) == [4, 8]
    assert steps == sorted(steps, reverse=True)
    resumed = list(train_stack(rest, text, device="cpu", checkpoints=tmp_path))
    whole = {record.key: record for record in train_stack(of_two_lengths(), text, device="cpu")}
    assert len(resumed) == 3
    assert all(record.same_result(whole[record.key]) for record in resumed)
