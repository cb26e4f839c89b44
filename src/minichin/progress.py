"""The live display of a sweep: one bar for the whole, one line for each run in training.

Progress is measured in FLOPs, since runs differ a thousandfold in steps. The line of the whole also shows the
tokens a second of all runs together and the memory that their workers hold. Where the output is no terminal,
a plain line is printed for every finished run instead.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from minichin.jobs import Message
from minichin.plan import RunSpec
from minichin.runs import RunRecord

WINDOW = 10.0  # seconds over which tokens a second are counted


def span(seconds: float) -> str:
    """Write a time in the largest two units: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def short(number: float) -> str:
    """Write a count in three figures: `950`, `64.2k`, `1.28M`, `3.40G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:#.3g}".rstrip(".") + unit
    return f"{number:.0f}"


class Rate:
    """Tokens a second over the last `WINDOW` seconds, from a count that only rises."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, float]] = deque()

    def __call__(self, tokens: float, now: float) -> float:
        """Note that so many tokens are done by `now`; the rate, 0 while too little is known."""
        self.seen.append((now, tokens))
        while len(self.seen) > 2 and self.seen[1][0] < now - WINDOW:
            self.seen.popleft()
        first, before = self.seen[0]
        return (tokens - before) / (now - first) if now - first > 1 else 0.0


class SweepDisplay:
    """Shows a sweep; `enabled=False` shows nothing. Use as a context manager."""

    def __init__(self, specs: Sequence[RunSpec], todo: Sequence[RunSpec], *, enabled: bool = True) -> None:
        self.console = Console(quiet=not enabled, stderr=True)
        self.total = sum(_cost(s) for s in todo)
        self.runs, self.count = len(specs), len(specs) - len(todo)
        self.cost, self.tokens, self.before = 0.0, 0, 0.0  # of finished runs; cost spent in earlier sweeps
        self.running: dict[str, tuple[RunSpec, int]] = {}  # spec and step, by key
        self.begun: dict[str, int] = {}
        self.memory: dict[str, tuple[int, int]] = {}
        self.rate, self.speed, self.started = Rate(), 0.0, time.monotonic()
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[info]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not (enabled and self.console.is_terminal),
            transient=False,
        )
        self.overall = self.live.add_task(f"{self.count}/{self.runs} runs", total=self.total, info="")
        self.tasks: dict[str, TaskID] = {}
        self.noted: set[str] = set()

    def __enter__(self) -> SweepDisplay:
        if self.count:
            self.note(f"{self.count} of {self.runs} runs are in the store already")
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def note_once(self, text: str) -> None:
        """Print one line above the bars, unless it was printed before."""
        if text not in self.noted:
            self.noted.add(text)
            self.note(text)

    def _done(self) -> float:
        return self.cost + sum(_cost(spec) * step / spec.steps for spec, step in self.running.values())

    def time_left(self) -> float | None:
        """Seconds until the end at the speed so far, None in the first moments."""
        done, elapsed = self._done(), time.monotonic() - self.started
        here = done - self.before
        return None if here <= 0 or elapsed < 5 else elapsed * (self.total - done) / here

    def start(self, spec: RunSpec, step: int) -> None:
        """Note that the run of `spec` has been handed out, `step` of its steps being done already."""
        key = spec.spec_hash
        self.begun[key] = step
        self.before += _cost(spec) * step / spec.steps
        self.running[key] = (spec, step)
        if step:
            self.note(f"{_name(spec)}: going on after step {step:,d} of {spec.steps:,d}")

    def update(self, spec: RunSpec, message: Message) -> None:
        """Note the progress of the run of `spec`."""
        key = spec.spec_hash
        if key not in self.tasks:
            self.tasks[key] = self.live.add_task(f"  {_name(spec)}", total=spec.steps, info="")
        self.running[key] = (spec, message.step)
        if message.worker:
            self.memory[message.worker] = (message.memory, message.memory_total)
        info = f"loss {message.loss:.3f}" if message.loss else ""
        self.live.update(self.tasks[key], completed=message.step, info=info)
        self._show_overall()

    def drop(self, spec: RunSpec) -> None:
        """Note that the run of `spec` has ended without a record."""
        self.running.pop(spec.spec_hash, None)
        if spec.spec_hash in self.tasks:
            self.live.remove_task(self.tasks.pop(spec.spec_hash))

    def finish(self, spec: RunSpec, record: RunRecord) -> None:
        """Note that the run of `spec` is in the store."""
        self.drop(spec)
        self.cost += _cost(spec)
        self.tokens += spec.batch_tokens * (record.stopped_at - self.begun.pop(spec.spec_hash, 0))
        self.count += 1
        loss = "diverged" if record.val_loss is None else f"{record.val_loss:.4f} nats a token"
        rate = short(spec.batch_tokens * record.stopped_at / max(record.seconds, 1e-9))
        left = self.time_left()
        self.note(
            f"[{self.count}/{self.runs}] {_name(spec)}: {loss}, {span(record.seconds)}, {rate} tokens/s"
            + (f"; about {span(left)} left" if left else "")
        )
        self._show_overall()

    def _show_overall(self) -> None:
        waiting = "" if self.count == self.runs else "measuring"
        left, now = self.time_left(), time.monotonic()
        here = sum(s.batch_tokens * (n - self.begun.get(k, 0)) for k, (s, n) in self.running.items())
        speed = self.rate(self.tokens + here, now)
        parts = [
            f"{short(speed)} tokens/s" if speed else "",
            memory_text(self.memory),
            f"about {span(left)} left" if left else waiting,
        ]
        self.live.update(
            self.overall,
            description=f"{self.count}/{self.runs} runs",
            completed=self._done(),
            info=", ".join(part for part in parts if part),
        )


def memory_text(memory: dict[str, tuple[int, int]]) -> str:
    """The bytes that all workers hold, and of how many where one GPU is used: `3.1 of 141 GB`."""
    held = sum(bytes_held for bytes_held, _ in memory.values())
    totals = [total for _, total in memory.values()]
    if not held:
        return ""
    of = f" of {totals[0] / 1e9:.0f}" if len(totals) == 1 and totals[0] else ""
    return f"{held / 1e9:.1f}{of} GB"


def _name(spec: RunSpec) -> str:
    return f"{spec.budget:.0e} FLOPs, width {spec.width}, seed {spec.seed}"


def _cost(spec: RunSpec) -> float:
    """Relative cost of a run: its FLOPs, plus what every step costs whatever the width (7 ms on a CPU)."""
    return spec.flops + 4e8 * spec.steps
