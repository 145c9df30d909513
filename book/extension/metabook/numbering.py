"""Numbers and cross-references for statements, exercises and live figures.

Numbers are "2.3" in chapter 2, "3" elsewhere. Statements of all kinds share one counter. Each id
becomes a label of Sphinx's standard domain, so that `[](#prop-ledger)` prints "Proposition 2.3".
"""

import re
from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from metabook.boxes import Box
from metabook.chapters import chapters_of

LOGGER = logging.getLogger(__name__)

FIGURE = re.compile(r'<figure\b[^>]*\bclass="livejax\b[^>]*>')
FIGURE_ID = re.compile(r'\bid="([^"]+)"')
PLACEHOLDER = '<span class="livejax-number"></span>'


def figure_ids(html: str) -> list[str]:
    """The ids of the live figures in a cell's HTML output."""
    return [FIGURE_ID.search(tag).group(1) for tag in FIGURE.findall(html)]  # type: ignore[union-attr]


class NumberEverything(SphinxTransform):
    """Give out the numbers of one page, in page order."""

    default_priority = 420

    def apply(self, **kwargs: Any) -> None:
        chapter = chapters_of(self.app).get(self.env.docname)
        counts: dict[str, int] = {}

        def number(counter: str) -> str:
            counts[counter] = counts.get(counter, 0) + 1
            return f"{chapter.number}.{counts[counter]}" if chapter else str(counts[counter])

        for node in self.document.findall():
            if isinstance(node, Box) and node.get("role") in ("statement", "exercise"):
                kind = node.get("kind", "exercise").capitalize()
                label = f"{kind} {number(node['role'])}"
                head = next(n for n in node.findall() if n_role(n) == "number")
                head += nodes.Text(label)
                self.note_label(node["ids"][0], label, node)
                self.name_folds(node, label)
            elif isinstance(node, nodes.raw) and "html" in node.get("format", ""):
                self.number_figures(node, number)

    def name_folds(self, exercise: nodes.Element, label: str) -> None:
        """Let a screen reader hear to which exercise a hint belongs."""
        for node in exercise.findall(nodes.TextElement):
            if n_role(node) == "summary":
                node += nodes.inline("", f" for {label}", classes=["visually-hidden"])

    def number_figures(self, node: nodes.raw, number: Callable[[str], str]) -> None:
        html = node.astext()
        for figure in figure_ids(html):
            label = f"Figure {number('figure')}"
            self.note_label(figure, label, node)
            start = html.index(f'id="{figure}"')
            found = PLACEHOLDER[:-7] + label + "</span>"
            html = html[:start] + html[start:].replace(PLACEHOLDER, found, 1)
        if html != node.astext():
            node[:] = [nodes.Text(html)]
            node.rawsource = html

    def note_label(self, name: str, label: str, node: nodes.Node) -> None:
        """Make `[](#name)` print `label`; a second owner of the same id is an error."""
        domain = self.env.domains["std"]
        owner = domain.anonlabels.get(name)  # type: ignore[attr-defined]
        if owner:
            LOGGER.warning("the id %r is used twice: here and in %s", name, owner[0], location=node)
            return
        domain.anonlabels[name] = self.env.docname, name  # type: ignore[attr-defined]
        domain.labels[name] = self.env.docname, name, label  # type: ignore[attr-defined]


def n_role(node: nodes.Node) -> str | None:
    """The role of a box, None for any other node."""
    return node.get("role") if isinstance(node, nodes.Element) else None


def write_what_names_others(app: Sphinx, env: Any) -> list[str]:
    """Write all pages again when a title or number has changed: any page may print it."""
    labels = env.domains["std"].labels.items()
    now = {name: label for name, (_, _, label) in labels}
    now |= {docname: title.astext() for docname, title in env.titles.items()}
    before = getattr(env, "metabook_names", now)
    env.metabook_names = now
    return [] if now == before else sorted(env.found_docs)


def setup(app: Sphinx) -> None:
    app.add_transform(NumberEverything)
    app.connect("env-updated", write_what_names_others)
