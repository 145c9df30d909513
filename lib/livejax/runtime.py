"""The JavaScript functions that compiled modules may need, taken from the files in `runtime/`.

Each file holds plain functions, each under a comment that says what it computes. A line
``// needs: a, b`` above a function names the functions that it calls. A module gets what it uses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

FUNCTION = re.compile(r"^function (\w+)\(.*?^}$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"^// needs: (.*)$", re.MULTILINE)


@cache
def functions() -> dict[str, tuple[str, tuple[str, ...]]]:
    """All functions by name: their text and the names of those they need."""
    found = {}
    for path in sorted((Path(__file__).parent / "runtime").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        end = 0
        for match in FUNCTION.finditer(text):
            comment, end = text[end : match.start()], match.end()
            needs = [n.strip() for line in NEEDS.findall(comment) for n in line.split(",")]
            found[match[1]] = (match[0], tuple(needs))
    return found


def closure(names: Iterable[str]) -> str:
    """Text of the named functions and all that they need, in order of name."""
    known, wanted, todo = functions(), set(), list(names)
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo += known[name][1]
    return "\n".join(known[name][0] for name in sorted(wanted))
