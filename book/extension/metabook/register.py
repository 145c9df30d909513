"""The register of claims: every numbered statement and every number in the prose, on one page.

`:::{register}` stands for all of it: a summary, and for each page a table of its statements, with
status, test and the test's last outcome (see `outcomes`), and one of its numbers (see `numbers`).
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from metabook.boxes import box, text_box
from metabook.chapters import chapters_of, path_of
from metabook.markup import STATUS_LABELS
from metabook.notebooks import read_references
from metabook.numbers import Number, numbers
from metabook.outcomes import NOT_RUN, read_outcomes, versions
from metabook.statements import SourceLink, badge, boxes_of, reference_to, title_of
from metabook.words import copied

CLAIM = re.compile(r"^:{3,}\{statement\}|\{glue:text\}`", re.MULTILINE)


class Register(SphinxDirective):
    """`:::{register}`: a section for each page; they are filled when all pages have been read."""

    def run(self) -> list[nodes.Node]:
        app = self.env.app
        self.env.note_dependency(str(path_of(app)))
        found: list[nodes.Node] = [box("div", role="register-summary", classes=["register-sum"])]
        for docname, title in self.pages().items():
            name = docname.rpartition("/")[2].replace("_", "-")
            section = nodes.section("", nodes.title(title, title), ids=[f"register-{name}"])
            section += box("div", role="register", docname=docname)
            found.append(section)
        return found

    def pages(self) -> dict[str, str]:
        """Docname -> title of each page with claims: the chapters in their order, then the rest."""
        titles: dict[str, str] = {}
        chapters = chapters_of(self.env.app)
        rest = sorted(self.env.found_docs - set(chapters) - {self.env.docname})
        for docname in [*(name for name in chapters if name in self.env.found_docs), *rest]:
            text = Path(self.env.doc2path(docname)).read_text(encoding="utf-8")
            if CLAIM.search(text):
                heading = re.search(r"^# (.*)$", text, flags=re.MULTILINE)
                title = heading[1] if heading else docname
                number = f"{chapters[docname].number} " if docname in chapters else ""
                titles[docname] = number + title
        return titles


class NoteStatements(SphinxTransform):
    """Remember the statements of a page, and whether it shows the register."""

    default_priority = 425

    def apply(self, **kwargs: Any) -> None:
        statements(self.env)[self.env.docname] = [
            {
                "id": node["ids"][0],
                "title": [copied(child) for child in title_of(node)],
                "status": node["status"],
                "test": node["test"],
            }
            for node in boxes_of(self.document, "statement")
        ]
        if boxes_of(self.document, "register-summary"):
            self.env.metadata[self.env.docname]["register"] = True


def statements(env: Any) -> dict[str, list[dict[str, Any]]]:
    """Docname -> its statements, in page order."""
    if not hasattr(env, "metabook_statements"):
        env.metabook_statements = {}
    return env.metabook_statements


class FillRegister(SphinxPostTransform):
    """Put the tables where a page asks for them."""

    default_priority = 5  # before references are resolved: the tables hold some
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        summaries = boxes_of(self.document, "register-summary")
        if not summaries:
            return
        outcomes = read_outcomes(Path(self.app.srcdir))
        for node in summaries:
            node += [box("p", nodes.Text(line)) for line in self.summary(outcomes)]
        for node in boxes_of(self.document, "register"):
            node += self.tables(node["docname"], outcomes)
        names = self.names()
        for node in list(self.document.findall(nodes.inline)):
            if "target" in node:
                node.replace_self(nodes.Text(names.get(node["target"].lower(), node["target"])))

    def summary(self, outcomes: dict[str, str]) -> list[str]:
        """What the whole register holds, counted."""
        claims = [claim for page in statements(self.env).values() for claim in page]
        counts = Counter(claim["status"] for claim in claims)
        tests = {claim["test"] for claim in claims if claim["test"]}
        passed = sum(outcomes.get(test, "").startswith("passed") for test in tests)
        unknown = sum(test not in outcomes for test in tests)
        printed = sum(len(page) for page in numbers(self.env).values())
        kinds = ", ".join(f"{label} {counts[key]}" for key, label in STATUS_LABELS.items())
        lines = [
            f"{len(claims)} numbered statements, by status: {kinds}.",
            f"{len(tests)} tests check them. Last results: {passed} passed, "
            f"{len(tests) - passed - unknown} did not pass, {unknown} {NOT_RUN}.",
            f"{printed} numbers in the text, each computed by a cell of its page.",
        ]
        used = ", ".join(versions(Path(self.app.srcdir)))
        return [*lines, f"The last runs were made with {used}."] if used else lines

    def tables(self, docname: str, outcomes: dict[str, str]) -> list[nodes.Node]:
        """The claims of one page."""
        parts: list[nodes.Node] = []
        claims, found = statements(self.env)[docname], numbers(self.env)[docname]
        if claims:
            rows = [self.statement_row(claim, outcomes) for claim in claims]
            parts.append(table("statements", ["Statement", "Status", "Test", "Last result"], rows))
        if found:
            fold = box("details", classes=["fold"])
            fold += text_box("summary", f"Numbers in the text: {len(found)}")
            rows = [self.number_row(docname, number) for number in found]
            fold += table("numbers", ["Number", "Value", "In the text", "Computed by"], rows)
            parts.append(fold)
        return parts

    def statement_row(
        self, claim: dict[str, Any], outcomes: dict[str, str]
    ) -> list[list[nodes.Node]]:
        here, test = self.env.docname, claim["test"]
        title = [node.deepcopy() for node in claim["title"]]
        name = [reference_to(claim["id"], here), nodes.Text(" "), *title]
        if not test:
            return [name, [badge(claim["status"], here)], [nodes.Text("none")], [nodes.Text("–")]]
        path = test.partition("::")[0]
        link = SourceLink("", "", breakable(test), path=path)
        outcome = outcomes.get(test, NOT_RUN)
        return [name, [badge(claim["status"], here)], [link], [nodes.Text(outcome)]]

    def number_row(self, docname: str, number: Number) -> list[list[nodes.Node]]:
        uri = self.app.builder.get_relative_uri(self.env.docname, docname)
        name = f"{docname.rpartition('/')[2]}/{number.key}"
        place = nodes.reference("", name, refuri=f"{uri}#{number.anchor}", internal=True)
        around = [node.deepcopy() for node in number.context]
        code = nodes.literal(number.code, number.code)
        return [[place], [nodes.Text(number.value)], around, [code]]

    def names(self) -> dict[str, str]:
        """What a reference to a label, formula, page or work prints."""
        formulas = self.env.domains["math"].equations  # type: ignore[attr-defined]
        names = {label: f"({number})" for label, (_, number) in formulas.items()}
        for docname, title in self.env.titles.items():
            names[docname.rpartition("/")[2]] = title.astext()
        names |= {
            label: words
            for label, (_, _, words) in self.env.domains["std"].labels.items()  # type: ignore[attr-defined]
        }
        works = read_references(Path(self.app.srcdir) / "book" / "references.bib")[0]
        return {key.lower(): words for key, words in (names | works).items()}


def breakable(test: str) -> nodes.Node:
    """The name of a test as code whose lines end after a slash, colon or underscore."""
    code = box("code")
    for part in re.findall(r"[^/_:]*[/_:]*", test):
        code += [nodes.Text(part), nodes.raw("", "<wbr>", format="html")]
    return code


def table(kind: str, head: list[str], rows: list[list[list[nodes.Node]]]) -> nodes.Node:
    """A table whose rows become cards on a narrow page.

    There its cells are blocks, which would end their being a table for a screen reader: hence the
    explicit roles.
    """

    def line(tag: str, role: str, cells: list[list[nodes.Node]]) -> nodes.Node:
        row = box("tr", attrs={"role": "row"})
        for label, cell in zip(head, cells, strict=True):
            row += box(tag, *cell, attrs={"role": role, "data-label": label})
        return row

    top = box("thead", attrs={"role": "rowgroup"})
    top += line("th", "columnheader", [[nodes.Text(word)] for word in head])
    body = box("tbody", *(line("td", "cell", row) for row in rows), attrs={"role": "rowgroup"})
    whole = box("table", top, body, attrs={"role": "table"}, classes=["register", kind])
    return box("div", whole, classes=["scroll-x"])


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """A page is read anew, or gone."""
    statements(env).pop(docname, None)


def merge(app: Sphinx, env: Any, docnames: list[str], other: Any) -> None:
    """What another process has read."""
    found = statements(other)
    statements(env).update({name: found[name] for name in docnames if name in found})


def write_again(app: Sphinx, env: Any) -> list[str]:
    """The register shows what stands on other pages: always write it."""
    return sorted(name for name in env.found_docs if env.metadata[name].get("register"))


def setup(app: Sphinx) -> None:
    app.add_directive("register", Register)
    app.add_transform(NoteStatements)
    app.add_post_transform(FillRegister)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", write_again)
