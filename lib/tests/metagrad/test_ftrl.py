import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples

from metagrad.ftrl import ftrl, regret
from metagrad.learner import adagrad, from_optax
from metagrad.projections import ball, box

ROUNDS = 25
CENTER = jnp.array([0.25, -0.5, 0.125])
SETS = {
    "everything": None,
    "ball": ball(0.8, CENTER + jnp.array([0.1, 0.0, 0.2])),
    "box": box(jnp.array([-0.5, -0.6, -0.1]), jnp.array([0.5, 0.0, 0.4])),
}
seeds = st.integers(0, 10**6)
sizes = st.floats(0.01, 2.0)


def _sequences(seed):
    """Losses, hints that are right only in part, and a point of the plane to project."""
    gradients, noise = jax.random.normal(jax.random.key(seed), (2, ROUNDS, 3))
    return gradients, 0.7 * gradients + 0.5 * noise, 2.0 * noise[0]


def _step_sizes(kind, size):
    t = jnp.arange(1.0, ROUNDS + 1)
    if kind == "adagrad":
        return adagrad(size)
    return {"constant": size, "falling": size / jnp.sqrt(t), "rising": size * jnp.sqrt(t)}[kind]


# AdaGrad's step sizes are for sets that are products of intervals.
KINDS = [(kind, region) for kind in ("constant", "falling", "rising") for region in SETS]
KINDS += [("adagrad", "everything"), ("adagrad", "box")]


@pytest.mark.parametrize(("kind", "region"), KINDS)
def test_regret_bound(kind, region):
    project = SETS[region]

    @jax.jit
    def account(seed, size):
        gradients, hints, comparator = _sequences(seed)
        run = ftrl(
            CENTER,
            gradients,
            _step_sizes(kind, size),
            hints,
            project=project,
            allow_increasing=True,
        )
        comparator = comparator if project is None else project(comparator)
        return run, comparator, regret(run, comparator)

    @fixed_examples
    @given(seed=seeds, size=sizes)
    def holds(seed, size):
        run, comparator, terms = account(seed, size)
        sum_of_sizes = sum(float(np.sum(np.abs(term))) for term in terms)
        assert terms.regret <= terms.bound + 1e-13 * sum_of_sizes
        pays_for_growth = np.any(np.asarray(terms.growth_terms) > 0)
        assert pays_for_growth == (kind == "rising")
        assert np.min(terms.movement_terms) >= 0 and np.min(terms.error_terms) >= 0
        distance = np.asarray(run.parameters) - np.asarray(comparator)
        played = np.sum(np.asarray(run.gradients) * distance)
        assert abs(terms.regret - played) <= 1e-13 * sum_of_sizes

    holds()


def test_the_bound_is_attained():
    """Without hints and constraints, by the comparator that the learner plays next."""
    gradients, _, _ = _sequences(3)
    run = ftrl(CENTER, gradients, 0.3)
    terms = regret(run, CENTER - 0.3 * jnp.sum(gradients, axis=0))
    assert_same(terms.regret, terms.bound)


def test_regret_terms_are_their_definitions():
    gradients, hints, comparator = (np.asarray(value) for value in _sequences(5))
    beta = np.asarray(_step_sizes("rising", 0.2))
    project = SETS["ball"]
    run = ftrl(CENTER, gradients, jnp.asarray(beta), hints, project=project, allow_increasing=True)
    terms = regret(run, comparator)
    center, total = np.asarray(CENTER), np.zeros(3)
    previous, lazy = beta[0], center
    for t in range(ROUNDS):
        w = np.asarray(project(jnp.asarray(center - beta[t] * (total + hints[t]))))
        assert_same(run.parameters[t], w)
        assert_same(run.lazy[t], lazy)
        growth = max(1 / previous - 1 / beta[t], 0) * np.sum((w - center) ** 2) / 2
        assert_same(terms.growth_terms[t], growth) if growth else None
        assert_same(terms.error_terms[t], beta[t] * np.sum((gradients[t] - hints[t]) ** 2) / 2)
        movement = np.sum((w - lazy) ** 2) / (2 * previous)
        assert abs(terms.movement_terms[t] - movement) <= 1e-13
        total = total + gradients[t]
        lazy = np.asarray(project(jnp.asarray(center - beta[t] * total)))
        previous = beta[t]
    assert_same(terms.distance_term, np.sum((comparator - center) ** 2) / (2 * beta[-1]))


@pytest.mark.parametrize("region", SETS)
def test_each_play_minimizes_the_regularized_sum(region):
    """First-order optimality: the slope at w_t does not point into W."""
    project = SETS[region]

    @jax.jit
    def slopes(seed, size):
        gradients, hints, other = _sequences(seed)
        run = ftrl(CENTER, gradients, size, hints, project=project)
        known = jnp.cumsum(gradients, axis=0) - gradients + hints
        slope = known + (run.parameters - CENTER[None]) / size
        other = other if project is None else project(other)
        return jnp.sum(slope * (other[None] - run.parameters), axis=1), jnp.max(jnp.abs(known))

    @fixed_examples
    @given(seed=seeds, size=sizes)
    def optimal(seed, size):
        into, scale = slopes(seed, size)
        assert np.min(into) >= -1e-11 * scale / min(size, 1.0)
        if region == "everything":
            assert np.max(np.abs(into)) <= 1e-11 * scale / min(size, 1.0)

    optimal()


@pytest.mark.parametrize("region", ["ball", "box"])
def test_projections_are_nearest_points(region):
    project = SETS[region]

    @jax.jit
    def angle(seed):
        point, other = 3.0 * jax.random.normal(jax.random.key(seed), (2, 3))
        nearest, other = project(point), project(other)
        return jnp.sum((point - nearest) * (other - nearest)), project(nearest) - nearest

    @fixed_examples
    @given(seed=seeds)
    def holds(seed):
        into, moved = angle(seed)
        assert into <= 1e-13
        assert np.max(np.abs(moved)) <= 1e-15

    holds()
    assert_same(project(CENTER), CENTER, 0.0)
    assert np.all(np.isfinite(jax.jacobian(ball(1.0))(jnp.zeros(3))))


def test_adagrad_step_sizes():
    gradients, hints, _ = _sequences(8)
    run = ftrl(CENTER, gradients, adagrad(0.3, initial=0.5), hints)
    errors = np.cumsum(np.asarray(gradients - hints) ** 2, axis=0)
    expected = 0.3 / np.sqrt(0.5 + np.concatenate([np.zeros((1, 3)), errors[:-1]]))
    assert_same(run.step_sizes, expected)


def test_gradient_descent_is_the_unconstrained_leader():
    """And `from_optax` gives an adaptive method no round before the first."""
    gradients, _, _ = _sequences(4)

    def played(learner):
        state, path = learner.init(), []
        for t, gradient in enumerate(gradients, start=1):
            w, size, state = learner.play(state, jnp.zeros(3), jnp.int32(t))
            assert size is None
            path.append(w)
            state = learner.learn(state, gradient, jnp.zeros(3))
        return jnp.stack(path)

    assert_same(played(from_optax(CENTER, optax.sgd(0.3), None)), ftrl(CENTER, gradients, 0.3)[0])
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes dtypes
        adam = optax.adam(0.1)
        state, w, path = adam.init(CENTER), CENTER, []
        for gradient in gradients:
            path.append(w)
            move, state = adam.update(gradient, state, w)
            w = optax.apply_updates(w, move)
        assert_same(played(from_optax(CENTER, adam, None)), jnp.stack(path))


GRADIENTS = jnp.ones((4, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ftrl(CENTER, GRADIENTS, jnp.array([0.1, 0.1, 0.2, 0.1])),
            r"meta_step_size must not increase: .*allow_increasing=True.* got .*0.2",
        ),
        (lambda: ftrl(CENTER, GRADIENTS, 0.0), r"meta_step_size must be positive, got 0.0"),
        (
            lambda: ftrl(CENTER, GRADIENTS, jnp.ones(3)),
            r"meta_step_size must have shape \(4,\), got shape \(3,\)",
        ),
        (
            lambda: ftrl(CENTER, jnp.ones((4, 2)), 0.1),
            r"gradients must have shape \(T, \*w0.shape\) with w0.shape = \(3,\), .* \(4, 2\)",
        ),
        (
            lambda: ftrl(CENTER, GRADIENTS, 0.1, jnp.ones((3, 3))),
            r"hints must have shape \(4, 3\), got shape \(3, 3\)",
        ),
        (
            lambda: ftrl(CENTER, GRADIENTS, 0.1, project=box(1.0, 2.0)),
            r"w0 must lie in the set that project projects to",
        ),
        (lambda: ftrl(CENTER, GRADIENTS * jnp.nan, 0.1), r"gradients must be finite"),
        (lambda: adagrad(-1.0), r"scale must be positive, got -1.0"),
        (lambda: adagrad(1.0, 0.0), r"initial must be positive, got 0.0"),
        (lambda: ball(-1.0), r"radius must be positive, got -1.0"),
        (lambda: box(1.0, 0.0), r"high must be at least low = 1.0, got 0.0"),
        (
            lambda: regret(ftrl(CENTER, GRADIENTS, 0.1), jnp.ones(2)),
            r"comparator must have shape \(3,\), got shape \(2,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
