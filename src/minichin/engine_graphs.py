"""What the engines for a GPU share: graphs of several steps, streams, pace, and states to go on from.

Decisions:
- A step takes no argument: its data, its learning rate and its number lie on the device. So a CUDA graph of
  one step, or of `STRIDE` steps in a row, can be replayed without asking the host.
- The steps before the capture are the run's own. No step is taken for practice, and a state that is loaded
  is copied into the tensors that are there: graphs go on at the addresses that they were recorded with.
- Kernels of different processes take turns, so several engines share one process: a thread and a stream for
  each, of the higher priority the more steps it has, lest a long run of small steps wait at each of them for
  large ones. Building an engine, and whatever else launches kernels from Python, happens in one thread at a
  time: captures stay undisturbed.
- Without graphs (on a CPU, or where a capture fails) the same steps are launched one by one.
"""

from __future__ import annotations

import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from minichin.engine import State
from minichin.model import Transformer

STRIDE = 16  # steps in the longer graph
PRACTICE = 3  # steps launched one by one first: they create what a capture may not (workspaces)
STEPS_A_PRIORITY = 25_000
IN_FLIGHT = 4  # strides that the host may run ahead
EVAL_SEQUENCES = 512
TELL_EVERY = 0.5  # seconds between two reports of progress, each of which waits for the device
NO_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")

host = threading.Lock()
_thread = threading.local()
Loss = TypeVar("Loss")  # of one run, or of each run of a stack


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that the device, or the host, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in NO_MEMORY
    )


def layout(model: Transformer) -> tuple[dict[str, nn.Parameter], ...]:
    """The weights by name, as they lie in a flat buffer: matrices of layers | embedding | gains.

    The first part is what products in bfloat16 need, the first two are what weight decay acts on.
    """
    named = dict(model.named_parameters())
    embedding = {"embedding.weight": named.pop("embedding.weight")}
    return (
        {name: p for name, p in named.items() if p.ndim > 1},
        embedding,
        {name: p for name, p in named.items() if p.ndim == 1},
    )


class GraphEngine(ABC, Generic[Loss]):
    """Takes the steps that a subclass defines by `one_step`, up to number `steps`."""

    runs = 1  # trained at once
    at: Tensor  # the number of the next step, on the device
    kept: dict[str, Tensor]  # what later steps depend on, the number of the step aside

    def __init__(self, device: torch.device, steps: int, graphs: bool) -> None:
        self.device, self.steps, self.step = device, steps, 0
        self.told = time.monotonic()  # when progress was last reported: stops may be closer than reports
        self.capture = graphs and device.type == "cuda"
        self.practised = 0
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self.queue: deque[torch.cuda.Event] = deque()

    @abstractmethod
    def one_step(self) -> None:
        """Launch one whole step, its counting of `at` included; ask the host nothing."""

    @abstractmethod
    def train_loss(self) -> Loss:
        """Running mean of the training loss so far, nats a token."""

    @abstractmethod
    def refresh(self) -> None:
        """Set what follows from `kept` and the step, after a load."""

    def on_stream(self) -> AbstractContextManager:
        """This thread's own stream of the priority that the run deserves (0 … -3); nothing on a CPU."""
        if self.device.type != "cuda":
            return nullcontext()
        priority = -min(3, self.steps // STEPS_A_PRIORITY)
        streams = vars(_thread).setdefault("streams", {})
        if priority not in streams:
            streams[priority] = torch.cuda.Stream(self.device, priority=priority)
        return torch.cuda.stream(streams[priority])

    def _captured(self, steps: int) -> torch.cuda.CUDAGraph:
        """Record `steps` steps, without running them. `torch.cuda.graph` would halt the other runs."""
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            for _ in range(steps):
                self.one_step()
        except BaseException as error:
            try:
                graph.capture_end()
            except RuntimeError:
                raise error from None  # the failed capture tells less than what made it fail
            raise
        graph.capture_end()
        return graph

    def _begin(self, stop: int) -> None:
        """Launch the first steps one by one, then record the graphs; where that fails, say so and go on.

        A stack that lacks the memory fails instead: a smaller one with graphs is faster.
        """
        with host:
            while self.practised < PRACTICE and self.step < stop:
                self.one_step()
                self.step += 1
                self.practised += 1
            if not self.capture or self.graphs or self.practised < PRACTICE:
                return
            try:
                self.graphs = {steps: self._captured(steps) for steps in (STRIDE, 1)}
            except RuntimeError as error:
                if self.runs > 1 and out_of_memory(error):
                    raise
                self.capture, self.graphs = False, {}
                reason = str(error).splitlines()[0]
                warnings.warn(f"no CUDA graph ({reason}): kernels are launched one by one", stacklevel=2)

    def advance(self, stop: int, progress: Callable[[int, Loss], None] | None = None) -> None:
        """Run up to step `stop`. The host stays `IN_FLIGHT` strides ahead at most."""
        if stop > self.steps:
            raise ValueError(f"step {stop} is beyond the last, {self.steps}")
        with self.on_stream():
            self._begin(stop)
            while self.step < stop:
                steps = STRIDE if self.graphs and stop - self.step >= STRIDE else 1
                if self.graphs:
                    self.graphs[steps].replay()
                else:
                    self.one_step()
                self.step += steps
                self._keep_pace(steps)
                if progress is not None and time.monotonic() - self.told > TELL_EVERY:
                    self.told = time.monotonic()
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

    def state(self) -> State:
        """All that later steps depend on, as copies."""
        with self.on_stream():
            found = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.kept.items()}
        return {**found, "step": np.array(self.step)}

    @torch.no_grad()
    def load(self, state: State) -> None:
        """Go on from a state of such an engine; `ValueError` where it does not fit."""
        wanted = {**{name: tuple(tensor.shape) for name, tensor in self.kept.items()}, "step": ()}
        given = {name: np.shape(value) for name, value in state.items()}
        if given != wanted:
            raise ValueError(f"this state holds {given}, but the engine needs {wanted}: it is another run's")
        with host, self.on_stream():
            for name, tensor in self.kept.items():
                tensor.copy_(torch.from_numpy(state[name]))
            self.step = int(state["step"])
            self.at.fill_(self.step)
            self.refresh()

    def close(self) -> None:
        """Give the graphs and their memory back."""
        with host:
            for graph in self.graphs.values():
                graph.reset()
            self.graphs = {}
