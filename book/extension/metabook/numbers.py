"""The numbers in the prose: each comes from code, by way of `glue`, and has an id.

A cell calls `glue("key", value)`; the prose prints it by the role `glue:text`, as
``{glue:text}`key:.2f` ``. The id of the number is "page/key". A key that no line of prose prints is
an orphan, and fails the build (the other kind of orphan, myst-nb reports itself).
"""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)

USE = re.compile(r"\{glue:text\}`([^`]+)`")
FENCE = re.compile(r"^(`{3,})\{code-cell\}.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
GLUE = re.compile(r'\bglue\(\s*"([^"{}]+)",\s*(.+?),\s*display=False\s*\)\s*$', re.MULTILINE)
WORDS = 60  # characters of the sentence that are shown on either side


@dataclass(frozen=True)
class Number:
    """One number where the prose prints it.

    Attributes:
        key: its name in `glue`.
        value: as it is printed.
        before, after: what stands around it, without markup.
        code: the expression that is glued; empty where a loop makes the key.
    """

    key: str
    value: str
    before: str
    after: str
    code: str


def glued(app: Sphinx, docname: str) -> dict[str, Any]:
    """Key -> what the notebook glued; empty for a page without code."""
    path = Path(app.outdir).parent / "jupyter_execute" / f"{docname}.glue.json"
    if not path.is_file():
        return {}
    outputs = json.loads(path.read_text(encoding="utf-8"))
    return {key: ast.literal_eval(one["data"]["text/plain"]) for key, one in outputs.items()}


def plain(text: str) -> str:
    """Markdown without its marks, roughly, on one line."""
    text = USE.sub("…", text)
    text = re.sub(r"\{[a-z:]+\}`([^`]*)`", r"\1", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"[*`$|\\]|\s+", " ", text)


def numbers_of(source: str, values: dict[str, Any]) -> list[Number]:
    """The numbers of a page, in its order; `values` is from `glued`."""
    code = {key: " ".join(text.split()) for key, text in GLUE.findall(source)}
    prose = FENCE.sub("", source)
    found = []
    for use in USE.finditer(prose):
        key, _, form = use.group(1).partition(":")
        if key not in values:
            continue  # myst-nb has a warning for that
        start = prose.rfind("\n\n", 0, use.start()) + 2
        end = prose.find("\n\n", use.end())
        before, after = plain(prose[start : use.start()]), plain(prose[use.end() : end])
        found.append(
            Number(
                key,
                format(values[key], form) if form else str(values[key]),
                before[-WORDS:].lstrip(),
                after[:WORDS].rstrip(),
                code.get(key, ""),
            )
        )
    return found


def page_numbers(app: Sphinx, docname: str) -> list[Number]:
    """The numbers of a page of this book."""
    source = Path(app.env.doc2path(docname)).read_text(encoding="utf-8")
    return numbers_of(source, glued(app, docname))


def report_orphans(app: Sphinx, env: Any) -> None:
    """Warn of what is glued and never printed."""
    for docname in sorted(env.found_docs):
        values = glued(app, docname)
        if not values:
            continue
        source = FENCE.sub("", Path(env.doc2path(docname)).read_text(encoding="utf-8"))
        used = {use.partition(":")[0] for use in USE.findall(source)}
        for key in sorted(set(values) - used):
            LOGGER.warning(
                "%r is glued, and no line prints it", key, location=docname, type="metabook"
            )


def setup(app: Sphinx) -> None:
    app.connect("env-check-consistency", report_orphans)
