"""The estimators of `metagrad` beside other packages: time, memory and error in one run.

    python lib/benchmarks/meta_gradients.py            # about 4 minutes; stores the result
    python lib/benchmarks/meta_gradients.py --quick    # short runs only; prints, stores nothing

The first run makes `.venv-peers` and installs the packages of `peers.txt` there. The result goes
to `results/meta_gradients.json`, or, where JAX sees an accelerator, to
`results/meta_gradients_gpu.json`; the page book/benchmarks.md shows both, apart.
To measure on an accelerator, install its JAX (and torch) in an environment of your own and add
`--here`, which measures in the Python that runs this script.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import surroundings


def main() -> int:
    """Start the measurement in its environment, with one thread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="short runs; store nothing")
    parser.add_argument("--here", action="store_true", help="use this Python, not .venv-peers")
    options = parser.parse_args()
    python = sys.executable if options.here else str(surroundings.prepare())
    environment = os.environ | surroundings.ONE_THREAD | {"PYTHONPATH": str(surroundings.LIB)}
    command = [python, "-m", "benchmarks.measure", *(["--quick"] if options.quick else [])]
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
