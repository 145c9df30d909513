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
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[3]
FILE = "book/outcomes.json"
NOT_RUN = "not run on this code"


def own_helpers(path: Path, module: str) -> Path | None:
    """The file of a module that lies beside a test or in a folder above it, below lib/tests."""
    tests = ROOT / "lib" / "tests"
    name = f"{module}.py"
    folder = path.parent
    while folder.is_relative_to(tests):
        if (folder / name).is_file():
            return folder / name
        folder = folder.parent
    return None


origin = cache(sources.origin)


@cache
def code_digest(path: Path, changed_at: int) -> str:
    """A file's meaning, without comments, docstrings and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return hashlib.sha256(repr(sources.meaning(tree)).encode()).hexdigest()


@cache
def files_behind(path: Path, changed_at: int) -> frozenset[Path]:
    """The files of this project that one file imports."""
    package = ""
    if path.is_relative_to(sources.LIB):
        parts = path.relative_to(sources.LIB).with_suffix("").parts
        package = ".".join(parts[:-1])
    found = set()
    for module, taken in sources.imports(ast.parse(path.read_text(encoding="utf-8")), package):
        file = own_helpers(path, module) or sources.module_path(origin(module, taken))
        if file is not None:
            found.add(file)
    return frozenset(found)


def fingerprint(test_file: str) -> str:
    """Of a test file, its helpers, and all modules of lib/ behind them."""
    waiting, seen = {ROOT / test_file}, set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= files_behind(path, path.stat().st_mtime_ns) - seen
    digest = hashlib.sha256()
    for path in sorted(seen):
        code = code_digest(path, path.stat().st_mtime_ns)
        digest.update(f"{path.relative_to(ROOT)} {code}\n".encode())
    return digest.hexdigest()


def stored(path: Path) -> dict[str, Any]:
    """The file's content; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def read_outcomes(app: Sphinx) -> dict[str, str]:
    """`path::name` -> outcome, of the files whose fingerprint is that of the code as it is."""
    found = {}
    for file, entry in stored(Path(app.srcdir) / FILE).items():
        if (ROOT / file).is_file() and entry["fingerprint"] == fingerprint(file):
            for name, outcome in entry["tests"].items():
                found[f"{file}::{name}"] = outcome
    return found
