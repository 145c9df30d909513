"""The markup of a text notebook: its directives, and the numbers that the built page gives."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Verdict(NamedTuple):
    """What came of a claim of a paper: in a word or two, and what that means."""

    label: str
    meaning: str


# Page book/reproduction: what can be said of a claim, a figure or a table of a paper.
VERDICTS = {
    "proved": Verdict(
        "Proved", "The paper's statement, as we could read it, is proved in a chapter."
    ),
    "own": Verdict(
        "Proved in our form",
        "The paper announces it; its exact statement is not known to us. "
        "A chapter proves a statement of that kind.",
    ),
    "reproduced": Verdict("Reproduced", "Measured here, and we see what the paper reports."),
    "part": Verdict(
        "Reproduced in part",
        "Measured here; we see what the paper reports in some of the cases only, "
        "or only in a smaller setting.",
    ),
    "differs": Verdict("Differs", "Measured here, and we do not see what the paper reports."),
    "not-attempted": Verdict(
        "Not attempted", "Not done here. The row says why, and what is nearest to it."
    ),
    "unknown": Verdict(
        "Unknown", "We could not read what the paper says: there is nothing to compare."
    ),
    "beyond": Verdict(
        "Ours", "Measured here; none of the papers, as far as we could read them, asks for it."
    ),
}
STATUS_LABELS = {
    "paper": "From the paper",
    "ours": "Our proof",
    "measured": "Measured",
    "definition": "Definition",
}
OPENING = re.compile(r"^(:{3,}|`{3,})\{([a-z-]+)\}[ \t]*(.*)$")
OPTION = re.compile(r"^:([a-z-]+):[ \t]*(.*)$")
FIGURE_CALL = re.compile(r"""\bid\s*=\s*["'](fig-[a-z0-9-]+)["']""")
# A formula with a label, or one that LaTeX numbers by itself.
NUMBERED = re.compile(
    r"^\$\$(?P<body>.*?)\$\$[ \t]*\((?P<label>[A-Za-z0-9_-]+)\)[ \t]*$"
    r"|^\$\$.*?\$\$"
    r"|^\\begin\{(?P<environment>equation|align|gather|multline|alignat|eqnarray)\}",
    flags=re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    """A directive: its name, the text after the name, its options, and the lines inside."""

    name: str
    title: str
    options: dict[str, str] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)


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


def find_tests(text: str) -> dict[str, str]:
    """Id -> test, for the statements of a text notebook that name one."""
    blocks = [piece for piece in pieces(text.splitlines()) if isinstance(piece, Block)]
    statements = [block.options for block in blocks if block.name == "statement"]
    return {options["id"]: options["test"] for options in statements if "test" in options}


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
