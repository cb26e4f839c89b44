"""The benchmark of training: a fair ordinary loop, arithmetic by hand, and everything measured and shown."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minichin import bench_train, bench_train_text, bench_workers, cost, energy, runs
from minichin.bench_clock import Slot
from minichin.bench_rounds import summary
from minichin.corpus import Corpus
from minichin.plain_gpt import PlainGPT, PlainLoop, load_nanogpt, nanogpt
from minichin.shape import ModelShape
from tests.test_cli import assert_one_line, run

CPU = torch.device("cpu")
NANOGPT = """
from dataclasses import dataclass
import torch
from torch import nn
from torch.nn import functional as F

@dataclass
class GPTConfig:
    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.1
    bias: bool = True

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        print("number of parameters: some")

    def forward(self, idx, targets=None):
        logits = self.wte(idx) @ self.wte.weight.T
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        print("using AdamW on", device_type)
        return torch.optim.AdamW(self.parameters(), learning_rate, betas, weight_decay=weight_decay)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model.py that is called and prints as nanoGPT's."""
    folder = tmp_path_factory.mktemp("nanoGPT")
    (folder / "model.py").write_text(NANOGPT)
    return folder


@pytest.fixture(scope="module")
def quick(checkout: Path) -> dict:
    """One run of the whole benchmark at toy sizes."""
    return bench_train.train_bench("quick", device="cpu", checkout=checkout)


def test_everything_is_measured(quick):
    """Every cell has every contender with all its numbers, as JSON without NaN, with the machine beside."""
    again = json.loads(json.dumps(quick, allow_nan=False))
    assert again["machine"].keys() >= {"cpu", "cores", "python", "numpy", "torch", "blas_threads", "device"}
    assert [cell["width"] for cell in again["cells"]] == again["sizes"]["widths"]
    for cell in again["cells"]:
        shape = bench_train.cell_spec(cell["width"], cell["batch_tokens"], 1).shape
        assert cell["flops_per_token"] == shape.flops_per_token("full")
        assert cell["ceiling_flops_per_s"] > 0
        assert cell["contenders"].keys() == {"ours", "torch", "plain", "nanogpt"}
        assert cell["contenders"]["plain"]["ratio"] == 1
        assert cell["contenders"]["torch"]["engine"] == "torch"
        for found in cell["contenders"].values():
            assert found["steps_a_round"] >= 1
            assert found["flops_per_s"] == found["tokens_per_s"] * cell["flops_per_token"] > 0
            assert found["share"] > 0
    for task in bench_workers.TASKS:
        assert min(again["workers"][task].values()) > 0
    assert again["energy"]


def test_text_shows_each_number_beside_its_target(quick):
    """Each cell has a line of speeds and one of shares, with its target where there is one."""
    lines = bench_train_text.text(quick).splitlines()
    for cell in quick["cells"]:
        first = f"{cell['width']:6}{cell['batch_tokens']:7}"
        speeds, shares = (line for line in lines if line.startswith(first))
        assert f"{cell['contenders']['ours']['tokens_per_s']:,.0f}" in speeds
        assert f"{cell['contenders']['ours']['share']:.1%}" in shares
        assert ("≥ 2.5×" in speeds) == (cell["width"] == 32)
    assert any("target ≥ 1.9×" in line for line in lines)
    assert f"energy: {quick['energy']}" in lines


def test_why_there_is_no_faster_engine_is_told(quick):
    """The reason stands in the text where ours fell back to the reference, and nothing does where not."""
    assert "no faster engine" not in bench_train_text.text(quick)
    told = bench_train_text.text({**quick, "fallback": ["there is no C++ compiler here"]})
    assert "  no faster engine: there is no C++ compiler here\n" in told


def test_targets_are_those_asked_for():
    """2.5 at widths 32 to 64 and 1.5 at 128 with 256 tokens, 1 at 4096; a share of 65 % from width 64."""
    found = {w: bench_train.ratio_target("cpu", w, 256) for w in (16, 32, 64, 96, 128, 192)}
    assert found == {16: None, 32: 2.5, 64: 2.5, 96: None, 128: 1.5, 192: None}
    assert {bench_train.ratio_target("cpu", w, 4096) for w in (16, 192)} == {1.0}
    assert bench_train.ratio_target("cuda", 256, 512) == 5.0
    assert [bench_train.share_target("cpu", w) for w in (32, 64, 192)] == [None, 0.65, 0.65]
    assert bench_train.share_target("cuda", 192) is None


def test_ratios_are_taken_within_a_round():
    """By hand: ours twice as fast in each of three rounds, on a machine that is slower in the second."""
    slots = [
        {"ours": Slot(200 * s, 1.0, 3.0 * s), "plain": Slot(100 * s, 1.0), "torch": Slot(50 * s, 0.5)}
        for s in (1.0, 0.1, 1.2)
    ]
    found = summary(slots, [1e5, 1e4, 1.2e5], flops_per_token=100.0)
    assert found["ours"]["tokens_per_s"] == 200
    assert found["ours"]["flops_per_s"] == 20_000
    assert found["ours"]["ratio"] == pytest.approx(2.0)
    assert found["ours"]["share"] == pytest.approx(0.2)
    assert found["ours"]["joules_per_teraflop"] == pytest.approx(3.0 / 200 / 100 * 1e12)
    assert found["torch"]["ratio"] == pytest.approx(1.0)
    assert found["plain"]["joules_per_teraflop"] is None


def test_two_workers_by_hand():
    """Two that keep 90 % of their speed are 1.8 of one; with half the cores taken, 0.9 by the wall."""

    def answer(amount: float, cpu_s: float = 1.0) -> dict[str, float]:
        return {"amount": amount, "wall_s": 1.0, "cpu_s": cpu_s}

    alone = [answer(90), answer(110)]
    free = bench_workers.summary([(alone, [answer(90), answer(90)])])
    assert free == pytest.approx({"one": 100, "two": 180, "ratio": 1.8, "ratio_cpu": 1.8, "cores": 2})
    busy = bench_workers.summary([(alone, [answer(45, 0.5), answer(45, 0.5)])] * 3)
    assert busy == pytest.approx({"one": 100, "two": 90, "ratio": 0.9, "ratio_cpu": 1.8, "cores": 1})


def test_a_worker_that_ends_is_told():
    """A task that no worker knows ends it, and its last words come back."""
    with bench_workers.Worker() as worker, pytest.raises(RuntimeError, match="KeyError: 'sing'"):
        bench_workers.together([worker], "sing 1")


@pytest.mark.parametrize("width", [16, 64])
def test_the_ordinary_model_has_the_weights_of_gpt(width):
    """Vd + Td of embeddings, and 12d² + 2d a layer and d at the end: no output layer of its own."""
    shape = ModelShape(width, depth=3, context=64, vocab=256, head_dim=width // 4)
    count = sum(weight.numel() for weight in PlainGPT(shape).parameters())
    assert count == (256 + 64) * width + 3 * (12 * width**2 + 2 * width) + width


def test_the_ordinary_model_sees_no_future():
    """A token changes the logits of its own and later places only."""
    shape = ModelShape(16, depth=2, context=8, vocab=11, head_dim=4)
    ids = torch.arange(8)[None] % 11
    other = ids.clone()
    other[0, 5] = 10
    with torch.no_grad():
        model = PlainGPT(shape)
        a, b = model(ids, ids)[0], model(other, ids)[0]
    assert torch.equal(a[0, :5], b[0, :5])
    assert all((a[0, place] != b[0, place]).any() for place in (5, 6, 7))


def test_the_ordinary_loop_learns(text: Corpus, one_thread: None):
    """In 300 steps the loss falls from a uniform guess's to 0.1 nats below the entropy of single bytes."""
    torch.manual_seed(0)
    spec = bench_train.cell_spec(32, 256, 300)
    loop = PlainLoop(PlainGPT(spec.shape), spec, text.train, CPU)
    assert float(loop.take(1)) == pytest.approx(math.log(256), abs=0.1)
    shares = np.bincount(text.train, minlength=256) / text.train.size
    entropy = -sum(p * math.log(p) for p in shares if p)
    loop.take(279)
    assert statistics.fmean(float(loop.take(1)) for _ in range(20)) < entropy - 0.1


def test_batches_are_windows_of_the_text(text: Corpus):
    """Targets are the inputs one place on, and both stand in the text."""
    spec = bench_train.cell_spec(16, 256, 1)
    inputs, targets = PlainLoop(PlainGPT(spec.shape), spec, text.train, CPU).batch()
    assert inputs.shape == targets.shape == (4, 64)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    for row, last in zip(inputs, targets[:, -1:], strict=True):
        assert bytes([*row.tolist(), *last.tolist()]) in text.train.tobytes()


def test_nanogpt_is_made_of_the_same_shape(checkout: Path, capsys):
    """Its configuration takes our sizes, without biases and dropout; what it prints is not shown."""
    model = nanogpt(checkout, ModelShape(32, depth=3, context=64, vocab=256, head_dim=8))
    assert vars(model.config) == {
        "block_size": 64,
        "vocab_size": 256,
        "n_layer": 3,
        "n_head": 4,
        "n_embd": 32,
        "dropout": 0.0,
        "bias": False,
    }
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "no model.py"),
        ("GPTConfig = 1", "has no GPT;"),
        ("import no_such_module_here", "ModuleNotFoundError"),
    ],
)
def test_a_checkout_without_nanogpt_is_refused(tmp_path: Path, source, says):
    """A folder whose model.py is missing, or holds something else, is the caller's mistake."""
    if source:
        (tmp_path / "model.py").write_text(source)
    with pytest.raises(ValueError, match=says):
        load_nanogpt(tmp_path)
    assert_one_line(run("bench", "train", "--quick", "--nanogpt", str(tmp_path)), "--nanogpt", says)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--widths", "18", "multiple of the head dimension"),
        ("--widths", "16,x", "'x'"),
        ("--tokens", "100", "multiple of the context"),
    ],
)
def test_sizes_that_no_model_has_are_refused(option, value, says):
    """A width without whole heads, tokens that are no whole sequences, or no numbers: one line, at once."""
    assert_one_line(run("bench", "train", "--quick", option, value), says)


def counter(folder: Path, name: str, what: str, micro: int, most: int) -> Path:
    """A RAPL zone as Linux shows it."""
    zone = folder / name
    zone.mkdir()
    (zone / "name").write_text(what + "\n")
    (zone / "energy_uj").write_text(f"{micro}\n")
    (zone / "max_energy_range_uj").write_text(f"{most}\n")
    return zone / "energy_uj"


def test_energy_is_that_of_the_packages(tmp_path: Path):
    """Packages are summed, their parts are not counted again, and a counter that wrapped goes on."""
    first = counter(tmp_path, "intel-rapl:0", "package-0", 5_000_000, 10_000_000)
    counter(tmp_path, "intel-rapl:1", "package-1", 2_000_000, 10_000_000)
    counter(tmp_path, "intel-rapl:0:0", "core", 900_000, 10_000_000)
    counter(tmp_path, "intel-rapl:2", "psys", 900_000, 10_000_000)
    rapl = energy.rapl(tmp_path)
    before = rapl.joules()
    assert before == 7.0
    first.write_text("6500000\n")
    assert rapl.joules(before) == pytest.approx(1.5)
    first.write_text("1000000\n")
    assert rapl.joules(before) == pytest.approx(6.0)


def test_no_energy_is_made_up(tmp_path: Path):
    """Without a counter there is none, and the reason."""
    with pytest.raises(OSError, match="no RAPL counter"):
        energy.rapl(tmp_path)
    found, why = energy.find("cuda", "no such GPU")
    assert found is None
    assert why.startswith("not reported here: ")


def bench_result(device: str, joules: float | None) -> dict:
    """A benchmark of two widths, by hand."""
    cells = [
        {
            "width": width,
            "batch_tokens": 256,
            "ceiling_flops_per_s": 4e10,
            "contenders": {"ours": {"joules_per_teraflop": None if joules is None else joules * times}},
        }
        for width, times in ((16, 2.0), (128, 1.0))
    ]
    return {"machine": {"device": device}, "clock": "CPU", "cells": cells, "energy": "by hand"}


def test_cost_by_hand():
    """FLOPs of the steps taken over seconds and ceiling; joules by the nearest width; else none."""
    spec = bench_train.cell_spec(128, 256, 100)
    evaluated = (runs.Evaluation(50, 3.0, 3.0),)
    full = runs.RunRecord(spec, 3.0, evaluated, "finished", 100, 5.0, "cpu: x", {"engine": "compiled"}, "0")
    half = replace(full, val_loss=None, status="diverged", stopped_at=50)
    (group,) = cost.cost([full, half], bench_result("cpu: x", 30.0))["groups"]
    assert (group["runs"], group["seconds"], group["tokens"]) == (2, 10.0, 150 * 256)
    assert (group["device"], group["engine"]) == ("cpu: x", "compiled")
    assert group["flops"] == pytest.approx(1.5 * spec.flops)
    assert group["share"] == pytest.approx(1.5 * spec.flops / 10.0 / 4e10)
    assert group["joules"] == pytest.approx(1.5 * spec.flops * 30.0 / 1e12)
    for bench in (None, bench_result("cpu: y", 30.0), bench_result("cpu: x", None)):
        result = cost.cost([full], bench)
        assert result["groups"][0]["joules"] is None
        assert "energy: " in cost.text(result)


def test_cost_of_the_published_runs(tmp_path: Path):
    """The command sums up a store; a file that is no benchmark, or an empty store, is told in one line."""
    done = run("bench", "cost", "published", "--json", "-")
    (group,) = json.loads(done.stdout)["groups"]
    table = runs.open_store("published").table()
    assert group["flops"] == pytest.approx(table["flops"].sum())
    assert group["seconds"] == pytest.approx(table["seconds"].sum())
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")
    assert_one_line(run("bench", "cost", "published", "--bench", str(wrong)), "wrong.json", "bench train")
    with pytest.raises(ValueError, match="holds no runs"):
        cost.cost([])
