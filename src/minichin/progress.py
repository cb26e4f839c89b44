"""The live display of a sweep: one bar for the whole, one line for each run in training.

Progress is measured in FLOPs, since runs differ a thousandfold in steps. Where the output is no
terminal, a plain line is printed for every finished run instead.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from minichin.plan import RunSpec
from minichin.runs import RunRecord


def span(seconds: float) -> str:
    """Write a time in the largest two units: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class SweepDisplay:
    """Shows a sweep; `enabled=False` shows nothing. Use as a context manager."""

    def __init__(self, specs: Sequence[RunSpec], todo: Sequence[RunSpec], *, enabled: bool = True) -> None:
        self.console = Console(quiet=not enabled, stderr=True)
        self.cost = {s.spec_hash: _cost(s) for s in specs}
        self.total = sum(self.cost[s.spec_hash] for s in todo)
        self.runs, self.count = len(specs), len(specs) - len(todo)
        self.finished, self.running = 0.0, dict[str, float]()
        self.started = time.monotonic()
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[info]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not (enabled and self.console.is_terminal),
            transient=False,
        )
        self.overall = self.live.add_task(f"{self.count}/{self.runs} runs", total=self.total, info="")
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> SweepDisplay:
        if self.count:
            self.note(f"{self.count} of {self.runs} runs are in the store already")
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def time_left(self) -> float | None:
        """Seconds until the end at the speed so far, None in the first moments."""
        done = self.finished + sum(self.running.values())
        elapsed = time.monotonic() - self.started
        return None if done <= 0 or elapsed < 5 else elapsed * (self.total - done) / done

    def update(self, spec: RunSpec, step: int, loss: float) -> None:
        """Note that the run of `spec` has reached `step` with this training loss."""
        key = spec.spec_hash
        if key not in self.tasks:
            name = f"  {spec.budget:.0e} FLOPs, width {spec.width}, seed {spec.seed}"
            self.tasks[key] = self.live.add_task(name, total=spec.steps, info="")
        self.running[key] = self.cost[key] * step / spec.steps
        self.live.update(self.tasks[key], completed=step, info=f"loss {loss:.3f}" if loss else "")
        self._show_overall()

    def finish(self, spec: RunSpec, record: RunRecord) -> None:
        """Note that the run of `spec` is in the store."""
        key = spec.spec_hash
        self.running.pop(key, None)
        self.finished += self.cost[key]
        self.count += 1
        self.live.remove_task(self.tasks.pop(key))
        loss = "diverged" if record.val_loss is None else f"{record.val_loss:.4f} nats a token"
        left = self.time_left()
        self.note(
            f"[{self.count}/{self.runs}] {spec.budget:.0e} FLOPs, width {spec.width}, seed {spec.seed}: "
            f"{loss}, {span(record.seconds)}" + (f"; about {span(left)} left" if left else "")
        )
        self._show_overall()

    def _show_overall(self) -> None:
        left = self.time_left()
        waiting = "" if self.count == self.runs else "measuring"
        self.live.update(
            self.overall,
            description=f"{self.count}/{self.runs} runs",
            completed=self.finished + sum(self.running.values()),
            info=f"about {span(left)} left" if left else waiting,
        )


def _cost(spec: RunSpec) -> float:
    """Relative cost of a run: its FLOPs, plus what every step costs whatever the width (7 ms on a CPU)."""
    return spec.flops + 4e8 * spec.steps
