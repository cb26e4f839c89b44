"""The explorer page in a real browser says what the package says: laws, intervals, serving, files, links."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from minichin import decades, explorer
from minichin.fit import report
from minichin.law import LossSurface
from minichin.lifetime import lifetime
from minichin.published import LAWS
from minichin.shape import CONVENTIONS

ROOT = Path(__file__).resolve().parents[1]
STATIC = ROOT / "book" / "_static"
SCRIPTS = (explorer.FILE, *(f"explorer{part}.js" for part in (".law", ".numbers", ".plots", "")))
FOUR = 5e-5  # relative: half a unit of the fourth digit
PARTS = ("params", "tokens", "tokens_per_param", "loss")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's own HTML, scripts and laws in a folder, without the rest of the book; its address."""
    folder = tmp_path_factory.mktemp("site")
    markdown = (ROOT / "book" / "explorer.md").read_text("utf-8")
    body = re.search(r"```\{raw\} html\n(.*?)```", markdown, re.DOTALL)
    assert body
    explorer.write(folder)
    for file in STATIC.glob("explorer.*"):
        (folder / file.name).write_text(file.read_text("utf-8"), "utf-8")
    head = '<meta charset="utf-8"><title>Explorer</title><link rel="stylesheet" href="explorer.css">'
    scripts = "".join(f'<script defer src="{f}"></script>' for f in SCRIPTS)
    text = f'<!doctype html><html lang="en"><head>{head}{scripts}</head><body>{body[1]}</body></html>'
    (folder / "explorer.html").write_text(text, "utf-8")
    return folder / "explorer.html"


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page; fails the test where the page throws or asks for anything that is not on the disk."""
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith("file:") else wrong.append(asked.url))
    yield page
    context.close()
    assert wrong == []


def go(page: Any, site: Path, **state: object) -> None:
    """Open the page afresh in a state."""
    page.goto("about:blank")
    page.goto(f"{site.as_uri()}#" + "&".join(f"{key}={value}" for key, value in state.items()))
    page.wait_for_selector("#ex-rows tr")


def shown(page: Any) -> dict[str, tuple[float, float | None, float | None]]:
    """The table: value and interval by key."""
    read = "rows => rows.map(r => [r.dataset.key, r.dataset.value, r.dataset.low, r.dataset.high])"
    rows = page.eval_on_selector_all("#ex-rows tr[data-key]", read)
    return {key: tuple(None if x is None else float(x) for x in rest) for key, *rest in rows}  # type: ignore[misc]


def agrees(page: Any, told: dict[str, Any]) -> None:
    """Hold the table against an object of `minichin optimum --json`, to four digits."""
    found = shown(page)
    for theirs, ours in zip(("params", "tokens", "ratio", "loss"), PARTS, strict=True):
        if told[ours] is None:
            assert theirs not in found
        else:
            assert found[theirs][0] == pytest.approx(told[ours], rel=FOUR)


@pytest.mark.parametrize("law", LAWS)
def test_published_laws_agree_with_the_command(page: Any, site: Path, law: str) -> None:
    """Each published law gives what `minichin optimum` gives, over 15 decades."""
    for flops in (1e15, 5.76e23, 1e30):
        go(page, site, c=flops, law=law)
        agrees(page, report.optimum(flops, law))


def test_reader_sees_the_digits(page: Any, site: Path) -> None:
    """What stands in the cells is Hoffmann et al.'s optimum as the command prints it, in words."""
    go(page, site, c=5.76e23, law="chinchilla_tex")
    told = report.optimum(5.76e23, "chinchilla_tex")
    cells = page.locator("#ex-rows tr[data-key] td:nth-of-type(1)").all_inner_texts()
    assert cells[0] == f"{told['params'] / 1e9:.2f} billion"
    assert cells[1] == f"{told['tokens'] / 1e12:.3f} trillion"
    assert (
        page.locator("#ex-said")
        .inner_text()
        .startswith(f"{explorer.LABELS['chinchilla_tex']}, at 5.760 × 10²³ FLOPs (6ND)")
    )


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of `minichin fit --json` on the five decades, by convention."""
    folder = tmp_path_factory.mktemp("fits")
    table = decades.joined(decades.cores(), decades.gpu())
    files = {}
    for convention in CONVENTIONS:
        found = report.fit_report(
            table, approaches=(2, 3), convention=convention, bootstrap=explorer.REPLICATES
        )
        files[convention] = folder / f"{convention}.json"
        files[convention].write_text(json.dumps(found.to_json()), "utf-8")
    return files


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_our_laws_agree_with_the_command(
    page: Any, site: Path, fits: dict[str, Path], convention: str
) -> None:
    """Ours give what `minichin optimum --law FILE` gives for a file of the same fit; so does the file."""
    for flops in (1e13, 1e16):
        told = report.optimum(flops, str(fits[convention]))
        go(page, site, c=flops, law="five3", count=convention)
        agrees(page, told)
        page.set_input_files("#ex-file", fits[convention])
        page.wait_for_selector("#ex-file-said.ex-right")
        assert page.locator("#ex-law").input_value() == "own3"
        agrees(page, told)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_intervals_are_those_of_the_fit(
    page: Any, site: Path, fits: dict[str, Path], convention: str
) -> None:
    """Intervals at a predicted compute are those that `minichin fit` writes for its own prediction."""
    written = json.loads(fits[convention].read_text("utf-8"))
    prediction = written["predictions"][0]
    for approach in (2, 3):
        told = prediction[f"approach{approach}"]
        go(page, site, c=prediction["flops"], law=f"five{approach}", count=convention)
        found = shown(page)
        names = [("params", "params"), ("tokens", "tokens"), ("ratio", "tokens_per_param")]
        for ours, theirs in names + ([("loss", "loss")] if approach == 3 else []):
            assert found[ours][1:] == pytest.approx(told[f"{theirs}_interval"], rel=FOUR)
        assert found["a"][1:] == pytest.approx(written[f"approach{approach}"]["a_interval"], rel=FOUR)
        assert ("loss_large" in found) == (approach == 3)


@pytest.mark.parametrize("law", LAWS)
def test_straying_costs_what_the_surface_says(page: Any, site: Path, law: str) -> None:
    """Loss and compute excess of a size f times off are those of `LossSurface` under C = 6 N D."""
    surface, flops, factor = LAWS[law].surface, 1e21, 3.0
    best = surface.optimum(flops)
    go(page, site, c=flops, law=law, stray=factor)
    found = shown(page)
    for name, size in (("large", best.params * factor), ("small", best.params / factor)):
        loss = float(surface.value_at(flops, size) - best.loss)
        more = float(6 * size * surface.tokens_for(best.loss, size) / flops - 1)
        assert found[f"loss_{name}"][0] == pytest.approx(loss, rel=FOUR)
        assert found[f"compute_{name}"][0] == pytest.approx(more, rel=FOUR)


def test_a_size_far_too_small_never_gets_there(page: Any, site: Path) -> None:
    """Where no tokens suffice the page says never, as `LossSurface` refuses."""
    surface = LAWS["besiroglu"].surface
    best = surface.optimum(1e21)
    with pytest.raises(ValueError, match="no compute reaches"):
        surface.tokens_for(best.loss, best.params / 1000)
    go(page, site, c=1e21, law="besiroglu", stray=1000)
    assert page.locator("tr[data-key=compute_small] td").first.inner_text() == "never"


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_best_size_by_any_count_is_best(page: Any, site: Path, convention: str) -> None:
    """By every count a size a little off costs loss both ways, nearly equally: it is the floor."""
    go(page, site, c=1e14, law="five3", count=convention, stray=1.01)
    found = shown(page)
    large, small = found["loss_large"][0], found["loss_small"][0]
    assert 0 < large < 1e-4
    assert small == pytest.approx(large, rel=0.05)


def least_cost(surface: LossSurface, flops: float, served: float) -> tuple[float, float, float]:
    """Size, tokens and FLOPs of the least 6 N D + 2 N served at the loss of the optimum, by scipy."""
    best = surface.optimum(flops)

    def cost(log_n: float) -> float:
        tokens = float(surface.tokens_for(best.loss, math.exp(log_n)))
        return 6 * math.exp(log_n) * (tokens + served / 3)

    floor = math.log(surface.A / float(best.loss - surface.E)) / surface.alpha
    found = minimize_scalar(
        cost, bounds=(floor + 1e-6, math.log(best.params)), method="bounded", options={"xatol": 1e-10}
    )
    size = math.exp(found.x)
    return size, float(surface.tokens_for(best.loss, size)), found.fun


@pytest.mark.parametrize("served", [1e10, 2e12, 1e15])
def test_serving_agrees_with_a_general_minimiser(page: Any, site: Path, served: float) -> None:
    """The best size with serving is where scipy finds the least 6 N D + 2 N D_inf at equal loss."""
    for law in ("chinchilla", "besiroglu"):
        go(page, site, c=1e23, law=law, inf=served)
        found = shown(page)
        told = lifetime(LAWS[law].surface, 1e23, served)
        for ours, theirs in (
            ("params", "params"),
            ("tokens", "tokens"),
            ("train", "flops"),
            ("total", "cost"),
        ):
            assert found[f"life_{ours}"][0] == pytest.approx(getattr(told, theirs), rel=FOUR)
        size, tokens, total = least_cost(LAWS[law].surface, 1e23, served)
        assert found["life_total"][0] == pytest.approx(total, rel=FOUR)
        assert found["life_params"][0] == pytest.approx(size, rel=1e-4)
        assert found["life_tokens"][0] == pytest.approx(tokens, rel=1e-4)
        best = LAWS[law].surface.optimum(1e23)
        saved = 1 - total / float(6 * best.params * (best.tokens + served / 3))
        assert found["life_saved"][0] == pytest.approx(saved, abs=1e-6)


def test_worked_solutions_hold(page: Any, site: Path) -> None:
    """Half the best size takes six times D_opt; four times off costs 60 % and 4.5 times, at any compute."""
    go(page, site, c=1e23, law="besiroglu", inf=3.4e12)
    found = shown(page)
    assert found["life_params"][0] / found["params"][0] == pytest.approx(0.5, abs=0.005)
    assert 3.4e12 / found["tokens"][0] == pytest.approx(6, rel=0.01)
    for flops in (1e19, 1e23):
        go(page, site, c=flops, law="besiroglu", stray=4)
        found = shown(page)
        assert found["compute_large"][0] == pytest.approx(0.6, abs=0.02)
        assert found["compute_small"][0] == pytest.approx(3.5, abs=0.04)


def test_interval_of_serving_is_that_of_the_replicates(page: Any, site: Path) -> None:
    """The interval of the best size with serving is numpy's percentiles over the replicates' own minima."""
    text = (site.parent / explorer.FILE).read_text("utf-8").partition(" = ")[2].rstrip(";\n")
    laws = {law["id"]: law for law in json.loads(text)["laws"]}
    rows = np.array(laws["five3"]["counts"]["6ND"]["replicates"])
    sizes = [least_cost(LossSurface(*row[4:]), 1e15, 1e9)[0] for row in rows]
    go(page, site, c=1e15, law="five3", count="6ND", inf=1e9)
    assert shown(page)["life_params"][1:] == pytest.approx(np.percentile(sizes, [2.5, 97.5]), rel=1e-3)


def test_link_restores_the_state(page: Any, site: Path, fits: dict[str, Path]) -> None:
    """The address after any change, opened elsewhere, shows the same numbers: own laws too."""
    go(page, site)
    page.set_input_files("#ex-file", fits["full"])
    page.wait_for_selector("#ex-file-said.ex-right")
    page.fill("#ex-flops", "3 × 10^14")
    page.fill("#ex-tokens", "2B")
    page.fill("#ex-factor", "5")
    before, address = shown(page), page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("#ex-rows tr")
    after = shown(page)
    assert before.keys() == after.keys()
    assert page.locator("#ex-law").input_value() == "own3"
    for key, values in before.items():
        assert after[key][0] == pytest.approx(values[0], rel=1e-5)


def test_cut_link_is_told(page: Any, site: Path) -> None:
    """A link whose own law was cut says so in one line, and the page shows a law that it knows."""
    go(page, site, c=1e21, law="own3", own="mine.json~3~6ND~1.5~0.5")
    assert "2 numbers of its own law, not 4 or 9" in page.locator("#ex-file-said").inner_text()
    agrees(page, report.optimum(1e21, "besiroglu"))


def test_keyboard_reaches_and_moves_everything(page: Any, site: Path) -> None:
    """Tab alone reaches every control in order, and arrow keys move the compute and change the law."""
    go(page, site, c=1e21)
    reached = []
    for _ in range(10):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached == [
        *(f"ex-{name}" for name in ("slider", "flops", "law", "count", "tokens", "factor", "file")),
        *("ex-table", "ex-copy", "ex-reset"),
    ]
    page.focus("#ex-slider")
    page.keyboard.press("ArrowRight")
    assert float(page.input_value("#ex-flops")) == pytest.approx(10**21.05, rel=FOUR)
    agrees(page, report.optimum(float(page.input_value("#ex-flops")), "besiroglu"))
    page.focus("#ex-law")
    page.keyboard.press("ArrowUp")
    assert page.input_value("#ex-law") == "chinchilla_tex"
    assert "law=chinchilla_tex" in page.url


WRONG = {
    "list.csv": ("params,tokens,loss\n1,2,3\n", "list.csv is not JSON"),
    "list.json": ("[1, 2]", "list.json holds a list, not the object of a fit"),
    "other.json": ('{"rows": 3}', "has no key approach1, approach2 or approach3 (it has rows)"),
    "failed.json": ('{"approach3": {"error": "collinear_design"}}', "no approach succeeded (approach3: coll"),
    "bent.json": (
        '{"approach3": {"n_opt": {"coefficient": -1, "exponent": 0.5}}}',
        "approach3.n_opt.coefficient must be a positive number, got -1",
    ),
    "short.json": (
        '{"approach3": {"n_opt": {"coefficient": 1, "exponent": 0.5}, "d_opt": {"coefficient": 1, '
        '"exponent": 0.5}, "E": 1, "A": 2, "B": null}}',
        "approach3.B must be a positive number, got null",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file_gives_one_line(page: Any, site: Path, tmp_path: Path, name: str) -> None:
    """A file that is no fit gives one line with its name, what is wrong and the cure, and changes nothing."""
    text, said = WRONG[name]
    (tmp_path / name).write_text(text, "utf-8")
    go(page, site, c=1e21, law="besiroglu")
    before = shown(page)
    page.set_input_files("#ex-file", tmp_path / name)
    page.wait_for_selector("#ex-file-said.ex-wrong")
    line = page.locator("#ex-file-said").inner_text()
    assert said in line
    assert line.startswith(name)
    assert re.search(r"[:;] (drop what|add runs|fit the table again)", line)
    assert "\n" not in line
    assert shown(page) == before


def test_dropped_file_is_read(page: Any, site: Path, fits: dict[str, Path]) -> None:
    """A file dropped anywhere on the explorer is read as one that was picked."""
    go(page, site)
    script = """text => {
        const data = new DataTransfer();
        data.items.add(new File([text], "mine.json"));
        const drop = new DragEvent("drop", {dataTransfer: data, bubbles: true});
        document.querySelector("#ex-root").dispatchEvent(drop);
    }"""
    page.evaluate(script, fits["6ND"].read_text("utf-8"))
    page.wait_for_selector("#ex-file-said.ex-right")
    assert page.locator("#ex-file-said").inner_text() == "Read mine.json."


@pytest.mark.parametrize(("text", "value"), [("1e21", 1e21), ("5.76 × 10²³", 5.76e23), ("10^20", 1e20)])
def test_numbers_as_people_write_them(page: Any, site: Path, text: str, value: float) -> None:
    """The compute may be typed in several ways."""
    go(page, site)
    page.fill("#ex-flops", text)
    agrees(page, report.optimum(value, "besiroglu"))
    assert page.locator("#ex-flops-wrong").is_hidden()


@pytest.mark.parametrize("text", ["", "lots", "-1", "1e99", "1e21e"])
def test_no_number_is_told_and_changes_nothing(page: Any, site: Path, text: str) -> None:
    """What is no compute is told beside its field, with what to write; the numbers stay."""
    go(page, site, c=1e21)
    before = shown(page)
    page.fill("#ex-flops", text)
    assert "write 1e21" in page.locator("#ex-flops-wrong").inner_text()
    assert page.get_attribute("#ex-flops", "aria-invalid") == "true"
    assert shown(page) == before


def test_beyond_the_runs_is_said(page: Any, site: Path) -> None:
    """One of our laws asked far beyond its runs says how far, and leads back; a published one has none."""
    go(page, site, c=1e19, law="five3", count="full")
    assert "1,000 times beyond the largest" in page.locator("#ex-notes").inner_text()
    page.click("#ex-notes button")
    assert float(page.input_value("#ex-flops")) == pytest.approx(1e16, rel=0.01)
    assert "Within the runs" in page.locator("#ex-notes").inner_text()
    go(page, site, c=1e19, law="chinchilla")
    assert "No intervals" in page.locator("#ex-notes").inner_text()


def test_pictures_follow_and_are_described(page: Any, site: Path) -> None:
    """Both pictures move with the compute, say what is seen, and fit a phone."""
    page.set_viewport_size({"width": 390, "height": 800})
    go(page, site, c=1e21, law="besiroglu", inf=1e12)
    curve = "path => path.getAttribute('d')"
    before = page.eval_on_selector("#ex-valleys path.ex-now", curve)
    assert page.locator("#ex-valleys path.ex-other").count() == 3
    assert page.locator("#ex-valleys path.ex-diamond").count() == 1
    assert "2.778 billion parameters" in page.get_attribute("#ex-valleys svg", "aria-label")
    page.fill("#ex-flops", "2e22")
    assert page.eval_on_selector("#ex-valleys path.ex-now", curve) != before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_only_its_own_page_loads_it(page: Any, smoke_book: Path) -> None:
    """In the book the page works from the disk, and no other page loads its scripts."""
    html = smoke_book / "_build" / "html"
    loading = [p.name for p in html.rglob("*.html") if "explorer_laws" in p.read_text("utf-8")]
    assert loading == ["explorer.html"]
    go(page, html / "book" / "explorer.html", c=1e20, law="chinchilla")
    agrees(page, report.optimum(1e20, "chinchilla"))
