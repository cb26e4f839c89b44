"""The templates are clean, they run, and the book that they make is whole and needs no network."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from minichin import book, templates

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_template = pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)


def test_the_contents_name_every_template() -> None:
    """`_toc.yml` names every notebook there is, and none that there is not."""
    assert sorted(book.notebooks(ROOT)) == TEMPLATES


def test_the_contents_name_every_chapter() -> None:
    """`_toc.yml` names every chapter there is, and none that there is not but the one that staging writes."""
    named = {page for page in book.pages(ROOT) if page.startswith("book/")}
    assert named - {book.STATUS} == {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}


@each_template
def test_template_is_clean(template: Path) -> None:
    """A template holds no output, no count, no empty cell, and names the kernel that every Jupyter has."""
    notebook = templates.read(template)
    for cell in notebook.cells:
        assert cell.source.strip()
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


@each_template
def test_template_parameters_default_to_smoke(template: Path) -> None:
    """The one parameters cell holds literals only, and its profile is the smoke run in the default store."""
    defaults = templates.parameters_of(template)
    assert defaults["profile"] == "smoke"
    assert defaults["store"] == ""


@each_template
def test_template_defines_nothing(template: Path) -> None:
    """Notebooks call the package: they hold no function, class or lambda bound to a name."""
    for cell in templates.read(template).cells:
        if cell.cell_type == "code":
            tree = ast.parse(TransformerManager().transform_cell(cell.source))
            for node in ast.walk(tree):
                assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), (
                    cell.source
                )
                assert not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)), cell.source


@each_template
def test_executed_copy_is_whole(template: Path, smoke_book: Path) -> None:
    """Every cell of the executed copy ran, in order, without an error, from the present template."""
    templates.verify_executed(smoke_book / "source" / "notebooks" / template.name, template)


@each_template
def test_executed_copy_shows_no_stderr(template: Path, smoke_book: Path) -> None:
    """No warning and no progress bar lands on the reader's page."""
    copy = templates.read(smoke_book / "source" / "notebooks" / template.name)
    outputs = [out for cell in copy.cells if cell.cell_type == "code" for out in cell.outputs]
    assert [out.text for out in outputs if out.output_type == "stream" and out.name == "stderr"] == []


@each_template
def test_executed_copy_names_no_folder_of_this_machine(template: Path, smoke_book: Path) -> None:
    """What is published holds no path of the machine that made it."""
    text = (smoke_book / "source" / "notebooks" / template.name).read_text("utf-8")
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
    assert str(smoke_book) not in text


class Page(HTMLParser):
    """What the tests need of a page: tags, ids, prose outside code and formulas, inline scripts."""

    CODE = ("pre", "code", "script", "style", "kbd")
    VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr")

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.prose, self.inline = "", ""
        self._open: list[tuple[str, bool]] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])
        if tag not in self.VOID:
            code = tag in self.CODE or "math" in values.get("class", "").split()
            self._open.append((tag, code))

    def handle_endtag(self, tag: str) -> None:
        while self._open and any(name == tag for name, _ in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] in ("script", "style"):
            self.inline += data
        elif not any(code for _, code in self._open):
            self.prose += data


@pytest.fixture(scope="session")
def html(smoke_book: Path) -> Path:
    """The folder of the built pages."""
    return smoke_book / "_build" / "html"


@pytest.fixture(scope="session")
def site(html: Path) -> dict[str, Page]:
    """The built pages by their path."""
    files = {file.relative_to(html).as_posix(): file for file in html.rglob("*.html")}
    return {name: Page(file) for name, file in files.items() if not name.startswith("_static/")}


def test_every_page_is_built(site: dict[str, Page]) -> None:
    """Every page of `_toc.yml` became a page of the site."""
    assert {f"{page}.html" for page in book.pages(ROOT)} <= set(site)


LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LOADED |= {"embed": "src", "object": "data", "track": "src", "input": "src"}
FETCHING = {
    "stylesheet",
    "preload",
    "modulepreload",
    "prefetch",
    "icon",
    "preconnect",
    "dns-prefetch",
    "manifest",
}
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//", re.IGNORECASE)
IN_SCRIPT = re.compile(
    r"(?:\bimport\s*\(|\bfrom|\bfetch\s*\(|\bimportScripts\s*\(|\.src\s*=)\s*[\"'`](?:https?:)?//"
)


def test_no_page_loads_from_elsewhere(site: dict[str, Page]) -> None:
    """Nothing on any page is fetched from another site: no script, style, picture, frame, font or import."""
    for name, page in site.items():
        for tag, values in page.tags:
            loads = [values.get(LOADED.get(tag, ""), ""), *re.split(r"[\s,]+", values.get("srcset", ""))]
            if tag == "link" and FETCHING & set(values.get("rel", "").split()):
                loads.append(values["href"])
            bad = [load for load in loads if urlsplit(load).netloc]
            assert not bad, f"{name}: <{tag}> loads {bad}"
            assert not IN_STYLE.search(values.get("style", "")), f"{name}: {values['style']}"
        assert not IN_STYLE.search(page.inline), name
        assert not IN_SCRIPT.search(page.inline), name
        assert "THEBE_JS_URL" not in page.inline, name


def test_no_asset_loads_from_elsewhere(html: Path) -> None:
    """No style sheet and no script loads from elsewhere."""
    for file in html.rglob("*.css"):
        assert not IN_STYLE.search(file.read_text("utf-8")), file.name
    for file in html.rglob("*.js"):
        found = IN_SCRIPT.search(file.read_text("utf-8"))
        assert not found, f"{file.name}: {found}"


def test_every_internal_link_leads_somewhere(site: dict[str, Page], html: Path) -> None:
    """Every link and every loaded file within the site exists, and so does every anchor that is named."""
    for name, page in site.items():
        for tag, values in page.tags:
            for key in ("href", "src"):
                parts = urlsplit(values.get(key, ""))
                if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                    continue
                path = unquote(parts.path)
                target = ((html / name).parent / path).resolve() if path else html / name
                assert target.is_file(), f"{name}: <{tag}> names {path}, which is not there"
                if parts.fragment and target.suffix == ".html":
                    there = site[target.relative_to(html.resolve()).as_posix()] if path else page
                    assert unquote(parts.fragment) in there.ids, f"{name}: no anchor {path}#{parts.fragment}"


def test_the_front_leads_to_the_book(site: dict[str, Page], html: Path) -> None:
    """The site's index.html takes the reader to the first page."""
    refresh = [
        v["content"] for t, v in site["index.html"].tags if v.get("http-equiv", "").lower() == "refresh"
    ]
    if refresh:
        assert (html / refresh[0].partition("url=")[2]).is_file()


def test_every_picture_has_alternative_text(site: dict[str, Page]) -> None:
    """Every picture says in words what is to be seen; a file name does not count."""
    for name, page in site.items():
        for tag, values in page.tags:
            if tag == "img":
                alt = values.get("alt", "").strip()
                assert alt, f"{name}: {values}"
                assert not re.search(r"\.(png|svg|jpe?g)$", alt), f"{name}: {values}"


def test_every_mark_is_rendered(site: dict[str, Page], html: Path) -> None:
    """No role, fence, formula or glue reference is left as text, and Sphinx marked nothing as wrong."""
    for name, page in site.items():
        left = re.search(
            r"\{(glue|numref|ref|cite|eq|doc|term)[:}]|```|:::|\$[A-Za-z\\]|\]\(|nan\b", page.prose
        )
        assert not left, f"{name}: …{page.prose[max(0, left.start() - 60) : left.end() + 60]}…"
        classes = {word for _, values in page.tags for word in values.get("class", "").split()}
        assert not classes & {"problematic", "system-message"}, name


def test_every_glued_number_is_there(site: dict[str, Page], html: Path) -> None:
    """Chapters quote numbers, and each quotation became text."""
    for name in site:
        text = (html / name).read_text("utf-8")
        assert not re.search(r'<span class="pasted-text">\s*</span>', text), name
    assert any('class="pasted-text"' in (html / name).read_text("utf-8") for name in site)


def test_ids_are_unique(site: dict[str, Page]) -> None:
    """No id stands twice on a page, so that every anchor and every interactive figure is the one meant."""
    for name, page in site.items():
        twice = {i for i in page.ids if page.ids.count(i) > 1}
        assert not twice, f"{name}: {twice}"


def test_each_page_has_one_search_box(site: dict[str, Page]) -> None:
    """The sidebar's search box is the only one that shows."""
    for name, page in site.items():
        if name.startswith(("book/", "notebooks/")):
            boxes = [v for t, v in page.tags if "search-button-field" in v.get("class", "").split()]
            assert len(boxes) == 1, name


def test_the_book_can_be_searched(html: Path) -> None:
    """The search index knows the book's central word."""
    assert "isoflop" in (html / "searchindex.js").read_text("utf-8").lower()


def test_launch_buttons_open_a_file_that_exists(site: dict[str, Page]) -> None:
    """On every notebook's page, Colab and Binder open the template of that name on the main branch."""
    for template in TEMPLATES:
        page = f"notebooks/{template.stem}.html"
        links = [values.get("href", "") for tag, values in site[page].tags if tag == "a"]
        for host in ("colab.research.google.com/github", "mybinder.org/v2/gh"):
            found = [link for link in links if host in link]
            assert found, page
            assert all(link.endswith(f"notebooks/{template.name}") and "/main" in link for link in found)


def test_the_foot_says_which_build_this_is(site: dict[str, Page]) -> None:
    """Version, profile and date stand at the foot of every chapter."""
    for name, page in site.items():
        if name.startswith("book/"):
            assert re.search(r"minichin \d+\.\d+\.\d+ · profile smoke · \d{4}-\d\d-\d\d", page.prose), name
