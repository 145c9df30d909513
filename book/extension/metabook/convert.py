"""A text notebook as an `.ipynb` that reads well in any Jupyter.

Our directives become bold heads, hints and solutions become `<details>`, references become the
words that the built page shows. Nothing here needs Sphinx.
"""

import re
from collections.abc import Mapping
from typing import Any

import jupytext
import nbformat

from metabook.markup import NUMBERED, STATUS_LABELS, VERDICTS, Block, find_labels, pieces

TARGET = re.compile(r"^\([A-Za-z0-9_-]+\)=[ \t]*$")
GLUE_IMPORT = re.compile(r"^from myst_nb import glue$", flags=re.MULTILINE)
GLUE_STAND_IN = '''\
def glue(name, value, display=False):
    """On the built page this hands a value to the text; here there is nothing to do."""
'''
ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((#[^)\s]+|[^)\s:]+\.md(?:#[^)\s]*)?)\)")
FOLDS = ("hint", "solution")
SILENT = ("contents-plan", "tableofcontents")


def to_ipynb(
    text: str,
    *,
    chapter: int | None = None,
    labels: Mapping[str, str] | None = None,
    citations: Mapping[str, str] | None = None,
    references: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
) -> nbformat.NotebookNode:
    """The notebook whose MyST text is `text`, without outputs.

    Args:
        text: a text notebook with a jupytext header.
        chapter: the chapter's number; None for a page that is no chapter.
        labels: id -> "Proposition 2.3", for ids of other pages (those of this page are found), and
            name of a page -> its title.
        citations: key of a reference -> "Polyak (1964)".
        references: key of a reference -> its entry in the list of references.
        values: glued name -> value; a name that is missing is printed as code.

    Raises:
        ValueError: if a directive is not closed.
    """
    notebook = jupytext.reads(text, fmt="md:myst")
    known = {**(labels or {}), **find_labels(text, chapter)}
    writer = Writer(known, citations or {}, references or {}, values or {})
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = writer.markdown(cell.source)
        else:
            cell.source = GLUE_IMPORT.sub(GLUE_STAND_IN, cell.source).rstrip()
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code" or c.source.strip()]
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same at each build
    return notebook


class Writer:
    """Writes plain Markdown in place of MyST."""

    def __init__(
        self,
        labels: Mapping[str, str],
        citations: Mapping[str, str],
        references: Mapping[str, str],
        values: Mapping[str, Any],
    ):
        self.labels = labels
        self.citations = citations
        self.references = references
        self.values = values
        self.hints = 0
        self.cited: set[str] = set()

    def markdown(self, source: str) -> str:
        """The Markdown of a cell or of a directive's body."""
        source = NUMBERED.sub(self.tagged, source)
        lines: list[str] = []
        fenced = False
        for piece in pieces(source.splitlines()):
            if isinstance(piece, Block):
                lines += ["", *self.block(piece).splitlines(), ""]
                continue
            if piece.startswith("```"):
                fenced = not fenced
            if fenced:
                lines.append(piece)
            elif not TARGET.match(piece):
                lines.append(self.inline(piece))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def tagged(self, formula: re.Match[str]) -> str:
        """A labeled formula with its number where any Jupyter shows it."""
        if not formula["label"]:
            return formula[0]
        return f"$${formula['body'].rstrip()} \\tag{{{self.labels[formula['label']][1:-1]}}}\n$$"

    def block(self, block: Block) -> str:
        """A directive as Markdown."""
        body = self.markdown("\n".join(block.body))
        title = self.inline(block.title)
        options = {name: self.inline(value) for name, value in block.options.items()}
        label = self.labels.get(block.options.get("id", ""), block.name.capitalize())
        named = f" ({title})" if title else ""
        if block.name in SILENT:
            return ""
        if block.name == "bibliography":
            return "\n".join(f"* {self.references[key]}" for key in sorted(self.cited))
        if block.name == "math":
            return f"$$\n{chr(10).join(block.body).strip()}\n$$"
        if block.name == "chapterhead":
            return f"**Goals**\n\n{body}"
        if block.name == "statement":
            status = STATUS_LABELS.get(options.get("status", ""), "")
            source = f"\n\nSource: {options['source']}." if "source" in options else ""
            return f"**{label}{named}.** *{status}.*\n\n{body}{source}"
        if block.name == "verdicts":
            return "\n".join(f"* **{label}**: {meaning}" for label, meaning in VERDICTS.values())
        if block.name == "claims":
            return body
        if block.name == "claim":
            return self.claim(title, body, options)
        if block.name == "proof":
            return f"**Proof.** {body} ∎"
        if block.name == "exercise":
            self.hints = 0
            facts = f"{options.get('grade', '').capitalize()}, {options.get('minutes', '')} minutes"
            return f"**{label}{named}.** *{facts}. Goal: {options.get('objective', '')}*\n\n{body}"
        if block.name in FOLDS:
            name = "Solution"
            if block.name == "hint":
                self.hints += 1
                name = f"Hint {self.hints}"
            return f"<details>\n<summary>{name}</summary>\n\n{body}\n\n</details>"
        head = block.name.replace("-", " ").capitalize() + (f": {title}" if title else "")
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{head}.**\n>\n{quoted}"

    def claim(self, title: str, body: str, options: Mapping[str, str]) -> str:
        """A row of a table of claims, as paragraphs."""
        verdict = VERDICTS.get(options.get("verdict", ""))
        parts = [f"**{title}.** *{verdict.label if verdict else ''}.*"]
        parts += [f"In the paper: {options.get('paper', '')}", f"Here: {body}"]
        if "differs" in options:
            parts.append(f"Differs: {options['differs']}")
        names = options.get("experiments", "").replace(",", " ").split()
        parts += [f"`python -m experiments run {name}`" for name in names]
        return "\n\n".join(parts)

    def inline(self, line: str) -> str:
        """A line of text with roles and references spelled out."""
        return LINK.sub(self.link, ROLE.sub(self.role, line))

    def role(self, match: re.Match[str]) -> str:
        name, content = match.groups()
        if name.startswith("glue"):
            return self.glued(content)
        if name.startswith("cite"):
            keys = [key.strip() for key in content.split(",")]
            self.cited.update(key for key in keys if key in self.references)
            words = "; ".join(self.citations.get(key, key) for key in keys)
            if name == "cite:p":
                return f"({words.replace(' (', ', ').replace(')', '')})"
            return words
        if name == "math":
            return f"${content}$"
        words, _, target = content.partition("<")
        return words.strip() if target else self.labels.get(content.rpartition("/")[2], content)

    def glued(self, content: str) -> str:
        name, _, style = content.partition(":")
        if name not in self.values:
            return f"`{name}`"
        return format(self.values[name], style)

    def link(self, match: re.Match[str]) -> str:
        words, target = match.groups()
        return words or self.labels.get(target.removeprefix("#"), target)
