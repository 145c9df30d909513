"""Settings that must hold before any test imports JAX."""

import os
import sys
from pathlib import Path

# XLA contracts a * b + c into one rounding unless the instruction set lacks FMA; the float32 tests
# compare bit for bit, so they need it off.
_FLAG = "--xla_cpu_max_isa=AVX"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    if "jax" in sys.modules:
        raise RuntimeError("lib/tests/conftest.py must set XLA_FLAGS before jax is imported")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}".strip()

_HERE = Path(__file__).parent
# `noderun` and `compare` serve the tests of other parts as well.
for _path in (_HERE / "livejax", _HERE.parent):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))

import jax  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# From here on each function of metagrad checks the shapes that its signature states.
install_import_hook("metagrad", "shape_checks.check")

jax.config.update("jax_enable_x64", True)


def pytest_collection_modifyitems(items):
    """One worker for all tests of a module: what they compile, they share."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(_HERE))))


@pytest.fixture(autouse=True, scope="module")
def _compiled_code_is_dropped():
    """What a module has compiled is of no use to the next one, and takes gigabytes in the end."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _no_silent_broadcasting(request):
    """In the tests of metagrad, arrays of different rank never broadcast unasked."""
    if "metagrad" in request.path.parts:
        with jax.numpy_rank_promotion("raise"):
            yield
    else:
        yield


@pytest.fixture(scope="session")
def node():
    """One node process for all compiled modules of the session."""
    from noderun import Node

    with Node() as process:
        yield process
