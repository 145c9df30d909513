"""The numbers in the prose: each comes from code, by way of `glue`, and has an id.

A cell calls `glue("key", value)`; the prose prints it by the role `glue:text`, as
``{glue:text}`key:.2f` ``. The id of the number is "page/key". What is glued and never printed is
an orphan and fails the build; MyST-NB itself warns of what is printed and never glued.
"""

import ast
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
from docutils import nodes
from myst_nb.ext.glue.roles import PasteTextRole
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from metabook.words import around

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Number:
    """One number where the prose prints it.

    Attributes:
        key: its name in `glue`.
        anchor: the id of its place on the page.
        value: as it is printed.
        context: what stands around it.
        code: the expression that is glued.
    """

    key: str
    anchor: str
    value: str
    context: list[nodes.Node]
    code: str


class NumberRole(PasteTextRole):
    """MyST-NB's role, but the node that it makes knows its key."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        found, messages = super().run()
        for node in found:
            if isinstance(node, nodes.inline):
                node["glued"] = self.text.rsplit(":", 1)[0]
        return found, messages


@dataclass(frozen=True)
class Call:
    """A call of `glue`: what its names look like, and the glued expression.

    `fixed` counts the letters of the name that no loop variable fills.
    """

    names: re.Pattern[str]
    fixed: int
    code: str


def glue_calls(path: Path) -> list[list[Call]]:
    """The calls of `glue` in a notebook, a list for each top-level statement that holds some."""
    found = []
    for cell in jupytext.read(path).cells:
        if cell.cell_type != "code" or "glue(" not in cell.source:
            continue
        for statement in ast.parse(cell.source).body:
            calls = []
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "glue":
                    name, value = node.args[:2]
                    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
                    fixed = [str(p.value) if isinstance(p, ast.Constant) else "" for p in parts]
                    names = re.compile("".join(re.escape(part) or ".+" for part in fixed))
                    calls.append(Call(names, len("".join(fixed)), ast.unparse(value)))
            if calls:
                found.append(calls)
    return found


def expressions(keys: list[str], statements: list[list[Call]]) -> dict[str, str]:
    """Key -> the expression that is glued under it; without those that could be several calls'.

    Args:
        keys: in the order in which they were glued.
        statements: from `glue_calls`. They are executed in their order, which tells apart most
            calls whose names look alike. Of the others the one with the most fixed letters is
            meant: `rate_{kind}_low` rather than `rate_{kind}`.
    """
    backward = reachable(keys[::-1], statements[::-1])[::-1]
    found = {}
    for key, first, last in zip(keys, reachable(keys, statements), backward, strict=True):
        between = statements[first : len(statements) - last]
        calls = [call for calls in between for call in calls if call.names.fullmatch(key)]
        most = max((call.fixed for call in calls), default=0)
        codes = {call.code for call in calls if call.fixed == most}
        if len(codes) == 1:
            found[key] = codes.pop()
    return found


def reachable(keys: list[str], statements: list[list[Call]]) -> list[int]:
    """For each key the earliest statement that can have glued it, after those of all before it."""
    place, places = 0, []
    for key in keys:
        fits = (
            later
            for later, calls in enumerate(statements[place:], start=place)
            if any(call.names.fullmatch(key) for call in calls)
        )
        place = next(fits, place)
        places.append(place)
    return places


class NoteNumbers(SphinxTransform):
    """Give each number of a page its anchor, remember it, and warn of orphans."""

    default_priority = 422

    def apply(self, **kwargs: Any) -> None:
        printed = [node for node in self.document.findall(nodes.inline) if "glued" in node]
        glued = NbMetadataCollector.get_doc_data(self.env)[self.env.docname].get("glue", [])
        for key in sorted(set(glued) - {node["glued"] for node in printed}):
            self.warn(self.document, "%r is glued, and no line prints it", key)
        found = numbers(self.env)[self.env.docname] = []
        if not printed:
            return
        made = expressions(glued, glue_calls(Path(self.env.doc2path(self.env.docname))))
        counts: Counter[str] = Counter()
        for node in printed:
            key = node["glued"]
            counts[key] += 1
            anchor = f"number-{key}" + (f"-{counts[key]}" if counts[key] > 1 else "")
            node["ids"] = [anchor]
            if key not in made:
                self.warn(node, "no call of glue on this page, or not one only, can make %r", key)
            found.append(Number(key, anchor, node.astext(), around(node), made.get(key, "")))

    def warn(self, node: nodes.Node, message: str, key: str) -> None:
        LOGGER.warning(message, key, location=node, type="metabook")


def numbers(env: Any) -> dict[str, list[Number]]:
    """Docname -> the numbers of its prose, in page order."""
    if not hasattr(env, "metabook_numbers"):
        env.metabook_numbers = {}
    return env.metabook_numbers


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """A page is read anew, or gone."""
    numbers(env).pop(docname, None)


def merge(app: Sphinx, env: Any, docnames: list[str], other: Any) -> None:
    """What another process has read."""
    numbers(env).update({name: numbers(other)[name] for name in docnames if name in numbers(other)})


def setup(app: Sphinx) -> None:
    app.setup_extension("myst_nb")
    app.add_role_to_domain("glue", "text", NumberRole(), override=True)
    app.add_transform(NoteNumbers)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
