"""The numbered claims of the chapter "MAML and its shortcuts"."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import experiments
from metagrad import quadratic_families
from metagrad import quadratic_fields as fields
from metagrad.inner import descend, newton_solve
from metagrad.linear import conjugate_gradient
from metagrad.logistic_families import logistic_tasks
from metagrad.quadratic_families import proximal, quadratics
from metagrad.task_gradients import (
    fo_b_maml,
    fo_maml,
    hf_maml,
    imaml,
    maml,
    mean_gradient,
    proximal_reptile,
    reptile,
    task_gradient,
)
from metagrad.tasks import Family, Task

CASES = 60
DIMENSION = 3


# Random tasks that are not quadratic, with constants that hold everywhere.
#
#     f̂(x) = xᵀAx/2 + Σ_j p_j cos(u_jᵀx + s_j),    f(x) = xᵀCx/2 - eᵀx + Σ_j r_j cos(v_jᵀx),
#
# the second derivatives of the cosines are at most Σ|p_j| ||u_j||² in norm, the third ones at
# most Σ|p_j| ||u_j||³: bounds from numpy alone, on which the derivatives of JAX have no say.


def random_tasks(seed=0, count=CASES, convex=False):
    rng = np.random.default_rng(seed)
    shape = (count, 4, DIMENSION)
    raw = rng.normal(size=(count, DIMENSION, DIMENSION))
    data = {
        "A": raw @ raw.swapaxes(1, 2) / DIMENSION if convex else (raw + raw.swapaxes(1, 2)) / 2,
        "C": np.broadcast_to(np.eye(DIMENSION), raw.shape) * rng.uniform(0.2, 2, (count, 1, 1)),
        "e": rng.normal(size=(count, DIMENSION)),
        "p": rng.normal(size=(count, 4)) * (0 if convex else 0.4),
        "u": rng.normal(size=shape),
        "s": rng.uniform(0, 6, (count, 4)),
        "r": rng.normal(size=(count, 4)) * 0.3,
        "v": rng.normal(size=shape),
    }
    u, v = np.linalg.norm(data["u"], axis=2), np.linalg.norm(data["v"], axis=2)
    spectrum = np.linalg.eigvalsh(data["A"])
    wave = np.sum(np.abs(data["p"]) * u**2, axis=1)
    constants = {
        "lowest": spectrum[:, 0] - wave,
        "L": np.maximum(np.abs(spectrum[:, 0]), np.abs(spectrum[:, -1])) + wave,
        "rho": np.sum(np.abs(data["p"]) * u**3, axis=1),
        "L_q": data["C"][:, 0, 0] + np.sum(np.abs(data["r"]) * v**2, axis=1),
    }
    return jax.tree.map(jnp.asarray, data), constants, rng


def support(x, d):
    return 0.5 * x @ (d["A"] @ x) + jnp.sum(d["p"] * jnp.cos(d["u"] @ x + d["s"]))


def query(x, d):
    return 0.5 * x @ (d["C"] @ x) - d["e"] @ x + jnp.sum(d["r"] * jnp.cos(d["v"] @ x))


def task_of(d):
    return Task(lambda x: support(x, d), lambda x: query(x, d))


def solved(d, w, pull):
    """The adapted point to rounding, by Newton's method from a long run of gradient descent."""

    def inner(x):
        return support(x, d) + 0.5 * pull * jnp.sum((x - w) ** 2)

    slope = jax.grad(inner)
    x = jax.lax.fori_loop(0, 400, lambda _, x: x - slope(x) / (pull + 8.0), w)
    x = jax.lax.fori_loop(
        0, 6, lambda _, x: x - jnp.linalg.solve(jax.hessian(inner)(x), slope(x)), x
    )
    return x, jnp.linalg.norm(slope(x))


def setting(seed=0, convex=False):
    """Random tasks with a start and a pull each, that keeps every inner problem convex."""
    data, constants, rng = random_tasks(seed, convex=convex)
    pulls = np.maximum(-constants["lowest"], 0) + rng.uniform(0.3, 3, CASES)
    constants["m"] = pulls if convex else pulls + constants["lowest"]
    starts = jnp.asarray(2 * rng.normal(size=(CASES, DIMENSION)))
    points, residuals = jax.jit(jax.vmap(solved))(data, starts, jnp.asarray(pulls))
    assert np.max(residuals) < 1e-10
    return data, starts, jnp.asarray(pulls), points, constants, rng


def hessians_at(data, points):
    return np.asarray(jax.jit(jax.vmap(lambda d, x: jax.hessian(support)(x, d)))(data, points))


def query_slopes(data, points):
    return np.asarray(jax.jit(jax.vmap(lambda d, x: jax.grad(query)(x, d)))(data, points))


def implicit(data, points, pulls):
    """λ H⁻¹ ∇f from numpy's solve, and λ H⁻¹."""
    H = hessians_at(data, points) + np.asarray(pulls)[:, None, None] * np.eye(DIMENSION)
    response = np.asarray(pulls)[:, None, None] * np.linalg.inv(H)
    return np.einsum("nij,nj->ni", response, query_slopes(data, points)), response


def norms(a):
    return np.linalg.norm(np.asarray(a), axis=-1)


def spectral(a):
    return np.linalg.norm(np.asarray(a), 2, axis=(1, 2))


def test_the_meta_gradient_of_a_solved_inner_problem():
    data, starts, pulls, points, constants, rng = setting()
    gradient, response = implicit(data, points, pulls)
    # (c) against differences of the solved problem, coordinate by coordinate.
    h = 1e-5
    values = jax.jit(jax.vmap(lambda d, w, lam: query(solved(d, w, lam)[0], d)))
    for j, e in enumerate(np.eye(DIMENSION)[:, None]):
        slope = (values(data, starts + h * e, pulls) - values(data, starts - h * e, pulls)) / (
            2 * h
        )
        np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-5, atol=1e-6)
    # (a) the zero is the same from elsewhere, and nothing near it is lower.
    again, _ = jax.vmap(lambda d, w, lam: solved_from(d, w, lam, jnp.asarray([5.0, -5.0, 5.0])))(
        data, starts, pulls
    )
    np.testing.assert_allclose(again, points, atol=1e-9)
    # (b) the certificate, at points near and far.
    for size in (1e-3, 1.0, 10.0):
        tried = points + size * jnp.asarray(rng.normal(size=points.shape))
        residual = jax.vmap(lambda d, x, w, lam: jax.grad(support)(x, d) + lam * (x - w))(
            data, tried, starts, pulls
        )
        assert np.all(
            norms(tried - points) <= norms(residual) / constants["m"] * (1 + 1e-9) + 1e-10
        )
    # (d), and the convex case with kappa = 1.
    assert np.all(spectral(response) <= np.asarray(pulls) / constants["m"] * (1 + 1e-12))
    data, starts, pulls, points, constants, rng = setting(1, convex=True)
    assert np.all(spectral(implicit(data, points, pulls)[1]) <= 1 + 1e-12)


def solved_from(d, w, pull, begin):
    def inner(x):
        return support(x, d) + 0.5 * pull * jnp.sum((x - w) ** 2)

    slope = jax.grad(inner)
    x = jax.lax.fori_loop(0, 3000, lambda _, x: x - slope(x) / (pull + 12.0), begin)
    return x, jnp.linalg.norm(slope(x))


@pytest.mark.parametrize("pull", [0.0, 0.7])
def test_the_meta_gradient_of_k_steps_is_a_product(pull):
    data, _, rng = random_tasks(2, 8)
    starts = rng.normal(size=(8, DIMENSION))
    beta, steps = 0.12, 4
    hess = jax.jit(lambda x, d: jax.hessian(support)(x, d))
    slope = jax.jit(lambda x, d: jax.grad(support)(x, d))
    made = jax.jit(
        jax.vmap(
            lambda d, w: task_gradient(task_of(d), w, maml(steps, beta, regularizer=pull)).gradient
        )
    )(data, jnp.asarray(starts))
    for i, w in enumerate(starts):
        d = jax.tree.map(lambda leaf, i=i: leaf[i], data)
        x, tangent, jacobians = w, np.eye(DIMENSION), []
        for _ in range(steps):
            jacobians.append(
                np.eye(DIMENSION) - beta * (np.asarray(hess(x, d)) + pull * np.eye(DIMENSION))
            )
            tangent = jacobians[-1] @ tangent + beta * pull * np.eye(DIMENSION)
            x = x - beta * (np.asarray(slope(x, d)) + pull * (x - w))
        last = np.asarray(jax.grad(query)(jnp.asarray(x), d))
        np.testing.assert_allclose(made[i], tangent.T @ last, rtol=1e-11, atol=1e-12)
        adjoints = [last]
        for J in reversed(jacobians):
            adjoints.append(J @ adjoints[-1])
        backward = adjoints[-1] + beta * pull * sum(adjoints[:-1])  # p_0 and p_1 + ... + p_K
        np.testing.assert_allclose(made[i], backward, rtol=1e-11, atol=1e-12)
        if pull == 0:
            product = np.linalg.multi_dot(jacobians)  # J_1 J_2 ... J_K
            np.testing.assert_allclose(made[i], product @ last, rtol=1e-11, atol=1e-12)


def test_many_steps_with_a_pull_approach_the_solved_problem():
    data, starts, pulls, points, c, _ = setting(3)
    gradient, response = implicit(data, points, pulls)
    lam, g = np.asarray(pulls), norms(query_slopes(data, points))
    beta = 1 / (c["L"] + lam)
    q, kappa, d0 = 1 - beta * c["m"], lam / c["m"], norms(starts - points)

    def run(steps):
        def last(w, d, lam, beta):
            def step(x, _):
                return x - beta * (jax.grad(support)(x, d) + lam * (x - w)), None

            return jax.lax.scan(step, w, None, length=steps)[0]

        def both(w, d, lam, beta):
            x = last(w, d, lam, beta)
            X = jax.jacfwd(last)(w, d, lam, beta)
            return x, X, X.T @ jax.grad(query)(x, d)

        return jax.jit(jax.vmap(both))(starts, data, pulls, jnp.asarray(beta))

    tightest = 0.0
    for steps in (1, 6, 40):
        x, X, estimate = run(steps)
        assert np.all(norms(x - points) <= q**steps * d0 * (1 + 1e-9) + 1e-10)
        e = c["L"] / c["m"] * q**steps
        e = e + kappa * beta * c["rho"] * d0 * steps * q ** (steps - 1)
        assert np.all(spectral(X - response) <= e + 1e-10)
        bound = e * g + np.maximum(1, kappa) * c["L_q"] * d0 * q**steps
        assert np.all(norms(estimate - gradient) <= bound + 1e-10)
        tightest = max(tightest, np.max(norms(estimate - gradient) / bound))
    assert tightest > 0.02  # the bound is not empty


def test_proximal_reptile_descends_the_moreau_envelope():
    data, starts, pulls, points, _, _ = setting(4)

    def envelope(d, w, lam):
        x, _ = solved(d, w, lam)
        return support(x, d) + 0.5 * lam * jnp.sum((x - w) ** 2)

    claimed = np.asarray(pulls)[:, None] * np.asarray(starts - points)
    np.testing.assert_allclose(
        claimed, jax.jit(jax.vmap(lambda d, x: jax.grad(support)(x, d)))(data, points), atol=1e-9
    )
    values, h = jax.jit(jax.vmap(envelope)), 1e-5
    for j, e in enumerate(np.eye(DIMENSION)[:, None]):
        slope = (values(data, starts + h * e, pulls) - values(data, starts - h * e, pulls)) / (
            2 * h
        )
        np.testing.assert_allclose(claimed[:, j], slope, rtol=1e-5, atol=1e-5)
    # FO-MAML with query = support takes the same.
    d, w = jax.tree.map(lambda leaf: leaf[0], data), starts[0]
    same = Task(lambda x: support(x, d), lambda x: support(x, d))
    options = {"inner_steps": 30, "inner_step_size": 1.0, "solve": newton_solve}
    one = task_gradient(same, w, fo_maml(regularizer=float(pulls[0]), **options)).gradient
    two = task_gradient(same, w, proximal_reptile(float(pulls[0]), **options)).gradient
    np.testing.assert_allclose(one, two, atol=1e-9)


# Quadratics on the line, in exact fractions or many digits.


def random_line(seed, tasks):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.3, 9, tasks), rng.normal(size=tasks), rng.uniform(0.1, 8)


@pytest.mark.parametrize("seed", range(4))
def test_the_resting_points_on_the_line(seed):
    a, b, lam = random_line(seed, 4)
    family, w = quadratics(jnp.asarray(a), jnp.asarray(b)), 0.37
    R = lam / (a + lam)
    beta, steps = 0.09, 3
    r = (1 - beta * a) ** steps
    weights = {
        "maml": a * R**2, "fo": a * R, "reptile": a * R, "joint": a,
        "maml_k": a * r**2, "fo_k": a * r, "reptile_k": (1 - r) / beta,
    }  # fmt: skip
    newton = {"inner_steps": 3, "inner_step_size": 1.0, "solve": newton_solve}
    methods = {
        "maml": imaml(lam, cg_steps=1, **newton),
        "fo": fo_maml(regularizer=lam, **newton),
        "reptile": proximal_reptile(lam, **newton),
        "maml_k": maml(steps, beta),
        "fo_k": fo_maml(steps, beta),
        "reptile_k": reptile(steps, beta),
    }
    for name, v in weights.items():
        if name == "joint":
            estimate = np.mean(a * (w - b))
        else:
            estimate = mean_gradient(family, w, methods[name]).gradient
        np.testing.assert_allclose(estimate, np.mean(v * (w - b)), rtol=1e-10, atol=1e-12)
        V = np.mean(v)
        if V <= 0:
            continue
        rest, at = np.sum(v * b) / np.sum(v), w
        for _ in range(50):  # a descent with the given factor
            ahead = at - 1.7 / V * np.mean(v * (at - b))
            np.testing.assert_allclose(ahead - rest, (1 - 1.7) * (at - rest), atol=1e-9)
            at = ahead
        assert abs(at - rest) < 1e-6
    # (b), (c): two tasks.
    a, b = np.sort(a[:2]), b[:2]
    two, D = quadratics(jnp.asarray(a), jnp.asarray(b)), abs(b[0] - b[1])
    for lam in (0.02, 0.5, np.sqrt(a[0] * a[1]) * 0.99, np.sqrt(a[0] * a[1]) * 1.01, 30.0):
        below = (2 * a[0] * a[1] + lam * (a[0] + a[1])) * (a[0] + lam) * (a[1] + lam)
        left = D / 2 * a[0] * a[1] * (a[1] - a[0]) * lam**2 / below
        made = fields.fo_maml_error(two, proximal(lam))
        np.testing.assert_allclose(abs(made), left, rtol=1e-10)
        best, shortcut = (
            float(fields.rest_point(of(two, proximal(lam)))) for of in (fields.maml, fields.fo_maml)
        )
        np.testing.assert_allclose(
            shortcut, fields.rest_point(fields.reptile(two, proximal(lam))), rtol=1e-12
        )
        assert abs(shortcut - b[1]) < abs(shortcut - b[0])
        assert (abs(best - b[0]) < abs(best - b[1])) == (lam < np.sqrt(a[0] * a[1]))


def test_the_gradient_that_is_left_at_both_ends_of_the_pull():
    a1, a2, b1, b2 = (mpmath.mpf(x) for x in ("0.7", "5.3", "-0.4", "1.1"))
    D = abs(b1 - b2)

    def rests(lam):
        R1, R2 = lam / (a1 + lam), lam / (a2 + lam)

        def mean(v1, v2):
            return (v1 * b1 + v2 * b2) / (v1 + v2)

        best, short = mean(a1 * R1**2, a2 * R2**2), mean(a1 * R1, a2 * R2)
        left = abs(a1 * R1**2 * (short - b1) + a2 * R2**2 * (short - b2)) / 2
        return best, short, mean(a1, a2), left

    with mpmath.workdps(40):
        tiny, huge = mpmath.mpf("1e-12"), mpmath.mpf("1e12")
        best, short, _, left = rests(tiny)
        assert abs(left / tiny**2 / (D / 4 * (1 / a1 - 1 / a2)) - 1) < 1e-9
        assert abs(short - (b1 + b2) / 2) < 1e-9
        assert abs(best - (a2 * b1 + a1 * b2) / (a1 + a2)) < 1e-9
        assert abs(abs(best - short) - D / 2 * (a2 - a1) / (a2 + a1)) < 1e-9
        best, short, joint, left = rests(huge)
        assert abs(left * huge / (D / 2 * a1 * a2 * (a2 - a1) / (a1 + a2)) - 1) < 1e-9
        assert max(abs(best - joint), abs(short - joint)) < 1e-9


def random_bowls(seed, tasks, d=2, equal=False):
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(tasks, d, d))
    A = raw @ raw.swapaxes(1, 2) + 0.3 * np.eye(d)
    if equal:
        A = np.broadcast_to(A[:1], A.shape)
    raw = rng.normal(size=(tasks, d, d))
    C = raw @ raw.swapaxes(1, 2) + 0.2 * np.eye(d)
    b, e = rng.normal(size=(2, tasks, d))
    return A, b, C, e, rng.uniform(0.3, 4)


@pytest.mark.parametrize("seed", range(5))
def test_exactly_when_fo_maml_is_right(seed):
    # (a) for any matrix R, where FO-MAML rests.
    A, b, C, e, lam = random_bowls(seed, 3)
    family, inner = quadratics(A, b, C, e), proximal(lam)
    rest = fields.rest_point(fields.fo_maml(family, inner))
    R = lam * np.linalg.inv(A + lam * np.eye(2))
    points = b + np.einsum("nij,nj->ni", R, np.asarray(rest) - b)
    g = np.einsum("nij,nj->ni", C, points - e)
    np.testing.assert_allclose(np.mean(g, axis=0), 0, atol=1e-10)
    truth = fields.value(fields.maml(family, inner), rest)
    for shift in (np.zeros((2, 2)), np.array([[1.0, -3.0], [0.5, 2.0]])):
        other = np.mean(np.einsum("nij,nj->ni", R - shift, g), axis=0)
        np.testing.assert_allclose(truth, other, atol=1e-9)
    assert np.linalg.norm(truth) > 1e-4  # different curvatures: wrong
    for center in (np.mean(R, axis=0), R[0], 0.5 * np.eye(2)):  # similar ones: little to lose
        spread = np.max(spectral(R - center))
        assert np.linalg.norm(truth) <= spread * np.mean(norms(g)) * (1 + 1e-9)
    # (b) one task, (c) one Hessian: whatever the query losses.
    one = quadratics(A[:1], b[:1], C[:1], e[:1])
    same_A, *others, lam = random_bowls(seed + 50, 4, equal=True)
    for family in (one, quadratics(same_A, *others)):
        error = fields.fo_maml_error(family, proximal(lam))
        np.testing.assert_allclose(error, 0, atol=1e-10)
    # (d) two tasks: the meta-gradient is (R_1 - R_2) g_1 / 2.
    two = quadratics(A[:2], b[:2], C[:2], e[:2])
    rest = np.asarray(fields.rest_point(fields.fo_maml(two, inner)))
    first = C[0] @ (b[0] + R[0] @ (rest - b[0]) - e[0])
    np.testing.assert_allclose(
        fields.value(fields.maml(two, inner), rest), (R[0] - R[1]) @ first / 2, atol=1e-9
    )
    # (e) the construction of the proof.
    lam = 0.9
    R = lam * np.linalg.inv(A + lam * np.eye(2))
    origin = b - np.einsum("nij,nj->ni", R, b)  # x_i(0)
    v = np.array([1.0, 0.4])
    targets = origin + np.array([-v, v, np.zeros(2)])
    family = quadratics(A, b, np.broadcast_to(np.eye(2), A.shape), targets)
    field = fields.fo_maml(family, proximal(lam))
    assert np.all(np.linalg.eigvalsh(np.asarray(field.matrix)) > 0)  # one resting point
    np.testing.assert_allclose(fields.rest_point(field), 0, atol=1e-12)
    left = fields.value(fields.maml(family, proximal(lam)), jnp.zeros(2))
    np.testing.assert_allclose(left, (R[0] - R[1]) @ v / 3, atol=1e-12)
    assert np.linalg.norm(left) > 1e-3


def test_equal_curvature_and_one_task_need_no_quadratic_query():
    """(b) and (c) once more, where the query losses are not quadratics."""
    rng = np.random.default_rng(7)
    A = jnp.asarray([[2.0, 0.5], [0.5, 1.0]])
    data = {"b": jnp.asarray(rng.normal(size=(3, 2))), "k": jnp.asarray(rng.normal(size=(3, 2)))}
    family = Family(
        lambda x, d: 0.5 * (x - d["b"]) @ (A @ (x - d["b"])),
        lambda x, d: jnp.sum(jnp.cosh(0.5 * (x - d["k"]))),
        data,
    )
    options = {"inner_steps": 4, "inner_step_size": 1.0, "solve": newton_solve}
    shortcut, exact = fo_maml(regularizer=1.3, **options), imaml(1.3, cg_steps=2, **options)
    estimate = jax.jit(lambda w: mean_gradient(family, w, shortcut).gradient)
    w = np.zeros(2)
    for _ in range(900):
        w = w - 0.5 * np.asarray(estimate(w))
    assert np.linalg.norm(estimate(w)) < 1e-10
    assert np.linalg.norm(mean_gradient(family, w, exact).gradient) < 1e-10


def test_shifts_are_a_blind_test_only_if_they_are_shifts_of_a_quadratic():
    """Where FO-MAML rests on the shifts h(x - b), query = support, the meta-gradient is left."""
    b, lam = np.array([0.0, 1.0, 3.0]), 1.0

    def left(slope, curvature):
        def adapted(w):
            x = np.full(3, w)
            for _ in range(60):
                x = x - (slope(x - b) + lam * (x - w)) / (curvature(x - b) + lam)
            return x

        low, high = -5.0, 5.0  # the mean of the query gradients grows with w
        for _ in range(80):
            w = (low + high) / 2
            low, high = (low, w) if np.mean(slope(adapted(w) - b)) > 0 else (w, high)
        x = adapted(w)
        assert np.all(np.abs(slope(x - b) + lam * (x - w)) < 1e-10)
        return abs(np.mean(lam / (curvature(x - b) + lam) * slope(x - b)))

    assert left(lambda t: 2 * t, lambda t: 2 + 0 * t) < 1e-10
    assert left(lambda t: t**3 + t, lambda t: 3 * t**2 + 1) > 0.01


@pytest.mark.parametrize("convex", [False, True])
def test_the_bias_of_fo_maml_is_bounded_and_the_bound_is_attained(convex):
    data, _, pulls, points, c, _ = setting(5 + convex, convex)
    gradient, response = implicit(data, points, pulls)
    slope, H = query_slopes(data, points), hessians_at(data, points)
    lam, g, L = np.asarray(pulls), norms(slope), c["L"]
    dropped = np.einsum("nij,njk,nk->ni", response / lam[:, None, None], H, slope)
    np.testing.assert_allclose(slope - gradient, dropped, atol=1e-9)
    limit = L / (L + lam) if convex else L / c["m"]
    assert np.all(norms(slope - gradient) <= limit * g * (1 + 1e-9))
    inner = np.sum(slope * gradient, axis=1)
    assert np.all(inner >= lam / (L + lam) * g**2 * (1 - 1e-9))
    # Attained on the line: curvature L, and -L for the bound with m.
    curvature = 1.5 if convex else -1.5
    bowl = quadratics([curvature], [0.3], query_curvature=[1.0], query_center=[-2.0])
    field, cut = (of(bowl, proximal(2.0)) for of in (fields.maml, fields.fo_maml))
    truth, short = (float(fields.value(one, 0.8)) for one in (field, cut))
    limit = 1.5 / 3.5 if convex else 1.5 / 0.5
    assert abs(abs(short - truth) / abs(short) - limit) < 1e-12
    if convex:
        assert abs(short * truth / short**2 - 2.0 / 3.5) < 1e-12
    # For two tasks (c) fails: between the two resting points FO-MAML's step leads uphill.
    pair = quadratics([1.0, 9.0], [0.0, 1.0])
    field, cut = (of(pair, proximal(1.0)) for of in (fields.maml, fields.fo_maml))
    for share in (0.01, 0.5, 0.99):
        w = (1 - share) * fields.rest_point(field) + share * fields.rest_point(cut)
        assert fields.value(field, w) * fields.value(cut, w) < 0


def test_what_implicit_maml_loses():
    data, _, pulls, points, c, rng = setting(8)
    gradient, _ = implicit(data, points, pulls)
    lam, g = np.asarray(pulls), norms(query_slopes(data, points))
    kappa, chi = lam / c["m"], (c["L"] + lam) / c["m"]
    pace = (np.sqrt(chi) - 1) / (np.sqrt(chi) + 1)
    for steps in (1, 2, 3):
        for size in (0.0, 1e-3, 0.3):
            shift = rng.normal(size=points.shape)
            shift *= size / norms(shift)[:, None]
            tried = points + jnp.asarray(shift)

            def estimate(d, x, lam, steps=steps):
                slope = jax.grad(support)

                def matvec(direction):
                    image = jax.jvp(lambda x: slope(x, d), (x,), (direction,))[1]
                    return direction + image / lam

                return conjugate_gradient(steps)(matvec, jax.grad(query)(x, d))[0]

            v = jax.jit(jax.vmap(estimate))(data, tried, pulls)
            bound = kappa * (c["L_q"] + c["rho"] * g / c["m"]) * size
            bound = bound + 2 * np.sqrt(chi) * pace**steps * kappa * (g + c["L_q"] * size)
            assert np.all(norms(v - gradient) <= bound * (1 + 1e-9))
            if steps == DIMENSION and size == 0:  # then the system is solved
                np.testing.assert_allclose(v, gradient, rtol=1e-6, atol=1e-8)
    # Negative curvature: the error, and the number in it.
    saddle = quadratics(
        np.diag([2.0, -0.5])[None], np.zeros((1, 2)), np.eye(2)[None], np.ones((1, 2))
    )
    one = Task(
        lambda x: saddle.support(x, _first(saddle)), lambda x: saddle.query(x, _first(saddle))
    )
    with pytest.raises(ValueError, match="regularizer must exceed"):
        task_gradient(one, jnp.array([0.5, 0.5]), imaml(0.3, 50, 0.1, cg_steps=2))
    found = task_gradient(one, jnp.array([0.5, 0.5]), imaml(1.0, 400, 0.1, cg_steps=2))
    assert found.info.solve.smallest_curvature > 0 and bool(found.finite)


def test_the_printed_answer_of_the_saddle():
    """What the chapter says of the two meta-gradients that it prints."""
    saddle = quadratics(
        np.diag([2.0, -0.5])[None], np.zeros((1, 2)), np.eye(2)[None], np.ones((1, 2))
    )
    one = Task(
        lambda x: saddle.support(x, _first(saddle)), lambda x: saddle.query(x, _first(saddle))
    )
    exact = fields.value(fields.maml(saddle, proximal(1.0)), jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(exact, [-5 / 18, 0], atol=1e-12)
    made = task_gradient(one, jnp.array([0.5, 0.5]), imaml(1.0, 50, 0.1, cg_steps=2)).gradient
    np.testing.assert_allclose(made[1], -2 * 0.95**50 * 0.5, rtol=1e-9)


def test_damping_is_a_factor_and_another_pull():
    A, b, C, e, lam = random_bowls(3, 1)
    family, start, extra = quadratics(A, b, C, e), np.array([0.3, -0.8]), 0.6
    newton = {"inner_steps": 3, "inner_step_size": 1.0, "solve": newton_solve}
    method = imaml(lam, cg_steps=2, damping=extra, **newton)
    made = mean_gradient(family, start, method).gradient
    x = b[0] + lam * np.linalg.solve(A[0] + lam * np.eye(2), start - b[0])
    pull = (1 + extra) * lam
    formula = pull * np.linalg.solve(A[0] + pull * np.eye(2), C[0] @ (x - e[0]))
    np.testing.assert_allclose(made, formula / (1 + extra), rtol=1e-8)


def _first(family):
    return jax.tree.map(lambda leaf: leaf[0], family.data)


def test_the_error_of_hessian_free_maml():
    data, c, rng = random_tasks(9)
    starts, beta = jnp.asarray(rng.normal(size=(CASES, DIMENSION))), 0.2
    exact = jax.jit(jax.vmap(lambda d, w: task_gradient(task_of(d), w, maml(1, beta)).gradient))
    v = jax.jit(jax.vmap(lambda d, w: jax.grad(query)(w - beta * jax.grad(support)(w, d), d)))
    truth, size = exact(data, starts), norms(v(data, starts))
    for spacing in (0.01, 0.3, 2.0):
        made = jax.jit(
            jax.vmap(
                lambda d, w, s=spacing: task_gradient(task_of(d), w, hf_maml(beta, s)).gradient
            )
        )(data, starts)
        bound = beta / 2 * c["rho"] * spacing * size**2
        assert np.all(norms(made - truth) <= bound + 1e-11)
    # Exercise: on x^4/24 the error is beta eps^2 v^3/6.
    quartic = Task(lambda x: x**4 / 24, lambda x: 1.5 * x)
    gap = (
        task_gradient(quartic, 0.7, maml(1, 0.2)).gradient
        - task_gradient(quartic, 0.7, hf_maml(0.2, 0.4)).gradient
    )
    np.testing.assert_allclose(gap, 0.2 * 0.4**2 * 1.5**3 / 6, rtol=1e-10)


def started_newton(objective, start, inner_steps, inner_step_size, strong_convexity=None):
    near = descend(objective, start, 60, 0.2)
    return newton_solve(objective, near, inner_steps, inner_step_size, strong_convexity)


def test_forty_logistic_tasks():
    """The resting points of the chapter, found by another route, in numpy."""
    family, lam = logistic_tasks(jax.random.key(0)), 0.5
    X, y, Q, z = (np.asarray(leaf) for leaf in family.data)
    sigmoid = lambda s: 1 / (1 + np.exp(-s))  # noqa: E731

    def slope(x, rows, signs):
        push = -signs * sigmoid(-signs * np.einsum("nmd,nd->nm", rows, x)) / rows.shape[1]
        return np.einsum("nmd,nm->nd", rows, push)

    def hessian(x, rows):
        s = sigmoid(np.einsum("nmd,nd->nm", rows, x))
        return np.einsum("nmd,nm,nme->nde", rows, s * (1 - s) / rows.shape[1], rows)

    def adapted(w):
        x = np.broadcast_to(w, (40, 5))
        for _ in range(60):
            x = x - (slope(x, X, y) + lam * (x - w)) / 5
        for _ in range(6):
            step = np.linalg.solve(
                hessian(x, X) + lam * np.eye(5), (slope(x, X, y) + lam * (x - w))[..., None]
            )
            x = x - step[..., 0]
        return x

    def meta(w):
        x = adapted(w)
        H = hessian(x, X) + lam * np.eye(5)
        g = slope(x, Q, z)
        true = lam * np.linalg.solve(H, g[..., None])[..., 0]
        value = np.mean(np.logaddexp(0, -z * np.einsum("nmd,nd->nm", Q, x)))
        return value, true.mean(0), g.mean(0), lam * (w - x).mean(0)

    def rest(which):
        w = np.zeros(5)
        for _ in range(60):  # chord method with the Jacobian of a difference
            here = meta(w)[which]
            if np.linalg.norm(here) < 1e-13:
                break
            slopes = [(meta(w + 1e-6 * e)[which] - here) / 1e-6 for e in np.eye(5)]
            w = w - np.linalg.solve(np.array(slopes).T, here)
        return w

    best, short, blind = rest(1), rest(2), rest(3)
    values = [meta(w)[0] for w in (best, short, blind)]
    left = [np.linalg.norm(meta(w)[1]) for w in (best, short, blind)]
    assert left[0] < 1e-12 < 1e-3 < left[1] < left[2]
    assert values[0] < values[1] < values[2]
    # The stored residuals of this family, the first of five; and what the page prints.
    stored = experiments.load("maml_quadratics")["logistic"]["methods"]
    for name, size in (("FO-MAML", left[1]), ("proximal Reptile", left[2])):
        np.testing.assert_allclose(stored[name]["residual"][0], size, rtol=1e-3)
    assert [f"{100 * (v / values[0] - 1):.2g}" for v in values[1:]] == ["0.063", "6.6"]
    # FO-B-MAML, as the library has it, at the best start: the bias falls like the square.
    options = {"inner_steps": 8, "inner_step_size": 1.0, "solve": started_newton}
    estimate = jax.jit(
        lambda nu: mean_gradient(family, best, fo_b_maml(lam, nu, **options)).gradient
    )
    biases = [np.linalg.norm(estimate(nu)) for nu in (0.1, 0.01)]
    assert 80 < biases[0] / biases[1] < 120 and biases[0] < 1e-3


def test_exercises_on_the_line():
    """Numbers that the exercises of the chapter print."""
    one = Task(lambda x: (x - 1) ** 2, lambda x: 0.5 * (x - 3) ** 2)
    assert float(task_gradient(one, 0.0, maml(1, 0.25)).gradient) == -1.25
    blind = quadratics([1.0, 1.0], [0.0, 1.0], query_curvature=[1.0, 1.0], query_center=[3.0, 3.0])
    rests = [
        float(fields.rest_point(of(blind, proximal(1.0))))
        for of in (fields.maml, fields.fo_maml, fields.reptile)
    ]
    np.testing.assert_allclose(rests, [5.5, 5.5, 0.5], rtol=1e-12)
    pair = quadratics([1.0, 9.0], [0.0, 1.0])
    inner = quadratic_families.descent(0.1, 1)
    rests = [
        float(fields.rest_point(of(pair, inner)))
        for of in (fields.maml, fields.fo_maml, fields.reptile)
    ]
    np.testing.assert_allclose(rests, [0.1, 0.5, 0.9], rtol=1e-12)
