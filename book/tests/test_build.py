"""The built site: what each page must have, and what must not be there."""

import json
import re
from pathlib import Path

import nbformat
import plotly
import pytest
import yaml
from browser import HTML, ROOT
from collect import page_names
from htmlpages import read_pages

NAMES = page_names()
CHAPTERS = [name for name in NAMES if name.startswith("notebooks/")]


@pytest.fixture(scope="module")
def pages():
    assert HTML.is_dir(), "the book is not built; run `make book`"
    return read_pages(HTML)


def test_each_page_says_its_language_and_has_a_title_of_its_own(pages):
    assert {page.lang for page in pages.values()} == {"en"}
    titles = [page.title for name, page in pages.items() if name != "index.html"]
    assert all(titles)
    assert len(set(titles)) == len(titles)


def test_ids_are_unique(pages):
    for name, page in pages.items():
        twice = {i for i in page.ids if page.ids.count(i) > 1}
        assert not twice, f"{name}: {sorted(twice)}"


def test_pictures_have_an_alternative_text(pages):
    assert [image for page in pages.values() for image in page.images if "alt" not in image] == []


def test_the_root_leads_to_the_front_page(pages):
    assert pages["index.html"].links == [f"{NAMES[0]}.html"]


def test_no_page_carries_what_the_theme_and_jupyter_would_load(pages):
    for name, page in pages.items():
        loads = " ".join(page.loads).lower()
        for unwanted in ("fontawesome", "mathjax", "require", "thebe", "html-manager", "bootstrap"):
            assert unwanted not in loads, f"{name} loads {unwanted}"
        assert "jupyter.widget" not in page.text, f"{name} carries the state of a widget"


def test_formulas_are_all_typeset(pages):
    for name, page in pages.items():
        prose = re.sub(r"<(script|pre|code|annotation)\b.*?</\1>", "", page.text, flags=re.DOTALL)
        prose = re.sub(r"<[^>]*>", "", prose)
        assert not re.search(r"\$[^$\n]+\$|\\\(|\\begin\{", prose), f"{name} shows TeX"
        assert "katex-error" not in page.text, name
        assert page.text.count('class="katex"') == page.text.count("<annotation encoding"), name


def test_no_markup_of_ours_is_left_as_text(pages):
    for name, page in pages.items():
        prose = re.sub(r"<(script|pre|code)\b.*?</\1>", "", page.text, flags=re.DOTALL)
        assert ":::" not in prose, name
        assert not re.search(r"\{(glue|cite|doc|ref)[:}]", prose), name


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_keeps_the_contract(pages, name):
    text = pages[f"{name}.html"].text
    entries = yaml.safe_load((ROOT / "book" / "chapters.yml").read_text(encoding="utf-8"))
    entry = next(e for e in entries if f"notebooks/{e['slug']}" == name)
    assert f"<title>{entry['number']} {entry['title']}" in text
    assert f"about {entry['minutes']} minutes" in text

    def numbers(css_class: str) -> list[str]:
        labels = re.findall(rf'class="{css_class}">([^<]*)<', text)
        return [label.split()[-1] for label in labels]

    for css_class, least in (
        ("statement-number", 1),
        ("exercise-number", 8),
        ("livejax-number", 5),
    ):
        found = numbers(css_class)
        assert len(found) >= least, css_class
        assert found == [f"{entry['number']}.{n}" for n in range(1, len(found) + 1)], css_class
    cards = re.split(r'<div class="exercise exercise-', text)[1:]
    assert {card.partition('"')[0] for card in cards} == {"warm-up", "core", "challenge"}
    for card in cards:
        assert card.count('<details class="hint') >= 2
        assert card.count('<details class="solution') == 1
        assert 'data-page-widget="' in card.partition('<details class="hint')[0]


def test_every_badge_leads_to_the_meaning_of_its_label(pages):
    for name, page in pages.items():
        for badge in re.findall(
            r'<span class="badge badge-(\w+)">(.*?)</span></a></span>', page.text
        ):
            status, link = badge
            assert re.search(rf'href="(?:[^"]*/)?style_guide\.html#status-{status}"', link), name


@pytest.mark.parametrize("name", NAMES)
def test_each_notebook_page_offers_a_notebook_that_any_jupyter_reads(pages, name):
    source = (ROOT / f"{name}.md").read_text(encoding="utf-8")
    offered = [link for link in pages[f"{name}.html"].links if link.endswith(".ipynb")]
    if not source.startswith("---\njupytext:"):
        assert offered == []
        return
    assert offered == [f"{Path(name).name}.ipynb"]
    notebook = nbformat.read(HTML / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == source.count("```{code-cell}")
    assert all(not cell.outputs for cell in code)
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    left = re.findall(r":::.*|\{[a-z:]+\}`.*?`|\]\(#.*?\)|^\([\w-]+\)=", words, flags=re.MULTILINE)
    assert left == []
    assert words.count("<details>") == words.count("</details>") == words.count("<summary>")


def test_the_values_in_the_prose_are_in_the_notebooks_too():
    for name in CHAPTERS:
        source = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        glued = {g.partition(":")[0] for g in re.findall(r"\{glue:text\}`([^`]*)`", source)}
        notebook = (HTML / f"{name}.ipynb").read_text(encoding="utf-8")
        assert [value for value in sorted(glued) if f"`{value}`" in notebook] == []


def test_the_chart_library_is_the_one_that_plotly_for_python_speaks_to():
    package = json.loads(
        (ROOT / "node_modules" / "plotly.js-cartesian-dist-min" / "package.json").read_text("utf-8")
    )
    bundled = plotly.offline.get_plotlyjs_version()
    assert package["version"] == bundled
    written = (HTML / "_static" / "plotly-cartesian.min.js").read_text(encoding="utf-8")
    assert f"v{bundled}" in written[:300]


def test_the_search_index_knows_the_chapters():
    index = (HTML / "searchindex.js").read_text(encoding="utf-8")
    for name in NAMES:
        assert f'"{name}"' in index
