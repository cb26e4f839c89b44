"""The runs store: atomic, resumable, shared by writers, and strict about what it reads."""

import json
import multiprocessing as mp
import random
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from minichin.plan import make_spec
from minichin.runs import (
    CURVE_COLUMNS,
    TABLE_COLUMNS,
    Evaluation,
    RunRecord,
    Store,
    default_store,
    merge,
    open_store,
)


def record(seed: int = 0, loss: float | None = 2.5, width: int = 16, **changes) -> RunRecord:
    """A record made by hand."""
    values = {
        "spec": make_spec(1e11, width, seed=seed),
        "val_loss": loss,
        "curve": (Evaluation(200, 3.0, 3.1), Evaluation(2000, 2.6, 2.55)),
        "status": "diverged" if loss is None else "finished",
        "stopped_at": 2000,
        "seconds": 1.5,
        "device": "cpu: test",
        "versions": {"torch": "2"},
        "corpus_sha256": "ab",
    }
    return RunRecord(**{**values, **changes})


def test_round_trip(tmp_path):
    """What is appended is read back equal, by another Store object."""
    store = Store(tmp_path / "s")
    assert store.append(record(0))
    assert store.append(record(1, loss=None))
    assert Store(tmp_path / "s").records() == [record(0), record(1, loss=None)]


def test_appending_twice_keeps_one(tmp_path):
    """The same run is kept once, whatever its wall-clock time; another result under its key is refused."""
    store = Store(tmp_path)
    store.append(record(0))
    assert not store.append(record(0, seconds=99.0))
    with pytest.raises(ValueError, match="with another result"):
        store.append(record(0, loss=2.4))
    assert len(store.records()) == 1


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_a_torn_line_is_skipped_sealed_and_counted(tmp_path, cut):
    """A record cut off at any point loses only itself; the next append goes on cleanly."""
    store = Store(tmp_path)
    store.append(record(0))
    store.append(record(1))
    whole = store.file.read_bytes()
    store.file.write_bytes(whole[:-cut] if cut > 1 else whole[:-2])
    again = Store(tmp_path)
    assert [r.spec.seed for r in again.records()] == [0]
    assert again.torn_lines == 1
    again.append(record(1))
    again.append(record(2))
    assert [r.spec.seed for r in Store(tmp_path).records()] == [0, 1, 2]


def test_a_record_without_its_newline_is_whole(tmp_path):
    """Losing only the last newline loses no record once the next one is written."""
    store = Store(tmp_path)
    store.append(record(0))
    store.file.write_bytes(store.file.read_bytes()[:-1])
    again = Store(tmp_path)
    again.append(record(1))
    assert [r.spec.seed for r in Store(tmp_path).records()] == [0, 1]


def _write_many(folder, seeds):
    store = Store(folder)
    for seed in seeds:
        store.append(record(seed))


def test_several_writers(tmp_path):
    """Four processes appending at once lose nothing and duplicate nothing."""
    context = mp.get_context("spawn")
    jobs = [
        context.Process(target=_write_many, args=(tmp_path, range(10 * i, 10 * i + 20))) for i in range(4)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
        assert job.exitcode == 0
    store = Store(tmp_path)
    assert sorted(r.spec.seed for r in store.records()) == list(range(50))
    assert store.torn_lines == 0


def test_another_version_is_refused(tmp_path):
    """A store of another format is refused with both numbers, and left as it is."""
    (tmp_path / "runs.jsonl").write_text('{"minichin_store": 99}\n')
    with pytest.raises(ValueError, match=r"written in store format 99, this minichin reads 1"):
        Store(tmp_path)
    assert (tmp_path / "runs.jsonl").read_text() == '{"minichin_store": 99}\n'


def test_other_files_are_refused(tmp_path):
    """A file that is no store is refused and not overwritten."""
    (tmp_path / "runs.jsonl").write_text("params,tokens\n")
    with pytest.raises(ValueError, match="is not a minichin runs store"):
        Store(tmp_path)


def test_changed_records_are_refused(tmp_path):
    """A record whose spec was edited no longer fits its key; the error names file and line."""
    store = Store(tmp_path)
    store.append(record(0))
    store.file.write_text(store.file.read_text().replace('"seed":0', '"seed":7'))
    with pytest.raises(ValueError, match=r"runs.jsonl, line 2: record \w+ does not hash to its key"):
        Store(tmp_path).records()


def test_a_folder_that_cannot_be_written(tmp_path):
    """A store below a file is refused in one line that names the folder and the cure."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write a runs store in .*file/s.*--store"):
        Store(tmp_path / "file" / "s")


def test_missing_store(tmp_path):
    """Opening a store that is not there says so and creates nothing."""
    with pytest.raises(ValueError, match=r"no runs store at .*run a sweep first"):
        open_store(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_tables(tmp_path):
    """Tables have the declared columns, one row a run and one row an evaluation, budgets rising."""
    store = Store(tmp_path)
    for seed, width in ((0, 24), (0, 16), (1, 16)):
        store.append(record(seed, width=width))
    store.append(record(2, loss=None))
    table, curves = store.table(), store.curves()
    assert list(table.columns) == list(TABLE_COLUMNS)
    assert list(curves.columns) == list(CURVE_COLUMNS)
    assert list(table.width) == [16, 16, 16, 24]
    assert (
        table.val_loss.isna().tolist() == (table.status == "diverged").tolist() == [False, False, True, False]
    )
    assert len(curves) == 8
    last = curves[curves.spec_hash == table.spec_hash[0]].iloc[-1]
    assert last.tokens == 2000 * 256
    assert last.flops == pytest.approx(table.flops[0] * 2000 / table.steps[0])
    row = table.iloc[-1]
    assert row.flops == pytest.approx(row.budget, rel=0.01)


def test_merge(tmp_path):
    """Merging keeps every run once; a conflict is refused."""
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    for seed in (0, 1):
        a.append(record(seed))
    for seed in (1, 2):
        b.append(record(seed))
    assert merge([a, b], tmp_path / "c") == 3
    assert merge([a, b], tmp_path / "c") == 0


def test_a_merge_with_conflicts_writes_nothing(tmp_path):
    """Conflicts, with the target or between sources, are counted, the first is named, nothing is written."""
    into, a, b = (Store(tmp_path / name) for name in ("into", "a", "b"))
    into.append(record(0))
    for seed in (3, 0, 1):
        a.append(record(seed, loss=2.0))
    b.append(record(1))
    before = into.file.read_bytes()
    first = record(0).key
    with pytest.raises(
        ValueError,
        match=rf"^2 runs have .* first {first} \(2\.5 in \S+into, 2\.0 in \S+a\); nothing was written; .*$",
    ):
        merge([a, b], into.folder)
    with pytest.raises(ValueError, match=r"^1 run has different results"):
        merge([a, b], tmp_path / "fresh")
    assert into.file.read_bytes() == before
    assert not (tmp_path / "fresh").exists()


def test_records_that_come_together_are_added_together(tmp_path):
    """`extend` adds what is new and counts it; one conflict, and none of its records is added."""
    store = Store(tmp_path)
    store.append(record(0))
    assert store.extend([record(0), record(1), record(2), record(2)]) == 2
    with pytest.raises(ValueError, match="with another result"):
        store.extend([record(3), record(1, loss=2.0)])
    assert [r.spec.seed for r in Store(tmp_path).records()] == [0, 1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files between open and with
def test_an_interrupted_write_takes_nothing_back(tmp_path):
    """Ctrl-C at any moment of an append leaves no record, or one that stays for readers who saw it."""

    def interrupt(*_):
        raise KeyboardInterrupt

    rng, before = random.Random(0), signal.signal(signal.SIGALRM, interrupt)
    reader, done, interrupts = Store(tmp_path), threading.Event(), 0

    def watch():
        while not done.is_set():
            reader.by_key()

    with ThreadPoolExecutor(1) as aside:
        watching = aside.submit(watch)
        try:
            for seed in range(300):
                writer = Store(tmp_path)
                try:
                    signal.setitimer(signal.ITIMER_REAL, rng.uniform(2e-5, 2e-3))
                    writer.append(record(seed))
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except KeyboardInterrupt:
                    interrupts += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            done.set()
        watching.result()
    assert interrupts > 10
    assert reader.by_key() == Store(tmp_path).by_key()
    assert reader.torn_lines == 0


def test_a_write_that_fails_leaves_the_store_as_it_was(tmp_path):
    """Where the disk takes no more, half-written records are cut off again, and one line says why."""
    store = Store(tmp_path)
    store.append(record(0))
    before = store.file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
    try:
        with pytest.raises(ValueError, match=r"^cannot write to .*; what was there is unchanged$"):
            store.extend([record(seed) for seed in range(1, 5)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.file.read_bytes() == before
    assert store.extend([record(1)]) == 1


def test_impossible_records():
    """A finished run has a finite loss, a diverged one none."""
    with pytest.raises(ValueError, match="does not go with loss"):
        record(0, loss=None, status="finished")
    with pytest.raises(ValueError, match="not finite"):
        record(0, loss=float("nan"))


def test_ten_thousand_records(tmp_path):
    """A large store is written at once and read back whole; its tables hold every run and evaluation."""
    store = Store(tmp_path)
    assert store.extend(record(seed) for seed in range(10_000)) == 10_000
    again = Store(tmp_path)
    assert len(again.table()) == 10_000
    curves = again.curves()
    assert len(curves) == 20_000
    assert curves.groupby("spec_hash")["step"].apply(list).map(tuple).unique().tolist() == [(200, 2000)]


def test_default_stores(monkeypatch, tmp_path):
    """MINICHIN_RUNS moves the stores; `published` is the package's own."""
    monkeypatch.setenv("MINICHIN_RUNS", str(tmp_path))
    assert default_store("cpu") == tmp_path / "cpu"
    assert default_store("published").name == "published"
    with pytest.raises(ValueError, match="unknown profile"):
        default_store("nope")


def test_lines_are_json():
    """A stored line is plain JSON with the key first, so other tools can read it."""
    values = json.loads(record(0).to_line())
    assert next(iter(values)) == "key"
    assert values["key"] == record(0).key
