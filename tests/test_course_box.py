"""The box in which a notebook runs: what it hides, what it limits, what it tells."""

import json
import os
import pwd
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minichin.course import box, sandbox
from minichin.course.limits import Limits
from minichin.course.sandbox import have_namespaces

UNBOXED = have_namespaces()
LIMITS = Limits(cell=5, notebook=5, memory=1 << 30, disk=16 << 20, processes=32)
Box = Callable[..., subprocess.CompletedProcess[str]]
needs_namespaces = pytest.mark.skipif(bool(UNBOXED), reason=f"needs Linux namespaces: {UNBOXED}")


def _config(place: Path, limits: Limits, *, namespaces: bool) -> Path:
    """A box's configuration in the new folder `place`, by the grader's own hand."""
    (place / "course" / "source" / "x").mkdir(parents=True)
    (place / "course" / "source" / "x" / "given.csv").write_text("1,2\n")
    job: dict[str, Any] = {
        "course": str(place / "course"),
        "assignment": "x",
        "student": "mira",
        "ticket": "",
        "namespaces": namespaces,
        "readonly": [],
        "environment": {},
    }
    return sandbox.describe(place, job, limits)


@pytest.fixture
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """Runs Python code in a box; fails where it takes longer than 60 seconds."""

    def run(
        code: str, *, limits: Limits = LIMITS, namespaces: bool = not UNBOXED, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        place = tmp_path_factory.mktemp("mc")
        for folder in (place, *list(place.parents)[:2]):
            folder.chmod(0o755)
        config = _config(place, limits, namespaces=namespaces)
        command = [sys.executable, "-I", box.__file__, str(config), sys.executable, "-c", code]
        if user:
            who = pwd.getpwnam(user)
            for path in (place, *place.rglob("*")):
                os.chown(path, who.pw_uid, who.pw_gid)
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            user=user,
            group=user and who.pw_gid,
        )

    return run


@needs_namespaces
def test_a_linked_environment_is_followed(
    boxed: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment's folder is a link, what it leads to is shown as well."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "here").write_text("yes")
    (tmp_path / "site-packages").symlink_to(tmp_path / "real")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    assert (
        said(boxed(f"print(open({str(tmp_path / 'site-packages' / 'here')!r}).read() == 'yes' and 1)")) == 1
    )


def said(done: subprocess.CompletedProcess[str]) -> Any:
    """What the code printed, from JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_namespaces
def test_the_box_shows_its_own_files_and_the_package_but_nothing_beside_it(
    boxed: Box, tmp_path: Path
) -> None:
    (tmp_path / "treasure").write_text("gold")
    package = Path(sandbox.__file__).parents[1]
    clone = package.parents[1]
    hidden = [
        tmp_path / "treasure",
        clone / "notebooks",
        clone / "tests",
        clone / ".git",
        clone / "README.md",
    ]
    hidden += [Path("/etc/shadow"), Path("/etc/hostname"), Path("/dev/vda"), Path("/var/log"), Path("/sys")]
    code = f"""
import json, os, minichin.course.check as check
seen = [path for path in {list(map(str, hidden))!r} if os.path.exists(path)]
print(json.dumps([os.listdir("."), check.__file__, seen]))
"""
    files, module, seen = said(boxed(code))
    assert files == ["given.csv"]
    assert Path(module) == package / "course" / "check.py"
    assert seen == []
    assert all(path.exists() for path in hidden[:3])


@needs_namespaces
def test_what_is_installed_cannot_be_changed(boxed: Box) -> None:
    code = """
import json, os, sys, minichin, numpy
done = []
for place in [os.path.dirname(minichin.__file__), os.path.dirname(numpy.__file__), sys.prefix, "/usr"]:
    try:
        open(os.path.join(place, "x"), "w"); done.append(place)
    except OSError: pass
try:
    os.remove(minichin.__file__); done.append("removed")
except OSError: pass
open("own", "w").write("mine"); open("/tmp/own", "w").write("mine")
print(json.dumps(done))
"""
    assert said(boxed(code)) == []


@needs_namespaces
def test_there_is_no_network(boxed: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind("\0minichin-test-box")
        local.listen()
        port = server.getsockname()[1]
        code = f"""
import json, socket
def reach(family, address):
    with socket.socket(family) as s:
        s.settimeout(2)
        try: s.connect(address)
        except OSError as error: return type(error).__name__
    return "connected"
print(json.dumps([
    reach(socket.AF_INET, ("127.0.0.1", {port})), reach(socket.AF_INET, ("1.1.1.1", 53)),
    reach(socket.AF_UNIX, "\\0minichin-test-box"),
]))
"""
        assert "connected" not in said(boxed(code))
        assert said(boxed(code, namespaces=False))[0] == "connected"  # so it is the box that prevents it


@needs_namespaces
def test_there_is_no_process_to_see_or_end_and_no_right_left(boxed: Box) -> None:
    code = f"""
import json, os
def end(pid):
    try: os.kill(pid, 0)
    except OSError: return False
    return True
lines = open("/proc/self/status") if os.path.exists("/proc/self") else []
status = dict(line.split(":", 1) for line in lines)
seen = [p for p in os.listdir("/proc") if p.isdigit()] if status else ["1"]
print(json.dumps([seen, end({os.getpid()}), int(status.get("CapEff", "0"), 16)]))
"""
    assert said(boxed(code)) == [["1"], False, 0]


@needs_namespaces
def test_a_new_namespace_gives_no_rights_back(boxed: Box) -> None:
    code = """
import ctypes, json, os
libc = ctypes.CDLL(None)
libc.unshare(0x10000000 | 0x00020000)
print(json.dumps([libc.mount(b"none", b"/usr", b"tmpfs", 0, None), libc.umount2(b"/usr", 2)]))
"""
    done = boxed(code)
    assert said(done) == [-1, -1] or Path("/usr/bin").is_dir()
    assert Path("/usr/bin").is_dir()


def test_the_environment_is_the_grader_s_choice(boxed: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICHIN_TEST_SECRET", "gold")
    seen = said(boxed("import json, os; print(json.dumps(dict(os.environ)))"))
    assert "MINICHIN_TEST_SECRET" not in seen
    assert seen["MINICHIN_COURSE_USER"] == "mira"


def test_memory_has_an_end(boxed: Box) -> None:
    code = "x = []\nwhile True: x.append(bytearray(1 << 26))"
    done = boxed(code)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr


@needs_namespaces
def test_memory_of_all_processes_together_has_an_end(boxed: Box) -> None:
    code = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        x = bytearray(200 << 20); time.sleep(30)
time.sleep(30)
"""
    done = boxed(code, limits=replace(LIMITS, memory=1 << 29))
    assert done.returncode != 0
    assert "all processes together took more than 512 megabytes" in done.stderr


def test_a_file_has_an_end(boxed: Box) -> None:
    code = """
try:
    with open("large", "wb") as file:
        for _ in range(100): file.write(bytes(1 << 20))
except OSError as error:
    print("stopped")
"""
    assert boxed(code).stdout == "stopped\n"


@needs_namespaces
def test_a_folder_has_an_end(boxed: Box) -> None:
    code = """
import os
for place in (".", "/tmp", "/dev/shm"):
    try:
        for i in range(100):
            with open(os.path.join(place, str(i)), "wb") as file: file.write(bytes(1 << 20))
    except OSError as error:
        print("stopped at", i)
"""
    lines = boxed(code).stdout.splitlines()
    assert len(lines) == 3
    assert all(int(line.split()[-1]) <= 16 for line in lines)


@needs_namespaces
def test_the_number_of_processes_has_an_end(boxed: Box) -> None:
    code = """
import os, time
n = 0
try:
    while n < 100:
        if os.fork() == 0:
            time.sleep(20); os._exit(0)
        n += 1
except OSError:
    print(n)
"""
    done = boxed(code)
    assert 0 < int(done.stdout) < 32


def test_the_time_of_the_processor_has_an_end(boxed: Box, tmp_path: Path) -> None:
    config = _config(tmp_path, LIMITS, namespaces=not UNBOXED)
    config.write_text(json.dumps({**json.loads(config.read_text()), "cpu": 1}))
    command = [sys.executable, "-I", box.__file__, str(config), sys.executable, "-c", "while True: pass"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("namespaces", [pytest.param(True, marks=needs_namespaces), False])
def test_the_exit_status_is_that_of_the_command(boxed: Box, namespaces: bool) -> None:
    assert boxed("raise SystemExit(7)", namespaces=namespaces).returncode == 7
    assert boxed("pass", namespaces=namespaces).returncode == 0


@needs_namespaces
def test_a_box_that_cannot_be_built_says_so(tmp_path: Path) -> None:
    config = _config(tmp_path, LIMITS, namespaces=True)
    config.write_text(json.dumps({**json.loads(config.read_text()), "root": str(tmp_path / "none")}))
    command = [sys.executable, "-I", box.__file__, str(config), sys.executable, "-c", "print('ran')"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (box.NO_BOX, "")
    assert "box: " in done.stderr


@needs_namespaces
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_it_shuts_in_for_a_user_without_rights_as_well(boxed: Box) -> None:
    for folder in [Path(sys.executable).resolve(), *Path(sys.executable).resolve().parents]:
        if not folder.stat().st_mode & 0o001:
            pytest.skip(f"nobody else may enter {folder}")
    code = """
import json, os
try: open("/usr/x", "w"); wrote = True
except OSError: wrote = False
print(json.dumps([os.getuid(), wrote, os.listdir("."), os.path.exists("/etc/shadow")]))
"""
    done = boxed(code, user="nobody")
    if done.returncode == box.NO_BOX and "unshare" in done.stderr:
        pytest.skip(f"other users may not make namespaces here: {done.stderr.strip()}")
    assert said(done) == [0, False, ["given.csv"], False]


@needs_namespaces
def test_when_the_grader_dies_the_box_dies_with_it(tmp_path: Path) -> None:
    config = _config(tmp_path, LIMITS, namespaces=True)
    code = "import time; print('up', flush=True)\nwhile True: time.sleep(0.05)"
    command = [sys.executable, "-I", box.__file__, str(config), sys.executable, "-c", code]
    middle = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", middle, *command], stdout=subprocess.PIPE) as outer:
        assert outer.stdout
        assert outer.stdout.readline() == b"up\n"
        outer.kill()
        rest: list[bytes] = []
        reader = threading.Thread(target=lambda: rest.append(outer.stdout.read() if outer.stdout else b"?"))
        reader.start()
        reader.join(20)  # ends when the last process that can write has ended
        assert rest == [b""]
