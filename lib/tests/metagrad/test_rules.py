import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import LOSSES, assert_same, fixed_examples

from metagrad import rules

POINT = jnp.array([-1.2, 1.0])
MATRIX = jnp.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
seeds = st.integers(0, 10**6)


def test_rules_are_their_formulas():
    for name, loss in LOSSES.items():
        slope = jax.grad(loss)(POINT)
        w = jnp.array([0.3, 2.0])
        assert_same(rules.element_wise(loss)(POINT, w), POINT - w * slope)
        assert_same(rules.element_wise(loss, jnp.exp)(POINT, w), POINT - jnp.exp(w) * slope)
        assert_same(rules.meta_adagrad(loss)(POINT, w), POINT - slope / jnp.sqrt(w))
        matrix = jnp.array([[1.0, 0.25], [-0.5, 2.0]])
        assert_same(rules.full_matrix(loss)(POINT, matrix), POINT - matrix @ slope)
        assert rules.meta_momentum is rules.element_wise, name


def test_jacobians_in_the_parameters():
    # Those that the theory calls constant are, and the element-wise one is -diag(∇f).
    w = jnp.array([0.3, 2.0, -1.0])
    for rule in (rules.affine(MATRIX), rules.affine(MATRIX, jnp.ones(2))):
        assert_same(jax.jacobian(rule, argnums=1)(POINT, w), MATRIX)
    for rule in (rules.translation, rules.proposal):
        assert_same(jax.jacobian(rule, argnums=1)(POINT, w[:2]), jnp.eye(2))
    loss = LOSSES["logistic"]
    jacobian = jax.jacobian(rules.element_wise(loss), argnums=1)(POINT, w[:2])
    assert_same(jacobian, -jnp.diag(jax.grad(loss)(POINT)))


def test_a_rule_passes_data_on_and_takes_pytrees():
    def loss(x, data):
        return 0.5 * jnp.sum((x["a"] - data) ** 2) + x["b"] ** 2

    x = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
    new = rules.element_wise(loss)(x, {"a": 0.5, "b": 0.25}, jnp.array([0.0, 4.0]))
    assert_same(new["a"], [0.5, 3.0])
    assert_same(new["b"], 1.5)


def test_meta_adagrad_is_convex_exactly_where_the_gradients_disagree():
    """<g, φ(x, w)> is convex in w where an entry of g and of ∇f(x) have opposite signs."""
    loss = LOSSES["log_cosh"]
    rule = rules.meta_adagrad(loss)

    @jax.jit
    def curvature(seed):
        x, g, noise = jax.random.normal(jax.random.key(seed), (3, 2))
        w = jnp.exp(noise)
        second = jax.hessian(lambda w: jnp.sum(g * rule(x, w)))(w)
        return jnp.diag(second), second, g * jax.grad(loss)(x)

    @fixed_examples
    @given(seed=seeds)
    def signs(seed):
        diagonal, second, product = curvature(seed)
        np.testing.assert_array_equal(np.sign(diagonal), -np.sign(product))
        assert_same(second, jnp.diag(diagonal))

    signs()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rules.affine([1.0]), r"matrix must have shape \(n, d\), got shape \(1,\)"),
        (lambda: rules.affine(MATRIX, jnp.ones(3)), r"offset must have shape \(2,\)"),
        (
            lambda: rules.affine(MATRIX)(POINT, jnp.ones(2)),
            r"w must have shape \(3,\), got shape \(2,\)",
        ),
        (
            lambda: rules.full_matrix(LOSSES["huber"])(POINT, jnp.ones(2)),
            r"w must have shape \(2, 2\), got shape \(2,\)",
        ),
        (
            lambda: rules.meta_adagrad(LOSSES["huber"])(POINT, jnp.array([1.0, 0.0])),
            r"w must be positive, got .*\[1., 0.\]",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
