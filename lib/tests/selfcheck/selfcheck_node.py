"""Runs the JavaScript twin of the check in node."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from selfcheck.question import static_text

LOOP = """
import { readFileSync } from "node:fs";
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(([question, typed]) => verdict(question, typed))));
"""


def verdicts(cases, folder):
    """The replies of `verdict.js` to pairs (question dictionary, what was typed)."""
    node = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
    assert node, "no node: run `make book` first, which installs one into .venv"
    script = folder / "verdicts.mjs"
    script.write_text(static_text("arithmetic.js", "verdict.js") + LOOP, encoding="utf-8")
    done = subprocess.run(
        [node, str(script)], input=json.dumps(cases), text=True, capture_output=True, timeout=60,
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
