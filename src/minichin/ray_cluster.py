"""Ray itself: whether it is installed, starting it on this machine, joining a cluster.

Decisions:
- Nothing of Ray's is printed, and a Ray that we start reports no usage statistics and has no dashboard.
- A cluster that does not answer within `REACH_WITHIN` is refused before Ray tries: it would try for minutes,
  print warnings, and end the process.
"""

from __future__ import annotations

import logging
import os
import socket
from types import ModuleType
from typing import Any

from minichin.jobs import SweepError

REACH_WITHIN = 5.0  # seconds for the cluster to answer
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # HTTP/2's preface and empty settings, RFC 9113
SETTINGS = 4  # the kind of frame that opens the answer
CURE = "`ray start --head` starts one, and prints its address"


def import_ray() -> ModuleType:
    """The package ray; `ValueError` where it is not installed."""
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")  # prints no line of a node's log, lost or not
    try:
        import ray
    except ImportError:
        raise ValueError('--on ray needs the package ray: pip install "minichin[ray]"') from None
    return ray


def connect(ray: ModuleType, address: str | None, cores: int) -> None:
    """Join the cluster at `address` (`auto`: the one on this machine), or start one of `cores` cores here.

    Raises `ValueError` where none answers there, `SweepError` where none can be started.
    """
    if ray.is_initialized():
        raise ValueError("this process uses a Ray cluster already; call ray.shutdown() before the sweep")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            ray.init("local", num_cpus=cores, include_dashboard=False, **quiet)
        except Exception as error:  # as plain as that, where its processes are too slow to start
            ray.shutdown()
            raise SweepError(f"Ray did not start here: {' '.join(str(error).split())}") from None
        return
    _check_address(address)
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"--ray-address {address}: {' '.join(str(error).split())}") from None


def _check_address(address: str) -> None:
    """Refuse an address where no Ray cluster answers."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in address:
        raise ValueError(f"--ray-address {address} is neither auto nor HOST:PORT; {CURE}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), REACH_WITHIN) as line:
            line.sendall(HELLO)
            answer = line.recv(9)  # a frame's head: 3 bytes length, 1 byte kind (4: settings), …
    except (OSError, OverflowError) as error:
        raise ValueError(f"no Ray cluster answers at --ray-address {address} ({error}); {CURE}") from None
    if answer[3:4] != bytes([SETTINGS]):
        raise ValueError(f"what answers at --ray-address {address} is no Ray cluster; {CURE}")
