"""Running a plan: what is asked for, checked and put in order; then driven, here or beyond this machine.

Decisions:
- The plan's order is kept (small budgets first), but within a budget the longest runs start first, so that
  the workers finish together.
- One single-threaded worker a core, or `GPU_WORKERS` threads on a GPU (`workers`), or what a Ray cluster
  offers (`on_ray`); `drive` says the rest.
- A store holds runs on one version of a text only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minichin.drive import Executor, Queue, drive
from minichin.jobs import SweepError
from minichin.pace import Pace
from minichin.plan import RunSpec, plan
from minichin.progress import SweepDisplay
from minichin.runs import Store, default_store, open_store
from minichin.unfinished import STACKED, Unfinished
from minichin.workers import LocalPool

if TYPE_CHECKING:
    import torch

__all__ = ["SweepError", "cores", "ensure", "missing", "order", "sweep"]

GPU_WORKERS = 8  # on an H200, 12 do 40 % more steps at width 64 than 4, and none more at width 512
#: Runs in a stack on a GPU. On an H200, 16 do 1.9, 1.5 and 1.3 times the tokens a second of `GPU_WORKERS`
#: single runs at widths 64, 128 and 256, and as many at 512; four do fewer than those.
GPU_STACK = 16


def order(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Small budgets first; within one budget the runs with the most steps first."""
    return sorted(specs, key=lambda s: (s.budget, -s.steps, s.seed))


def missing(specs: Sequence[RunSpec], store: Store) -> list[RunSpec]:
    """The specs that the store holds no record of, in running order, each once."""
    known = store.by_key()
    return order(list({s.spec_hash: s for s in specs if s.spec_hash not in known}.values()))


def _check_texts(specs: Sequence[RunSpec], store: Store) -> None:
    """Refuse to add runs to a store whose runs saw another version of the same text."""
    from minichin import corpus

    seen = {record.spec.corpus: record.corpus_sha256 for record in store.records()}
    for name in {spec.corpus for spec in specs}:
        now = corpus.load(name).sha256
        if seen.get(name, now) != now:
            raise ValueError(
                f"the runs in {store.folder} were trained on another version of the text {name!r} "
                f"(sha256 {seen[name][:12]}…, here {now[:12]}…); name a new --store"
            )


def sweep(
    what: str | Sequence[RunSpec],
    store: Store | str | Path | None = None,
    *,
    workers: int | None = None,
    time_limit: float | None = None,
    device: str | None = None,
    engine: str = "auto",
    on: str = "local",
    ray_address: str | None = None,
    stack: int | None = None,
    progress: bool = True,
) -> Store:
    """Train the runs of a profile (by name) or of a list of specs that `store` does not hold yet.

    on: `local` or `ray`, which starts workers on this machine, or joins the cluster at `ray_address`;
    workers: runs at a time (default: one a core, `GPU_WORKERS` on a GPU); time_limit: seconds after which no
    further run is started and unfinished ones save their state; stack: the most runs of one shape, batch and
    text that train together in one worker (default: `GPU_STACK` on a GPU, else 1). Ctrl-C stops as
    cleanly: the next sweep goes on from there. Raises `SweepError` when a run fails in a worker.
    """
    if on not in ("local", "ray") or (ray_address and on != "ray"):
        raise ValueError(f"runs are trained on local or ray, not {on!r}; --ray-address needs --on ray")
    specs = plan(what) if isinstance(what, str) else list(what)
    if store is None:
        store = default_store(what if isinstance(what, str) else "custom")
    store = store if isinstance(store, Store) else Store(store)
    checkpoints = Unfinished(store)
    checkpoints.clear_all(store.by_key())
    todo = missing(specs, store)
    if not todo:
        return store
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if stack is not None and stack < 1:
        raise ValueError(f"a stack must hold at least 1 run, not {stack}; --stack 1 trains every run alone")
    _check_texts(todo, store)
    with SweepDisplay(specs, todo, enabled=progress) as display:
        make = partial(_ray_pool, address=ray_address) if on == "ray" else _local_pool
        pool, pace, kind = make(todo, store, workers, device, engine, display)
        most = (GPU_STACK if kind == "cuda" else 1) if stack is None else stack
        queue = Queue(todo, time_limit, pace, checkpoints.begun(todo), most)
        if most > 1:
            display.note(_about_stacks(most, kind))
        drive(queue, pool, store, display)
    return store


Pool = tuple[Executor, Pace, str]  # the workers, what is known of their pace, and the kind of their device


def _local_pool(
    todo: Sequence[RunSpec],
    store: Store,
    workers: int | None,
    device: str | None,
    engine: str,
    display: SweepDisplay,
) -> Pool:
    """Workers on this machine."""
    where, name = _engine(device, engine, display)
    threads, pace = where.type == "cuda", _pace(store, where, name)
    count = min(len(todo), workers or (GPU_WORKERS if threads else cores()))
    folder = Unfinished(store).folder
    return (
        LocalPool(count, checkpoints=folder, device=device, engine=engine, threads=threads),
        pace,
        where.type,
    )


def _ray_pool(
    todo: Sequence[RunSpec],
    store: Store,
    workers: int | None,
    device: str | None,
    engine: str,
    display: SweepDisplay,
    *,
    address: str | None,
) -> Pool:
    """Workers of a Ray cluster; their pace shows as they go."""
    from minichin.on_ray import RayPool

    pool = RayPool(
        {spec.corpus for spec in todo},
        checkpoints=Unfinished(store).folder,
        address=address,
        cores=cores(),
        per_gpu=GPU_WORKERS,
        workers=workers,
        device=device,
        engine=engine,
    )
    display.note(pool.about())
    return pool, Pace(), pool.device


def _engine(device: str | None, engine: str, display: SweepDisplay) -> tuple[torch.device, str]:
    """The device and the name of the engine that the workers will use; say it, and why no faster one.

    What there is to compile is compiled here, before the workers start.
    """
    from minichin.train import choose_device, describe_device, which_engine

    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # queues, lest streams wait for one another
    where = choose_device(device)
    name, reasons = which_engine(where, engine)
    for reason in reasons:
        display.note_once(reason)
    display.note(f"engine {name} on {describe_device(where)}")
    return where, name


def _about_stacks(most: int, device: str) -> str:
    """What is said of a sweep with stacks."""
    slower = "; on a CPU these take longer than alone, by the compiled engine" if device == "cpu" else ""
    return f"up to {most} runs of one shape train together, by the engine {STACKED} in torch{slower}"


def _pace(store: Store, device: torch.device, engine: str) -> Pace:
    """What the runs in `store` tell of the pace on this device, by this engine and in stacks."""
    from minichin.train import describe_device

    here = describe_device(device)
    return Pace(
        r for r in store.records() if r.device == here and r.versions.get("engine") in (engine, STACKED)
    )


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ensure(name: str, store: str | Path = "", *, progress: bool = True) -> Store:
    """The store of a profile with all its runs in it, training those that are missing.

    `published` trains nothing. `store` is a folder; empty means the profile's default.
    """
    if name == "published":
        return open_store(store or "published")
    return sweep(name, store or default_store(name), progress=progress)
