"""The inequality on random problems, its constants on tight ones, and how they grow with K."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same
from perturbed_cases import meta_gradient, query, random_tasks, solve_all, support

from metagrad.cosine_valley import Valley, valley_constants, valley_point, valley_solution
from metagrad.growing_smoothness import (
    Smoothness,
    averaged_smoothness,
    bilevel_smoothness,
    guaranteed_decrease,
    largest_gradient,
    smoothness_ratio,
    unrolled_smoothness,
)
from metagrad.task_constants import Constants, convex_support

CASES = 300


def pairs(seed):
    """Pairs of points at all distances, from 1/100 to 10."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(CASES, 3)) * 3.0
    other = theta + rng.normal(size=(CASES, 3)) * 10.0 ** rng.uniform(-2, 1, (CASES, 1))
    return jnp.asarray(theta), jnp.asarray(other)


def test_bilevel_objectives_never_violate_it():
    losses, constants = random_tasks(CASES, 11)
    groups = CASES // 4  # families of four tasks, and one pair of points for each family
    theta, other = (jnp.repeat(points[:groups], 4, axis=0) for points in pairs(12))

    def gradients(p, c, points):
        phi = jax.vmap(lambda theta: solve_all(p, c, theta, [jnp.zeros(())])[0])(points)
        return jax.vmap(lambda theta, phi: meta_gradient(p, c, theta, phi))(points, phi)

    slopes = jax.jit(jax.vmap(gradients))(losses, constants, jnp.stack([theta, other], 1))
    smooth = jax.vmap(bilevel_smoothness)(constants)
    ratios = jax.vmap(smoothness_ratio)(smooth, slopes[:, 0], slopes[:, 1], theta, other)
    assert np.all(np.isfinite(ratios)) and np.all(ratios <= 1.0) and np.max(ratios) > 0.05

    # The means of the families, with ζ and c such that E||∇F_i|| <= ζ + c ||∇F|| at θ.
    slopes = slopes.reshape(groups, 4, 2, 3)
    here, there = jnp.mean(slopes, 1)[:, 0], jnp.mean(slopes, 1)[:, 1]
    sizes = jnp.mean(jnp.linalg.norm(slopes[:, :, 0], axis=2), 1)
    common = jax.tree.map(lambda leaf: jnp.max(leaf.reshape(groups, 4), 1), smooth)
    for slope in (1.0, 1.5):
        spread = jnp.maximum(sizes - slope * jnp.linalg.norm(here, axis=1), 0.0)
        made = jax.vmap(lambda s, z, c=slope: averaged_smoothness(s, z, slope=c))(common, spread)
        ratios = jax.vmap(smoothness_ratio)(made, here, there, theta[::4], other[::4])
        assert np.all(ratios <= 1.0)


def test_no_smaller_constants_will_do():
    """f̂'' + λ = μ + ρ|p| and f = sp - L_f p²/2, at θ = 0: both constants are attained."""
    lam, mu, rho, flat = 3.0, 1.5, 0.7, 2.0
    smooth = bilevel_smoothness(Constants(lam, 5.0, rho, None, flat, None, mu))
    for s in (0.0, 1.0, 1000.0):
        p = 1e-6
        theta = (mu * p + rho * p**2 / 2) / lam
        slope = lam * (s - flat * p) / (mu + rho * p)
        ratio = smoothness_ratio(smooth, lam * s / mu, slope, 0.0, theta)
        assert 1 - 1e-5 < ratio <= 1.0
    # Without either constant the same pair of points violates it.
    for change in ({"at_rest": 1e-9}, {"growth": 0.0}):
        p, s = 1e-6, 2.0
        theta, slope = (mu * p + rho * p**2 / 2) / lam, lam * (s - flat * p) / (mu + rho * p)
        wrong = smooth._replace(**change)
        assert smoothness_ratio(wrong, lam * s / mu, slope, 0.0, theta) > 1.2


def test_the_mean_over_tasks_needs_its_spread():
    """F_1 and its mirror image at θ_0, F_2(θ) = F_1(2θ_0 - θ): there ∇F = 0, and ∇²F is large."""
    lam, b, s = 1.0, 0.5, 40.0  # f̂ = b cos p, f = s p; θ_0 belongs to p = π/2

    def slope(theta):
        p = valley_solution(Valley(0.0, b, lam), theta)
        return lam * s / (lam - b * np.cos(p))

    center, step = np.pi / 2 - b / lam, 1e-6
    here = 0.5 * (slope(center) - slope(center))
    there = 0.5 * (slope(center + step) - slope(center - step))
    smooth = bilevel_smoothness(Constants(lam, b, b, None, 1e-3, None, lam - b))
    assert smoothness_ratio(smooth, here, there, 0.0, step) > 10
    made = averaged_smoothness(smooth, slope(center))
    assert 0.1 < smoothness_ratio(made, here, there, 0.0, step) <= 1.0


def unrolled_objective(p, alpha, steps):
    def objective(theta):
        x = theta
        for _ in range(steps):
            x = x - alpha * jax.grad(lambda x: support(p, x))(x)
        return query(p, x)

    return objective


@pytest.mark.parametrize("steps", [1, 3])
def test_unrolled_objectives_never_violate_it(steps):
    losses, constants = random_tasks(CASES, 13)
    theta, other = pairs(14)
    alpha = jnp.asarray(np.random.default_rng(15).uniform(0.05, 0.6, CASES)) / constants.smoothness
    gradients = jax.jit(
        jax.vmap(lambda p, a, x, y: [jax.grad(unrolled_objective(p, a, steps))(z) for z in (x, y)])
    )(losses, alpha, theta, other)
    convex = losses.bowl > 0
    for sharp in (True, False):
        made = [
            jax.vmap(
                lambda c, a, flag=flag, sharp=sharp: unrolled_smoothness(
                    c.smoothness, c.hessian_lipschitz, c.query_smoothness, a, steps,
                    convex=flag, sharp=sharp,
                )
            )(constants, alpha)
            for flag in (False, True)
        ]  # fmt: skip
        smooth = jax.tree.map(lambda one, other: jnp.where(convex, other, one), *made)
        ratios = jax.vmap(smoothness_ratio)(smooth, *gradients, theta, other)
        assert np.all(ratios <= 1.0) and np.max(ratios) > 0.05


def test_the_two_proofs_and_their_sums():
    args = 2.0, 3.0, 4.0, 0.15
    for steps in (1, 2, 6):
        for convex in (False, True):
            sharp = unrolled_smoothness(*args, steps, convex=convex)
            loose = unrolled_smoothness(*args, steps, convex=convex, sharp=False)
            assert sharp.at_rest == loose.at_rest
            assert sharp.growth <= loose.growth * (1 + 1e-12)
            if steps == 1 and not convex:
                assert_same(sharp.growth, loose.growth)
                assert_same(sharp.growth, 0.15 * 3.0 / 0.7)
    convex = unrolled_smoothness(*args, 6, convex=True)
    assert_same(convex.growth, 3.0 / 2.0 * (0.7**-6 - 1))
    loose = unrolled_smoothness(*args, 6, sharp=False)
    assert_same(loose.growth, 3.0 * 1.3**5 * (1.3**6 - 1) / (2.0 * 0.7**6))


def test_the_constants_of_unrolled_objectives_really_grow_like_powers_of_the_number_of_steps():
    # L0: at a maximum of f̂ = L cos p, f = L_f p²/2; there F' = 0 and F'' is the constant.
    # L1: f = y and f̂ = L' y²/2 + r x² + r (1 - cos x) sin y, which is convex: on the diagonal of
    # its Hessian are at least r and L' - 2r, off it at most r.
    alpha, r, stiff, most = 0.1, 0.2, 6.0, 6

    def hill(p):
        return 2.0 * jnp.cos(p)

    def bowl(v):
        return 0.5 * stiff * v[1] ** 2 + r * v[0] ** 2 + r * (1.0 - jnp.cos(v[0])) * jnp.sin(v[1])

    def unrolled(loss, judge):
        """F after 1, ..., 6 steps."""

        def objective(x):
            def step(x, _):
                x = x - alpha * jax.grad(loss)(x)
                return x, judge(x)

            return jax.lax.scan(step, x, None, length=most)[1]

        slopes = jax.jacfwd(objective)
        return jax.jit(lambda x: (slopes(x), jax.jacfwd(slopes)(x)))

    slopes, curvatures = unrolled(hill, lambda p: 1.5 * p**2)(0.0)
    for k in range(most):
        assert slopes[k] == 0.0
        assert_same(unrolled_smoothness(2.0, 2.0, 3.0, alpha, k + 1).at_rest, curvatures[k])

    slopes, hessians = unrolled(bowl, lambda v: v[1])(jnp.zeros(2))
    needed = np.linalg.norm(hessians, 2, (1, 2)) / np.linalg.norm(slopes, axis=1)
    left, kept = 1 - alpha * stiff, 1 - alpha * 2 * r
    terms = left ** -np.arange(1.0, most + 1) * kept ** (2.0 * np.arange(most))
    assert_same(needed, alpha * r * np.cumsum(terms))
    for k in range(most):  # with L <= L' + 3r and ρ <= 4r
        allowed = unrolled_smoothness(stiff + 3 * r, 4 * r, 1e-9, alpha, k + 1, convex=True)
        assert needed[k] <= allowed.growth
    assert needed[-1] > 2 * needed[-2]  # in the end by kept² / left = 2.3 each


def test_the_descent_lemma_and_the_largest_gradient():
    rng = np.random.default_rng(16)
    for a, b, lam in ((0.0, -0.9, 1.0), (1.0, 1.0, 1.0), (0.5, 0.8, 2.0)):
        valley = Valley(a, b, lam)
        smooth = bilevel_smoothness(valley_constants(valley))
        here = valley_point(valley, rng.uniform(-40, 40, 400))
        best = 1 / (smooth.at_rest + smooth.growth * abs(here.gradient))
        for share in (0.3, 1.0, 1.7):
            moved = here.meta_parameter - share * best * here.gradient
            after = 0.5 * valley_solution(valley, moved) ** 2
            bound = jax.vmap(guaranteed_decrease, (None, 0, 0))(
                smooth, abs(here.gradient), share * best
            )
            assert np.all(here.value - after >= bound - 1e-12 * here.value)
            assert np.all(bound > 0)
        limits = jax.vmap(largest_gradient, (None, 0))(smooth, here.value)
        assert np.all(abs(here.gradient) <= limits)
    # On a bowl both hold with equality: F = 3θ²/2.
    smooth = Smoothness(3.0, 0.0)
    assert_same(largest_gradient(smooth, 1.5 * 4.0), 6.0)
    assert_same(guaranteed_decrease(smooth, 6.0, 0.5), 1.5 * (4.0 - 1.0))
    # The largest x with x² = 2Δ(L0 + L1 x).
    x = largest_gradient(Smoothness(2.0, 0.7), 5.0)
    assert_same(x**2, 10.0 * (2.0 + 0.7 * x))


def test_ratios_of_trees_and_of_one_point():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}
    zero = jax.tree.map(jnp.zeros_like, gradient)
    assert_same(smoothness_ratio(Smoothness(1.0, 1.0), gradient, zero, gradient, zero), 1.0 / 6.0)
    assert smoothness_ratio(Smoothness(1.0, 1.0), gradient, gradient, zero, zero) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: averaged_smoothness(Smoothness(0.0, 1.0), 1.0), "at_rest must be positive"),
        (lambda: averaged_smoothness(Smoothness(1.0, -1.0), 1.0), "growth must be at least 0"),
        (lambda: averaged_smoothness(Smoothness(1.0, 1.0), -1.0), "spread must be at least 0"),
        (
            lambda: averaged_smoothness(Smoothness(1.0, 1.0), 1.0, slope=0.5),
            "slope must be at least its least value = 1.0, got 0.5",
        ),
        (
            lambda: unrolled_smoothness(2.0, 1.0, 1.0, 0.5, 3),
            "inner_step_size must be below 1 / support_smoothness = 0.5, got 0.5",
        ),
        (lambda: unrolled_smoothness(0.0, 1.0, 1.0, 0.1, 3), "support_smoothness must be positive"),
        (lambda: unrolled_smoothness(2.0, 1.0, 1.0, 0.1, 0), "inner_steps must be an integer"),
        (lambda: guaranteed_decrease(Smoothness(1.0, 1.0), -1.0, 1.0), "gradient_norm must be"),
        (lambda: guaranteed_decrease(Smoothness(1.0, 1.0), 1.0, -1.0), "step_size must be"),
        (lambda: largest_gradient(Smoothness(1.0, 1.0), -1.0), "gap must be at least 0, got -1.0"),
        (
            lambda: bilevel_smoothness(convex_support(2.0, 1.0, 1.0, 1.0)._replace(regularizer=0)),
            "regularizer must be positive, got 0",
        ),
        (
            lambda: smoothness_ratio(Smoothness(1.0, 1.0), jnp.nan, 1.0, 1.0, 2.0),
            "gradient must be finite",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_points_of_another_shape_are_refused():
    with pytest.raises(TypeError, match="point must be a pytree like gradient"):
        smoothness_ratio(Smoothness(1.0, 1.0), jnp.ones(2), jnp.ones(2), jnp.ones(3), jnp.ones(3))
