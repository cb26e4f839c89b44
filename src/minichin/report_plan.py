"""What `minichin plan` and `minichin flops` show: counts and estimates as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from minichin import plan
from minichin.calibrate import run_seconds, seconds_per_step, sweep_seconds
from minichin.plan import RunSpec
from minichin.progress import span
from minichin.shape import CONVENTIONS, ModelShape
from minichin.sweep import cores, order


def why_left_out(spec: RunSpec, chosen: plan.Profile) -> str:
    """Say why a run of the grid is not in the plan."""
    return (
        f"left out: {spec.budget:.0e} FLOPs, width {spec.width}: it would see the text "
        f"{spec.tokens / chosen.train_tokens:.1f} times (at most {chosen.max_epochs:g})"
    )


@dataclass(frozen=True)
class PlanView:
    """The runs of a profile, those left out of it, and the estimated seconds (None: not calibrated)."""

    profile: str
    specs: tuple[RunSpec, ...]
    left_out: tuple[RunSpec, ...]
    seconds: tuple[float, ...] | None
    workers: int
    total_seconds: float | None

    def to_json(self) -> dict:
        """The plan as plain values."""
        runs = []
        for i, spec in enumerate(self.specs):
            counts = {"params": spec.shape.params, "tokens": spec.tokens, "flops": spec.flops}
            seconds = None if self.seconds is None else self.seconds[i]
            runs.append({"spec_hash": spec.spec_hash, **asdict(spec), **counts, "estimated_seconds": seconds})
        return {
            "profile": self.profile,
            "runs": runs,
            "left_out": [asdict(spec) for spec in self.left_out],
            "workers": self.workers,
            "estimated_seconds": self.total_seconds,
        }

    def text(self) -> str:
        """The plan as a table."""
        head = (
            "budget",
            "width",
            "params",
            "tokens",
            "tok/par",
            "steps",
            "peak LR",
            "warm-up",
            "seed",
            "time",
        )
        rows = [head]
        for i, s in enumerate(self.specs):
            n = s.shape.params
            time = "" if self.seconds is None else span(self.seconds[i])
            rows.append(
                (
                    f"{s.budget:.0e}",
                    f"{s.width}",
                    f"{n:,}",
                    f"{s.tokens:,}",
                    f"{s.tokens / n:.1f}",
                    f"{s.steps:,}",
                    f"{s.lr:.5f}",
                    f"{s.warmup_steps}",
                    f"{s.seed}",
                    time,
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([self.summary(), "", *lines])

    def summary(self) -> str:
        """One or two lines: how many runs, their FLOPs, the estimate, what was left out."""
        chosen = plan.profile(self.profile)
        flops = sum(spec.flops for spec in self.specs)
        text = f"profile {self.profile}: {chosen.about}\n{len(self.specs)} runs on {chosen.corpus}, "
        text += f"{flops:.3g} FLOPs"
        if self.total_seconds is not None:
            text += f", about {span(self.total_seconds)} here with {self.workers} worker(s)"
        return "\n".join([text, *(why_left_out(spec, chosen) for spec in self.left_out)])


def view(
    name: str, *, device: str | None = None, workers: int | None = None, calibrate: bool = True
) -> PlanView:
    """Plan a profile and, if asked, time a few steps of every size to estimate its duration."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    specs, count = order(plan.plan(name)), workers or cores()
    seconds = total = None
    if calibrate and specs:
        per_step = seconds_per_step(specs, device)
        seconds = tuple(run_seconds(spec, per_step) for spec in specs)
        total = sweep_seconds(specs, per_step, count)
    return PlanView(name, tuple(specs), tuple(plan.left_out(name)), seconds, count, total)


def flops_view(width: int, depth: int, context: int, vocab: int, head_dim: int | None) -> dict:
    """Counts of one shape: parameters and forward FLOPs by part, training FLOPs a token by convention."""
    shape = ModelShape(width, depth, context, vocab, head_dim or plan.head_dim(width))
    return {
        **asdict(shape),
        "params": shape.params,
        "params_non_embedding": shape.params_non_embedding,
        "params_by_part": shape.param_breakdown(),
        "forward_flops_per_sequence_by_part": shape.flop_breakdown(),
        "training_flops_per_token": {name: shape.flops_per_token(name) for name in CONVENTIONS},
    }


def flops_text(values: dict) -> str:
    """`flops_view` as a table."""
    lines = [
        f"width {values['width']}, depth {values['depth']}, context {values['context']}, "
        f"vocabulary {values['vocab']}, head dimension {values['head_dim']}",
        "",
        f"{'parameters':32}{values['params']:>16,}",
        f"{'  without embeddings':32}{values['params_non_embedding']:>16,}",
    ]
    lines += [f"{'  ' + part:32}{n:>16,}" for part, n in values["params_by_part"].items()]
    parts = values["forward_flops_per_sequence_by_part"]
    lines += ["", f"{'forward FLOPs of one sequence':32}{sum(parts.values()):>16.6g}"]
    lines += [f"{'  ' + part:32}{n:>16.6g}" for part, n in parts.items()]
    lines += ["", "training FLOPs a token, by convention"]
    lines += [
        f"{'  ' + name:32}{n:>16.6g}  {CONVENTIONS[name]}"
        for name, n in values["training_flops_per_token"].items()
    ]
    return "\n".join(lines)
