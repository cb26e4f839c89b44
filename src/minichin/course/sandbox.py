"""What a notebook's box is told to show and to allow, and whether boxes can hide this machine here.

The box itself is `box.py`, which runs alone, before anything else, and reads what is written here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minichin.course import box, hidden
from minichin.course.lab import USER
from minichin.course.limits import Limits
from minichin.course.release import Say

CHOICES = ("auto", "namespaces", "none")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def choose_sandbox(wanted: str, say: Say) -> bool:
    """Whether to use namespaces; tells what that means."""
    if wanted not in CHOICES:
        raise ValueError(f"--sandbox {wanted!r} is none of {', '.join(CHOICES)}")
    why = "--sandbox none was asked for" if wanted == "none" else have_namespaces()
    if not why:
        say("each notebook runs without network, and sees only its own folder and the installed packages")
        return True
    if wanted == "namespaces":
        raise ValueError(f"notebooks cannot be shut in on this machine: {why}")
    say(f"WARNING: notebooks run with your rights, your files and your network: {why}")
    return False


def have_namespaces() -> str:
    """Why the box cannot hide this machine here; empty where it can."""
    if sys.platform != "linux":
        return f"the platform is {sys.platform}, not Linux"
    with tempfile.TemporaryDirectory(prefix="mc-") as folder:
        limits = Limits(notebook=1, memory=1 << 30, disk=1 << 20, processes=64)
        config = _write(Path(folder), limits, namespaces=True, readonly=SYSTEM, environment={})
        command = [sys.executable, "-I", box.__file__, str(config), "/bin/sh", "-c", "exit 0"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except subprocess.TimeoutExpired:
            return "the box did not start within 30 seconds"
        return "" if done.returncode == 0 else done.stderr.strip() or f"the box ended with {done.returncode}"


def packages() -> tuple[list[str], list[str]]:
    """The folders that Python in the box imports from, and what of them the box shows.

    Of a clone only the package itself: beside it lie solutions and hidden tests.
    """
    import minichin

    installed = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    paths = []
    for path in sys.path:
        parents = [Path(path).resolve(), *Path(path).resolve().parents]
        inside = path and any(folder in parents for folder in installed)
        if inside or Path(path).name in ("site-packages", "dist-packages"):
            paths.append(path)
    shown, package = [path for path in paths if Path(path).is_dir()], Path(minichin.__file__).parent
    if str(package.parent) not in paths:
        paths.append(str(package.parent))
        shown.append(str(package))
    return paths, shown


def engine() -> tuple[list[str], dict[str, str]]:
    """The compiled engine, made once, as (files to show in the box, environment)."""
    from minichin import engine_cpu

    try:
        file = str(engine_cpu.built().resolve())
    except engine_cpu.NoCompiledEngine:
        return [], {}
    return [file], {engine_cpu.GIVEN: file}


def describe(place: Path, job: Mapping[str, Any], limits: Limits) -> Path:
    """Write what the kernel of one submission may see and use into the folder `place`; return the file.

    `job` names the course folder, the assignment, the student, the text of a ticket, whether to use
    namespaces, and what to show and to set beside the packages.
    """
    paths, shown = packages()
    home = "/home/student" if job["namespaces"] else str(place / "files")
    environment = {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": "/tmp" if job["namespaces"] else home,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        USER: job["student"],
        "MPLBACKEND": "Agg",
        "LANG": "C.UTF-8",
        "JUPYTER_PLATFORM_DIRS": "1",
        **dict.fromkeys(THREADS, "1"),
        **job["environment"],
    }
    readonly = [*SYSTEM, sys.prefix, sys.base_prefix, *shown, *job["readonly"]]
    config = _write(place, limits, namespaces=job["namespaces"], readonly=readonly, environment=environment)
    for item in (Path(job["course"]) / "source" / job["assignment"]).iterdir():
        if item.suffix != ".ipynb":
            (shutil.copytree if item.is_dir() else shutil.copy)(item, place / "files" / item.name)
    if job["ticket"]:
        (place / "files" / hidden.TICKET).write_text(job["ticket"], "utf-8")
    return config


def _write(
    place: Path,
    limits: Limits,
    *,
    namespaces: bool,
    readonly: Sequence[str],
    environment: Mapping[str, str],
) -> Path:
    """Make the box's folders in `place`, and its configuration file."""
    folders = {name: str(place / name) for name in ("root", "files", "sockets")}
    for folder in folders.values():
        Path(folder).mkdir()
    config = {
        **folders,
        "namespaces": namespaces,
        "readonly": list(dict.fromkeys(readonly)),
        "environment": dict(environment),
        "memory": limits.memory,
        "disk": limits.disk,
        "processes": limits.processes,
        "cpu": int(limits.notebook) + 30,
    }
    file = place / "box.json"
    file.write_text(json.dumps(config), "utf-8")
    return file
