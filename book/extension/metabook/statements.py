"""Numbered statements with their status, proofs, and pitfalls."""

import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from metabook.boxes import Box, box, text_box
from metabook.markup import STATUS_LABELS

KINDS = ("theorem", "proposition", "lemma", "corollary", "definition", "fact")
PROVED_KINDS = ("theorem", "proposition", "lemma", "corollary")


def choice_of(*allowed: str) -> Any:
    """An option converter that accepts only `allowed`."""
    return lambda text: directives.choice(text, allowed)


def identifier(text: str) -> str:
    """An option converter for ids: they are looked up in lower case."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", text or ""):
        raise ValueError(f"{text!r} is no id; allowed are lower-case letters, digits and hyphens")
    return text


class NumberedDirective(SphinxDirective):
    """What statements and exercises share: a title, an id, and a head that gets a number later."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def required(self, *names: str) -> None:
        """Stop with an error that names the missing options."""
        missing = [f":{name}:" for name in names if name not in self.options]
        if missing:
            raise self.error(f"{self.name}: missing {', '.join(missing)}")

    def titled(self, css_class: str) -> list[nodes.Node]:
        """The title as inline nodes, in a span."""
        if not self.arguments:
            return []
        inline, messages = self.parse_inline(self.arguments[0])
        return [nodes.Text(" "), box("span", *inline, classes=[css_class]), *messages]


class Statement(NumberedDirective):
    """`:::{statement} Title` with `:kind:`, `:id:`, `:status:`, and `:test:`, `:source:`."""

    option_spec: ClassVar = {
        "kind": choice_of(*KINDS),
        "id": identifier,
        "status": choice_of(*STATUS_LABELS),
        "test": directives.unchanged_required,
        "source": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        self.required("kind", "id", "status")
        kind, status = self.options["kind"], self.options["status"]
        node = box(
            "div",
            role="statement",
            ids=[self.options["id"]],
            classes=["statement", f"statement-{kind}"],
            kind=kind,
            status=status,
            test=self.options.get("test"),
        )
        self.set_source_info(node)
        label = text_box("span", "", classes=["statement-number"], role="number")
        head = [label, *self.titled("statement-title"), nodes.Text(" ")]
        head.append(badge(status, self.env.docname))
        node += box("p", *head, classes=["box-head"])
        self.state.nested_parse(self.content, self.content_offset, node)
        foot = self.foot()
        if foot:
            node += box("p", *foot, classes=["statement-foot"])
        return [node]

    def foot(self) -> list[nodes.Node]:
        """Source and test, in one line below the statement."""
        parts: list[nodes.Node] = []
        if "source" in self.options:
            parts += [nodes.Text("Source: "), *self.parse_inline(self.options["source"])[0]]
            parts.append(nodes.Text(". "))
        if "test" in self.options:
            path, _, name = self.options["test"].partition("::")
            link = SourceLink("", "", nodes.literal(name, name), path=path)
            parts += [nodes.Text("Checked by "), link]
            parts += [nodes.Text(" in "), nodes.literal(path, path), nodes.Text(".")]
        return parts


class SourceLink(nodes.Inline, nodes.TextElement):
    """A link to a file of the repository; plain text while the repository has no address."""


class Proof(SphinxDirective):
    """`:::{proof}`: the proof of the statement before it, or of the one that `:of:` names."""

    has_content = True
    option_spec: ClassVar = {"of": identifier}

    def run(self) -> list[nodes.Node]:
        node = box("div", role="proof", classes=["proof"], of=self.options.get("of"))
        self.set_source_info(node)
        head = text_box("p", "Proof", classes=["box-head"])
        if "of" in self.options:
            head += nodes.Text(" of ")
            head += reference_to(self.options["of"], self.env.docname)
        head += nodes.Text(".")
        node += head
        self.state.nested_parse(self.content, self.content_offset, node)
        mark = text_box(
            "span", "∎", classes=["qed"], attrs={"role": "img", "aria-label": "End of proof"}
        )
        if isinstance(node[-1], nodes.paragraph):
            node[-1].extend([nodes.Text(" "), mark])
        else:
            node += box("p", mark, classes=["qed-line"])
        return [node]


def reference_to(target: str, docname: str, words: str = "") -> nodes.Node:
    """A link to an id; without words it prints the target's number, as `[](#target)` does."""
    return addnodes.pending_xref(
        "",
        nodes.inline(words, words),
        refdomain="std",
        reftype="ref",
        reftarget=target,
        refdoc=docname,
        refexplicit=bool(words),
        refwarn=True,
    )


class Pitfall(SphinxDirective):
    """`:::{pitfall} Title`: a mistake that people make, and how it shows."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        node = box("div", role="pitfall", classes=["pitfall"])
        self.set_source_info(node)
        head = text_box("p", "Pitfall", classes=["box-head"])
        if self.arguments:
            head += nodes.Text(": ")
            head.extend(self.parse_inline(self.arguments[0])[0])
        head += nodes.Text(".")
        node += head
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


def badge(status: str, docname: str) -> nodes.Node:
    """The status in words, linked to its explanation `(status-...)=` in the style guide."""
    link = reference_to(f"status-{status}", docname, STATUS_LABELS[status])
    return box("span", link, classes=["badge", f"badge-{status}"])


def title_of(statement: nodes.Element) -> list[nodes.Node]:
    """The title of a statement as inline nodes; empty if it has none."""
    for node in statement.findall(nodes.TextElement):
        if "statement-title" in node["classes"]:
            return list(node.children)
    return []


def boxes_of(document: nodes.Node, role: str) -> list[Any]:
    """The boxes of one role, in page order."""
    return [node for node in document.findall(Box) if node.get("role") == role]


def setup(app: Sphinx) -> None:
    app.add_directive("statement", Statement)
    app.add_directive("proof", Proof)
    app.add_directive("pitfall", Pitfall)
