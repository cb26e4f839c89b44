"""Stacked runs are the runs that they would be alone, and end one by one."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from minichin import train
from minichin.engine import Stopped, blocks
from minichin.engine_torch import EagerEngine, batches
from minichin.plan import RunSpec
from minichin.stack import train_stack
from minichin.stack_engine import StackEngine
from tests.conftest import ROOT
from tests.test_train import tiny

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

#: Seeds, rates, lengths, schedules, decay and clip differ; shape and batch do not.
MIXED = (
    tiny(depth=2, width=32, head_dim=16, steps=120, seed=1),
    tiny(depth=2, width=32, head_dim=16, steps=60, seed=2, lr=0.003, schedule="linear", weight_decay=0.0),
    tiny(depth=2, width=32, head_dim=16, steps=120, seed=3, lr=0.02, schedule="constant"),
    tiny(depth=2, width=32, head_dim=16, steps=90, seed=1, lr=0.005, clip=0.2),
)


def test_gradients_equal_the_references(text):
    """In float32, each run's first gradients agree with its reference's within 1e-5, each matrix apart."""
    rows = blocks(text.train, 32)
    stack = StackEngine(MIXED, rows, CPU)
    stack.backward()
    for run, spec in enumerate(MIXED):
        reference = EagerEngine(spec, rows, CPU)
        ids = next(batches(rows, spec, CPU))
        reference.trained.model.loss(ids[:, :-1], ids[:, 1:]).backward()
        theirs = {name: p.grad for name, p in reference.trained.model.named_parameters()}
        start = 0
        for name, view in stack.views.items():
            mine = stack.grads[run, start : start + view[0].numel()].view_as(view[0])
            assert torch.linalg.vector_norm(mine - theirs[name]) < 1e-5 * torch.linalg.vector_norm(
                theirs[name]
            )
            start += view[0].numel()
        assert start == spec.shape.params


def test_loss_curves_equal_the_references(text):
    """Runs of a stack end as the shortest first, and all losses stay within 0.02 nats of each one alone."""
    records = list(train_stack(MIXED, text, device="cpu"))
    assert [r.spec.steps for r in records] == [60, 90, 120, 120]
    assert {r.key for r in records} == {spec.spec_hash for spec in MIXED}
    for ours in records:
        alone = train.train(ours.spec, text, device="cpu", engine="torch")
        assert ours.val_loss == pytest.approx(alone.val_loss, abs=0.02)
        gaps = np.array(ours.curve) - np.array(alone.curve)
        assert np.abs(gaps).max() < 0.02
        assert (ours.status, ours.stopped_at) == ("finished", ours.spec.steps)


@pytest.mark.parametrize("device", [CPU, pytest.param(torch.device("cuda"), marks=needs_gpu)], ids=str)
def test_a_stack_goes_on_from_its_state_bit_for_bit(text, device):
    """A state of a stack, loaded into a new one of the same runs, leads to the same state."""
    rows = blocks(text.train, 32)
    whole, first, second = (StackEngine(MIXED, rows, device) for _ in range(3))
    whole.advance(60)
    first.advance(23)
    second.load(first.state())
    second.advance(60)
    for name, value in whole.state().items():
        np.testing.assert_array_equal(second.state()[name], value, err_msg=name)


def test_a_diverged_run_ends_alone(text):
    """A run with an absurd rate is recorded as diverged; the others' losses are those of each one alone."""
    wild = tiny(steps=60, lr=1e4)
    tame = [tiny(seed=seed) for seed in (1, 2)]
    records = {r.key: r for r in train_stack([tame[0], wild, tame[1]], text, device="cpu")}
    assert records[wild.spec_hash].status == "diverged"
    assert records[wild.spec_hash].val_loss is None
    assert records[wild.spec_hash].stopped_at < 60
    for spec in tame:
        alone = train.train(spec, text, device="cpu", engine="torch")
        assert records[spec.spec_hash].val_loss == pytest.approx(alone.val_loss, abs=0.02)


def test_progress_is_of_every_run_and_can_stop_the_stack(text):
    """Progress names each run with its step and loss; what it raises ends the training."""
    seen = {}

    def watch(spec, step, loss):
        seen[spec.seed] = (step, loss)
        if len(seen) == 2:
            raise Stopped

    long = [tiny(seed=seed, steps=100_000) for seed in (1, 2)]
    with pytest.raises(Stopped):
        list(train_stack(long, text, device="cpu", progress=watch))
    assert seen[1][0] == seen[2][0] > 0
    assert all(0 < loss < 6 for _, loss in seen.values())


def test_a_stack_of_different_shapes_is_refused(text):
    """Runs that do not belong together are refused in words."""
    with pytest.raises(ValueError, match="these are of 2 kinds"):
        next(train_stack([tiny(), tiny(width=24)], text, device="cpu"))
    with pytest.raises(ValueError, match="beyond the last, 60"):
        StackEngine([tiny(), tiny(steps=90)], blocks(text.train, 32), CPU).advance(61)


LITTLE_MEMORY = """
import re, resource, sys, warnings
import torch
from minichin import corpus
from minichin.stack import train_stack
from tests.test_stack import large

def size():
    return int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

torch.set_num_threads(1)
text = corpus.load("help")
list(train_stack(large(1), text, device="cpu"))  # a process's first run loads what later ones need not
resource.setrlimit(resource.RLIMIT_AS, (size() + int(sys.argv[1]) * 2**20, -1))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    records = list(train_stack(large(4), text, device="cpu"))
for record in records:
    print(record.spec.seed, record.val_loss)
print(*(warning.message for warning in caught), sep="\\n")
"""


def large(count: int) -> list[RunSpec]:
    """Runs whose activations take more than a hundred megabytes each."""
    return [tiny(depth=2, steps=2, warmup_steps=1, batch_tokens=16_384, seed=seed) for seed in range(count)]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_a_stack_too_large_for_the_memory_is_halved(text):
    """Where an allocation fails, smaller stacks train all the runs to the same losses, and a line says so.

    The child process may take 150 MB more than one run needed, too few for four: torch's allocator refuses.
    """
    command = [sys.executable, "-c", LITTLE_MEMORY, str(150)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    expected = {r.spec.seed: r.val_loss for r in train_stack(large(4), text, device="cpu")}
    found = dict(line.split() for line in lines[:4])
    assert {int(seed): float(loss) for seed, loss in found.items()} == pytest.approx(expected, abs=1e-4)
    assert lines[4].startswith("a stack of 4 runs is halved: ")
    assert "can't allocate memory" in lines[4]


LITTLE_GPU_MEMORY = """
import warnings
import torch
from minichin import corpus
from minichin.stack import train_stack
from tests.test_stack import captured

text = corpus.load("help")
alone = [next(train_stack([spec], text, device="cuda")) for spec in captured(1)]
peak, total = torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1]
torch.cuda.empty_cache()
torch.cuda.set_per_process_memory_fraction(2.5 * peak / total)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    records = list(train_stack(captured(4), text, device="cuda"))
print(alone[0].val_loss)
for record in records:
    print(record.spec.seed, record.val_loss)
print(*(warning.message for warning in caught), sep="\\n")
"""


def captured(count: int) -> list[RunSpec]:
    """Runs long enough for graphs, whose activations fill a good part of a gigabyte."""
    return [
        tiny(width=64, head_dim=16, depth=2, steps=60, batch_tokens=131_072, seed=seed)
        for seed in range(count)
    ]


@needs_gpu
def test_a_stack_too_large_for_the_gpu_is_halved():
    """Where the GPU's memory lasts for two runs and not for four, all four train, and a line says so."""
    command = [sys.executable, "-c", LITTLE_GPU_MEMORY]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert out.returncode == 0, out.stderr
    alone, *lines = out.stdout.splitlines()
    found = {int(seed): float(loss) for seed, loss in (line.split() for line in lines[:4])}
    assert sorted(found) == [0, 1, 2, 3]
    assert found[0] == pytest.approx(float(alone), abs=0.02)
    assert any(line.startswith("a stack of 4 runs is halved: ") for line in lines[4:])
