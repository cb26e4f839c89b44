"""How the capstone is marked: an account that holds, an answer that is close, an interval that is honest.

Decisions
- Laws differ in how hard they are. So errors are measured by a yardstick: the standard error that one plain
  design, five valleys of eight runs for less than half the allowance, has for this very law.
- One interval that holds the truth, or misses it, says little: an honest 90 % interval misses one time in
  ten. So the noise of the student's own runs is drawn anew, `DRAWS` times, and the forecast is asked each
  time. The interval score (Gneiting and Raftery 2007, equation 43) is then compared with the errors made.
- What was bought with more than the allowance counts in proportion.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from minichin.course import check, hidden
from minichin.course.lab import ALLOWANCE, NOISE, Lab, account
from minichin.law import LossSurface

TARGET = 100 * ALLOWANCE  # FLOPs of the forecast
NAMES = ("params", "tokens", "loss")
MAX_RUNS = 60
DRAWS = 12
LEVEL = 0.9  # of the intervals
STEP = 1e-5  # of the differences by which the optimum's slopes are found
CLOSE, FAR = 3.0, 30.0  # errors that earn all marks and none, in yardsticks
HONEST, DISHONEST = 7.0, 12.0  # interval scores that earn all marks and none, in root mean square errors
THRIFTY = 0.5  # share of the allowance that earns all marks for thrift
Forecast = Callable[[pd.DataFrame, float], Mapping[str, Any]]
Marks = tuple[float, float, str]
Floats = NDArray[np.float64]


def plain_design() -> tuple[Floats, Floats]:
    """Parameters and tokens of five valleys, 3e15 to 4e17 FLOPs, each of eight sizes round 20 tokens each."""
    flops, factors = np.meshgrid(np.geomspace(3e15, 4e17, 5), np.geomspace(1 / 6, 6, 8))
    params = np.sqrt(flops / 120) * factors
    return params.ravel(), (flops / (6 * params)).ravel()


def _quantities(law: LossSurface, flops: float = TARGET) -> Floats:
    """ln N_opt, ln D_opt and the loss at the optimum of `flops`."""
    best = law.optimum(flops)
    return np.array([math.log(best.params), math.log(best.tokens), float(best.loss)])


def _law(lab: Lab) -> LossSurface:
    return hidden.law_of(lab.user, lab._ticket)[0]


def yardstick(law: LossSurface, flops: float = TARGET, noise: float = NOISE) -> Floats:
    """Standard errors of ln N_opt, ln D_opt and the loss (nats) by `plain_design`, from least squares.

    The covariance of the five values is noise² (J'J)^-1; the optimum's follows by the delta method.
    """
    params, tokens = plain_design()
    model, data = law.A * params**-law.alpha, law.B * tokens**-law.beta
    slopes = [np.ones_like(params), model, data, -model * np.log(params), -data * np.log(tokens)]
    j = np.stack(slopes, axis=1)
    values = np.array([law.E, math.log(law.A), math.log(law.B), law.alpha, law.beta])

    def at(value: Floats) -> Floats:
        e, a, b, alpha, beta = value
        return _quantities(LossSurface(e, math.exp(a), math.exp(b), alpha, beta), flops)

    steps = STEP * np.eye(5)
    g = np.stack([(at(values + s) - at(values - s)) / (2 * STEP) for s in steps], axis=1)
    half = np.linalg.solve(np.linalg.qr(j).R.T, g.T) * noise
    return np.asarray(np.sqrt((half**2).sum(axis=0)))


def form(answer: Any, flops: float = TARGET) -> None:
    """Check that `answer` has a (low, best, high) in order for each quantity, and that 6 N D is `flops`."""
    check.keys("the answer", answer, NAMES)
    for name in NAMES:
        try:
            low, best, high = (float(value) for value in answer[name])
        except (TypeError, ValueError):
            check.that(False, f"answer[{name!r}] should be (low, best, high), but it is {answer[name]!r}")
        check.that(
            all(map(math.isfinite, (low, best, high))) and low > 0,
            f"answer[{name!r}] = ({low:.4g}, {best:.4g}, {high:.4g}) should be three positive finite numbers",
            "an interval without an end says nothing",
        )
        check.that(
            low <= best <= high,
            f"answer[{name!r}] = ({low:.6g}, {best:.6g}, {high:.6g}) is not in the order low, best, high",
        )
    product = 6 * float(answer["params"][1]) * float(answer["tokens"][1])
    check.close("6 · params · tokens of the answer", product, flops, 0.02, "the optimum spends all its FLOPs")


def spending(lab: Lab) -> None:
    """Check that the account of the lab's user was kept: allowance, number of runs, one laboratory, noise."""
    book = account(lab.user)
    again = "restart the kernel and run everything from the top, with one Lab in the notebook"
    check.that(book.runs > 0, "no run was made", "ask the laboratory before you answer")
    check.that(
        book.flops <= ALLOWANCE * (1 + 1e-9),
        f"{book.labs} Labs have spent {book.flops:.4g} FLOPs together, the allowance is {ALLOWANCE:.4g}",
        again,
    )
    check.that(book.runs <= MAX_RUNS, f"{book.runs} runs were made, {MAX_RUNS} are allowed", again)
    own = len(lab.runs)
    check.that(
        own == book.runs,
        f"{book.runs} runs were made, but `lab` holds {own}: the others ran elsewhere",
        again,
    )
    check.that(
        book.quietest >= NOISE, f"a Lab was opened with noise={book.quietest:g}", "leave the noise alone"
    )
    check.that(book.looks == 0, "the notebook has asked for the law itself", "ask for runs")


def counted(lab: Lab) -> float:
    """The share of other marks that counts: 1 within the allowance, in proportion beyond it."""
    book = account(lab.user)
    if not book.runs or book.quietest < NOISE or book.looks:
        return 0.0
    return min(1.0, ALLOWANCE / book.flops, MAX_RUNS / book.runs)


def _share(lab: Lab) -> tuple[float, str]:
    share = counted(lab)
    if share == 0:
        return (
            share,
            "; none of it counts: no run was made, its noise was changed, or the law itself was asked for",
        )
    return share, "" if share == 1 else f"; {100 * share:.0f} % of it counts, see the check of the account"


def _points(answer: Mapping[str, Any]) -> Floats:
    """(3, 3): low, best, high of ln N, ln D and the loss."""
    rows = [[float(value) for value in answer[name]] for name in NAMES]
    return np.array([np.log(rows[0]), np.log(rows[1]), rows[2]])


def _ramp(value: float, most: float, none: float) -> float:
    """1 up to `most`, 0 from `none` on, linear between."""
    return min(1.0, max(0.0, (none - value) / (none - most)))


def _misses(lab: Lab, answer: Mapping[str, Any]) -> tuple[Floats, Floats, Floats]:
    """For each quantity: how far the best value is off, the same in yardsticks, and the share of marks."""
    law = _law(lab)
    off = np.abs(_points(answer)[:, 1] - _quantities(law))
    ratio = off / yardstick(law)
    shares = [_ramp(math.log(max(r, 1e-9)), math.log(CLOSE), math.log(FAR)) for r in ratio]
    return off, ratio, np.array(shares)


def closeness(lab: Lab, answer: Mapping[str, Any], name: str, full: float) -> Marks:
    """Marks for one error: all up to 3 yardsticks, none from 30 on, linear in its logarithm."""
    form(answer)
    place = NAMES.index(name)
    off, ratio, close = (float(values[place]) for values in _misses(lab, answer))
    share, but = _share(lab)
    unit = "nats off" if name == "loss" else "off in ln"
    text = f"{name} is {off:.3g} {unit}, {ratio:.2g} times the standard error of the plain design"
    return full * share * close, full, f"{text} (all marks up to {CLOSE:g}, none from {FAR:g}){but}"


def interval_score(low: Floats, high: Floats, truth: Floats) -> Floats:
    """Width + (2 / 0.1) × the distance by which the interval misses (Gneiting and Raftery 2007)."""
    missed = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return np.asarray(high - low + 2 / (1 - LEVEL) * missed)


def redraw(lab: Lab, count: int = DRAWS) -> list[pd.DataFrame]:
    """The lab's runs with their noise drawn anew, `count` times; the same ones ever after."""
    law, runs = _law(lab), lab.runs
    rng = np.random.default_rng([zlib.crc32(hidden.clean(lab.user).encode()), 90])
    mean = np.asarray(law.value(runs["params"].to_numpy(), runs["tokens"].to_numpy()))
    return [runs.assign(loss=mean + rng.normal(0, NOISE, len(runs))) for _ in range(count)]


def _repeat(lab: Lab, forecast: Forecast) -> Floats:
    """The forecasts from redrawn noise, (draws, quantities, low-best-high); `CheckError` where one fails."""
    answers = []
    for place, runs in enumerate(redraw(lab)):
        try:
            answer = forecast(runs, TARGET)
            form(answer)
        except Exception as error:
            text = f"forecast failed when the noise of your runs was drawn anew ({place + 1} of {DRAWS})"
            raise check.CheckError(f"{text}: {type(error).__name__}: {error}") from None
        answers.append(_points(answer))
    points = np.array(answers)
    check.that(
        np.ptp(points[:, :, 1], axis=0).max() > 0,
        "forecast returns the same whatever the losses are",
        "it must be computed from its argument `runs`",
    )
    return points


def honesty(lab: Lab, forecast: Forecast, full: float) -> Marks:
    """Marks for intervals: the mean interval score over new noise, in root mean square errors of the best.

    A known normal error and the right interval score 4.1; one of no width 16.
    """
    check.that(len(lab.runs) > 0, "no run was made, so there is no noise to be honest about")
    points = _repeat(lab, forecast)
    truth = _quantities(_law(lab))
    error = np.sqrt(((points[:, :, 1] - truth) ** 2).mean(axis=0))
    score = interval_score(points[:, :, 0], points[:, :, 2], truth).mean(axis=0) / error
    held = int(((points[:, :, 0] <= truth) & (truth <= points[:, :, 2])).sum())
    share, but = _share(lab)
    got = full * share * float(np.mean([_ramp(s, HONEST, DISHONEST) for s in score]))
    scores = ", ".join(f"{name} {value:.3g}" for name, value in zip(NAMES, score, strict=True))
    text = f"{held} of {points.shape[0] * 3} intervals hold the truth; scores: {scores}"
    return got, full, f"{text} (all marks up to {HONEST:g}, none from {DISHONEST:g}){but}"


def thrift(lab: Lab, answer: Mapping[str, Any], full: float) -> Marks:
    """Marks for compute left: all up to half of the allowance, none at the whole; times the closeness."""
    form(answer)
    book = account(lab.user)
    check.that(book.runs > 0, "no run was made, so nothing was saved")
    spent, close = book.flops / ALLOWANCE, float(_misses(lab, answer)[2].mean())
    share, but = _share(lab)
    got = full * (share > 0) * _ramp(spent, THRIFTY, 1.0) * close
    text = f"{100 * spent:.3g} % of the allowance was spent (all marks up to {100 * THRIFTY:g} %)"
    return got, full, f"{text}, times {close:.2g} for how close the answer is{'' if share else but}"
