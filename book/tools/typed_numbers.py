"""Find the numbers that are typed into the prose, and ask for the reason of each.

A result comes from code, by `glue`. A number that may be typed is declared in
book/typed_numbers.yml, which also says what the reasons mean. Run by hand, this prints what breaks
the rule; `--list` prints each typed number with the words around it.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGES = ("notebooks/*.md", "book/*.md")
DECLARED = "book/typed_numbers.yml"
REASONS = ("setting", "exact", "paper", "example", "tested")

INTEGER = r"\d+(?:,\d{3})*(?![.,]?\d)"
ALONE = r"(?![\w⁻])(?!\s*(?:[-+−/]|\^(?!\\circ)|\\[a-z]))"  # not the first digit of a formula
WORD = (
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty"
    r"|fifty|sixty|hundred|thousand|million)"
)
# In this order: of two that begin at one place, the first is taken.
NUMBER = re.compile(
    r"(?<![\d.])(?:"
    r"(?:\d+(?:\.\d+)?\s*(?:\\cdot|\\times|[·×])\s*)?(?<!\d)10(?:\^(?:\{[-−]?\d+\}|[-−]?\d+)|[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
    r"|\d+(?:\.\d+)?e[-+]?\d+\b"
    r"|\d+(?:\.\d+)?(?:\s*\\?%|[ ]percent\b)"
    r"|\d+\.\d+(?!\.?\d))"
    rf"|(?<![\w.^{{−-]){INTEGER}\$?(?:\stimes\b|-?fold\b)"
    rf"|(?:≈|\\approx)\s*[-−]?{INTEGER}{ALONE}"
    r"|\b(?:about|around|roughly|nearly|almost|approximately|some)\s"
    rf"(?:\$?[-−]?{INTEGER}{ALONE}(?:\$?\s(?:times|percent)\b)?|{WORD}\b(?:\stimes\b)?)"
    rf"|\b{WORD}(?:\stimes\b|-?fold\b)",
    flags=re.IGNORECASE,
)

FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<name>[^`\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.M | re.S
)
NOT_PROSE = (
    re.compile(r"\A---\n.*?\n---\n", re.S),
    FENCE,
    # Options that the page does not print as sentences: ids, tests, minutes.
    re.compile(r"^:(?!objective:|source:)[a-z-]+:.*$", re.M),
    re.compile(r"(?:\{(?!math\})[a-z:]+\})`[^`\n]+`"),
    re.compile(r"(?<![}`])`[^`\n]+`"),
    re.compile(r"\]\([^)\s]*\)"),
    re.compile(r"^\([\w-]+\)=|^\$\$ *\([\w-]+\)", re.M),
)
PRINTING = re.compile(r"(?:\w+\.)?LiveFigure$|selfcheck\.\w+$")
PLACEHOLDER = re.compile(r"\{[^{}]*\}")
SPELLING = {
    **str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹×−", "-0123456789·-"),
    **dict.fromkeys(map(ord, "${}\\"), None),
}


@dataclass(frozen=True)
class Typed:
    """A number in a page's prose: how it is declared, its line, and the words around it."""

    number: str
    line: int
    words: str


def declared_as(match: str) -> str:
    r"""One spelling for TeX's and plain text's: `6\times10^{-8}` is declared as 6·10^-8."""
    match = re.sub(r"\s*(?:\\cdot|\\times)\s*", "·", match)
    match = re.sub(r"(?:≈|\\approx)\s*", "≈ ", match)
    match = re.sub(r"10(?=[⁻⁰¹²³⁴⁵⁶⁷⁸⁹])", "10^", match)
    return " ".join(match.translate(SPELLING).split()).lower()


def numbers_in(text: str, first_line: int = 1) -> Iterator[Typed]:
    """The numbers of a text without markup."""
    for match in NUMBER.finditer(text):
        around = text[max(0, match.start() - 60) : match.end() + 40]
        line = first_line + text.count("\n", 0, match.start())
        yield Typed(declared_as(match[0]), line, " ".join(around.split()))


def blank(match: re.Match[str]) -> str:
    """As many lines, with nothing on them."""
    return re.sub(r"[^\n]", " ", match[0])


def printed_strings(code: str) -> Iterator[tuple[int, str]]:
    """The strings that a cell gives to a live figure or to a question, each with its line."""
    for call in ast.walk(ast.parse(code)):
        if not (isinstance(call, ast.Call) and PRINTING.match(ast.unparse(call.func))):
            continue
        formats = {
            id(part)
            for value in ast.walk(call)
            if isinstance(value, ast.FormattedValue) and value.format_spec
            for part in ast.walk(value.format_spec)
        }
        for part in ast.walk(call):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                if id(part) not in formats:
                    yield part.lineno, part.value


def typed_numbers(page: str) -> list[Typed]:
    """The typed numbers of a page's text, in the order of their lines.

    Inside of code cells only the words of live figures and questions are looked at; such a number
    is found on the line where its string begins.
    """
    found = []
    for cell in FENCE.finditer(page):
        if cell["name"].startswith("{code-cell}"):
            code = re.sub(
                r"\A---\n.*?\n---$|^:[a-z-]+:[^\n]*$", blank, cell["body"], flags=re.M | re.S
            )
            above = page.count("\n", 0, cell.start("body"))
            for line, string in printed_strings(code):
                words = PLACEHOLDER.sub(lambda m: " " * len(m[0]), string)
                found += [Typed(n.number, above + line, n.words) for n in numbers_in(words)]
    prose = page
    for pattern in NOT_PROSE:
        prose = pattern.sub(blank, prose)
    found += numbers_in(prose)
    return sorted(found, key=lambda number: number.line)


def problems(
    pages: Mapping[str, str], declared: Mapping[str, Mapping[str, Iterable[str]]]
) -> list[str]:
    """What breaks the rule, one line each.

    Args:
        pages: path of a page -> its text.
        declared: path of a page -> reason -> numbers (of "tested": number -> test).
    """
    broken = [f"{DECLARED}: there is no page {name}" for name in declared if name not in pages]
    for name, text in pages.items():
        reasons = declared.get(name, {})
        broken += [f"{DECLARED}: {name}: unknown reason {r}" for r in reasons if r not in REASONS]
        allowed = [number for numbers in reasons.values() for number in numbers]
        found = typed_numbers(text)
        broken += [
            f'{name}:{typed.line}: "{typed.number}" is typed ("{typed.words}"). If it is a result, '
            f"compute it in a cell and glue it; else declare it in {DECLARED}."
            for typed in found
            if typed.number not in allowed
        ]
        seen = {typed.number for typed in found}
        for number in sorted(set(allowed)):
            if number not in seen:
                broken.append(f'{DECLARED}: {name} has no "{number}" any more: remove it')
            if allowed.count(number) > 1:
                broken.append(f'{DECLARED}: {name} declares "{number}" twice')
    return broken


def read_pages(root: Path = ROOT) -> dict[str, str]:
    """Path, from the root, of each page with text -> its text."""
    paths = sorted(path for pattern in PAGES for path in root.glob(pattern))
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def read_declared(root: Path = ROOT) -> dict[str, dict[str, list[str] | dict[str, str]]]:
    """Path of a page -> reason -> numbers as spelled in the file; of "tested", number -> test."""
    text = (root / DECLARED).read_text("utf-8")
    return yaml.load(text, Loader=yaml.BaseLoader) or {}  # numbers stay strings: 0.10 is not 0.1


def main() -> int:
    """Print what breaks the rule; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print every typed number")
    pages, declared = read_pages(), read_declared()
    if parser.parse_args().list:
        for name, text in pages.items():
            for typed in typed_numbers(text):
                print(f"{name}:{typed.line}: {typed.number}: {typed.words}")
    broken = problems(pages, declared)
    print("\n".join(broken))
    seen = sum(len(typed_numbers(text)) for text in pages.values())
    listed = sum(len(numbers) for page in declared.values() for numbers in page.values())
    print(f"{seen} typed numbers on {len(pages)} pages, {listed} declarations, {len(broken)} wrong")
    return bool(broken)


if __name__ == "__main__":
    raise SystemExit(main())
