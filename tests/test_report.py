"""The report against the contract of `minichin fit --json`, and reading of tables against bad input."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from minichin.fit import FitError, fit_envelope, fit_isoflop, fit_parametric
from minichin.fit.report import fit_report, optimum, read_any, read_table
from tests.planted import curves, grid, surface, sweep

COMMON = {"a", "a_interval", "b", "b_interval", "a_minus_b", "a_minus_b_interval", "warnings"}
THIRD = {
    "E",
    "A",
    "B",
    "alpha",
    "beta",
    "intervals",
    "objective",
    "gradient_norm",
    "starts",
    "starts_at_best",
}
THIRD |= {"second_best_objective", "delta"}


def test_json_follows_the_contract() -> None:
    """The object has the keys that the design promises, and survives strict JSON."""
    law = surface(0.4, 0.3)
    options = {"noise": 0.01, "seeds": 2}
    report = fit_report(sweep(law, **options), curves(law, **options), bootstrap=60)
    found = report.to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    own = {"predictions", "sensitivity", "identifiability", "agreement", "profile", "settings"}
    assert set(found) == {"rows", "dropped", "convention", "approach1", "approach2", "approach3"} | own
    assert (found["rows"], found["dropped"], found["convention"]) == (56, [], "full")
    for key in ("approach1", "approach2", "approach3"):
        assert set(found[key]) >= COMMON
        low, high = found[key]["a_interval"]
        assert low < found[key]["a"] < high
        assert found[key]["a_minus_b"] == pytest.approx(found[key]["a"] - found[key]["b"])
    budgets = found["approach2"]["budgets"]
    assert len(budgets) == 4
    assert all(set(b) >= {"flops", "params_opt", "tokens_opt", "loss", "bracketed"} for b in budgets)
    assert set(found["approach3"]) >= THIRD
    assert set(found["approach3"]["intervals"]) == {"E", "A", "B", "alpha", "beta"}


def test_what_was_asked_for_is_what_was_fitted() -> None:
    """Each option reaches its approach: a report is the fits called with the same words, and says so."""
    table = sweep(surface(0.4, 0.3), noise=0.01, seeds=2)
    report = fit_report(
        table,
        bootstrap=40,
        seed=3,
        resample="seeds",
        interval="bca",
        hull=True,
        method="cubic",
        correct=True,
        loss="squares",
    )
    common = {"bootstrap": 40, "seed": 3, "resample": "seeds", "interval": "bca"}
    third = fit_parametric(table, loss="squares", **common)
    exponents = (third.surface.alpha, third.surface.beta)
    again = {
        1: fit_envelope(table, method="hull", **common),
        2: fit_isoflop(table, method="cubic", correct=exponents, **common),
        3: third,
    }
    for approach, fit in report.fits.items():
        assert (fit.a, fit.b, fit.a_interval) == (
            again[approach].a,
            again[approach].b,
            again[approach].a_interval,
        )
    found = report.to_json()
    assert found["settings"]["approach2"]["method"] == "cubic"
    assert found["settings"]["approach2"]["correct"] == pytest.approx(list(exponents))
    for part in (
        "intervals are bca",
        "by hull",
        "by cubic",
        "corrected",
        "half the sum of squared residuals",
    ):
        assert part in report.text()


def test_correction_without_approach_3_is_refused() -> None:
    """Where approach 3 cannot be had, approach 2 is not quietly left uncorrected; alone it is corrected."""
    table = sweep(surface(0.4, 0.3), noise=0.01)
    alone = fit_report(table, approaches=(2,), correct=True, bootstrap=0).fits
    assert list(alone) == [2]
    assert alone[2].a == fit_report(table, correct=True, bootstrap=0).fits[2].a
    n = np.repeat(np.geomspace(1e5, 1e8, 20), 3)
    line = {"params": n, "tokens": 20 * n, "loss": surface().value(n, 20 * n)}
    errors = fit_report(line, correct=True, bootstrap=0).errors
    assert "approach 3 fails: collinear_design" in str(errors[2])
    with pytest.raises(ValueError, match="shared-exponent"):
        fit_report(table, correct=True, method="shared", bootstrap=0)


def test_profile_on_request() -> None:
    """On a noise-free grid the profile has one minimum, at the planted exponents, and a's interval is a."""
    law = surface(0.4, 0.3)
    report = fit_report(grid(law), approaches=(3,), bootstrap=0, profile=True)
    found = report.to_json()["profile"]
    assert len(found["minima"]) == 1
    assert found["minima"][0][:2] == pytest.approx([0.4, 0.3], abs=1e-4)
    assert found["a_interval"] == pytest.approx([0.3 / 0.7] * 2, abs=1e-3)
    assert "1 local minimum over alpha and beta" in report.text()
    assert fit_report(grid(law), approaches=(3,), bootstrap=0).to_json()["profile"] is None


def test_text_says_it_all() -> None:
    """The text has the three approaches, the paper's row, each budget, the constants, and the warnings."""
    text = fit_report(sweep(surface(), noise=0.01), bootstrap=60).text()
    for part in (
        "IsoFLOP valleys",
        "0.46 (0.454, 0.455)",
        "tokens/param",
        "beta",
        "no_curves",
        "one row a run",
    ):
        assert part in text
    assert text.count("by 4.") + text.count("by 3.") >= 3


def test_a_failing_approach_stands_in_its_place() -> None:
    """An approach that cannot be had is reported, and the others go on; where none can, it raises."""
    n = np.geomspace(1e5, 1e8, 20)
    line = {"params": n, "tokens": 20 * n, "loss": surface().value(n, 20 * n)}
    report = fit_report(line, bootstrap=0)
    found = report.to_json()
    assert "collinear_design" in found["approach3"]["error"]
    assert found["approach3"]["warnings"] == ["collinear_design"]
    assert "could not be had" in report.text()
    with pytest.raises(FitError, match=r"approach 2.*approach 3"):
        fit_report(line, approaches=(2, 3))


def test_every_dropped_row_is_told() -> None:
    """Diverged runs, and runs that one approach leaves out, are listed with the reason."""
    table = pd.concat(
        [sweep(surface(), noise=0.01), sweep(surface(), budgets=(5e12,)).head(1)], ignore_index=True
    )
    table["status"] = ["diverged" if i == 4 else "finished" for i in range(len(table))]
    table.loc[4, "val_loss"] = np.nan
    dropped = fit_report(table, bootstrap=0).to_json()["dropped"]
    assert {"row": 5, "why": "the run diverged"} in dropped
    assert any(d["row"] == 29 and d["why"].startswith("approach 2") for d in dropped)
    assert len([d for d in dropped if d["row"] == 5]) == 1


@pytest.mark.parametrize("name", ["approach3", "approach2"])
def test_optimum_reads_its_own_json(tmp_path: Path, name: str) -> None:
    """A law written by a fit gives back the planted optimum; without approach 3 there is no loss."""
    law = surface(0.4, 0.3)
    found = fit_report(sweep(law), bootstrap=0).to_json()
    kept = {k: v for k, v in found.items() if not k.startswith("approach") or k == name}
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(kept))
    best = optimum(1e13, str(path))
    assert best["params"] == pytest.approx(float(law.optimum(1e13).params), rel=0.2)
    assert best["tokens_per_param"] == pytest.approx(best["tokens"] / best["params"])
    assert (best["loss"] is None) == (name == "approach2")


def test_optimum_by_name_and_its_mistakes(tmp_path: Path) -> None:
    """Published laws go by name; an unknown law, a bad file and bad FLOPs are ValueErrors of one line."""
    assert optimum(5.76e23, "besiroglu")["tokens_per_param"] == pytest.approx(18.4, abs=0.05)
    bad = tmp_path / "bad.json"
    bad.write_text("[1, 2]")
    for flops, law in ((1e20, "nobody"), (1e20, str(bad)), (-1.0, "chinchilla"), (math.nan, "chinchilla")):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            optimum(flops, law)


GOOD = "params,tokens,loss\n1e5,1e6,3.5\n2e5,1e6,3.25\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("params,tokens,loss\n", "no rows"),
        ("params,tokens\n1,2\n", "lacks loss"),
        ("N,tokens,loss\n1,2,3\n", "lacks params.*it has N, tokens, loss.*--rename"),
        (GOOD + "3e5,1e6,high\n", "column loss is 'high' in row 3 .line 4 of"),
        (GOOD + "3e5,1e6,-2\n", "column loss is '-2' in row 3"),
        (GOOD + "3e5,1e6,nan\n", "column loss is .* in row 3"),
        (GOOD + "3e5,1e6,inf\n", "column loss is 'inf' in row 3"),
        (GOOD + "3e5,1e6,\n", "column loss is empty in row 3"),
        (GOOD + "0,1e6,3\n", "column params is '0' in row 3"),
        (GOOD + "3e5,-1,3\n", "column tokens is '-1' in row 3"),
        ("params,tokens,loss,flops\n1,2,3,x\n", "column flops is 'x' in row 1"),
        ("params,tokens,loss,status\n1,2,,diverged\n", "diverged"),
    ],
)
def test_bad_tables_get_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    """A bad table is a ValueError of one line that names the place and what stands there."""
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is a ValueError with the path."""
    with pytest.raises(ValueError, match=r"there is no file .*none\.csv"):
        read_table(tmp_path / "none.csv")


def test_renaming_and_diverged_rows(tmp_path: Path) -> None:
    """Columns are renamed on request, theirs winning; diverged rows are dropped, the rest stay numbered."""
    path = tmp_path / "runs.csv"
    path.write_text(
        "N,D,loss,ppl,status\n1e5,1e6,9,3.5,finished\n2e5,1e6,,,diverged\n3e5,1e6,9,3.0,finished\n"
    )
    frame, dropped = read_table(path, ["N=params", "D=tokens", "ppl=loss"])
    assert list(frame["loss"]) == [3.5, 3.0]
    assert list(frame.index) == [1, 3]
    assert dropped == ({"row": 2, "why": "the run diverged"},)
    assert read_any(path, {"N": "params", "D": "tokens"})[1] is None
    for bad in (["M=params"], ["N"]):
        with pytest.raises(ValueError, match="rename"):
            read_table(path, bad)


def test_file_and_frame_agree(tmp_path: Path) -> None:
    """A table read from a file fits as the frame that it was written from."""
    table = sweep(surface(), noise=0.01)
    table.to_csv(tmp_path / "runs.csv", index=False)
    frame, dropped = read_table(tmp_path / "runs.csv")
    from_file = fit_report(frame, bootstrap=0, dropped=dropped).to_json()
    from_frame = fit_report(table, bootstrap=0).to_json()
    assert from_file["approach2"]["a"] == pytest.approx(from_frame["approach2"]["a"], abs=1e-12)
    assert from_file["rows"] == from_frame["rows"]


def test_bad_frames_are_refused() -> None:
    """Frames are checked like files: no rows, no columns, no such convention, ragged columns."""
    table = sweep(surface())
    with pytest.raises(ValueError, match="empty"):
        fit_report(table.head(0))
    with pytest.raises(ValueError, match="lacks params_non_embedding"):
        fit_report(table, convention="6ND_non_embedding")
    with pytest.raises(ValueError, match="no convention 'kaplan'"):
        fit_report(table, convention="kaplan")
    with pytest.raises(ValueError, match="equally long"):
        fit_report({"params": [1, 2], "tokens": [1], "loss": [1]})
    with pytest.raises(ValueError, match="approaches are 1, 2 and 3"):
        fit_report(table, approaches=(4,))
