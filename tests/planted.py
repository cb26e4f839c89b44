"""Sweeps with a planted truth: surfaces, tables and training curves of known exponents."""

import numpy as np
import pandas as pd

from minichin import published
from minichin.law import LossSurface

BUDGETS = (1e11, 3e11, 1e12, 3e12)


def surface(
    alpha: float = 0.35, beta: float = 0.35, params: float = 61e3, flops: float = 1e12
) -> LossSurface:
    """A surface with its optimum for `flops` at `params`, curved like the measured valleys."""
    tokens, reducible = flops / 6 / params, 1.6
    model = reducible * beta / (alpha + beta)
    return LossSurface(0.4, model * params**alpha, (reducible - model) * tokens**beta, alpha, beta)


def sweep(
    law: LossSurface,
    *,
    budgets: tuple[float, ...] = BUDGETS,
    widths: int = 7,
    reach: float = 4.0,
    off_center: float = 1.0,
    noise: float = 0.0,
    seeds: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """An IsoFLOP sweep: `widths` sizes within `reach`× of each budget's optimum (times `off_center`)."""
    rng = np.random.default_rng(seed)
    rows = []
    for budget in budgets:
        center = float(law.optimum(budget).params) * off_center
        for params in center * np.geomspace(1 / reach, reach, widths):
            tokens = budget / 6 / params
            for s in range(seeds):
                loss = float(law.value(params, tokens)) + rng.normal(0, noise)
                rows.append((params, tokens, budget, budget, loss, s))
    return pd.DataFrame(rows, columns=["params", "tokens", "flops", "budget", "val_loss", "seed"])


def grid(law: LossSurface, sizes: int = 6, counts: int = 6) -> pd.DataFrame:
    """Noise-free losses on a grid where params and tokens vary independently."""
    n, d = (m.ravel() for m in np.meshgrid(np.geomspace(1e4, 1e7, sizes), np.geomspace(1e6, 1e9, counts)))
    return pd.DataFrame({"params": n, "tokens": d, "loss": law.value(n, d)})


def curves(law: LossSurface, decay: float = 0.12, evaluations: int = 24, **options: object) -> pd.DataFrame:
    """Training curves of a sweep: high learning rates cost `decay` nats until a run nears its end."""
    ends = sweep(law, **options)  # type: ignore[arg-type]
    ends["spec_hash"] = [f"run{i}" for i in range(len(ends))]
    done = np.geomspace(0.02, 1.0, evaluations)
    parts = []
    for _, run in ends.iterrows():
        tokens = run["tokens"] * done
        luck = run["val_loss"] - float(law.value(run["params"], run["tokens"]))
        loss = law.value(run["params"], tokens) + decay * (1 - done) ** 0.8 + luck
        columns = {"tokens": tokens, "flops": 6 * run["params"] * tokens, "val_loss": loss}
        same = {name: run[name] for name in ("spec_hash", "params", "budget", "seed")}
        parts.append(pd.DataFrame(columns).assign(**same))
    return pd.concat(parts, ignore_index=True)


def published_runs(name: str) -> pd.DataFrame:
    """A published run table; the test is skipped with the reason where its file is absent."""
    import pytest

    try:
        return published.load_runs(name)
    except ValueError as error:
        pytest.skip(str(error))
