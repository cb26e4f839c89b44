"""Published numbers are mutually consistent, and their misprints are named."""

import numpy as np
import pytest

from minichin import published


def slope(rows: tuple[published.OptimalSize, ...], of: str) -> float:
    """Log-log slope of a column against FLOPs, rows with a misprint left out."""
    good = [row for row in rows if not row.misprint]
    return float(np.polyfit(np.log([r.flops for r in good]), np.log([getattr(r, of) for r in good]), 1)[0])


def test_tables_of_sizes_have_the_papers_slopes() -> None:
    """The rows' own slopes are the exponents worked out for them."""
    assert slope(published.TABLE_3, "params") == pytest.approx(0.498, abs=1e-3)
    assert slope(published.TABLE_3, "tokens") == pytest.approx(0.502, abs=1e-3)
    assert slope(published.TABLE_A3_APPROACH_2, "params") == pytest.approx(0.490, abs=1e-3)
    assert slope(published.TABLE_A3_APPROACH_3, "params") == pytest.approx(0.459, abs=1e-3)


def test_the_one_misprinted_row_is_named() -> None:
    """C / (6 N D) is near 1 in every row of the tables but the flagged one, where it is 0.1."""
    for row in (*published.TABLE_3, *published.TABLE_A3_APPROACH_2, *published.TABLE_A3_APPROACH_3):
        ratio = row.flops / (6 * row.params * row.tokens)
        assert ratio == pytest.approx(0.1 if row.misprint else 1.0, rel=0.05)


def test_models_spend_about_the_same_compute() -> None:
    """6 N D of Gopher and Chinchilla agrees with the budget they share to within the paper's rounding."""
    for model in (published.GOPHER, published.CHINCHILLA):
        assert 6 * model.params * model.tokens == pytest.approx(model.flops, rel=0.15)


def test_every_number_has_a_source() -> None:
    """No exponent and no law stands without saying where it is from."""
    numbers = (*published.TABLE_2, *published.OTHER_CORPORA, *published.PORIAN_LADDER, published.KAPLAN)
    assert all("arXiv" in n.source for n in (*numbers, *published.LAWS.values()))
