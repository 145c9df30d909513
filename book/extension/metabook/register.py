"""The register of claims: every numbered statement and every number in the prose, on one page.

`:::{register}` stands for all of it: chapter by chapter a table of the statements, with status,
test and the test's last result (see `outcomes`), and a list of the numbers (see `numbers`).
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from metabook.boxes import box, text_box
from metabook.chapters import chapters_of
from metabook.markup import STATUS_LABELS
from metabook.numbers import Number, page_numbers
from metabook.outcomes import NOT_RUN, read_outcomes
from metabook.statements import boxes_of, n_title, reference_to


class Register(SphinxDirective):
    """`:::{register}`: replaced when all pages have been read."""

    def run(self) -> list[nodes.Node]:
        if not hasattr(self.env, "metabook_registers"):
            self.env.metabook_registers = set()  # type: ignore[attr-defined]
        self.env.metabook_registers.add(self.env.docname)  # type: ignore[attr-defined]
        return [box("div", role="register", classes=["register"])]


def claims(env: BuildEnvironment) -> dict[str, list[dict[str, Any]]]:
    """Docname -> its statements, in page order."""
    if not hasattr(env, "metabook_claims"):
        env.metabook_claims = {}  # type: ignore[attr-defined]
    return env.metabook_claims  # type: ignore[attr-defined]


class NoteClaims(SphinxTransform):
    """Remember the statements of a page, once they have their numbers."""

    default_priority = 425

    def apply(self, **kwargs: Any) -> None:
        claims(self.env)[self.env.docname] = [
            {
                "id": node["ids"][0],
                "title": n_title(node),
                "status": node["status"],
                "test": node["test"],
            }
            for node in boxes_of(self.document, "statement")
        ]


class FillRegister(SphinxPostTransform):
    """Put the tables where a page asks for them."""

    default_priority = 5  # before references are resolved: the tables hold some
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for node in boxes_of(self.document, "register"):
            outcomes = read_outcomes(self.app)
            for docname, chapter in chapters_of(self.app).items():
                if docname in self.env.found_docs:
                    node += self.chapter(docname, f"{chapter.number} {chapter.title}", outcomes)

    def chapter(self, docname: str, title: str, outcomes: dict[str, str]) -> nodes.Node:
        here = self.env.docname
        section = nodes.section(ids=[f"register-{docname.rpartition('/')[2].replace('_', '-')}"])
        section += nodes.title("", title)
        rows = [
            [
                reference_to(claim["id"], here),
                nodes.Text(claim["title"]),
                nodes.Text(STATUS_LABELS[claim["status"]]),
                self.test_of(claim["test"]),
                nodes.Text(outcomes.get(claim["test"], NOT_RUN) if claim["test"] else ""),
            ]
            for claim in claims(self.env)[docname]
        ]
        section += table(["Statement", "Title", "Status", "Test", "Last result"], rows)
        numbers = page_numbers(self.app, docname)
        if numbers:
            fold = box("details", classes=["register-numbers"])
            fold += text_box("summary", f"{len(numbers)} numbers in the text of this chapter")
            fold += table(
                ["Id", "Value", "In the text", "Computed by"],
                [self.number_row(docname, number) for number in numbers],
            )
            section += fold
        return section

    def test_of(self, test: str | None) -> nodes.Node:
        if not test:
            return nodes.Text("none: a definition")
        name = test.rpartition("::")[2]
        return nodes.literal(name, name)

    def number_row(self, docname: str, number: Number) -> list[nodes.Node]:
        name = f"{docname.rpartition('/')[2]}/{number.key}"
        around = nodes.inline("", number.before)
        around += [nodes.strong("", number.value), nodes.Text(number.after)]
        made = nodes.literal(number.code, number.code) if number.code else nodes.Text("a loop")
        return [nodes.literal(name, name), nodes.Text(number.value), around, made]


def table(head: list[str], rows: list[list[nodes.Node]]) -> nodes.Node:
    """A docutils table of inline nodes."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", line([nodes.Text(word) for word in head]))
    group += nodes.tbody("", *(line(row) for row in rows))
    return nodes.table("", group)


def line(cells: list[nodes.Node]) -> nodes.Node:
    """One row."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page is read anew, or gone."""
    claims(env).pop(docname, None)
    getattr(env, "metabook_registers", set()).discard(docname)


def merge(app: Sphinx, env: BuildEnvironment, docnames: list[str], other: Any) -> None:
    """What another process has read."""
    for docname in docnames:
        if docname in claims(other):
            claims(env)[docname] = claims(other)[docname]
    both = getattr(env, "metabook_registers", set()) | getattr(other, "metabook_registers", set())
    env.metabook_registers = both  # type: ignore[attr-defined]


def write_again(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The register shows what stands on other pages: always write it."""
    return sorted(getattr(env, "metabook_registers", set()))


def setup(app: Sphinx) -> None:
    app.add_directive("register", Register)
    app.add_transform(NoteClaims)
    app.add_post_transform(FillRegister)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", write_again)
