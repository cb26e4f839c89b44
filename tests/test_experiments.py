"""Experiments are data: their specs keep to the recipe but for what they say; their records are found."""

import pytest

from minichin import campaign
from minichin.experiments import CYCLES, EPOCHS, EXPERIMENTS, LONG_WARMUP, specs
from minichin.plan import peak_lr, plan, warmup_steps
from minichin.runs import Store


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_spends_its_budget(name):
    """Each run's FLOPs meet the budget within 1 %, no run comes twice, none repeats the text by accident."""
    found = specs(name)
    assert all(abs(spec.flops - spec.budget) <= 0.01 * spec.budget for spec in found)
    assert len({spec.spec_hash for spec in found}) == len(found)
    assert all(spec.tokens <= 66_000_000 for spec in found if "first=" not in spec.corpus)


def test_main_holds_the_cpu_profile():
    """Whoever trains the profile trains runs of the published valleys."""
    ours = {spec.spec_hash for spec in specs("main")}
    assert {spec.spec_hash for spec in plan("cpu")} <= ours


def test_one_change_at_a_time():
    """Away from the rates and Kaplan's warm-up, every run has the recipe's rate and warm-up for its steps."""
    for name in ("main", "depths", "large-batch", "cooldown", "grades", "leaks", "known-entropy", "gopher"):
        for spec in specs(name):
            assert spec.lr == peak_lr(spec.width, spec.steps, spec.batch_tokens), name
            assert spec.warmup_steps == warmup_steps(spec.steps), name
    assert {spec.warmup_steps for spec in specs("long-warmup")} == {LONG_WARMUP}
    assert {spec.cycle for spec in specs("cosine-lengths")} == set(CYCLES)


def test_repetition_reads_its_text_so_often():
    """The named part of the text goes into a run's tokens 1, 2, 4, 8, 16 and 40 times, within a byte."""
    for spec in specs("repetition"):
        first = int(spec.corpus.rpartition("=")[2])
        assert any(0 <= epochs * first - spec.tokens < epochs for epochs in EPOCHS)


def test_records_are_found_or_their_lack_is_told(tmp_path):
    """A complete experiment is there run by run; an unknown one and missing runs are told in one line."""
    assert [record.spec for record in campaign.records("rates")] == specs("rates")
    with pytest.raises(ValueError, match="unknown experiment 'rate'; choose one of rates, main"):
        campaign.table("rate")
    Store(tmp_path).append(campaign.records("rates")[0])
    with pytest.raises(ValueError, match=r"53 of the 54 runs of rates are not in .*--experiment rates"):
        campaign.table("rates", tmp_path)
