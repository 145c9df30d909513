import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import LOSSES, assert_same, fixed_examples
from optimism_cases import CONSTANT, MATRIX, ROUNDS, RULES, START, random_weights

from metagrad import rules
from metagrad.averaged import averaged_meta_learning
from metagrad.ftrl import ftrl
from metagrad.learner import adagrad
from metagrad.ledger import online_to_batch
from metagrad.momentum import nesterov, three_term
from metagrad.online import online_meta_learning
from metagrad.optimistic import meta_regret, optimistic_meta_learning
from metagrad.projections import ball, box
from metagrad.weights import (
    nesterov_hints,
    nesterov_weights,
    power_weights,
    three_term_coefficients,
)

seeds = st.integers(0, 10**6)


def _run(name, loss, weights, step_size, hints=None, **options):
    maker, w0 = RULES[name]
    rule = maker(loss)
    return rule, optimistic_meta_learning(
        loss, rule, START, w0, weights, step_size, hints, **options
    )


def _step_size(name):
    """One with which the meta-parameters move, and the runs stay bounded."""
    return {"element-wise": 1e-5, "full matrix": 1e-5, "meta-adagrad": 0.01}.get(name, 1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_a_proposal_is_the_averaged_form(name):
    loss = LOSSES[name]

    @jax.jit
    def runs(seed, step_size):
        weights, hints = random_weights(seed)
        run = optimistic_meta_learning(
            loss, rules.proposal, START, START, weights, step_size / ROUNDS, hints
        )
        return run, averaged_meta_learning(loss, START, weights, step_size / ROUNDS, hints)

    @fixed_examples
    @given(seed=seeds, step_size=st.floats(0.1, 1.0))
    def agree(seed, step_size):
        run, averaged = runs(seed, step_size)
        for mine, other in zip(run[:4], averaged, strict=True):
            assert_same(mine, other)

    agree()


def test_exact_nesterov_and_heavy_ball():
    loss = LOSSES["logistic"]
    weights = nesterov_weights(ROUNDS)
    run = _run("proposal", loss, weights, 0.3, nesterov_hints(weights))[1]
    assert_same(run.averages, nesterov(loss, START, 0.3, ROUNDS).lookahead)
    growing = power_weights(ROUNDS, 1.0)
    run = _run("proposal", loss, growing, 0.02)[1]
    coefficients = three_term_coefficients(growing, 0.02)
    assert not np.any(coefficients.correction)  # heavy ball, with coefficients that change
    assert_same(run.averages, three_term(loss, START, *coefficients))


def test_without_averages_a_translation_is_the_practice_form():
    loss = LOSSES["log_cosh"]
    online = online_meta_learning(loss, rules.translation, START, jnp.zeros(2), 0.01, ROUNDS)
    run = optimistic_meta_learning(
        loss, rules.translation, START, jnp.zeros(2), jnp.ones(ROUNDS), 0.01, average=False
    )
    assert_same(run.averages, online.points[1:])
    assert_same(run.parameters, online.parameters[:-1])
    assert_same(run.meta_gradients, online.meta_gradients)


@pytest.mark.parametrize("name", RULES)
def test_the_loop_is_its_definition(name):
    """Every field, recomputed from the run's own parameters with Jacobians from JAX."""
    loss, seed = LOSSES["log_cosh"], 5
    weights, hints = random_weights(seed)
    for jacobian in ("fresh", "stale"):
        rule, run = _run(name, loss, weights, _step_size(name), hints, jacobian=jacobian)
        before = jnp.concatenate([START[None], run.averages[:-1]])
        shares = (weights / jnp.cumsum(weights))[:, None]
        iterates = jax.vmap(rule)(before, run.parameters)
        assert_same(run.iterates, iterates)
        assert_same(run.averages, (1 - shares) * before + shares * iterates)
        assert_same(run.gradients, jax.vmap(jax.grad(loss))(run.averages))

        def meta_loss(w, x, share, rule=rule):
            return loss((1 - share) * x + share * rule(x, w)) / share

        meta_gradients = jax.vmap(jax.grad(meta_loss))(run.parameters, before, shares[:, 0])
        assert_same(run.meta_gradients, meta_gradients, 1e-11)  # the share divides and multiplies
        used_at = run.averages if jacobian == "fresh" else before
        jacobians = jax.vmap(jax.jacobian(rule, argnums=1))(used_at, run.parameters)
        guesses = jax.vmap(lambda j, g: jnp.tensordot(g, j, 1))(jacobians, run.gradients)
        expected = jax.vmap(jnp.multiply)(hints[1:], guesses[:-1])
        assert_same(run.hints[1:], expected)
        assert not np.any(run.hints[0])
        weighted = jax.vmap(jnp.multiply)(weights, run.meta_gradients)
        learner = ftrl(run.center, weighted, _step_size(name), run.hints)
        assert_same(run.parameters, learner.parameters)
        assert_same(run.lazy, learner.lazy)


def test_the_two_jacobians_agree_exactly_where_they_are_constant():
    loss, (weights, hints) = LOSSES["log_cosh"], random_weights(2)
    for name in RULES:
        fresh, stale = (
            _run(name, loss, weights, _step_size(name), hints, jacobian=kind)[1].parameters
            for kind in ("fresh", "stale")
        )
        difference = np.max(np.abs(fresh - stale)) / np.max(np.abs(fresh - fresh[:1]))
        assert (difference <= 1e-12) == (name in CONSTANT), (name, difference)


def test_predictions():
    loss, (weights, hints) = LOSSES["log_cosh"], random_weights(2)
    runs = {
        key: _run("element-wise", loss, weights, 1e-5, hints, predict=predict)[1]
        for key, predict in {
            "default": None,
            "last": lambda average, gradient, t: gradient,
            "none": lambda average, gradient, t: jnp.zeros_like(gradient),
            "odd": lambda average, gradient, t: jnp.where(t % 2, average, gradient),
        }.items()
    }
    plain = _run("element-wise", loss, weights, 1e-5)[1]
    assert_same(runs["last"].averages, runs["default"].averages, 0.0)
    assert_same(runs["none"].averages, plain.averages, 0.0)
    odd = runs["odd"]  # h_{t+1} for t = 1 and t = 2, B = -diag ∇f(x̄_t)
    for t, prediction in ((1, odd.averages[0]), (2, odd.gradients[1])):
        assert_same(odd.hints[t], -hints[t] * odd.gradients[t - 1] * prediction)


@pytest.mark.parametrize("name", ["proposal", "element-wise", "full matrix", "meta-adagrad"])
@pytest.mark.parametrize("kind", ["constant", "falling", "rising", "adagrad"])
def test_meta_regret_bound(name, kind):
    """The bound asks nothing of the loss or of the rule: here neither is convex."""
    loss, w0 = LOSSES["rosenbrock"], RULES[name][1]
    project = {"proposal": ball(0.5, w0), "element-wise": None}.get(name, box(w0 - 0.1, w0 + 0.1))
    if kind == "adagrad" and name == "proposal":
        project = None

    @jax.jit
    def account(seed, scale):
        weights, hints = random_weights(seed)
        t = jnp.arange(1.0, ROUNDS + 1)
        size = scale * _step_size(name)
        sizes = {"constant": size, "falling": size / t, "rising": size * jnp.sqrt(t)}.get(kind)
        run = _run(
            name,
            loss,
            weights,
            adagrad(0.1 * scale) if sizes is None else sizes,
            hints,
            project=project,
            allow_increasing=True,
        )[1]
        comparator = w0 + 0.3 * jax.random.normal(jax.random.key(seed), w0.shape)
        comparator = comparator if project is None else project(comparator)
        weighted = jax.vmap(lambda a, g: a * g)(run.weights, run.meta_gradients)
        played = jnp.sum(weighted * (run.parameters - comparator[None]))
        return meta_regret(run, comparator), played, jnp.all(jnp.isfinite(run.averages))

    @fixed_examples
    @given(seed=seeds, scale=st.floats(0.01, 1.0))
    def holds(seed, scale):
        terms, played, finite = account(seed, scale)
        assert finite
        rounding = 1e-13 * sum(float(np.sum(np.abs(term))) for term in terms)
        assert terms.regret <= terms.bound + rounding
        assert abs(played - terms.regret) <= rounding

    holds()


@pytest.mark.parametrize("name", ["affine from x", "element-wise", "meta-adagrad"])
def test_online_to_batch_identity_for_any_rule(name):
    loss = LOSSES["logistic"]
    weights, hints = random_weights(9)
    run = _run(name, loss, weights, _step_size(name), hints)[1]
    ledger = online_to_batch(loss, jnp.array([0.3, -0.2]), run)
    entries = np.concatenate(
        [ledger.regret_terms, -ledger.bregman_to_minimizer, -ledger.bregman_between]
    )
    total = float(ledger.total_weight * ledger.gap)
    assert abs(np.sum(entries) - total) <= 1e-12 * np.sum(np.abs(entries))


def test_optax_as_the_meta_learner():
    loss, (weights, hints) = LOSSES["logistic"], random_weights(1)
    project = box(-0.1, 0.1)
    for options in ({}, {"jacobian": "stale"}, {"average": False}):
        mine = _run("element-wise", loss, weights, 0.01, hints, **options)[1]
        theirs = _run("element-wise", loss, weights, optax.sgd(0.01), hints, **options)[1]
        assert_same(theirs.parameters, mine.parameters)
        assert_same(theirs.averages, mine.averages)
    assert theirs.step_sizes is None and theirs.lazy is None
    run = _run("element-wise", loss, weights, optax.sgd(5.0, 0.9), hints, project=project)[1]
    assert np.max(np.abs(run.parameters)) == 0.1
    with pytest.raises(ValueError, match=r"run must have been made with a number.* optax"):
        meta_regret(run, jnp.zeros(2))


def test_compiles_once_maps_and_differentiates():
    loss, traces = LOSSES["logistic"], []
    weights = power_weights(12, 1.0)

    def final(size):
        total = 0.0
        for name, step in (("element-wise", size), ("full matrix", adagrad(size))):
            run = _run(name, loss, weights, step, weights, project=box(-2.0, 2.0))[1]
            total += loss(run.averages[-1]) + meta_regret(run, run.center + 0.1).bound
        return total

    @jax.jit
    def compiled(size):
        traces.append(size)
        return final(size)

    sizes = np.linspace(0.01, 0.04, 4)
    looped = np.array([compiled(size) for size in sizes])
    assert len(traces) == 1
    assert_same(jax.jit(jax.vmap(final))(jnp.asarray(sizes)), looped)
    gradient = jax.jit(jax.grad(final))(0.02)
    difference = (compiled(0.02 + 1e-6) - compiled(0.02 - 1e-6)) / 2e-6
    assert abs(gradient - difference) <= 1e-6 * abs(gradient)


LOSS, WEIGHTS = LOSSES["huber"], jnp.ones(4)


def _bad(weights=WEIGHTS, size=0.1, hints=None, **options):
    return _run("affine from c", LOSS, weights, size, hints, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _bad(weights=jnp.array([1.0, 0.0])), r"weights must be positive, got"),
        (lambda: _bad(weights=1.0), r"weights must have shape \(n,\)"),
        (
            lambda: _bad(size=jnp.array([0.1, 0.2, 0.2, 0.1])),
            r"meta_step_size must not increase: the regret bound needs that",
        ),
        (lambda: _bad(size=-1.0), r"meta_step_size must be positive, got -1.0"),
        (
            lambda: _bad(hints=jnp.ones(3)),
            r"hint_weights must have shape \(4,\), got shape \(3,\)",
        ),
        (
            lambda: _bad(hints=WEIGHTS, predict=lambda x, g, t: jnp.ones(3)),
            r"the result of predict must have shape \(2,\), got shape \(3,\)",
        ),
        (
            lambda: _bad(jacobian="new"),
            r"jacobian must be 'fresh' or 'stale', got 'new'",
        ),
        (lambda: _bad(project=ball(0.1, MATRIX[0])), r"w0 must lie in the set"),
        (
            lambda: meta_regret(_bad()[1], jnp.ones(3)),
            r"comparator must have shape \(2,\), got shape \(3,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_rule_that_does_not_return_a_point_is_refused():
    with pytest.raises(TypeError, match=r"update_rule must return a point like x0"):
        optimistic_meta_learning(LOSS, lambda x, w: w[:1], START, START, WEIGHTS, 0.1)
