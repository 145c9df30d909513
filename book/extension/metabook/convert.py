"""A text notebook as an `.ipynb` that reads well in any Jupyter.

Our directives become bold heads, hints and solutions become `<details>`, references become the
words that the built page shows. Nothing here needs Sphinx.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jupytext
import nbformat

OPENING = re.compile(r"^(:{3,}|`{3,})\{([a-z-]+)\}[ \t]*(.*)$")
OPTION = re.compile(r"^:([a-z-]+):[ \t]*(.*)$")
TARGET = re.compile(r"^\([A-Za-z0-9_-]+\)=[ \t]*$")
FIGURE_CALL = re.compile(r"""\bid\s*=\s*["'](fig-[a-z0-9-]+)["']""")
# A formula with a label, or one that LaTeX numbers by itself.
NUMBERED = re.compile(
    r"^\$\$(?P<body>.*?)\$\$[ \t]*\((?P<label>[A-Za-z0-9_-]+)\)[ \t]*$"
    r"|^\$\$.*?\$\$"
    r"|^\\begin\{(?P<environment>equation|align|gather|multline|alignat|eqnarray)\}",
    flags=re.MULTILINE | re.DOTALL,
)
GLUE_IMPORT = re.compile(r"^from myst_nb import glue$", flags=re.MULTILINE)
GLUE_STAND_IN = '''\
def glue(name, value, display=False):
    """On the built page this hands a value to the text; here there is nothing to do."""
'''
ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((#[^)\s]+|[^)\s:]+\.md(?:#[^)\s]*)?)\)")
STATUS = {
    "paper": "From the paper",
    "ours": "Our proof",
    "measured": "Measured",
    "definition": "Definition",
}
FOLDS = ("hint", "solution")
SILENT = ("contents-plan", "tableofcontents")


@dataclass
class Block:
    """A directive: its name, the text after the name, its options, and the lines inside."""

    name: str
    title: str
    options: dict[str, str] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)


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


def is_notebook(text: str) -> bool:
    """Whether a Markdown file is a text notebook: its header names jupytext."""
    header = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    return bool(header and re.search(r"^jupytext:", header.group(1), flags=re.MULTILINE))


def pieces(lines: list[str]) -> Iterator[str | Block]:
    """The lines outside of directives, one by one, and the directives."""
    position = 0
    while position < len(lines):
        opening = OPENING.match(lines[position])
        if opening is None or opening.group(2) == "code-cell":
            end = position + 1
            if re.match(r"^`{3,}", lines[position]):
                end = closing_line(lines, position, lines[position]) + 1
            yield from lines[position:end]
            position = end
            continue
        end = closing_line(lines, position, opening.group(1))
        block = Block(opening.group(2), opening.group(3).strip())
        inside = lines[position + 1 : end]
        while inside and (option := OPTION.match(inside[0])):
            block.options[option.group(1)] = option.group(2).strip()
            inside = inside[1:]
        block.body = inside
        yield block
        position = end + 1


def closing_line(lines: list[str], start: int, fence: str) -> int:
    """Where the fence that opens at `start` is closed."""
    mark = re.match(r"^(:+|`+)", fence).group(1)  # type: ignore[union-attr]
    for position in range(start + 1, len(lines)):
        if lines[position].rstrip() == mark:
            return position
    raise ValueError(f"line {lines[start]!r} opens a block that is never closed")


def find_labels(text: str, chapter: int | None) -> dict[str, str]:
    """Id -> the number that the built page gives to that statement, exercise, figure or formula."""
    labels: dict[str, str] = {}
    counts: dict[str, int] = {}

    def count(counter: str) -> str:
        counts[counter] = counts.get(counter, 0) + 1
        return f"{chapter}.{counts[counter]}" if chapter else str(counts[counter])

    def visit(lines: list[str]) -> None:
        for piece in pieces(lines):
            if isinstance(piece, str):
                continue
            if piece.name in ("statement", "exercise"):
                kind = piece.options.get("kind", "exercise").capitalize()
                labels[piece.options.get("id", "")] = f"{kind} {count(piece.name)}"
            visit(piece.body)

    visit(text.splitlines())
    for figure in FIGURE_CALL.findall(text):
        labels[figure] = f"Figure {count('figure')}"
    numbered = 0
    for formula in NUMBERED.finditer(text):
        numbered += bool(formula["label"] or formula["environment"])
        if formula["label"]:
            labels[formula["label"]] = f"({numbered})"
    return labels


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
            status = STATUS.get(options.get("status", ""), "")
            source = f"\n\nSource: {options['source']}." if "source" in options else ""
            return f"**{label}{named}.** *{status}.*\n\n{body}{source}"
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
