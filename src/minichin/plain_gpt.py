"""The ordinary baseline of `minichin bench train`: what a good practitioner writes, in eager torch.

Decisions:
- The model is the GPT-2 of nanoGPT (Karpathy) without biases and dropout: learned positions, LayerNorm, GELU,
  output tied to the embedding, `F.scaled_dot_product_attention(is_causal=True)`. Width, depth, context,
  heads, vocabulary and batch are those of the spec it is compared with.
- The loop is nanoGPT's too: random windows of the text, autocast to bfloat16 on a GPU, `clip_grad_norm_`,
  `torch.optim.AdamW(fused=True)`, `zero_grad(set_to_none=True)`, a learning rate set at every step. Where
  nanoGPT is slower than need be, the faster way is taken: a batch is gathered by one index, and the
  optimiser is fused on a CPU too.
- Its FLOPs a token are counted as ours, `ModelShape.flops_per_token`: the matrix products are the same, and
  neither learned positions, norms nor activations count.
- The model file of a checkout of nanoGPT goes through the same loop, with its own optimiser.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minichin.engine import BETAS, lr_factor
from minichin.engine_torch import precision
from minichin.plan import RunSpec
from minichin.shape import ModelShape

NANOGPT_NEEDS = ("GPT", "GPTConfig")


class PlainBlock(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        d = shape.width
        self.heads = shape.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(d, bias=False), nn.LayerNorm(d, bias=False)
        self.qkv, self.project = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.rise, self.fall = nn.Linear(d, shape.ffn, bias=False), nn.Linear(shape.ffn, d, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        """Causal self-attention, (batch, time, width) -> the same."""
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.project(y.transpose(1, 2).reshape(batch, time, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm_1(x))
        return x + self.fall(F.gelu(self.rise(self.norm_2(x))))


class PlainGPT(nn.Module):
    """GPT-2 of a shape: (batch, time) ids and targets -> logits and mean cross-entropy, nats a token."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(PlainBlock(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, bias=False)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)
        self.tokens.weight = self.head.weight
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                small = (2 * shape.depth) ** 0.5 if name.endswith(("project.weight", "fall.weight")) else 1.0
                nn.init.normal_(weight, std=0.02 / small)

    def forward(self, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def configure_optimizers(
        self, weight_decay: float, learning_rate: float, betas: tuple[float, float], device_type: str
    ) -> torch.optim.Optimizer:
        """Fused AdamW that decays the matrices only; called as nanoGPT's is."""
        weights = list(self.parameters())
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": weight_decay},
            {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)


class PlainLoop:
    """The ordinary training loop over a 1-D array of tokens, for `PlainGPT` or nanoGPT's `GPT`."""

    def __init__(self, model: Any, spec: RunSpec, tokens: np.ndarray, device: torch.device) -> None:
        self.model, self.spec, self.tokens, self.device = model.to(device), spec, tokens, device
        with contextlib.redirect_stdout(None):  # nanoGPT prints
            self.optimiser = self.model.configure_optimizers(spec.weight_decay, spec.lr, BETAS, device.type)
        self.window = np.arange(spec.context + 1)
        self.step = 0

    def batch(self) -> tuple[Tensor, Tensor]:
        """Random windows of the text as inputs and targets, each (sequences, context)."""
        sequences = self.spec.batch_tokens // self.spec.context
        starts = torch.randint(len(self.tokens) - self.spec.context, (sequences, 1)).numpy()
        ids = torch.from_numpy(self.tokens[starts + self.window].astype(np.int64))
        if self.device.type == "cuda":
            ids = ids.pin_memory().to(self.device, non_blocking=True)
        return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()  # nanoGPT asks for contiguous ones

    def take(self, steps: int) -> Tensor:
        """Take `steps` optimiser steps; return the last loss, nats a token."""
        loss = torch.empty(0)
        for _ in range(steps):
            for group in self.optimiser.param_groups:
                group["lr"] = self.spec.lr * lr_factor(self.step, self.spec)
            inputs, targets = self.batch()
            with precision(self.device):
                _, loss = self.model(inputs, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.step += 1
        return loss.detach()


def load_nanogpt(checkout: Path) -> ModuleType:
    """The module `model.py` of a checkout of nanoGPT; `ValueError` where it is none or not nanoGPT's."""
    path = checkout / "model.py"
    if not path.is_file():
        raise ValueError(f"--nanogpt {checkout} holds no model.py; give the folder of a checkout of nanoGPT")
    found = importlib.util.spec_from_file_location("nanogpt_model", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses look their module up by name
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"--nanogpt {path} cannot be run: {type(error).__name__}: {error}") from None
    lacking = [name for name in NANOGPT_NEEDS if not hasattr(module, name)]
    if lacking:
        raise ValueError(f"--nanogpt {path} has no {' and no '.join(lacking)}; is it nanoGPT's model.py?")
    return module


def nanogpt(checkout: Path, shape: ModelShape) -> nn.Module:
    """nanoGPT's own model of this shape, without biases and dropout; what it prints is dropped."""
    module: Any = load_nanogpt(checkout)
    sizes = {"n_layer": shape.depth, "n_head": shape.heads, "n_embd": shape.width}
    try:
        config = module.GPTConfig(
            block_size=shape.context, vocab_size=shape.vocab, **sizes, dropout=0.0, bias=False
        )
        with contextlib.redirect_stdout(None):
            return module.GPT(config)
    except TypeError as error:
        raise ValueError(f"--nanogpt {checkout}: GPTConfig is not nanoGPT's: {error}") from None
