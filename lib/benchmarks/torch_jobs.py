"""A timed job in torch: the device, one thread, and memory as the rise of the resident size."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import torch

from benchmarks.timing import Job

torch.set_num_threads(1)
ON_GPU = jax.default_backend() == "gpu" and torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")


def tensor(array: np.ndarray) -> torch.Tensor:
    """The same numbers as a tensor on the device."""
    return torch.as_tensor(array, device=DEVICE)


def job(name: str, gradient: Callable[[], torch.Tensor], share: float = 1.0) -> Job:
    """Time a function that returns the gradient as one tensor."""

    def call() -> np.ndarray:
        return gradient().detach().cpu().numpy()  # copying to the host waits for the device

    return Job(name, call, share, measure=peak_on_gpu if ON_GPU else resident_rise)


def peak_on_gpu(call: Callable[[], object]) -> int:
    """Bytes that torch allocates at most during a call, beyond what it held before."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_allocated() - before


def resident_rise(call: Callable[[], object]) -> int | None:
    """Bytes by which the resident size of the process rises at most in a call; None if unknown.

    Freed memory is handed back first, and the kernel's record of the peak is reset.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        call()
        return max(0, _status("VmHWM") - before)
    except (OSError, AttributeError):  # not Linux, or not allowed
        return None


def _status(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
