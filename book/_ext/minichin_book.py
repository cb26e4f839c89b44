"""Sphinx extension of this book: what the theme and MyST-NB leave to be done.

Decisions:
- A figure that a chapter borrows from a notebook is read from the executed notebook, is always captioned, and
  must carry alternative text. (MyST-NB's `glue` across pages gives neither, and loses a picture that the
  notebook did not display.)
- Under each figure of runs stands whose runs these are: this build's, or the committed ones (`runs` in the
  metadata of the notebook's cell). A reader who retrains the sweep sees which pictures changed.
- No page asks the network for anything: the live-code machinery of sphinx-thebe, which would be loaded from
  elsewhere, is taken out.
- A picture in which something can be touched (`style.tip`) stands in the page itself, and touch.js, two
  kilobytes, tells what is under the finger; all others are images. The data of each picture, which its
  notebook kept beside it, are linked from its caption.
- The foot of each page says which build this is.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.directives.patches import Figure
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
PICTURES = {"image/svg+xml": "svg", "image/png": "png"}
REPEATED_IDS = ("exercise-content", "solution-content", "proof-content")
RUNS_SHOWN = {
    "own": "Runs of this build, profile {profile}.",
    "committed": "Runs that come with the repository.",
}
WORDS_A_MINUTE = 200
EXPLORER = "book/explorer"
UNTIMED = ("index", "lablog", "references", "status", "notation", "explorer")
TIP = "tip: "  # as in `minichin.style`, which cannot be imported here


def find_picture(notebook: dict[str, Any], key: str) -> tuple[str, bytes, str] | None:
    """Find a picture by its glue key or by its cell's figure name; return suffix, bytes, alternative text."""
    for cell in notebook["cells"]:
        card = cell["metadata"].get("mystnb", {})
        for output in cell.get("outputs", []):
            glue = output.get("metadata", {}).get("scrapbook", {})
            if key not in (glue.get("name"), card.get("figure", {}).get("name")):
                continue
            prefix = glue.get("mime_prefix", "")
            for mime, suffix in PICTURES.items():
                if data := output.get("data", {}).get(prefix + mime):
                    text = data if isinstance(data, str) else "".join(data)
                    raw = text.encode() if suffix == "svg" else b64decode(text)
                    return suffix, raw, card.get("image", {}).get("alt", "")
    return None


def runs_shown(notebook: dict[str, Any], key: str) -> str:
    """Whose runs the figure `key` of an executed notebook shows, a sentence; empty where it shows none."""
    for cell in notebook["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == key:
            profile = notebook["metadata"].get("minichin", {}).get("profile", "published")
            kind = cell["metadata"].get("runs", "none")
            kind = "committed" if kind == "own" and profile == "published" else kind
            return RUNS_SHOWN.get(kind, "").format(profile=profile)
    return ""


def find_data(notebook: dict[str, Any], key: str) -> str:
    """The CSV that the notebook kept beside the picture of the figure `key`; empty where there is none."""
    for cell in notebook["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == key:
            for output in cell.get("outputs", []):
                if data := output.get("data", {}).get("text/csv"):
                    return data if isinstance(data, str) else "".join(data)
    return ""


def add_to_caption(app: Sphinx, figure: nodes.Node, notebook: dict[str, Any], key: str) -> None:
    """Add to the caption of a figure whose runs it shows, and a link to its data."""
    text, data = runs_shown(notebook, key), find_data(notebook, key)
    for caption in figure.findall(nodes.caption):
        if text:
            caption += [nodes.Text(" "), nodes.inline(text, text, classes=["runs-shown"])]
        if data:
            file = Path(app.outdir) / "_data" / f"{key}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(data, "utf-8")
            link = nodes.reference("", "Data (CSV)", refuri=f"../_data/{file.name}", classes=["figure-data"])
            caption += [nodes.Text(" "), link]


def mark_notebook_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Say under each figure of a notebook's own page whose runs it shows."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix == ".ipynb":
        notebook = json.loads(path.read_text("utf-8"))
        for figure in doctree.findall(nodes.figure):
            for name in figure["names"]:
                add_to_caption(app, figure, notebook, name)


class RunFigure(Figure):
    """Show a notebook's picture as a figure of this page: ``{run-figure} /notebooks/x.ipynb::key``.

    Takes the options of `figure`; the content is the caption. The alternative text is the option `alt`, or
    else the one that the notebook's cell gives; neither is a warning, as is a key that is not there.
    """

    def run(self) -> list[nodes.Node]:
        document, _, key = self.arguments[0].partition("::")
        env = self.state.document.settings.env
        relative, path = env.relfn2path(document, env.docname)
        env.note_dependency(relative)
        notebook = json.loads(Path(path).read_text("utf-8")) if Path(path).is_file() else None
        found = None if notebook is None else find_picture(notebook, key)
        if notebook is None or found is None:
            return [self._problem(f"no picture {key!r} in {document!r}")]
        suffix, raw, alt = found
        self.options.setdefault("alt", alt)
        if not self.options["alt"].strip():
            return [self._problem(f"picture {key!r} of {document!r} has no alternative text: add `:alt:`")]
        name = f"{Path(relative).with_suffix('').as_posix()}-{key}".replace("/", "-")
        picture = Path(env.srcdir) / "_figures" / f"{name}.{suffix}"
        picture.parent.mkdir(exist_ok=True)
        picture.write_bytes(raw)
        self.arguments[0] = f"/_figures/{picture.name}"
        made = super().run()
        add_to_caption(env.app, made[0], notebook, key)
        return made

    def _problem(self, message: str) -> nodes.Node:
        return self.state_machine.reporter.warning(f"run-figure: {message}", line=self.lineno)


def say_how_long(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Say under a chapter's title how long it takes to read, and its notebook to run.

    The notebooks of a chapter are its sections in the table of contents.
    """
    folder, _, name = docname.partition("/")
    title = next(doctree.findall(nodes.title), None)
    if folder != "book" or name in UNTIMED or title is None:
        return
    minutes = max(1, round(len(doctree.astext().split()) / WORDS_A_MINUTE))
    text = f"{minutes} minute{'s' if minutes > 1 else ''} to read"
    seconds = []
    for section in app.env.toctree_includes.get(docname, []):
        path = Path(app.env.doc2path(section))
        if path.suffix == ".ipynb":
            seconds.append(json.loads(path.read_text("utf-8"))["metadata"].get("minichin", {}).get("seconds"))
    if seconds and None not in seconds:
        text += f" · its code ran in {max(1, round(sum(seconds)))} s here"
    line = nodes.paragraph(text, text, classes=["how-long"])
    title.parent.insert(title.parent.index(title) + 1, line)


def remove_thebe(app: Sphinx, config: Config) -> None:
    """Disconnect sphinx-thebe, which Jupyter Book always loads and which declares one constant twice."""
    for listeners in list(app.events.listeners.values()):
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)
    app.registry.css_files[:] = [item for item in app.registry.css_files if "thebe" not in item[0]]


def add_build_to_foot(app: Sphinx, config: Config) -> None:
    """Put the line that `minichin.book` wrote (version, profile, date, device) at the foot of each page."""
    facts = Path(app.srcdir) / "build.json"
    if facts.is_file():
        config.html_theme_options["extra_footer"] = json.loads(facts.read_text("utf-8"))["foot"]


def touchable(svg: str, name: str) -> str:
    """An SVG of matplotlib as part of a page: ids of its own, and what can be touched with its text."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    tips = re.compile(rf'<g id="{TIP}([^"]*)">')
    svg = tips.sub(r'<g class="tip" role="img" aria-label="\1">', svg)
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)


def inline_touchables(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put pictures in which something can be touched into the page, described by their alternative text."""
    for figure in doctree.findall(nodes.figure):
        for image in list(figure.findall(nodes.image)):
            path = Path(app.srcdir) / image["uri"]
            text = path.read_text("utf-8") if path.suffix == ".svg" and path.is_file() else ""
            if f'id="{TIP}' in text:
                svg, alt = touchable(text, path.stem), html.escape(image.get("alt", ""))
                label = f'role="group" tabindex="0" aria-label="{alt}"'
                image.replace_self(nodes.raw("", f'<div class="touch" {label}>{svg}</div>', format="html"))


def drop_repeated_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Drop the ids that sphinx-exercise and sphinx-proof repeat on every exercise, solution and theorem."""
    for section in doctree.findall(nodes.section):
        section["ids"] = [name for name in section["ids"] if name not in REPEATED_IDS]


def add_touch(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load touch.js on the pages that hold something to touch, and on no others."""
    if doctree and any('class="touch"' in raw.astext() for raw in doctree.findall(nodes.raw)):
        app.add_js_file("touch.js", loading_method="defer")


def add_explorer(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Load the explorer's scripts, laws first, and its style on its own page, and on no other."""
    if page == EXPLORER:
        for part in ("_laws", ".law", ".numbers", ".plots", ""):
            app.add_js_file(f"explorer{part}.js", loading_method="defer")
        app.add_css_file("explorer.css")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register everything; called by Sphinx."""
    app.add_directive("run-figure", RunFigure)
    app.connect("config-inited", remove_thebe)
    app.connect("config-inited", add_build_to_foot, priority=400)
    app.connect("doctree-read", mark_notebook_figures)
    app.connect("doctree-resolved", say_how_long)
    app.connect("doctree-resolved", inline_touchables)
    app.connect("doctree-resolved", drop_repeated_ids)
    app.connect("html-page-context", add_touch)
    app.connect("html-page-context", add_explorer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
