"""The GPU's engine follows the reference: without capture on a CPU, with it where there is a GPU."""

import dataclasses

import numpy as np
import pytest
import torch

from minichin import corpus, sweep
from minichin.drive import Queue, drive
from minichin.engine import Engine, blocks
from minichin.engine_cuda import CudaEngine, memory
from minichin.engine_torch import EagerEngine, batches
from minichin.plan import RunSpec, peak_lr, plan
from minichin.progress import SweepDisplay
from minichin.runs import Store, open_store
from minichin.workers import LocalPool
from tests.test_train import tiny

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def pair(spec: RunSpec, text: corpus.Corpus, device: torch.device) -> tuple[CudaEngine, EagerEngine]:
    """Both engines on one spec."""
    rows = blocks(text.train, spec.context)
    return CudaEngine(spec, rows, device), EagerEngine(spec, rows, device)


def losses(engine: Engine, spec: RunSpec, text: corpus.Corpus) -> np.ndarray:
    """Held-out and training losses at every tenth step, (points, 2)."""
    held_out = blocks(text.valid, spec.context)[:32]
    found = []
    for stop in range(10, spec.steps + 1, 10):
        engine.advance(stop)
        found.append((engine.evaluate(held_out), engine.train_loss()))
    engine.close()
    return np.array(found)


def test_gradients_equal_the_reference(text):
    """In float32, the first batch's gradients agree with the reference's within 1e-5, each matrix apart."""
    spec = tiny(depth=2, width=32)
    ours, reference = pair(spec, text, CPU)
    ids = next(batches(blocks(text.train, spec.context), spec, CPU))
    reference.trained.model.loss(ids[:, :-1], ids[:, 1:]).backward()
    theirs = dict(reference.trained.model.named_parameters())
    names = {id(p): name for name, p in ours.model.named_parameters()}
    ours.backward()
    start = 0
    for p in ours.params:
        mine = ours.grads[start : start + p.numel()].view_as(p)
        grad = theirs[names[id(p)]].grad
        assert torch.linalg.vector_norm(mine - grad) < 1e-5 * torch.linalg.vector_norm(grad), names[id(p)]
        start += p.numel()
    assert start == spec.shape.params


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_loss_curves_equal_the_reference(text, schedule):
    """Held-out and training losses stay within 0.02 nats of the reference over a whole run."""
    spec = tiny(steps=120, schedule=schedule, seed=3)
    ours, reference = pair(spec, text, CPU)
    gap = np.abs(losses(ours, spec, text) - losses(reference, spec, text))
    assert gap.max() < 0.02
    assert ours.step == reference.step == 120


def test_text_is_seen_in_the_same_order_beyond_an_epoch(text):
    """Runs of several epochs see the reference's batches: the same losses on a text of few blocks."""
    short = dataclasses.replace(text, train=text.train[: 33 * 7])
    ours, reference = pair(tiny(), short, CPU)
    gap = np.abs(losses(ours, tiny(), text) - losses(reference, tiny(), text))
    assert gap.max() < 0.02


DEVICES = [CPU, pytest.param(torch.device("cuda"), marks=needs_gpu)]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("stop", [1, 41])
def test_a_run_goes_on_from_its_state_bit_for_bit(text, device, stop):
    """Stopped, and loaded into a new engine or into one that is elsewhere, a run ends as if undisturbed."""
    spec, rows = tiny(depth=2, seed=5, steps=100), blocks(text.train, 32)
    whole, first, second = (CudaEngine(spec, rows, device) for _ in range(3))
    whole.advance(spec.steps)
    first.advance(stop)
    state = first.state()
    first.advance(stop + 30)
    for engine in (first, second):
        places = [tensor.data_ptr() for tensor in engine.kept.values()]
        engine.load(state)
        assert engine.step == stop
        assert [tensor.data_ptr() for tensor in engine.kept.values()] == places  # those of the graphs
        engine.advance(spec.steps)
        for name, value in whole.state().items():
            np.testing.assert_array_equal(engine.state()[name], value, err_msg=name)


def test_a_state_is_a_copy_of_one_run(text):
    """Later steps do not reach into a state, and the state of another shape is refused in words."""
    rows = blocks(text.train, 32)
    ours, other = CudaEngine(tiny(), rows, CPU), CudaEngine(tiny(width=24), rows, CPU)
    before = {name: value.copy() for name, value in ours.state().items()}
    kept = ours.state()
    ours.advance(5)
    for name, value in before.items():
        np.testing.assert_array_equal(kept[name], value)
    with pytest.raises(ValueError, match="it is another run's"):
        other.load(kept)


def test_memory_is_counted_on_a_gpu_only():
    """The memory of a GPU is a part of what it has; that of a CPU is refused in words."""
    with pytest.raises(ValueError, match="only a GPU's"):
        memory(CPU)
    if torch.cuda.is_available():
        used, total = memory(torch.device("cuda"))
        assert 0 < used <= total


@needs_gpu
def test_graphs_on_a_gpu_follow_the_reference(text):
    """On a GPU, in bfloat16 and replayed from graphs, whole loss curves stay within 0.02 nats."""
    spec = tiny(width=64, head_dim=16, steps=200, lr=peak_lr(64, 200, 64))
    ours, reference = pair(spec, text, torch.device("cuda"))
    gap = np.abs(losses(ours, spec, text) - losses(reference, spec, text))
    assert gap.max() < 0.02


def test_threads_sweep_like_processes(tmp_path):
    """Workers that are threads, as on a GPU, leave the same store as workers that are processes."""
    specs = [tiny(seed=seed, steps=40) for seed in range(3)]
    store = Store(tmp_path / "threads")
    with SweepDisplay(specs, specs, enabled=False) as display:
        pool = LocalPool(2, checkpoints=tmp_path, device="cpu", engine="auto", threads=True)
        drive(Queue(specs, None), pool, store, display)
    processes = sweep.sweep(specs, tmp_path / "processes", workers=2, device="cpu", progress=False)
    ours, theirs = store.by_key(), processes.by_key()
    assert len(ours) == 3
    assert all(ours[key].same_result(theirs[key]) for key in theirs)


def test_committed_gpu_records_follow_the_recipe():
    """The committed GPU runs are runs of the `gpu` profile, on the CPU runs' text; the checks stand apart."""
    ours, checks = open_store("published-gpu"), open_store("published-gpu-checks")
    planned = {spec.spec_hash for spec in plan("gpu")}
    assert set(ours.by_key()) <= planned
    assert not planned & set(checks.by_key())
    texts = {r.corpus_sha256 for r in open_store("published").records()}
    assert {r.corpus_sha256 for r in [*ours.records(), *checks.records()]} == texts
    assert all(r.status == "finished" for r in ours.records())


def test_cpu_specs_give_the_same_losses_on_the_gpu():
    """Specs trained on both, in float32 there and bfloat16 here, end within 0.01 nats: seed noise."""
    cpu, gpu = open_store("published-first").by_key(), open_store("published-gpu-checks").by_key()
    common = cpu.keys() & gpu.keys()
    assert len(common) == 5
    for key in common:
        assert gpu[key].val_loss == pytest.approx(cpu[key].val_loss, abs=0.01)
