"""No result is typed into the prose by hand; the lint itself, on small pages made up for it."""

import sys

import pytest
from browser import ROOT

sys.path.insert(0, str(ROOT / "book" / "extension"))

from metabook.checks import missing_test
from typed_numbers import problems, read_declared, read_pages, typed_numbers


def cell(code):
    return f"```{{code-cell}} ipython3\n:tags: [hide-input]\n\n{code}\n```\n"


def figure(words):
    return cell(f'livejax.LiveFigure(run, {{}}, id="fig-a", {words})')


def spelled(page):
    return [typed.number for typed in typed_numbers(page)]


def test_no_result_is_typed_into_the_book():
    assert problems(read_pages(), read_declared()) == []


def test_each_test_that_is_named_exists():
    named = {test for page in read_declared().values() for test in page.get("tested", {}).values()}
    assert named and [why for test in named if (why := missing_test(ROOT, test))] == []


@pytest.mark.parametrize(
    ("prose", "number"),
    [
        ("It ends at 0.37.", "0.37"),
        (r"At $x\cdot0.37$ it ends.", "0.37"),
        ("| 12.50 | a |", "12.50"),
        (r"A share of $95\%$", "95%"),
        ("A share of 95 percent", "95 percent"),
        ("an error of $10^{-5}$", "10^-5"),
        ("an error of 10⁻⁵", "10^-5"),
        ("an error of 1e-3", "1e-3"),
        (r"an error of $2.5\times10^4$", "2.5·10^4"),
        (r"an error of $2 \cdot 10^{-4}$", "2·10^-4"),
        (r"after $44/0 \approx 418$ steps", "≈ 418"),
        ("after ≈ 418 steps", "≈ 418"),
        ("after about 60 steps", "about 60"),
        ("after nearly $1,200$ steps", "nearly 1,200"),
        (r"from about $60^\circ$ on", "about 60"),
        ("is 20 times as fast", "20 times"),
        ("a $20$-fold gain", "20-fold"),
        ("about ten times as fast", "about ten times"),
        ("grows threefold", "threefold"),
        (":::{hint}\nIt is 0.37.\n:::", "0.37"),
        (":::{exercise} A\n:id: ex-a\n:objective: find 0.37\n\nB\n:::", "0.37"),
        ("{math}`0.37`", "0.37"),
        (figure('takeaway="It ends at 0.37."'), "0.37"),
        (figure('summary=[("far", "{a:.1f} is 0.37")]'), "0.37"),
        (cell('selfcheck.predict("predict-a", after=f"{a:.2f}, not 0.37")'), "0.37"),
    ],
)
def test_a_typed_number_is_found_and_must_be_declared(prose, number):
    assert spelled(prose) == [number]
    pages = {"a.md": f"# A\n\n{prose}\n"}
    (problem,) = problems(pages, {})
    assert problem.startswith("a.md:") and f'"{number}"' in problem
    assert problems(pages, {"a.md": {"setting": [number]}}) == []
    assert len(problems(pages, {"b.md": {"setting": [number]}})) == 2


@pytest.mark.parametrize(
    "page",
    [
        "It ends at {glue:text}`loss:.2f`, in `run(0.37)`.",
        "---\njupytext:\n  format_version: 0.13\n---\n\n# A\n",
        "```python\nx = 0.37\n```",
        cell("x = 0.37  # about 60\nprint('0.37')"),
        figure('summary="It is {loss:.2f}.", height=0.37'),
        figure('note=f"It is {loss:5.2f}."'),
        "See [that](#thm-0.37) and [](chapter-0.37.md).",
        "$$\nx\n$$ (eq-1e-3)",
        ":::{figure} a\n:width: 0.37\n:::",
        r"It is $\frac13$, or $2\lambda$, in 2024, in 5 steps, $T^2$ times the gap.",
        r"about $2\log r$, about $3^T$, about $1/T$",
    ],
)
def test_what_is_no_typed_number(page):
    assert spelled(page) == []


def test_a_number_is_found_on_its_line():
    page = "# A\n\nB\n" + figure('takeaway="0.37"') + "\nC\n\n0.38\n"
    assert [(typed.number, typed.line) for typed in typed_numbers(page)] == [
        ("0.37", 7),
        ("0.38", 12),
    ]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"a.md": {"setting": ["0.37", "0.38"]}}, 'has no "0.38"'),
        ({"a.md": {"setting": ["0.37"], "exact": ["0.37"]}}, 'declares "0.37" twice'),
        ({"a.md": {"guess": ["0.37"]}}, "unknown reason guess"),
        ({"a.md": {"setting": ["0.37"]}, "b.md": {}}, "no page b.md"),
        ({"a.md": {"setting": ["0.370"]}}, '"0.37" is typed'),
    ],
)
def test_a_declaration_that_fits_nothing_is_refused(declared, words):
    assert any(words in problem for problem in problems({"a.md": "At 0.37."}, declared))
