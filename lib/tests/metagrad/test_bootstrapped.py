import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import LOSSES, assert_same, fixed_examples
from optimism_cases import CONSTANT, ROUNDS, RULES, START, random_weights

from metagrad import problems, rules
from metagrad.bootstrapped import bootstrapped_meta_learning, kl_matching, squared_distance
from metagrad.convex_bootstrap import bootstrapped_averages, drift_terms
from metagrad.ftrl import ftrl
from metagrad.guarantees import guarantee
from metagrad.online import online_meta_learning
from metagrad.optimistic import optimistic_meta_learning
from metagrad.projections import ball
from metagrad.weights import nesterov_hints, nesterov_weights, power_weights

seeds = st.integers(0, 10**6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_step_as_target_is_the_plain_meta_gradient(name):
    loss = LOSSES[name]
    rule, w0 = rules.element_wise(loss), jnp.array([0.01, 0.02])
    run = bootstrapped_meta_learning(
        loss, rule, START, w0, 0.003, 25, steps_ahead=0, target_step_size=0.5
    )
    online = online_meta_learning(loss, rule, START, w0, 0.0015, 25)
    assert_same(run.kept.point, online.points[1:])
    assert_same(run.kept.parameters, online.parameters[1:])


@pytest.mark.parametrize("ahead", [1, 3])
def test_targets_are_further_steps_and_a_gradient_step(ahead):
    loss = LOSSES["logistic"]
    rule, w0 = rules.element_wise(loss, jnp.exp), jnp.array([-1.0, 0.5])
    run = bootstrapped_meta_learning(
        loss, rule, START, w0, 0.5, 6, steps_ahead=ahead, target_step_size=0.7
    )
    slope = jax.grad(loss)
    x, w = START, w0
    for t in range(6):
        moved = x - jnp.exp(w) * slope(x)
        target = moved
        for _ in range(ahead):
            target = target - jnp.exp(w) * slope(target)
        target = target - 0.7 * slope(target)
        assert_same(run.kept.target[t], target)
        assert_same(run.kept.matching_loss[t], 0.5 * jnp.sum((target - moved) ** 2))
        # ∇_w = (moved - target) times the Jacobian, diag(-exp(w) ∇f(x)).
        w = w - 0.5 * (moved - target) * (-jnp.exp(w) * slope(x))
        x = moved
        assert_same(run.kept.point[t], x)
        assert_same(run.kept.parameters[t], w)
    assert_same(run.final.parameters, w)


def test_kl_matching():
    logits = jnp.array([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]])
    target = jnp.array([[1.0, 0.0, 0.5], [-2.0, 0.25, 0.0]])
    match = kl_matching(lambda x: x)
    p, q = jax.nn.softmax(target), jax.nn.softmax(logits)
    assert_same(match(target, logits), jnp.mean(jnp.sum(p * jnp.log(p / q), axis=1)))
    assert_same(jax.grad(match, argnums=1)(target, logits), (q - p) / 2)  # the mean of two rows
    assert abs(match(target, target + 3.0)) <= 1e-15  # a shift leaves the classes as they are


def test_data_arrive_in_order():
    """Step t uses data t, its look-ahead t + 1, ..., t + L, the target's gradient t + L + 1."""

    def loss(x, data):
        return -0.5 * data * x  # the gradient is -data / 2, whatever x is

    def rule(x, w, data):
        return x + w * data

    run = bootstrapped_meta_learning(
        loss,
        rule,
        0.0,
        1.0,
        1e-300,  # w stays 1
        3,
        steps_ahead=2,
        target_step_size=2.0,
        sample=lambda t: 10.0 ** t.astype(float),
        matching=lambda z, x, data: data * (z - x),
        record=lambda state: (state.point, state.target, state.matching_loss),
    )
    points, targets, matched = run.kept
    assert points.tolist() == [10.0, 110.0, 1110.0]
    assert targets.tolist() == [11110.0, 111110.0, 1111110.0]
    assert matched.tolist() == [111000.0, 11100000.0, 1110000000.0]


def test_pytrees_optax_and_recording():
    """A small network whose step sizes AdaGrad tunes: compiled, mapped and differentiated."""
    features = jax.random.normal(jax.random.key(0), (64, 3))
    labels = jnp.sin(2.0 * features[:, 0])

    def predict(x, rows):
        hidden = jnp.tanh(features[rows] @ x["in"] + x["shift"][None])
        return hidden @ x["out"]

    def loss(x, rows):
        return jnp.mean((predict(x, rows) - labels[rows]) ** 2)

    keys = jax.random.split(jax.random.key(1), 2)
    x0 = {
        "in": jax.random.normal(keys[0], (3, 8)),
        "out": 0.3 * jax.random.normal(keys[1], (8,)),
        "shift": jnp.zeros(8),
    }
    w0 = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.log(0.1)), x0)

    def train(key, size):
        run = bootstrapped_meta_learning(
            loss,
            rules.element_wise(loss, jnp.exp),
            x0,
            w0,
            optax.chain(optax.scale_by_rss(0.1, 1e-7), optax.scale(-size)),
            60,
            target_step_size=0.1,
            sample=lambda t: jax.random.randint(jax.random.fold_in(key, t), (16,), 0, 64),
            record=lambda state: loss(state.point, jnp.arange(64)),
        )
        return run.kept, run.final

    keys = jax.random.split(jax.random.key(2), 2)
    sizes = jnp.array([0.05, 0.05, 0.05 + 1e-5, 0.05 - 1e-5])
    losses, final = jax.jit(jax.vmap(train))(keys[jnp.array([0, 1, 0, 0])], sizes)
    assert losses.shape == (4, 60) and np.all(np.isfinite(losses))
    assert np.all(losses[:, -10:].mean(axis=1) < 0.7 * losses[:, 0])
    assert jax.tree.structure(final.parameters) == jax.tree.structure(w0)
    last = jax.value_and_grad(lambda size: train(keys[0], size)[0][-1])
    alone, slope = jax.jit(last)(0.05)
    assert_same(losses[0, -1], alone)
    assert abs(slope - (losses[2, -1] - losses[3, -1]) / 2e-5) <= 1e-5 * abs(slope)


def _step_size(name):
    return {"element-wise": 1e-5, "full matrix": 1e-5, "meta-adagrad": 0.01}.get(name, 1e-3)


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_jacobians_make_it_optimism(name):
    maker, w0 = RULES[name]

    @jax.jit
    def runs(seed, step_size):
        loss = LOSSES["log_cosh"]
        weights, hints = random_weights(seed)
        arguments = (loss, maker(loss), START, w0, weights, step_size / ROUNDS, hints)
        project = ball(2.0, w0)
        mine = bootstrapped_averages(*arguments, project=project)
        theirs = optimistic_meta_learning(*arguments, project=project)
        return mine, theirs, drift_terms(maker(loss), mine, w0 + 1.0)

    @fixed_examples
    @given(seed=seeds, step_size=st.floats(0.05, 0.5))
    def agree(seed, step_size):
        mine, theirs, drift = runs(seed, step_size)
        assert_same(mine.parameters, theirs.parameters)
        assert_same(mine.averages, theirs.averages)
        assert not np.any(drift)

    agree()


@pytest.mark.parametrize("name", RULES)
def test_exact_statement_for_moving_jacobians(name):
    """AO-FTRL on α_t g_t - (B_t - B_{t-1})ᵀ y_t with hints B_{t-1}ᵀ y_t, y_t the prediction."""
    (maker, w0), loss = RULES[name], LOSSES["log_cosh"]
    rule, comparator = maker(loss), w0 + 0.5

    @jax.jit
    def runs(seed):
        weights, hints = random_weights(seed)
        beta = _step_size(name) / jnp.sqrt(jnp.arange(1.0, ROUNDS + 1))
        run = bootstrapped_averages(loss, rule, START, w0, weights, beta, hints)
        before = jnp.concatenate([START[None], run.averages[:-1]])
        jacobians = jax.vmap(jax.jacobian(rule, argnums=1))(before, run.parameters)
        previous = jnp.concatenate([jnp.zeros_like(jacobians[:1]), jacobians[:-1]])
        pull_back = jax.vmap(lambda y, j: jnp.tensordot(y, j, 1))
        weighted = weights[:, None] * run.gradients
        losses = pull_back(weighted, jacobians) - pull_back(run.predictions, jacobians - previous)
        played = ftrl(w0, losses, beta, pull_back(run.predictions, previous))
        direction = run.parameters - comparator[None]
        along = jax.vmap(lambda j, d: jnp.tensordot(j, d, d.ndim))
        drift = along(jacobians - previous, direction)
        return run, played, jnp.sum(run.predictions * drift, axis=1)

    def checked(seed):
        run, played, drift = runs(seed)
        assert_same(played.parameters, run.parameters)
        scale = np.max(np.abs(drift))
        assert (scale <= 1e-13) == (name in CONSTANT)
        terms = drift_terms(rule, run, comparator)
        assert np.max(np.abs(terms - drift)) <= 1e-12 * max(scale, 1e-3)
        shares = (np.asarray(run.weights) / np.cumsum(run.weights))[:, None]
        before = np.concatenate([START[None], run.averages[:-1]])
        assert_same(run.averages, (1 - shares) * before + shares * np.asarray(run.iterates))
        ahead = np.concatenate([run.predictions[1:], np.zeros((1, 2))])
        weighted = np.asarray(run.weights)[:, None] * np.asarray(run.gradients)
        targets = np.asarray(run.iterates) - (ahead + weighted - np.asarray(run.predictions))
        assert_same(run.targets, targets)

    for seed in range(5):
        checked(seed)


@pytest.mark.parametrize("scheme", ["growing", "nesterov"])
def test_the_drift_bound_holds(scheme):
    """Element-wise step sizes on a bowl: D² / (2β) plus the drift covers A_T times the gap."""
    if scheme == "growing":
        weights, size = power_weights(ROUNDS, 1.0), 0.25
        hints = weights
    else:
        weights, size = nesterov_weights(ROUNDS), 1.0
        hints = nesterov_hints(weights)

    @jax.jit
    def account(seed, share):
        curvature_key, start_key = jax.random.split(jax.random.key(seed))
        q = jnp.exp(jax.random.uniform(curvature_key, (3,), minval=-3.0, maxval=0.0))
        x0 = jax.random.normal(start_key, (3,))
        loss = problems.quadratic(q)
        rule, w0 = rules.element_wise(loss), jnp.zeros(3)
        smoothness, norm = jnp.max(q), 2.0 * jnp.max(jnp.abs(q * x0)) ** 2
        beta = share * size / (smoothness * norm)
        run = bootstrapped_averages(loss, rule, x0, w0, weights, beta, hints)
        distance = jnp.sqrt(jnp.sum(1 / q**2))
        made = guarantee(weights, beta, smoothness, distance, hints, norm)
        drift = drift_terms(rule, run, 1 / q)
        used_at = jnp.concatenate([x0[None], run.averages[:-1]])
        steepest = jnp.max(jnp.abs(jax.vmap(jax.grad(loss))(used_at)))
        total = jnp.sum(weights)
        optimistic = optimistic_meta_learning(loss, rule, x0, w0, weights, beta, hints)
        apart = jnp.max(jnp.abs(optimistic.averages - run.averages))
        return (
            total * loss(run.averages[-1]),
            total * made.gap + jnp.sum(drift),
            made.holds & (steepest**2 <= norm),
            apart / jnp.max(jnp.abs(x0)),
        )

    @fixed_examples
    @given(seed=seeds, share=st.floats(0.1, 1.0))
    def holds(seed, share):
        reached, bound, conditions, apart = account(seed, share)
        assert conditions
        assert reached <= bound
        assert apart > 1e-10  # with a moving Jacobian the two methods are not the same

    holds()


LOSS = LOSSES["huber"]
WEIGHTS = jnp.ones(4)


def _learn(**options):
    return bootstrapped_meta_learning(
        LOSS,
        rules.translation,
        START,
        jnp.zeros(2),
        **({"meta_step_size": 0.1, "inner_steps": 3} | options),
    )


def _average(weights=WEIGHTS, size=0.1, hints=None, **options):
    return bootstrapped_averages(
        LOSS, rules.proposal, START, START, weights, size, hints, **options
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _learn(meta_step_size=0.0), r"meta_step_size must be positive, got 0.0"),
        (lambda: _learn(target_step_size=-1.0), r"target_step_size must be positive, got -1.0"),
        (lambda: _learn(steps_ahead=-1), r"steps_ahead must be an integer of at least 0, got -1"),
        (lambda: _learn(steps_ahead=1.5), r"steps_ahead must be an integer .* got 1.5"),
        (lambda: _learn(inner_steps=0), r"inner_steps must be .* at least 1, got 0"),
        (lambda: _average(weights=jnp.array([1.0, -1.0])), r"weights must be positive"),
        (
            lambda: _average(size=jnp.array([0.1, 0.1, 0.1, 0.2])),
            r"meta_step_size must not increase",
        ),
        (
            lambda: _average(hints=jnp.ones(5)),
            r"hint_weights must have shape \(4,\), got shape \(5,\)",
        ),
        (
            lambda: drift_terms(rules.proposal, _average(), jnp.ones(3)),
            r"comparator must have shape \(2,\), got shape \(3,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _learn(matching=lambda z, x: z - x), r"matching must return one number"),
        (lambda: _learn(sample=lambda t: t), r"positional argument"),
        (
            lambda: bootstrapped_meta_learning(
                LOSS, lambda x, w: x[:1], START, jnp.zeros(2), 0.1, 3
            ),
            r"update_rule must return a pytree like its first argument",
        ),
    ],
)
def test_bad_types_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_squared_distance_of_pytrees():
    target = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)}
    point = {"a": jnp.array([1.0, 0.0]), "b": jnp.array(2.0)}
    assert squared_distance(target, point) == 2.5
