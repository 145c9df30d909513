"""The build's own Sphinx extension: what a chapter is made of, and what a page may load.

* `boxes`: one docutils node for all of our HTML elements
* `chapters`: book/chapters.yml, the head of a chapter, the list of all chapters
* `statements`: numbered statements with status badges, proofs, pitfalls
* `exercises`: exercise cards with hints and solutions
* `reproduction`: what papers claim, with a verdict for each claim
* `numbering`: numbers and cross-references for all of them, live figures included
* `code`: folded code cells
* `references`: the list of references
* `register`, `numbers`, `outcomes`, `words`: every claim of the book on one page, and what it
  rests on
* `checks`: what makes the build fail
* `katex`: formulas, typeset while the book is built
* `assets`: the files that pages load
* `markup`, `convert`, `notebooks`: the `.ipynb` of each page
* `address`: launch and edit links
* `pages`: the theme and what it shows
"""

from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """Register every module of the extension."""
    from metabook import (
        assets,
        boxes,
        chapters,
        checks,
        code,
        exercises,
        katex,
        notebooks,
        numbering,
        numbers,
        pages,
        references,
        register,
        reproduction,
        statements,
    )

    for part in (
        boxes,
        chapters,
        statements,
        exercises,
        reproduction,
        numbering,
        register,
        numbers,
        checks,
        code,
        references,
        katex,
        assets,
        notebooks,
        pages,
    ):
        part.setup(app)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
