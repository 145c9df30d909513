"""The numbered claims of the chapter *Faster, but not accelerated*."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import FEATURES, LABELS, assert_same, fixed_examples

import experiments
from metagrad import problems
from metagrad.averaged import averaged_meta_learning
from metagrad.ftrl import ftrl, regret
from metagrad.guarantees import guarantee, hardest_huber, travel
from metagrad.ledger import online_to_batch
from metagrad.optimistic import meta_regret, optimistic_meta_learning
from metagrad.projections import ball
from metagrad.rules import affine, element_wise, full_matrix, proposal
from metagrad.weights import power_weights

# name -> (loss of x in the plane, a Lipschitz constant of its gradient, its minimizer)
SMOOTH = {
    "quadratic": (problems.quadratic(jnp.array([1.0, 8.0]), rotation=0.4), 8.0, jnp.zeros(2)),
    "huber": (problems.huber(4.0, 0.3), 4.0, jnp.zeros(2)),
    "log_cosh": (problems.log_cosh(jnp.array([1.0, 5.0])), None, jnp.zeros(2)),
    "logistic": (problems.logistic(FEATURES, LABELS, l2=0.05), None, None),
}
seeds = st.integers(0, 10**6)
powers = st.floats(-0.5, 3.0)


def _smoothness(name):
    """L: given, or for losses whose curvature is largest at 0 (log-cosh, logistic), from there."""
    loss, known, _ = SMOOTH[name]
    if known is not None:
        return known
    return float(jnp.linalg.eigvalsh(jax.hessian(loss)(jnp.zeros(2)))[-1]) * (1 + 1e-12)


def _minimizer(name):
    loss, _, known = SMOOTH[name]
    if known is not None:
        return known
    x = jnp.zeros(2)
    for _ in range(30):  # Newton's method; the ridge makes it strongly convex
        x = x - jnp.linalg.solve(jax.hessian(loss)(x), jax.grad(loss)(x))
    assert float(jnp.linalg.norm(jax.grad(loss)(x))) < 1e-14
    return x


def _decreasing(alpha, largest):
    """The largest step sizes that do not increase and keep β_t α_t <= `largest`."""
    return largest / jax.lax.cummax(alpha)


@pytest.mark.parametrize("name", SMOOTH)
def test_a_divergence_is_worth_a_squared_gradient(name):
    loss, smoothness = SMOOTH[name][0], _smoothness(name)
    pairs = 2.0 * jax.random.normal(jax.random.key(3), (400, 2, 2))

    def surplus(pair):
        x, y = pair
        slope_x, slope_y = jax.grad(loss)(x), jax.grad(loss)(y)
        divergence = loss(y) - loss(x) - slope_x @ (y - x)
        return divergence - jnp.sum((slope_y - slope_x) ** 2) / (2.0 * smoothness)

    found = jax.vmap(surplus)(pairs)
    assert jnp.all(found >= -1e-12)
    assert jnp.max(found) > 1e-3  # it is not an identity
    assert jnp.min(jax.vmap(surplus)(pairs) / smoothness) < 0.05  # and L cannot be much smaller


@pytest.mark.parametrize("name", SMOOTH)
def test_the_online_to_batch_inequality(name):
    loss, smoothness, minimizer = SMOOTH[name][0], _smoothness(name), _minimizer(name)

    @jax.jit
    def both_sides(seed, power):
        alpha = power_weights(12, power)
        start = jax.random.normal(jax.random.key(seed), (2,))
        run = averaged_meta_learning(loss, start, alpha, 0.3 / smoothness)
        book = online_to_batch(loss, minimizer, run)
        large = jnp.sum(alpha * jnp.sum(run.gradients**2, axis=1)) / (2.0 * smoothness)
        changes = jnp.sum(jnp.diff(run.gradients, axis=0) ** 2, axis=1)
        change = jnp.sum(jnp.cumsum(alpha)[:-1] * changes) / (2.0 * smoothness)
        return book.total_weight * book.gap, jnp.sum(book.regret_terms), large, change

    @fixed_examples
    @given(seed=seeds, power=powers)
    def check(seed, power):
        gap, paid, large, change = both_sides(seed, power)
        assert gap <= paid - large - change + 1e-12 * jnp.abs(paid)
        assert large > 0 and change >= 0

    check()


@fixed_examples
@given(seed=seeds, power=powers)
def test_the_reduction_to_meta_regret(seed, power):
    assert_same(*_reduction(seed, power))  # affine in w: equality


@jax.jit
def _reduction(seed, power):
    """R_T and M_T + C_T for a rule that is affine in w and looks at x."""
    start, comparator, offset = jax.random.normal(jax.random.key(seed), (3, 2))
    alpha = power_weights(10, power)

    def rule(x, w):
        return offset + 0.5 * x + x * w

    steps = _decreasing(alpha, 0.01)
    run = optimistic_meta_learning(SMOOTH["quadratic"][0], rule, start, offset, alpha, steps)
    before = jnp.concatenate([start[None], run.averages[:-1]])
    proposals = jax.vmap(lambda x: rule(x, comparator))(before)
    slopes = alpha[:, None] * run.gradients
    learner = jnp.sum(slopes * run.iterates)  # x* = 0
    return learner, meta_regret(run, comparator).regret + jnp.sum(slopes * proposals)


def test_convexity_is_needed_and_gives_an_inequality():
    loss = problems.quadratic(1.0)

    def sides(rule, w0, comparator):
        run = optimistic_meta_learning(loss, rule, 1.0, w0, jnp.ones(1), 1.0)
        learner = run.gradients[0] * run.iterates[0]
        return learner, meta_regret(run, comparator).regret + run.gradients[0] * rule(
            1.0, comparator
        )

    # At x̄_1 = φ > 0 the gradient is positive: convex where φ is convex in w.
    learner, meta = sides(lambda x, w: x * w**2, 1.0, 0.5)
    assert learner < meta - 0.1
    learner, meta = sides(lambda x, w: x * jnp.sqrt(w), 1.0, 0.25)
    assert learner > meta + 0.01


@pytest.mark.parametrize("seed", range(5))
def test_where_the_conditions_hold(seed):
    key = jax.random.key(seed)
    x_star, w1, c = jax.random.normal(key, (3, 3))
    eigenvalues = jnp.array([0.5, 1.0, 3.0])
    diagonal = problems.quadratic(eigenvalues, minimizer=x_star)
    mixed = jax.random.normal(jax.random.fold_in(key, 1), (3, 3))
    matrix = mixed @ mixed.T + jnp.eye(3)
    dense = problems.quadratic_from_matrix(matrix, minimizer=x_star)
    basis = jnp.eye(3) + 0.2 * mixed
    cases = [
        (diagonal, proposal, x_star, w1),
        (diagonal, affine(basis, c), jnp.linalg.solve(basis, x_star - c), w1),
        (diagonal, element_wise(diagonal), 1.0 / eigenvalues, 0.1 * w1),
        (dense, full_matrix(dense), jnp.linalg.inv(matrix), 0.1 * mixed),
    ]
    for loss, rule, w_star, start in cases:
        run = optimistic_meta_learning(loss, rule, jnp.ones(3), start, jnp.ones(8), 1e-3)
        before = jnp.concatenate([jnp.ones((1, 3)), run.averages[:-1]])
        proposals = jnp.stack([rule(x, w_star) for x in before])
        excess = run.gradients * (proposals - x_star[None])
        scale = jnp.sum(jnp.abs(run.gradients))
        assert jnp.max(jnp.abs(jnp.sum(excess, axis=1))) <= 1e-12 * scale
        middle = rule(before[1], 0.5 * (start + w_star))  # (C): affine in w
        assert_same(middle, 0.5 * (rule(before[1], start) + rule(before[1], w_star)))


@pytest.mark.parametrize("project", [None, ball(0.7)])
def test_the_regret_of_the_regularized_leader(project):
    @jax.jit
    def account(seed, size, power):
        gradients = jax.random.normal(jax.random.key(seed), (15, 3))
        comparator = 3.0 * gradients[0]
        comparator = comparator if project is None else project(comparator)
        steps = size / power_weights(15, power)
        run = ftrl(jnp.zeros(3), gradients, steps, project=project)
        paid = jnp.sum(gradients * (run.parameters - comparator[None]))
        distance = jnp.sum(comparator**2) / (2.0 * steps[-1])
        errors = jnp.sum(steps * jnp.sum(gradients**2, axis=1)) / 2.0
        # The exact form, for a constant step and no constraint.
        plain = ftrl(jnp.zeros(3), gradients, size)
        last = -size * jnp.sum(gradients, axis=0)
        exact = (jnp.sum(comparator**2) - jnp.sum((last - comparator) ** 2)) / (2.0 * size)
        exact = exact + size * jnp.sum(gradients**2) / 2.0
        of_plain = jnp.sum(gradients * (plain.parameters - comparator[None]))
        return paid, distance + errors, regret(run, comparator).regret, of_plain, exact

    @fixed_examples
    @given(seed=seeds, size=st.floats(0.05, 2.0), power=st.floats(0.0, 1.5))
    def check(seed, size, power):
        paid, bound, by_the_library, of_plain, exact = account(seed, size, power)
        assert paid <= bound * (1 + 1e-12)
        assert abs(paid - by_the_library) <= 1e-12 * bound
        assert abs(of_plain - exact) <= 1e-12 * (jnp.abs(exact) + bound)

    check()


@pytest.mark.parametrize("rounds", [1, 12, 60])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_rate_holds_on_random_problems(name, rounds):
    loss, smoothness, minimizer = SMOOTH[name][0], _smoothness(name), _minimizer(name)

    @jax.jit
    def run_once(seed, power, share):
        key_start, key_basis = jax.random.split(jax.random.key(seed))
        start = 2.0 * jax.random.normal(key_start, (2,))
        basis = jnp.eye(2) + 0.4 * jax.random.normal(key_basis, (2, 2))
        bound = jnp.linalg.norm(basis, 2) ** 2  # ||B||²
        alpha = power_weights(rounds, power)
        steps = _decreasing(alpha, share / (bound * smoothness))
        distance = jnp.linalg.norm(jnp.linalg.solve(basis, minimizer) - start)
        promise = guarantee(alpha, steps, smoothness, distance, jacobian_bound=bound)
        rule = affine(basis, jnp.zeros(2))
        run = optimistic_meta_learning(loss, rule, jnp.zeros(2), start, alpha, steps)
        gap = loss(run.averages[-1]) - loss(minimizer)
        return promise, gap, bound * smoothness * distance**2 / (2 * rounds)

    @fixed_examples
    @given(seed=seeds, power=powers, share=st.floats(0.1, 1.0))
    def check(seed, power, share):
        promise, gap, of_equal_weights = run_once(seed, power, share)
        assert promise.holds
        assert gap <= promise.gap * (1 + 1e-12)
        assert promise.gap >= of_equal_weights * (1 - 1e-12)  # whatever the weights

    check()


@pytest.mark.parametrize("rounds", [1, 2, 7, 50])
def test_the_guarantees_of_the_two_weightings(rounds):
    t = power_weights(rounds, 1.0)
    equal = guarantee(jnp.ones(rounds), 1.0 / 6.0, 2.0, 5.0, jacobian_bound=3.0)
    grown = guarantee(t, 1.0 / (6.0 * t), 2.0, 5.0, jacobian_bound=3.0)
    assert_same(equal.gap, jnp.float64(3 * 2 * 25 / (2 * rounds)))
    assert_same(grown.gap, jnp.float64(3 * 2 * 25 / (rounds + 1)))
    assert equal.holds and grown.holds
    assert not guarantee(jnp.ones(rounds), 1.01 / 6.0, 2.0, 5.0, jacobian_bound=3.0).holds


@pytest.mark.parametrize("seed", range(4))
def test_an_affine_rule_is_the_plain_loop_in_other_coordinates(seed):
    loss = SMOOTH["log_cosh"][0]
    offset, w1 = jax.random.normal(jax.random.key(seed), (2, 2))
    basis = jnp.array([[1.0, 0.5], [-0.25, 0.75]])
    alpha = power_weights(20, 0.7)
    run = optimistic_meta_learning(loss, affine(basis, offset), jnp.zeros(2), w1, alpha, 0.05)
    plain = averaged_meta_learning(lambda w: loss(offset + basis @ w), w1, alpha, 0.05)
    assert_same(run.parameters, plain.iterates)
    assert_same(run.averages, plain.averages @ basis.T + offset[None], 1e-11)


def test_the_metric_of_a_quadratic_makes_all_curvatures_one():
    eigenvalues, start = jnp.array([1.0, 0.25, 0.01]), jnp.array([0.3, -1.0, 2.0])
    loss = problems.quadratic(eigenvalues)
    basis = jnp.diag(eigenvalues**-0.5)
    hessian = jax.hessian(lambda w: loss(basis @ w))(jnp.zeros(3))
    assert_same(hessian, jnp.eye(3))
    assert_same(jnp.sum(jnp.linalg.solve(basis, start) ** 2), 2 * loss(start))
    for other in basis[None] + jax.random.normal(jax.random.key(0), (20, 3, 3)):  # none is better
        largest = jnp.linalg.norm(other.T @ jnp.diag(eigenvalues) @ other, 2)
        squared_distance = jnp.sum(jnp.linalg.solve(other, start) ** 2)
        assert largest * squared_distance > 1.01 * 2 * loss(start)


@pytest.mark.parametrize("seed", range(4))
def test_the_lower_bounds_hold_for_affine_rules(seed):
    smoothness, distance, rounds = 2.0, 1.5, 9
    basis = jax.random.normal(jax.random.key(seed), (3, 2))
    offset = jnp.array([1.0, -2.0, 0.5])
    left, values, right = jnp.linalg.svd(basis, full_matrices=False)
    u, v, size = left[:, 0], right[0], values[0]
    bent = problems.huber(smoothness * size**2, distance / rounds)

    def loss(x):
        return bent(u @ (x - offset) / size)

    w = jnp.array([0.3, -0.8])
    assert_same(loss(offset + basis @ w), bent(v @ w), 1e-11)  # both sides are about 1
    inside = offset + 0.1 * distance / rounds * size * u
    assert_same(jnp.linalg.norm(jax.hessian(loss)(inside), 2), jnp.float64(smoothness))
    step = 1.0 / (smoothness * size**2)
    rule = affine(basis, offset)
    run = optimistic_meta_learning(loss, rule, jnp.zeros(3), distance * v, jnp.ones(rounds), step)
    exact = smoothness * size**2 * distance**2 / (2 * rounds)
    assert_same(loss(run.averages[-1]), exact, 1e-11)


@pytest.mark.parametrize("seed", range(20))
def test_the_guarantee_of_element_wise_step_sizes(seed):
    key_curvatures, key_start = jax.random.split(jax.random.key(seed))
    eigenvalues = jnp.exp(-4.0 * jax.random.uniform(key_curvatures, (4,)))
    start = jax.random.normal(key_start, (4,))
    loss = problems.quadratic(eigenvalues)
    first = jax.jacobian(lambda w: element_wise(loss)(start, w))(jnp.zeros(4))
    bound = jnp.linalg.norm(first, 2) ** 2
    assert bound * jnp.sum(1.0 / eigenvalues**2) >= jnp.sum(start**2) * (1 - 1e-12)


def test_other_comparators_can_do_better_in_hindsight():
    eigenvalues = jnp.concatenate([jnp.ones(1), jnp.full(19, 0.01)])
    loss, start = problems.quadratic(eigenvalues), jnp.ones(20)
    run = optimistic_meta_learning(loss, element_wise(loss), start, 0 * start, jnp.ones(10), 1.0)
    before = jnp.concatenate([start[None], run.averages[:-1]])
    shares = eigenvalues * jnp.sum(run.averages * before, axis=0)
    w = eigenvalues * shares * jnp.sum(shares) / jnp.sum((eigenvalues * shares) ** 2)
    proposals = jax.vmap(lambda x: element_wise(loss)(x, w))(before)
    excess = jnp.sum(run.gradients * proposals)
    assert abs(excess) <= 1e-12 * jnp.sum(jnp.abs(shares))  # (W⋆) holds with C_T = 0
    bound = jnp.max((eigenvalues[None] * before) ** 2)
    assert bound <= 1.0 + 1e-12  # so that β = 1 is allowed
    promise = jnp.sum(w**2) / 20
    gap = loss(run.averages[-1])
    assert gap <= promise < 0.25 * jnp.sum(start**2) / 18  # nine steps of gradient descent
    descended = (1 - eigenvalues) ** 9 * start
    assert loss(descended) < 0.9 * gap  # it is only the bound that is better


@pytest.mark.parametrize("seed", range(6))
def test_on_a_slope(seed):
    alpha, steps = jnp.exp(jax.random.normal(jax.random.key(seed), (2, 12)))
    slope = jnp.array([2.0, -3.0])
    run = optimistic_meta_learning(
        lambda x: x @ slope,
        proposal,
        jnp.ones(2),
        jnp.ones(2),
        alpha,
        steps,
        allow_increasing=True,
    )
    totals = np.cumsum(alpha)
    by_hand = [
        sum(float(alpha[r] * steps[r]) * totals[r - 1] for r in range(1, t + 1)) / totals[t]
        for t in range(12)
    ]
    assert_same(travel(alpha, steps), np.array(by_hand))
    assert_same(run.averages, 1.0 - jnp.array(by_hand)[:, None] * slope[None])
    allowed = travel(alpha, jnp.minimum(steps, 0.5 / alpha))  # L = 2
    assert jnp.all(allowed <= jnp.arange(12.0) / 2.0)


@jax.jit
def _travel_with_steps_that_do_not_increase(seed, spread, share):
    """L τ_t for random weights and random steps with β_t α_t <= 1/L, and for equal weights."""
    key_weights, key_steps = jax.random.split(jax.random.key(seed))
    alpha = jnp.exp(spread * jax.random.normal(key_weights, (20,)))
    most = 1.0 - share * jax.random.uniform(key_steps, (20,))
    steps = jax.lax.cummin(most / (3.0 * alpha))  # L = 3
    return 3.0 * travel(alpha, steps), 3.0 * travel(jnp.ones(20), 1.0 / 3.0)


@fixed_examples
@given(seed=seeds, spread=st.floats(0.0, 6.0), share=st.floats(0.0, 0.9))
def test_on_a_slope_with_steps_that_do_not_increase(seed, spread, share):
    found, of_equal_weights = _travel_with_steps_that_do_not_increase(seed, spread, share)
    assert jnp.all(found <= jnp.arange(20.0) / 2.0 * (1 + 1e-12))
    assert_same(of_equal_weights, jnp.arange(20.0) / 2.0)


def test_with_steps_that_increase_the_travel_is_almost_twice_as_far():
    alpha = jnp.concatenate([jnp.full(1, 1e4), jnp.ones(9)])
    found = travel(alpha, 1.0 / alpha)
    assert jnp.all(found[1:] > 0.99 * jnp.arange(1.0, 10.0))


@pytest.mark.parametrize("rounds", [1, 2, 9, 30])
def test_the_adversary_for_any_weights(rounds):
    distance = 1.7

    @jax.jit
    def against(seed, smoothness, allowed, falling):
        alpha, steps = jnp.exp(jax.random.normal(jax.random.key(seed), (2, rounds)))
        steps = jnp.where(allowed, 1.0 / (smoothness * alpha), steps)
        steps = jnp.where(falling, jax.lax.cummin(steps), steps)
        worst = hardest_huber(alpha, steps, smoothness, distance)
        loss = problems.huber(smoothness, worst.half_width)
        run = optimistic_meta_learning(
            loss, proposal, distance, distance, alpha, steps, allow_increasing=True
        )
        farthest = jnp.max(travel(alpha, steps))
        bound = smoothness * distance**2 / (4 * smoothness * farthest + 2)
        return worst, loss(run.averages[-1]), bound, jnp.min(run.averages)

    @fixed_examples
    @given(seed=seeds, smoothness=st.floats(0.2, 5.0), allowed=st.booleans(), falling=st.booleans())
    def check(seed, smoothness, allowed, falling):
        worst, gap, bound, nearest = against(seed, smoothness, allowed, falling)
        assert gap >= bound * (1 - 1e-12)
        assert nearest >= worst.half_width * (1 - 1e-12)  # none leaves the slope
        if worst.tight:
            assert_same(gap, bound)
        if allowed:  # no weights whatever go below this
            assert bound >= smoothness * distance**2 / (4 * rounds - 2) * (1 - 1e-12)
        if allowed and falling:  # what equal weights reach
            assert gap >= smoothness * distance**2 / (2 * rounds) * (1 - 1e-12)

    check()


@pytest.mark.parametrize("rounds", [1, 2, 4, 32, 256])
def test_the_bound_is_tight_on_huber(rounds):
    smoothness, distance = 3.0, 2.0
    alpha = jnp.ones(rounds)
    loss = problems.huber(smoothness, distance / rounds)
    run = averaged_meta_learning(loss, distance, alpha, 1.0 / smoothness)
    exact = smoothness * distance**2 / (2 * rounds)
    assert_same(loss(run.averages[-1]), jnp.float64(exact))
    assert_same(guarantee(alpha, 1 / smoothness, smoothness, distance).gap, jnp.float64(exact))
    larger = hardest_huber(alpha, 7.0, smoothness, distance)
    assert_same(
        larger.gap,
        jnp.float64(smoothness * distance**2 / (2 * smoothness * 7.0 * (rounds - 1) + 2)),
    )
    t = power_weights(rounds, 1.0)
    grown = hardest_huber(t, 1.0 / (smoothness * t), smoothness, distance)
    assert_same(grown.gap, jnp.float64(3 * smoothness * distance**2 / (4 * rounds + 2)))


def test_three_rounds_by_hand():
    run = averaged_meta_learning(problems.huber(1.0, 1 / 3), 1.0, jnp.ones(3), 1.0)
    assert_same(run.iterates[:3], jnp.array([1.0, 2 / 3, 1 / 3]))
    assert_same(run.averages, jnp.array([1.0, 5 / 6, 2 / 3]))
    assert_same(problems.huber(1.0, 1 / 3)(run.averages[-1]), jnp.float64(1 / 6))


def test_gradient_descent_has_half_the_worst_case():
    columns = experiments.load("smooth_worst_case")["methods"]["gradient descent"]
    known = 1 / (4 * np.array(columns["inner_steps"]) - 2)
    assert np.max(np.abs(np.array(columns["upper"]) - known)) < 1e-8
    assert np.max(np.abs(np.array(columns["lower"]) - known)) < 1e-8


@pytest.mark.parametrize(("curvature", "step_size"), [(0.3, 1.0), (1.0, 0.5), (1.0, 4.0)])
def test_equal_weights_on_a_quadratic(curvature, step_size):
    run = averaged_meta_learning(problems.quadratic(curvature), 2.0, jnp.ones(25), step_size)
    y = Fraction(curvature) * Fraction(step_size)
    exact = [
        2 * sum(math.comb(t - 1, k) * (-y) ** k / math.factorial(k + 1) for k in range(t))
        for t in range(1, 26)
    ]
    assert_same(run.averages, np.array([float(x) for x in exact]), 1e-11)


def test_equal_weights_approach_the_bessel_function():
    z = np.linspace(0.5, 12.0, 47)
    limit = 2 * scipy.special.j1(z) / z
    errors = []
    for rounds in (200, 3200):
        curvatures = jnp.asarray(z**2 / (4 * 0.5 * rounds))
        run = averaged_meta_learning(
            problems.quadratic(curvatures), jnp.ones(47), jnp.ones(rounds), 0.5
        )
        errors.append(np.max(np.abs(np.asarray(run.averages[-1]) - limit)))
    assert errors[1] < errors[0] / 10 and errors[1] < 2e-3


def _worst_over_curvatures(step_size, rounds):
    roots = jnp.linspace(0.01 / rounds**0.5, 1.0, 1500)
    loss = problems.quadratic(roots**2)
    run = averaged_meta_learning(loss, jnp.ones(1500), jnp.ones(rounds), step_size)
    return float(rounds * jnp.max(0.5 * roots**2 * run.averages[-1] ** 2))


def test_the_limit_comes_late():
    limit = float(np.max(scipy.special.j1(np.linspace(1.5, 2.2, 2001)) ** 2) / 2)
    assert abs(_worst_over_curvatures(1.0, 512) - limit) < 0.02 * limit
    four = [_worst_over_curvatures(4.0, T) for T in (64, 512, 4096)]
    eight = [_worst_over_curvatures(8.0, T) for T in (64, 512, 4096)]
    assert four[0] > 2 * limit / 4 and abs(four[2] - limit / 4) < 0.02 * limit / 4
    assert eight[0] > 50 * limit / 8 and eight[2] > 10 * limit / 8
    assert eight[0] > eight[1] > eight[2]


@fixed_examples
@given(step_size=st.floats(0.02, 1.95))
def test_growing_weights_on_quadratics(step_size):
    losses = _losses_with_growing_weights(step_size)
    t = jnp.arange(1.0, 201.0)
    assert jnp.all(losses <= (1 + 1e-12) / (step_size * (1 - step_size / 2) * t**2))


@jax.jit
def _losses_with_growing_weights(step_size):
    """The worst loss over 300 curvatures up to 1 after each of 200 rounds, D = 1."""
    roots = jnp.linspace(0.0, 1.0, 300)
    loss = problems.quadratic(roots**2)
    run = averaged_meta_learning(loss, jnp.ones(300), power_weights(200, 1.0), step_size)
    return jnp.max(0.5 * (roots**2)[None] * run.averages**2, axis=1)


def test_above_the_stability_limit_even_a_quadratic_diverges():
    run = averaged_meta_learning(problems.quadratic(1.0), 1.0, power_weights(400, 1.0), 2.05)
    assert abs(run.averages[-1]) > 1e6


CYCLE = (3.0, 3.0, 0.0, -3.0, -3.0, 0.0)
SWING = problems.piecewise_quadratic([-2.0, -1.0, 1.0, 2.0], [0.25, 1.0, 0.25, 1.0, 0.25])


def test_growing_weights_can_cycle():
    slope = jax.grad(SWING)
    for i in range(6):  # the cycle of the limit
        before, here, after = CYCLE[i - 1], CYCLE[i], CYCLE[(i + 1) % 6]
        assert 2 * here - before - 2 * float(slope(here)) == after
    # The response a to the push p, both of period six.
    push = [4 * float(slope(CYCLE[i])) - 3 * (CYCLE[i] - CYCLE[i - 1]) for i in range(6)]
    response = [6, -12, -18, -6, 12, 18]
    assert push == [-3, 6, 9, 3, -6, -9]
    assert all(
        response[(i + 1) % 6] - 1.5 * response[i] + response[i - 1] == push[i] for i in range(6)
    )

    def distance(before, here, first, last):
        """How far a run is from the cycle after each round."""

        def step(state, t):
            before, here = state
            m, eps = 1 - 3 / (t + 2), 2 - 4 / (t + 2)
            return (here, here + m * (here - before) - eps * slope(here)), here

        t = jnp.arange(float(first), float(last))
        points = jax.lax.scan(step, (before, here), t)[1]
        expected = jnp.asarray(CYCLE)[(t.astype(jnp.int32) - first) % 6]
        return jnp.abs(points - expected)

    for corner in ((0.1, 0.1), (0.1, -0.1), (-0.1, 0.1), (-0.1, -0.1)):
        errors = distance(CYCLE[5] + corner[0], CYCLE[0] + corner[1], 400, 6400)
        assert jnp.max(errors) < 0.85 and jnp.max(errors[-6:]) < 60 / 6400


def _exact_slope(x):
    size = abs(x)
    value = size / 4 + Fraction(3, 4) * min(max(size - 1, 0), 1)
    return value if x > 0 else -value


def test_the_start_at_forty_is_caught():
    before = here = Fraction(40)
    points = [here]
    for t in range(1, 450):
        m, eps = Fraction(t - 1, t + 2), Fraction(2 * t, t + 2)
        before, here = here, here + m * (here - before) - eps * _exact_slope(here)
        points.append(here)
    caught = [
        t
        for t in range(401, 450)
        for i in range(6)
        if abs(points[t - 1] - Fraction(CYCLE[i - 1])) < Fraction(1, 10)
        and abs(points[t] - Fraction(CYCLE[i])) < Fraction(1, 10)
    ]
    assert caught
    # The library's run makes these points, up to rounding.
    run = averaged_meta_learning(SWING, 40.0, power_weights(450, 1.0), 1.0)
    assert_same(run.averages, np.array([float(x) for x in points]), 1e-9)


def test_the_stored_worst_cases_say_what_the_chapter_says():
    methods = experiments.load("smooth_worst_case")["methods"]
    for step in ("1/4", "1/2", "1"):
        columns = methods[f"growing, no hint, step {step}"]
        rounds = np.array(columns["inner_steps"])
        kept = rounds >= 8
        lower = rounds[kept] ** 2 * np.array(columns["lower"])[kept]
        quadratic = rounds[kept] ** 2 * np.array(columns["quadratics"])[kept]
        assert np.all(np.diff(lower) > 0) and lower[-1] > 4 * lower[0]
        assert np.max(quadratic) < 1.1 * np.min(quadratic)
    at = {step: methods[f"growing, no hint, step {step}"] for step in ("1/4", "1/2", "1")}
    for i, T in enumerate(at["1"]["inner_steps"]):  # the best on quadratics ends as the worst
        worst = max(at, key=lambda step: at[step]["upper"][i])
        assert (worst == "1") == (T >= 12)
        assert min(at, key=lambda step: at[step]["quadratics"][i]) == "1"
    decreasing = methods["growing, no hint, decreasing step"]
    exact = 3 / (4 * np.array(decreasing["inner_steps"]) + 2)
    for side in ("upper", "lower"):  # the gap of `cor-tight`, item 3
        assert np.max(np.abs(np.array(decreasing[side]) - exact)) < 1e-8
    equal = methods["constant, no hint"]
    values = np.array(equal["inner_steps"]) * np.array(equal["upper"])
    assert np.max(np.abs(values - 0.5)) < 1e-6
    slopes = experiments.load("quadratic_worst_case")["methods"]
    assert abs(slopes["constant, no hint"]["slope"] + 1) < 0.03
    assert abs(slopes["growing, no hint, decreasing step"]["slope"] + 1) < 0.03
    assert abs(slopes["growing, no hint, step 1"]["slope"] + 2) < 0.03
