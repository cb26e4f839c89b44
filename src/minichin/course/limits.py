"""What one notebook may use while it is graded."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds for one cell and for the notebook; bytes of memory, of files, of output; processes."""

    cell: float = 60.0
    notebook: float = 300.0
    memory: int = 4 << 30
    disk: int = 256 << 20
    output: int = 1 << 20
    processes: int = 128
    submission: int = 10 << 20

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ValueError(f"the limit {name} must be positive, got {value}")

    @property
    def wall(self) -> float:
        """Seconds after which a grading process is ended from outside, whatever it does."""
        return self.notebook + 90.0
