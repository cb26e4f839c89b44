"""How fast runs go here, learnt while they go: so that a sweep with a time limit starts none in vain."""

from __future__ import annotations

from minichin.plan import RunSpec

MARGIN = 1.1  # a run may be slower beside others than those before it were


class Pace:
    """Seconds a step, by the FLOPs of a step, as last seen."""

    def __init__(self) -> None:
        self.seen: dict[float, float] = {}

    def see(self, spec: RunSpec, steps: int, seconds: float) -> None:
        """Note that a run of this spec took so long for so many of its steps."""
        if steps > 0:
            self.seen[spec.flops / spec.steps] = seconds / steps

    def seconds(self, spec: RunSpec) -> float:
        """Expected length of a run, 0 while nothing is known.

        A step takes no longer than one of more FLOPs; beyond the largest seen, time grows with FLOPs.
        """
        if not self.seen:
            return 0.0
        work = spec.flops / spec.steps
        larger = [flops for flops in self.seen if flops >= work]
        nearest = min(larger) if larger else max(self.seen)
        return MARGIN * spec.steps * self.seen[nearest] * max(1.0, work / nearest)
