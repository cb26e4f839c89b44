"""What the models of `gopher` answered, claim by claim: is the smaller one better, and cheaper to use?

Decisions:
- Runs of one seed see the same text in the same order at both sizes, so differences are taken seed by seed.
- An advantage is above zero where the smaller model is the better one, whichever way the measure points. Its
  interval is Student's over seeds: it covers the luck of weights and order, and not the choice of the text
  or of the sentences, which are the same for all.
- Several measures are asked; nothing corrects for that, and the prose has to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from minichin import beside
from minichin.fit import Interval, Valley

SMALL, LARGE = 72, 152  # widths
CHANCE = 0.5  # of a pair of sentences


@dataclass(frozen=True)
class Measure:
    """A column of the answers: what it is in words, which way is better, and the factor it is shown with."""

    name: str
    lower_is_better: bool
    scale: float = 1.0


#: column -> measure.
MEASURES = MappingProxyType(
    {
        "val_loss": Measure("held-out loss (nats a byte)", True),
        "bits": Measure("held-out text (bits a byte)", True),
        "bits_other": Measure("other text (bits a byte)", True),
        "bytes_right": Measure("next byte right (%)", False, 100.0),
        "words_right": Measure("next word right (%)", False, 100.0),
        "pairs_right": Measure("minimal pairs right (%)", False, 100.0),
    }
)


def _file(name: str) -> Any:
    return resources.files("minichin.data").joinpath(name)


def answers() -> pd.DataFrame:
    """The committed answers, one row a model: columns `gopher.COLUMNS`."""
    with _file("gopher.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def paradigms() -> pd.DataFrame:
    """Share of right pairs by BLiMP's paradigm (index) and key of the run (columns), and `shorter`."""
    with _file("gopher_pairs.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, index_col="paradigm")


def use() -> dict[str, Any]:
    """The committed cost of use: `gopher.cost`, and in `repeats` its medians at four times of one afternoon.

    Other work ran on the machine meanwhile, more at the third and fourth than at the first two.
    """
    return dict(json.loads(_file("gopher_cost.json").read_text("utf-8")))


def claims(table: pd.DataFrame) -> pd.DataFrame:
    """The advantage of the smaller model in every measure, index the column's name.

    Columns: measure, small and large (means over seeds), advantage, low and high (95 %, NaN with one seed),
    all in the measure's unit, wins (seeds in which the smaller is better), seeds, verdict.
    ValueError where no seed has both sizes.
    """
    rows = {}
    for column, measure in MEASURES.items():
        by_seed = table.pivot(index="seed", columns="width", values=column)
        if {SMALL, LARGE} - set(by_seed):
            raise ValueError(f"the widths {SMALL} and {LARGE} are needed, found {list(by_seed)}")
        both = measure.scale * by_seed[[SMALL, LARGE]].dropna()
        if both.empty:
            raise ValueError(f"no seed has both widths, {SMALL} and {LARGE}")
        gaps = (both[LARGE] - both[SMALL]).to_numpy() * (1 if measure.lower_is_better else -1)
        value, interval = beside.mean(gaps)
        low, high = interval or (np.nan, np.nan)
        rows[column] = {
            "measure": measure.name,
            "small": both[SMALL].mean(),
            "large": both[LARGE].mean(),
            "advantage": value,
            "low": low,
            "high": high,
            "wins": int((gaps > 0).sum()),
            "seeds": len(gaps),
            "verdict": verdict(interval),
        }
    return pd.DataFrame(rows).T.infer_objects()


def verdict(interval: Interval | None) -> str:
    """`better` or `worse` where the interval of an advantage excludes zero, else `cannot tell`."""
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "cannot tell"
    return "better" if interval[0] > 0 else "worse"


def by_paradigm(pairs: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Mean share of right pairs over seeds by paradigm: columns small, large, advantage, low, high, shorter.

    The interval is Student's over seeds; `shorter` is the share that the shorter sentence would get right.
    """
    rows = {}
    keys = {w: table[table["width"] == w].sort_values("seed")["spec_hash"].tolist() for w in (SMALL, LARGE)}
    for name, shares in pairs.iterrows():
        small, large = (shares[keys[width]].to_numpy(float) for width in (SMALL, LARGE))
        value, interval = beside.mean(small - large)
        low, high = interval or (np.nan, np.nan)
        rows[name] = {
            "small": small.mean(),
            "large": large.mean(),
            "advantage": value,
            "low": low,
            "high": high,
            "shorter": float(shares["shorter"]),
        }
    return pd.DataFrame(rows).T


def above_chance(shares: Sequence[float], items: int) -> tuple[float, Interval]:
    """Mean of the shares less `CHANCE`, and its 95 % interval by the items alone: ± 1.96 √(¼ / items)."""
    value = float(np.mean(shares)) - CHANCE
    half = 1.96 * np.sqrt(0.25 / items)
    return value, (value - half, value + half)


def worth(loss: float, valleys: Sequence[Valley]) -> float:
    """FLOPs at which the floors of `valleys` have this loss, by straight lines in ln C between them.

    ValueError for a loss that no floor brackets.
    """
    floors = np.array([valley.loss_opt for valley in valleys])[::-1]
    if not floors[0] <= loss <= floors[-1]:
        raise ValueError(
            f"a loss of {loss:.3f} lies outside of the floors, {floors[0]:.3f} to {floors[-1]:.3f}"
        )
    logs = np.log([valley.flops for valley in valleys])[::-1]
    return float(np.exp(np.interp(loss, floors, logs)))


def speed(found: Mapping[str, Any], texts: int) -> tuple[float, Interval]:
    """How many times the tokens a second of the larger model the smaller one reads: median, and quartiles.

    Round by round, since what disturbs a round disturbs both.
    """
    rates = found["texts"][str(texts)]
    ratios = np.divide(rates[str(SMALL)]["rates"], rates[str(LARGE)]["rates"])
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    return float(middle), (float(low), float(high))


def repeats(found: Mapping[str, Any], texts: int) -> Interval:
    """The least and the largest ratio of speeds among the repeated measurements."""
    some = [one[str(texts)] for one in found["repeats"]]
    ratios = [one[str(SMALL)] / one[str(LARGE)] for one in some]
    return min(ratios), max(ratios)
