"""The live figures and questions of each page, made by running the page's own code cells."""

import functools
import os
import sys
from dataclasses import dataclass
from typing import Any

import jupytext
import yaml
from browser import ROOT
from ipywidgets import Widget

from livejax import LiveFigure
from selfcheck import Question

sys.path.insert(0, str(ROOT / "lib" / "tests" / "livejax"))


@dataclass(frozen=True)
class Page:
    """One page: its name without ending, and what its cells made, by id.

    `names` are all global variables after the last cell.
    """

    name: str
    figures: dict[str, LiveFigure]
    questions: dict[str, Question]
    names: dict[str, Any]


def page_names() -> list[str]:
    """The names of all pages in the table of contents, for example "notebooks/momentum"."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"]]

    def visit(node: dict[str, Any]) -> None:
        for entry in node.get("chapters", []) + node.get("sections", []):
            names.append(entry["file"])
            visit(entry)

    for part in [toc, *toc.get("parts", [])]:
        visit(part)
    return names


@functools.cache
def collect(name: str) -> Page:
    """Run the code cells of page `name` in this process, in the folder that holds it."""
    source = ROOT / f"{name}.md"
    notebook = jupytext.read(source, fmt="md:myst")
    made: list[Widget] = []
    names: dict[str, Any] = {"__name__": "__main__"}
    before = os.getcwd()
    os.chdir(source.parent)
    Widget.on_widget_constructed(made.append)
    try:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{name}.md", "exec"), names)
    finally:
        Widget.on_widget_constructed(None)
        os.chdir(before)
    figures = {widget.id: widget for widget in made if isinstance(widget, LiveFigure)}
    questions = {w.question["id"]: w for w in made if isinstance(w, Question)}
    return Page(name, figures, questions, names)
