"""The law against closed forms, numerical minimisation, and printed numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from minichin.law import LossSurface, PowerLaw
from minichin.published import LAWS

surfaces = st.builds(
    LossSurface,
    E=st.floats(0, 5),
    A=st.floats(1, 1e5),
    B=st.floats(1, 1e5),
    alpha=st.floats(0.1, 1),
    beta=st.floats(0.1, 1),
)
compute = st.floats(1e12, 1e26)


@given(surfaces, compute)
def test_optimum_is_the_minimum_along_equal_compute(law: LossSurface, flops: float) -> None:
    """No nearby split of the same compute does better, and k N D = C holds."""
    best = law.optimum(flops)
    assert 6 * best.params * best.tokens == pytest.approx(flops, rel=1e-9)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert law.value_at(flops, best.params * factor) >= best.loss - 1e-12


def test_optimum_agrees_with_a_numerical_search() -> None:
    """The closed form equals a bounded scalar minimisation of the loss at fixed compute."""
    law = LAWS["besiroglu"].surface
    found = minimize_scalar(
        lambda u: float(law.value_at(5.76e23, np.exp(u))),
        bounds=(20, 30),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert float(law.optimum(5.76e23).params) == pytest.approx(math.exp(found.x), rel=1e-4)


@given(surfaces, compute)
def test_inverses_undo(law: LossSurface, flops: float) -> None:
    """Compute for the optimum's loss, and tokens for a loss at fixed N, lead back to where they came from."""
    best = law.optimum(flops)
    if best.loss - law.E > 1e-6 * best.loss:
        assert law.compute_for(best.loss) == pytest.approx(flops, rel=1e-4)
        assert law.tokens_for(best.loss, best.params) == pytest.approx(best.tokens, rel=1e-3)


@given(surfaces, compute, st.floats(1, 20))
def test_power_laws_are_the_optimum(law: LossSurface, flops: float, k: float) -> None:
    """N_opt and D_opt as power laws equal the optimum at any FLOPs per parameter and token; a + b = 1."""
    n_opt, d_opt = law.power_laws(k)
    best = law.optimum(flops, k)
    assert n_opt(flops) == pytest.approx(best.params, rel=1e-9)
    assert d_opt(flops) == pytest.approx(best.tokens, rel=1e-9)
    assert n_opt.exponent + d_opt.exponent == pytest.approx(1.0)
    assert n_opt.inverse(n_opt(flops)) == pytest.approx(flops, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "a", "ratio"),
    [("chinchilla", 0.4516, 92.6), ("chinchilla_tex", 0.4565, 58.9), ("besiroglu", 0.5126, 18.4)],
)
def test_published_exponents_and_ratios(name: str, a: float, ratio: float) -> None:
    """a and the tokens a parameter at Chinchilla's own compute are known for each set of constants."""
    law = LAWS[name].surface
    best = law.optimum(5.76e23)
    assert law.a == pytest.approx(a, abs=1e-4)
    assert float(best.tokens / best.params) == pytest.approx(ratio, rel=1e-3)


def test_tex_constants_give_the_papers_forty_billion() -> None:
    """The constants of the TeX source give N = 40.4B at 5.76e23 FLOPs, the paper's 40B."""
    assert float(LAWS["chinchilla_tex"].surface.optimum(5.76e23).params) == pytest.approx(40.4e9, rel=2e-3)


def test_large_integers_do_not_wrap() -> None:
    """Counts beyond 64-bit integers are taken as they are."""
    law = LAWS["chinchilla"].surface
    assert float(law.optimum(10**30).params) > float(law.optimum(10**25).params)
    assert law.value(np.array([10**13]), np.array([10**15]))[0] == pytest.approx(
        1.69 + 406.4 / 10 ** (13 * 0.34) + 410.7 / 10 ** (15 * 0.28)
    )


@pytest.mark.parametrize("bad", [(-1, 1, 1, 1, 1), (1, 0, 1, 1, 1), (1, 1, 1, 0, 1), (1, 1, math.nan, 1, 1)])
def test_impossible_constants_are_refused(bad: tuple[float, ...]) -> None:
    """A surface that could not fall with size or data is a ValueError that names the constant."""
    with pytest.raises(ValueError, match="of a loss surface must be"):
        LossSurface(*bad)


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan, "many"])
def test_impossible_sizes_are_refused(value: object) -> None:
    """Sizes that are no positive numbers are a ValueError, never NaN."""
    law = LAWS["besiroglu"].surface
    with pytest.raises(ValueError, match="flops must be"):
        law.optimum(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="x must be"):
        PowerLaw(1.0, 0.5)(value)  # type: ignore[arg-type]


def test_unreachable_loss_is_refused() -> None:
    """No compute reaches the entropy of the text."""
    with pytest.raises(ValueError, match="no compute reaches"):
        LAWS["besiroglu"].surface.compute_for(1.8)
