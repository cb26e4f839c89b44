"""Counting, held against the paper's tables, torch's own counters and arithmetic by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minichin.shape import CONVENTIONS, ModelShape, hoffmann_params, transformer_flops

# Hoffmann et al. 2022, Table A9: width, ffn, key, heads, layers -> millions of parameters; and Table A4:
# the ratio of the full count to 6ND.
PAPER = [
    ((640, 2560, 64, 10, 10), 73.7, 1.03),
    ((1024, 4096, 64, 16, 20), 305.4, 1.10),
    ((1280, 5120, 128, 10, 24), 552.1, 1.08),
    ((1792, 7168, 128, 14, 26), 1142.8, 1.04),
    ((2048, 8192, 128, 16, 28), 1592.3, 1.03),
    ((3584, 14336, 128, 28, 40), 6794.1, 0.99),
]
AS_WRITTEN = [1.60, 1.32, 1.23, 1.15, 1.12, 1.03]
VOCAB, CONTEXT = 32_000, 2_048


def _paper_counts(sizes: tuple[int, ...]) -> tuple[int, dict[str, float]]:
    width, ffn, key, heads, depth = sizes
    shape = {"vocab": VOCAB, "width": width, "depth": depth, "heads": heads, "key": key, "ffn": ffn}
    return sum(hoffmann_params(**shape).values()), transformer_flops(context=CONTEXT, **shape)


@pytest.mark.parametrize(("sizes", "millions", "ratio"), PAPER)
def test_table_a9_sizes(sizes, millions, ratio):
    """The paper's sizes follow from L(5d² + 2df) + Vd to the last printed digit."""
    assert _paper_counts(sizes)[0] / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("sizes", "millions", "ratio"), PAPER)
def test_table_a4_ratios_without_embedding_and_logits(sizes, millions, ratio):
    """Table A4 is reproduced to 0.01 when the embedding and logit terms are left out of Appendix F."""
    params, flops = _paper_counts(sizes)
    counted = 3 * (sum(flops.values()) - flops["embedding"] - flops["logits"])
    assert counted / (6 * params * CONTEXT) == pytest.approx(ratio, abs=0.0101)


@pytest.mark.parametrize(("paper", "expected"), list(zip(PAPER, AS_WRITTEN, strict=True)))
def test_appendix_f_as_written(paper, expected):
    """With every term of Appendix F, small models' ratios are far from Table A4's: 1.6 instead of 1.03."""
    params, flops = _paper_counts(paper[0])
    assert 3 * sum(flops.values()) / (6 * params * CONTEXT) == pytest.approx(expected, abs=0.02)


def test_counts_by_hand():
    """Width 8, depth 1, context 4, vocabulary 10: every part worked out on paper."""
    shape = ModelShape(8, depth=1, context=4, vocab=10, head_dim=8)
    assert shape.param_breakdown() == {
        "embedding": 80,
        "attention": 256,
        "feed_forward": 512,
        "norms": 24,
    }
    assert shape.params == 872
    assert shape.params_non_embedding == 792
    assert shape.flop_breakdown() == {
        "embedding": 640,
        "qkv": 1536,
        "attention_logits": 256,
        "softmax": 48,
        "attention_values": 256,
        "attention_output": 512,
        "feed_forward": 4096,
        "logits": 640,
    }
    assert shape.flops_per_token("full") == 3 * 7984 / 4
    assert shape.flops_per_token("6ND") == 6 * 872
    assert shape.flops_per_token("6ND_non_embedding") == 6 * 792


@given(
    heads=st.integers(1, 64),
    head_dim=st.sampled_from([4, 8, 16, 64, 128]),
    depth=st.integers(1, 96),
    context=st.integers(1, 8192),
    vocab=st.integers(1, 200_000),
)
def test_parts_sum_and_stay_positive(heads, head_dim, depth, context, vocab):
    """Parts sum to the total, all are positive, and no size overflows."""
    shape = ModelShape(heads * head_dim, depth, context, vocab, head_dim)
    assert shape.params == sum(shape.param_breakdown().values())
    assert 0 < shape.params_non_embedding < shape.params
    assert all(part > 0 for part in shape.flop_breakdown().values())
    assert all(shape.flops_per_token(name) > 0 for name in CONVENTIONS)


def test_full_count_approaches_6nd():
    """The full count exceeds 6ND by a share that falls with width."""
    ratios = [
        ModelShape(w).flops_per_token("full") / ModelShape(w).flops_per_token("6ND") for w in (16, 64, 256)
    ]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] < 1.15 < 1.3 < ratios[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 20}, "width 20 is not a multiple of the head dimension 8"),
        ({"width": 0}, "width must be a positive whole number, not 0"),
        ({"width": 8, "depth": 1.5}, "depth must be a positive whole number, not 1.5"),
    ],
)
def test_bad_shapes_are_refused(values, words):
    """A shape that cannot be is refused in words that name the value."""
    with pytest.raises(ValueError, match=words):
        ModelShape(**values)


def test_unknown_convention():
    """A misspelt convention is refused with the list of names."""
    with pytest.raises(ValueError, match=r"unknown counting convention '6nd'.*6ND_non_embedding"):
        ModelShape(8).flops_per_token("6nd")
