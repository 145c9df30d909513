"""Results on disk: run an experiment, store its result, load it, tell whether it is stale."""

import hashlib
import importlib
import json
import re
import time
from pathlib import Path
from typing import Any

from experiments import sources

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
HARNESS = {"__init__", "__main__", "sources", "store"}


class StaleResult(Exception):
    """A stored result whose code or settings have changed since it was computed."""


def names() -> list[str]:
    """List the experiments: every module of this package that is not the harness."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in HARNESS)


def module_name(name: str) -> str:
    """Return the module of an experiment.

    Raises:
        ValueError: if there is no such experiment.
    """
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}; got {name!r}")
    return f"experiments.{name}"


def fingerprint(name: str) -> str:
    """Hash the settings of an experiment and the code behind it."""
    module = importlib.import_module(module_name(name))
    settings = json.dumps(module.SETTINGS, sort_keys=True)
    return hashlib.sha256((sources.fingerprint(module.__name__) + settings).encode()).hexdigest()


def run(name: str) -> Path:
    """Run an experiment and store its result; return the file.

    Raises:
        ValueError: if there is no such experiment, or its result holds NaN or infinity.
    """
    module = importlib.import_module(module_name(name))
    start = time.perf_counter()
    result = module.run(**module.SETTINGS)
    document = {
        "experiment": name,
        "fingerprint": fingerprint(name),
        "seconds": round(time.perf_counter() - start, 1),
        "settings": module.SETTINGS,
        "result": result,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False)
    # One line for each list of numbers: shorter, and a change can still be read as a diff.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)
    path.write_text(text + "\n", "utf8")
    return path


def is_stale(name: str) -> bool:
    """Tell whether an experiment has no stored result, or one of other code or settings.

    Raises:
        ValueError: if there is no such experiment.
    """
    current, path = fingerprint(name), RESULTS / f"{name}.json"
    return not path.is_file() or json.loads(path.read_text("utf8"))["fingerprint"] != current


def load(name: str) -> dict[str, Any]:
    """Return the stored result of an experiment.

    Raises:
        ValueError: if there is no such experiment.
        StaleResult: if the code or the settings behind it have changed.
    """
    if is_stale(name):
        raise StaleResult(f"{name} has changed; run: python -m experiments run {name}")
    return json.loads((RESULTS / f"{name}.json").read_text("utf8"))["result"]
