"""The benchmarked functions are compared like any other, and their modules stay small."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
from compare import compare_function

import livejax

FILE = Path(__file__).parents[2] / "benchmarks" / "compiler.py"
SPEC = importlib.util.spec_from_file_location("compiler_benchmark", FILE)
BENCHMARK = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(BENCHMARK)


@pytest.mark.parametrize("bench", BENCHMARK.BENCHMARKS, ids=lambda bench: bench.fn.__name__)
def test_benchmarked_function(bench, node):
    compiled = livejax.compile(bench.fn, *bench.args)
    assert len(compiled.source) <= BENCHMARK.LARGEST
    rng = np.random.default_rng(3)
    samples = [
        jax.tree.map(lambda leaf: leaf * (1 + 0.1 * rng.random(np.shape(leaf))), bench.args)
        for _ in range(5)
    ]
    report = compare_function(compiled, jax.jit(bench.fn), samples, node=node)
    assert report.covered == report.length
