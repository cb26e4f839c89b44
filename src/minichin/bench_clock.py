"""The clock of `minichin bench train`, and the ceiling that it holds the training against.

Decisions
- CPU time (`time.process_time`, all threads) on a CPU, where others may be at work; wall time between two
  synchronisations on a GPU.
- The ceiling is the fastest of some square matrix products, each timed alone, by torch and (on a CPU) by
  numpy's BLAS: in float32, on a GPU in bfloat16, which training uses there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from minichin import energy

CEILING_SIDES = {"cpu": (256, 512, 768, 1024), "cuda": (2048, 4096, 8192)}


@dataclass(frozen=True)
class Slot:
    """A contender's part of one round: tokens (or FLOPs), seconds, and joules where they are reported."""

    amount: float
    seconds: float
    joules: float | None = None

    @property
    def rate(self) -> float:
        """Amount a second."""
        return self.amount / self.seconds


class Clock:
    """Seconds of the device that are a contender's own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        uuid = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""
        self.counter, self.energy = energy.find(device.type, uuid)

    def now(self) -> float:
        """CPU seconds of this process; on a GPU wall seconds once it is idle."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time()

    def slot(self, amount: float, work: Callable[[], object]) -> Slot:
        """Time `work`, which does so much."""
        begin = self.now()
        before = self.counter.joules() if self.counter else 0.0
        work()
        seconds = self.now() - begin
        return Slot(amount, seconds, self.counter.joules(before) if self.counter else None)


class Ceiling:
    """Square matrix products, one timing of each at a call."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, kind = clock, seconds, clock.device.type
        dtype = torch.bfloat16 if kind == "cuda" else torch.float32
        self.products: dict[int, list[Callable[[], object]]] = {}
        for side in CEILING_SIDES[kind]:
            a, b = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
            self.products[side] = [_torch_product(a, b)]
            if kind == "cpu":
                self.products[side].append(_numpy_product(a.numpy(), b.numpy()))
        self.measure()

    def measure(self) -> float:
        """FLOP/s of the fastest product."""
        return max(self._rate(side, product) for side, ways in self.products.items() for product in ways)

    def _rate(self, side: int, product: Callable[[], object]) -> float:
        flops, once = 2.0 * side**3, self.clock.slot(1.0, product).seconds
        times = max(1, round(self.seconds / max(once, 1e-9)))
        return self.clock.slot(times * flops, lambda: [product() for _ in range(times)]).rate


def _torch_product(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object]:
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _numpy_product(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)
