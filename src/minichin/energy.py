"""How many joules the hardware says it has used: counters that rise, read before and after.

Decisions
- Only counters are used, not samples of power, so that nothing runs beside what is measured: Linux RAPL on a
  CPU (`/sys/class/powercap`, which recent kernels let only root
  read), NVML on an NVIDIA GPU (Volta or newer).
- A RAPL counter is of a whole package: all of its cores, and whatever else ran on them. So the joules of one
  busy core hold the idle power of the others, and are too many for a run on all cores.
- Where nothing is reported, `find` says why; no energy is ever made up.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """A counter of energy."""

    @property
    def says(self) -> str:
        """What it counts."""

    def joules(self, since: float = 0.0) -> float:
        """Joules counted up to now, less `since`, an earlier result of `joules()`."""


@dataclass(frozen=True)
class Rapl:
    """The sum of the packages' counters. Each starts again from 0 at its `max_energy_range_uj`."""

    packages: tuple[Path, ...]
    says: str = "RAPL, whole packages"

    def joules(self, since: float = 0.0) -> float:
        """Joules since `since`; a counter that wrapped is taken to have wrapped once."""
        micro = sum(int((package / "energy_uj").read_text()) for package in self.packages)
        if micro / 1e6 < since:
            micro += int((self.packages[0] / "max_energy_range_uj").read_text())
        return micro / 1e6 - since


class Nvml:
    """The counter of one GPU, named by its UUID, through NVIDIA's management library."""

    says = "NVML, whole GPU"

    def __init__(self, uuid: str) -> None:
        self.library = ctypes.CDLL("libnvidia-ml.so.1")
        self.handle = ctypes.c_void_p()
        self._ask("nvmlInit_v2")
        self._ask("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self.handle))
        self.joules()

    def _ask(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            raise OSError(f"{name} gave status {status}")

    def joules(self, since: float = 0.0) -> float:
        """Joules since `since`."""
        milli = ctypes.c_ulonglong()
        self._ask("nvmlDeviceGetTotalEnergyConsumption", self.handle, ctypes.byref(milli))
        return milli.value / 1e3 - since


def rapl(folder: Path = POWERCAP) -> Rapl:
    """The packages' counters under `folder`; `OSError` that says why where they cannot be read."""
    packages = []
    for path in sorted(folder.glob("intel-rapl:*")):
        if path.name.count(":") == 1 and (path / "name").read_text().startswith("package"):
            packages.append(path)
    if not packages:
        raise OSError(f"no RAPL counter of a package in {folder}")
    found = Rapl(tuple(packages))
    found.joules()
    return found


def find(device: str, uuid: str = "") -> tuple[Counter | None, str]:
    """The counter for a device, `cpu` or `cuda` (by UUID), and what it is; else None, and why not."""
    counter: Counter
    try:
        counter = Nvml(f"GPU-{uuid.removeprefix('GPU-')}") if device == "cuda" else rapl()
    except (OSError, AttributeError) as error:
        return None, f"not reported here: {error}"
    return counter, counter.says
