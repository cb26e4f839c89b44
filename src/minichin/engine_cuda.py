"""The engine for a GPU: the same training as the reference's, without the host in the way.

A step of a tiny model is some hundred kernels of a few microseconds; launched one by one from Python they
leave a GPU idle nine tenths of the time. Decisions, besides those of `engine_graphs`:
- Everything that a step needs lies on the device: the text as bytes, the order of its blocks, the table of
  learning rates, and the number of the step.
- Weights stay in one flat float32 buffer. The matrices of the layers are also kept in bfloat16, cast once a
  step: what autocast would do at every use, in one kernel instead of thirty. The forward pass is written
  out with autocast's roundings, but squares in bfloat16 (it would go through float32 and back, to the same
  number), and looks the embedding up by a product with one-hot rows, whose backward pass is a product too.
- The host looks at the losses only at evaluations; a run that has diverged is found there.

On a CPU the same code runs without capture, in float32: so it is tested against the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minichin.engine import BETAS, CLIP_EPSILON, SMOOTHING, lr_factor, row_order
from minichin.engine_graphs import EVAL_SEQUENCES, GraphEngine, host, layout
from minichin.engine_torch import evaluate
from minichin.model import Block, Transformer
from minichin.plan import RunSpec


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes in use on a GPU, by whatever process, and bytes that it has."""
    if device.type != "cuda":
        raise ValueError(f"the memory of device {device} is not counted, only a GPU's; ask for cuda")
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total


def _rates(spec: RunSpec) -> np.ndarray:
    """(steps, 2): the learning rate, and the weight of the step's loss in the running mean."""
    table = np.full((spec.steps, 2), SMOOTHING, dtype=np.float32)
    table[:, 0] = [spec.lr * lr_factor(step, spec) for step in range(spec.steps)]
    table[0, 1] = 1.0
    return table


class SquaredRelu(torch.autograd.Function):
    """relu(x)² without leaving the type of x; the derivative is 2 relu(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (grad * ctx.saved_tensors[0]).mul_(2.0)


class CudaEngine(GraphEngine[float]):
    """One run on a GPU. `graphs=False` launches every kernel from the host, to compare."""

    name = "cuda-graphs"

    def __init__(self, spec: RunSpec, rows: np.ndarray, device: torch.device, graphs: bool = True) -> None:
        super().__init__(device, spec.steps, graphs)
        self.spec = spec
        with host, self.on_stream():
            self._put_text(rows)
            self._put_model()

    def _put_text(self, rows: np.ndarray) -> None:
        spec, to = self.spec, self.device
        self.rows = torch.from_numpy(rows).to(to)
        self.order = torch.from_numpy(row_order(len(rows), spec).astype(np.int32)).to(to)
        self.rates = torch.from_numpy(_rates(spec)).to(to)
        self.at = torch.zeros(1, dtype=torch.int64, device=to)
        self.smooth = torch.zeros((), device=to)

    def _put_model(self) -> None:
        """Lay the weights out flat, and make the model's parameters views of them."""
        spec = self.spec
        self.model = Transformer(spec.shape, spec.seed).to(self.device)
        groups = [list(group.values()) for group in layout(self.model)]
        self.params = [p for group in groups for p in group]
        self.matrices = len(groups[0])
        sizes = [sum(p.numel() for p in group) for group in groups]
        self.weights = torch.cat([p.detach().reshape(-1) for p in self.params])
        self.grads = torch.zeros_like(self.weights)
        self.cast = self.device.type == "cuda"
        low = self.weights[: sizes[0]].to(torch.bfloat16) if self.cast else self.weights[: sizes[0]]
        self.low, self.low_grads, start = low, torch.zeros_like(low), 0
        self.one_hot = torch.eye(spec.vocab, device=self.device)
        for p in self.params:
            stop = start + p.numel()
            p.data = (low if stop <= sizes[0] else self.weights)[start:stop].view_as(p)
            start = stop
        if self.cast:
            self.model.bias = self.model.bias.to(torch.bfloat16)
        self._put_optimiser(sizes[0] + sizes[1])

    def _put_optimiser(self, decayed: int) -> None:
        """Make AdamW with its state, which it would make at its first step, where `kept` can name it."""
        spec, weights = self.spec, self.weights
        first, second = torch.zeros_like(weights), torch.zeros_like(weights)
        self.kept = {"weights": weights, "first": first, "second": second, "smooth": self.smooth}
        self.lr = torch.tensor(spec.lr, device=self.device)
        groups: list[dict[str, Any]] = []
        parts = (slice(decayed), slice(decayed, None))
        for part, decay in zip(parts, (spec.weight_decay, 0.0), strict=True):
            flat = weights[part].detach().requires_grad_()
            flat.grad = self.grads[part]
            groups.append({"params": [flat], "weight_decay": decay})
        self.optimiser = torch.optim.AdamW(
            groups, lr=self.lr, betas=BETAS, fused=True, capturable=self.device.type == "cuda"
        )
        vars(self.optimiser)["_warned_capturable_if_run_uncaptured"] = True  # the first steps are eager
        for group, part in zip(groups, parts, strict=True):
            self.optimiser.state[group["params"][0]] = {
                "step": torch.zeros((), device=self.device),
                "exp_avg": first[part],
                "exp_avg_sq": second[part],
            }

    def refresh(self) -> None:
        for state in self.optimiser.state.values():
            state["step"].fill_(self.step)
        if self.cast:
            self.low.copy_(self.weights[: self.low.numel()])

    def loss(self, ids: Tensor) -> Tensor:
        """What `Transformer.loss` gives under autocast, from (sequences, context + 1) ids."""
        model, kind = self.model, self.low.dtype
        inputs, targets = ids[:, :-1], ids[:, 1:].reshape(-1)
        rows = self.one_hot.index_select(0, inputs.reshape(-1)).view(*inputs.shape, -1)
        x = rows @ model.embedding.weight
        for block in model.blocks:
            assert isinstance(block, Block)
            x = x + block.attend(block.norm_attention(x).to(kind), model.bias)
            inner = block.feed_forward_in(block.norm_feed_forward(x).to(kind))
            x = x + block.feed_forward_out(SquaredRelu.apply(inner))
        logits = F.linear(model.norm(x).to(kind), model.embedding.weight.to(kind))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets)

    def backward(self) -> Tensor:
        """Leave the gradients of the present batch in `self.grads`; return the loss."""
        blocks = self.order.index_select(0, self.at).flatten()
        ids = self.rows.index_select(0, blocks).long()
        loss = self.loss(ids)
        parts = [part.reshape(-1) for part in torch.autograd.grad(loss, self.params)]
        count = self.low.numel()
        if self.cast:
            torch.cat(parts[: self.matrices], out=self.low_grads)
            self.grads[:count].copy_(self.low_grads)
        else:
            torch.cat(parts[: self.matrices], out=self.grads[:count])
        torch.cat(parts[self.matrices :], out=self.grads[count:])
        return loss.detach()

    @torch.no_grad()
    def update(self, loss: Tensor) -> None:
        """Clip, take the optimiser's step, refresh what follows from the weights, and count."""
        norm = torch.linalg.vector_norm(self.grads)
        self.grads.mul_((self.spec.clip / (norm + CLIP_EPSILON)).clamp(max=1.0))
        rate, share = self.rates.index_select(0, self.at)[0].unbind()
        self.lr.copy_(rate)
        self.optimiser.step()
        if self.cast:
            self.low.copy_(self.weights[: self.low.numel()])
        self.smooth.lerp_(loss, share)
        self.at.add_(1)

    def one_step(self) -> None:
        self.update(self.backward())

    def train_loss(self) -> float:
        with self.on_stream():
            return float(self.smooth)

    def evaluate(self, rows: np.ndarray) -> float:
        """Mean held-out cross-entropy over `rows`, nats a token."""
        with self.on_stream():
            if self.device.type == "cuda":
                torch.cuda.current_stream().synchronize()
            with host:
                return evaluate(self.model, rows, self.device, EVAL_SEQUENCES)
