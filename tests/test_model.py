"""The transformer, held against its shape, torch's FLOP counter, and causality."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from minichin.model import Transformer
from minichin.shape import ModelShape

SHAPES = [ModelShape(8), ModelShape(48, head_dim=16), ModelShape(24, depth=2, context=32, vocab=100)]
MATMULS = ("qkv", "attention_logits", "attention_values", "attention_output", "feed_forward", "logits")


@pytest.mark.parametrize("shape", SHAPES)
def test_params_are_numel(shape):
    """The shape's parameter counts equal torch's, part by part."""
    model = Transformer(shape)
    assert shape.params == sum(p.numel() for p in model.parameters())
    parts = shape.param_breakdown()
    assert parts["embedding"] == model.embedding.weight.numel()
    assert parts["norms"] == sum(p.numel() for n, p in model.named_parameters() if "norm" in n)


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_are_torchs(shape):
    """Forward and backward FLOPs of the matrix products equal torch.utils.flop_counter's, times three."""
    model = Transformer(shape)
    ids = torch.zeros(1, shape.context, dtype=torch.long)
    matmuls = sum(shape.flop_breakdown()[part] for part in MATMULS)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss = model.loss(ids, ids)
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    assert forward.get_total_flops() == matmuls
    assert backward.get_total_flops() == 2 * matmuls


def test_first_loss_is_a_guess():
    """An untrained model guesses: logits of variance 1/4 cost ln(vocab) + 1/8 nats."""
    shape = ModelShape(32)
    ids = torch.randint(0, 256, (4, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = float(Transformer(shape).loss(ids, ids.roll(1)))
    assert loss == pytest.approx(math.log(256) + 0.125, abs=0.05)


def test_causal():
    """Changing a later token changes no earlier logits."""
    model = Transformer(ModelShape(16))
    ids = torch.randint(0, 256, (1, 64), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[0, 32:] = (changed[0, 32:] + 1) % 256
    with torch.no_grad():
        before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :32], after[:, :32])
    assert not torch.allclose(before[:, 32:], after[:, 32:])


def test_seed_decides_the_weights():
    """Equal seeds give equal weights whatever the global generator did; other seeds give others."""
    shape = ModelShape(16)
    one = Transformer(shape, seed=3).state_dict()
    torch.rand(7)
    two, other = Transformer(shape, seed=3).state_dict(), Transformer(shape, seed=4).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["embedding.weight"], other["embedding.weight"])
