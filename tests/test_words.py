"""Words made from results say what the numbers say, whichever way these turn out."""

import numpy as np
import pandas as pd
import pytest

from minichin import words
from minichin.fit import Fit, fit_isoflop
from minichin.law import LossSurface, PowerLaw


def fit(approach=2, a=0.53, b=0.53, a_interval=(0.5, 0.56), difference=(-0.05, 0.05), warnings=(), notes=()):
    """A fit with the given exponents and intervals."""
    return Fit(
        approach=approach,
        convention="full",
        n_opt=PowerLaw(1.0, a),
        d_opt=PowerLaw(1.0, b),
        a_interval=a_interval,
        b_interval=None,
        a_minus_b_interval=difference,
        warnings=warnings,
        notes=notes,
        dropped=(),
        resample="noise",
        interval_kind="percentile",
        replicates=np.empty((0, 4)),
    )


def valleys(shift):
    """Approach 2 on a planted surface, the sizes of the second budget moved by the factor `shift`."""
    surface, rows = LossSurface(1.0, 30.0, 200.0, 0.4, 0.4), []
    for budget, move in ((1e11, 1.0), (1e12, shift), (1e13, 1.0)):
        best = float(surface.optimum(budget).params)
        for params in best * move * np.geomspace(0.25, 4, 7):
            tokens = budget / (6 * params)
            rows.append((params, tokens, budget, budget, float(surface.value(params, tokens))))
    return fit_isoflop(
        pd.DataFrame(rows, columns=["params", "tokens", "flops", "budget", "val_loss"]), bootstrap=0
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e12, "3 × 10¹²"), (1e11, "10¹¹"), (1.25e3, "1.2 × 10³"), (5e-4, "5 × 10⁻⁴"), (9.99e9, "10¹⁰")],
)
def test_scientific(value, text):
    """Powers of ten are superscripts, and a mantissa of one is left out, also after rounding."""
    assert words.scientific(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (61_234, "61.2 thousand"),
        (1_864_000, "1.86 million"),
        (999_999, "1 million"),
        (417, "417"),
        (7e10, "70 billion"),
    ],
)
def test_count(value, text):
    """Counts are told to three digits in words, and rounding carries into the next word."""
    assert words.count(value) == text


def test_number_has_a_typographic_minus_and_no_minus_zero():
    """Negative numbers carry a true minus sign, and what rounds to zero carries none."""
    assert words.number(-0.034) == "−0.03"
    assert words.number(-0.001) == "0.00"


def test_missing_interval_is_said():
    """A value without an interval says so."""
    assert words.with_interval(0.5, None) == "0.50 (no interval)"
    assert words.with_interval(0.5, (0.4, 0.61)) == "0.50 (0.40 to 0.61)"


def test_exponent_facts_holds_plain_floats_and_words():
    """Facts are Python floats, which formats apply to, and strings, under names that end in the suffix."""
    facts = words.exponent_facts(fit(), "2_6nd")
    assert set(facts) == {f"{n}2_6nd{e}" for n in ("a", "b", "a_minus_b") for e in ("", "_text")}
    assert type(facts["a2_6nd"]) is float
    assert facts["a2_6nd_text"] == "0.53 (0.50 to 0.56)"


@pytest.mark.parametrize(
    ("interval", "phrase"),
    [
        ((-0.1, 0.1), "contains zero"),
        ((0.01, 0.1), "the best parameters grow faster than the tokens"),
        ((-0.1, -0.01), "the best tokens grow faster than the parameters"),
        (None, "nothing can be said"),
    ],
)
def test_equal_scaling_follows_the_interval(interval, phrase):
    """The sentence on equal scaling says on which side of zero the interval of a − b lies."""
    assert phrase in words.equal_scaling(fit(difference=interval))


def test_agreement_names_who_disagrees():
    """Approaches whose intervals exclude each other are named; missing intervals are no agreement."""
    one, two = fit(approach=1, a_interval=(0.4, 0.5)), fit(approach=2, a_interval=(0.49, 0.6))
    three = fit(approach=3, a_interval=(0.7, 0.8))
    assert "overlap, each with each" in words.agreement([one, two])
    assert "approaches 1 and 3, 2 and 3" in words.agreement([one, two, three])
    assert "cannot be judged" in words.agreement([one, fit(a_interval=None)])


def test_doubts_are_told_in_the_fits_own_words():
    """A fit without warnings says so, and a warning's note is quoted."""
    assert words.doubts(fit()) == "The fit carries no warnings."
    assert "two budgets only" in words.doubts(fit(warnings=("too_few_budgets",), notes=("two budgets only",)))


def test_bracketing_names_the_budgets_that_are_not():
    """Every unbracketed budget is named, and none if there is none."""
    said = words.bracketing(valleys(shift=30.0))
    assert said.startswith("2 of 3")
    assert "10¹²" in said
    assert words.bracketing(valleys(shift=1.0)) == "every valley (3 of 3) has its minimum bracketed."


def test_valley_facts_tell_the_first_and_last_budget():
    """The smallest and the largest budget are told with the planted optimum."""
    facts = words.valley_facts(valleys(shift=1.0))
    assert (facts["first_budget"], facts["last_budget"]) == ("10¹¹", "10¹³")
    best = LossSurface(1.0, 30.0, 200.0, 0.4, 0.4).optimum(1e13)
    assert facts["last_params"] == words.count(float(best.params))
    assert facts["last_loss"] == pytest.approx(float(best.loss), abs=2e-3)


def test_surface_facts_scale_their_digits():
    """A and B, which range over decades, are told to three digits, the other constants to three decimals."""
    facts = words.surface_facts(
        {"E": 1.234567, "A": 406.44, "B": 2085.43}, {"E": (1.2, 1.3), "B": (31.25, 2e9)}
    )
    assert facts["E_text"] == "1.235 (1.200 to 1.300)"
    assert facts["A_text"] == "406 (no interval)"
    assert facts["B_text"] == "2090 (31.2 to 2 × 10⁹)"


def test_profile_note_warns_of_the_smoke_profile():
    """A rendering from smoke runs says that its numbers mean nothing; others name their profile."""
    assert "far too small" in words.profile_note("smoke", "seconds")
    assert "nothing was trained" in words.profile_note("published", "no training")
    assert (
        words.profile_note("cpu", "ten minutes")
        == "This rendering shows the runs of the profile cpu: ten minutes."
    )
