"""The laboratory of the coursework: own laws, honest accounts, noise of the size told."""

import numpy as np
import pytest

from minichin.course import Lab, LabError, hidden_law, ticket

ANNA, BEN = ticket("anna", "secret"), ticket("ben", "secret")


def test_each_student_has_an_own_law() -> None:
    """The law depends on the name and on the secret, and on nothing else."""
    assert hidden_law(ANNA) == hidden_law(ticket(" Anna ", "secret"))
    assert len({hidden_law(t).E for t in (ANNA, BEN, ticket("anna", "other"))}) == 3


@pytest.mark.parametrize(("user", "secret"), [("", "secret"), ("  ", "secret"), ("anna", "")])
def test_a_ticket_needs_both(user: str, secret: str) -> None:
    """No ticket without a name and a secret."""
    with pytest.raises(ValueError, match="neither may be empty"):
        ticket(user, secret)


def test_losses_scatter_around_the_law() -> None:
    """Repeated runs have the law's mean and the deviation told."""
    lab = Lab(ANNA, allowance=1e30, noise=0.01)
    losses = np.array([lab.run(1e6, 2e7).loss for _ in range(400)])
    assert losses.mean() == pytest.approx(float(hidden_law(ANNA).value(1e6, 2e7)), abs=0.002)
    assert losses.std() == pytest.approx(0.01, rel=0.15)


def test_answers_do_not_depend_on_the_order() -> None:
    """A restarted notebook that asks in another order gets the same losses."""
    one, two = Lab(ANNA), Lab(ANNA)
    forward = [one.run(n, 1e7).loss for n in (1e5, 2e5)]
    assert forward == [two.run(n, 1e7).loss for n in (2e5, 1e5)][::-1]


def test_the_allowance_holds() -> None:
    """All may be spent, no more; a request turned down costs nothing."""
    lab = Lab(ANNA, allowance=6e12)
    lab.run(5e5, 1e6)
    with pytest.raises(LabError, match="are left"):
        lab.run(1e6, 1e6)
    assert (lab.spent, lab.left) == (3e12, 3e12)
    lab.run(5e5, 1e6)
    assert lab.left == 0


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf")])
def test_requests_that_make_no_sense(wrong: float) -> None:
    """Counts below one and not finite are turned down by name."""
    lab = Lab(ANNA)
    with pytest.raises(LabError, match="params"):
        lab.run(wrong, 1e6)
    with pytest.raises(LabError, match="tokens"):
        lab.run(1e6, wrong)
    assert lab.runs == ()


def test_the_lab_keeps_no_law() -> None:
    """Neither the attributes nor the text of a used lab hold a number of the law."""
    lab = Lab(ANNA, noise=0.01)
    lab.run(1e5, 1e6)
    held = repr(vars(lab)) + repr(lab)
    law = hidden_law(ANNA)
    true = float(law.value(1e5, 1e6))
    assert [x for x in (law.E, law.A, law.B, law.alpha, law.beta, true) if repr(float(x)) in held] == []
