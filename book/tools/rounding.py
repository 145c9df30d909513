"""Make JAX on a CPU round alike on every x86 machine, and as the compiled figures do.

XLA contracts a * b + c into one rounding where the processor can. JavaScript never does, so a
figure that shows a rounding error would print one number when executed and another when moved.
"""

from __future__ import annotations

import os
import platform
import sys

FLAG = "--xla_cpu_max_isa=AVX"


def round_each_operation() -> None:
    """Tell XLA, by its environment variable, not to contract; child processes inherit it.

    Raises:
        RuntimeError: If JAX has been imported, which is when it reads the variable.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG in flags or platform.machine().lower() not in {"x86_64", "amd64"}:
        return
    if "jax" in sys.modules:
        raise RuntimeError(f"jax is imported already: put {FLAG} into XLA_FLAGS before")
    os.environ["XLA_FLAGS"] = f"{flags} {FLAG}".strip()
