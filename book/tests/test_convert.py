"""Text notebooks as `.ipynb`: what becomes of each kind of markup."""

import sys

import pytest
from browser import ROOT

sys.path.insert(0, str(ROOT / "book" / "extension"))

from metabook.convert import to_ipynb
from metabook.markup import find_labels, is_notebook

HEADER = "---\njupytext:\n  text_representation:\n    format_name: myst\n---\n\n"


def markdown(text: str, **known: object) -> str:
    """The Markdown cells that `text` becomes, joined."""
    notebook = to_ipynb(HEADER + text, **known)
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_a_statement_becomes_a_bold_numbered_head():
    text = """:::{statement} The ledger
:kind: theorem
:id: thm-ledger
:status: ours
:source: our notes

It adds up.
:::

:::{proof}
By counting.
:::

See [](#thm-ledger) and [that](#thm-ledger)."""
    assert markdown(text, chapter=2) == (
        "**Theorem 2.1 (The ledger).** *Our proof.*\n\nIt adds up.\n\nSource: our notes.\n\n"
        "**Proof.** By counting. ∎\n\nSee Theorem 2.1 and that."
    )


def test_an_exercise_becomes_text_with_folded_hints():
    text = """::::{exercise} Count
:id: ex-count
:grade: warm-up
:minutes: 5
:objective: count

How many?
::::

:::{hint}
Fingers.
:::

:::{hint}
Toes.
:::

:::{solution}
Twenty, as `:::` shows.

$$
20
$$
:::"""
    assert markdown(text, chapter=3) == (
        "**Exercise 3.1 (Count).** *Warm-up, 5 minutes. Goal: count*\n\nHow many?\n\n"
        "<details>\n<summary>Hint 1</summary>\n\nFingers.\n\n</details>\n\n"
        "<details>\n<summary>Hint 2</summary>\n\nToes.\n\n</details>\n\n"
        "<details>\n<summary>Solution</summary>\n\nTwenty, as `:::` shows.\n\n"
        "$$\n20\n$$\n\n</details>"
    )


def test_roles_become_words():
    known = {
        "labels": {"fig-far": "Figure 1.2", "notation": "Notation"},
        "citations": {"polyak1964": "Polyak (1964)", "goh2017": "Goh (2017)"},
        "references": {"polyak1964": "Polyak. *Some methods*."},
        "values": {"gap": 1.5e-15, "name": "heavy ball"},
    }
    text = (
        "{cite:t}`polyak1964` {cite:p}`polyak1964,goh2017` {glue:text}`gap:.1e` {glue:text}`name` "
        "{glue:text}`lost:.1e` {doc}`/book/notation` {doc}`letters <notation>` [](#fig-far) "
        "[the page](notation.md) [out](https://example.org) {math}`x`\n\n```{bibliography}\n```"
    )
    assert markdown(text, **known) == (
        "Polyak (1964) (Polyak, 1964; Goh, 2017) 1.5e-15 heavy ball `lost` Notation letters "
        "Figure 1.2 the page [out](https://example.org) $x$\n\n* Polyak. *Some methods*."
    )


def test_formulas_carry_their_numbers():
    text = "$$\na\n$$\n\n$$\nb\n$$ (eq-b)\n\n(a-target)=\n## Head\n\nBy [](#eq-b) and {eq}`eq-b`."
    assert markdown(text) == "$$\na\n$$\n\n$$\nb \\tag{1}\n$$\n\n## Head\n\nBy (1) and (1)."


def test_code_is_left_alone():
    text = "```python\n:::{statement}\n[](#x) {cite:t}`y`\n```"
    assert markdown(text) == text


def test_other_blocks_become_quotes_and_lists_of_chapters_vanish():
    assert markdown(":::{pitfall} A sign\nDo not\nlose it.\n:::\n\n:::{contents-plan}\n:::") == (
        "> **Pitfall: A sign.**\n>\n> Do not\n> lose it."
    )


def test_code_cells_stay_and_run_without_the_build_tools():
    text = (
        "```{code-cell} ipython3\n:tags: [remove-cell]\nfrom myst_nb import glue\n```\n\n"
        "```{code-cell} ipython3\nglue('a', 1, display=False)\n```\n"
    )
    notebook = to_ipynb(HEADER + text)
    assert [cell.cell_type for cell in notebook.cells] == ["code", "code"]
    names: dict[str, object] = {}
    for cell in notebook.cells:
        exec(cell.source, names)
    assert [cell.id for cell in notebook.cells] == ["cell-0", "cell-1"]


def test_numbers_are_those_of_the_page():
    text = """
:::{statement}
:kind: lemma
:id: lem-a
:::
:::{statement}
:kind: definition
:id: def-b
:::
LiveFigure(id="fig-one")
LiveFigure(id = 'fig-two')
"""
    assert find_labels(text, 4) == {
        "lem-a": "Lemma 4.1",
        "def-b": "Definition 4.2",
        "fig-one": "Figure 4.1",
        "fig-two": "Figure 4.2",
    }
    assert find_labels(text, None)["lem-a"] == "Lemma 1"


def test_only_text_notebooks_are_notebooks():
    assert is_notebook(HEADER + "# A page")
    assert not is_notebook("# A page\n\njupytext: no")
    assert not is_notebook("---\ntitle: jupytext\n---\n# A page")


def test_a_block_that_is_never_closed_is_refused():
    with pytest.raises(ValueError, match=r":::\{hint\}.*never closed"):
        markdown(":::{hint}\nOpen.")
