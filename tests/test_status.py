"""The page on how the notebooks were run says what their stamps say."""

from minichin import status

STAMP = {
    "profile": "cpu",
    "device": "cpu: x86_64",
    "date": "2026-01-02",
    "versions": {"python": "3.11.9", "minichin": "0.1"},
    "source": "0123456789abcdef",
    "parameters": {"bootstrap": 1000, "profile": "cpu"},
    "seconds": 7.25,
}


def test_a_row_a_notebook_in_order_and_their_sum():
    """Time, parameters, source, device and versions are those of the stamps."""
    bare = {**STAMP, "parameters": {}, "seconds": 2.5, "source": "fedcba9876543210"}
    text = status.page({"sweep": STAMP, "approach1": bare})
    rows = [line for line in text.splitlines() if line.startswith("| []")]
    assert rows == [
        "| [](../notebooks/sweep.ipynb) | 7.2 | 2026-01-02 | `cpu` "
        "| `bootstrap = 1000`, `profile = 'cpu'` | `0123456789ab` |",
        "| [](../notebooks/approach1.ipynb) | 2.5 | 2026-01-02 | `cpu` | its own | `fedcba987654` |",
    ]
    assert "All together: 10 seconds." in text
    assert "trained on: cpu: x86_64." in text
    assert "| python | 3.11.9 |" in text


def test_a_build_without_notebooks_has_the_page_too():
    """No stamps, no table."""
    assert "no executed notebooks" in status.page({})
