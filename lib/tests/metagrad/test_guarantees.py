import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples

from metagrad import problems, rules
from metagrad.guarantees import best_hints, guarantee, hardest_huber, travel
from metagrad.optimistic import optimistic_meta_learning
from metagrad.projections import ball
from metagrad.weights import nesterov_hints, nesterov_weights, power_weights

ROUNDS = 30
seeds = st.integers(0, 10**6)
shares = st.floats(0.05, 1.0)


def _weights_before():
    """α_1 = 1 and α_t² = A_{t-1}: the fastest growth that the plain hint allows."""
    weights = [1.0]
    for _ in range(ROUNDS - 1):
        weights.append(float(np.sqrt(np.sum(weights))))
    return jnp.array(weights)


GROWING = power_weights(ROUNDS, 1.0)
NESTEROV = nesterov_weights(ROUNDS)
EQUAL = jnp.ones(ROUNDS)
# name -> weights, hint weights, λ L β_t as large as the theorem allows
SCHEMES = {
    "equal": (EQUAL, None, 1.0),
    "growing": (GROWING, None, 1.0 / GROWING),
    "growing, hint": (GROWING, GROWING, 0.25),
    "growing, best hint": (GROWING, best_hints(GROWING), 0.5),
    "as A before, hint": (_weights_before(), _weights_before(), 1.0),
    "nesterov": (NESTEROV, nesterov_hints(NESTEROV), 1.0),
    "equal, hint": (EQUAL, EQUAL, 1.0),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_use_the_condition_up(name):
    weights, hints, size = SCHEMES[name]
    for smoothness, jacobian_bound in ((1.0, 1.0), (3.0, 0.25)):
        beta = size / (smoothness * jacobian_bound)
        made = guarantee(weights, beta, smoothness, 2.0, hints, jacobian_bound)
        assert made.holds
        largest_step = jnp.atleast_1d(beta)[-1]
        assert_same(made.gap, 4.0 / (2.0 * largest_step * jnp.sum(weights)))
        # With a step size 1 % larger it fails: some load is 1. Only with the best hints for
        # α_t = t are they t / (t + 1), and come to 1 in the limit.
        larger = guarantee(weights, 1.01 * beta, smoothness, 2.0, hints, jacobian_bound)
        assert larger.holds == (name == "growing, best hint")
    loads = guarantee(weights, size, 1.0, 1.0, hints).loads
    if name == "nesterov":
        assert_same(loads, jnp.ones(ROUNDS))


def test_closed_forms_of_the_bounds():
    for rounds in (1, 2, 7, 30):
        equal, growing = jnp.ones(rounds), power_weights(rounds, 1.0)
        smoothness, distance, squared = 3.0, 0.7, 0.5  # squared is λ
        scale = squared * smoothness * distance**2
        beta = 1 / (squared * smoothness)
        arguments = (smoothness, distance)
        plain = guarantee(equal, beta, *arguments, None, squared)
        assert_same(plain.gap, scale / (2 * rounds))
        falling = guarantee(growing, beta / growing, *arguments, None, squared)
        assert_same(falling.gap, scale / (rounds + 1))
        hinted = guarantee(growing, beta / 4, *arguments, growing, squared)
        assert_same(hinted.gap, 4 * scale / (rounds * (rounds + 1)))
        best = guarantee(growing, beta / 2, *arguments, best_hints(growing), squared)
        assert_same(best.gap, 2 * scale / (rounds * (rounds + 1)))
        weights = nesterov_weights(rounds)
        exact = guarantee(weights, beta, *arguments, nesterov_hints(weights), squared)
        assert_same(exact.gap, scale / (2 * weights[-1] ** 2))
        assert exact.gap <= 2 * scale / (rounds + 1) ** 2 * (1 + 1e-12)
        assert plain.holds and falling.holds and hinted.holds and best.holds and exact.holds


def test_best_hints_carry_the_least_load():
    assert_same(best_hints(NESTEROV), nesterov_hints(NESTEROV))

    @jax.jit
    def loads(seed):
        weights_key, hints_key = jax.random.split(jax.random.key(seed))
        weights = jax.random.uniform(weights_key, (ROUNDS,), minval=0.1, maxval=3.0)
        other = weights * jax.random.uniform(hints_key, (ROUNDS,), minval=-1.0, maxval=2.0)
        best = guarantee(weights, 0.7, 1.0, 1.0, best_hints(weights)).loads
        return weights, best, guarantee(weights, 0.7, 1.0, 1.0, other).loads

    @fixed_examples
    @given(seed=seeds)
    def least(seed):
        weights, best, other = loads(seed)
        assert_same(best, 0.7 * weights**2 / np.cumsum(weights))
        assert np.all(best <= other * (1 + 1e-13))

    least()


def _problem(kind, seed):
    """A loss, an update rule, its start, w_0, w*, L, λ and x*, drawn at random."""
    keys = jax.random.split(jax.random.key(seed), 4)
    curvatures = jnp.exp(jax.random.uniform(keys[0], (3,), minval=-4.0, maxval=1.0))
    x0 = jax.random.normal(keys[1], (3,))
    smoothness = jnp.max(curvatures)
    if kind in ("quadratic", "log_cosh", "huber"):
        loss = {
            "quadratic": problems.quadratic(curvatures),
            "log_cosh": problems.log_cosh(curvatures),
            "huber": problems.huber(smoothness, jnp.abs(x0[0]) / ROUNDS),
        }[kind]
        return loss, rules.proposal, x0, x0, jnp.zeros(3), smoothness, 1.0, jnp.zeros(3)
    if kind == "affine":
        matrix = jax.random.normal(keys[2], (3, 4))
        offset, w_star = x0, jax.random.normal(keys[3], (4,))
        best = offset + matrix @ w_star
        loss = problems.quadratic(curvatures, minimizer=best)
        norm = jnp.sum(matrix**2)  # at least the squared operator norm
        w0 = jnp.zeros(4)
        return loss, rules.affine(matrix, offset), x0, w0, w_star, smoothness, norm, best
    # Element-wise step sizes on an axis-aligned bowl: w* = 1/q leads to x* = 0 from anywhere.
    loss = problems.quadratic(curvatures)
    # λ is a bound on ∇f along the run; it is checked below against the run itself.
    slope = 4.0 * jnp.max(jnp.abs(curvatures * x0)) ** 2
    w0 = jnp.zeros(3)
    rule = rules.element_wise(loss)
    return loss, rule, x0, w0, 1 / curvatures, smoothness, slope, jnp.zeros(3)


@pytest.mark.parametrize("kind", ["quadratic", "log_cosh", "huber", "affine", "element-wise"])
@pytest.mark.parametrize("name", SCHEMES)
def test_no_run_exceeds_its_guarantee(kind, name):
    weights, hints, size = SCHEMES[name]

    @jax.jit
    def gaps(seed, share):
        loss, rule, x0, w0, w_star, smoothness, norm, best = _problem(kind, seed)
        beta = share * size / (smoothness * norm)
        run = optimistic_meta_learning(loss, rule, x0, w0, weights, beta, hints)
        distance = jnp.sqrt(jnp.sum((w_star - w0) ** 2))
        made = guarantee(weights, beta, smoothness, distance, hints, norm)
        used_at = jnp.concatenate([x0[None], run.averages])
        steepest = jnp.max(jnp.abs(jax.vmap(jax.grad(loss))(used_at)))
        return loss(run.averages[-1]) - loss(best), made, norm, steepest

    @fixed_examples
    @given(seed=seeds, share=shares)
    def holds(seed, share):
        gap, made, norm, steepest = gaps(seed, share)
        assert made.holds
        if kind == "element-wise":
            assert steepest**2 <= norm
        assert -1e-13 * made.gap <= gap <= made.gap * (1 + 1e-12)

    holds()


def test_increasing_step_sizes_pay_with_the_diameter():
    """β_t = (t - 1)/(2 t λ L) in a ball around w_0: 4 λ L D² / (T (T + 1)), D its radius."""
    t = jnp.arange(1.0, ROUNDS + 1).at[0].set(2.0)  # β_1 := β_2; w_1 = w_0 whatever it is

    @jax.jit
    def gap(seed):
        loss, rule, x0, w0, _, smoothness, _, best = _problem("quadratic", seed)
        radius = 1.5 * jnp.sqrt(jnp.sum((best - w0) ** 2))
        run = optimistic_meta_learning(
            loss,
            rule,
            x0,
            w0,
            GROWING,
            (t - 1) / (2 * t * smoothness),
            GROWING,
            project=ball(radius, w0),
            allow_increasing=True,
        )
        return loss(run.averages[-1]), 4 * smoothness * radius**2 / (ROUNDS * (ROUNDS + 1))

    @fixed_examples
    @given(seed=seeds)
    def holds(seed):
        reached, bound = gap(seed)
        assert reached <= bound

    holds()


def test_huber_run_sits_on_its_lower_bound():
    for rounds in (4, 16, 64):
        for smoothness, distance in ((1.0, 1.0), (2.5, 0.4)):
            weights = jnp.ones(rounds)
            worst = hardest_huber(weights, 1 / smoothness, smoothness, distance)
            assert worst.tight
            assert_same(worst.half_width, distance / rounds)
            assert_same(worst.gap, smoothness * distance**2 / (2 * rounds))
            assert_same(worst.gap, guarantee(weights, 1 / smoothness, smoothness, distance).gap)
            loss = problems.huber(smoothness, distance / rounds)
            run = optimistic_meta_learning(
                loss, rules.proposal, distance, distance, weights, 1 / smoothness
            )
            assert_same(loss(run.averages[-1]), worst.gap)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_hardest_huber_is_as_hard_as_stated(name):
    weights, hints, size = SCHEMES[name]
    smoothness, distance = 2.0, 1.5
    beta = size / smoothness
    worst = hardest_huber(weights, beta, smoothness, distance, hints)
    loss = problems.huber(smoothness, worst.half_width)
    run = optimistic_meta_learning(loss, rules.proposal, distance, distance, weights, beta, hints)
    slope = smoothness * worst.half_width
    assert_same(run.gradients, jnp.full(ROUNDS, slope))  # every average stays on the slope
    assert_same(run.averages, distance - travel(weights, beta, hints) * slope)
    gap = loss(run.averages[-1])
    assert gap >= worst.gap * (1 - 1e-12)
    assert worst.tight == (abs(gap / worst.gap - 1) <= 1e-12)
    made = guarantee(weights, beta, smoothness, distance, hints)
    assert worst.gap <= made.gap * (1 + 1e-12)
    if hints is None:  # no weighting escapes 1/T without hints
        assert worst.gap >= smoothness * distance**2 / (4 * ROUNDS - 2) * (1 - 1e-12)


def test_travel_with_hints_and_a_constant_step_size():
    """c_T = β (A_T² + Σ α_t² - 2 α_1²) / (2 A_T) with γ = α."""
    for weights in (GROWING, EQUAL, NESTEROV):
        total = float(jnp.sum(weights))
        expected = 0.3 * (total**2 + float(jnp.sum(weights**2)) - 2 * float(weights[0]) ** 2)
        assert_same(travel(weights, 0.3, weights)[-1], expected / (2 * total))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guarantee([1.0, 0.0], 1.0, 1.0, 1.0), r"weights must be positive"),
        (
            lambda: guarantee(jnp.ones(2), jnp.array([0.1, 0.2]), 1.0, 1.0),
            r"meta_step_size must not increase",
        ),
        (lambda: guarantee(EQUAL, 1.0, 0.0, 1.0), r"smoothness must be positive, got 0.0"),
        (lambda: guarantee(EQUAL, 1.0, 1.0, -1.0), r"distance must be at least 0, got -1.0"),
        (
            lambda: guarantee(EQUAL, 1.0, 1.0, 1.0, jnp.ones(3)),
            r"hint_weights must have shape \(30,\), got shape \(3,\)",
        ),
        (
            lambda: guarantee(EQUAL, 1.0, 1.0, 1.0, None, 0.0),
            r"jacobian_bound must be positive, got 0.0",
        ),
        (lambda: best_hints([-1.0]), r"weights must be positive"),
        (lambda: hardest_huber(EQUAL, 1.0, 1.0, 0.0), r"distance must be positive, got 0.0"),
        (
            lambda: hardest_huber([1.0, 1.0], 1.0, 1.0, 1.0, [0.0, -1.0]),
            r"hint_weights must be at least 0",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
