"""The compiled engine follows the reference, whatever the shape; where it can't be had, that is said."""

import numpy as np
import pytest
import torch

from minichin import engine_cpu, train
from minichin.corpus import Corpus
from minichin.engine import blocks
from minichin.engine_cpu import CpuEngine, NoCompiledEngine
from minichin.engine_torch import EagerEngine, batches
from minichin.plan import RunSpec
from tests.test_train import tiny

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES = [
    {"width": 4, "head_dim": 1},
    {"width": 12, "head_dim": 3, "depth": 2},
    {"width": 24, "head_dim": 6, "depth": 3, "context": 64, "batch_tokens": 256},
    {"width": 40, "head_dim": 10, "context": 37, "batch_tokens": 37 * 9},
    {"width": 64, "head_dim": 16, "depth": 3, "context": 64, "batch_tokens": 256},
    {"width": 64, "head_dim": 64, "depth": 2, "context": 5, "batch_tokens": 5 * 70},
    {"width": 128, "head_dim": 32, "context": 300, "batch_tokens": 600},
    {"width": 8, "head_dim": 2, "context": 3, "batch_tokens": 3, "vocab": 1001},
]


@pytest.fixture(autouse=True)
def _compiled() -> None:
    """Skip, loudly, where no compiler is."""
    try:
        engine_cpu.library()
    except NoCompiledEngine as reason:
        pytest.skip(f"the compiled engine was not tested: {reason}")


def pair(spec: RunSpec, text: Corpus) -> tuple[CpuEngine, EagerEngine]:
    """Both engines on one spec."""
    rows = blocks(text.train, spec.context)
    return CpuEngine(spec, rows), EagerEngine(spec, rows, CPU)


@pytest.mark.parametrize("changes", SHAPES, ids=lambda c: f"w{c['width']}h{c['head_dim']}")
def test_gradients_equal_the_reference(text, changes):
    """Loss and gradients of a batch agree within 1e-5 (1e-6 for the loss), each matrix and gain apart."""
    spec = tiny(**changes)
    ours, reference = pair(spec, text)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():  # gains of one and the first weights would hide faults
        for place, p in enumerate(reference.trained.flats):
            p.add_(torch.randn(p.shape, generator=generator), alpha=0.05)
            start = ours.decayed * place
            ours.weights[start : start + len(p)] = p.numpy()
    ids = next(batches(reference.rows, spec, CPU))
    loss = reference.trained.model.loss(ids[:, :-1], ids[:, 1:])
    loss.backward()
    found, grads = ours.gradient(ids.numpy())
    assert found == pytest.approx(loss.item(), rel=1e-6)
    named = list(reference.trained.model.named_parameters())
    start = 0
    for name, p in [pair for pair in named if pair[1].ndim > 1] + [
        pair for pair in named if pair[1].ndim == 1
    ]:
        mine = torch.from_numpy(grads[start : start + p.numel()]).view_as(p)
        assert torch.linalg.vector_norm(mine - p.grad) < 1e-5 * torch.linalg.vector_norm(p.grad), name
        start += p.numel()
    assert start == spec.shape.params
    ours.close()


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_loss_curves_equal_the_reference(text, schedule):
    """Held-out and training losses stay within 0.02 nats of the reference over a whole run."""
    spec = tiny(steps=200, depth=2, width=32, schedule=schedule, seed=3)
    ours, theirs = (train.train(spec, text, device="cpu", engine=kind) for kind in ("compiled", "torch"))
    assert (ours.versions["engine"], theirs.versions["engine"]) == ("compiled", "torch")
    assert [p.step for p in ours.curve] == [p.step for p in theirs.curve]
    gaps = [
        (a.val_loss - b.val_loss, a.train_loss - b.train_loss)
        for a, b in zip(ours.curve, theirs.curve, strict=True)
    ]
    assert np.abs(gaps).max() < 0.02
    assert ours.val_loss == pytest.approx(theirs.val_loss, abs=0.02)


def test_equal_specs_give_equal_records(text):
    """The same spec gives the same losses bit for bit, however the steps are cut into slices."""
    one = train.train(tiny(steps=300), text, device="cpu", engine="compiled")
    seen = []
    two = train.train(
        tiny(steps=300), text, device="cpu", engine="compiled", progress=lambda step, _: seen.append(step)
    )
    assert one.same_result(two)
    assert seen[-1] == 300


@pytest.mark.parametrize("lr", [0.3, 30.0, 1e4])
def test_wild_runs_end_as_the_reference_does(text, lr):
    """Where rates are absurd both engines say diverged, or both end with a finite loss: no NaN of our own."""
    spec = tiny(steps=200, lr=lr)
    ours, theirs = (train.train(spec, text, device="cpu", engine=kind) for kind in ("compiled", "torch"))
    assert ours.status == theirs.status


def test_tokens_beyond_the_vocabulary_are_refused(text):
    """A text whose tokens the model does not know is refused in words, in training and in evaluation."""
    with pytest.raises(ValueError, match="beyond the vocabulary of 100"):
        train.train(tiny(vocab=100), text, device="cpu", engine="compiled")
    ours, _ = pair(tiny(), text)
    with pytest.raises(ValueError, match="token 300 of the text is beyond the vocabulary of 256"):
        ours.evaluate(np.full((2, 33), 300))


def test_without_a_compiler(text, monkeypatch, tmp_path):
    """No compiler: `auto` trains with the reference and says why in one line; `compiled` is refused."""
    engine_cpu.library.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    try:
        with pytest.warns(UserWarning, match=r"no C\+\+ compiler.*reference engine"):
            record = train.train(tiny(), text, device="cpu")
        assert record.versions["engine"] == "torch"
        name, reasons = train.which_engine(torch.device("cpu"))
        assert (name, len(reasons)) == ("torch", 1)
        assert "no C++ compiler" in reasons[0]
        with pytest.raises(ValueError, match=r"no C\+\+ compiler"):
            train.train(tiny(), text, device="cpu", engine="compiled")
    finally:
        engine_cpu.library.cache_clear()


def test_a_compiler_that_fails(monkeypatch, tmp_path):
    """A compiler that rejects the source is named with its message, and leaves nothing in the cache."""
    script = tmp_path / "cxx"
    script.write_text("#!/bin/sh\necho 'x.cpp:1: error: never heard of it' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("MINICHIN_CACHE", str(tmp_path / "cache"))
    engine_cpu.library.cache_clear()
    try:
        with pytest.raises(NoCompiledEngine, match="never heard of it"):
            engine_cpu.library()
        assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    finally:
        engine_cpu.library.cache_clear()
