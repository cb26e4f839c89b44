"""Making the book: text and runs first, then the notebooks, then the pages.

Decisions:
- Everything made lies under `build/book/<profile>/`: `source/` is laid out as the repository is (so paths
  and launch buttons agree), `_build/html/` holds the pages. The repository itself is never written to.
- The pages are always built afresh, strictly: any warning fails the build. (Sphinx does not see that a
  number quoted from a notebook has changed.) They are built aside and swapped in, so a failure leaves the
  last good book in place.
- What is current is not made again: runs by the store, notebooks by their stamp, pages by a hash of their
  sources.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

import minichin
from minichin import explorer, icons, runs, status, templates
from minichin.cache import tree_hash
from minichin.plan import profile as known_profile
from minichin.templates import BookError, verify_executed

__all__ = ["BookError", "build", "execute_all", "render", "stage", "verify_executed"]

BOOTSTRAP = 1000  # resamples for a book that is to be read; the templates' own default is for tests
STATUS = "book/status"  # a page that staging writes
EXPLORER = "book/explorer"  # a page whose data staging writes
Say = Callable[[str], None]


def repository() -> Path:
    """The clone: the nearest folder above this one, or above the package, that holds the book's sources."""
    here, package = Path.cwd(), Path(__file__).resolve().parent
    for folder in (here, *here.parents, *package.parents):
        if all((folder / name).exists() for name in ("_toc.yml", "_config.yml", "notebooks")):
            return folder
    raise ValueError(f"no book to build at {here}: _toc.yml is missing; run this in a clone of minichin")


def pages(root: Path) -> list[str]:
    """The pages of `_toc.yml` in order, without suffix: `book/index`, `notebooks/counting`, …"""

    def walk(node: Any) -> Iterator[str]:
        if isinstance(node, list):
            for item in node:
                yield from walk(item)
        elif isinstance(node, Mapping):
            yield from (str(node[key]) for key in ("root", "file") if key in node)
            for key in ("parts", "chapters", "sections"):
                yield from walk(node.get(key))

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text("utf-8"))))


def notebooks(root: Path) -> list[Path]:
    """The templates in the order of `_toc.yml`; raise `ValueError` where one that it names is missing."""
    found = [root / f"{page}.ipynb" for page in pages(root) if page.startswith("notebooks/")]
    for template in found:
        if not template.is_file():
            raise ValueError(f"{template} is named in _toc.yml but missing")
    return found


def check_given(root: Path, given: Mapping[str, Any]) -> None:
    """Raise `ValueError` for a parameter that no template has, naming the nearest, or that has an option."""
    known = {name for template in notebooks(root) for name in templates.parameters_of(template)}
    for name in given:
        if name in ("profile", "store"):
            raise ValueError(f"{name!r} cannot be set as a parameter: use --{name}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise ValueError(f"no notebook has a parameter {name!r}; {hint}")


def parameters_for(
    template: Path, profile: str, store: str = "", given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The parameters that the book runs this template with, of those that it has; no default twice."""
    known = templates.parameters_of(template)
    wanted: dict[str, Any] = {"profile": profile, "store": store}
    if profile != "smoke":
        wanted["bootstrap"] = BOOTSTRAP
    wanted |= given or {}
    return {name: value for name, value in wanted.items() if name in known and value != known[name]}


def execute_all(
    root: Path,
    folder: Path,
    profile: str,
    *,
    store: str = "",
    say: Say = print,
    parameters: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Run all templates into `folder`, leaving those that are current; return the executed copies."""
    chosen = {t: parameters_for(t, profile, store, parameters) for t in notebooks(root)}
    records = runs.open_store(store or runs.default_store(profile))
    code = Path(minichin.__file__).parent
    inputs = tree_hash(code.rglob("*.py"), code) + tree_hash([records.file], records.folder)
    stamp = _stamp(profile, records)
    done = []
    for template, given in chosen.items():
        target = folder / template.name
        text = json.dumps([templates.source_hash(template), given, profile, inputs, stamp["versions"]])
        key = hashlib.sha256(text.encode()).hexdigest()
        if templates.current(target, key):
            say(f"  {template.name}: current")
        else:
            start = time.monotonic()
            seed = given.get("seed", templates.parameters_of(template).get("seed"))
            templates.execute(template, target, given, stamp={**stamp, "seed": seed, "key": key})
            say(f"  {template.name}: run in {time.monotonic() - start:.0f} s")
        done.append(target)
    return done


def _stamp(profile: str, store: runs.Store) -> dict[str, Any]:
    """What every executed copy of this build says of itself."""
    names = ("jupyter-book", "matplotlib", "numpy", "pandas", "scipy", "torch")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {
        "profile": profile,
        "device": ", ".join(sorted({record.device for record in store.records()})),
        "versions": {"python": sys.version.split()[0], "minichin": minichin.__version__, **versions},
        "date": datetime.now(UTC).date().isoformat(),
    }


def stage(root: Path, source: Path) -> None:
    """Lay out the book's source beside the executed notebooks that stand in `source/notebooks` already."""
    shutil.rmtree(source / "book", ignore_errors=True)
    shutil.rmtree(source / "_figures", ignore_errors=True)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy2(root / name, source / name)
    listed = pages(root)
    wanted = {f"{page}.ipynb" for page in listed}
    stamps = {}
    for executed in sorted((source / "notebooks").glob("*.ipynb")):
        if f"notebooks/{executed.name}" not in wanted:
            executed.unlink()
            continue
        verify_executed(executed, root / "notebooks" / executed.name)
        stamps[executed.stem] = templates.read(executed).metadata[templates.STAMP]
    foot = {"foot": _foot(list(stamps.values()))}
    (source / "build.json").write_text(json.dumps(foot, ensure_ascii=False), "utf-8")
    if STATUS in listed:
        order = [page.removeprefix("notebooks/") for page in listed if page.startswith("notebooks/")]
        text = status.page({name: stamps[name] for name in order if name in stamps})
        (source / f"{STATUS}.md").write_text(text, "utf-8")
    if EXPLORER in listed:
        explorer.write(source / "book" / "_static")


def _foot(stamps: list[dict[str, Any]]) -> str:
    """The line at the foot of every page, from the stamps of its notebooks."""
    if not stamps:
        return f"minichin {minichin.__version__}"
    last = max(stamps, key=lambda stamp: stamp["date"])
    made = f"minichin {minichin.__version__} · profile {last['profile']} · {last['date']}"
    return made + (f" · trained on {last['device']}" if last["device"] else "")


def render(source: Path, folder: Path) -> Path:
    """Build the staged `source` strictly into `folder/_build/html`; return its index.html.

    Raises `BookError` with the warnings; the whole output is then in `folder/build.log`.
    """
    ignored = {source / "_figures", source / "book" / "_ext" / "__pycache__"}
    files = [p for p in source.rglob("*") if p.is_file() and not ignored & set(p.parents)]
    state = tree_hash(files, source) + importlib.metadata.version("sphinx")
    mark, index = folder / "_build" / "source.sha256", folder / "_build" / "html" / "index.html"
    if index.is_file() and mark.is_file() and mark.read_text() == state:
        return index
    fresh = folder / ".fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    program = "from jupyter_book.cli.main import main; main()"
    options = [str(source), "--path-output", str(fresh), "-n", "-W", "--keep-going"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "build", *options],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)  # Jupyter Book colours whatever it is told
    log = folder / "build.log"
    log.write_text(output, "utf-8")
    if done.returncode:
        raise BookError(f"the pages cannot be built; see {log}:\n{_complaints(output, source)}")
    icons.shrink(fresh / "_build" / "html")
    (fresh / "_build" / "source.sha256").write_text(state)
    shutil.rmtree(folder / "_build", ignore_errors=True)
    (fresh / "_build").replace(folder / "_build")
    shutil.rmtree(fresh)
    return index


def _complaints(output: str, source: Path) -> str:
    """The lines of a build's output that say what is wrong, or else its end."""
    lines = output.replace(f"{source}/", "").splitlines()
    bad = [line for line in lines if "WARNING:" in line or "ERROR:" in line or "CRITICAL:" in line]
    return "\n".join(bad or lines[-30:])


def build(
    profile: str = "cpu",
    *,
    store: str = "",
    open_browser: bool = False,
    parameters: Mapping[str, Any] | None = None,
    say: Say = print,
) -> Path:
    """Make the book of a profile from nothing but the clone; return the page to open.

    Trains what the profile's store lacks (nothing for `published`), runs the notebooks, builds the pages.
    """
    root, planned = repository(), known_profile(profile)
    store = str(Path(store).resolve()) if store else ""
    check_given(root, parameters or {})
    if profile != "published":
        from minichin import corpus, sweep

        say(f"Text: {planned.corpus}")
        corpus.load(planned.corpus, progress=True)
        where = store or str(runs.default_store(profile))
        say(f"Runs of profile {profile}, into {where}:")
        store_now = sweep.ensure(profile, where)
        say(f"  {len(store_now.records())} runs")
    folder = root / "build" / "book" / profile
    say("Notebooks:")
    execute_all(root, folder / "source" / "notebooks", profile, store=store, say=say, parameters=parameters)
    say("Pages")
    stage(root, folder / "source")
    index = render(folder / "source", folder)
    if open_browser:
        webbrowser.open(index.as_uri())
    say(f"The book is ready: open {index.as_uri()}")
    return index
