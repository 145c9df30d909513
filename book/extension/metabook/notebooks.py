"""Each notebook page's `.ipynb`, and what the page offers to do with it."""

import ast
import codecs
import json
import os
import re
from pathlib import Path
from typing import Any

import latexcodec  # noqa: F401  registers the codec "ulatex"
import nbformat
from pybtex.database import parse_file
from sphinx.application import Sphinx

from metabook.address import read_address
from metabook.chapters import load
from metabook.convert import to_ipynb
from metabook.markup import find_labels, is_notebook

ABOUT = (
    "*This notebook is a page of the book Meta-Gradients, Live. "
    "Run it where the book's library is installed; the README of the book tells how.*"
)


def read_references(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """For each key of a BibTeX file "Polyak (1964)", and the entry in a list of references.

    A book without that file has no references.
    """
    citations: dict[str, str] = {}
    entries: dict[str, str] = {}
    if not path.exists():
        return citations, entries
    for key, entry in parse_file(str(path), bib_format="bibtex").entries.items():
        people = entry.persons["author"]
        last = [" ".join(person.prelast_names + person.last_names) for person in people]
        names = " and ".join(last) if len(last) < 3 else f"{last[0]} et al."
        given = [" ".join(person.first_names + person.middle_names) for person in people]
        full = ", ".join(" ".join(parts) for parts in zip(given, last, strict=True))
        year, title = entry.fields["year"], entry.fields["title"]
        citations[key] = plain(f"{names} ({year})")
        entries[key] = f"{plain(full)} ({year}). *{plain(title)}*."
    return citations, entries


def plain(text: str) -> str:
    """Plain letters in place of TeX's braces and accents."""
    return codecs.decode(text, "ulatex").replace("{", "").replace("}", "")  # type: ignore


def read_values(executed: Path) -> dict[str, Any]:
    """The glued values of an executed notebook, which MyST-NB keeps beside it."""
    path = executed.with_suffix(".glue.json")
    if not path.exists():
        return {}
    outputs = json.loads(path.read_text(encoding="utf-8"))
    return {name: literal(output["data"]["text/plain"]) for name, output in outputs.items()}


def literal(text: str) -> Any:
    """The value that `text` is the repr of; the text itself if it is not a plain literal."""
    inner = re.sub(r"^(?:np|numpy)\.\w+\((.*)\)$", r"\1", text)
    try:
        return ast.literal_eval(inner)
    except (SyntaxError, ValueError):
        return text


def convert_file(root: Path, path: str, executed: Path | None = None) -> nbformat.NotebookNode:
    """The text notebook `path` of the checkout `root` as `.ipynb`, with its references resolved.

    Args:
        root: the checkout.
        path: for example notebooks/momentum.md.
        executed: the same notebook as the build left it in _build/jupyter_execute, for the values
            that its prose prints.
    """
    numbers = {f"{c.docname}.md": c.number for c in load(root / "book" / "chapters.yml")}
    labels: dict[str, str] = {}
    for page in [*(root / "book").glob("*.md"), *(root / "notebooks").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        labels |= find_labels(text, numbers.get(page.relative_to(root).as_posix()))
        heading = re.search(r"^# (.*)$", text, flags=re.MULTILINE)
        labels[page.stem] = heading.group(1) if heading else page.stem
    citations, references = read_references(root / "book" / "references.bib")
    return to_ipynb(
        (root / path).read_text(encoding="utf-8"),
        chapter=numbers.get(path),
        labels=labels,
        citations=citations,
        references=references,
        values=read_values(executed) if executed else {},
    )


def source_of(app: Sphinx, docname: str) -> str | None:
    """The path of the page's text notebook, from the root; None if the page is no notebook."""
    if docname not in app.env.found_docs:
        return None
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md" or not is_notebook(path.read_text(encoding="utf-8")):
        return None
    return path.relative_to(app.srcdir).as_posix()


def write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Write `<page>.ipynb` beside each notebook page."""
    if exception or app.builder.format != "html":
        return
    for docname in app.env.found_docs:
        path = source_of(app, docname)
        if path:
            executed = Path(app.outdir).parent / "jupyter_execute" / f"{docname}.ipynb"
            notebook = convert_file(Path(app.srcdir), path, executed)
            notebook.cells.insert(0, nbformat.v4.new_markdown_cell(ABOUT, id="about"))
            nbformat.write(notebook, Path(app.outdir) / f"{docname}.ipynb")


def add_links(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Tell the page template what to offer."""
    address = app.metabook_address  # type: ignore[attr-defined]
    path = source_of(app, pagename)
    context["notebook_file"] = f"{pagename.rpartition('/')[2]}.ipynb" if path else None
    context["page_links"] = []
    if path:
        context["page_links"] = address.links(path)
    elif pagename in app.env.found_docs:
        source = Path(app.env.doc2path(pagename)).relative_to(app.srcdir).as_posix()
        context["page_links"] = address.edit(source) if address.repository else []


def visit_source_link(translator: Any, node: Any) -> None:
    href = translator.builder.app.metabook_address.file(node["path"])
    translator.body.append(f'<a href="{href}">' if href else "<span>")


def depart_source_link(translator: Any, node: Any) -> None:
    href = translator.builder.app.metabook_address.file(node["path"])
    translator.body.append("</a>" if href else "</span>")


def start(app: Sphinx, config: Any) -> None:
    address = read_address(Path(app.srcdir) / config.metabook_settings, os.environ)
    app.metabook_address = address  # type: ignore[attr-defined]
    # A configuration value, so that a new address writes all pages again.
    config.metabook_address = repr(address)


def setup(app: Sphinx) -> None:
    from metabook.statements import SourceLink

    app.add_config_value("metabook_settings", "book/settings.yml", "html")
    app.add_config_value("metabook_address", "", "html")
    app.add_node(SourceLink, html=(visit_source_link, depart_source_link))
    app.connect("config-inited", start)
    app.connect("html-page-context", add_links)
    app.connect("build-finished", write_notebooks, priority=400)
