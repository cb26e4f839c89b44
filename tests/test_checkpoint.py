"""Stopped runs: taken up again bit for bit, never half-written, never taken for another's."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from minichin import checkpoint, engine_cpu, train
from minichin.engine import Stopped
from tests.test_train import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = ("torch", "compiled")


def stop_at(step: int):
    """A progress callback that ends the run once it has reached `step`."""

    def progress(now: int, _loss: float) -> None:
        if now >= step:
            raise Stopped

    return progress


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_ends_as_an_undisturbed_one(text, tmp_path, monkeypatch, kind):
    """Stopped twice and gone on with, a run gives the same record bit for bit, curve and all."""
    monkeypatch.setattr(engine_cpu, "SLICE", 1e-3)
    spec, file = tiny(steps=400), tmp_path / "deep" / "run.npz"
    whole = train.train(spec, text, device="cpu", engine=kind)
    for step in (100, 250):
        with pytest.raises(Stopped):
            train.train(spec, text, device="cpu", engine=kind, progress=stop_at(step), checkpoint=file)
        assert step <= int(np.load(file)["state/step"]) < 400
    resumed = train.train(spec, text, device="cpu", engine=kind, checkpoint=file)
    assert resumed.same_result(whole)
    assert list(file.parent.iterdir()) == [file]


def test_without_a_place_nothing_is_kept(text):
    """Without a checkpoint file a stopped run ends with `Stopped` alone."""
    with pytest.raises(Stopped):
        train.train(tiny(steps=400), text, device="cpu", engine="torch", progress=stop_at(50))


def test_periodic_saving(text, tmp_path, monkeypatch):
    """While a run goes on its checkpoint is renewed, so that a killed process loses little."""
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 0.0)
    seen, file = [], tmp_path / "run.npz"

    def progress(_step: int, _loss: float) -> None:
        if file.exists():
            seen.append(int(np.load(file)["state/step"]))

    train.train(tiny(steps=400), text, device="cpu", engine="torch", progress=progress, checkpoint=file)
    assert len(seen) >= 3
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("change", ["spec", "text", "file"])
def test_a_foreign_checkpoint_is_left_alone(text, tmp_path, change):
    """A checkpoint of another spec or text, or no checkpoint at all, is named, and the run starts afresh."""
    spec, file = tiny(steps=400), tmp_path / "run.npz"
    with pytest.raises(Stopped):
        train.train(spec, text, device="cpu", engine="torch", progress=stop_at(100), checkpoint=file)
    now, corpus = spec, text
    if change == "spec":
        now = tiny(steps=400, seed=5)
    elif change == "text":
        corpus = dataclasses.replace(text, sha256="0" * 64)
    else:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(UserWarning, match="starts afresh"):
        found = train.train(now, corpus, device="cpu", engine="torch", checkpoint=file)
    assert found.same_result(train.train(now, corpus, device="cpu", engine="torch"))


def test_a_failed_save_leaves_the_old_file(tmp_path):
    """A checkpoint that cannot be written leaves the one before it, and no remains."""
    file, old = tmp_path / "run.npz", checkpoint.Checkpoint({"step": np.array(3)}, (), 1.0)
    checkpoint.save(file, {"spec": "a"}, old)
    broken = checkpoint.Checkpoint({"step": np.array([object()])}, (), 1.0)
    with pytest.raises(ValueError, match="Object arrays"):
        checkpoint.save(file, {"spec": "a"}, broken)
    found = checkpoint.load(Path(file), {"spec": "a"})
    assert found is not None
    assert int(found.state["step"]) == 3
    assert list(tmp_path.iterdir()) == [file]
