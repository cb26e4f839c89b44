"""One worker and two at once, for `minichin bench train`: does a second core double the throughput?

A worker (`python -m minichin.bench_workers`) reads lines `train SECONDS` or `product SECONDS`, works for so
long, and answers with one line of JSON: the amount done, wall and CPU seconds.

Decisions
- Each round takes one worker alone, both at once, the other alone, so that a drift of the machine cancels;
  the ratio of a round is what both did a second over the mean of what each did alone.
- Plain matrix products are timed the same way: where two of them do not reach twice one either, the two
  "cores" share a physical core, or the package slows its clock, and no engine can do better.
- Wall time here, as this is about throughput. `cores` is the CPU time that both got over the wall time: below
  2, others were at work, and `ratio_cpu`, the same ratio by CPU time, is the one to trust.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any

from minichin.bench import THREADS
from minichin.bench_train import CORPUS, Sizes, cell_spec

WIDTH, BATCH_TOKENS = 64, 256
STEPS = 100_000  # more than a worker comes to
AT_A_TIME = 4  # steps between two looks at the clock
SIDE = 512
TASKS = ("train", "product")
Answer = dict[str, float]


class Worker:
    """A process that works when told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minichin.bench_workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **THREADS},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process: it stops by itself at the end of its input, which `communicate` brings."""
        self.process.communicate()

    def tell(self, line: str) -> None:
        """Hand a task over, without waiting for its end."""
        pipe = _pipe(self.process.stdin)
        pipe.write(line + "\n")
        pipe.flush()

    def answer(self) -> Answer:
        """Wait for the answer to the task; RuntimeError with its last words where it ended instead."""
        line = _pipe(self.process.stdout).readline()
        if not line:
            last = (_pipe(self.process.stderr).read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"a worker of the benchmark ended: {last}")
        return dict(json.loads(line))


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def measure(sizes: Sizes) -> dict[str, Any]:
    """One and two workers at width 64 and 256 tokens a step, and the same of matrix products."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in range(2)]
        for task in TASKS:
            together(workers, f"{task} 0.01")  # warm
        found = {
            task: [one_round(workers, f"{task} {sizes.worker_seconds}") for _ in range(sizes.worker_rounds)]
            for task in TASKS
        }
    return {"width": WIDTH, "batch_tokens": BATCH_TOKENS, **{task: summary(found[task]) for task in TASKS}}


def together(workers: list[Worker], task: str) -> list[Answer]:
    """The answers of all workers to one task, at once."""
    for worker in workers:
        worker.tell(task)
    return [worker.answer() for worker in workers]


def one_round(workers: list[Worker], task: str) -> tuple[list[Answer], list[Answer]]:
    """The answers of each worker alone, and of both at once."""
    first = together(workers[:1], task)
    both = together(workers, task)
    return first + together(workers[1:], task), both


def summary(rounds: list[tuple[list[Answer], list[Answer]]]) -> dict[str, float]:
    """Medians over rounds: amount a second by one and by two, their ratio by either clock, cores had."""

    def rate(answer: Answer, clock: str) -> float:
        return answer["amount"] / answer[clock]

    def one(alone: list[Answer], clock: str) -> float:
        return statistics.fmean(rate(answer, clock) for answer in alone)

    def two(both: list[Answer], clock: str) -> float:
        return sum(rate(answer, clock) for answer in both)

    return {
        "one": statistics.median(one(alone, "wall_s") for alone, _ in rounds),
        "two": statistics.median(two(both, "wall_s") for _, both in rounds),
        "ratio": statistics.median(two(both, "wall_s") / one(alone, "wall_s") for alone, both in rounds),
        "ratio_cpu": statistics.median(two(both, "cpu_s") / one(alone, "cpu_s") for alone, both in rounds),
        "cores": statistics.median(sum(a["cpu_s"] / a["wall_s"] for a in both) for _, both in rounds),
    }


def main() -> Iterator[Answer]:
    """Work as the lines of standard input say."""
    import torch

    from minichin import corpus
    from minichin.engine import blocks
    from minichin.train import make_engine

    spec = cell_spec(WIDTH, BATCH_TOKENS, STEPS)
    engine = make_engine(spec, blocks(corpus.load(CORPUS).train, spec.context), torch.device("cpu"))
    a, b, out = (torch.randn(SIDE, SIDE) for _ in range(3))

    def train() -> float:
        engine.advance(engine.step + AT_A_TIME)
        return float(AT_A_TIME * BATCH_TOKENS)

    def product() -> float:
        torch.mm(a, b, out=out)
        return 2.0 * SIDE**3

    for line in sys.stdin:
        task, seconds = line.split()
        work = {"train": train, "product": product}[task]
        amount, begin, begin_cpu = 0.0, time.perf_counter(), time.process_time()
        while time.perf_counter() - begin < float(seconds):
            amount += work()
        wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
        yield {"amount": amount, "wall_s": wall_s, "cpu_s": cpu_s}


if __name__ == "__main__":
    for done in main():
        print(json.dumps(done), flush=True)
