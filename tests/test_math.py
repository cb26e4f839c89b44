"""Formulas as MathML: what TeX's spacing and placement need beyond the converter."""

from types import ModuleType
from xml.etree import ElementTree as ET

import pytest
from docutils import nodes
from docutils.utils import new_document

from tests.extension import load

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


@pytest.fixture(scope="module")
def extension() -> ModuleType:
    """The book's Sphinx extension for formulas as a module."""
    return load("minichin_math")


def tags(extension: ModuleType, tex: str, *, display: bool = False) -> list[tuple[str, str]]:
    """(tag, text) of all elements of the formula, in order, without the annotation."""
    root = ET.fromstring(extension.mathml(tex, display=display))
    return [(e.tag.removeprefix(NAMESPACE), (e.text or "").strip()) for e in root.iter()][:-1]


def operators(extension: ModuleType, tex: str) -> dict[str, str | None]:
    """Space before each operator, by its text; None where the browser's own holds."""
    root = ET.fromstring(extension.mathml(tex))
    return {e.text or "": e.get("lspace") for e in root.iter(f"{NAMESPACE}mo")}


def test_the_source_stays_with_the_formula(extension: ModuleType) -> None:
    root = ET.fromstring(extension.mathml(r"a < b"))
    note = root.find(f".//{NAMESPACE}annotation")
    assert note is not None
    assert (note.text, note.get("encoding")) == ("a < b", "application/x-tex")
    assert root.get("display") == "inline"
    assert ET.fromstring(extension.mathml("a", display=True)).get("display") == "block"


def test_functions_stand_apart_from_what_they_are_of(extension: ModuleType) -> None:
    assert [tag for tag, _ in tags(extension, r"2 \ln N")][-4:] == ["mspace", "mi", "mspace", "mi"]
    assert "mspace" not in dict(tags(extension, r"\ln(N)"))
    assert "mspace" in dict(tags(extension, r"\ln^2 N"))


def test_operators_are_tight_in_exponents_and_about_slashes(extension: ModuleType) -> None:
    assert operators(extension, "10^{4 + 5}") == {"+": "0"}
    assert operators(extension, "4 + 5") == {"+": None}
    assert operators(extension, "D/N")["/"] == "0"
    assert operators(extension, "x = -3")["−"] == "0"
    assert operators(extension, "x - 3")["−"] is None


def test_indices_of_min_go_below_in_a_display_only(extension: ModuleType) -> None:
    assert "munder" in dict(tags(extension, r"\min_{N} L", display=True))
    assert "munder" not in dict(tags(extension, r"\min_{N} L"))


@pytest.mark.parametrize(
    "tex", [r"a \\ b", r"\begin{split}\begin{gathered} a \\ b \end{gathered}\end{split}"]
)
def test_lines_of_a_display_are_rows(extension: ModuleType, tex: str) -> None:
    assert [tag for tag, _ in tags(extension, tex, display=True)].count("mtr") == 2


def test_aligned_lines_have_two_columns(extension: ModuleType) -> None:
    names = [
        tag for tag, _ in tags(extension, r"\begin{aligned} a &= b \\ c &= d \end{aligned}", display=True)
    ]
    assert (names.count("mtr"), names.count("mtd")) == (2, 4)


def test_a_comma_stays_with_its_formula(extension: ModuleType) -> None:
    paragraph = nodes.paragraph("", "", nodes.Text("of "), nodes.math("", "N"), nodes.Text("), and"))
    document = new_document("x")
    document += paragraph
    extension.keep_punctuation(None, document, "x")
    assert paragraph[1]["after"] == "),"
    assert paragraph[2].astext() == " and"


@pytest.mark.parametrize(
    ("tex", "why"),
    [
        (r"\frac{1", "braces do not match"),
        (r"\foo x", "foo is not known"),
        ("x^", "MissingSuperScriptOrSubscript"),
        (r"\left( x", "ExtraLeft"),
    ],
)
def test_a_formula_that_is_none_is_named(extension: ModuleType, tex: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"the formula '.*' cannot be converted: .*{why}"):
        extension.mathml(tex)
