"""Sweeps on Ray: clusters of several nodes on this machine, whose workers and nodes are killed on the way."""

import dataclasses
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import minichin
from minichin import sweep
from minichin.cli import run
from minichin.corpus import Corpus
from minichin.jobs import Message
from minichin.on_ray import RayPool
from minichin.plan import RunSpec
from minichin.ray_cluster import import_ray
from minichin.ray_worker import Letter
from minichin.runs import Store
from minichin.train import train
from minichin.unfinished import Unfinished
from tests.test_sweep import LONG_STEPS, long_specs, specs

if importlib.util.find_spec("ray") is None:
    pytest.skip(
        "NOT TESTED: sweeps on Ray; ray is not installed (its wheels: Linux on x86-64 and Arm, macOS on Arm)",
        allow_module_level=True,
    )
import_ray()  # before anything else imports it, so that it is as quiet as for users
from ray._private.node import Node  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

# Ray leaves sockets and processes to the garbage collector when a cluster goes.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

# A driver of its own, with a Ray of its own.
DRIVER = """
import sys
from minichin import sweep
from tests import test_sweep
sweep.sweep(test_sweep.long_specs(), sys.argv[1], workers=2, engine="torch", on="ray")
"""
LIMIT = 120
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def nodes_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What nodes find first on their path: their own minichin, a copy of this one.

    Beside it one of Jupyter's packages is blocked, which Ray imports by way of jsonschema if it is there, and
    which takes each of Ray's many processes two seconds.
    """
    folder = tmp_path_factory.mktemp("nodes")
    shutil.copytree(Path(minichin.__file__).parent, folder / "minichin")
    (folder / "rfc3987_syntax.py").write_text("raise ImportError('blocked')\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    yield folder
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def patiently(start: Callable[[], object]) -> None:
    """Start a node; again where it fails, for Ray gives it 30 seconds, which a busy machine may not."""
    for _ in range(2):
        try:
            start()
            return
        except Exception as error:
            print(error)
    start()


@pytest.fixture(scope="module")
def cluster(nodes_path: Path) -> Iterator[Cluster]:
    """A head, where only the driver is, and two nodes of one core."""
    # A node is dead when it did not answer three times in a row, once a second.
    checks = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": checks}
    made = Cluster()
    patiently(lambda: made.add_node(**head))
    for _ in range(2):
        patiently(lambda: made.add_node(num_cpus=1))
    yield made
    made.shutdown()


def several() -> list[RunSpec]:
    """Six runs of a second or two."""
    return [dataclasses.replace(spec, steps=800) for spec in specs()[:6]]


def after(count: int, store: Store, act: Callable[[], object]) -> threading.Thread:
    """Do `act` in a thread when so many records are there, and the runs that begin then are on their way."""

    def watch() -> None:
        deadline, reader = time.monotonic() + LIMIT, Store(store.folder)
        while len(reader.records()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def kill_a_worker(node: Node) -> None:
    """Kill the process that trains on a node."""
    for process in psutil.Process(node.all_processes["raylet"][0].process.pid).children():
        if "train_task" in " ".join(process.cmdline()):
            process.kill()


def as_trained_here(store: Store, wanted: list[RunSpec], text: Corpus) -> bool:
    """Whether the store holds each of these runs once, as `train` in this process gives it, bit for bit."""
    lines, known = store.file.read_text().splitlines()[1:], store.by_key()
    return len(lines) == len(known) == len(wanted) and all(
        train(spec, text, engine="torch").same_result(known[spec.spec_hash]) for spec in wanted
    )


@pytest.mark.usefixtures("one_thread")
def test_a_worker_and_a_node_are_lost(cluster, tmp_path, text, capfd):
    """A worker and then a node killed in the middle of a sweep change nothing in its records.

    All runs are there, each once, with the losses that they have on this machine, bit for bit; the runs that
    were lost are told, and nothing of Ray's own is printed.
    """
    store = Store(tmp_path)
    one, other = cluster.worker_nodes
    first = after(1, store, lambda: kill_a_worker(one))
    second = after(3, store, lambda: cluster.remove_node(other, allow_graceful=False))
    sweep.sweep(several(), store, engine="torch", on="ray", ray_address=cluster.address)
    first.join()
    second.join()
    assert as_trained_here(store, several(), text)
    assert not Unfinished(store).folder.exists()
    printed, told = capfd.readouterr()
    assert printed == ""
    assert "Ray: 3 nodes, 2 cores" in told
    ours = ("Ray: ", "[", "a worker was lost (")
    assert [line for line in told.splitlines() if not line.startswith(ours)] == []
    assert 1 <= told.count(" again, ") <= 4  # on a busy machine, one of the two dies between its runs


def interrupted(store: Store) -> tuple[str, str]:
    """What a driver prints that is interrupted after its first record; none of its processes is left."""
    for _ in range(3):  # see `patiently`
        with subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(store.folder)],
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as driver:
            while driver.poll() is None and not store.records():
                time.sleep(0.05)
            if store.records():
                time.sleep(0.2)  # until it is told, too
                rays = psutil.Process(driver.pid).children(recursive=True)
                os.killpg(driver.pid, signal.SIGINT)
                told = driver.communicate(timeout=LIMIT)
                assert psutil.wait_procs(rays, timeout=30)[1] == []
                return told
    raise AssertionError("no Ray started here")


@pytest.mark.usefixtures("one_thread")
def test_interrupted_here_and_taken_up_elsewhere(cluster, tmp_path, text, capfd):
    """Ctrl-C saves the runs that a Ray on this machine trains, and ends it; another Ray goes on with them.

    The interrupt goes to Ray's processes, too, as in a terminal. The run that was taken up ends as an
    undisturbed one does, bit for bit.
    """
    store = Store(tmp_path)
    printed, told = interrupted(store)
    assert printed == ""
    notes, _, _ = told.partition("Traceback")
    assert [line.split()[0] for line in notes.splitlines()] == ["Ray:", "[1/2]", "saving"]
    assert "KeyboardInterrupt" in told
    unfinished = Unfinished(store)
    assert [0 < run.step < LONG_STEPS for run in unfinished.begun(long_specs()).values()] == [True]
    sweep.sweep(long_specs(), store, engine="torch", on="ray", ray_address=cluster.address)
    assert "going on after step" in capfd.readouterr().err
    assert as_trained_here(store, long_specs(), text)
    assert not unfinished.folder.exists()


def test_a_failing_run_is_not_tried_again(cluster, tmp_path, capfd):
    """A run that fails in training ends the sweep with its error, at once."""
    bad = dataclasses.replace(specs()[0], valid_tokens=16)
    with pytest.raises(sweep.SweepError, match=r"width 8 at 1e\+09 FLOPs, seed 0: ValueError: corpus 'help'"):
        sweep.sweep([bad], tmp_path, on="ray", ray_address=cluster.address)
    assert "again" not in capfd.readouterr().err


def test_late_words_of_a_lost_attempt_are_not_heard(cluster, tmp_path):
    """What comes from an attempt that no longer counts is neither passed on nor kept."""
    pool = RayPool([], checkpoints=tmp_path, cores=1, per_gpu=8, address=cluster.address)
    try:
        letter = Letter(7, Message("stopped", "key"), {"key.npz": b"state"})
        assert pool.ray.get(pool.mailbox.post.remote(letter)) is False
        assert pool.wait(10.0) == []
    finally:
        pool.close()
    assert list(tmp_path.iterdir()) == []


def test_another_minichin_on_a_node_is_refused(cluster, nodes_path, tmp_path):
    """A node whose minichin differs in a single line trains nothing, and the sweep says what to do."""
    with (nodes_path / "minichin" / "train.py").open("a") as file:
        file.write("# another line\n")
    with pytest.raises(ValueError, match="is another one than here; install the same minichin on all nodes"):
        sweep.sweep(specs(), tmp_path, on="ray", ray_address=cluster.address, progress=False)
    assert Store(tmp_path).records() == []


def test_a_cluster_without_gpus_is_told(cluster, tmp_path):
    """Asked for GPUs that no node has, the sweep says so before it begins."""
    with pytest.raises(ValueError, match=r"the Ray cluster at .* has no GPU; use --device cpu"):
        sweep.sweep(specs(), tmp_path, device="cuda", on="ray", ray_address=cluster.address, progress=False)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "127.0.0.1", "ray://127.0.0.1:10001", "127.0.0.1:123456"])
def test_an_address_where_no_cluster_is(address, tmp_path, capsys):
    """A wrong address is refused in one line that says how to get one."""
    words = ["sweep", "--profile", "smoke", "--store", str(tmp_path), "--quiet"]
    assert run([*words, "--on", "ray", "--ray-address", address]) == 2
    told = capsys.readouterr().err
    assert address in told
    assert told.endswith("`ray start --head` starts one, and prints its address\n")
    assert told.count("\n") == 1


def test_an_address_where_something_else_answers(tmp_path):
    """A server that does not speak Ray's protocol is told from a cluster."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            line.recv(99)
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            line.close()

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError, match=rf"what answers at --ray-address {address} is no Ray cluster"):
            sweep.sweep(specs(), tmp_path, on="ray", ray_address=address, progress=False)


def test_without_ray(tmp_path):
    """Where ray is not installed, one line says how to install it."""
    code = "import sys; sys.modules['ray'] = None; from minichin.cli import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "sweep", "--profile", "smoke", "--store", str(tmp_path), "--on", "ray"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == 'minichin: --on ray needs the package ray: pip install "minichin[ray]"\n'


def test_an_address_needs_ray(tmp_path):
    """An address without --on ray, or an unknown place, is a mistake that is told."""
    for on, address in (("local", "127.0.0.1:6379"), ("mars", None)):
        with pytest.raises(ValueError, match="--ray-address needs --on ray"):
            sweep.sweep(specs(), tmp_path, on=on, ray_address=address, progress=False)
