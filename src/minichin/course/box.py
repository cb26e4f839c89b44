"""Run one command with bounds on what it uses and, where Linux permits, with nothing of the machine in sight.

`python box.py CONFIG.json COMMAND…` sets limits on memory, CPU seconds, file sizes and processes, then runs
the command. With "namespaces" it first enters user, mount, network, process and IPC namespaces of its own:
no network at all; a root that holds only what is named under "readonly", empty folders in memory, and
the folder of the kernel's sockets; no capabilities. Only the standard library, since it runs before
anything else.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

NEW_MOUNT, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
NOSUID, NODEV, NOEXEC, BIND, REC, PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
DETACH = 2
NO_BOX = 125
NOBODY = 65534
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000  # the call's number is the same on every CPU
RDONLY_NOSUID = 1 | 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SET_DEATH_SIGNAL, DROP_BOUND, NO_NEW_PRIVILEGES = 1, 24, 38
SOCKETS = 5  # of a kernel
HOME = "/home/student"
DEVICES = ("null", "zero", "full", "random", "urandom")


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if x is None else x.encode() for x in (source, str(target), kind, data)]
    result = _libc().mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    _call(result, f"mount {target}")


def _bind(source: Path, root: Path, *, readonly: bool = True) -> None:
    """Show `source` at the same place under `root`."""
    target = root / str(source).lstrip("/")
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(source), target, None, BIND | REC)
    if readonly:
        _protect(target)


def _protect(target: Path) -> None:
    """Make what is mounted at `target` read-only."""
    attributes = struct.pack("QQQQ", RDONLY_NOSUID, 0, 0, 0)
    result = _libc().syscall(
        MOUNT_SETATTR, AT_FDCWD, str(target).encode(), AT_RECURSIVE, attributes, len(attributes)
    )
    _call(result, f"make {target} read-only")


def _build_root(config: dict[str, Any]) -> None:
    """Mount the new root and make it this process's."""
    root = Path(config["root"])
    _mount("none", Path("/"), None, REC | PRIVATE)
    _mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=16m,mode=755")
    size = f"size={config['disk'] >> 20}m"
    for name in ("tmp", HOME[1:], "dev/shm"):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        _mount("tmpfs", folder, "tmpfs", NOSUID | NODEV, size)
    for name in config["readonly"]:
        path = Path(name)
        target = root / name.lstrip("/")
        if path.is_symlink():  # /lib -> usr/lib
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(os.readlink(path))
            end = path.resolve()  # of /lib it is there already; of a linked environment it is not
            if end.exists() and not (root / str(end).lstrip("/")).exists():
                _bind(end, root)
        elif path.exists() and not target.exists():
            _bind(path, root)
    for name in DEVICES:
        _bind(Path("/dev") / name, root, readonly=False)
    for item in Path(config["files"]).iterdir():
        copy = shutil.copytree if item.is_dir() else shutil.copy
        copy(item, root / HOME[1:] / item.name)
    if config["root_user"]:
        for path in (root / HOME[1:], *(root / HOME[1:]).rglob("*")):
            os.chown(path, 1, 1)
        for path in (root / "tmp", root / "dev/shm"):
            path.chmod(0o1777)
    _bind(Path(config["sockets"]), root, readonly=False)
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text(f"student:x:0:0::{HOME}:/bin/sh\n")
    (root / "proc").mkdir(exist_ok=True)
    with suppress(OSError):  # forbidden inside some containers; Python does without
        _mount("proc", root / "proc", "proc", NOSUID | NODEV | NOEXEC)
    os.chdir(root)
    _call(_libc().syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _call(_libc().umount2(b".", DETACH), "leave the old root")
    os.chdir(HOME)


def enter(report: int) -> None:
    """Enter new namespaces and report it; the namespace of processes is that of the next child."""
    flags = NEW_USER | NEW_MOUNT | NEW_NET | NEW_IPC | NEW_PID | NEW_UTS
    _call(_libc().unshare(flags), "unshare")
    os.write(report, b"in")


def _map_users(pid: int) -> None:
    """Let the box's root be this user, and where that is root, its user 1 be nobody."""
    uid, gid = os.getuid(), os.getgid()
    proc = Path(f"/proc/{pid}")
    if uid:
        (proc / "setgroups").write_text("deny")
    (proc / "uid_map").write_text(f"0 {uid} 1\n" + ("" if uid else f"1 {NOBODY} 1\n"))
    (proc / "gid_map").write_text(f"0 {gid} 1\n" + ("" if uid else f"1 {NOBODY} 1\n"))


def limit(config: dict[str, Any], *, processes: bool) -> None:
    """Set the limits of this process and its children."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: config["memory"],
        resource.RLIMIT_FSIZE: config["disk"],
        resource.RLIMIT_CPU: config["cpu"],
        resource.RLIMIT_NOFILE: 512,
    }
    if processes:  # outside of a user namespace this would count everything that the user runs
        limits[resource.RLIMIT_NPROC] = config["processes"]
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (OSError, ValueError):
            if sys.platform != "darwin":  # which has no limit on address space
                raise


def _inside(config: dict[str, Any], command: list[str]) -> NoReturn:
    """As the first process of the new namespaces: the new root, no capability, then the command."""
    libc = _libc()
    die_with_parent()
    try:
        _build_root(config)
        for capability in range(64):
            libc.prctl(DROP_BOUND, capability, 0, 0, 0)
        _call(libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
        limit(config, processes=True)
        if config["root_user"]:
            os.setgroups([])
            os.setresgid(1, 1, 1)
            os.setresuid(1, 1, 1)
            die_with_parent()  # the system forgets it when the user changes
        os.execve(command[0], command, config["environment"])
    except (OSError, KeyError) as error:
        print(f"box: {error}", file=sys.stderr, flush=True)
        os._exit(NO_BOX)


def main(arguments: list[str]) -> int:
    """Run the command in the box; status 125 where the box cannot be built."""
    config: dict[str, Any] = json.loads(Path(arguments[0]).read_text("utf-8"))
    command = arguments[1:]
    die_with_parent()
    if not config["namespaces"]:
        os.chdir(config["files"])
        limit(config, processes=False)
        os.execve(command[0], command, config["environment"])
    config["root_user"] = os.getuid() == 0
    if config["root_user"]:  # the kernel will be nobody, and must reach its own sockets
        for path in (Path(config["sockets"]), *Path(config["sockets"]).iterdir()):
            os.chown(path, NOBODY, NOBODY)
    entered, mapped = os.pipe(), os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(mapped[1])
        _keep(config, command, entered[1], mapped[0])
    os.close(entered[1])
    if os.read(entered[0], 2):
        try:
            _map_users(keeper)
            os.write(mapped[1], b"on")
        except OSError as error:
            print(f"box: {error}", file=sys.stderr)
            os.kill(keeper, signal.SIGKILL)
    os.close(mapped[1])
    return _wait(keeper, config["memory"])


def _keep(config: dict[str, Any], command: list[str], entered: int, mapped: int) -> NoReturn:
    """Enter the namespaces, and wait for the command in them."""
    die_with_parent()
    try:
        enter(entered)
    except OSError as error:
        print(f"box: {error}", file=sys.stderr, flush=True)
        os._exit(NO_BOX)
    if not os.read(mapped, 2):
        os._exit(NO_BOX)
    child = os.fork()
    if child == 0:
        _inside(config, command)
    _close_sockets(Path(config["sockets"]), child)
    os._exit(_wait(child))


def _close_sockets(folder: Path, child: int) -> None:
    """Once the kernel listens, and before it runs anything, make the folder of its sockets read-only.

    This process shares the command's mounts, and so has its root. Without this the disk could be filled.
    """
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        with suppress(OSError):
            if len([path for path in folder.iterdir() if path.is_socket()]) >= SOCKETS:
                _protect(folder)
                return
        time.sleep(0.02)


def _wait(child: int, memory: int = 0) -> int:
    """Wait for a child that signals reach as they reach this process; its exit status.

    With `memory` the child is ended when all that descend from it take more bytes than that together.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the group gets it, and so the child
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    turns = 0
    while True:
        ended, status = os.waitpid(child, os.WNOHANG if memory else 0)
        if ended:
            return os.waitstatus_to_exitcode(status) & 0xFF
        time.sleep(0.02)
        turns += 1
        if turns % 25 == 0 and _resident(child) > memory:
            print(f"box: all processes together took more than {memory >> 20} megabytes", file=sys.stderr)
            os.kill(child, signal.SIGKILL)
            memory = 0


def _resident(root: int) -> int:
    """Bytes that the descendants of a process have in memory; what they share counts once."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    family = {root}
    grown = True
    while grown:
        new = {pid for pid, parent in parents.items() if parent in family} - family
        grown = bool(new)
        family |= new
    total = 0
    for pid in family - {root}:
        with suppress(OSError, ValueError, IndexError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def die_with_parent() -> None:
    """Let the system end this process when the one that started it ends."""
    if sys.platform == "linux":
        _libc().prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
