"""The engine for a GPU: the same training as the reference's, without the host in the way.

A step of a tiny model is some hundred kernels of a few microseconds; launched one by one from Python they
leave a GPU idle nine tenths of the time. Decisions:
- Everything that a step needs lies on the device: the text as bytes, the order of its blocks, the table of
  learning rates, and the number of the step. So a step takes no argument, and a CUDA graph of one step, or
  of `STRIDE` steps in a row, can be replayed without asking the host.
- Weights stay in one flat float32 buffer. The matrices of the layers are also kept in bfloat16, cast once a
  step: what autocast would do at every use, in one kernel instead of thirty. The forward pass is written
  out with autocast's roundings, but squares in bfloat16 (it would go through float32 and back, to the same
  number), and looks the embedding up by a product with one-hot rows, whose backward pass is a product too.
- The steps before the capture are the run's own first steps. No step is taken for practice.
- A small run fills a few of a GPU's hundred multiprocessors, and kernels of different processes take turns.
  So several runs share one process: a thread and a stream for each, of the higher priority the more steps
  a run has, lest a long run of small steps wait at each of them for large ones. Building an engine, and
  whatever else launches kernels from Python, happens in one thread at a time: captures stay undisturbed.
- The host looks at the losses only at evaluations; a run that has diverged is found there.

On a CPU the same code runs without capture, in float32: so it is tested against the reference.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minichin.engine import BETAS, Progress, lr_factor, row_order
from minichin.engine_torch import evaluate
from minichin.model import Block, Transformer
from minichin.plan import RunSpec

STRIDE = 16  # steps in the longer graph
PRACTICE = 3  # steps taken eagerly first: they create what a capture may not (workspaces, moments)
STEPS_A_PRIORITY = 25_000
IN_FLIGHT = 4  # strides that the host may run ahead
EVAL_SEQUENCES = 512
TELL_EVERY = 0.5  # seconds between two reports of progress, each of which waits for the device

_host = threading.Lock()
_thread = threading.local()


def _on_stream(device: torch.device, spec: RunSpec) -> AbstractContextManager:
    """This thread's own stream of the priority that the run deserves (0 … -3); nothing on a CPU."""
    if device.type != "cuda":
        return nullcontext()
    priority = -min(3, spec.steps // STEPS_A_PRIORITY)
    streams = vars(_thread).setdefault("streams", {})
    if priority not in streams:
        streams[priority] = torch.cuda.Stream(device, priority=priority)
    return torch.cuda.stream(streams[priority])


def _rates(spec: RunSpec) -> np.ndarray:
    """(steps, 2): the learning rate, and the weight of the step's loss in the running mean."""
    table = np.full((spec.steps, 2), 0.02, dtype=np.float32)
    table[:, 0] = [spec.lr * lr_factor(step, spec) for step in range(spec.steps)]
    table[0, 1] = 1.0
    return table


class _SquaredRelu(torch.autograd.Function):
    """relu(x)² without leaving the type of x; the derivative is 2 relu(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return (grad * ctx.saved_tensors[0]).mul_(2.0)


class CudaEngine:
    """One run on a GPU. `graphs=False` launches every kernel from the host, to compare."""

    name = "cuda-graphs"

    def __init__(self, spec: RunSpec, rows: np.ndarray, device: torch.device, graphs: bool = True) -> None:
        self.spec, self.device, self.step = spec, device, 0
        self.capture = graphs and device.type == "cuda"
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.queue: deque[torch.cuda.Event] = deque()
        with _host, _on_stream(device, spec):
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
        """Lay the weights out flat: matrices of layers | embedding | gains (the last without decay)."""
        spec = self.spec
        self.model = Transformer(spec.shape, spec.seed).to(self.device)
        named = list(self.model.named_parameters())
        groups = (
            [p for name, p in named if p.ndim > 1 and name != "embedding.weight"],
            [self.model.embedding.weight],
            [p for _, p in named if p.ndim == 1],
        )
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
        spec = self.spec
        self.lr, groups = torch.tensor(spec.lr, device=self.device), []
        for part, decay in ((slice(decayed), spec.weight_decay), (slice(decayed, None), 0.0)):
            flat = self.weights[part].detach().requires_grad_()
            flat.grad = self.grads[part]
            groups.append({"params": [flat], "weight_decay": decay})
        self.optimiser = torch.optim.AdamW(
            groups, lr=self.lr, betas=BETAS, fused=True, capturable=self.device.type == "cuda"
        )
        vars(self.optimiser)["_warned_capturable_if_run_uncaptured"] = True  # the first steps are eager

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
            x = x + block.feed_forward_out(_SquaredRelu.apply(inner))
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
        self.grads.mul_((self.spec.clip / (norm + 1e-6)).clamp(max=1.0))
        rate, share = self.rates.index_select(0, self.at)[0].unbind()
        self.lr.copy_(rate)
        self.optimiser.step()
        if self.cast:
            self.low.copy_(self.weights[: self.low.numel()])
        self.smooth.lerp_(loss, share)
        self.at.add_(1)

    def _captured(self, steps: int) -> torch.cuda.CUDAGraph:
        """Record `steps` steps, without running them. `torch.cuda.graph` would halt the other runs."""
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            for _ in range(steps):
                self.update(self.backward())
        finally:
            graph.capture_end()
        return graph

    def _begin(self, stop: int) -> None:
        """Take the first steps eagerly, then record the graphs; say so where that fails, and do without."""
        with _host:
            while self.step < min(PRACTICE, stop):
                self.update(self.backward())
                self.step += 1
            if not self.capture or self.graphs or self.step < PRACTICE:
                return
            try:
                self.graphs = {steps: self._captured(steps) for steps in (STRIDE, 1)}
            except RuntimeError as error:
                self.capture, self.graphs = False, {}
                reason = str(error).splitlines()[0]
                warnings.warn(f"no CUDA graph ({reason}): kernels are launched one by one", stacklevel=2)

    def advance(self, stop: int, progress: Progress | None = None) -> None:
        """Run up to step `stop`. The host stays `IN_FLIGHT` strides ahead at most."""
        told = time.monotonic()
        with _on_stream(self.device, self.spec):
            self._begin(stop)
            while self.step < stop:
                steps = STRIDE if self.graphs and stop - self.step >= STRIDE else 1
                if self.graphs:
                    self.graphs[steps].replay()
                else:
                    self.update(self.backward())
                self.step += steps
                self._keep_pace(steps)
                if progress is not None and time.monotonic() - told > TELL_EVERY:
                    told = time.monotonic()
                    progress(self.step, self.train_loss())

    def _keep_pace(self, steps: int) -> None:
        """After a long graph, wait until no more than `IN_FLIGHT` of them are unfinished."""
        if self.device.type != "cuda" or steps == 1:
            return
        event = torch.cuda.Event(blocking=True)
        event.record()
        self.queue.append(event)
        if len(self.queue) > IN_FLIGHT:
            self.queue.popleft().synchronize()

    def train_loss(self) -> float:
        """Running mean of the training loss so far, nats a token."""
        with _on_stream(self.device, self.spec):
            return float(self.smooth)

    def evaluate(self, rows: np.ndarray) -> float:
        """Mean held-out cross-entropy over `rows`, nats a token."""
        with _on_stream(self.device, self.spec):
            if self.device.type == "cuda":
                torch.cuda.current_stream().synchronize()
            with _host:
                return evaluate(self.model, rows, self.device, EVAL_SEQUENCES)

    def close(self) -> None:
        """Give the graphs and their memory back."""
        with _host:
            for graph in self.graphs.values():
                graph.reset()
            self.graphs = {}
