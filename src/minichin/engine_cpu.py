"""The engine for a CPU core: one C++ file, compiled on first use and kept in the user's cache folder.

Decisions:
- Why it is our own, and what it does on one machine, is told in the book's lab log.
- It needs a C++ compiler and nothing else. It is compiled for the processor at hand and
  kept under a name made of its text, the compiler and the processor.
- Python hands over some steps at a time: token ids and the numbers of AdamW; weights and moments are numpy
  arrays here, in the order of `engine_torch.flatten`, so a state is the same thing in both engines.
- The compiled code runs without Python's lock, on the calling thread alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import platform
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import numpy as np

from minichin.cache import replacing, writable_cache_dir
from minichin.engine import BETAS, EPSILON, SMOOTHING, Progress, State, lr_factor, row_order
from minichin.plan import RunSpec

GIVEN = "MINICHIN_ENGINE"  # set where a box neither shows the compiler nor has room to compile
SOURCE = Path(__file__).with_name("cpu_engine.cpp")
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-shared",
    "-fPIC",
)
NATIVE = ("-march=native", "-mcpu=native")  # x86 and Arm; Clang on Arm knows the second, older ones neither
COMPILE_LIMIT = 300.0  # seconds
SLICE = 0.2  # seconds of training between two looks at the progress
EVAL_SEQUENCES = 256


class NoCompiledEngine(RuntimeError):
    """The compiled engine cannot be had on this machine; the message says why, in one line."""


def _compiler() -> str:
    """The C++ compiler: `CXX`, else c++, g++ or clang++."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise NoCompiledEngine("there is no C++ compiler here (c++, g++ or clang++, or the one named by CXX)")


def _processor() -> str:
    """What the compiled code depends on: a cache shared between machines must not mix them up."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    kept = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return " ".join((platform.system(), platform.machine(), platform.processor(), *kept))


def _compile(compiler: str, target: Path) -> None:
    """Compile to `target`, whole or not at all, with the first flag for the native processor that works."""
    target.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    with replacing(target) as partial:
        for native in (*NATIVE, None):
            words = [compiler, *FLAGS, *([native] if native else []), "-o", str(partial), str(SOURCE)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=COMPILE_LIMIT)
            if done.returncode == 0:
                return
            lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
            reason = reason or lines[0]
        raise NoCompiledEngine(f"{compiler} cannot compile {SOURCE.name}: {reason}")


def built() -> Path:
    """The compiled engine's file, made where it is missing; `NoCompiledEngine` where it can't be."""
    compiler = _compiler()
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=60).stdout
        text = "\n".join((SOURCE.read_text(), version, " ".join(FLAGS + NATIVE), _processor()))
        target = writable_cache_dir() / "engine" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
        if not target.exists():
            _compile(compiler, target)
        return target
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoCompiledEngine(" ".join(str(error).split())) from None


@cache
def library() -> ctypes.CDLL:
    """The compiled engine (the file `MINICHIN_ENGINE` if that is set); `NoCompiledEngine` without one."""
    try:
        found = ctypes.CDLL(os.environ.get(GIVEN) or str(built()))
    except OSError as error:
        raise NoCompiledEngine(" ".join(str(error).split())) from None
    found.minichin_new.restype = ctypes.c_void_p
    found.minichin_bytes.restype = ctypes.c_int64
    found.minichin_gradient.restype = found.minichin_loss.restype = ctypes.c_double
    return found


def _at(array: np.ndarray) -> ctypes.c_void_p:
    """The address of a contiguous array's first element."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


class CpuEngine:
    """One run, on one core."""

    name = "compiled"

    def __init__(self, spec: RunSpec, rows: np.ndarray, device: object = None) -> None:
        import torch

        from minichin.engine_torch import flatten
        from minichin.model import Transformer

        self.spec, self.rows, self.step, self.smooth = spec, rows, 0, np.float32(math.nan)
        self.library, self.order = library(), row_order(len(rows), spec)
        with torch.no_grad():
            flats = [flat.detach().numpy() for flat in flatten(Transformer(spec.shape, spec.seed))]
        self.decayed = len(flats[0])
        self.weights = np.concatenate(flats)
        self.moments = np.zeros((2, len(self.weights)), dtype=np.float32)
        self.grads = np.zeros_like(self.weights)
        self.pace = SLICE  # seconds a step, as last seen
        shape, batch = spec.shape, self.order.shape[1]
        sizes = (shape.width, shape.depth, shape.context, shape.vocab, shape.heads, shape.ffn, batch)
        self.model = ctypes.c_void_p(self.library.minichin_new(_at(np.array(sizes, dtype=np.int64))))
        if not self.model:
            raise MemoryError(f"no memory for a model of width {shape.width}")

    def _adam(self, steps: range) -> np.ndarray:
        """(steps, 8): learning rate, decay, clip, both betas, epsilon, both bias corrections."""
        spec, table = self.spec, np.empty((len(steps), 8), dtype=np.float32)
        table[:, 0] = [spec.lr * lr_factor(step, spec) for step in steps]
        table[:, 1:6] = (spec.weight_decay, spec.clip, *BETAS, EPSILON)
        table[:, 6:] = [[1 - beta ** (step + 1) for beta in BETAS] for step in steps]
        return table

    def _ids(self, rows: np.ndarray) -> np.ndarray:
        """Token ids as the compiled code reads them, all of them in the vocabulary."""
        ids = np.ascontiguousarray(rows, dtype=np.int32)
        if ids.size and not 0 <= ids.min() <= ids.max() < self.spec.vocab:
            raise ValueError(f"token {ids.max()} of the text is beyond the vocabulary of {self.spec.vocab}")
        return ids

    def advance(self, stop: int, progress: Progress | None = None) -> None:
        while self.step < stop:
            steps = range(self.step, min(stop, self.step + max(1, int(SLICE / self.pace))))
            ids = self._ids(self.rows[self.order[steps.start : steps.stop]])
            losses, adam = np.empty(len(steps), dtype=np.float32), self._adam(steps)
            began = time.perf_counter()
            self.library.minichin_steps(
                self.model,
                *(_at(array) for array in (self.weights, *self.moments, self.grads, ids)),
                ctypes.c_int64(ids.shape[1]),
                ctypes.c_int64(len(steps)),
                _at(adam),
                _at(losses),
            )
            self.pace = max(1e-6, (time.perf_counter() - began) / len(steps))
            for loss in losses:
                self.smooth = (
                    self.smooth + np.float32(SMOOTHING) * (loss - self.smooth) if self.step else loss
                )
                self.step += 1
            if progress is not None:
                progress(self.step, float(self.smooth))

    def gradient(self, ids: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean loss of (sequences, context + 1) ids, nats a token, and its gradient by every weight, flat."""
        ids, grads = self._ids(ids), np.zeros_like(self.weights)
        count = ctypes.c_int64(len(ids))
        loss = self.library.minichin_gradient(self.model, _at(self.weights), _at(ids), count, _at(grads))
        return loss, grads

    def train_loss(self) -> float:
        return float(self.smooth)

    def evaluate(self, rows: np.ndarray) -> float:
        total = 0.0
        for start in range(0, len(rows), EVAL_SEQUENCES):
            ids = self._ids(rows[start : start + EVAL_SEQUENCES])
            count = ctypes.c_int64(len(ids))
            total += self.library.minichin_loss(self.model, _at(self.weights), _at(ids), count) * len(ids)
        return total / len(rows)

    def state(self) -> State:
        arrays = {"weights": self.weights, "moments": self.moments}
        return {name: array.copy() for name, array in arrays.items()} | {
            "step": np.array(self.step),
            "smooth": np.array(self.smooth, dtype=np.float32),
        }

    def load(self, state: State) -> None:
        self.step, self.smooth = int(state["step"]), np.float32(state["smooth"])
        self.weights[:], self.moments[:] = state["weights"], state["moments"]

    def close(self) -> None:
        """Free the activations; the engine is not used after that."""
        if self.model:
            self.library.minichin_delete(self.model)
            self.model = ctypes.c_void_p()
