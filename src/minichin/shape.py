"""The shape of a transformer, and what it costs: parameters and FLOPs, part by part.

Decisions:
- The architecture is the one of `minichin.model`: decoder-only, pre-norm, positions as biases without
  weights, embedding tied to the output layer, feed-forward width 4 x width, gains only in the norms.
- FLOPs follow Appendix F of Hoffmann et al. 2022 (arXiv 2203.15556): one multiply-add is two FLOPs, the
  attention is counted without the causal saving, the embedding as the product with a one-hot matrix, and
  the backward pass as twice the forward pass.
- Nothing is a formula for the total: totals are sums of named parts.
"""

from __future__ import annotations

from dataclasses import dataclass

FFN_RATIO = 4
TRAINING_PASSES = 3  # forward, and backward at twice its cost

#: name -> what is counted. `full` is the main one.
CONVENTIONS = {
    "full": "Appendix F of Hoffmann et al. 2022, forward x 3",
    "6ND": "six FLOPs for each weight and token, all weights",
    "6ND_non_embedding": "six FLOPs for each non-embedding weight and token (Kaplan et al. 2020)",
}


def check_convention(name: str) -> str:
    """Return `name` if it is a counting convention, else raise a `ValueError` that lists them."""
    if name not in CONVENTIONS:
        raise ValueError(f"unknown counting convention {name!r}; choose one of {', '.join(CONVENTIONS)}")
    return name


def transformer_flops(
    *, context: int, vocab: int, width: int, depth: int, heads: int, key: int, ffn: int
) -> dict[str, float]:
    """Count the FLOPs of one forward pass over one sequence, by part (Hoffmann et al. 2022, Appendix F).

    With S = context, V = vocab, d = width, h = heads, k = key, f = ffn, and the layers already summed:
    embedding 2SVd; QKV 2·3·S·d·kh; query-key logits 2·S·S·kh; softmax 3·h·S·S; softmax times value
    2·S·S·kh; output projection 2·S·kh·d; dense 2·S·(df + fd); final logits 2·S·d·V.

    Returns FLOPs for S tokens as floats, so that large models do not overflow.
    """
    s, d, hk = float(context), float(width), float(key * heads)
    return {
        "embedding": 2 * s * vocab * d,
        "qkv": depth * 2 * 3 * s * d * hk,
        "attention_logits": depth * 2 * s * s * hk,
        "softmax": depth * 3 * heads * s * s,
        "attention_values": depth * 2 * s * s * hk,
        "attention_output": depth * 2 * s * hk * d,
        "feed_forward": depth * 2 * s * (d * ffn + ffn * d),
        "logits": 2 * s * d * vocab,
    }


def hoffmann_params(*, vocab: int, width: int, depth: int, heads: int, key: int, ffn: int) -> dict[str, int]:
    """Count the weights of the paper's own models by part; the sum gives its Table A9.

    Its layers hold a matrix for relative positions, one d·kh, beside the four of the attention, and its
    output layer is tied to the embedding: L(5d² + 2df) + Vd when kh = d.
    """
    return {
        "embedding": vocab * width,
        "attention": depth * 4 * width * heads * key,
        "relative_positions": depth * width * heads * key,
        "feed_forward": depth * 2 * width * ffn,
    }


@dataclass(frozen=True)
class ModelShape:
    """A decoder-only transformer's shape; counts are properties. All counts are exact integers.

    width: residual stream (a multiple of head_dim); depth: layers; context: tokens a sequence;
    vocab: token values; head_dim: key size of one head.
    """

    width: int
    depth: int = 3
    context: int = 64
    vocab: int = 256
    head_dim: int = 8

    def __post_init__(self) -> None:
        for name in ("width", "depth", "context", "vocab", "head_dim"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive whole number, not {value!r}")
        if self.width % self.head_dim:
            raise ValueError(
                f"width {self.width} is not a multiple of the head dimension {self.head_dim}; "
                f"the nearest that is: {max(1, round(self.width / self.head_dim)) * self.head_dim}"
            )

    @property
    def heads(self) -> int:
        """Attention heads a layer, width / head_dim."""
        return self.width // self.head_dim

    @property
    def ffn(self) -> int:
        """Feed-forward width, 4 x width."""
        return FFN_RATIO * self.width

    def param_breakdown(self) -> dict[str, int]:
        """Count the weights by part; the parts sum to `params`.

        The output layer is the embedding's transpose (tied), so it adds nothing.
        """
        d, layers = self.width, self.depth
        return {
            "embedding": self.vocab * d,
            "attention": layers * 4 * d * d,
            "feed_forward": layers * 2 * d * self.ffn,
            "norms": (2 * layers + 1) * d,
        }

    @property
    def params(self) -> int:
        """All weights: what `sum(p.numel() for p in model.parameters())` gives."""
        return sum(self.param_breakdown().values())

    @property
    def params_non_embedding(self) -> int:
        """Weights without the token embedding: the N of Kaplan et al. 2020."""
        return self.params - self.param_breakdown()["embedding"]

    def flop_breakdown(self) -> dict[str, float]:
        """FLOPs of one forward pass over one sequence of `context` tokens, by part (Appendix F)."""
        return transformer_flops(
            context=self.context,
            vocab=self.vocab,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            key=self.head_dim,
            ffn=self.ffn,
        )

    def flops_per_token(self, convention: str = "full") -> float:
        """Training FLOPs a token (forward and backward) under a named convention of `CONVENTIONS`."""
        check_convention(convention)
        if convention == "6ND":
            return 6.0 * self.params
        if convention == "6ND_non_embedding":
            return 6.0 * self.params_non_embedding
        return TRAINING_PASSES * sum(self.flop_breakdown().values()) / self.context
