"""The page that compares the papers with the book: its rows, what they rest on, its numbers."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
import tinybook
from browser import HTML, ROOT
from bs4 import BeautifulSoup
from tinybook import INDEX, build

from experiments import store

sys.path.insert(0, str(ROOT / "book" / "extension"))

from metabook.convert import to_ipynb
from metabook.markup import VERDICTS, Block, find_tests, pieces

PAGE = ROOT / "book" / "reproduction.md"
TEXT = PAGE.read_text(encoding="utf-8")
# What may hold digits and is no measured number: code, formulas, what a role or a link names.
NOT_PROSE = re.compile(r"\{[a-z:]+\}`[^`]*`|`[^`]*`|\[[^\]]*\]\([^)]*\)|MNIST-1D")
FORMULA = re.compile(r"\$[^$]+\$")


def parse(path: Path) -> BeautifulSoup:
    """A built page."""
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def tables(text: str) -> dict[str, list[Block]]:
    """The rows of each table of claims."""
    found = {}
    for piece in pieces(text.splitlines()):
        if isinstance(piece, Block) and piece.name == "claims":
            rows = [row for row in pieces(piece.body) if isinstance(row, Block)]
            found[piece.title] = [row for row in rows if row.name == "claim"]
    return found


def ours(text: str) -> list[str]:
    """What the page says in our name: all prose but titles of rows and what papers report."""
    said = []
    for piece in pieces(text.split("---\n", 2)[2].splitlines()):
        if isinstance(piece, Block):
            for row in pieces(piece.body):
                if isinstance(row, Block):
                    said += [*row.body, row.options.get("differs", "")]
                else:
                    said.append(row)
        elif not piece.startswith("#"):
            said.append(piece)
    return said


def typed_numbers(text: str) -> list[str]:
    """Lines in which a number stands that no cell has computed.

    A formula may hold single digits, as exponents and factors have them, and no decimal fraction.
    """
    found = []
    for line in ours(re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        formulas = " ".join(FORMULA.findall(line)).replace("10^{", "")
        prose = NOT_PROSE.sub("", FORMULA.sub("", line))
        if re.search(r"\d", prose) or re.search(r"\d\d|\d[.,]\d", formulas):
            found.append(line)
    return found


def test_each_paper_has_its_table():
    found = tables(TEXT)
    assert len(found) == 4
    assert all(found.values())


def test_each_numbered_result_of_the_paper_that_we_read_has_a_row():
    titles = " / ".join(row.title for row in tables(TEXT)["Step size"])
    named = set(re.findall(r"(?:Theorem|Corollary|Figure|Appendix) (?:\d+|[A-Z])\b", titles))
    theorems = {f"Theorem {number}" for number in range(1, 7)}
    figures = {f"Figure {number}" for number in range(1, 8)}
    assert named == theorems | figures | {"Corollary 1", "Appendix D"}


@pytest.mark.parametrize("name", store.names())
def test_each_experiment_stands_in_a_row(name):
    rows = [row for table in tables(TEXT).values() for row in table]
    assert any(name in row.options.get("experiments", "").split(", ") for row in rows)


def test_no_measured_number_is_typed():
    assert typed_numbers(TEXT) == []


@pytest.mark.parametrize(
    "addition",
    ["It is better by 3.2 points.", "It takes 40 steps.", "The slope is $-1.98$.", "In 12 runs."],
)
@pytest.mark.parametrize("where", ["Heavy ball, with", "our derivation needs", "Three papers"])
def test_a_typed_number_is_noticed(addition, where):
    assert typed_numbers(TEXT.replace(where, f"{addition} {where}", 1))


def test_the_built_page_shows_all_rows_and_counts_them():
    page = parse(HTML / "book" / "reproduction.html")
    found = [Counter(row.options["verdict"] for row in table) for table in tables(TEXT).values()]
    found.append(sum(found, Counter()))
    counted = [
        [int(cell.get_text()) for cell in row.find_all("td")]
        for row in page.select("table.verdicts tbody tr")
    ]
    assert counted[:-1] == [[count[name] for count in found] for name in VERDICTS]
    assert counted[-1] == [count.total() for count in found]
    assert len(page.select("table.claims tbody > tr")) == found[-1].total()


def test_the_built_page_prints_no_name_in_place_of_a_value():
    page = parse(HTML / "book" / "reproduction.html")
    commands = {code.get_text() for code in page.select(".command code")}
    for name in store.names():
        assert f"python -m experiments run {name}" in commands
    named = {code.get_text() for code in page.select(".claims a code")}
    assert not named  # a reference without a target prints its id as code


def test_each_test_that_a_row_offers_is_that_of_a_statement():
    page = parse(HTML / "book" / "reproduction.html")
    offered = {
        code.get_text().removeprefix("python -m pytest ") for code in page.select("details code")
    }
    chapters = [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").glob("*.md")]
    assert offered
    assert offered <= {test for chapter in chapters for test in find_tests(chapter).values()}


ROWS = """# Papers

:::{verdicts}
:::

::::{claims} First
:::{claim} One
:verdict: own
:paper: It adds *up*.
:differs: ours is finite.

It does: [](#prop-ledger).
:::

:::{claim} Two
:verdict: part
:paper: A figure.
:experiments: speed

Measured.
:::
::::

::::{claims} Second
:::{claim} Three
:verdict: unknown
:paper: Not read.

Nothing.
:::
::::
"""


def papers(folder, text=ROWS):
    """The tiny book with a page of claims and one experiment."""
    index = INDEX.replace("notebooks/momentum\n", "notebooks/momentum\npapers\n")
    page = tinybook.HEADER + text
    return build(
        folder, {"index.md": index, "papers.md": page, "lib/experiments/speed.py": "SETTINGS = {}"}
    )


def test_rows_show_verdict_commands_and_tests(tmp_path):
    built = papers(tmp_path)
    assert (built.status, built.warnings) == (0, "")
    page = parse(built.html / "papers.html")
    one, two, three = page.select("table.claims tbody > tr")
    assert one.select_one("a[href='#verdict-own']").get_text() == VERDICTS["own"].label
    assert "Proposition 2.1" in one.get_text()
    assert "Differs: ours is finite." in one.get_text()
    assert one.select_one("summary").get_text() == "Checked by 1 test"
    assert one.select_one("details code").get_text() == (
        "python -m pytest lib/tests/test_ledger.py::test_ledger"
    )
    assert two.select_one(".command code").get_text() == "python -m experiments run speed"
    assert not three.select("code")
    last = page.select("table.verdicts tbody tr")[-1]
    assert [cell.get_text() for cell in last.find_all("td")] == ["2", "1", "3"]


BREAKS = {
    "an unknown verdict": ((":verdict: own", ":verdict: fine"), '"fine" unknown'),
    "no verdict": ((":verdict: own\n", ""), "missing :verdict:"),
    "no word on the paper": ((":paper: A figure.\n", ""), "missing :paper:"),
    "proved by nothing": (("[](#prop-ledger)", "trust us"), "names a statement of a chapter"),
    "proved by a definition": (("#prop-ledger", "#def-step"), "names a statement of a chapter"),
    "measured by nothing": ((":experiments: speed\n", ""), "names an experiment"),
    "an experiment that is none": (("ments: speed", "ments: spee"), "no experiment 'spee'"),
    "a reference to nowhere": (("#prop-ledger", "#prop-nowhere"), "prop-nowhere"),
    "a row without a word": (("Nothing.\n", ""), "says what we did"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_row_fails_the_build(name, tmp_path):
    (old, new), message = BREAKS[name]
    assert old in ROWS
    built = papers(tmp_path, ROWS.replace(old, new, 1))
    assert built.status == 1
    assert message in built.warnings


def test_a_row_becomes_paragraphs_of_the_notebook():
    notebook = to_ipynb(tinybook.HEADER + ROWS, labels={"prop-ledger": "Proposition 2.1"})
    text = "\n\n".join(cell.source for cell in notebook.cells)
    assert f"* **Unknown**: {VERDICTS['unknown'].meaning}" in text
    assert (
        "**One.** *Proved in our form.*\n\nIn the paper: It adds *up*.\n\n"
        "Here: It does: Proposition 2.1.\n\nDiffers: ours is finite."
    ) in text
    assert "**Two.** *Reproduced in part.*" in text
    assert "`python -m experiments run speed`" in text
    assert ":::" not in text
