"""The results of `minichin bench train` as lines, each number beside what it should reach."""

from __future__ import annotations

from typing import Any

SAYS = {
    "ours": "ours",
    "torch": "our reference engine",
    "plain": "the ordinary loop: a GPT in eager torch, fused AdamW, scaled_dot_product_attention",
    "stack": "a stack of our runs, trained at once",
    "nanogpt": "nanoGPT's model.py, with its own optimiser",
}


def text(result: dict[str, Any]) -> str:
    """Lay out what `bench_train.train_bench` returns."""
    host, sizes, cells = result["machine"], result["sizes"], result["cells"]
    names = list(cells[0]["contenders"])
    lines = [
        f"{host['cpu']}, {host['cores']} cores; Python {host['python']}, torch {host['torch']}; "
        f"device {host['device']}, one thread",
        f"{sizes['rounds']} rounds of {sizes['seconds']:g} s for each in turn, medians; mode {sizes['mode']}",
        *(f"  {name}: {_says(name, cells[0]['contenders'][name])}" for name in names),
        *(f"  no faster engine: {reason}" for reason in result["fallback"]),
        "",
        *_speeds(result, names),
        "",
        *_shares(result, names),
        "",
        *_workers(result["workers"]),
        *_energy(result),
    ]
    return "\n".join(lines)


def _says(name: str, contender: dict[str, Any]) -> str:
    """What a contender is, and of what engine."""
    engine = f" (engine {contender['engine']})" if contender["engine"] else ""
    return SAYS[name] + engine


def _speeds(result: dict[str, Any], names: list[str]) -> list[str]:
    """Tokens a second, and ratios to the ordinary loop with their target."""
    unit = "CPU second of one core" if result["clock"] == "CPU" else "second"
    others = [name for name in names if name != "plain"]
    head = "".join(f"{name:>11}" for name in names) + "   |" + "".join(f"{name:>9}" for name in others)
    lines = [
        f"tokens a {unit} | times the ordinary loop (target for ours)",
        f"{'width':>6}{'batch':>7}{head}",
    ]
    for cell in result["cells"]:
        row, goal = cell["contenders"], cell["ratio_target"]
        lines.append(
            f"{cell['width']:6}{cell['batch_tokens']:7}"
            + "".join(f"{row[name]['tokens_per_s']:11,.0f}" for name in names)
            + "   |"
            + "".join(f"{row[name]['ratio']:8.2f}×" for name in others)
            + (f"   (≥ {goal:g}×)" if goal else "")
        )
    return lines


def _shares(result: dict[str, Any], names: list[str]) -> list[str]:
    """FLOP/s and their share of the ceiling."""
    kind = "bfloat16" if result["device"] == "cuda" else "float32"
    head = "".join(f"{name:>9}" for name in names)
    lines = [
        f"GFLOP/s by the full count, for all the same | share of the {kind} matrix-product ceiling",
        f"{'width':>6}{'batch':>7}{'ceiling':>9}{head}   |{head}",
    ]
    for cell in result["cells"]:
        row, goal = cell["contenders"], cell["share_target"]
        lines.append(
            f"{cell['width']:6}{cell['batch_tokens']:7}{cell['ceiling_flops_per_s'] / 1e9:9,.1f}"
            + "".join(f"{row[name]['flops_per_s'] / 1e9:9,.1f}" for name in names)
            + "   |"
            + "".join(f"{row[name]['share']:9.1%}" for name in names)
            + (f"   (ours ≥ {goal:.0%})" if goal else "")
        )
    least, most = (extreme(result["cells"], key=lambda c: c["looked_up"]) for extreme in (min, max))
    lines.append(
        f"the count holds the embedding as a product, {least['looked_up']:.0%} of it at width "
        f"{least['width']} and {most['looked_up']:.0%} at {most['width']}; on a CPU it is looked up"
    )
    return lines


def _workers(workers: dict[str, Any]) -> list[str]:
    """Two workers against one."""
    if "skipped" in workers:
        return [f"two workers: not measured, {workers['skipped']}"]
    train, product = workers["train"], workers["product"]
    return [
        f"two workers at once against one, width {workers['width']}, {workers['batch_tokens']} tokens a step",
        f"  training {train['ratio']:.2f}× by the wall (target ≥ {workers['target']:g}×), "
        f"{train['ratio_cpu']:.2f}× by CPU time; {train['cores']:.2f} cores had",
        f"  plain matrix products {product['ratio']:.2f}× by the wall, {product['ratio_cpu']:.2f}× by CPU "
        f"time; {product['cores']:.2f} cores had",
    ]


def _energy(result: dict[str, Any]) -> list[str]:
    """Joules for 1e12 FLOPs where they are reported."""
    lines = [f"energy: {result['energy']}"]
    for cell in result["cells"]:
        joules = cell["contenders"]["ours"]["joules_per_teraflop"]
        if joules is not None:
            lines.append(
                f"  width {cell['width']}, {cell['batch_tokens']} tokens a step: "
                f"{joules:.3g} joules for 1e12 FLOPs of ours"
            )
    return lines
