"""The published points fitted again: the chapter's numbers, where they come from, and what stands in."""

import json
from pathlib import Path

import numpy as np
import pytest

from minichin import again, again_words, averaging, known_surfaces, published, templates
from minichin.law import LossSurface
from minichin.published_runs import GADRE_EXPONENTS, RUN_TABLES, TableMissing
from tests.planted import published_runs

ROOT = Path(__file__).resolve().parents[1]
QUICK = again.Settings(bootstrap=0)
KEYS = {"losses": "loss", "deltas": "delta", "corpora": "corpus", "steps": "step", "noise_free": "method"}


def here(name: str) -> again.Tables:
    """The tables of a section; the test is skipped where one of them is absent."""
    return again.Tables({table: published_runs(table) for table in again.SECTIONS[name][0]}, {})


def test_the_surfaces_give_the_published_ratios() -> None:
    """Tokens a parameter at Gopher's budget: 92.6 as printed, 58.9 by the TeX source, 18.4 by Besiroglu."""
    ratios = {record["law"]: record["ratio"] for record in known_surfaces.constants()}
    assert ratios["chinchilla"] == pytest.approx(92.6, abs=0.05)
    assert ratios["chinchilla_tex"] == pytest.approx(58.9, abs=0.05)
    assert ratios["besiroglu"] == pytest.approx(18.4, abs=0.05)


def test_rounding_leads_from_the_source_to_the_print() -> None:
    """Rounding nothing is the source, rounding all is the print, and beta does most of it."""
    ratios = {record["rounded"]: record["ratio"] for record in known_surfaces.rounding()}
    laws = {record["law"]: record["ratio"] for record in known_surfaces.constants()}
    assert ratios["none"] == laws["chinchilla_tex"]
    assert ratios["all"] == laws["chinchilla"]
    assert ratios["all"] - ratios["beta"] < ratios["beta"] - ratios["none"]


def test_the_source_is_nearer_to_their_table_than_the_print() -> None:
    """In every row of the paper's table but the misprinted one, the constants of the source come closer."""
    rows = known_surfaces.sizes()
    assert [row["params"] for row in rows if row["misprint"]] == [175e9]
    for row in rows:
        if not row["misprint"]:
            source, printed = (np.log(row[f"flops_{name}"] / row["flops"]) for name in ("tex", "printed"))
            assert abs(source) < 0.2 < abs(printed)
        else:
            assert row["flops_tex"] / row["flops"] > 9


def test_approach_2_has_the_published_bias() -> None:
    """On noise-free valleys it misses the tokens as Czech et al. say, and not once corrected.

    a is exact as long as the grids stay about the optima, and not where they drift.
    """
    rows = {record["reach"]: record for record in known_surfaces.bias()}
    for reach, error in published.APPROACH_2_BIAS.items():
        assert rows[reach]["tokens"] == pytest.approx(error, abs=5e-4)
    for row in rows.values():
        assert abs(row["tokens_corrected"]) < 1e-9
        assert abs(row["tokens_both"]) < 1e-9
        assert abs(row["a"]) < 1e-12
        assert abs(row["a_drifting"]) > 1e-5


def test_a_symmetric_surface_has_no_bias() -> None:
    """Where alpha = beta the valleys are symmetric, and the vertex is the minimum at every width."""
    records = known_surfaces.bias(LossSurface(1.8, 480.0, 2100.0, 0.35, 0.35))
    assert max(abs(record["tokens"]) for record in records) < 1e-9
    assert {record["published"] for record in records} == {None}


def test_the_mean_stops_early_and_the_sum_does_not() -> None:
    """From the same starts: the sum arrives, the mean does not, and finer tolerances bring it there."""
    points = here("averaging").frames["chinchilla_234"]
    least = again.stored("losses").records[0]["objective"]
    by = {record["minimised"]: record for record in averaging.sum_or_mean(points, least)}
    for name in ("sum", "sum, gradient by differences", "mean, finer tolerances"):
        assert abs(by[name]["gap"]) < averaging.ARRIVED
        assert by[name]["a"] == pytest.approx(0.4995, abs=1e-3)
    for name in ("mean", "mean, gradient by differences"):
        assert by[name]["gap"] > 0.01
        assert by[name]["at_optimum"] == 0


@pytest.mark.parametrize("name", KEYS)
def test_stored_results_are_what_the_tables_give(name: str) -> None:
    """The exponents of the last run come out again, from tables of the same checksums."""
    tables = here(name)
    last = {record[KEYS[name]]: record["a"] for record in again.stored(name).records}
    now = again.section(name, tables, QUICK)
    assert not now.stored
    assert {record[KEYS[name]]: record["a"] for record in now.records} == pytest.approx(last, abs=1e-5)
    sums = json.loads(again.STORE.read_text("utf-8"))["tables"]
    for table, frame in tables.frames.items():
        assert again.checksum(frame) == sums[table]


def test_the_stored_results_hold_all_of_the_papers_starts() -> None:
    """What is shown without tables was made with 4,500 starts, and enough resamples to quote."""
    last = json.loads(again.STORE.read_text("utf-8"))
    assert {record["starts"] for record in last["sections"]["averaging"]} == {4500}
    assert last["settings"]["bootstrap"] >= 1000
    assert set(last["sections"]) == set(again.SECTIONS)


def test_the_234_points_give_the_known_fit() -> None:
    """By log-Huber they give E 1.784, A 442, B 1272, alpha 0.3426, beta 0.3420, whatever the start."""
    huber, squares, absolute = again.stored("losses").records
    known = RUN_TABLES["chinchilla_234"].expected
    for name, value in known.items():
        assert huber[name] == pytest.approx(value, rel=1e-3)
    assert huber["starts_at_best"] == huber["starts"]
    assert max(record["gradient_norm"] for record in (huber, squares, absolute)) < 1e-9
    assert len({record["a"] for record in (huber, squares, absolute)}) == 3


def test_gadres_runs_give_the_known_exponents() -> None:
    """a is 0.500 on C4, 0.526 on RedPajama and 0.555 on RefinedWeb."""
    found = {record["corpus"]: record["a"] for record in again.stored("corpora").records}
    assert found == pytest.approx({again.CORPORA[name]: a for name, a in GADRE_EXPONENTS.items()}, abs=6e-4)


def test_the_noise_free_points_tell_the_methods_apart() -> None:
    """The truth is 0.514286; a parabola gives 0.5146, the best runs 0.469, shared exponents the truth."""
    found = {record["method"]: record for record in again.stored("noise_free").records}
    assert found["parabola"]["truth"] == pytest.approx(0.514286, abs=1e-6)
    assert found["parabola"]["a"] == pytest.approx(0.5146, abs=5e-5)
    assert found["smallest loss"]["a"] == pytest.approx(0.469, abs=5e-4)
    assert abs(found["shared"]["miss"]) < 1e-7


def test_the_234_points_judge_the_published_constants() -> None:
    """No published constants have a smaller sum of losses than the fit, and the printed ones the largest."""
    records = again.section("judged", here("judged"), QUICK).records
    gaps = {record["law"]: record["gap"] for record in records}
    assert 0 < gaps["besiroglu"] < gaps["chinchilla_tex"] < gaps["chinchilla"]


def test_the_steps_are_porians() -> None:
    """The five steps carry the exponents that their authors publish, and all intervals overlap theirs."""
    records = again.section("steps", here("steps"), again.Settings()).records
    for record, step in zip(records, published.PORIAN_LADDER, strict=True):
        assert record["theirs"] == pytest.approx(step.a, abs=6e-4)
        assert record["a"] == pytest.approx(step.a, abs=0.03)
        (low, high), (other_low, other_high) = record["a_interval"], record["theirs_interval"]
        assert max(low, other_low) <= min(high, other_high)


def test_without_tables_the_stored_results_are_shown(bare: Path) -> None:
    """On a machine without folder and network every section is there, and says when and why it was stored."""
    tables = again.load_tables()
    assert set(tables.missing) == set(RUN_TABLES)
    for name in again.SECTIONS:
        part = again.section(name, tables, again.Settings())
        assert part.stored
        assert part.records
        assert part.note.startswith("Stored results of 20")
        assert "did not answer" in part.note or "cannot be downloaded" in part.note
        assert str(bare) not in part.note
    with pytest.raises(ValueError, match="there are losses"):
        again.section("nothing", tables, again.Settings())


def test_nothing_is_stored_from_half_the_tables(bare: Path) -> None:
    """The stored results are written from all tables or not at all."""
    with pytest.raises(TableMissing, match="nothing was written"):
        again.store(bare / "fits.json")
    assert not (bare / "fits.json").exists()


def test_a_small_share_is_said_in_words() -> None:
    """Two digits of a per cent, and no digits of an optimiser's rounding."""
    assert again_words.percent(0.1532) == "15 %"
    assert again_words.percent(0.00678) == "0.68 %"
    assert again_words.percent(7e-8) == again_words.percent(-1e-12) == "less than 0.001 %"


def test_the_notebook_runs_without_tables(bare: Path) -> None:
    """The template runs to its end without folder and network, and says that it shows stored results."""
    copy = bare / "published_points.ipynb"
    templates.execute(ROOT / "notebooks" / copy.name, copy, {})
    text = copy.read_text("utf-8")
    assert text.count("Stored results of 20") >= len(again.SECTIONS)
    assert str(bare) not in text
