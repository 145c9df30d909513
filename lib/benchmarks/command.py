"""The command line of a benchmark that measures with JAX alone."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from benchmarks import surroundings


def run(words: str, file: str, measure: Callable[[bool], None]) -> int:
    """Start `file` anew, held to one thread, or (as the process so started) measure.

    Args:
        words: what `--help` says.
        file: the script that is running.
        measure: takes whether a quick look is asked for, which stores nothing.
    """
    parser = argparse.ArgumentParser(
        description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two sizes; store nothing")
    parser.add_argument("--now", action="store_true", help="measure in this very process")
    options = parser.parse_args()
    if options.now:
        measure(options.quick)
        return 0
    command = [sys.executable, file, "--now", *(["--quick"] if options.quick else [])]
    return subprocess.run(command, env=os.environ | surroundings.ONE_THREAD).returncode
