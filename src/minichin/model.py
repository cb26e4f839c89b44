"""The transformer that is trained: small enough to read in one sitting.

Decisions:
- Pre-norm decoder with learned positions, the output layer tied to the embedding, GELU, no biases, no
  dropout (every run sees less than one epoch). Learned positions and torch's own RMS norm are several
  times faster on a CPU than rotary positions and a hand-written norm, and no worse at this size.
- Weights start as N(0, 0.02²), the two projections that write into the residual stream as
  N(0, (0.02 / sqrt(2 depth))²), as in GPT-2. The output logits are scaled by nothing.
- The seed is an argument: equal shape and seed give equal weights, whatever happened before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minichin.shape import ModelShape

INIT_STD = 0.02


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        d = shape.width
        self.heads, self.head_dim = shape.heads, shape.head_dim
        self.norm_attention = nn.LayerNorm(d, bias=False)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.attention_output = nn.Linear(d, d, bias=False)
        self.norm_feed_forward = nn.LayerNorm(d, bias=False)
        self.feed_forward_in = nn.Linear(d, shape.ffn, bias=False)
        self.feed_forward_out = nn.Linear(shape.ffn, d, bias=False)

    def attend(self, x: Tensor) -> Tensor:
        """Causal self-attention, (batch, time, width) -> the same."""
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, self.head_dim).unbind(2)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        return self.attention_output(y.transpose(1, 2).reshape(batch, time, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm_attention(x))
        return x + self.feed_forward_out(F.gelu(self.feed_forward_in(self.norm_feed_forward(x))))


class Transformer(nn.Module):
    """A language model over `shape.vocab` token values.

    `forward(ids)` maps (batch, time) token ids, time <= context, to (batch, time, vocab) logits.
    `loss(ids, targets)` is the mean cross-entropy in nats a token.
    """

    def __init__(self, shape: ModelShape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Parameter(torch.empty(shape.context, shape.width))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, bias=False)
        self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Set every weight from `seed`, on the CPU so that all devices start equal."""
        generator = torch.Generator().manual_seed(seed)
        residual_std = INIT_STD / (2 * self.shape.depth) ** 0.5
        for name, weight in self.named_parameters():
            if "norm" in name:
                nn.init.ones_(weight)
            elif name.endswith(("attention_output.weight", "feed_forward_out.weight")):
                nn.init.normal_(weight, std=residual_std, generator=generator)
            else:
                nn.init.normal_(weight, std=INIT_STD, generator=generator)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.positions[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of `targets` (batch, time) given `ids`, in nats a token."""
        logits = self(ids)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
