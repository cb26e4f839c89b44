"""The transformer that is trained: small enough to read in one sitting.

Decisions:
- Pre-norm decoder, the output layer tied to the embedding, squared ReLU (So et al. 2021; 0.01 to 0.03 nats
  better here than GELU at equal FLOPs), no biases, no dropout (every run sees less than one epoch).
- Positions enter as linear biases on the attention logits (ALiBi, Press et al. 2022), as relative as the
  paper's own. In runs of some hundred steps learned positions leave a model at the loss of a bigram table:
  0.36 nats worse at width 64 and 3e11 FLOPs. Rotary positions do as well and cost a fifth more time.
- Matrices start as N(0, 1 / fan-in), the two that write into the residual stream smaller by sqrt(2 depth),
  the embedding as N(0, 1 / (4 width)): a constant 0.02 is far too small at these widths.
- The seed is an argument: equal shape and seed give equal weights, whatever happened before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minichin.shape import ModelShape


def alibi(heads: int, context: int) -> Tensor:
    """Biases on the attention logits, (heads, context, context): -slope · distance, -inf for the future.

    Slopes are 2^(-4 i / heads), i = 1 … heads (Press et al. 2022 go to 2^-8, for longer contexts).
    """
    distance = torch.arange(context)[:, None] - torch.arange(context)
    slopes = 2.0 ** (-4.0 * torch.arange(1, heads + 1) / heads)
    return (-slopes[:, None, None] * distance).masked_fill(distance < 0, -torch.inf)


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

    def attend(self, x: Tensor, bias: Tensor) -> Tensor:
        """Self-attention, (batch, time, width) -> the same; `bias` (heads, time, time) makes it causal."""
        batch, time, width = x.shape
        q, k, v = self.qkv(x).view(batch, time, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        mask = bias.to(q.dtype).expand(batch, -1, -1, -1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.attention_output(y.transpose(1, 2).reshape(batch, time, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attend(self.norm_attention(x), bias)
        return x + self.feed_forward_out(F.relu(self.feed_forward_in(self.norm_feed_forward(x))).square())


class Transformer(nn.Module):
    """A language model over `shape.vocab` token values.

    `forward(ids)` maps (batch, time) token ids, time <= context, to (batch, time, vocab) logits.
    `loss(ids, targets)` is the mean cross-entropy in nats a token.
    """

    bias: Tensor

    def __init__(self, shape: ModelShape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.register_buffer("bias", alibi(shape.heads, shape.context), persistent=False)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, bias=False)
        self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Set every weight from `seed`, on the CPU so that all devices start equal."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if "norm" in name:
                nn.init.ones_(weight)
            else:
                std = weight.shape[1] ** -0.5
                if name == "embedding.weight":
                    std /= 2
                elif name.endswith(("attention_output.weight", "feed_forward_out.weight")):
                    std /= (2 * self.shape.depth) ** 0.5
                nn.init.normal_(weight, std=std, generator=generator)

    def forward(self, ids: Tensor) -> Tensor:
        x, time = self.embedding(ids), ids.shape[1]
        for block in self.blocks:
            x = block(x, self.bias[:, :time, :time])
        return F.linear(self.norm(x), self.embedding.weight)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of `targets` (batch, time) given `ids`, in nats a token."""
        logits = self(ids)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
