"""Many small runs as one large one: models of one shape trained side by side by batched matrix products.

A product of a tiny model fills a few of a GPU's hundred multiprocessors, and launching it costs as much as
computing it. R runs of one shape take the same steps on different numbers, so R products become one batched
product, and the launches of R runs those of one. Decisions:
- Weights, gradients and moments are (R, P) matrices, a row a run, laid out as in `engine_graphs.layout`; the
  weight of a layer is a view (R, out, in), activations are (R, tokens, width). In attention the runs join
  the sequences: (R · sequences, heads, time, head dimension).
- The loss is the sum over the runs of each one's mean cross-entropy: no weight serves two runs, so its
  gradient is that of its own run. Clipping scales each row by its own norm. A run that diverges harms none.
- AdamW is written out, since torch's fused one takes one learning rate for all: w ← w - m / (√v · a + b)
  with a = c₁ / (rate √c₂) and b = ε c₁ / rate, which is Adam's step with both bias corrections
  c = 1 - βᵗ folded into two numbers for each step and run. These come from a table on the device.
- Data order, schedule, initialisation and roundings are those of the single engines. A run is evaluated by
  itself, in the reference model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minichin.engine import BETAS, CLIP_EPSILON, EPSILON, SMOOTHING, lr_factor, row_order
from minichin.engine_cuda import SquaredRelu
from minichin.engine_graphs import EVAL_SEQUENCES, GraphEngine, host, layout
from minichin.engine_torch import evaluate
from minichin.model import Transformer
from minichin.plan import RunSpec


def _table(specs: Sequence[RunSpec], steps: int) -> np.ndarray:
    """(steps, 4, R): what AdamW keeps of a decayed weight; a; b (see above); the running mean's share."""
    ones = 1.0 - np.array(BETAS)[:, None] ** np.arange(1, steps + 1)
    table = np.empty((steps, 4, len(specs)))
    for run, spec in enumerate(specs):
        rate = spec.lr * np.array([lr_factor(step, spec) for step in range(steps)])
        table[:, 0, run] = 1.0 - rate * spec.weight_decay
        table[:, 1, run] = ones[0] / (rate * np.sqrt(ones[1]))
        table[:, 2, run] = EPSILON * ones[0] / rate
    table[:, 3] = SMOOTHING
    table[0, 3] = 1.0
    return table.astype(np.float32)


class StackEngine(GraphEngine[np.ndarray]):
    """Runs of one shape, batch and text, as far as the shortest of them goes. A loss is (R,) losses."""

    name = "stack"

    def __init__(
        self, specs: Sequence[RunSpec], rows: np.ndarray, device: torch.device, graphs: bool = True
    ) -> None:
        super().__init__(device, min(spec.steps for spec in specs), graphs)
        self.specs, self.spec, self.runs = tuple(specs), specs[0], len(specs)
        self.cast = device.type == "cuda"
        with host, self.on_stream():
            self._put_text(rows)
            self._put_weights()

    def _put_text(self, rows: np.ndarray) -> None:
        to, steps = self.device, self.steps
        self.rows = torch.from_numpy(rows).to(to)
        orders = [row_order(len(rows), spec)[:steps].astype(np.int32) for spec in self.specs]
        self.order = torch.from_numpy(np.concatenate(orders, axis=1)).to(to)
        self.table = torch.from_numpy(_table(self.specs, steps)).to(to)
        self.clip = torch.tensor([[spec.clip] for spec in self.specs], device=to)
        self.at = torch.zeros(1, dtype=torch.int64, device=to)

    def _put_weights(self) -> None:
        """Lay the weights of all runs out in rows, and name the views that the forward pass takes."""
        models = [Transformer(self.spec.shape, spec.seed) for spec in self.specs]
        parts = [layout(model) for model in models]
        flats = [
            torch.cat([p.detach().flatten() for group in part for p in group.values()]) for part in parts
        ]
        self.weights = torch.stack(flats).to(self.device)
        sizes = [sum(p.numel() for p in group.values()) for group in parts[0]]
        self.matrices, self.decayed, count = sizes[0], sizes[0] + sizes[1], len(parts[0][0])
        low = self.weights[:, : self.matrices]
        self.low = low.to(torch.bfloat16) if self.cast else low
        self.low_grads, self.grads = torch.zeros_like(self.low), torch.zeros_like(self.weights)
        self.views, self.low_count, start = dict[str, Tensor](), count, 0
        for name, p in ((name, p) for group in parts[0] for name, p in group.items()):
            stop = start + p.numel()
            flat = (self.low if stop <= self.matrices else self.weights)[:, start:stop]
            self.views[name] = flat.view(self.runs, *p.shape).detach().requires_grad_()
            start = stop
        self.first, self.second = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        smooth = torch.zeros(self.runs, device=self.device)
        self.kept = {"weights": self.weights, "first": self.first, "second": self.second, "smooth": smooth}
        self.model = models[0].to(self.device)  # in which one run is evaluated
        self.bias = self.model.bias.to(self.low.dtype)
        self.one_hot = torch.eye(self.spec.vocab, device=self.device)

    def refresh(self) -> None:
        if self.cast:
            self.low.copy_(self.weights[:, : self.matrices])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        """Layer norm of (R, tokens, width), each run with its own gains, in the type of the products."""
        gain = self.views[f"{name}.weight"][:, None]
        return (F.layer_norm(x, x.shape[-1:]) * gain).to(self.low.dtype)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return torch.bmm(x, self.views[f"{name}.weight"].transpose(1, 2))

    def _attend(self, x: Tensor, name: str) -> Tensor:
        """Self-attention of each sequence of each run, (R, tokens, width) -> the same."""
        shape = self.spec.shape
        sequences = x.shape[0] * x.shape[1] // shape.context
        apart = (sequences, shape.context, 3, shape.heads, shape.head_dim)
        q, k, v = self._linear(x, f"{name}.qkv").view(apart).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias.expand(sequences, -1, -1, -1))
        return self._linear(y.transpose(1, 2).reshape(x.shape), f"{name}.attention_output")

    def losses(self, ids: Tensor) -> Tensor:
        """Each run's mean cross-entropy, (R,), from (R · sequences, context + 1) ids."""
        inputs, targets = ids[:, :-1].flatten(), ids[:, 1:].flatten()
        embedding = self.views["embedding.weight"]
        x = torch.bmm(self.one_hot.index_select(0, inputs).view(self.runs, -1, self.spec.vocab), embedding)
        for layer in range(self.spec.depth):
            name = f"blocks.{layer}"
            x = x + self._attend(self._norm(x, f"{name}.norm_attention"), name)
            inner = self._linear(self._norm(x, f"{name}.norm_feed_forward"), f"{name}.feed_forward_in")
            x = x + self._linear(SquaredRelu.apply(inner), f"{name}.feed_forward_out")
        logits = torch.bmm(self._norm(x, "norm"), embedding.to(self.low.dtype).transpose(1, 2))
        each = F.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="none")
        return each.view(self.runs, -1).mean(1)

    def backward(self) -> Tensor:
        """Leave the gradients of the present batches in `self.grads`; return the losses, (R,)."""
        blocks = self.order.index_select(0, self.at).flatten()
        losses = self.losses(self.rows.index_select(0, blocks).long())
        parts = torch.autograd.grad(losses.sum(), list(self.views.values()))
        flat = [part.flatten(1) for part in parts]
        torch.cat(flat[: self.low_count], dim=1, out=self.low_grads)
        self.grads[:, : self.matrices].copy_(self.low_grads)
        torch.cat(flat[self.low_count :], dim=1, out=self.grads[:, self.matrices :])
        return losses.detach()

    @torch.no_grad()
    def update(self, losses: Tensor) -> None:
        """Clip each run's gradient, take each one's step of AdamW, and count."""
        norm = torch.linalg.vector_norm(self.grads, dim=1, keepdim=True)
        self.grads.mul_((self.clip / (norm + CLIP_EPSILON)).clamp(max=1.0))
        row = self.table.index_select(0, self.at)[0]
        keep, a, b = (column[:, None] for column in row[:3])
        self.first.lerp_(self.grads, 1.0 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(self.grads, self.grads, value=1.0 - BETAS[1])
        self.weights[:, : self.decayed].mul_(keep)
        self.weights.addcdiv_(self.first, torch.addcmul(b, self.second.sqrt(), a), value=-1.0)
        self.refresh()
        self.kept["smooth"].lerp_(losses, row[3])
        self.at.add_(1)

    def one_step(self) -> None:
        self.update(self.backward())

    def train_loss(self) -> np.ndarray:
        with self.on_stream():
            return self.kept["smooth"].cpu().numpy().copy()

    @torch.no_grad()
    def evaluate(self, rows: np.ndarray, run: int) -> float:
        """Mean held-out cross-entropy of run number `run` over `rows`, nats a token."""
        with self.on_stream():
            if self.device.type == "cuda":
                torch.cuda.current_stream().synchronize()
            with host:
                for name, p in self.model.named_parameters():
                    p.copy_(self.views[name][run])
                return evaluate(self.model, rows, self.device, EVAL_SEQUENCES)
