"""Run the tests that numbered statements name, and store what they say: book/outcomes.json.

    python book/tools/outcomes.py          # those whose code has changed
    python book/tools/outcomes.py --all
    python book/tools/outcomes.py -n auto  # what this tool does not know goes to pytest

The register of claims shows the outcomes. Exit status 1 if a test has not passed.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "extension"))

from metabook.outcomes import FILE, fingerprint, stored  # noqa: E402

TEST = re.compile(r"^:test:\s*(\S+)\s*$", re.MULTILINE)


def named_tests(root: Path = ROOT) -> dict[str, list[str]]:
    """Test file -> the names of its tests that a statement of the book names, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in ("notebooks", "book"):
        for page in sorted((root / folder).glob("*.md")):
            for test in TEST.findall(page.read_text(encoding="utf-8")):
                file, _, name = test.partition("::")
                if (root / file).is_file():
                    found[file].add(name)
    return {file: sorted(names) for file, names in sorted(found.items())}


def is_current(entry: dict | None, file: str, names: list[str]) -> bool:
    """Whether a stored entry is of this code, holds these tests and no other."""
    return (
        entry is not None
        and entry["fingerprint"] == fingerprint(ROOT, file)
        and sorted(entry["tests"]) == names
    )


class Collector:
    """A pytest plugin that counts the outcomes of each function's cases."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A case has passed if its call has; whatever fails elsewhere counts as well."""
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.nodeid.partition("[")[0]][report.outcome] += 1


def words(counts: dict[str, int]) -> str:
    """An outcome for the page."""
    if not counts:
        return "not found"
    if set(counts) == {"passed"}:
        count = counts["passed"]
        return "passed" if count == 1 else f"passed, {count} cases"
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


def main() -> int:
    """Run, store, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="also those that are up to date")
    options, for_pytest = parser.parse_known_args()
    known, named = stored(ROOT), named_tests()
    entries = {
        file: known[file]
        for file, names in named.items()
        if not options.all and is_current(known.get(file), file, names)
    }
    waiting = {file: names for file, names in named.items() if file not in entries}
    # Before the run: what is edited meanwhile has not been tested.
    prints = {file: fingerprint(ROOT, file) for file in waiting}
    collector = Collector()
    if waiting:
        ids = [f"{ROOT / file}::{name}" for file, names in waiting.items() for name in names]
        pytest.main(["-q", f"--rootdir={ROOT}", *for_pytest, *ids], [collector])
    made_with = f"Python {sys.version_info.major}.{sys.version_info.minor}, JAX {version('jax')}"
    for file, names in waiting.items():
        tests = {name: words(collector.counts[f"{file}::{name}"]) for name in names}
        entries[file] = {"fingerprint": prints[file], "with": made_with, "tests": tests}
    text = json.dumps(dict(sorted(entries.items())), indent=1)
    (ROOT / FILE).write_text(text + "\n", encoding="utf-8")
    bad = [
        f"{file}::{name}: {outcome}"
        for file, entry in entries.items()
        for name, outcome in entry["tests"].items()
        if not outcome.startswith("passed")
    ]
    print("\n".join(bad) or f"{sum(len(e['tests']) for e in entries.values())} tests, all passed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
