"""The glossary: in order, linked to the chapters, in their words, and complete."""

import re
import sys

import jupytext
import pytest
import yaml
from browser import ROOT

sys.path.insert(0, str(ROOT / "book" / "extension"))

from metabook.markup import find_labels

CHAPTERS = [c["slug"] for c in yaml.safe_load((ROOT / "book" / "chapters.yml").read_text())]
BOLD = re.compile(r"\*\*([^*\n]+)\*\*")

EMPHASIS = "a stress, not a definition"
LOCAL = "a word of one passage, used nowhere else"
# Set in bold in a chapter, and yet no word of the glossary.
EXCEPTIONS = {
    "all": EMPHASIS,
    "any": EMPHASIS,
    "confounded": EMPHASIS,
    "for its start": EMPHASIS,
    "no": EMPHASIS,
    "same number of gradients": EMPHASIS,
    "same number of steps": EMPHASIS,
    "this is the constant factor": EMPHASIS,
    "whatever the weights": EMPHASIS,
    "with": EMPHASIS,
    "without": EMPHASIS,
    "slowness": "the head of a list's item",
    "two conditions": "the head of a paragraph",
    "what we assume": "the head of a paragraph",
    "without hints": "the head of a paragraph",
    "adam form": LOCAL,
    "bootstrapped": "short for bootstrapped meta-gradient",
    "estimates": "the forward and the symmetric one have entries",
    "good": LOCAL,
    "load": LOCAL,
    "sgd form": LOCAL,
    "small start": LOCAL,
    "trust": LOCAL,
    "vote": LOCAL,
}


def prose(slug):
    """The text of a chapter without code cells and displayed formulas."""
    notebook = jupytext.read(ROOT / "notebooks" / f"{slug}.md", fmt="md:myst")
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)


def glossary():
    """Term -> definition, in the order of the page."""
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    body = re.search(r"^:::\{glossary\}\n(.*?)^:::$", text, flags=re.DOTALL | re.MULTILINE)[1]
    entries = re.findall(r"^(\S.*)\n((?:  .*\n)+)", body, flags=re.MULTILINE)
    assert len(entries) == len(re.findall(r"^\S", body, flags=re.MULTILINE)), "a term is repeated"
    return dict(entries)


PROSE = {slug: prose(slug) for slug in CHAPTERS}
GLOSSARY = glossary()


def test_entries_are_in_alphabetical_order():
    keys = [re.sub(r"[^a-z]", "", term.casefold()) for term in GLOSSARY]
    assert keys == sorted(set(keys))


def test_each_entry_leads_to_a_place_in_a_chapter():
    places = set()
    for number, slug in enumerate(CHAPTERS, start=1):
        text = (ROOT / "notebooks" / f"{slug}.md").read_text(encoding="utf-8")
        places |= find_labels(text, number).keys()
    for term, definition in GLOSSARY.items():
        targets = re.findall(r"\]\(#([^)]+)\)", definition)
        assert targets, term
        assert set(targets) <= places, term


def test_each_term_is_a_word_of_the_chapters():
    words = " ".join("\n".join(PROSE.values()).replace("*", "").split()).casefold()
    assert [term for term in GLOSSARY if term.casefold() not in words] == []


def defined_words(text):
    """What is set in bold: not the labels of conditions, nor heads of paragraphs."""
    for words in BOLD.findall(text):
        if "$" not in words and not words.startswith("(") and not words.endswith((".", "?")):
            yield words.casefold()


def known_words():
    """Terms, and what their definitions set in bold."""
    bold = BOLD.findall("\n".join(GLOSSARY.values()))
    return {word.casefold() for word in [*GLOSSARY, *bold]}


@pytest.mark.parametrize("slug", CHAPTERS)
def test_each_word_that_a_chapter_defines_is_in_the_glossary(slug):
    missing = set(defined_words(PROSE[slug])) - known_words() - EXCEPTIONS.keys()
    assert not missing


def test_no_exception_is_out_of_date():
    defined = {word for text in PROSE.values() for word in defined_words(text)}
    assert EXCEPTIONS.keys() <= defined - known_words()


def test_the_extraction_finds_a_definition_and_nothing_else():
    text = "**Regret.** A **New word** is *not* **$x$**; **(C)** holds.\n**Where to?** Here."
    assert list(defined_words(text)) == ["new word"]
