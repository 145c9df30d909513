"""A tiny book that keeps every rule, to be broken in one place at a time."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

from browser import ROOT
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

sys.path.insert(0, str(ROOT / "book" / "extension"))

HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  name: python3
---
"""

INDEX = """# A tiny book

Back to [](#prop-ledger) and [](#fig-demo-1).

:::{contents-plan}
:::

(status-paper)=
## From the paper

(status-ours)=
## Our proof

(status-measured)=
## Measured

(status-definition)=
## Definition

```{toctree}
notebooks/momentum
```
"""

CHAPTERS = """
- {number: 1, slug: start, title: A start, about: To begin.,
   minutes: 5, needs: [], leads_to: [2]}
- {number: 2, slug: momentum, title: Momentum, about: It *moves*.,
   minutes: 9, needs: [1, "$x$"], leads_to: []}
"""

STATEMENTS = """
# Momentum

:::{chapterhead}
- prove [](#prop-ledger), solve [](#ex-3), look at [](#fig-demo-2)
:::

:::{statement} The ledger of $f$
:kind: proposition
:id: prop-ledger
:status: ours
:test: lib/tests/test_ledger.py::test_ledger
:source: a [](#def-step) of ours

It adds up: $1 + 1 = 2$.
:::

:::{proof}
By counting.
:::

:::{statement} Step
:kind: definition
:id: def-step
:status: definition

A step.
:::

:::{statement} Speed
:kind: fact
:id: fact-speed
:status: measured
:test: lib/tests/test_ledger.py::TestSpeed::test_speed

It is fast.
:::

:::{pitfall} A sign
Do not lose it.
:::

$$
x = y
$$ (eq-xy)

By [](#eq-xy).
"""

FIGURE = """
```{{raw}} html
<div class="pagewidget" data-page-widget="livejax-figure">
<figure class="livejax" id="fig-demo-{number}">
<figcaption><span class="livejax-number"></span> A caption.</figcaption></figure></div>
```
"""

EXERCISE = """
:::{{exercise}} Number {number}
:id: ex-{number}
:grade: {grade}
:minutes: 5
:objective: count to {number}

How many?
:::

```{{raw}} html
<div class="pagewidget" data-page-widget="selfcheck-number"></div>
```

:::{{hint}}
Use fingers.
:::

:::{{hint}}
Use toes.
:::

:::{{solution}}
All {number} of them.
:::
"""

GRADES = ("warm-up", "warm-up", "core", "core", "core", "core", "challenge", "challenge")
CHAPTER = (
    HEADER
    + STATEMENTS
    + "".join(FIGURE.format(number=n) for n in range(1, 6))
    + "## Exercises\n"
    + "".join(EXERCISE.format(number=n, grade=g) for n, g in enumerate(GRADES, start=1))
)
TEST_FILE = """
def test_ledger(): ...


def helper(): ...


class TestSpeed:
    def test_speed(self): ...
"""


@dataclass(frozen=True)
class Built:
    """What a build left."""

    status: int
    warnings: str
    html: Path

    def page(self, name: str) -> str:
        """The HTML of one page."""
        return (self.html / f"{name}.html").read_text(encoding="utf-8")


def build(folder: Path, files: dict[str, str] | None = None, **config: object) -> Built:
    """Build the tiny book in `folder`, as `make book` builds the book: warnings are errors.

    Args:
        folder: an empty folder.
        files: replaces or adds files of the book.
        config: replaces settings of Sphinx.
    """
    contents = {
        "index.md": INDEX,
        "notebooks/momentum.md": CHAPTER,
        "lib/tests/test_ledger.py": TEST_FILE,
        "book/chapters.yml": CHAPTERS,
        "book/settings.yml": "repository: ''\n",
        "book/references.bib": "",
    }
    for name, text in (contents | (files or {})).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = {
        "extensions": ["myst_nb", "metabook"],
        "html_theme": "metabook",
        "html_math_renderer": "katex",
        "html_title": "A tiny book",
        "exclude_patterns": ["_build", "lib"],
        "myst_enable_extensions": ["amsmath", "colon_fence", "dollarmath"],
        "nb_execution_mode": "off",
        "nb_execution_raise_on_error": True,
        "nitpicky": True,
        "metabook_widget_packages": [],
        "metabook_node_modules": str(ROOT / "node_modules"),
    } | config
    warnings = io.StringIO()
    with docutils_namespace():
        app = Sphinx(
            srcdir=folder,
            confdir=None,
            outdir=folder / "_build" / "html",
            doctreedir=folder / "_build" / ".doctrees",
            buildername="html",
            confoverrides=settings,
            status=None,
            warning=warnings,
            warningiserror=True,
            keep_going=True,
        )
        app.build()
    return Built(app.statuscode, warnings.getvalue(), Path(app.outdir))
