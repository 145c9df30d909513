"""Where the measurement runs: the other packages' own environment, one thread, and what machine.

Only the standard library is imported here, so that any Python can start the measurement.
"""

import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

LIB = Path(__file__).resolve().parents[1]
ROOT = LIB.parent
PEERS = LIB / "benchmarks" / "peers.txt"
VENV = ROOT / ".venv-peers"
MISSING = VENV / "missing.json"

# XLA sizes its pool by NPROC; torch and the BLAS libraries read the others.
ONE_THREAD = {
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
THREADS = "NPROC=1 for XLA, torch.set_num_threads(1) and OMP_NUM_THREADS=1 for torch"


def peers() -> list[str]:
    """The requirements in peers.txt."""
    lines = (line.partition("#")[0].strip() for line in PEERS.read_text("utf8").splitlines())
    return [line for line in lines if line]


def prepare() -> Path:
    """Make .venv-peers if it is not there or peers.txt has changed; return its Python."""
    python = VENV / "bin" / "python"
    stamp = VENV / "peers.txt"
    if stamp.exists() and stamp.read_text("utf8") == PEERS.read_text("utf8"):
        return python
    print(f"==> Installing the other packages into {VENV.name}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    pinned = ["--constraint", str(ROOT / "requirements.txt")]
    subprocess.run([*pip, *pinned, "--editable", str(ROOT)], check=True)
    missing = {}
    for peer in peers():
        done = subprocess.run([*pip, *pinned, peer], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            missing[peer.partition("==")[0]] = " ".join(lines) or done.stderr[-500:]
            print(f"    {peer}: {missing[peer.partition('==')[0]]}", flush=True)
    MISSING.write_text(json.dumps(missing, indent=1), "utf8")
    stamp.write_text(PEERS.read_text("utf8"), "utf8")
    return python


def missing() -> dict[str, str]:
    """The packages that the installer refused, with its own words."""
    return json.loads(MISSING.read_text("utf8")) if MISSING.exists() else {}


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The versions of everything that takes part, as far as installed."""
    found = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", "numpy", *(peer.partition("==")[0] for peer in peers())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def about(device: str) -> dict[str, Any]:
    """What a reader must know beside the numbers; call it before anything is measured."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "device": device,
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": list(os.getloadavg()),
        "threads": THREADS,
        "versions": versions(),
    }
