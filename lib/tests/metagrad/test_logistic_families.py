"""Logistic tasks: their losses, how they are drawn, and constants that bound every derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

from metagrad.logistic_families import (
    Constants,
    logistic_constants,
    logistic_family,
    logistic_tasks,
)
from metagrad.tasks import number_of_tasks, task

FAMILY = logistic_tasks(jax.random.key(0), scale_spread=0.8, l2=0.1)


def replaced(**parts):
    return logistic_family(FAMILY.data._replace(**parts))


def test_both_losses_are_written_out_in_numpy():
    x = np.random.default_rng(0).normal(size=5)
    data = [np.asarray(part) for part in FAMILY.data]
    for i in (0, 39):
        for loss, features, labels in (
            (task(FAMILY, i).support, data[0][i], data[1][i]),
            (task(FAMILY, i).query, data[2][i], data[3][i]),
        ):
            expected = np.log1p(np.exp(-labels * (features @ x))).mean() + 0.05 * x @ x
            assert_same(loss(jnp.asarray(x)), expected)


def test_the_draw_is_that_of_the_docstring():
    """Of 4000 tasks: the scales' spread, the share of +1, and who agrees with the direction."""
    data = logistic_tasks(jax.random.key(3), 4000, 2, 20, 30, 0.8).data
    features = np.concatenate([data.features, data.query_features], axis=1)
    labels = np.concatenate([data.labels, data.query_labels], axis=1)
    spread = np.log(features.reshape(4000, -1).std(axis=1)).std()
    assert spread == pytest.approx(np.hypot(0.8, 1 / np.sqrt(200)), abs=0.04)
    assert abs(labels.mean()) < 0.01  # features are symmetric
    # aᵀ(mean of y a) is positive on average: labels follow a direction, one that tasks share.
    directions = np.einsum("nmd,nm->nd", features, labels)
    lengths = np.linalg.norm(directions, axis=1)
    shared = (directions / lengths[:, None]).mean(axis=0)
    assert np.linalg.norm(shared) > 0.2
    alike = np.einsum("nd,nd->n", directions[:-1], directions[1:]) / lengths[:-1] / lengths[1:]
    assert alike.min() < -0.9 and alike.max() > 0.9  # and not all tasks have the same


def test_a_key_gives_one_family_and_another_key_another():
    first, again, other = (logistic_tasks(jax.random.key(k)).data for k in (1, 1, 2))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, different)
    assert number_of_tasks(FAMILY) == 40


def test_without_spread_all_features_have_one_scale():
    data = logistic_tasks(jax.random.key(4), scale_spread=0.0).data
    features = np.concatenate([data.features, data.query_features], axis=1)
    np.testing.assert_allclose(features.std(axis=(1, 2)), 1.0, atol=0.25)  # of 150 numbers


@pytest.mark.parametrize("which", ["support", "query"])
def test_the_constants_bound_every_derivative(which):
    """Directional derivatives of order 2, 3 and 4 of all tasks, at and around the origin."""
    features = FAMILY.data.features if which == "support" else FAMILY.data.query_features
    bounds = logistic_constants(features, 0.1)
    loss = getattr(FAMILY, which)

    def derivatives(x, u, data):
        along = lambda t: loss(x + t * u, data)  # noqa: E731
        orders = []
        for _ in range(4):
            along = jax.grad(along)
            orders.append(along(0.0))
        return jnp.stack(orders[1:])

    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(40, 60, 5)) * rng.choice([0.0, 0.3, 2.0], size=(40, 60, 1)))
    u = rng.normal(size=(40, 60, 5))
    # Half of the directions follow a sample, where the odd orders are largest.
    u[:, ::2] = np.asarray(features)[:, rng.integers(0, features.shape[1], 30)]
    u = jnp.asarray(u / np.linalg.norm(u, axis=-1, keepdims=True))
    per_task = jax.vmap(derivatives, in_axes=(0, 0, None))
    found = jnp.abs(jax.jit(jax.vmap(per_task))(x, u, FAMILY.data))  # (40, 60, 3)
    ratios = jnp.max(found, axis=1) / jnp.stack(bounds, axis=-1)
    assert ratios.max() <= 1 + 1e-12
    assert (ratios.max(axis=0) > jnp.array([0.7, 0.2, 0.2])).all()  # and are not far off


def test_the_curvature_bound_is_attained_at_the_origin():
    hessian = jax.vmap(jax.hessian(FAMILY.support), in_axes=(None, 0))(jnp.zeros(5), FAMILY.data)
    largest = np.linalg.eigvalsh(np.asarray(hessian))[:, -1]
    assert_same(logistic_constants(FAMILY.data.features, 0.1).curvature, largest)


def test_all_bounds_are_attained_by_one_sample_on_the_line():
    """There the form is s⁽ᵏ⁻¹⁾(z) aᵏ, whose largest values a fine grid finds."""
    z = np.linspace(-6, 6, 200001)
    s = 1 / (1 + np.exp(-z))
    slopes = s * (1 - s), s * (1 - s) * (1 - 2 * s), s * (1 - s) * (1 - 6 * s * (1 - s))
    found = logistic_constants(jnp.array([[3.0]]))
    for bound, slope, power in zip(found, slopes, (2, 3, 4), strict=True):
        assert float(bound) == pytest.approx(np.abs(slope).max() * 3.0**power, rel=1e-8)


def test_single_precision_is_kept():
    family = logistic_tasks(jax.random.key(0), 2, scale_spread=0.5, l2=0.1, dtype=jnp.float32)
    assert all(leaf.dtype == jnp.float32 for leaf in family.data)
    assert task(family, 0).support(jnp.zeros(5, jnp.float32)).dtype == jnp.float32
    constants = logistic_constants(family.data.features, 0.1)
    assert isinstance(constants, Constants)
    assert all(bound.dtype == jnp.float32 and bound.shape == (2,) for bound in constants)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: logistic_tasks(jax.random.key(0), 0), "tasks must be an integer of at least 1"),
        (lambda: logistic_tasks(jax.random.key(0), dimension=0), "dimension must be an integer"),
        (lambda: logistic_tasks(jax.random.key(0), query_samples=0), "query_samples must be"),
        (lambda: logistic_tasks(jax.random.key(0), scale_spread=-1.0), "scale_spread must be at"),
        (lambda: logistic_tasks(jax.random.key(0), l2=-1.0), "l2 must be at least 0, got -1.0"),
        (lambda: replaced(labels=jnp.zeros((40, 10))), "labels must each be -1 or"),
        (lambda: replaced(labels=jnp.ones((40, 9))), "labels must have shape"),
        (lambda: replaced(query_labels=jnp.ones((40, 9))), "query_labels must have shape"),
        (lambda: replaced(features=jnp.ones((40, 10))), "features must have shape"),
        (
            lambda: replaced(query_features=jnp.ones((40, 20, 4))),
            r"query_features must have shape \(40, q, 5\), got \(40, 20, 4\)",
        ),
        (lambda: replaced(features=jnp.full((40, 10, 5), jnp.nan)), "features must be finite"),
        (lambda: logistic_constants(jnp.ones(3)), "features must have shape"),
        (lambda: logistic_constants(jnp.ones((3, 2)), -0.1), "l2 must be at least 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_kinds_of_input_are_named():
    with pytest.raises(TypeError, match="key must be one random key"):
        logistic_tasks(0)
    with pytest.raises(TypeError, match="dtype must be floating-point, got int32"):
        logistic_tasks(jax.random.key(0), dtype=jnp.int32)
