"""Strict numerics for the tests of metagrad: no silent broadcasting, promotion or warning."""

from pathlib import Path

import jax
import pytest
from hypothesis import settings

HERE = Path(__file__).parent

settings.register_profile("metagrad", derandomize=True, deadline=None, max_examples=60)


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.fixture(autouse=True)
def strict_numerics():
    settings.load_profile("metagrad")
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield
