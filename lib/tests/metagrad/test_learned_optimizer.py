"""The learned optimizer: its features, its step, and its meta-gradients by the house's methods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

from metagrad import learned_optimizer as lo
from metagrad.estimators import evolution_strategies, meta_gradient, reverse, truncated

KEY = jax.random.key(0)
POINT = {"a": jnp.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]), "b": jnp.array([0.5, -0.125])}


def bowl(x):
    """Not separable over the arrays, nor quadratic."""
    inner = jnp.sum(x["a"] ** 2) + jnp.sum(x["a"]) * jnp.sum(x["b"]) + 4 * jnp.sum(x["b"] ** 2)
    return inner + jnp.sum(jnp.cos(x["b"]))


def loud(units=4):
    """Weights whose outputs are large enough to move a point within a few steps."""
    weights = lo.init(jax.random.key(3), units)
    return weights._replace(output=500 * weights.output)


def after(loss, weights, point, steps, **options):
    step = lo.learned_step(loss, **options)
    state = lo.begin(point)
    for t in range(1, steps + 1):
        state = step(state, weights, t)
    return state


# What the network sees.


def test_the_state_averages_gradients_and_squares_without_bias_correction():
    """After two steps of a still point: m = (1 - β²) g, v = (1 - β²) g²."""
    still = loud()._replace(output=jnp.zeros((4, 2)))
    state = after(bowl, still, POINT, 2)
    decays = np.array(lo.DECAYS)
    for name, g in jax.grad(bowl)(POINT).items():
        factor = (1 - decays**2).reshape(-1, *[1] * g.ndim)
        assert_same(state.momenta[name], factor * np.asarray(g))
        assert_same(state.squares[name], factor * np.asarray(g) ** 2)
    assert float(state.steps) == 2.0


def test_the_rows_are_those_of_the_paper_each_with_mean_square_one():
    """Written out in NumPy, row by row, in the order of the docstring."""
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(2, 7, 3))
    m, v = rng.normal(size=(5, 7, 3)), rng.uniform(0.1, 2, size=(5, 7, 3))
    root = np.sqrt(v + 1e-6)
    plain = np.stack([g, *(m / root), x, *m, *v, *(1 / root)])
    assert plain.shape[0] == 22
    expected = plain / np.sqrt(1e-5 + (plain**2).mean(axis=(1, 2), keepdims=True))
    found = lo.known_rows(*(jnp.asarray(part) for part in (x, g, m, v)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose((found**2).mean(axis=(1, 2)), 1.0, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-2, 1e3])
def test_the_rows_hardly_feel_the_scale_of_the_loss(scale):
    """Where gradients are not tiny: the floors 10⁻⁶ and 10⁻⁵ are all that breaks the symmetry."""
    rng = np.random.default_rng(2)
    x, g = 30 * rng.normal(size=(2, 40))
    m, v = 30 * rng.normal(size=(5, 40)), 900 * rng.uniform(0.5, 2, size=(5, 40))
    parts = [jnp.asarray(part) for part in (x, g, m, v)]
    scaled = [parts[0], scale * parts[1], scale * parts[2], scale**2 * parts[3]]
    plain, other = lo.known_rows(*parts), lo.known_rows(*scaled)
    shrinking = slice(17, 22)  # 1 / √v, which a loss a thousand times as large drives to the floor
    np.testing.assert_allclose(other[:17], plain[:17], rtol=2e-3)
    assert (scale < 1) == np.allclose(other[shrinking], plain[shrinking], rtol=1e-1)


def test_a_gradient_of_zero_gives_finite_rows_and_a_finite_meta_gradient():
    flat = lambda x: 0.0 * jnp.sum(x)  # noqa: E731
    x = jnp.zeros(3)
    zero = jnp.zeros((5, 3))
    assert np.isfinite(lo.known_rows(x, x, zero, zero)).all()
    step = lo.learned_step(flat, first_order=False)
    found = meta_gradient(lambda s, w: jnp.sum(s.point**2), step, loud(), lo.begin(x), 3)
    assert bool(found.finite)


def test_late_runs_differ_from_early_ones_through_the_clock_alone():
    """Dead weights on the clock: the same step at every time; the real ones: another."""
    x, g = POINT["b"], jax.grad(bowl)(POINT)
    zero = jax.tree.map(lambda leaf: jnp.zeros((5, *leaf.shape)), POINT)
    early = lo.State(POINT, zero, zero, jnp.array(0.0))
    later = early._replace(steps=jnp.array(500.0))
    step = lo.learned_step(bowl)
    assert g["b"].shape == x.shape
    moved = [step(state, loud(), 1).point["b"] for state in (early, later)]
    assert np.abs(moved[0] - moved[1]).min() > 1e-6
    deaf = loud()._replace(time=jnp.zeros((9, 4)))
    moved = [step(state, deaf, 1).point["b"] for state in (early, later)]
    assert_same(moved[0], moved[1])


# The step.


def test_silent_weights_give_a_known_step():
    """d = 2 and μ = 500 for every parameter, whatever is known: 10⁻³ · 2 · e^0.5."""
    biases = jnp.array([2.0, 500.0])
    silent = loud()._replace(output=jnp.zeros((4, 2)), output_biases=biases)
    found = after(bowl, silent, POINT, 3).point
    for name, leaf in POINT.items():
        np.testing.assert_allclose(found[name], leaf - 3 * 2e-3 * np.exp(0.5), rtol=1e-13)


def test_one_step_is_that_of_a_network_written_out():
    weights = loud()
    g = np.asarray(jax.grad(bowl)(POINT)["b"])
    m = np.stack([(1 - b) * g for b in lo.DECAYS])
    v = np.stack([(1 - b) * g**2 for b in lo.DECAYS])
    rows = lo.known_rows(POINT["b"], *(jnp.asarray(part) for part in (g, m, v)))
    clock = np.tanh(1 / np.array(lo.TIMES) - 1)
    found = after(bowl, weights, POINT, 1).point["b"]
    for i in range(2):
        seen = np.concatenate([np.asarray(rows[:, i]), clock])
        layer = np.concatenate([weights.known, weights.time])
        hidden = np.maximum(seen @ layer + np.asarray(weights.hidden_biases), 0)
        d, mu = hidden @ np.asarray(weights.output) + np.asarray(weights.output_biases)
        expected = float(POINT["b"][i]) - 1e-3 * d * np.exp(1e-3 * mu)
        np.testing.assert_allclose(found[i], expected, rtol=1e-12)


def test_parameters_are_interchangeable_within_an_array():
    """Steps of a permuted problem are the permuted steps: the network knows no places."""
    order = np.random.default_rng(0).permutation(6)
    scales = jnp.array([1.0, 2.0, 0.5, 3.0, 0.1, 1.5])
    plain = after(lambda x: jnp.sum(scales * jnp.cosh(x)), loud(), jnp.arange(6.0) / 5, 4)
    other = after(
        lambda x: jnp.sum(scales[order] * jnp.cosh(x)), loud(), jnp.arange(6.0)[order] / 5, 4
    )
    np.testing.assert_allclose(other.point, plain.point[order], rtol=1e-12)
    np.testing.assert_allclose(other.momenta, plain.momenta[:, order], rtol=1e-12)


def test_arrays_do_not_feel_one_another_except_through_the_loss():
    """Two arrays of a separable loss: each moves as it does alone."""
    single = lambda x: jnp.sum(jnp.cosh(x))  # noqa: E731
    both = after(lambda x: single(x["a"]) + single(x["b"]), loud(), POINT, 3)
    for name, leaf in POINT.items():
        assert_same(both.point[name], after(single, loud(), leaf, 3).point)


def test_mini_batches_are_counted_by_the_state_not_by_the_window():
    seen = []

    def sample(t):
        jax.debug.callback(lambda number: seen.append(int(number)), t)
        return t.astype(jnp.float64)

    step = lo.learned_step(lambda x, shift: jnp.sum((x - shift) ** 2), sample)
    state = lo.begin(jnp.ones(2))
    for window in range(2):
        for t in (1, 2):  # starts again in every window
            state = step(state, loud(), t)
        jax.effects_barrier()
        assert seen == list(range(1, 2 * window + 3))


def test_a_state_may_be_float32_throughout():
    weights = lo.init(KEY, 4, jnp.float32)
    point = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), POINT)
    state = after(bowl, weights, point, 2)
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}


def test_the_first_steps_are_short_and_draws_differ():
    state = after(bowl, lo.init(KEY), POINT, 1)
    moves = jnp.concatenate([(state.point[k] - POINT[k]).ravel() for k in POINT])
    assert 0 < np.abs(moves).max() < 2e-3
    other = lo.init(jax.random.key(1))
    assert (lo.init(KEY).known != other.known).all()
    spread = float(jnp.std(lo.init(KEY, 5000).known)) * 31**0.5
    assert abs(spread - 1) < 0.02


# Meta-gradients.


def differences(objective, weights, width=1e-6):
    """Central differences along three directions, with the directions."""
    rng = np.random.default_rng(5)
    for _ in range(3):
        direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), weights)
        ends = [
            objective(jax.tree.map(lambda w, d, s=sign: w + s * width * d, weights, direction))
            for sign in (1, -1)
        ]
        yield direction, (ends[0] - ends[1]) / (2 * width)


def along(gradient, direction):
    parts = jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)
    return float(sum(jax.tree.leaves(parts)))


def test_the_exact_meta_gradient_is_that_of_finite_differences():
    step = lo.learned_step(bowl, first_order=False)
    meta_loss = lambda state, w: bowl(state.point)  # noqa: E731

    @jax.jit
    def objective(w):
        return meta_gradient(meta_loss, step, w, lo.begin(POINT), 6, every_step=True)

    found = objective(loud()).gradient
    for direction, slope in differences(lambda w: objective(w).value, loud()):
        np.testing.assert_allclose(along(found, direction), slope, rtol=1e-5)


def test_first_order_takes_the_inner_gradients_as_given():
    """The same value, another gradient: that with the gradients of the run put in as constants."""
    weights, steps = loud(), 4
    meta_loss = lambda state, w: bowl(state.point)  # noqa: E731
    found = {
        first_order: meta_gradient(
            meta_loss,
            lo.learned_step(bowl, first_order=first_order),
            weights,
            lo.begin(POINT),
            steps,
        )
        for first_order in (True, False)
    }
    assert_same(found[True].value, found[False].value)
    path = [POINT] + [after(bowl, weights, POINT, t).point for t in range(1, steps)]
    known = [jax.grad(bowl)(x) for x in path]

    @jax.jit
    def frozen(w):
        state = lo.begin(POINT)
        for t in range(steps):
            linear = lambda x, g=known[t]: sum(jnp.sum(g[k] * x[k]) for k in g)  # noqa: E731
            state = lo.learned_step(linear)(state, w, t + 1)
        return bowl(state.point)

    for direction, slope in differences(frozen, weights):
        np.testing.assert_allclose(along(found[True].gradient, direction), slope, rtol=1e-5)
        assert abs(along(found[False].gradient, direction) - slope) > 1e-3 * abs(slope)


def test_windows_of_a_run_are_runs_that_go_on():
    """Truncation is what the paper does, less the update of the weights after each window."""
    step = lo.learned_step(bowl)
    meta_loss = lambda state, w: bowl(state.point)  # noqa: E731
    weights, length = loud(), 5
    whole = meta_gradient(
        meta_loss, step, weights, lo.begin(POINT), 3 * length, method=truncated(length),
        every_step=True,
    )  # fmt: skip

    @jax.jit
    def window(state):
        run = (meta_loss, step, weights, state, length)
        return meta_gradient(*run, method=truncated(length), every_step=True)

    state, parts = lo.begin(POINT), []
    for _ in range(3):
        found = window(state)
        state = found.info.final_state
        parts.append(found.gradient)
    assert float(state.steps) == 3 * length
    for total, *each in zip(whole.gradient, *parts, strict=True):
        np.testing.assert_allclose(total, sum(each) / 3, rtol=1e-10, atol=1e-13)


def test_other_estimators_take_it_as_well():
    run = (lambda s, w: bowl(s.point), lo.learned_step(bowl), loud(), lo.begin(POINT), 3)
    exact = meta_gradient(*run, method=reverse())
    smooth = meta_gradient(*run, method=evolution_strategies(1e-3, 4), key=KEY)
    np.testing.assert_allclose(smooth.value, exact.value, rtol=1e-2)


def test_the_two_meta_losses_read_the_two_halves_of_a_split():
    split = lo.Split(jnp.array([1.0, 2.0]), jnp.array([5.0]))
    loss = lambda x, data: jnp.mean((data - x) ** 2)  # noqa: E731
    state = lo.begin(jnp.array(1.0))
    assert float(lo.train_by_train(loss, split)(state, None)) == 0.5
    assert float(lo.train_by_validation(loss, split)(state, None)) == 16.0


def test_meta_training_by_either_loss_lowers_it():
    """Forty updates, by plain descent, of an optimizer for a regression on noisy samples."""
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(40, 5))
    targets = inputs @ rng.normal(size=5) + rng.normal(size=40)
    halves = [(jnp.asarray(inputs[i::2]), jnp.asarray(targets[i::2])) for i in (0, 1)]
    split = lo.Split(*halves)

    def loss(x, data):
        return jnp.mean((data[1] - data[0] @ x) ** 2)

    step = lo.learned_step(lambda x: loss(x, split.training))
    for judge in (lo.train_by_train, lo.train_by_validation):
        meta_loss = judge(loss, split)

        @jax.jit
        def descend(w, meta_loss=meta_loss):
            found = meta_gradient(meta_loss, step, w, lo.begin(jnp.zeros(5)), 20)
            return found.value, jax.tree.map(lambda w, g: w - 3.0 * g, w, found.gradient)

        weights, values = lo.init(KEY, 8), []
        for _ in range(40):
            value, weights = descend(weights)
            values.append(float(value))
        assert np.isfinite(values).all()
        assert values[-1] < 0.9 * values[0]


# Bad input.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lo.init(KEY, 0), ValueError, "units must be an integer of at least 1, got 0"),
        (lambda: lo.init(KEY, 2.5), TypeError, "units must be an integer of at least 1, got 2.5"),
        (lambda: lo.init(KEY, 3, jnp.int32), TypeError, "dtype must be floating-point, got int32"),
        (lambda: lo.init(7), TypeError, "key"),
        (lambda: lo.begin({}), ValueError, "point must hold at least one array"),
        (lambda: lo.begin(jnp.array([1.0, jnp.nan])), ValueError, "point must be finite"),
        (
            lambda: lo.begin((jnp.ones(2), jnp.ones(2, jnp.float32))),
            TypeError,
            "point must hold arrays of one dtype",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_weights_of_another_dtype_are_refused():
    step = lo.learned_step(bowl)
    with pytest.raises(TypeError, match="state and w must hold arrays of one dtype"):
        step(lo.begin(POINT), lo.init(KEY, 4, jnp.float32), 1)


def test_an_optimizer_that_diverges_says_so():
    wild = loud()._replace(output_biases=jnp.array([1e300, 0.0]))
    run = (lambda s, w: bowl(s.point), lo.learned_step(bowl), wild, lo.begin(POINT), 3)
    assert not bool(meta_gradient(*run).finite)
