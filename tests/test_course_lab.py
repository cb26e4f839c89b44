"""The laboratory of the coursework: own laws, honest accounts, tickets, and how the capstone is marked."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minichin.course import Lab, LabError, check, hidden, marking
from minichin.course import lab as shop
from minichin.law import LossSurface

SECRET = b"0123456789abcdef"


def numbers_of(law: object) -> list[str]:
    """The five numbers of a law, as they are shown."""
    return [repr(float(value)) for value in vars(law).values()]


def exact(lab: Lab, spread: float = 1.0) -> marking.Forecast:
    """A forecast that errs as the yardstick says, and gives `spread` times the right interval."""
    law, _ = hidden.law_of(lab.user)
    best, units = law.optimum(marking.TARGET), marking.yardstick(law)
    centre = np.array([np.log(best.params), np.log(best.tokens), best.loss])

    def forecast(runs: pd.DataFrame, flops: float) -> dict[str, tuple[float, ...]]:
        noise = (runs["loss"] - law.value(runs["params"], runs["tokens"])).to_numpy()
        z = noise.sum() / np.sqrt(len(noise)) / shop.NOISE
        middle = centre + units * z * np.array([1, -1, 1])
        ends = middle + np.outer([-1.645 * spread, 0, 1.645 * spread], units)
        ends[:, :2] = np.exp(ends[:, :2])
        return {name: tuple(ends[:, i]) for i, name in enumerate(marking.NAMES)}

    return forecast


def stocked(user: str) -> Lab:
    """A laboratory that has made the runs of the plain design."""
    lab = Lab(user)
    for params, tokens in zip(*marking.plain_design(), strict=True):
        lab.train(params, tokens)
    return lab


def test_the_same_request_costs_twice_and_differs_by_noise() -> None:
    lab = Lab("twice")
    first, second = lab.train(1e6, 2e7), lab.train(1e6, 2e7)
    assert lab.spent == 2 * 6 * 1e6 * 2e7 == lab.runs["flops"].sum()
    assert 0 < abs(first.loss - second.loss) < 10 * shop.NOISE


def test_losses_scatter_round_the_law_by_the_noise_told() -> None:
    lab = Lab("scatter", noise=0.01)
    losses = np.array([lab.train(1e6, 2e7).loss for _ in range(400)])
    assert losses.mean() == pytest.approx(float(hidden.draw_law("scatter")[0].value(1e6, 2e7)), abs=0.002)
    assert losses.std() == pytest.approx(0.01, rel=0.15)


@given(st.permutations([(1e6, 1e8), (2e6, 1e8), (1e6, 2e8), (5e3, 1e5)]))
def test_answers_do_not_depend_on_the_order(requests: list[tuple[float, float]]) -> None:
    one, two = Lab("order"), Lab("Order ")
    forward = {request: one.train(*request).loss for request in sorted(requests)}
    assert forward == {request: two.train(*request).loss for request in requests}


def test_what_exceeds_the_allowance_is_refused_at_no_cost() -> None:
    lab = Lab("allowance", allowance=6e12)
    lab.train(5e5, 1e6)
    with pytest.raises(LabError, match="only 3e\\+12 of 6e\\+12 are left"):
        lab.train(1e6, 1e6)
    assert (lab.spent, lab.left, len(lab.runs)) == (3e12, 3e12, 1)
    lab.train(5e5, 1e6)
    assert lab.left == 0
    with pytest.raises(LabError, match="only 0 of 0 are left"):
        Lab("allowance", allowance=0).train(1e3, 1e3)


@pytest.mark.parametrize(
    "wrong", [0, -1e6, float("nan"), float("inf"), None, "many", [1e6, 2e6], 10**400, 1j]
)
@pytest.mark.parametrize("real", [False, True])
def test_bad_values_get_one_clear_line(wrong: object, real: bool) -> None:
    lab = Lab("bad", real=real)
    for name, request in (("params", (wrong, 1e6)), ("tokens", (1e6, wrong))):
        with pytest.raises(
            LabError, match=f"^{name} must be a number from 1e\\+03 to 1e\\+1[24], got .+$"
        ) as told:
            lab.train(*request)  # type: ignore[arg-type]
        assert len(str(told.value).splitlines()) == 1
        assert len(str(told.value)) < 150
    assert lab.spent == 0


@pytest.mark.parametrize("settings", [{"allowance": -1}, {"allowance": float("nan")}, {"noise": -0.1}])
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(LabError, match="must be 0 or more"):
        Lab("bad", **settings)  # type: ignore[arg-type]


def test_a_used_lab_shows_and_holds_no_law() -> None:
    lab = Lab("closed")
    loss = lab.train(1e6, 2e7).loss
    law, key = hidden.draw_law("closed")
    shown = [
        repr(lab),
        repr(vars(lab)),
        repr([getattr(lab, name) for name in dir(lab)]),
        repr(vars(type(lab))),
    ]
    assert not [number for number in numbers_of(law) for text in shown if number in text]
    stored = pickle.dumps(lab)
    assert not [n for n in (law.E, law.A, law.B) if np.float64(n).tobytes()[::-1] in stored]
    assert key not in stored
    assert np.float64(loss).tobytes()[::-1] in stored  # the search would find it
    assert float(law.value(1e6, 2e7)) != loss


def test_the_law_is_told_to_the_grader_only_and_each_look_is_on_the_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab("looker")
    with pytest.raises(LabError, match="to the grader only"):
        shop.truth(lab)
    monkeypatch.setenv(shop.USER, "looker")
    assert shop.truth(lab) == hidden.draw_law("looker")[0]
    assert shop.account("").looks == 1


def test_the_grader_says_who_the_user_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shop.USER, "anna")
    assert Lab("ben").train(1e6, 2e7) == Lab("anna").train(1e6, 2e7)


def test_two_labs_of_one_user_have_one_account() -> None:
    one, two = Lab("sum"), Lab(" SUM")
    one.train(1e6, 2e7)
    two.train(2e6, 2e7)
    book = shop.account("sum")
    assert (book.labs, book.runs, book.flops) == (2, 2, one.spent + two.spent)
    with pytest.raises(check.CheckError, match="2 runs were made, but `lab` holds 1"):
        marking.spending(one)


def test_laws_differ_and_lie_where_they_are_said_to_lie() -> None:
    laws = [hidden.draw_law(f"student {i}", SECRET)[0] for i in range(200)]
    assert len({law.E for law in laws}) == 200
    best = [law.optimum(hidden.REFERENCE_FLOPS) for law in laws]
    ratio = np.array([b.tokens / b.params for b in best])
    reducible = np.array([b.loss - law.E for b, law in zip(best, laws, strict=True)])
    entropy = np.array([law.E for law in laws])
    exponents = np.array([(law.alpha, law.beta) for law in laws])
    for values, low, high in (
        (ratio, 8, 45),
        (reducible, 0.9, 1.3),
        (entropy, 1.4, 2.2),
        (exponents, 0.28, 0.42),
    ):
        assert low * (1 - 1e-9) <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high * (1 + 1e-9)


def test_a_law_depends_on_the_key_and_not_on_how_the_name_is_typed() -> None:
    assert hidden.draw_law(" Anna  B ", SECRET) == hidden.draw_law("anna b", SECRET)
    assert hidden.draw_law("anna b", SECRET) != hidden.draw_law("anna b")


def test_a_ticket_gives_the_law_and_the_losses_of_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    practice = Lab("anna").train(1e6, 2e7).loss
    text = hidden.make_ticket("Anna", SECRET)
    Path(hidden.TICKET).write_text(text, "utf-8")
    law = hidden.draw_law("anna", SECRET)
    assert hidden.law_of("anna") == law
    assert abs(Lab("anna").train(1e6, 2e7).loss - float(law[0].value(1e6, 2e7))) < 10 * shop.NOISE
    assert Lab("anna").train(1e6, 2e7).loss != practice
    assert not [number for number in numbers_of(law[0]) if number in text]
    with pytest.raises(ValueError, match="is the ticket of 'anna', not of 'ben'"):
        Lab("ben")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("sealed", "AAAA", "was changed"), ("seal", "00", "was changed"), ("salt", "00", "was changed"),
     ("salt", "no hex", "is no laboratory ticket"), ("minichin_ticket", 2, "has version 2")],
)  # fmt: skip
def test_a_damaged_ticket_is_told(tmp_path: Path, field: str, value: object, told: str) -> None:
    path = tmp_path / "ticket.json"
    path.write_text(json.dumps({**json.loads(hidden.make_ticket("anna", SECRET)), field: value}), "utf-8")
    with pytest.raises(ValueError, match=told):
        Lab("anna", ticket=path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", "\x00"])
def test_what_is_no_ticket_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ticket.json"
    with pytest.raises(ValueError, match="is no laboratory ticket"):
        Lab("anna", ticket=path)
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="is no laboratory ticket"):
        Lab("anna", ticket=path)


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the user name is empty"):
        Lab(name)


def test_real_training_costs_the_full_count_and_is_refused_past_the_allowance() -> None:
    shape = shop.real_shape(4)
    tokens = 20 * shop.REAL_BATCH
    cost = tokens * shape.flops_per_token("full")
    lab = Lab(real=True, allowance=2.5 * cost)
    first, second = lab.train(shape.params, tokens), lab.train(shape.params, tokens)
    assert (first.params, first.tokens, first.flops) == (shape.params, tokens, cost)
    assert 2 < first.loss < 6
    assert first.loss != second.loss  # another seed
    with pytest.raises(LabError, match="are left"):
        lab.train(shape.params, tokens)
    assert lab.spent == 2 * cost


def test_the_yardstick_is_the_scatter_of_fits_to_the_plain_design() -> None:
    law, _ = hidden.draw_law("yardstick")
    params, tokens = marking.plain_design()
    rng, found = np.random.default_rng(1), []
    from scipy.optimize import least_squares

    start = np.array([law.E, np.log(law.A), np.log(law.B), law.alpha, law.beta])
    for _ in range(200):
        losses = law.value(params, tokens) + rng.normal(0, shop.NOISE, len(params))

        def miss(v: np.ndarray, losses: np.ndarray = losses) -> np.ndarray:
            return v[0] + np.exp(v[1] - v[3] * np.log(params)) + np.exp(v[2] - v[4] * np.log(tokens)) - losses

        e, a, b, alpha, beta = least_squares(miss, start, x_scale="jac").x
        found.append(marking._quantities(LossSurface(e, np.exp(a), np.exp(b), alpha, beta)))
    assert np.std(found, axis=0) == pytest.approx(marking.yardstick(law), rel=0.2)
    assert 6 * (params * tokens).sum() < shop.ALLOWANCE / 2


@pytest.mark.parametrize(("spread", "earned"), [(1.0, 1.0), (0.01, 0.0), (20.0, 0.0)])
def test_honest_intervals_earn_more_than_narrow_and_wide_ones(spread: float, earned: float) -> None:
    lab = stocked("honest")
    got, full, why = marking.honesty(lab, exact(lab, spread), 6)
    assert got == pytest.approx(earned * full, abs=0.3)
    assert "of 36 intervals hold the truth" in why


@given(st.floats(-5, 5), st.floats(0, 10))
def test_no_interval_scores_better_on_average_than_the_quantiles(shift: float, half: float) -> None:
    z = np.random.default_rng(0).normal(size=4000)
    right = marking.interval_score(np.full_like(z, -1.645), np.full_like(z, 1.645), z).mean()
    other = marking.interval_score(np.full_like(z, shift - half), np.full_like(z, shift + half), z).mean()
    assert other > right - 0.05


def test_closeness_falls_from_three_to_thirty_yardsticks() -> None:
    lab = stocked("close")
    law, _ = hidden.draw_law("close")
    best, unit = law.optimum(marking.TARGET), marking.yardstick(law)[0]
    got = []
    for off in (0, 2.9, 9.5, 31):
        params = float(best.params) * np.exp(off * unit)
        tokens = marking.TARGET / 6 / params
        answer = {"params": (params,) * 3, "tokens": (tokens,) * 3, "loss": (float(best.loss),) * 3}
        got.append(marking.closeness(lab, answer, "params", 3)[0])
        assert marking.closeness(lab, answer, "loss", 3)[0] == 3
    assert got[:2] == [3, 3]
    assert got[2] == pytest.approx(1.5, abs=0.05)
    assert got[3] == 0
    assert marking.thrift(lab, answer, 2)[0] == pytest.approx(2 / 3)


def test_more_than_the_allowance_counts_in_proportion_and_less_noise_not_at_all() -> None:
    first, second = Lab("double"), Lab("double")
    for lab in (first, second):
        lab.train(1e9, shop.ALLOWANCE / 6e9)
    assert marking.counted(first) == pytest.approx(0.5)
    with pytest.raises(check.CheckError, match="2 Labs have spent 2e\\+19 FLOPs together"):
        marking.spending(first)
    Lab("quiet", noise=0.001).train(1e6, 1e8)
    quiet = Lab("quiet")
    assert marking.counted(quiet) == 0
    best = hidden.draw_law("quiet")[0].optimum(marking.TARGET)
    answer = {name: (float(value),) * 3 for name, value in zip(marking.NAMES, best, strict=True)}
    for got, _, why in (marking.closeness(quiet, answer, "loss", 3), marking.thrift(quiet, answer, 2)):
        assert (got, "none of it counts" in why) == (0, True)


def test_a_forecast_must_look_at_the_runs_and_survive_other_noise() -> None:
    lab = stocked("blind")
    constant = exact(lab)(lab.runs, marking.TARGET)
    with pytest.raises(check.CheckError, match="the same whatever the losses are"):
        marking.honesty(lab, lambda runs, flops: constant, 6)
    with pytest.raises(check.CheckError, match=r"drawn anew \(1 of 12\): ZeroDivisionError"):
        marking.honesty(lab, lambda runs, flops: {"params": 1 / 0}, 6)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"params": (1e9, 1e10)}, "should be"), ({"loss": (2.0, 1.9, 2.1)}, "not in the order"),
     ({"loss": (1.0, 2.0, float("inf"))}, "finite"), ({"tokens": (1.0, 1e12, 1e13)}, "spends all")],
)  # fmt: skip
def test_the_form_of_an_answer(change: dict[str, tuple[float, ...]], told: str) -> None:
    n = (marking.TARGET / 120) ** 0.5
    answer = {"params": (n, n, n), "tokens": (20 * n, 20 * n, 20 * n), "loss": (2.0, 2.1, 2.2)}
    marking.form(answer)
    with pytest.raises(check.CheckError, match=told):
        marking.form({**answer, **change})
