"""Every printed number in a docstring of metagrad is what the code prints."""

import doctest
import importlib
import pkgutil

import pytest

import metagrad

MODULES = sorted(module.name for module in pkgutil.iter_modules(metagrad.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    module = importlib.import_module(f"metagrad.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name == "checks"


def test_import_turns_on_float64():
    import jax.numpy as jnp

    assert jnp.ones(()).dtype == jnp.float64
