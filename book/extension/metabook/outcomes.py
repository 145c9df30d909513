"""What the tests that statements name said when they last ran, and on which code.

`book/outcomes.json` holds, for each test file, a fingerprint of the code behind it and the outcome
of each named test. `python book/tools/outcomes.py` runs those whose code has changed and stores
the new outcomes; a test fails while any is out of date or not "passed".
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from experiments import sources

FILE = "book/outcomes.json"
NOT_RUN = "not run on this code"
RESULTS = Path("experiments", "results")

origin = cache(sources.origin)


def fingerprint(root: Path, test_file: str) -> str:
    """Of a test file, its helpers, the modules of lib/ behind them, and the results they load."""
    waiting, seen = {root / test_file}, set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= facts(root, path, path.stat().st_mtime_ns)[1] - seen
    digest = hashlib.sha256()
    for path in sorted(seen):
        meaning = facts(root, path, path.stat().st_mtime_ns)[0]
        digest.update(f"{path.relative_to(root)} {meaning}\n".encode())
    return digest.hexdigest()


@cache
def facts(root: Path, path: Path, changed_at: int) -> tuple[str, frozenset[Path]]:
    """A file's digest, and the files that it uses; `changed_at` refreshes the cache.

    The digest of code is that of its meaning: no comments, docstrings or layout.
    """
    if path.suffix != ".py":
        return hashlib.sha256(path.read_bytes()).hexdigest(), frozenset()
    lib = root / "lib"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set(beside(lib / "tests", path, "conftest"))
    for module, taken in sources.imports(tree, ".".join(path.relative_to(lib).parts[:-1])):
        file = sources.module_path(origin(module, taken))
        found |= {file} if file else set(beside(lib / "tests", path, module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A word that is the name of a stored result, as in `experiments.load("...")`.
            result = lib / RESULTS / f"{node.value}.json"
            if node.value.isidentifier() and result.is_file():
                found.add(result)
    digest = hashlib.sha256(repr(sources.meaning(tree)).encode())
    return digest.hexdigest(), frozenset(found)


def beside(tests: Path, path: Path, module: str) -> list[Path]:
    """The files of a module that lie beside a test or in a folder above it, within `tests`."""
    folders = [folder for folder in path.parents if folder.is_relative_to(tests)]
    return [folder / f"{module}.py" for folder in folders if (folder / f"{module}.py").is_file()]


def stored(root: Path) -> dict[str, Any]:
    """What `book/outcomes.json` holds; empty where there is none."""
    path = root / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_outcomes(root: Path) -> dict[str, str]:
    """`path::name` -> outcome, of the files whose fingerprint is that of the code as it is."""
    return {
        f"{file}::{name}": outcome
        for file, entry in stored(root).items()
        if (root / file).is_file() and entry["fingerprint"] == fingerprint(root, file)
        for name, outcome in entry["tests"].items()
    }


def versions(root: Path) -> list[str]:
    """With what the stored outcomes were made."""
    return sorted({entry["with"] for entry in stored(root).values()})
