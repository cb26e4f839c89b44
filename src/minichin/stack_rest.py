"""A stack at rest: its runs and their state, and how each of them is kept in a file of its own.

Decisions:
- A run of a stack leaves its part of the stack's state, as a checkpoint like any other: so what was one stack
  may go on as two, or with fewer runs, and each says by itself whether it fits.
- Runs at the same step go on as one stack. One step of a stack is a step of all its runs, so those at other
  steps (half a stack that waited for memory; runs without a checkpoint) are stacks of their own.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from minichin import checkpoint, train
from minichin.checkpoint import Checkpoint
from minichin.corpus import Corpus
from minichin.engine import State
from minichin.plan import RunSpec
from minichin.runs import Evaluation
from minichin.stack_engine import StackEngine


@dataclass(frozen=True)
class Run:
    """A run on its way: its curve so far, and its share of the seconds."""

    spec: RunSpec
    curve: tuple[Evaluation, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Stack:
    """Runs that train together, and their state (None: the start of all)."""

    runs: tuple[Run, ...]
    state: State | None = None

    def part(self, places: Sequence[int]) -> Stack:
        """The runs at these places, by themselves."""
        state = self.state
        if state is not None:
            state = {name: value[list(places)] if value.ndim else value for name, value in state.items()}
        return Stack(tuple(self.runs[place] for place in places), state)

    def halves(self) -> list[Stack]:
        """The first and the second half."""
        middle, count = (len(self.runs) + 1) // 2, len(self.runs)
        return [self.part(range(middle)), self.part(range(middle, count))]


def joined(stacks: Sequence[Stack]) -> Stack:
    """One stack of several whose runs have come equally far."""
    states = [stack.state for stack in stacks if stack.state is not None]
    state = None
    if states:
        state = {
            name: np.concatenate([each[name] for each in states]) if value.ndim else value
            for name, value in states[0].items()
        }
    return Stack(tuple(run for stack in stacks for run in stack.runs), state)


def versions() -> dict[str, str]:
    """What a record names of the software."""
    return {"torch": torch.__version__, "python": platform.python_version(), "engine": StackEngine.name}


class Keeper:
    """Keeps the runs of a stack in a folder (None: nowhere), one file each, named by the spec's hash."""

    def __init__(self, folder: Path | None, corpus: Corpus, device: torch.device) -> None:
        self.folder, self.saved = folder, time.monotonic()
        self.common = {**versions(), "text": corpus.sha256, "device": train.describe_device(device)}

    def due(self) -> bool:
        """Whether `train.CHECKPOINT_EVERY` seconds have passed since the last time."""
        return self.folder is not None and time.monotonic() - self.saved > train.CHECKPOINT_EVERY

    def save(self, stack: Stack) -> None:
        """Write the checkpoint of every run of a stack that is past its start."""
        if self.folder is None or stack.state is None:
            return
        for place, run in enumerate(stack.runs):
            state = stack.part([place]).state
            assert state is not None
            found = Checkpoint(state, run.curve, run.seconds)
            checkpoint.save(self._file(run.spec), self._identity(run.spec), found)
        self.saved = time.monotonic()

    def begin(self, specs: Sequence[RunSpec]) -> list[Stack]:
        """These runs as far as they have come, as one stack for each step that any of them has reached."""
        by_step: dict[int | None, list[Stack]] = {}
        for spec in specs:
            found = None
            if self.folder is not None:
                found = checkpoint.load(self._file(spec), self._identity(spec))
            if found is None:
                by_step.setdefault(None, []).append(Stack((Run(spec),)))
            else:
                one = Stack((Run(spec, found.curve, found.seconds),), found.state)
                by_step.setdefault(int(found.state["step"]), []).append(one)
        return [joined(stacks) for stacks in by_step.values()]

    def _file(self, spec: RunSpec) -> Path:
        assert self.folder is not None
        return self.folder / f"{spec.spec_hash}.npz"

    def _identity(self, spec: RunSpec) -> checkpoint.Identity:
        return {**self.common, "spec": spec.spec_hash}
