"""The documentation is under test, and so is what it promises of the installation."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import minichin
from minichin import runs

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8") if (ROOT / "README.md").exists() else ""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


def commands(command: click.Command, words: tuple[str, ...] = ("minichin",)) -> Iterator[str]:
    """Yield the command lines of a click command tree: `minichin runs table`, …"""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*words, name))
    else:
        yield " ".join(words)


def test_readme_names_every_command() -> None:
    """Every command of the command line stands in the README."""
    from minichin.cli import cli

    assert [line for line in commands(cli) if line not in README] == []


@pytest.mark.parametrize("column", runs.TABLE_COLUMNS)
def test_readme_explains_every_column(column: str) -> None:
    """Every column of the runs table has a row in the README's dictionary of columns."""
    assert re.search(rf"^\| `{column}`[^|]*\| *\S", README, re.MULTILINE)


def test_readers_need_no_torch() -> None:
    """Everything that fits, draws and builds imports where torch is not installed."""
    modules = ["law", "fit", "published", "figures", "book", "templates", "runs", "corpus", "shape"]
    code = "import sys; sys.modules['torch'] = None\n" + "\n".join(f"import minichin.{m}" for m in modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version_is_the_same_everywhere() -> None:
    """The package, the project file and the citation name one version."""
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert minichin.__version__ == PROJECT["version"] == cited[1]


def test_pins_are_exact() -> None:
    """Every line of requirements.txt names one version and no place to get it from."""
    for pin in PINS:
        assert [spec.operator for spec in pin.specifier] == ["=="], pin
        assert "+" not in str(pin.specifier), pin
        assert pin.url is None, pin


def test_pins_meet_the_ranges() -> None:
    """Whatever the package, its tests and the lab ask for is pinned, within the range asked for."""
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINS}
    extras = PROJECT["optional-dependencies"]
    for line in PROJECT["dependencies"] + extras["test"] + extras["lab"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), line
