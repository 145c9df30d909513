"""Losses, and a comparison, that several of these tests share."""

import jax.numpy as jnp
import numpy as np
from hypothesis import settings

from metagrad import problems

# Every run draws the same examples; compiling may make the first one slow.
fixed_examples = settings(derandomize=True, deadline=None, max_examples=60)

_rng = np.random.default_rng(7)
FEATURES = jnp.asarray(_rng.normal(size=(30, 2)))
LABELS = jnp.asarray(np.sign(_rng.normal(size=30) + np.asarray(FEATURES[:, 0])))

# All take x of shape (2,). With step sizes up to 0.1 and momentum up to 0.9 heavy ball stays
# bounded on each, so that 1e-12 of a run's largest number is a strict tolerance.
LOSSES = {
    "quadratic": problems.quadratic(
        jnp.array([1.0, 8.0]), rotation=0.4, minimizer=jnp.array([0.5, -0.25])
    ),
    "huber": problems.huber(curvature=4.0, half_width=0.3),
    "logistic": problems.logistic(FEATURES, LABELS, l2=0.05),
    "log_cosh": problems.log_cosh(jnp.array([1.0, 5.0])),
    "rosenbrock": problems.rosenbrock(b=1.0),
}
MINIMIZERS = {
    "quadratic": jnp.array([0.5, -0.25]),
    "huber": jnp.zeros(2),
    "log_cosh": jnp.zeros(2),
    "rosenbrock": jnp.ones(2),
}


def assert_same(actual, expected, tolerance=1e-12):
    """Every entry agrees to `tolerance`, as a share of the largest expected number."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.all(np.isfinite(expected))
    scale = np.max(np.abs(expected))
    assert np.max(np.abs(actual - expected)) <= tolerance * scale
