"""The register of claims: it holds them all, orphans fail the build, and no outcome is stale."""

import json
import os
import re
from html import unescape

import nbformat
import pytest
from browser import ROOT
from tinybook import CHAPTER, INDEX, build

import outcomes as tool
from experiments import sources
from metabook import outcomes
from metabook.numbers import expressions, glue_calls

REGISTER = "# Register\n\n:::{register}\n:::\n"
LEDGER = "lib/tests/test_ledger.py"
CODE = """
from myst_nb import glue

glue("half", 1 / 2, display=False)
for name, value in {"one": 1, "two": 2}.items():
    glue(f"third_{name}", value / 3, display=False)
"""
GLUED = {"half": 1 / 2, "third_one": 1 / 3, "third_two": 2 / 3}
PROSE = """
It began. The half of $y^2$ is {glue:text}`half:.2f` by [](#prop-ledger). It ended.

| n | thirds |
|---|---|
| 7 | {glue:text}`third_one:.3f` |
| 8 | {glue:text}`third_two:.3f`, {glue:text}`third_one:.1f` |
"""


def with_pages(**pages):
    """The files of the tiny book with more pages, of which `sums` is an executed notebook."""
    index = INDEX.replace("notebooks/momentum\n", "\n".join(["notebooks/momentum", *pages, ""]))
    endings = {"sums": "ipynb"}
    return {"index.md": index} | {
        f"{name}.{endings.get(name, 'md')}": text for name, text in pages.items()
    }


def notebook(code, glued, prose):
    """A page that has been executed: one cell, what it glued, and prose."""
    prefix = "application/papermill.record/"
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={f"{prefix}text/plain": repr(value)},
            metadata={"scrapbook": {"mime_prefix": prefix, "name": name}},
        )
        for name, value in glued.items()
    ]
    made = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python"},
        }
    )
    made.cells = [
        nbformat.v4.new_markdown_cell("# Sums"),
        nbformat.v4.new_code_cell(code, outputs=outputs),
        nbformat.v4.new_markdown_cell(prose),
    ]
    return nbformat.writes(made)


def cells(html, kind):
    """The rows of the tables of one kind, as the words that a reader sees."""
    rows = []
    for table in re.findall(rf'<table class="register {kind}".*?</table>', html, flags=re.DOTALL):
        for row in re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)[1:]:
            found = re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)
            rows.append(
                [" ".join(unescape(re.sub(r"<[^>]*>", "", cell)).split()) for cell in found]
            )
    return rows


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    """The built register of the tiny book; one test file's outcome is current."""
    folder = tmp_path_factory.mktemp("register")
    files = with_pages(register=REGISTER, sums=notebook(CODE, GLUED, PROSE))
    (folder / LEDGER).parent.mkdir(parents=True)
    (folder / LEDGER).write_text("def test_ledger(): ...\n\n\ndef test_speed(): ...\n")
    entry = {
        "fingerprint": outcomes.fingerprint(folder, LEDGER),
        "with": "Python 3",
        "tests": {"test_ledger": "passed, 2 cases"},
    }
    files["book/outcomes.json"] = json.dumps({LEDGER: entry})
    files[LEDGER] = (folder / LEDGER).read_text()
    files["notebooks/momentum.md"] = CHAPTER.replace("TestSpeed::", "")
    built = build(folder, files)
    assert built.warnings == ""
    return built


def test_the_register_lists_every_statement(register):
    found = cells(register.page("register"), "statements")
    assert [[row[0].split(" of ")[0], *row[1:]] for row in found] == [
        ["Proposition 2.1 The ledger", "Our proof", f"{LEDGER}::test_ledger", "passed, 2 cases"],
        ["Definition 2.2 Step", "Definition", "none", "–"],
        ["Fact 2.3 Speed", "Measured", f"{LEDGER}::test_speed", outcomes.NOT_RUN],
    ]


def test_statements_are_linked_and_formulas_in_their_titles_typeset(register):
    html = register.page("register")
    assert 'href="notebooks/momentum.html#prop-ledger"' in html
    row = next(row for row in html.split("<tr") if "prop-ledger" in row)
    assert 'class="katex"' in row


def test_the_register_lists_every_number_with_its_words_and_its_code(register):
    html = register.page("register")
    assert [[row[0], row[1], row[3]] for row in cells(html, "numbers")] == [
        ["sums/half", "0.50", "1 / 2"],
        ["sums/third_one", "0.333", "value / 3"],
        ["sums/third_two", "0.667", "value / 3"],
        ["sums/third_one", "0.3", "value / 3"],
    ]
    words = [row[2] for row in cells(html, "numbers")]
    assert words[0].startswith("The half of y")
    assert words[0].endswith("is 0.50 by Proposition 2.1.")
    assert words[2] == "row 8, column thirds"


def test_a_number_links_to_the_place_where_it_stands(register):
    page = register.page("sums")
    links = re.findall(r'href="sums\.html#([^"]*)"', register.page("register"))
    numbers = [link for link in links if link.startswith("number-")]
    assert len(numbers) == len(set(numbers)) == 4
    for anchor, value in zip(numbers, ("0.50", "0.333", "0.667", "0.3"), strict=True):
        assert re.search(rf'<span class="pasted-text" id="{anchor}">{value}<', page)


def test_the_summary_counts_what_the_tables_hold(register):
    html = register.page("register")
    words = re.sub(r"<[^>]*>", "", html[html.index("register-sum") :])
    statuses = "From the paper 0, Our proof 1, Measured 1, Definition 1"
    assert f"3 numbered statements, by status: {statuses}." in words
    assert "2 tests check them. Last results: 1 passed, 0 did not pass, 1 not run" in words
    assert "4 numbers in the text" in words


def test_orphans_among_the_numbers_fail_the_build(tmp_path):
    page = notebook(CODE, GLUED, PROSE.replace("`half:.2f`", "`whole:.2f`"))
    built = build(tmp_path, with_pages(sums=page))
    assert built.status == 1
    assert "'half' is glued, and no line prints it" in built.warnings
    assert "No key 'whole' found in glue data" in built.warnings
    assert len(built.warnings.strip().splitlines()) == 2


def test_a_number_whose_call_of_glue_is_hidden_fails_the_build(tmp_path):
    code = "from myst_nb import glue as hand_over\n\nhand_over('far', 2.0, display=False)"
    page = notebook(code, {"far": 2.0}, "It is {glue:text}`far`.")
    built = build(tmp_path, with_pages(sums=page))
    assert built.status == 1
    assert "no call of glue on this page, or not one only, can make 'far'" in built.warnings


LOOPS = """
for kind in KINDS:
    glue(f"rate_{kind}", rate, display=False)
    glue(f"rate_{kind}_low", low, display=False)
glue("rate.end", end, display=False)
for word in WORDS:
    glue(f"{word}_1", one, display=False)
    glue(f"{word}_1", other, display=False)
"""


@pytest.mark.parametrize(
    ("keys", "codes"),
    [
        ("rate_a rate_a_low rate_b rate_b_low rate.end", "rate low rate low end"),
        ("rate_a rate-end", "rate None"),
        ("rate.end x_1", "end None"),
    ],
)
def test_a_name_belongs_to_the_call_with_the_most_fixed_letters_or_to_none(tmp_path, keys, codes):
    path = tmp_path / "rates.ipynb"
    path.write_text(notebook(LOOPS, {}, ""))
    made = expressions(keys.split(), glue_calls(path))
    assert [made.get(key, "None") for key in keys.split()] == codes.split()


def test_calls_that_look_alike_are_told_apart_by_their_order(tmp_path):
    code = """
for kind in KINDS:
    glue(f"nn_{kind}", early, display=False)
glue("seeds", seeds, display=False)
for word in WORDS:
    glue(f"nn_{word}", late, display=False)
"""
    path = tmp_path / "rates.ipynb"
    path.write_text(notebook(code, {}, ""))
    calls = glue_calls(path)
    made = expressions(["nn_a", "nn_b", "seeds", "nn_c"], calls)
    assert made == {"nn_a": "early", "nn_b": "early", "seeds": "seeds", "nn_c": "late"}
    assert expressions(["nn_a", "nn_c"], calls) == {}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project: a test, its helper, two modules of lib/, and a stored result."""
    files = {
        "lib/tests/conftest.py": "LIMIT = 1\n",
        "lib/tests/part/test_sum.py": "import helper\nfrom stuff import near\nload('runs')\n",
        "lib/tests/helper.py": "SEED = 1\n",
        "lib/stuff/__init__.py": "",
        "lib/stuff/near.py": "from stuff import far\n",
        "lib/stuff/far.py": "def step(x):\n    return x + 1\n",
        "lib/stuff/apart.py": "OTHER = 1\n",
        "lib/experiments/results/runs.json": "{}\n",
        "lib/experiments/results/walks.json": "{}\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(sources, "LIB", tmp_path / "lib")
    outcomes.origin.cache_clear()
    yield tmp_path
    outcomes.origin.cache_clear()


def changes(project, name, text):
    """Whether the fingerprint changes with a file's text."""
    before = outcomes.fingerprint(project, "lib/tests/part/test_sum.py")
    path = project / name
    later = path.stat().st_mtime_ns + 10**9
    path.write_text(text)
    os.utime(path, ns=(later, later))
    return outcomes.fingerprint(project, "lib/tests/part/test_sum.py") != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lib/tests/part/test_sum.py", "import helper\nfrom stuff import near\nload('walks')\n"),
        ("lib/tests/helper.py", "SEED = 2\n"),
        ("lib/tests/conftest.py", "LIMIT = 2\n"),
        ("lib/stuff/far.py", "def step(x):\n    return x - 1\n"),
        ("lib/experiments/results/runs.json", '{"a": 1}\n'),
    ],
)
def test_an_outcome_goes_stale_with_the_code_and_the_results_behind_its_test(project, name, text):
    assert changes(project, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lib/stuff/far.py", 'def step(x):\n    """One on."""\n    # A step.\n    return x+1\n'),
        ("lib/stuff/apart.py", "OTHER = 2\n"),
        ("lib/experiments/results/walks.json", '{"a": 1}\n'),
    ],
)
def test_no_outcome_goes_stale_with_a_comment_or_with_what_its_test_does_not_use(
    project, name, text
):
    assert not changes(project, name, text)


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ({"passed": 1}, "passed"),
        ({"passed": 3}, "passed, 3 cases"),
        ({"passed": 3, "failed": 1}, "1 failed, 3 passed"),
        ({"skipped": 1}, "1 skipped"),
        ({}, "not found"),
    ],
)
def test_only_what_has_passed_is_called_passed(counts, outcome):
    assert tool.words(counts) == outcome


def test_every_outcome_of_the_book_is_of_this_code_and_passed():
    entries = outcomes.stored(ROOT)
    named = tool.named_tests()
    stale = [f for f, names in named.items() if not tool.is_current(entries.get(f), f, names)]
    stale += sorted(set(entries) - set(named))
    assert not stale, "run `make outcomes`"
    said = {name: text for entry in entries.values() for name, text in entry["tests"].items()}
    assert not {name: text for name, text in said.items() if not text.startswith("passed")}


def test_a_test_speaks_only_of_statements_that_a_page_has():
    pages = [*(ROOT / "notebooks").glob("*.md"), *(ROOT / "book").glob("*.md")]
    there = {
        name
        for page in pages
        for name in re.findall(r"^:id: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    kinds = "|".join({name.partition("-")[0] for name in there} - {"ex"})
    spoken = {
        name
        for path in (ROOT / "lib").rglob("*.py")
        for name in re.findall(
            rf"(?<![\w-])(?:{kinds})-[a-z0-9-]+\b", path.read_text(encoding="utf-8")
        )
    }
    assert spoken <= there
