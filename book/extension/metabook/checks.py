"""What makes the build fail: each broken rule of the chapter contract is a warning."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from metabook.assets import WIDGET
from metabook.chapters import chapters_of
from metabook.exercises import GRADES
from metabook.numbering import figure_ids
from metabook.statements import PROVED_KINDS, boxes_of

LOGGER = logging.getLogger(__name__)

LEAST_EXERCISES = 8
LEAST_FIGURES = 5
FIGURE_WIDGET = "livejax-figure"


@cache
def names_in(path: Path, changed_at: int) -> frozenset[str]:
    """The tests that pytest collects in a file, methods as `Class::method`.

    `changed_at` refreshes the cache.
    """
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
            names.update(f"{node.name}::{method.name}" for method in methods)
    return frozenset(name for name in names if name.rpartition("::")[2].startswith("test"))


def missing_test(root: Path, test: str) -> str | None:
    """Why `path::name` is no test below `root`; None if it is one."""
    file, _, name = test.partition("::")
    path = root / file
    if not name:
        return f"{test!r} is not of the form path::test_name"
    if not path.is_file():
        return f"there is no file {file}"
    if name not in names_in(path, path.stat().st_mtime_ns):
        return f"{file} has no test {name}"
    return None


class CheckPage(SphinxTransform):
    """Check one page, after everything on it has its number."""

    default_priority = 430

    def apply(self, **kwargs: Any) -> None:
        self.check_statements()
        self.check_exercises()
        if self.env.docname in chapters_of(self.app):
            self.check_chapter()

    def warn(self, node: nodes.Node, message: str, *details: Any) -> None:
        LOGGER.warning(message, *details, location=node, type="metabook")

    def check_statements(self) -> None:
        statements = boxes_of(self.document, "statement")
        proved = set()
        for proof in boxes_of(self.document, "proof"):
            before = previous(proof)
            if proof["of"]:
                proved.add(proof["of"])
            elif before is not None and before.get("role") == "statement":
                proved.add(before["ids"][0])
            else:
                self.warn(proof, "a proof follows its statement, or names it by :of:")
        for node in statements:
            name = node["ids"][0]
            if node["test"]:
                self.env.note_dependency(str(Path(self.app.srcdir) / node["test"].split("::")[0]))
                problem = missing_test(Path(self.app.srcdir), node["test"])
                if problem:
                    self.warn(node, "statement %r: %s", name, problem)
            if node["status"] != "definition" and not node["test"]:
                self.warn(node, "statement %r names no test", name)
            if node["kind"] in PROVED_KINDS and name not in proved:
                self.warn(node, "%s %r has no proof", node["kind"], name)
            if node["kind"] in PROVED_KINDS and node["status"] not in ("paper", "ours"):
                self.warn(node, "%s %r cannot have status %r", node["kind"], name, node["status"])
            proved.discard(name)
        for name in sorted(proved - {s["ids"][0] for s in statements}):
            self.warn(self.document, "a proof names the statement %r, which is not here", name)

    def check_exercises(self) -> None:
        for node in boxes_of(self.document, "exercise"):
            name = node["ids"][0]
            hints = len(boxes_of(node, "hint"))
            if hints < 2:
                self.warn(node, "exercise %r has %d hints; two are needed", name, hints)
            if not boxes_of(node, "solution"):
                self.warn(node, "exercise %r has no solution", name)
            widgets = {w for raw in node.findall(nodes.raw) for w in WIDGET.findall(raw.astext())}
            if not widgets - {FIGURE_WIDGET}:
                self.warn(node, "exercise %r has no box that checks the answer", name)
        for role in ("hint", "solution"):
            for node in boxes_of(self.document, role):
                if node.parent.get("role") != "exercise":
                    self.warn(node, "this %s belongs to no exercise", role)

    def check_chapter(self) -> None:
        document = self.document
        exercises = boxes_of(document, "exercise")
        if len(exercises) < LEAST_EXERCISES:
            few = len(exercises), LEAST_EXERCISES
            self.warn(document, "the chapter has %d exercises; %d are needed", *few)
        for grade in GRADES:
            if not any(node["grade"] == grade for node in exercises):
                self.warn(document, "the chapter has no exercise of the grade %r", grade)
        figures = sum(len(figure_ids(raw.astext())) for raw in document.findall(nodes.raw))
        if figures < LEAST_FIGURES:
            few = figures, LEAST_FIGURES
            self.warn(document, "the chapter has %d live figures; %d are needed", *few)
        if not boxes_of(document, "chapterhead"):
            self.warn(document, "the chapter has no :::{chapterhead}")


def previous(node: nodes.Node) -> Any:
    """The sibling before `node` that shows on the page."""
    siblings = node.parent.children
    for sibling in reversed(siblings[: siblings.index(node)]):
        if not isinstance(sibling, nodes.Invisible | nodes.system_message):
            return sibling
    return None


def setup(app: Sphinx) -> None:
    app.add_transform(CheckPage)
