"""Tables that nobody would write on purpose: never a traceback, a NaN or a row that is lost."""

import csv
import gzip
import io
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minichin.fit import FitError
from minichin.fit.read import read_table
from minichin.fit.report import fit_report
from minichin.fit.table import points

WORDS = ["params", "tokens", "loss", "val_loss", "flops", "budget", "steps", "status", "spec_hash", "N"]
WORDS += ["diverged", "1e5", "3.25", "-1", "nan", "inf", "1e999", "1_0", "70B", "3,5", "", " ", '"', '""']
WORDS += [",", "\t", ";", "\n", "\r\n", "\r", "#", "\ufeff", "\0", "é", "\u2028", "1" * 400, "9" * 20]


def held(data: bytes) -> None:
    """Hold what the reader makes of a file's bytes against what must be true of any.

    Either a ValueError of one printable line, or finite numbers in which every data row of the file, as the
    csv module alone counts them, is there or is listed as left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        path.write_bytes(data)
        try:
            frame, dropped = read_table(path)
            refused = ""
        except ValueError as error:
            refused = str(error)
    if refused:
        assert refused.isprintable()
        assert len(refused) < 6000
        return
    checked = points(frame)
    assert np.isfinite([checked.log_n, checked.log_d, checked.log_c, checked.loss]).all()
    gone = {int(str(entry["row"])) for entry in (*dropped, *checked.dropped)}
    rows = {int(row) for row in checked.row}
    assert not rows & gone
    assert rows | gone == set(range(1, data_rows(data) + 1))


def data_rows(data: bytes) -> int:
    """How many rows the text has below its header, by the csv module alone."""
    text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    lines = io.StringIO(text, newline="").readlines()
    first = next(i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))
    separator = next((s for s in ",\t;" if s in lines[first]), ",")
    rows = csv.reader(lines[first:], delimiter=separator, skipinitialspace=True)
    return sum(len(cells) > 1 or any(map(str.strip, cells)) for cells in rows) - 1


ROW = st.lists(st.sampled_from(["1e5", "3.25", "2", "70B", "", '"a"', "diverged", "finished"]), max_size=6)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Text that has much of a table of runs, and some of anything."""
    separator, end = draw(st.sampled_from(",\t;")), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    extra = draw(st.lists(st.sampled_from(["status", "spec_hash", "flops", "note", ""]), max_size=3))
    lines = [["params", "tokens", "loss", *extra], *draw(st.lists(ROW, max_size=6))]
    text = draw(st.sampled_from(["", "# runs\n", "\ufeff", "\n"])) + end.join(map(separator.join, lines))
    for word in draw(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=4)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + word + text[at:]
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16"])), "surrogatepass")
    return gzip.compress(data, mtime=0) if draw(st.integers(0, 9)) == 9 else data


@settings(max_examples=300, deadline=None)
@given(files() | st.binary(max_size=60))
@example(b'params\ttokens\tloss\n"1";2\t3\t4\n')
@example(b'\n\n\n""')
@example(b'""\nparams,tokens,loss\n1,2,3\n')
def test_any_file_is_read_whole_or_refused_in_one_line(data: bytes) -> None:
    """Whatever a file holds: one printable line of a ValueError, or every row as numbers or as left out."""
    held(data)


values = st.floats(1e-140, 1e140)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=20), st.sampled_from(",;\t"))
def test_numbers_survive_the_file(rows: list[tuple[float, float, float]], separator: str) -> None:
    """Numbers written by Python come back bit for bit, in order."""
    lines = ["params,tokens,loss", *(",".join(map(repr, row)) for row in rows)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        path.write_text("\n".join(lines).replace(",", separator))
        frame, dropped = read_table(path)
    assert dropped == ()
    assert [tuple(row) for row in frame[["params", "tokens", "loss"]].to_numpy()] == rows


def numbers(value: object) -> list[float]:
    """Every float inside of a JSON value."""
    if isinstance(value, dict):
        return [x for v in value.values() for x in numbers(v)]
    if isinstance(value, list):
        return [x for v in value for x in numbers(v)]
    return [value] if isinstance(value, float) else []


RUN = st.tuples(
    st.sampled_from([1e4, 2e4, 5e4, 1e5, 1e9]),
    st.floats(1e-3, 1e30),
    st.floats(1e-6, 1e4),
    st.sampled_from([1e11, 1e12]),
)
OPTIONS = st.fixed_dictionaries(
    {
        "resample": st.sampled_from([None, "noise", "rows", "seeds", "budgets"]),
        "interval": st.sampled_from(["percentile", "bca"]),
        "hull": st.booleans(),
        "method": st.sampled_from(["window", "parabola", "cubic", "shared"]),
        "loss": st.sampled_from(["huber", "squares", "absolute"]),
    }
)


#: Found by trying some hundred tables: numbers that left float64 on the way.
FAR_APART = [(1e9, 60.0, 5e-6), (2e4, 2e20, 0.004), (1e5, 3e22, 1e3), (2e4, 600.0, 800.0)]
FAR_APART += [(5e4, 4e21, 1.0), (1e4, 1e5, 6e-4)]
VALLEYS = [
    (1e5, 7e24, 200.0, 1e12),
    (1e9, 1e11, 4e-4, 1e12),
    (1e9, 7e29, 0.04, 1e11),
    (1e4, 9e26, 90.0, 1e12),
]
VALLEYS += [(1e4, 2e5, 40.0, 1e11), (1e5, 1.0, 0.004, 1e12), (5e4, 4e24, 8.0, 1e11)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([(*run, 1e11) for run in FAR_APART], False, {})
@example(VALLEYS, True, {"method": "shared"})
@given(st.lists(RUN, min_size=1, max_size=24), st.booleans(), OPTIONS)
def test_no_table_gives_nan(runs: list[tuple[float, ...]], budgets: bool, options: dict[str, object]) -> None:
    """Whatever positive numbers a table holds, by any options: a report in finite numbers, or FitError."""
    table = pd.DataFrame(runs, columns=["params", "tokens", "loss", "budget"])
    table = table if budgets else table.drop(columns="budget")
    try:
        report = fit_report(table, bootstrap=30, **options)  # type: ignore[arg-type]
    except FitError:
        return
    found = report.to_json()
    json.dumps(found, allow_nan=False)
    assert all(math.isfinite(x) for x in numbers(found))
    told = {int(str(entry["row"])) for entry in report.dropped}
    assert told <= set(range(1, len(table) + 1))
    assert "nan" not in report.text().lower()


@pytest.mark.parametrize("column", ["params", "tokens", "loss"])
@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, -np.inf, "", "x", None, True, 1e200, 1e-200, b"1"])
def test_frames_are_refused_like_files(column: str, value: object) -> None:
    """A value that is no positive number is a ValueError that names column and row, whatever its type."""
    table = pd.DataFrame({"params": [1e5, 2e5], "tokens": [1e6, 2e6], "loss": [3.0, 2.9]}).astype(object)
    table.loc[1, column] = value
    with pytest.raises(
        ValueError, match=rf"^column {column} is [^\n]* in row 2: it must be a positive number"
    ):
        points(table)
