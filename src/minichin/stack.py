"""Train same-shape runs of a plan together on one GPU: which ones join, and what happens as they end.

Decisions:
- Runs of one shape, batch and text join, whatever their seeds, learning rates and budgets.
- A stack trains up to the next end of a run: that one's record is given out, the others go on as a smaller
  stack, from the same state, with graphs recorded anew. A run that diverges ends alone in the same way.
- Such a stretch changes nothing that was before it. So where the memory does not suffice, the stack is halved
  and each half trains from where the stretch began, one after the other.
- The seconds of a run are its share of the stack's, so that the seconds of a sweep add up to the GPU's.
"""

from __future__ import annotations

import gc
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from minichin.corpus import Corpus
from minichin.engine import State, blocks
from minichin.engine_graphs import out_of_memory
from minichin.plan import RunSpec
from minichin.runs import Evaluation, RunRecord
from minichin.shape import ModelShape
from minichin.stack_engine import StackEngine
from minichin.train import DIVERGED_ABOVE, choose_device, describe_device, evaluation_steps, held_out

#: Runs in one stack. As many as were trained side by side on streams before; more cost memory and, as runs
#: end one by one, buy less. Not measured yet: no GPU was at hand.
STACK = 8

StackProgress = Callable[[RunSpec, int, float], None]


def _kin(spec: RunSpec) -> tuple[ModelShape, int, str]:
    """What runs of one stack have in common."""
    return spec.shape, spec.batch_tokens, spec.corpus


def group(specs: Sequence[RunSpec], most: int = STACK) -> list[tuple[RunSpec, ...]]:
    """Join specs of one shape, batch and text to stacks of at most `most`.

    Stacks come in the order of their first members, and within a stack, too, the given order is kept.
    """
    if most < 1:
        raise ValueError(f"a stack must hold at least 1 run, not {most}")
    stacks: list[list[RunSpec]] = []
    open_stack: dict[tuple, list[RunSpec]] = {}
    for spec in specs:
        stack = open_stack.get(_kin(spec))
        if stack is None or len(stack) == most:
            stack = open_stack[_kin(spec)] = []
            stacks.append(stack)
        stack.append(spec)
    return [tuple(stack) for stack in stacks]


@dataclass(frozen=True)
class _Run:
    """A run on its way: its curve so far, and its share of the seconds."""

    spec: RunSpec
    curve: tuple[Evaluation, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class _Stack:
    """Runs that train together, and their state (None: the start of all)."""

    runs: tuple[_Run, ...]
    state: State | None = None

    def part(self, places: Sequence[int]) -> _Stack:
        """The runs at these places, by themselves."""
        state = self.state
        if state is not None:
            state = {name: value[list(places)] if value.ndim else value for name, value in state.items()}
        return _Stack(tuple(self.runs[place] for place in places), state)

    def halves(self) -> list[_Stack]:
        """The first and the second half."""
        middle, count = (len(self.runs) + 1) // 2, len(self.runs)
        return [self.part(range(middle)), self.part(range(middle, count))]


@dataclass(frozen=True)
class _End:
    """The end of one run of a stack: its place there, and its final loss, None where it diverged."""

    place: int
    step: int
    val_loss: float | None


def train_stack(
    specs: Sequence[RunSpec],
    corpus: Corpus,
    *,
    device: str | None = None,
    progress: StackProgress | None = None,
) -> Iterator[RunRecord]:
    """Train runs of one shape, batch and text together; yield each one's record when it ends.

    `progress(spec, step, train_loss)` is called for every run now and then. Where the memory does not
    suffice, the stack is halved, with a warning, and its steps go back to where it last changed.
    """
    if len({_kin(spec) for spec in specs}) != 1:
        raise ValueError(
            f"a stack needs runs of one shape, batch and text; these are {len(group(specs))} stacks"
        )
    where, rows = choose_device(device), blocks(corpus.train, specs[0].context)
    if not len(rows):
        raise ValueError(f"corpus {corpus.name!r} is too short: {len(corpus.train)} training tokens")
    todo = [_Stack(tuple(_Run(spec) for spec in specs))]
    while todo:
        stack, reason = todo.pop(0), ""
        try:
            ends, stack = _stretch(stack, corpus, rows, where, progress)
        except (RuntimeError, MemoryError) as error:
            if len(stack.runs) == 1 or not out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if reason:  # outside the handler: what the failed engine held is free by now
            warnings.warn(f"a stack of {len(stack.runs)} runs is halved: {reason}", stacklevel=2)
            _free(where)
            todo[:0] = stack.halves()
            continue
        yield from (_record(stack.runs[end.place], end, corpus, where) for end in ends)
        ended = {end.place for end in ends}
        rest = [place for place in range(len(stack.runs)) if place not in ended]
        if rest:
            todo.insert(0, stack.part(rest))


def _free(device: torch.device) -> None:
    """Give memory that nothing holds back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _stretch(
    stack: _Stack, corpus: Corpus, rows: np.ndarray, device: torch.device, progress: StackProgress | None
) -> tuple[list[_End], _Stack]:
    """Train the stack until one or more of its runs end; these, and the stack as it is then."""
    started, specs = time.perf_counter(), [run.spec for run in stack.runs]
    engine = StackEngine(specs, rows, device)

    def watch(step: int, losses: np.ndarray) -> None:
        if progress is not None:
            for spec, loss in zip(specs, losses, strict=True):
                progress(spec, step, float(loss))

    try:
        if stack.state is not None:
            engine.load(stack.state)
        curves, ends = [list(run.curve) for run in stack.runs], list[_End]()
        points = [set(evaluation_steps(spec)) for spec in specs]
        for stop in sorted(step for step in set.union(*points) if engine.step < step <= engine.steps):
            engine.advance(stop, watch)
            due = [place for place, steps in enumerate(points) if stop in steps]
            found = (_evaluate(engine, place, corpus, curves[place]) for place in due)
            ends = [end for end in found if end is not None]
            if ends:
                break
        state = engine.state() if len(ends) < len(specs) else None
    finally:
        engine.close()
    share = (time.perf_counter() - started) / len(specs)
    runs = [
        replace(run, curve=tuple(curve), seconds=run.seconds + share)
        for run, curve in zip(stack.runs, curves, strict=True)
    ]
    return ends, _Stack(tuple(runs), state)


def _evaluate(engine: StackEngine, place: int, corpus: Corpus, curve: list[Evaluation]) -> _End | None:
    """Add a point to the curve of the run at `place`; tell whether the run ends there."""
    spec = engine.specs[place]
    all_rows, curve_rows = held_out(spec, corpus)
    loss = engine.evaluate(curve_rows, place)
    if not loss < DIVERGED_ABOVE * math.log(spec.vocab):
        return _End(place, engine.step, None)
    curve.append(Evaluation(engine.step, loss, float(engine.train_loss()[place])))
    if engine.step < spec.steps:
        return None
    return _End(place, engine.step, engine.evaluate(all_rows, place))


def _record(run: _Run, end: _End, corpus: Corpus, device: torch.device) -> RunRecord:
    return RunRecord(
        spec=run.spec,
        val_loss=end.val_loss,
        curve=run.curve,
        status="diverged" if end.val_loss is None else "finished",
        stopped_at=end.step,
        seconds=run.seconds,
        device=describe_device(device),
        versions={
            "torch": torch.__version__,
            "python": platform.python_version(),
            "engine": StackEngine.name,
        },
        corpus_sha256=corpus.sha256,
    )
