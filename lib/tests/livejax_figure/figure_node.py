"""Runs parts of the figure's JavaScript in node."""

import json
import math
import subprocess

from noderun import node_path

from pagewidget.assets import static_text

# JSON has no word for NaN and the infinities: they travel as {"float": "NaN"}.
READ = """
const { readFileSync } = require("node:fs");
const revive = (key, value) => (value && value.float !== undefined ? Number(value.float) : value);
const cases = JSON.parse(readFileSync(0, "utf8"), revive);
const replace = (key, value) =>
  (typeof value === "number" && !Number.isFinite(value) ? { float: String(value) } : value);
"""


def _encode(value):
    if isinstance(value, float) and not math.isfinite(value):
        word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return {"float": word}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value


def _decode(value):
    return float(value["float"]) if set(value) == {"float"} else value


def in_node(files, expression, cases, folder):
    """`expression` of `one`, for each of `cases`, with the static `files` loaded before it."""
    script = folder / "probe.cjs"
    script.write_text(
        static_text("livejax", *files)
        + READ
        + f"console.log(JSON.stringify(cases.map((one) => {expression}), replace));",
        encoding="utf-8",
    )
    done = subprocess.run(
        [node_path(), str(script)], input=json.dumps(_encode(cases)), text=True,
        capture_output=True, timeout=60, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, object_hook=_decode)
