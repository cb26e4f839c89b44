"""The training loop: deterministic, equal to the plain loop, honest about divergence."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from minichin import engine, engine_torch, train
from minichin.model import Transformer
from minichin.plan import RunSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(**changes) -> RunSpec:
    """A spec of a few steps."""
    values = {
        "width": 16,
        "budget": 1e9,
        "steps": 60,
        "lr": 0.01,
        "warmup_steps": 10,
        "corpus": "help",
        "depth": 1,
        "context": 32,
        "batch_tokens": 64,
        "valid_tokens": 2048,
        "curve_tokens": 512,
        "curve_points": 5,
    }
    return RunSpec(**{**values, **changes})


def test_equal_specs_give_equal_records(text):
    """The same spec gives the same losses bit for bit; another seed gives others."""
    one, two = train.train(tiny(), text), train.train(tiny(), text)
    assert one.same_result(two)
    assert not one.same_result(train.train(tiny(seed=1), text))


def test_loss_falls_and_curve_is_in_order(text):
    """Training lowers the held-out loss well below the uniform guess; the curve ends at the last step."""
    record = train.train(tiny(), text)
    steps = [point.step for point in record.curve]
    assert record.status == "finished"
    assert record.val_loss < math.log(256) - 1
    assert steps == sorted(set(steps))
    assert steps[-1] == 60
    assert record.curve[-1].val_loss < record.curve[0].val_loss


def test_flat_buffers_change_nothing(text):
    """Steps on the flat buffers equal torch's plain AdamW with clip_grad_norm_ on separate parameters."""
    spec, device = tiny(), torch.device("cpu")
    model, plain = Transformer(spec.shape, 5), Transformer(spec.shape, 5)
    state = engine_torch.TrainState(spec, model, device)
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [p for p in plain.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=spec.lr, betas=engine.BETAS)
    rows = engine.blocks(text.train, spec.context)
    for step, ids in zip(range(5), engine_torch.batches(rows, spec, device), strict=False):
        state.step(ids, step)
        for group in optimiser.param_groups:
            group["lr"] = spec.lr * engine.lr_factor(step, spec)
        plain.loss(ids[:, :-1], ids[:, 1:]).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), spec.clip)
        optimiser.step()
        optimiser.zero_grad()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_batches_see_every_block_once_an_epoch(text):
    """No block is drawn twice before all were drawn once, and the order depends on the seed alone."""
    rows = np.arange(40 * 33, dtype=np.uint16).reshape(40, 33)
    spec = tiny(steps=40)
    drawn = torch.cat(list(engine_torch.batches(rows, spec, torch.device("cpu"))))[:, 0].numpy() // 33
    assert sorted(drawn[:40]) == list(range(40))
    assert sorted(drawn[40:]) == list(range(40))
    assert not np.array_equal(drawn[:40], drawn[40:])
    again = torch.cat(list(engine_torch.batches(rows, tiny(steps=40, width=8), torch.device("cpu"))))[
        :, 0
    ].numpy()
    assert np.array_equal(drawn, again // 33)


@pytest.mark.parametrize(
    ("schedule", "peak", "end"), [("cosine", 1.0, 0.1), ("linear", 1.0, 0.0), ("constant", 0.5, 0.0)]
)
def test_schedules(schedule, peak, end):
    """Each schedule warms up linearly to its peak and ends where it says; none rises after the warm-up."""
    spec = tiny(steps=1000, warmup_steps=100, schedule=schedule)
    course = np.array([engine.lr_factor(step, spec) for step in range(1001)])
    assert np.all(np.diff(course[:100]) > 0)
    assert course[99] == pytest.approx(peak)
    assert np.all(np.diff(course[100:]) <= 1e-12)
    assert course[1000] == pytest.approx(end, abs=1e-9)
    if schedule == "constant":
        assert course[800] == pytest.approx(0.5)


def test_a_long_cosine_is_cut_off_by_the_end_of_the_run():
    """A cosine of twice the run's length has fallen to its middle, 55 % of the peak, when the run ends."""
    spec = tiny(steps=1000, warmup_steps=1, cycle=2.0)
    assert engine.lr_factor(1000, spec) == pytest.approx(0.55, abs=1e-3)
    with pytest.raises(ValueError, match="cycle"):
        tiny(cycle=0.5)
    with pytest.raises(ValueError, match="with the schedule cosine"):
        tiny(cycle=2.0, schedule="linear")


def test_divergence_is_recorded(text):
    """An absurd learning rate ends in a record with status diverged and no loss, not in an exception."""
    record = train.train(tiny(lr=1e4, steps=200), text)
    assert record.status == "diverged"
    assert record.val_loss is None
    assert all(math.isfinite(point.val_loss) for point in record.curve)


def test_evaluation_is_the_mean_loss(text):
    """The held-out loss is the mean of every token's cross-entropy, whatever the batching."""
    spec = tiny()
    model, rows = Transformer(spec.shape, 1), engine.blocks(text.valid, spec.context)[:37]
    ids = torch.from_numpy(rows.astype(np.int64))
    with torch.no_grad():
        whole = float(model.loss(ids[:, :-1], ids[:, 1:]))
    assert engine_torch.evaluate(model, rows, torch.device("cpu")) == pytest.approx(whole, rel=1e-5)


def test_too_short_a_text(text):
    """A text shorter than one block is refused in words."""
    short = dataclasses.replace(text, valid=text.valid[:20])
    with pytest.raises(ValueError, match="holds 20 validation tokens, fewer than one block of 33"):
        train.train(tiny(), short)


def test_devices():
    """An unknown device, or one that is not there, is refused in words."""
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        train.choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no CUDA device"):
            train.choose_device("cuda")
