"""The inner solve: what it finds, what its certificate promises, and steps that are too large."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metagrad.difference_rules import FORWARD
from metagrad.inner import (
    checked,
    descend,
    largest_curvature,
    newton_solve,
    perturbed_objective,
    require_stable_step,
    sampled_solve,
    solve,
)
from metagrad.task_gradients import fo_b_maml, imaml, proximal_reptile
from metagrad.tasks import Task


def bowl(eigenvalues, seed=0):
    """½ xᵀAx with these eigenvalues in random directions, and A."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    matrix = jnp.asarray(basis * np.asarray(eigenvalues)[None, :] @ basis.T)
    return (lambda x: 0.5 * x @ matrix @ x), np.asarray(matrix)


def test_the_objective_term_by_term():
    task = Task(lambda p: jnp.sum(p["a"] ** 3) + p["b"], lambda p: p["b"] ** 2 - jnp.sum(p["a"]))
    phi = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(-3.0)}
    theta = {"a": jnp.array([0.0, 4.0]), "b": jnp.array(1.0)}
    assert float(perturbed_objective(task, theta, 0.0)(phi)) == 1 + 8 - 3
    assert float(perturbed_objective(task, theta, 2.0)(phi)) == 6 + (1 + 4 + 16)
    assert float(perturbed_objective(task, theta, 2.0, -0.5)(phi)) == 27 - 0.5 * (9 - 3)


def test_a_term_that_counts_nothing_is_not_evaluated():
    task = Task(lambda x: x**2, lambda x: jnp.inf * x)
    assert float(perturbed_objective(task, jnp.array(1.0), 1.0, 0.0)(jnp.array(2.0))) == 4.5


def test_descent_on_a_bowl_is_a_matrix_power():
    loss, matrix = bowl([0.5, 2.0, 5.0])
    start, step = jnp.array([1.0, -2.0, 0.5]), 0.3
    found = solve(loss, start, 7, step, 0.5)
    factor = np.eye(3) - step * matrix
    expected = np.linalg.matrix_power(factor, 7) @ np.asarray(start)
    assert np.allclose(found.point, expected, rtol=0, atol=1e-13)
    residual = np.linalg.norm(matrix @ expected)
    assert np.allclose(found.residual_norm, residual, rtol=1e-12)
    assert np.allclose(found.distance_bound, residual / 0.5, rtol=1e-12)


@pytest.mark.parametrize("constant", [None, 0.0, -1.0])
def test_without_strong_convexity_nothing_is_certified(constant):
    assert np.isinf(solve(bowl([1.0, 2.0])[0], jnp.ones(2), 3, 0.1, constant).distance_bound)


def test_the_certificate_bounds_the_distance_on_random_problems():
    """Nonconvex losses whose regularized problem is strongly convex, with and without ν f."""

    def one(numbers, theta):
        a, b, lam, c, nu, frequency = numbers
        # f̂'' >= a - |b| and |f''| <= c frequency²; λ makes up for both.
        task = Task(
            lambda x: 0.5 * a * jnp.sum(x**2) + b * jnp.sum(jnp.cos(x)),
            lambda x: c * jnp.sum(jnp.sin(frequency * x)),
        )
        mu_nu = a + lam - jnp.abs(b) - jnp.abs(nu) * c * frequency**2
        inner = perturbed_objective(task, theta, lam, nu)
        rough = solve(inner, theta, 3, 0.1, mu_nu)
        fine = solve(inner, theta, 2000, 0.1).point
        return mu_nu, jnp.linalg.norm(rough.point - fine), rough.distance_bound

    rng = np.random.default_rng(5)
    numbers = rng.uniform([0, -3, 3.5, 0, -0.2, 0.5], [2, 3, 5, 1, 0.2, 1.5], (200, 6))
    thetas = jnp.asarray(3 * rng.normal(size=(200, 3)))
    mu_nu, distance, bound = jax.jit(jax.vmap(one))(jnp.asarray(numbers), thetas)
    assert np.all(mu_nu > 0)
    assert np.all(distance <= bound)
    assert np.max(distance / bound) > 0.8  # it is a bound worth having


def test_newton_is_exact_in_one_step_on_a_quadratic_pytree():
    loss, matrix = bowl([0.5, 2.0, 5.0])

    def objective(p):
        return loss(jnp.concatenate([p["a"], p["b"][None]])) - p["b"]

    found = newton_solve(objective, {"a": jnp.array([3.0, 1.0]), "b": jnp.array(2.0)}, 1)
    expected = np.linalg.solve(matrix, [0.0, 0.0, 1.0])
    assert np.allclose([*found.point["a"], found.point["b"]], expected, atol=1e-12)
    half = newton_solve(lambda x: x**2, jnp.array(8.0), 2, 0.5)
    assert float(half.point) == 2.0


# -- curvature -----------------------------------------------------------------------------------


def test_power_iteration_never_exceeds_the_largest_eigenvalue_and_finds_it():
    rng = np.random.default_rng(3)

    def both(matrix, key):
        estimates = [
            largest_curvature(lambda x: 0.5 * x @ matrix @ x, jnp.zeros(4), k, key)
            for k in (1, 5, 200)
        ]
        return jnp.stack(estimates)

    noise = rng.normal(size=(40, 4, 4))
    matrices = noise + np.swapaxes(noise, 1, 2)
    matrices[20:] = noise[20:] @ np.swapaxes(noise[20:], 1, 2)
    keys = jax.random.split(jax.random.key(0), 40)
    found = np.asarray(jax.jit(jax.vmap(both))(jnp.asarray(matrices), keys))
    eigenvalues = np.linalg.eigvalsh(matrices)
    assert np.all(found <= eigenvalues[:, -1:] * (1 + 1e-12) + 1e-12)
    assert np.all(np.diff(found, axis=1) >= -1e-12)  # more iterations of one start: never less
    gap = eigenvalues[20:, -2] / eigenvalues[20:, -1]
    assert np.allclose(found[20:, 2][gap < 0.9], eigenvalues[20:, -1][gap < 0.9], rtol=1e-9)


def test_curvature_of_a_pytree_and_of_a_flat_loss():
    def loss(p):
        return 3.0 * p["a"] ** 2 + jnp.sum(p["b"] ** 2)

    p = {"a": jnp.array(1.0), "b": jnp.ones((2, 2))}
    assert float(largest_curvature(loss, p)) == pytest.approx(6.0, rel=1e-12)
    assert float(largest_curvature(lambda x: jnp.sum(x), jnp.ones(2))) == 0.0


def test_a_step_too_large_is_refused_with_the_numbers():
    loss, _ = bowl([1.0, 8.0])
    message = (
        r"inner_step_size must be at most 2 / curvature .* got 0\.3 where the inner problem has "
        r"the curvature 8; use less than 0\.25"
    )
    with pytest.raises(ValueError, match=message):
        require_stable_step(loss, jnp.ones(2), 0.3)
    for steps in (5, 5000):  # the second one ends at infinity
        with pytest.raises(ValueError, match=message):
            checked()(loss, jnp.ones(2), steps, 0.3)
    # No curvature is left to see where this one ends: that at the start is named.
    with pytest.raises(ValueError, match=r"curvature 20; use less than 0\.1"):
        checked()(lambda x: 4.0 * x**2 + x**4, jnp.array(1.0), 50, 0.3)
    allowed = checked()(loss, jnp.ones(2), 5, 0.24, 1.0)
    assert np.array_equal(allowed.point, solve(loss, jnp.ones(2), 5, 0.24).point)
    assert np.isfinite(allowed.distance_bound)


@pytest.mark.parametrize(
    "make",
    [
        lambda step: fo_b_maml(1.0, 0.1, 5, step, solve=checked()),
        lambda step: imaml(1.0, 5, step, 2, solve=checked()),
        lambda step: proximal_reptile(1.0, 5, step, solve=checked()),
    ],
)
def test_methods_take_the_checked_solve(make):
    task = Task(bowl([1.0, 8.0])[0], jnp.sum)
    with pytest.raises(ValueError, match=r"inner_step_size .* got 0\.3 where .* curvature 9"):
        make(0.3)(task, jnp.ones(2))
    run = jax.jit(lambda step: make(step)(task, jnp.ones(2)))
    assert not run(0.3).finite and np.all(np.isnan(run(0.3).adapted))
    assert run(0.2).finite


# -- noise ---------------------------------------------------------------------------------------


def noisy_task(shift=0):
    """Losses that draw their noise by the number of the step; `shift` makes other draws."""
    key = jax.random.key(1)

    def support(x, k=None):
        noise = 0.0 if k is None else jax.random.normal(jax.random.fold_in(key, k + shift))
        return jnp.sum(jnp.log(jnp.cosh(x))) + noise * jnp.sum(x)

    return Task(support, lambda x, k=None: jnp.sum(jnp.sin(x)))


def test_step_k_sees_the_number_k():
    seen = descend(lambda x, k: x * k.astype(float) ** 2, jnp.array(0.0), 4, 1.0, sampled=True)
    assert float(seen) == -(1 + 4 + 9 + 16)


def test_common_random_numbers_leave_no_noise_over_the_perturbation():
    """The estimate has a limit as ν -> 0; with other draws in one solve it grows like 1/ν."""
    theta, steps, lam = jnp.array([0.5, -1.0]), 30, 1.0

    def estimate(nu):
        return fo_b_maml(lam, nu, steps, 0.2, rule=FORWARD, solve=sampled_solve)(
            noisy_task(), theta
        ).gradient

    def independent(nu):
        def point(task, nu):
            inner = perturbed_objective(task, theta, lam, nu)
            return sampled_solve(inner, theta, steps, 0.2).point

        return -lam * (point(noisy_task(7), nu) - point(noisy_task(), 0.0)) / nu

    nus = jnp.array([1e-5, 1e-4, 1e-3])
    common = jax.jit(jax.vmap(estimate))(nus)
    assert np.allclose(common[0], common[1], rtol=1e-3)
    # The limit is the derivative in ν of the noisy run itself.
    inner = lambda nu: perturbed_objective(noisy_task(), theta, lam, nu)  # noqa: E731
    run = lambda nu: sampled_solve(inner(nu), theta, steps, 0.2).point  # noqa: E731
    limit = -lam * jax.jacfwd(run)(0.0 * nus[0])
    assert np.allclose(common[0], limit, rtol=1e-4)
    sizes = jnp.linalg.norm(jax.jit(jax.vmap(independent))(nus), axis=1)
    assert np.allclose(sizes * nus, sizes[0] * nus[0], rtol=0.05)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: solve(jnp.sum, jnp.ones(2), 0, 0.1), ValueError, "inner_steps must .* got 0"),
        (lambda: solve(jnp.sum, jnp.ones(2), 1.5, 0.1), TypeError, "inner_steps must .* got 1.5"),
        (lambda: newton_solve(jnp.sum, jnp.ones(2), 0), ValueError, "inner_steps must .* got 0"),
        (lambda: checked(iterations=0), ValueError, "iterations must be .* got 0"),
        (lambda: largest_curvature(jnp.sum, jnp.ones(2), 0), ValueError, "iterations must be"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
