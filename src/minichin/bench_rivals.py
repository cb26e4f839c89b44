"""The other ways to fit the law, written as a competent user writes them: what `minichin bench fit` times.

Decisions
- The objective is the paper's: the sum over rows of Huber_delta(ln predicted − ln observed), unknowns (e, a,
  b, alpha, beta) with E = exp(e), A = exp(a), B = exp(b).  Logarithms of the table are taken once, rows are
  vectorised.
- ln(exp + exp + exp) is written out, as in the notebook of Besiroglu et al. 2024: on a few hundred rows it is
  much faster than `scipy.special.logsumexp`, which is timed too, because many write that.
- scipy runs with its default settings, one start (or one replicate) at a time.
- What takes too long to wait for is timed on a sample of the starts, one drawn at random from each of as many
  equal blocks of the grid, and scaled by their number; the standard error of that is kept beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from minichin.law import Floats

DELTA = 1e-3
GRID = {
    "e": np.linspace(-1, 1, 5),
    "a": np.linspace(0, 25, 6),
    "b": np.linspace(0, 25, 6),
    "alpha": np.linspace(0, 2, 5),
    "beta": np.linspace(0, 2, 5),
}
Objective = Callable[[Floats], float]


@dataclass(frozen=True)
class Rows:
    """A table as natural logarithms of params, tokens and loss."""

    log_n: Floats
    log_d: Floats
    log_loss: Floats

    @classmethod
    def read(cls, table: pd.DataFrame) -> Rows:
        """The three columns of a table."""
        logs = (np.log(table[name].to_numpy(dtype=np.float64)) for name in ("params", "tokens", "loss"))
        return cls(*logs)

    def take(self, index: NDArray[np.int64]) -> Rows:
        """The rows of `index`, which may repeat."""
        return Rows(self.log_n[index], self.log_d[index], self.log_loss[index])


def _huber(residual: Floats) -> float:
    """Sum of Huber_delta."""
    size = np.abs(residual)
    return float(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).sum())


def objective(theta: Floats, rows: Rows) -> float:
    """Σ Huber_delta(ln(exp(e) + exp(a − alpha ln N) + exp(b − beta ln D)) − ln L)."""
    e, a, b, alpha, beta = theta
    total = np.exp(a - alpha * rows.log_n) + np.exp(b - beta * rows.log_d) + np.exp(e)
    return _huber(np.log(total) - rows.log_loss)


def objective_by_logsumexp(theta: Floats, rows: Rows) -> float:
    """The same by `scipy.special.logsumexp`."""
    e, a, b, alpha, beta = theta
    terms = np.stack([a - alpha * rows.log_n, b - beta * rows.log_d, np.full_like(rows.log_n, e)])
    return _huber(logsumexp(terms, axis=0) - rows.log_loss)


def gradient(theta: Floats, rows: Rows) -> Floats:
    """Exact gradient of `objective`: psi times each term's share of the loss (and −ln N, −ln D), summed."""
    e, a, b, alpha, beta = theta
    model, data = np.exp(a - alpha * rows.log_n), np.exp(b - beta * rows.log_d)
    total = model + data + np.exp(e)
    psi = np.clip(np.log(total) - rows.log_loss, -DELTA, DELTA) / total
    model, data = psi * model, psi * data
    return np.array(
        [
            np.exp(e) * psi.sum(),
            model.sum(),
            data.sum(),
            -(model @ rows.log_n),
            -(data @ rows.log_d),
        ]
    )


@dataclass(frozen=True)
class Way:
    """One way to call scipy: `method`, the objective, and the gradient (None: scipy's differences)."""

    says: str
    method: str
    function: Callable[[Floats, Rows], float] = objective
    gradient: Callable[[Floats, Rows], Floats] | None = None


WAYS = {
    "lbfgsb": Way("scipy L-BFGS-B, numerical gradient", "L-BFGS-B"),
    "lbfgsb_logsumexp": Way("scipy L-BFGS-B, scipy.special.logsumexp", "L-BFGS-B", objective_by_logsumexp),
    "lbfgsb_exact": Way("scipy L-BFGS-B, exact gradient", "L-BFGS-B", gradient=gradient),
    "bfgs": Way("scipy BFGS, numerical gradient", "BFGS"),
    "bfgs_exact": Way("scipy BFGS, exact gradient", "BFGS", gradient=gradient),
}


def paper_grid() -> Floats:
    """The 4,500 starts (e, a, b, alpha, beta) of Hoffmann et al. 2022."""
    return np.array(list(product(*GRID.values())))


def sample(total: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """`count` of 0 … total − 1 in order, one drawn at random from each of `count` equal blocks."""
    if not 1 <= count <= total:
        raise ValueError(f"cannot time {count} of {total}: take 1 to {total}")
    edges = np.arange(count + 1) * total // count
    return np.random.default_rng(seed).integers(edges[:-1], edges[1:])


def scaled(seconds: Floats, of: int) -> dict[str, Any]:
    """CPU seconds of `of` solves from those of a sample, with the standard error of the scaling."""
    timed = len(seconds)
    error = float(np.std(seconds, ddof=1) / np.sqrt(timed) * of) if 1 < timed < of else 0.0
    return {
        "cpu_s": float(seconds.sum() * of / timed),
        "cpu_s_error": error,
        "timed": timed,
        "of": of,
        "extrapolated": timed < of,
    }


def _solve(way: Way, start: Floats, rows: Rows) -> tuple[Floats, float, float]:
    """One call of scipy: where it ended, the objective there, CPU seconds."""
    begin = time.process_time()
    found = minimize(way.function, start, args=(rows,), method=way.method, jac=way.gradient)
    return found.x, float(found.fun), time.process_time() - begin


def from_the_grid(way: Way, rows: Rows, count: int) -> dict[str, Any]:
    """Fit from `count` of the paper's 4,500 starts, one at a time: the best objective, the time for all."""
    grid = paper_grid()
    with np.errstate(all="ignore"):
        solved = [_solve(way, start, rows) for start in grid[sample(len(grid), count)]]
    values = np.array([value for _, value, _ in solved])
    finite = np.isfinite(values)
    if not finite.any():
        raise RuntimeError(f"{way.says}: none of {count} starts ended at a number")
    theta = solved[int(np.argmin(np.where(finite, values, np.inf)))][0]
    return {
        "says": way.says,
        **scaled(np.array([seconds for *_, seconds in solved]), len(grid)),
        "not_finite": int((~finite).sum()),
        "objective": objective(theta, rows),
    }


def resampled(
    rows: Rows, optimum: Floats, replicates: int, count: int
) -> tuple[dict[str, Any], list[tuple[NDArray[np.int64], float]]]:
    """Refit `count` tables of rows drawn with replacement by BFGS with exact gradients, from the optimum.

    The time for `replicates` of them, and of each the rows drawn and the objective reached.
    """
    way, rng = WAYS["bfgs_exact"], np.random.default_rng(0)
    ends, seconds = [], []
    with np.errstate(all="ignore"):
        for _ in range(count):
            index = rng.integers(0, len(rows.log_n), len(rows.log_n))
            _, value, spent = _solve(way, optimum, rows.take(index))
            ends.append((index, value))
            seconds.append(spent)
    return {"says": way.says, **scaled(np.array(seconds), replicates)}, ends


def _log_huber(observed: Any, predicted: Any) -> Any:
    """The paper's loss in the form that the package `chinchilla` takes (it averages over rows itself)."""
    size = np.abs(np.log(observed) - np.log(predicted))
    return np.where(size < DELTA, size**2 / 2, DELTA * (size - DELTA / 2))


def chinchilla_package(rows: Rows, full: bool, coarse: int = 3) -> dict[str, Any]:
    """Fit with the package `chinchilla` by its own `fit`, in this process, over the paper's grid.

    Without `full`, over a grid of `coarse` values a parameter with the same ends (the package scales the
    unknowns by them), and its time is scaled by the number of starts.  More of that grid lies at the ends,
    where its optimiser works longer, so the scaled time is somewhat too high.
    Its picture is left out of the time.  ImportError where the package is not installed.
    """
    from chinchilla import Chinchilla

    grid = GRID if full else {name: np.linspace(v[0], v[-1], coarse) for name, v in GRID.items()}
    with tempfile.TemporaryDirectory() as folder:
        package = Chinchilla(
            folder,
            param_grid={name: tuple(map(float, values)) for name, values in grid.items()},
            loss_fn=_log_huber,
            log_level=50,
        )
        n, d, loss = (np.exp(v) for v in (rows.log_n, rows.log_d, rows.log_loss))
        package.database.df = pd.DataFrame({"C": 6 * n * d, "N": n, "D": d, "loss": loss})
        package.visualizer.optim = lambda *_, **__: None
        begin = time.process_time()
        with np.errstate(all="ignore"):
            package.fit(parallel=False)
        seconds = time.process_time() - begin
    found, timed = package.params, int(np.prod([len(v) for v in grid.values()]))
    theta = [*np.log([found["E"], found["A"], found["B"]]), found["alpha"], found["beta"]]
    all_of_them = len(paper_grid())
    return {
        "says": "package chinchilla",
        "cpu_s": seconds * all_of_them / timed,
        "cpu_s_error": None,
        "timed": timed,
        "of": all_of_them,
        "extrapolated": not full,
        "sample": "the whole grid" if full else "a coarser grid, which overstates",
        "objective": objective(np.array(theta), rows),
    }
