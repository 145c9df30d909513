"""The numbered claims of the chapter "Differentiating an optimizer", each on its own terms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.polynomial import Polynomial

from metagrad import hypergradient_descent, make_run, meta_gradient, problems
from metagrad.estimators import (
    checkpointed,
    conjugate_gradient,
    dense,
    evolution_strategies,
    finite_differences,
    forward,
    implicit,
    neumann,
    persistent_evolution_strategies,
    reverse,
    truncated,
)
from metagrad.tape import tangents, tape

BOWLS = (
    ((1.0, 0.1), (1.0, 3.0)),
    ((1.0, 0.05), (1.0, 3.0)),
    ((2.0, 0.7, 0.3), (-1.0, 0.5, 2.0)),
)
MIX = jnp.array([[0.3, -0.5, 0.2], [0.4, 0.1, -0.3], [-0.2, 0.6, 0.1]])
PUSH = jnp.array([[1.0, -0.5], [0.2, 0.8], [-0.7, 0.3]])
W = jnp.array([0.4, -0.3])


def close(got, want, tolerance=1e-12):
    scale = np.max(np.abs(np.asarray(want)))
    assert np.max(np.abs(np.asarray(got) - np.asarray(want))) <= tolerance * scale, (got, want)


def sloshing(x, w, t):
    """A step that is no gradient step, is not linear, and depends on its number."""
    return jnp.tanh(MIX @ x + PUSH @ w) + 0.1 * jnp.sin(t.astype(float) * x[0]) * w[0]


def judge(x, w):
    return jnp.sum(jnp.cos(x)) + 0.5 * jnp.sum(w**2) * x[0]


def begin(w):
    return jnp.stack([w[0], w[1] ** 2, jnp.ones(())])


def run_from(start, w, steps, step=sloshing):
    ts = jnp.arange(1, steps + 1, dtype=jnp.int32)
    return jax.lax.scan(lambda x, t: (step(x, w, t), None), start(w), ts)[0]


def jacobians(made, w, step=sloshing):
    """J_t and B_t for t = 1, ..., T."""
    ts = jnp.arange(1, len(made.states), dtype=jnp.int32)
    js, bs = jax.vmap(lambda x, t: jax.jacfwd(step, (0, 1))(x, w, t))(made.states[:-1], ts)
    return np.asarray(js), np.asarray(bs)


def closed_form(step_size, eigenvalues, start, steps):
    powers = (1 - step_size * eigenvalues) ** (2 * steps - 1)
    return -steps * np.sum(eigenvalues**2 * powers * start**2)


def zero_of(slope, low, high):
    assert slope(low) < 0 < slope(high)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return (low + high) / 2


def descent(bowl):
    return lambda x, b, t: x - b * jax.grad(bowl)(x)


@pytest.mark.parametrize(("eigenvalues", "start"), BOWLS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_closed_form_on_a_quadratic(eigenvalues, start, steps):
    # F is a polynomial in the step size: build it by running the recursion on polynomials.
    loss = Polynomial([0.0])
    for eigenvalue, component in zip(eigenvalues, start, strict=True):
        x = Polynomial([component])
        for _ in range(steps):
            x = x - Polynomial([0.0, 1.0]) * eigenvalue * x
        loss = loss + 0.5 * eigenvalue * x**2
    lam, x0 = np.array(eigenvalues), np.array(start)
    bowl = problems.quadratic(lam)
    for step_size in (0.1, 1.0, 1.7, 2.2):
        value = 0.5 * np.sum(lam * (1 - step_size * lam) ** (2 * steps) * x0**2)
        slope = closed_form(step_size, lam, x0, steps)
        for number, polynomial in ((value, loss), (slope, loss.deriv())):
            # The terms of a polynomial cancel; its rounding is in proportion to their sizes.
            terms = Polynomial(np.abs(polynomial.coef))(step_size)
            assert abs(number - polynomial(step_size)) <= 1e-13 * terms
        made = meta_gradient(
            lambda x, _: bowl(x), descent(bowl), step_size, jnp.asarray(x0), steps, method=forward()
        )
        close(made.value, value)
        close(made.gradient, slope)


@pytest.mark.parametrize(("eigenvalues", "start"), BOWLS)
def test_the_meta_gradient_has_one_zero_and_it_moves_to_the_minimax_step(eigenvalues, start):
    lam, x0 = np.array(eigenvalues), np.array(start)
    low, high = 1 / lam.max(), 1 / lam.min()
    grid = np.linspace(0.5 * low, 2.2 * low, 200)
    minimax = 2 / (lam.max() + lam.min())
    distances = []
    for steps in (1, 3, 20, 200):
        if steps <= 20:  # longer runs underflow on this grid
            slopes = np.array([closed_form(b, lam, x0, steps) for b in grid])
            assert np.all(np.diff(slopes) > 0)  # strictly convex, so one zero
        with np.errstate(over="ignore"):  # only the sign is asked for
            zero = zero_of(lambda b, steps=steps: closed_form(b, lam, x0, steps), low, high)
        assert low <= zero <= high
        distances.append(abs(zero - minimax))
    assert distances[-1] < 0.01 * minimax
    assert distances[-1] < 0.15 * distances[-2] < 0.15 * distances[-3]


def test_forward_accumulation():
    run = make_run(judge, sloshing, W, begin, 9)
    made = tape(run, W)
    js, bs = jacobians(made, W)
    x = np.asarray(jax.jacfwd(begin)(W))
    for t in range(10):
        if t:
            x = js[t - 1] @ x + bs[t - 1]
        close(x, jax.jacfwd(lambda w, t=t: run_from(begin, w, t))(W))
        for column in range(2):
            direction = jnp.zeros(2).at[column].set(1.0)
            close(tangents(run, W, direction)[t], x[:, column])
    pulled, direct = jax.grad(judge, (0, 1))(made.states[-1], W)
    want = x.T @ np.asarray(pulled) + np.asarray(direct)
    close(meta_gradient(judge, sloshing, W, begin, 9, method=forward()).gradient, want)
    close(jax.grad(lambda w: judge(run_from(begin, w, 9), w))(W), want)


def test_reverse_accumulation():
    run = make_run(judge, sloshing, W, begin, 9)
    made = tape(run, W)
    js, bs = jacobians(made, W)
    a = np.asarray(jax.grad(judge)(made.states[-1], W))
    total = np.asarray(jax.grad(judge, 1)(made.states[-1], W))
    for t in range(9, 0, -1):
        close(made.adjoints[t], a)
        close(made.contributions[t - 1], bs[t - 1].T @ a)
        total = total + bs[t - 1].T @ a
        a = js[t - 1].T @ a
    total = total + np.asarray(jax.jacfwd(begin)(W)).T @ a
    close(made.gradient, total)
    close(meta_gradient(judge, sloshing, W, begin, 9, method=reverse()).gradient, total)
    close(jax.grad(lambda w: judge(run_from(begin, w, 9), w))(W), total)


def test_forward_and_reverse_meet_at_every_step():
    run = make_run(judge, sloshing, W, begin, 9)
    made = tape(run, W)
    x = jnp.stack([tangents(run, W, direction) for direction in jnp.eye(2)], axis=2)
    want = jax.grad(lambda w: judge(run_from(begin, w, 9), w))(W)
    direct = jax.grad(judge, 1)(made.states[-1], W)
    for t in range(10):
        later = jnp.sum(made.contributions[t:], axis=0)
        close(x[t].T @ made.adjoints[t] + later + direct, want)
    # The parts are not constant: only their sum is.
    parts = np.array([x[t].T @ made.adjoints[t] for t in range(10)])
    assert np.ptp(parts, axis=0).min() > 1e-2


def products(jaxpr, size):
    """Products of a size x size matrix with vectors in a jaxpr, loops counted as often as run."""
    total = 0
    for eqn in jaxpr.eqns:
        inner = [v for v in jax.tree.leaves(eqn.params, is_leaf=lambda v: hasattr(v, "eqns"))]
        inner = [getattr(v, "jaxpr", v) for v in inner if hasattr(getattr(v, "jaxpr", v), "eqns")]
        repeats = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        total += repeats * sum(products(part, size) for part in inner)
        if eqn.primitive.name == "dot_general" and any(
            v.aval.shape == (size, size) for v in eqn.invars
        ):
            total += eqn.outvars[0].aval.size // size
    return total


def count(method, steps, numbers, size=7):
    # A symmetric matrix that the compiler does not know to be one.
    matrix = jnp.diag(jnp.linspace(0.1, 1.0, size)) + 0.01

    def of(w):
        return meta_gradient(
            lambda x, w: jnp.sum(jnp.sin(x)),
            lambda x, w, t: x - 0.1 * jnp.sum(jnp.cos(w * t.astype(w.dtype))) * (matrix @ x),
            w,
            jnp.ones(size),
            steps,
            method=method,
        )

    function = (lambda w: of(w).gradient) if method is not None else (lambda w: of(w).value)
    jaxpr = jax.make_jaxpr(function)(jnp.full(numbers, 0.3)).jaxpr
    return products(jaxpr, size)


@pytest.mark.parametrize("numbers", [1, 3])
def test_products_with_the_matrix_are_as_counted(numbers):
    steps = 40
    assert count(forward(), steps, numbers) == (1 + numbers) * steps
    assert count(reverse(), steps, numbers) == 2 * steps
    assert 2 * steps < count(checkpointed(), steps, numbers) <= 3 * steps


def checkpointed_by_hand(steps, segment):
    """Calls of the step, and the most states kept at once, of the scheme in the theorem."""
    calls, most = 0, 0
    kept = {0}
    for t in range(1, steps + 1):
        calls += 1
        if t % segment == 0 and t < steps:
            kept.add(t)
    used = []
    for first in sorted(kept, reverse=True):
        last = min(first + segment, steps)
        held = set(kept)
        for t in range(first + 1, last):
            calls += 1
            held.add(t)
        most = max(most, len(held))
        for t in range(last, first, -1):
            assert t - 1 in held  # step t is differentiated at x_{t-1}
            used.append(t)
        kept.discard(first)
    assert used == list(range(steps, 0, -1))
    return calls, most


def test_checkpointing_runs_the_steps_twice_and_keeps_few_states():
    for steps in (1, 2, 7, 12, 30, 144):
        for segment in range(1, steps + 1):
            calls, most = checkpointed_by_hand(steps, segment)
            assert calls <= 2 * steps
            assert most <= -(-steps // segment) + segment
            assert steps / segment + segment >= 2 * np.sqrt(steps) - 1e-12
    assert checkpointed_by_hand(144, 12)[1] <= 2 * 12

    # The compiled programs: memory beside input and output, in states.
    size, steps = 2000, 400

    def states(method):
        def gradient(b):
            return meta_gradient(
                lambda x, b: jnp.sum(jnp.sin(x)),
                lambda x, b, t: x - b * jnp.sin(x),
                b,
                jnp.ones(size),
                steps,
                method=method,
            ).gradient

        compiled = jax.jit(gradient).lower(jnp.float64(0.1)).compile()
        return compiled.memory_analysis().temp_size_in_bytes / (8 * size)

    assert states(forward()) < 10
    assert states(reverse()) > steps
    assert states(checkpointed(20)) < 4 * 2 * np.sqrt(steps)


def squeezing(x, w, t):
    """A contraction: its Jacobian is at most 0.8 ||MIX|| < 0.8."""
    return 0.8 * jnp.tanh(MIX @ x + PUSH @ w)


def test_truncation_keeps_the_last_contributions_and_its_bound_holds():
    steps, x0 = 14, jnp.array([1.0, -1.0, 0.5])

    def loss(x, w):
        return jnp.sum(jnp.cos(x))

    run = make_run(loss, squeezing, W, x0, steps)
    made = tape(run, W)
    js, bs = jacobians(made, W, squeezing)
    r = max(np.linalg.norm(j, 2) for j in js)
    b = max(np.linalg.norm(b, 2) for b in bs)
    g = float(jnp.linalg.norm(made.adjoints[-1]))
    assert r < 1
    for length in range(1, steps + 1):
        kept = jnp.sum(made.contributions[steps - length :], axis=0)
        given = made.states[steps - length]
        held = jax.grad(
            lambda w, n=length, x=given: loss(run_from(lambda _: x, w, n, squeezing), w)
        )
        close(held(W), kept)
        cut = meta_gradient(loss, squeezing, W, x0, steps, method=truncated(length))
        close(cut.gradient, kept)
        dropped = np.linalg.norm(np.asarray(made.gradient - kept))
        assert dropped <= b * g * (r**length - r**steps) / (1 - r) + 1e-15


@pytest.mark.parametrize(("eigenvalues", "start"), BOWLS)
def test_every_step_contributes_the_same_on_a_quadratic(eigenvalues, start):
    lam, x0, steps = np.array(eigenvalues), np.array(start), 12
    bowl = problems.quadratic(lam)
    pieces = (lambda x, _: bowl(x), descent(bowl), 0.7, jnp.asarray(x0), steps)
    made = tape(make_run(*pieces), 0.7)
    whole = closed_form(0.7, lam, x0, steps)
    close(made.contributions, np.full(steps, whole / steps))
    for length in (1, 5, 12):
        cut = meta_gradient(*pieces, method=truncated(length))
        close(cut.gradient, length / steps * whole)


def horizon_slopes(eigenvalues, start, steps):
    """The derivative of the mean loss in the step size, true and with windows of one step."""
    bowl = problems.quadratic(jnp.array(eigenvalues))

    def slope(method):
        return jax.jit(
            lambda b: (
                meta_gradient(
                    lambda x, _: bowl(x),
                    descent(bowl),
                    b,
                    jnp.array(start),
                    steps,
                    method=method,
                    every_step=True,
                ).gradient
            )
        )

    return slope(reverse()), slope(truncated(1))


@pytest.mark.parametrize("steps", [2, 5, 40])
@pytest.mark.parametrize(
    ("eigenvalues", "start"),
    [((1.0, 0.05), (1.0, 3.0)), ((1.0, 0.5), (-1.0, 1.9)), ((3.0, 0.01), (0.4, 100.0))],
)
def test_short_horizon_bias_has_a_sign(eigenvalues, start, steps):
    steep, flat = eigenvalues
    assert steep * abs(start[0]) > flat * abs(start[1]) > 0
    true, cut = horizon_slopes(eigenvalues, start, steps)
    for slope in (true, cut):
        values = [float(slope(b)) for b in np.linspace(0.3 / steep, 2.1 / steep, 30)]
        assert np.all(np.diff(values) > 0)
    zero_cut = zero_of(cut, 1 / steep, 2 / (steep + flat))
    zero_true = zero_of(true, 1 / steep, 10 / steep)
    assert zero_cut < zero_true
    for share in (0.02, 0.5, 0.98):
        between = zero_cut + share * (zero_true - zero_cut)
        assert cut(between) > 0 > true(between)


def test_without_its_condition_the_bias_may_turn():
    # With the larger gradient along the flat direction the argument fails, and so may the claim.
    true, cut = horizon_slopes((1.0, 0.5), (0.1, 3.0), 40)
    assert zero_of(cut, 1.0, 10.0) > zero_of(true, 1.0, 10.0)


def test_with_three_curvatures_the_bias_may_turn():
    # The example of the chapter: the steeper a coordinate, the larger its gradient.
    curvatures, gradients = np.array([1.0, 0.05, 0.04]), np.array([1.0, 0.99, 0.9])
    true, cut = horizon_slopes(tuple(curvatures), tuple(gradients / curvatures), 10)
    assert zero_of(cut, 1.0, 10.0) > zero_of(true, 1.0, 10.0)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 11, 12])
def test_detaching_inside_the_step_is_truncation(length):
    # This is how the chapter's figure makes windows whose length a slider can move.
    bowl, steps = problems.quadratic(jnp.array([1.0, 0.05])), 12

    def cut_step(x, b, t):
        opens = jnp.mod(steps - t + 1, length) == 0
        x = jnp.where(opens, jax.lax.stop_gradient(x), x)
        return x - b * jax.grad(bowl)(x)

    def made(step, method):
        start = jnp.array([1.0, 3.0])
        return meta_gradient(
            lambda x, _: bowl(x), step, 1.3, start, steps, method=method, every_step=True
        ).gradient

    close(made(cut_step, forward()), made(descent(bowl), truncated(length)))


@pytest.mark.parametrize("direction", [None, optax.scale_by_adam()], ids=["sgd", "adam"])
def test_the_hypergradient_is_the_last_contribution(direction):
    with jax.numpy_dtype_promotion("standard"):  # which optax needs
        last_contributions(direction)


def last_contributions(direction):
    loss = problems.rosenbrock(b=2.0)
    start, steps = jnp.array([-0.5, 0.8]), 8
    run = hypergradient_descent(loss, start, 0.03, 1e-3, steps, direction=direction)
    used = run.step_sizes[:-1]
    assert np.ptp(np.asarray(used)) > 1e-4  # the step size did move

    def losses(step_sizes):
        x, kept, found = start, direction and direction.init(start), []
        for t in range(steps):
            u = jax.grad(loss)(x)
            if direction:
                u, kept = direction.update(u, kept, x)
            x = x - step_sizes[t] * u
            found.append(loss(x))
        return jnp.stack(found)

    partial = jax.jit(jax.jacfwd(losses))(used)
    close(run.hypergradients, jnp.diag(partial))
    if direction is None:  # with one common step size it is the last contribution
        for t in (1, 4, 8):
            pieces = make_run(lambda x, _: loss(x), descent(loss), 0.03, start, t)
            last = tape(pieces, 0.03).contributions[-1]
            fixed = hypergradient_descent(loss, start, 0.03, 0.0, t).hypergradients[-1]
            close(fixed, last)


@pytest.mark.parametrize("first", [0.95, 0.5, 0.2, -0.6])
@pytest.mark.parametrize(("curvature", "start"), [(1.0, 1.0), (2.0, -3.0)])
def test_hypergradient_descent_breaks_where_stated(first, curvature, start):
    loss, steps = problems.quadratic(curvature), 60

    def run(q):
        eta = q / (curvature**3 * start**2)
        return hypergradient_descent(loss, start, (1 - first) / curvature, eta, steps)

    for q in (0.0, 0.3, 1.0, 1.9, 2.0):
        made = run(q)
        e = 1 - np.asarray(made.step_sizes) * curvature
        x = np.asarray(made.points)
        q_t = q * (x[:-1] / start) ** 2
        assert np.max(np.abs(e[1:] - (1 - q_t) * e[:-1])) <= 1e-12
        assert np.all(np.abs(e) <= abs(first) * (1 + 1e-12))
        bound = abs(first) ** np.arange(steps + 1) * abs(start)
        assert np.all(np.abs(x) <= bound * (1 + 1e-10))
    far = np.asarray(run(2 / first**2 * 1.05).points)
    assert not np.abs(far[-1]) < 1e6


def test_implicit_differentiation_at_a_fixed_point():
    def loss(x, w):
        return jnp.sum(jnp.cos(x)) + jnp.sum(w**2) * x[1]

    fixed = run_from(lambda _: jnp.zeros(3), W, 200, squeezing)
    close(squeezing(fixed, W, 1), fixed, 1e-14)
    j, b = (np.asarray(d) for d in jax.jacfwd(squeezing, (0, 1))(fixed, W, 1))
    # The derivative of the fixed point, by differentiating a run that has long converged.
    moved = jax.jacfwd(lambda w: run_from(lambda _: jnp.zeros(3), w, 200, squeezing))(W)
    close(np.linalg.solve(np.eye(3) - j, b), moved)
    made = meta_gradient(loss, squeezing, W, fixed, 1, method=implicit(dense()))
    close(
        made.gradient, jax.grad(lambda w: loss(run_from(lambda _: fixed, w, 200, squeezing), w))(W)
    )

    # I - J need only be invertible: this step moves away from its fixed point -w/2.
    away = meta_gradient(
        lambda x, w: x**2, lambda x, w, t: 3.0 * x + w, 0.6, -0.3, 1, method=implicit(dense())
    )
    close(away.gradient, 0.5 * 0.6)  # F(w) = w²/4


FEATURES = jnp.array([[1.0, 0.2], [0.8, -0.6], [-0.3, 1.1], [-0.9, 0.5], [0.4, 0.9]])
LABELS = jnp.array([1.0, 1.0, -1.0, -1.0, -1.0])


def slope_at(x, ridge):
    return jax.grad(problems.logistic(FEATURES, LABELS, ridge))(x)


@jax.jit
def trained(ridge):
    def newton(x, _):
        return x - jnp.linalg.solve(jax.jacfwd(slope_at)(x, ridge), slope_at(x, ridge)), None

    return jax.lax.scan(newton, jnp.zeros(2), length=20)[0]


def test_the_step_size_drops_out_at_a_minimizer():
    def check(x, ridge):
        return jnp.sum(jnp.sin(x)) + ridge * x[0]

    ridge = 0.3
    x = trained(ridge)
    h, m = jax.jacfwd(slope_at)(x, ridge), jax.jacfwd(slope_at, 1)(x, ridge)
    want = x[0] - m @ jnp.linalg.solve(h, jax.grad(check)(x, ridge))
    for step_size in (0.01, 0.5, 1.5, -1.0):
        made = meta_gradient(
            check,
            lambda x, ridge, t, b=step_size: x - b * slope_at(x, ridge),
            ridge,
            x,
            1,
            method=implicit(dense()),
        )
        close(made.gradient, want)
    for solver in (dense(), conjugate_gradient(2)):
        made = meta_gradient(
            check,
            lambda x, r, t: x - slope_at(x, r),
            ridge,
            x,
            1,
            method=implicit(solver, slope_at),
        )
        close(made.gradient, want)
    # The minimizer itself, differentiated through Newton's method.
    close(jax.grad(lambda ridge: check(trained(ridge), ridge))(ridge), want)


def test_neumann_terms_are_truncated_backpropagation():
    def loss(x, w):
        return jnp.sum(jnp.cos(x))

    fixed = run_from(lambda _: jnp.zeros(3), W, 300, squeezing)
    pieces = (loss, squeezing, W, fixed)
    exact = meta_gradient(*pieces, 1, method=implicit(dense())).gradient
    j, b = (np.asarray(d) for d in jax.jacfwd(squeezing, (0, 1))(fixed, W, 1))
    r, size_b = np.linalg.norm(j, 2), np.linalg.norm(b, 2)
    g = float(jnp.linalg.norm(jax.grad(loss)(fixed, W)))
    assert r < 1
    for terms in (1, 2, 3, 8, 20):
        cut = meta_gradient(*pieces, 25, method=truncated(terms)).gradient
        series = meta_gradient(*pieces, 1, method=implicit(neumann(terms))).gradient
        close(series, cut)
        error = np.linalg.norm(np.asarray(cut - exact))
        assert error <= size_b * g * r**terms / (1 - r) + 1e-14
    assert np.linalg.norm(np.asarray(cut - exact)) < 1e-3 * np.linalg.norm(np.asarray(exact))


@pytest.mark.parametrize("seed", range(4))
def test_bounds_on_stopping_early(seed):
    # Here every constant is known: J = A diag(cos x)/2, B = diag(cos w), and the meta-loss is
    # a sum of sines.
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    mix = jnp.asarray(1.7 * rotation)
    w, x0 = jnp.asarray(rng.normal(size=2)), jnp.asarray(rng.normal(size=2))

    def step(x, w, t):
        return 0.5 * mix @ jnp.sin(x) + jnp.sin(w) * (1 + 0.3 * jnp.cos(x))

    def loss(x, w):
        return jnp.sum(jnp.sin(x + 1))

    # diag(sin w)(1 + 0.3 cos x) adds 0.3 to the norm and the Lipschitz constant of J, and B =
    # diag(cos w (1 + 0.3 cos x)) is at most 1.3 with constant 0.3.
    r = 0.85 + 0.3 * float(jnp.max(jnp.abs(jnp.sin(w))))
    if r >= 1:
        w = 0.2 * w
        r = 0.85 + 0.3 * float(jnp.max(jnp.abs(jnp.sin(w))))
    assert r < 1
    lip_j, b, lip_b, g, lip_l = r, 1.3, 0.3, np.sqrt(2), 1.0
    fixed = run_from(lambda _: x0, w, 3000, step)
    exact = meta_gradient(loss, step, w, fixed, 1, method=implicit(dense())).gradient
    e0 = float(jnp.linalg.norm(x0 - fixed))
    c = lip_b * g / (1 - r) + b * lip_j * g / (1 - r) ** 2 + b * lip_l / (1 - r)
    d = lip_j * b / (1 - r) + lip_b
    for steps in (1, 2, 5, 10, 20, 40):
        early = meta_gradient(loss, step, w, x0, steps, method=implicit(dense()))
        left = float(jnp.linalg.norm(early.info.final_state - fixed))
        error = float(jnp.linalg.norm(early.gradient - exact))
        assert error <= c * left + 1e-13
        assert left <= r**steps * e0 * (1 + 1e-12)
        unrolled = meta_gradient(loss, step, w, x0, steps, method=reverse())
        error = float(jnp.linalg.norm(unrolled.gradient - exact))
        lag = g * d * e0 * steps * r ** (steps - 1)
        assert error <= lag + b * (g + lip_l * e0) / (1 - r) * r**steps
    # The factor T is attained: x' = w x has the fixed point 0, and the unrolled error is the
    # bound's first term.
    for steps in (3, 30):
        slow = meta_gradient(
            lambda x, w: x, lambda x, w, t: w * x, 0.9, 2.0, steps, method=reverse()
        )
        close(slow.gradient, 2.0 * steps * 0.9 ** (steps - 1))


def test_evolution_strategies_estimate_the_smoothed_gradient():
    def es(loss, w, sigma, pairs=20000):
        return meta_gradient(
            lambda x, w: loss(w),
            lambda x, w, t: x,
            w,
            0.0,
            1,
            method=evolution_strategies(sigma, pairs),
            key=jax.random.key(1),
        )

    # A jump: F_σ(w) is the normal distribution function of w/σ. At the jump the bound is attained.
    def jump(w):
        return jnp.where(w > 0, 1.0, 0.0)

    for sigma in (0.1, 1.0):
        for w in (0.0, 0.5 * sigma, -1.5 * sigma):
            made = es(jump, w, sigma)
            want = np.exp(-0.5 * (w / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
            assert abs(made.gradient - want) < 4 * made.info.standard_error
            assert want <= 1 / (sigma * np.sqrt(2 * np.pi))
            # The usual mistake, one σ missing, is not within the error.
            if sigma != 1.0:
                assert abs(sigma * made.gradient - want) > 4 * made.info.standard_error
    # A cosine: F_σ(w) = exp(-σ²/2) cos w, so the bias is as bounded, with L = 1.
    for sigma in (0.1, 0.5):
        made = es(jnp.cos, 0.7, sigma)
        want = -np.exp(-(sigma**2) / 2) * np.sin(0.7)
        assert abs(made.gradient - want) < 4 * made.info.standard_error
        assert abs(want + np.sin(0.7)) <= sigma


def test_variance_of_evolution_strategies_on_a_quadratic():
    dimension, pairs = 5, 40000
    rng = np.random.default_rng(0)
    matrix = jnp.asarray(rng.normal(size=(dimension, dimension)))
    w = jnp.asarray(rng.normal(size=dimension))

    def quadratic(w):
        return 0.5 * w @ (matrix @ matrix.T @ w) + jnp.sum(w)

    true = np.asarray(jax.grad(quadratic)(w))
    for sigma in (0.01, 3.0):  # exact for any σ
        made = meta_gradient(
            lambda x, w: quadratic(w),
            lambda x, w, t: x,
            w,
            0.0,
            1,
            method=evolution_strategies(sigma, pairs),
            key=jax.random.key(2),
        )
        assert np.all(np.abs(made.gradient - true) < 4.5 * made.info.standard_error)
        squares = np.sum((np.asarray(made.info.pair_gradients) - true) ** 2, axis=1)
        want = (dimension + 1) * np.sum(true**2)
        assert abs(squares.mean() - want) < 4 * squares.std() / np.sqrt(pairs)


def test_persistent_evolution_strategies_are_unbiased_and_truncated_ones_are_not():
    # x_t = w_t x_{t-1} and the loss x_t: the mean over independent perturbations is w^t x_0 for
    # any σ, so that the smoothed objective of the theorem is the mean loss itself.
    w, x0, steps = 0.8, 2.0, 6
    pieces = (lambda x, w: x, lambda x, w, t: w * x, w, x0, steps)
    t = np.arange(1, steps + 1)
    true = np.mean(t * w ** (t - 1) * x0)
    own_window_only = np.mean(w ** (t - 1) * x0)
    for sigma in (0.02, 0.3):
        options = {"key": jax.random.key(3), "every_step": True}
        method = persistent_evolution_strategies(sigma, 40000, truncation=1)
        persistent = meta_gradient(*pieces, method=method, **options)
        assert abs(persistent.gradient - true) < 4 * persistent.info.standard_error
        method = evolution_strategies(sigma, 40000, truncation=1)
        forgetful = meta_gradient(*pieces, method=method, **options)
        assert abs(forgetful.gradient - own_window_only) < 4 * forgetful.info.standard_error
        assert abs(forgetful.gradient - true) > 40 * forgetful.info.standard_error


def test_error_of_a_central_difference():
    def error(w, h):
        made = meta_gradient(
            lambda x, w: jnp.sin(w), lambda x, w, t: x, w, 0.0, 1, method=finite_differences(h)
        )
        return abs(float(made.gradient) - np.cos(w))

    # |sin'''| <= 1; the argument w + h and the sine are each off by a rounding or two.
    delta, points = 4 * 2.0**-53, np.linspace(0.1, 1.4, 14)
    best = (3 * delta) ** (1 / 3)
    for h in (1e-1, 1e-3, best, 1e-7, 1e-10):
        worst = max(error(w, h) for w in points)
        assert worst <= h**2 / 6 + delta / h
        if h >= 1e-3:  # there the curve's part dominates, and the bound is nearly attained
            assert worst >= 0.9 * h**2 / 6
    assert max(error(w, best) for w in points) <= 0.5 * best**2 * (1 + 1e-12)
    assert max(error(w, 1e-10) for w in points) > max(error(w, best) for w in points)


CURVATURES = np.array([1.0, 2.0, 3.0, 5.0, 8.0, 10.0])
PULL = np.array([1.0, -1.0, 2.0, 0.5, 1.0, -0.5])


def textbook_cg(matrix_diagonal, g, steps, *, stale=False, scale=1.0):
    """Conjugate gradients for Hz = g, and two published mistakes."""
    z, r, p = np.zeros_like(g), g, g
    for _ in range(steps):
        image = matrix_diagonal * p
        pace = r @ r / (scale * (p @ image))
        new = r - pace * image
        z = z + pace * p
        p = (r if stale else new) + (new @ new) / (r @ r) * p
        r = new
    return scale * z


def relative(z, want):
    return np.linalg.norm(z - want) / np.linalg.norm(want)


def test_a_closed_form_catches_each_published_mistake():
    want = PULL / CURVATURES
    assert relative(textbook_cg(CURVATURES, PULL, 6), want) < 1e-12
    assert relative(textbook_cg(CURVATURES, PULL, 6, stale=True), want) > 0.3
    assert relative(textbook_cg(CURVATURES, PULL, 6, scale=0.3), want) > 0.3
    # After a single step the scaled variant is still right, which is why it can hide.
    first = textbook_cg(CURVATURES, PULL, 1)
    assert relative(textbook_cg(CURVATURES, PULL, 1, scale=0.3), first) < 1e-12

    lam = 2.0
    proximal = PULL / (1 + CURVATURES / lam)
    assert relative(PULL / (2 + CURVATURES / (lam + 10)), proximal) > 0.2

    def stationary(x, w):  # the task's loss and its leash, at the minimizer
        return jnp.asarray(CURVATURES) * x + lam * (x - w)

    made = meta_gradient(
        lambda x, w: jnp.asarray(PULL) @ x,
        lambda x, w, t: x - 0.05 * stationary(x, w),
        jnp.ones(6),
        jnp.asarray(lam / (CURVATURES + lam)),
        1,
        method=implicit(conjugate_gradient(6), stationary),
    )
    assert relative(np.asarray(made.gradient), proximal) < 1e-12
