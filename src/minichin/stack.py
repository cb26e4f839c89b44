"""Train same-shape runs of a plan together on one GPU: what happens as they end, one by one.

Decisions:
- Runs of one shape, batch and text join, whatever their seeds, learning rates and budgets.
- A stack trains up to the next end of a run: that one's record is given out, the others go on as a smaller
  stack, from the same state, with graphs recorded anew. A run that diverges ends alone in the same way.
- Such a stretch changes nothing that was before it. So where the memory does not suffice, the stack is halved
  and each half trains from where the stretch began, one after the other.
- The seconds of a run are its share of the stack's, so that the seconds of a sweep add up to the GPU's.
- A stack that is stopped leaves a checkpoint of each of its runs (`stack_rest`) and goes on from them.
"""

from __future__ import annotations

import gc
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from minichin.corpus import Corpus
from minichin.engine import Stopped, blocks
from minichin.engine_graphs import out_of_memory
from minichin.jobs import kin
from minichin.plan import RunSpec
from minichin.runs import Evaluation, RunRecord
from minichin.stack_engine import StackEngine
from minichin.stack_rest import Keeper, Run, Stack, versions
from minichin.train import DIVERGED_ABOVE, choose_device, describe_device, evaluation_steps, held_out

StackProgress = Callable[[RunSpec, int, float], None]


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
    checkpoints: Path | None = None,
) -> Iterator[RunRecord]:
    """Train runs of one shape, batch and text together; yield each one's record when it ends.

    `progress(spec, step, train_loss)` is called for every run now and then; where it raises `Stopped`, the
    training ends there. With a folder for `checkpoints` every unfinished run leaves its own then, and every
    `train.CHECKPOINT_EVERY` seconds, and goes on from what it finds there, together with those of `specs`
    that have come equally far. On a CPU, with one thread, runs that stay together give the same records bit
    for bit, stopped or not. Where the memory does not suffice, a stack is halved, with a warning, and its
    steps go back to where it last changed.
    """
    kinds = len({kin(spec) for spec in specs})
    if kinds != 1:
        raise ValueError(f"a stack needs runs of one shape, batch and text; these are of {kinds} kinds")
    where, rows = choose_device(device), blocks(corpus.train, specs[0].context)
    if not len(rows):
        raise ValueError(f"corpus {corpus.name!r} is too short: {len(corpus.train)} training tokens")
    keeper = Keeper(checkpoints, corpus, where)
    todo = keeper.begin(specs)
    while todo:
        stack, reason = todo.pop(0), ""
        try:
            ends, stack = _stretch(stack, corpus, rows, where, progress, keeper)
        except (RuntimeError, MemoryError) as error:
            if len(stack.runs) == 1 or not out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if reason:  # outside the handler: what the failed engine held is free by now
            warnings.warn(f"a stack of {len(stack.runs)} runs is halved: {reason}", stacklevel=2)
            _free(where)
            keeper.save(stack)  # lest the half that waits be lost with the one that trains
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
    stack: Stack,
    corpus: Corpus,
    rows: np.ndarray,
    device: torch.device,
    progress: StackProgress | None,
    keeper: Keeper,
) -> tuple[list[_End], Stack]:
    """Train the stack until one or more of its runs end; these, and the stack as it is then."""
    started, specs = time.perf_counter(), [run.spec for run in stack.runs]
    curves = [list(run.curve) for run in stack.runs]
    engine = StackEngine(specs, rows, device)

    def now(whole: bool = True) -> Stack:
        share = (time.perf_counter() - started) / len(specs)
        runs = (
            replace(run, curve=tuple(curve), seconds=run.seconds + share)
            for run, curve in zip(stack.runs, curves, strict=True)
        )
        return Stack(tuple(runs), engine.state() if whole else None)

    def watch(step: int, losses: np.ndarray) -> None:
        if progress is not None:
            for spec, loss in zip(specs, losses, strict=True):
                progress(spec, step, float(loss))
        if keeper.due():
            keeper.save(now())

    try:
        if stack.state is not None:
            engine.load(stack.state)
        points = [set(evaluation_steps(run.spec)[len(run.curve) :]) for run in stack.runs]
        for stop in sorted(step for step in set.union(*points) if step <= engine.steps):
            engine.advance(stop, watch)
            due = [place for place, steps in enumerate(points) if stop in steps]
            found = [_evaluate(engine, place, corpus, curves[place]) for place in due]
            ends = [end for end in found if end is not None]
            if ends:
                return ends, now(len(ends) < len(specs))
        raise AssertionError("the last point of the shortest run ends it")
    except Stopped:
        keeper.save(now())
        raise
    finally:
        engine.close()


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


def _record(run: Run, end: _End, corpus: Corpus, device: torch.device) -> RunRecord:
    return RunRecord(
        spec=run.spec,
        val_loss=end.val_loss,
        curve=run.curve,
        status="diverged" if end.val_loss is None else "finished",
        stopped_at=end.step,
        seconds=run.seconds,
        device=describe_device(device),
        versions=versions(),
        corpus_sha256=corpus.sha256,
    )
