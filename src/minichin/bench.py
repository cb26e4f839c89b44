"""`minichin bench fit`: the fits of approach 3 against the other ways to have them, on one table, in one run.

Decisions
- Everything is measured in child processes with one BLAS thread: ours and its rivals one after the other in
  one of them (`bench_sections`), so that a ratio is of one machine at one time, and what must include the
  imports in fresh ones.  CPU time (`time.process_time`) is compared, wall time shown.
- Ours is timed as users call it, `fit_parametric`, by the median of some calls after a first.
- Rivals that take minutes are timed on a sample and scaled by count (see `bench_rivals`), and the output says
  so; `full` times all of them.
- Objectives are recomputed by the rivals' own function at each result, so that no two codes are compared.
- The numbers are printed beside what they should reach; nothing passes or fails here.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

THREADS = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS")
}
LARGE_LIMIT = 300
SYNTHETIC_LAW = "besiroglu"
SYNTHETIC_NOISE = 0.005
TARGETS = {
    "point_ratio": 1000,
    "bootstrap_ratio": 500,
    "objective_above": 1e-10,
    "together_wall_s": 1,
    "large_wall_s": 20,
    "large_peak_mb": 300,
    "hoffmann_share": 0.85,
}


@dataclass(frozen=True)
class Sizes:
    """How much is timed: `starts` and `replicates` of the rivals, `repeats` of ours; rows of two tables."""

    mode: str
    starts: int
    replicates: int
    bootstrap: int
    large_rows: int
    hoffmann_every: int
    repeats: int


SIZES = {
    "quick": Sizes("quick", 4, 3, 40, 480, 8, 1),
    "default": Sizes("default", 300, 100, 4000, 24_000, 1, 5),
    "full": Sizes("full", 4500, 4000, 4000, 24_000, 1, 5),
}
FRESH = """
import json, sys, time
begin = time.perf_counter()
from minichin.fit import fit_parametric
imported = time.perf_counter() - begin
import pandas
from minichin.bench import peak_mb
fit = fit_parametric(pandas.read_csv(sys.argv[1]), bootstrap=int(sys.argv[2]))
print(json.dumps({"import_s": imported, "cpu_s": time.process_time(), "peak_mb": peak_mb(),
                  "objective": fit.objective, "replicates": len(fit.surface_replicates)}))
"""


def fit_bench(mode: str = "default", say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure everything, in "quick", "default" or "full"; one JSON object.  `say` hears of each step."""
    if mode not in SIZES:
        raise ValueError(f"no mode {mode!r} of the benchmark; there are {', '.join(SIZES)}")
    sizes = SIZES[mode]
    name, table = benchmark_table()
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.csv"), Path(folder, "large.csv")
        table.to_csv(small, index=False)
        synthetic(sizes.large_rows, seed=1).to_csv(large, index=False)
        result: dict[str, Any] = {
            "machine": machine("numpy", "scipy", "pandas"),
            "data": {"name": name, "rows": len(table)},
            "sizes": asdict(sizes),
            "targets": TARGETS,
        }
        say("measuring ours and its rivals")
        result.update(run(["-m", "minichin.bench_sections", str(small), mode]))
        say("measuring fresh interpreters")
        result["together"] = _fresh(small, sizes.bootstrap, min(sizes.repeats, 3))
        result["large"] = {"rows": sizes.large_rows, **_fresh(large, sizes.bootstrap, 1)}
    return result


def benchmark_table() -> tuple[str, pd.DataFrame]:
    """The 234 published points where they can be had, else a synthetic table of that size; and which."""
    from minichin import published_runs

    try:
        runs = published_runs.load_runs("chinchilla_234")
    except published_runs.TableMissing:
        return f"synthetic: the law {SYNTHETIC_LAW} with {SYNTHETIC_NOISE:.1%} noise", synthetic(234, seed=0)
    return "the published points chinchilla_234", runs[["params", "tokens", "loss"]]


def synthetic(rows: int, seed: int) -> pd.DataFrame:
    """Runs of a published law: params in 4e7 … 2e10 and tokens in 5e8 … 5e11 apart, noise on ln loss."""
    import numpy as np
    import pandas as pd

    from minichin import published

    rng = np.random.default_rng(seed)
    params = np.exp(rng.uniform(np.log(4e7), np.log(2e10), rows))
    tokens = np.exp(rng.uniform(np.log(5e8), np.log(5e11), rows))
    loss = published.LAWS[SYNTHETIC_LAW].surface.value(params, tokens)
    noise = np.exp(rng.normal(0.0, SYNTHETIC_NOISE, rows))
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss * noise})


def machine(*packages: str) -> dict[str, Any]:
    """The processor, its cores, and the versions of these packages."""
    from importlib.metadata import version

    cpu = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        names = [line for line in described.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "blas_threads": 1,
    }


def peak_mb() -> float:
    """Peak resident memory of this process, MB (1e6 bytes).

    Linux hands `ru_maxrss` on from the parent through exec, so a child of a large process would look large;
    VmHWM is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def run(words: list[str], limit: float | None = None) -> dict[str, Any]:
    """Run Python with one BLAS thread; the object that it prints last.  RuntimeError with its last words."""
    environment = {**os.environ, **THREADS, "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, timeout=limit, check=False
    )
    _check(done.returncode, done.stderr)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def run_lines(words: list[str]) -> Iterator[dict[str, Any]]:
    """The same, for a process that prints an object a line: yield each when it comes."""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **THREADS},
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield from map(json.loads, process.stdout)
        except BaseException:
            process.kill()
            raise
        status = process.wait()
        errors.seek(0)
        _check(status, errors.read())


def _check(status: int, errors: str) -> None:
    if status != 0:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"a measuring process ended with status {status}: {last}")


def _fresh(table: Path, bootstrap: int, repeats: int) -> dict[str, Any]:
    """From the start of an interpreter to its end, importing and fitting: the run of median wall time."""
    runs = []
    for _ in range(repeats):
        begin = time.perf_counter()
        try:
            found = run(["-c", FRESH, str(table), str(bootstrap)], LARGE_LIMIT)
        except subprocess.TimeoutExpired:
            return {"bootstrap": bootstrap, "stopped_after_s": LARGE_LIMIT}
        runs.append({"bootstrap": bootstrap, "wall_s": time.perf_counter() - begin, **found})
    return sorted(runs, key=lambda run: run["wall_s"])[len(runs) // 2]
