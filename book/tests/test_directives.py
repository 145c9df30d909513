"""What the build makes of a chapter, and what makes it fail, on a tiny book."""

import re

import pytest
import tinybook
from tinybook import CHAPTER, INDEX, build


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return build(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def page(good):
    return good.page("notebooks/momentum")


def text_of(html: str) -> str:
    """What a reader sees, roughly: no tags, single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_the_unbroken_book_builds(good):
    assert (good.status, good.warnings) == (0, "")


def test_statements_are_numbered_by_chapter_with_one_counter(page):
    numbers = re.findall(r'class="statement-number">([^<]*)<', page)
    assert numbers == ["Proposition 2.1", "Definition 2.2", "Fact 2.3"]


def test_exercises_and_figures_are_numbered(page):
    exercises = re.findall(r'class="exercise-number">([^<]*)<', page)
    assert exercises == [f"Exercise 2.{n}" for n in range(1, 9)]
    figures = re.findall(r'class="livejax-number">([^<]*)<', page)
    assert figures == [f"Figure 2.{n}" for n in range(1, 6)]


def test_references_print_numbers_and_lead_to_their_targets(good, page):
    index = good.page("index")
    for html, href, words in (
        (index, "notebooks/momentum.html#prop-ledger", "Proposition 2.1"),
        (index, "notebooks/momentum.html#fig-demo-1", "Figure 2.1"),
        (page, "#ex-3", "Exercise 2.3"),
        (page, "#fig-demo-2", "Figure 2.2"),
        (page, "#def-step", "Definition 2.2"),
        (page, "#equation-eq-xy", "(1)"),
    ):
        links = re.findall(rf'<a [^>]*href="{re.escape(href)}"[^>]*>(.*?)</a>', html)
        assert words in [text_of(link).strip() for link in links], (href, links)


def test_a_badge_says_the_status_in_words_and_links_to_its_meaning(page):
    for status, words in (("ours", "Our proof"), ("measured", "Measured")):
        badge = re.search(rf'<span class="badge badge-{status}">(.*?)</a></span>', page)
        assert f'href="../index.html#status-{status}"' in badge.group(1)
        assert text_of(badge.group(1)).strip() == words


def test_a_proof_is_closed_and_a_screen_reader_hears_it(page):
    proof = re.search(r'<div class="proof">(.*?)</div>', page, flags=re.DOTALL).group(1)
    assert text_of(proof).split() == ["Proof.", "By", "counting.", "∎"]
    assert 'aria-label="End of proof"' in proof


def test_an_exercise_is_one_card(page):
    card = page[page.index('id="ex-3"') : page.index('id="ex-4"')]
    assert text_of(card[card.index(">") + 1 :]).split()[:12] == (
        "Exercise 2.3 Number 3 Core · 5 minutes · Goal: count to".split()
    )
    parts = re.findall(
        r'exercise-facts|data-page-widget|<details class="[^"]*(?:hint|solution)', card
    )
    assert [part.split()[-1].split('"')[-1] for part in parts] == (
        ["exercise-facts", "data-page-widget", "hint", "hint", "solution"]
    )
    assert re.findall(r"<summary>(\w+ ?\d?)<", card) == ["Hint 1", "Hint 2", "Solution"]
    assert "<details open" not in card
    assert text_of(card).count("for Exercise 2.3") == 3


def test_the_chapter_head_tells_what_chapters_yml_knows(page):
    head = page[page.index('class="chapter-head"') : page.index('class="statement')]
    words = text_of(head)
    assert "about 9 minutes" in words
    assert "1 A start (being written)" in words
    assert 'class="katex"' in head[head.index("A start") :]


def test_the_chapter_number_shows_in_title_and_contents(good, page):
    assert "<title>2 Momentum | A tiny book</title>" in page
    assert re.search(r"<h1><span[^>]*>2</span> Momentum<", page)
    contents = good.page("index").partition('id="contents"')[2].partition("</nav>")[0]
    assert "2 Momentum" in text_of(contents)


def test_the_plan_links_only_to_chapters_that_are_written(good):
    index = good.page("index")
    plan = index[index.index('<ol class="contents-plan">') :].partition("</ol>")[0]
    planned, written = plan.split("<li ")[1:]
    assert "<a " not in planned
    assert "being written" in planned
    assert 'href="notebooks/momentum.html"' in written
    assert "<em>moves</em>" in written


def test_only_pages_with_widgets_load_them(good, page):
    assert "pagewidget.js" in page
    assert "pagewidget.js" not in good.page("index")


def test_formulas_are_typeset_without_scripts(page):
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML"') >= 3
    # Two stand in the page itself: one picks the theme, one waits for the fonts of the formulas.
    assert page.count("<script") == page.count('src="') - page.count("<img") + 2


BREAKS = {
    "a proof is missing": ((":::{proof}\nBy counting.\n:::\n", ""), "'prop-ledger' has no proof"),
    "a proof follows nothing": (
        (":::{pitfall} A sign", "Text.\n\n:::{proof}\nBy air.\n:::\n\n:::{pitfall} A sign"),
        "a proof follows its statement",
    ),
    "a proof is of nothing": (("{proof}\n", "{proof}\n:of: prop-none\n"), "'prop-none'"),
    "the test's file is missing": (("test_ledger.py::test_l", "test_no.py::test_l"), "no file"),
    "the test is missing": (("::test_ledger", "::test_gone"), "has no test test_gone"),
    "the test's method is missing": (("Speed::test_speed", "Speed::test_slow"), "no test"),
    "the test is not named": (("py::test_ledger", "py"), "not of the form path::test_name"),
    "a measurement has no test": (
        (":test: lib/tests/test_ledger.py::TestSpeed::test_speed\n", ""),
        "'fact-speed' names no test",
    ),
    "a proof has no test": (
        (":test: lib/tests/test_ledger.py::test_ledger\n", ""),
        "'prop-ledger' names no test",
    ),
    "the test is not collected": (("::test_ledger", "::helper"), "has no test helper"),
    "a proposition is only measured": ((":status: ours", ":status: measured"), "cannot have"),
    "a kind is unknown": ((":kind: fact", ":kind: rumor"), "rumor"),
    "a status is unknown": ((":status: ours", ":status: hearsay"), "hearsay"),
    "an id is missing": ((":id: fact-speed\n", ""), "missing :id:"),
    "an id is in capitals": ((":id: fact-speed", ":id: Fact"), "'Fact' is no id"),
    "an id is used twice": ((":id: fact-speed", ":id: def-step"), "used twice"),
    "a figure's id is used twice": (("fig-demo-2", "fig-demo-1"), "used twice"),
    "a reference leads nowhere": (("By [](#eq-xy)", "By [](#eq-gone)"), "eq-gone"),
    "a link leads to no page": (("By counting.", "See [it](gone.md)."), "gone.md"),
    "a formula is broken": (("x = y", r"\frac{x"), "KaTeX cannot read"),
    "a formula has an unknown command": (("x = y", r"\nonsense"), "KaTeX cannot read"),
    "an exercise has one hint": ((":::{hint}\nUse toes.\n:::\n", ""), "has 1 hints"),
    "an exercise has no solution": ((":::{solution}\nAll 3 of them.\n:::\n", ""), "no solution"),
    "an exercise has no answer box": (('data-page-widget="selfcheck-number"', ""), "no box"),
    "an exercise has no objective": ((":objective: count to 3\n", ""), "missing :objective:"),
    "an exercise has no minutes": ((":minutes: 5\n", ""), "missing :minutes:"),
    "a hint stands alone": ((":::{pitfall} A sign", ":::{hint}"), "belongs to no exercise"),
    "a grade is missing": ((":grade: challenge", ":grade: core"), "no exercise of the grade"),
    "a figure is missing": (('class="livejax" id="fig-demo-5"', 'id="fig"'), "has 4 live figures"),
    "the head is missing": (("{chapterhead}", "{note}"), "no :::{chapterhead}"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_chapter_fails_the_build(name, tmp_path):
    (old, new), message = BREAKS[name]
    assert old in CHAPTER
    built = build(tmp_path, {"notebooks/momentum.md": CHAPTER.replace(old, new)})
    assert built.status == 1
    assert message in built.warnings


def test_too_few_exercises_fail_the_build(tmp_path):
    start = CHAPTER.index(":::{exercise} Number 8")
    built = build(tmp_path, {"notebooks/momentum.md": CHAPTER[:start]})
    assert built.status == 1
    assert "has 7 exercises; 8 are needed" in built.warnings


def test_a_test_that_disappears_fails_the_next_build(tmp_path):
    assert build(tmp_path).status == 0
    built = build(tmp_path, {"lib/tests/test_ledger.py": "def test_other(): ...\n"})
    assert built.status == 1
    assert "has no test test_ledger" in built.warnings


def test_a_changed_number_changes_on_the_other_pages_too(tmp_path):
    assert "Proposition 2.1" in build(tmp_path).page("index")
    new = (
        ":::{statement}\n:kind: definition\n:id: def-new\n:status: definition\nNew.\n:::\n\n"
        ":::{statement} The"
    )
    built = build(tmp_path, {"notebooks/momentum.md": CHAPTER.replace(":::{statement} The", new)})
    assert (built.status, built.warnings) == (0, "")
    assert "Proposition 2.2" in built.page("index")


def test_a_cell_that_raises_fails_the_build(tmp_path):
    cell = '```{code-cell} ipython3\nraise ValueError("broken on purpose")\n```\n'
    page = tinybook.HEADER + "# A page\n\n" + cell
    index = INDEX.replace("notebooks/momentum\n", "notebooks/momentum\nbroken\n")
    with pytest.raises(Exception, match="broken"):
        build(tmp_path, {"index.md": index, "broken.md": page}, nb_execution_mode="force")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {number: 1, slug: momentum}", "missing 5 required"),
        (tinybook.CHAPTERS.replace("leads_to: [2]", "leads_to: [7]"), r"\[7\]"),
        (tinybook.CHAPTERS.replace("number: 2", "number: 1"), "same number"),
    ],
)
def test_a_broken_list_of_chapters_is_refused(text, message, tmp_path):
    with pytest.raises(Exception, match=message):
        build(tmp_path, {"book/chapters.yml": text})


def test_hidden_code_is_folded_under_a_word(tmp_path):
    cell = "```{code-cell} ipython3\n:tags: [hide-input]\n\n1 + 1\n```\n"
    index = INDEX.replace("notebooks/momentum\n", "notebooks/momentum\nfolded\n")
    header = tinybook.HEADER.replace("kernelspec:", "language_info:\n  name: python\nkernelspec:")
    files = {"index.md": index, "folded.md": header + "# A page\n\n" + cell}
    built = build(tmp_path, files, nb_code_prompt_show="{type}")
    assert built.warnings == ""
    fold = re.search(r"<details[^>]*>\s*<summary>(.*?)</summary>", built.page("folded"))
    assert fold.group(1) == "Code"
    assert "aria-label" not in fold.group(0)
