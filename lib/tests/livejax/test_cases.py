"""Every case of the tables: the compiled module against JAX."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare import ROUNDINGS, check_leaf, leaves_of, one_ulp_response

import livejax

FAMILIES = (
    *("elementwise", "arrays", "indexing", "control", "linear", "random", "gradients", "programs"),
)
TABLES = [importlib.import_module(f"cases_{family}").T for family in FAMILIES]
CASES = [case for table in TABLES for case in table.cases]


def test_the_suite_is_large_and_its_names_are_unique():
    assert len(CASES) >= 150
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case, node):
    compiled = livejax.compile(case.fn, *case.samples[0])
    evaluate = jax.jit(case.fn)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(evaluate(*case.samples[0]))]
    assert [(spec.shape, spec.dtype) for spec in compiled.outputs] == shapes
    results = node.call(compiled.source, [jax.tree.leaves(args) for args in case.samples])
    for args, got in zip(case.samples, results, strict=True):
        leaves = leaves_of(evaluate(*args))
        assert len(got) == len(leaves)
        allowed = [None] * len(leaves)
        if case.amplifies:
            args = jax.tree.map(jnp.asarray, args)
            allowed = [ROUNDINGS * np.abs(r) for r in one_ulp_response(evaluate, args)]
        for leaf, values, grant in zip(leaves, got, allowed, strict=True):
            check_leaf(
                leaf, values, entrywise=case.entrywise, signed_zero=case.signed_zero, allowed=grant
            )
