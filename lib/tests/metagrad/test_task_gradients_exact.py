"""Every method against a closed form: quadratics, one dimension, derivatives by another route."""

import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from task_gradient_cases import (
    implicit_gradient,
    logistic_task,
    quadratic_family,
    two_quadratics,
)

from metagrad.difference_rules import (
    FORWARD,
    SYMMETRIC,
    THREE_POINT,
    error_bound,
    of_order,
    safe_perturbation,
)
from metagrad.inner import descend, newton_solve
from metagrad.perturbed import contrastive_gradient, perturbed_value, surrogate
from metagrad.task_gradients import (
    contrastive,
    fo_b_maml,
    fo_maml,
    fo_muml,
    hf_maml,
    imaml,
    maml,
    mean_gradient,
    proximal_reptile,
    reptile,
)
from metagrad.tasks import Family, Task

# Enough steps of descent for rounding: the regularized bowls below have α μ >= 0.2.
EXACTLY = {"inner_steps": 200, "inner_step_size": 0.1}


# -- random quadratics ---------------------------------------------------------------------------


def random_bowls(count=5, dimension=3, seed=0):
    """f̂ and f quadratic with curvatures in [0.5, 4] and [-2, 4], and their matrices."""
    rng = np.random.default_rng(seed)

    def matrices(low):
        basis = np.linalg.qr(rng.normal(size=(count, dimension, dimension)))[0]
        values = rng.uniform(low, 4.0, (count, 1, dimension))
        return basis * values @ np.swapaxes(basis, 1, 2)

    data = {
        "A": matrices(0.5),
        "b": rng.normal(size=(count, dimension)),
        "C": matrices(-2.0),
        "e": rng.normal(size=(count, dimension)),
    }

    def loss(matrix, center):
        return lambda x, d: 0.5 * (x - d[center]) @ d[matrix] @ (x - d[center])

    family = Family(loss("A", "b"), loss("C", "e"), jax.tree.map(jnp.asarray, data))
    return family, data, rng.normal(size=dimension)


BOWLS, DATA, THETA = random_bowls()
LAM = 1.5


def on_each_bowl(formula):
    return np.stack([formula(*(DATA[name][i] for name in "AbCe")) for i in range(5)])


def adapted(A, b, nu=0.0, C=0.0, e=0.0):
    """The minimizer of the perturbed problem."""
    matrix = A + LAM * np.eye(3) + nu * C
    return np.linalg.solve(matrix, A @ b + LAM * THETA + nu * np.asarray(C @ e if nu else 0.0))


def implicit(A, b, C, e):
    return LAM * np.linalg.solve(A + LAM * np.eye(3), C @ (adapted(A, b) - e))


def perturbed(nodes, weights, nu):
    def formula(A, b, C, e):
        total = sum(w * adapted(A, b, j * nu, C, e) for j, w in zip(nodes, weights, strict=True))
        return -LAM * total / nu

    return formula


def unrolled(steps, size, product=True):
    def formula(A, b, C, e):
        power = np.linalg.matrix_power(np.eye(3) - size * A, steps)
        slope = C @ (b + power @ (THETA - b) - e)
        return power @ slope if product else slope

    return formula


def run(b, A, steps, size):
    return b + np.linalg.matrix_power(np.eye(3) - size * A, steps) @ (THETA - b)


CLOSED_FORMS = [
    (imaml(LAM, **EXACTLY, cg_steps=3), implicit),
    (imaml(LAM, 1, 1.0, 3, solve=newton_solve), implicit),
    (
        imaml(LAM, **EXACTLY, cg_steps=3, damping=0.5),
        lambda A, b, C, e: np.linalg.solve(1.5 * np.eye(3) + A / LAM, C @ (adapted(A, b) - e)),
    ),
    (maml(**EXACTLY, regularizer=LAM), implicit),
    (maml(4, 0.2), unrolled(4, 0.2)),
    (maml(4, 0.2, checkpointed=False), unrolled(4, 0.2)),
    (fo_maml(4, 0.2), unrolled(4, 0.2, product=False)),
    (fo_maml(**EXACTLY, regularizer=LAM), lambda A, b, C, e: C @ (adapted(A, b) - e)),
    (reptile(4, 0.2), lambda A, b, C, e: (THETA - run(b, A, 4, 0.2)) / 0.2),
    (proximal_reptile(LAM, **EXACTLY), lambda A, b, C, e: LAM * (THETA - adapted(A, b))),
    (fo_muml(LAM, 0.1, 1e-13, 400), lambda A, b, C, e: LAM * (THETA - adapted(A, b))),
    (hf_maml(0.2, 0.1), unrolled(1, 0.2)),
    (fo_b_maml(LAM, 0.1, **EXACTLY), perturbed((-1, 1), (-0.5, 0.5), 0.1)),
    (fo_b_maml(LAM, 0.1, **EXACTLY, rule=FORWARD), perturbed((0, 1), (-1, 1), 0.1)),
    (
        fo_b_maml(LAM, 0.1, **EXACTLY, rule=THREE_POINT),
        perturbed((0, 1, 2), (-1.5, 2, -0.5), 0.1),
    ),
    (
        fo_b_maml(LAM, 0.1, **EXACTLY, rule=of_order(4)),
        perturbed((-2, -1, 1, 2), np.array([1, -8, 8, -1]) / 12, 0.1),
    ),
    (fo_b_maml(LAM, 0.1, **EXACTLY, start="warm"), perturbed((-1, 1), (-0.5, 0.5), 0.1)),
    (contrastive(LAM, 0.1, **EXACTLY), perturbed((-1, 1), (-0.5, 0.5), 0.1)),
    (fo_b_maml(LAM, 1e-3, **EXACTLY, rule=of_order(6)), implicit),
]


SYMMETRIC_ROW = 12  # of FO-B-MAML with the default rule


@pytest.fixture(scope="module")
def on_bowls():
    """Every method of the table in one program: compiling is what these tests spend time on."""
    return jax.jit(
        lambda theta: [mean_gradient(BOWLS, theta, method) for method, _ in CLOSED_FORMS]
    )(jnp.asarray(THETA))


@pytest.mark.parametrize("index", range(len(CLOSED_FORMS)))
def test_closed_forms_on_random_quadratics(on_bowls, index):
    found, expected = on_bowls[index], on_each_bowl(CLOSED_FORMS[index][1])
    assert np.allclose(found.tasks.gradient, expected, rtol=0, atol=1e-10)
    assert np.allclose(found.gradient, np.mean(expected, axis=0), rtol=0, atol=1e-10)
    losses = [
        0.5 * (x - e) @ C @ (x - e)
        for x, C, e in zip(np.asarray(found.tasks.adapted), DATA["C"], DATA["e"], strict=True)
    ]
    assert np.allclose(found.tasks.value, losses, rtol=1e-12)
    assert np.allclose(found.value, np.mean(losses), rtol=1e-12)


def test_adapted_is_the_free_solution_and_the_info_holds_the_others(on_bowls):
    found = on_bowls[SYMMETRIC_ROW].tasks
    expected = on_each_bowl(lambda A, b, C, e: adapted(A, b))
    assert np.allclose(found.adapted, expected, rtol=0, atol=1e-12)
    for place, node in enumerate((-1, 1)):
        expected = on_each_bowl(lambda A, b, C, e, nu=0.1 * node: adapted(A, b, nu, C, e))
        assert np.allclose(found.info.points[:, place], expected, rtol=0, atol=1e-12)
    assert np.all(found.info.residual_norms < 1e-12) and np.all(found.residual_norm < 1e-12)
    assert np.all(np.isinf(found.certificate)) and np.all(found.info.perturbation == 0.1)


def test_residuals_and_certificates_of_rough_solves():
    """||∇f̂(φ) + λ (φ - θ)|| at the adapted parameters, over μ = 0.7; likewise at the nodes."""
    known, steps = {"strong_convexity": 0.7}, {"inner_steps": 3, "inner_step_size": 0.1}
    perturbed_too = known | {"query_smoothness": 1.4}
    table = [
        (maml(**steps), 0.0, np.inf),
        (maml(**steps, regularizer=LAM), LAM, np.inf),
        (fo_maml(**steps), 0.0, np.inf),
        (reptile(**steps), 0.0, np.inf),
        (hf_maml(0.1, 0.1), 0.0, np.inf),
        (fo_maml(**steps, regularizer=LAM), LAM, np.inf),
        (imaml(LAM, **steps, cg_steps=3, **known), LAM, 1 / 0.7),
        (proximal_reptile(LAM, **steps, **known), LAM, 1 / 0.7),
        (fo_muml(LAM, 0.1, 0.5, 3, **known), LAM, 1 / 0.7),
    ]
    twins = [
        make(LAM, 0.1, **steps, rule=THREE_POINT, **perturbed_too)
        for make in (fo_b_maml, contrastive)
    ]
    methods = [method for method, _, _ in table] + twins
    first = jax.tree.map(lambda leaf: leaf[:1], BOWLS.data)
    everything = jax.jit(
        lambda theta: [mean_gradient(BOWLS._replace(data=first), theta, m).tasks for m in methods]
    )(jnp.asarray(THETA))
    A, b, C, e = (DATA[name][0] for name in "AbCe")

    def residual(x, lam, nu=0.0):
        return np.linalg.norm(A @ (x - b) + lam * (x - THETA) + nu * C @ (x - e))

    for found, (_, lam, factor) in zip(everything, table, strict=False):
        expected = residual(np.asarray(found.adapted[0]), lam)
        assert expected > 0.1
        assert np.allclose(found.residual_norm[0], expected, rtol=1e-12)
        assert np.allclose(found.certificate[0], expected * factor, rtol=1e-12)
    for found in everything[len(table) :]:
        nus = np.array([0.0, 0.1, 0.2])
        expected = [
            residual(x, LAM, nu)
            for x, nu in zip(np.asarray(found.info.points[0]), nus, strict=True)
        ]
        bounds = expected / (0.7 - 1.4 * nus)
        assert np.allclose(found.info.residual_norms[0], expected, rtol=1e-12)
        assert np.allclose(found.info.distance_bounds[0], bounds, rtol=1e-12)
        assert np.allclose(found.residual_norm[0], max(expected), rtol=1e-12)
        assert np.allclose(found.certificate[0], max(bounds), rtol=1e-12)


# -- where each method comes to rest -------------------------------------------------------------


def resting_points(family, *methods):
    """The roots of the mean gradients, which are affine in θ on quadratics."""

    @jax.jit
    @jax.vmap
    def slopes(theta):
        return jnp.stack([mean_gradient(family, theta, method).gradient for method in methods])

    below, above = np.asarray(slopes(jnp.array([0.0, 1.0])))
    return -below / (above - below)


def weighted_mean(weight, a=(1, 9), b=(0, 1)):
    """Where Σ_i weight(a_i) (θ - b_i) is 0, in fractions."""
    weights = [weight(Fraction(x)) for x in a]
    return float(sum(w * x for w, x in zip(weights, b, strict=True)) / sum(weights))


def perturbed_weight(nodes, weights, nu):
    """φ_ν - b = λ (θ - b) / (a + λ + ν a) for f = f̂, put into the rule; λ = 1."""
    return lambda a: (
        -sum(w / (a + 1 + j * nu * a) for j, w in zip(nodes, weights, strict=True)) / nu
    )


TENTH = Fraction(1, 10)


RESTING = [
    (imaml(1.0, **EXACTLY, cg_steps=1), lambda a: a / (a + 1) ** 2),
    (fo_maml(**EXACTLY, regularizer=1.0), lambda a: a / (a + 1)),
    (proximal_reptile(1.0, **EXACTLY), lambda a: a / (a + 1)),
    (fo_muml(1.0, 0.1, 1e-13, 300), lambda a: a / (a + 1)),
    (maml(1, 0.1), lambda a: a * (1 - a / 10) ** 2),
    (hf_maml(0.1, 0.1), lambda a: a * (1 - a / 10) ** 2),
    (fo_maml(1, 0.1), lambda a: a * (1 - a / 10)),
    (reptile(1, 0.1), lambda a: a),
    (maml(3, 0.1), lambda a: a * (1 - a / 10) ** 6),
    (fo_maml(3, 0.1), lambda a: a * (1 - a / 10) ** 3),
    (reptile(3, 0.1), lambda a: 1 - (1 - a / 10) ** 3),
    (fo_b_maml(1.0, 0.1, **EXACTLY), perturbed_weight((-1, 1), (-TENTH * 5, TENTH * 5), TENTH)),
    (contrastive(1.0, 0.1, **EXACTLY), lambda a: a / ((a + 1) ** 2 - (a / 10) ** 2)),
    (
        fo_b_maml(1.0, 0.1, **EXACTLY, rule=FORWARD),
        lambda a: a / ((a + 1) * (a + 1 + a / 10)),
    ),
    (
        fo_b_maml(1.0, 0.1, **EXACTLY, rule=THREE_POINT),
        perturbed_weight((0, 1, 2), (-TENTH * 15, 2, -TENTH * 5), TENTH),
    ),
]


def test_resting_points_of_the_two_quadratics():
    found = resting_points(two_quadratics(), *[method for method, _ in RESTING])
    expected = [weighted_mean(weight) for _, weight in RESTING]
    assert np.allclose(found, expected, rtol=0, atol=1e-9)


def test_the_resting_points_that_the_chapter_quotes():
    """Of the closed forms that the test above compares the methods with."""
    assert weighted_mean(lambda a: a / (a + 1) ** 2) == float(Fraction(9, 34))
    assert weighted_mean(lambda a: a / (a + 1)) == float(Fraction(9, 14))
    one_step = [lambda a: a * (1 - a / 10) ** 2, lambda a: a * (1 - a / 10), lambda a: a]
    assert [weighted_mean(weight) for weight in one_step] == [0.1, 0.5, 0.9]


def test_resting_points_with_another_query_loss():
    """c = (1, 1), e = (0.5, 0.2): φ_i = (a b + θ)/(a + 1), and Σ s_i (φ_i - e_i) = 0."""
    family = two_quadratics(query_curvatures=[1.0, 1.0], query_centers=[0.5, 0.2])
    data = [(Fraction(1), 0, Fraction(1, 2)), (Fraction(9), 1, Fraction(1, 5))]

    def root(factor):
        slope = sum(factor(a) / (a + 1) for a, _, _ in data)
        return float(-sum(factor(a) * (a * b / (a + 1) - e) for a, b, e in data) / slope)

    found = resting_points(
        family,
        imaml(1.0, **EXACTLY, cg_steps=1),
        fo_maml(**EXACTLY, regularizer=1.0),
        proximal_reptile(1.0, **EXACTLY),
    )
    expected = [root(lambda a: 1 / (a + 1)), root(lambda a: 1), 9 / 14]
    assert np.allclose(found, expected, rtol=0, atol=1e-9)


def test_equal_curvatures_leave_no_bias():
    """FO-MAML's gradient is then the exact one times a number, and so is the forward one's."""
    family = quadratic_family([2.0, 2.0, 2.0], [0.0, 1.0, 5.0], [3.0, 3.0, 3.0], [-1.0, 0.5, 0.25])
    exact, *others = resting_points(
        family,
        imaml(1.0, **EXACTLY, cg_steps=1),
        fo_maml(**EXACTLY, regularizer=1.0),
        fo_b_maml(1.0, 0.1, **EXACTLY, rule=FORWARD),
    )
    assert np.allclose(others, exact, rtol=0, atol=1e-9)


# -- one dimension, random -----------------------------------------------------------------------


def test_relative_errors_on_a_quadratic_in_one_dimension():
    """-νc/(h + νc) forward and ν²c²/(h² - ν²c²) symmetric, with h = a + λ."""
    rng = np.random.default_rng(4)
    numbers = jnp.asarray(
        rng.uniform([0.1, 0.5, 0.2, -2, -2, 0.01], [2, 2, 3, 2, 2, 0.15], (50, 6))
    )

    def errors(numbers):
        a, lam, c, b, e, nu = numbers
        task = Task(lambda x: 0.5 * a * (x - b) ** 2, lambda x: 0.5 * c * (x - e) ** 2)
        theta = jnp.ones(())
        exact = lam * c * ((a * b + lam * theta) / (a + lam) - e) / (a + lam)

        def error(rule):
            method = fo_b_maml(lam, nu, 1, 1.0, rule=rule, solve=newton_solve)
            return method(task, theta).gradient / exact - 1

        return jnp.stack([error(FORWARD), error(SYMMETRIC)])

    found = jax.jit(jax.vmap(errors))(numbers)
    a, lam, c, _, _, nu = np.asarray(numbers).T
    assert np.allclose(found[:, 0], -nu * c / (a + lam + nu * c), rtol=1e-9)
    assert np.allclose(found[:, 1], (nu * c) ** 2 / ((a + lam) ** 2 - (nu * c) ** 2), rtol=1e-7)


def cosine_cases(count=300, seed=6):
    """f̂ = (a/2) p² + b cos p and f = c sin(ωp): μ = a + λ - |b|, ρ = |b|, L_f = c ω²."""
    rng = np.random.default_rng(seed)
    low, high = [0, -2, 0.1, 0.2, 0.5, -4, 0.05], [2, 2, 1, 2, 2, 4, 1]
    numbers = rng.uniform(low, high, (count, 7))
    # Some λ far above what is needed, others only just: μ between 0.1 and 1 for these.
    numbers[::2, 2] = np.maximum(numbers[::2, 2] + np.abs(numbers[::2, 1]) - numbers[::2, 0], 0.2)
    numbers[1::2, 2] += np.abs(numbers[1::2, 1])
    return jnp.asarray(numbers)


def test_the_error_of_inexact_solves_is_within_the_forward_bound():
    """C ν + 2 λ δ/ν with C = (2 λ g/μ²)(L_f + ρ g/μ), and δ from the certificate."""

    def one(numbers):
        a, b, lam, c, omega, theta, share = numbers
        task = Task(lambda p: 0.5 * a * p**2 + b * jnp.cos(p), lambda p: c * jnp.sin(omega * p))
        mu, smoothness = a + lam - jnp.abs(b), c * omega**2
        nu = share * safe_perturbation(mu, smoothness)
        size = 1 / (a + lam + jnp.abs(b) + nu * smoothness)
        options = {"rule": FORWARD, "strong_convexity": mu, "query_smoothness": smoothness}
        found = fo_b_maml(lam, nu, 12, size, **options)(task, theta)
        phi = fo_b_maml(lam, nu, 1500, size, **options)(task, theta).adapted
        slope = jax.grad(task.query)(phi)
        exact = lam * slope / (a + lam - b * jnp.cos(phi))
        g = jnp.abs(slope)
        constant = 2 * lam * g / mu**2 * (smoothness + jnp.abs(b) * g / mu)
        error = jnp.abs(found.gradient - exact)
        bound = error_bound(FORWARD, lam, found.certificate, constant, nu)
        return error, bound, jnp.abs(found.adapted - phi), found.certificate

    cases = cosine_cases()
    error, bound, distance, certificate = jax.jit(jax.vmap(one))(cases)
    assert np.all(distance <= certificate + 1e-14)
    assert np.all(error <= bound + 1e-12)


def test_a_common_start_leaves_an_error_of_the_accuracy_and_not_over_the_perturbation():
    """λ [q^K g/μ + K q^(K-1) α (ρ g/μ + L_f) ||θ - φ||] + C ν, with q = 1 - αμ and C as above,
    for the largest query gradient G on the way in place of g."""

    def one(numbers):
        a, b, lam, c, omega, theta, share = numbers
        task = Task(lambda p: 0.5 * a * p**2 + b * jnp.cos(p), lambda p: c * jnp.sin(omega * p))
        mu, rho, smoothness = a + lam - jnp.abs(b), jnp.abs(b), c * omega**2
        nu = 1e-2 * share * safe_perturbation(mu, smoothness)
        size, steps = 1 / (a + lam + rho + nu * smoothness), 6
        found = fo_b_maml(lam, nu, steps, size, rule=FORWARD)(task, theta)
        phi = proximal_reptile(lam, 1500, size)(task, theta).adapted
        slope = jax.grad(task.query)(phi)
        exact = lam * slope / (a + lam - b * jnp.cos(phi))
        g, gap, q = jnp.abs(slope), jnp.abs(theta - phi), 1 - size * mu
        most = g + smoothness * gap
        floor = q**steps * g / mu
        floor += steps * q ** (steps - 1) * size * (rho * g / mu + smoothness) * gap
        constant = 2 * lam * most / mu**2 * (smoothness + rho * most / mu)
        return jnp.abs(found.gradient - exact), lam * floor + constant * nu

    error, bound = jax.jit(jax.vmap(one))(cosine_cases())
    assert np.all(error <= bound + 1e-12)


def test_a_warm_start_of_one_side_divides_its_unfinished_convergence_by_the_perturbation():
    """ν × estimate tends to -λ (φ_2K - φ_K), of the unperturbed run; a common start is finite."""
    task, theta = logistic_task()
    nus = jnp.array([1e-6, 1e-5, 1e-4])

    def estimate(rule, start):
        return jax.vmap(
            lambda nu: fo_b_maml(0.5, nu, 10, 0.3, rule=rule, start=start)(task, theta).gradient
        )(nus)

    @jax.jit
    def everything():
        kinds = (FORWARD, "common"), (FORWARD, "warm"), (SYMMETRIC, "warm")
        ends = [proximal_reptile(0.5, steps, 0.3)(task, theta).adapted for steps in (10, 20)]
        return *(estimate(*kind) for kind in kinds), -0.5 * (ends[1] - ends[0])

    common, warm, both, drift = everything()
    assert float(jnp.linalg.norm(drift)) > 1e-5
    assert np.allclose(nus[0] * warm[0], drift, rtol=1e-2)
    exact = implicit_gradient(task, theta, 0.5)

    def error(found):
        return np.linalg.norm(np.asarray(found) - exact[None, :], axis=1)

    slope = np.polyfit(np.log(nus), np.log(error(warm)), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.02)
    # Both signs from one warm point: the drift cancels.
    assert np.all(error(common) < 0.3) and np.all(error(both) < 0.3)
    assert np.allclose(common[0], common[1], rtol=1e-3) and np.allclose(both[0], both[1], rtol=1e-3)


# -- by another route ----------------------------------------------------------------------------

CURVED, POINT = logistic_task(seed=2)


def test_unrolled_maml_is_the_derivative_of_its_value():
    steps = jnp.asarray(np.eye(4)) * 1e-5

    def with_regularizer(regularizer):
        method = maml(6, 0.4, regularizer=regularizer)
        kept = maml(6, 0.4, regularizer=regularizer, checkpointed=False)
        value = jax.vmap(lambda step: method(CURVED, POINT + step).value)
        differences = (value(steps) - value(-steps)) / 2e-5
        return method(CURVED, POINT).gradient, kept(CURVED, POINT).gradient, differences

    for found, kept, expected in jax.jit(lambda: [with_regularizer(0.0), with_regularizer(0.5)])():
        assert np.allclose(found, expected, rtol=1e-8)
        assert np.allclose(found, kept, rtol=1e-14)


def test_imaml_is_the_implicit_gradient_on_a_curved_task():
    methods = imaml(0.5, 8, 1.0, 4, solve=newton_solve), maml(400, 0.5, regularizer=0.5)
    found, long = jax.jit(lambda: [method(CURVED, POINT) for method in methods])()
    assert np.allclose(found.gradient, implicit_gradient(CURVED, POINT, 0.5), rtol=1e-10)
    assert np.allclose(long.gradient, found.gradient, rtol=1e-10)


def test_the_contrastive_rule_is_fo_b_maml_and_so_is_the_gradient_of_the_surrogate():
    arguments = 0.5, 0.02, 7, 0.3

    def all_three(rule):
        objective = lambda theta: surrogate(CURVED, theta, *arguments, rule=rule)  # noqa: E731
        methods = fo_b_maml(*arguments, rule=rule), contrastive(*arguments, rule=rule)
        return *(method(CURVED, POINT) for method in methods), jax.grad(objective)(POINT)

    rules = FORWARD, SYMMETRIC, THREE_POINT, of_order(4)
    for found, other, slope in jax.jit(lambda: [all_three(rule) for rule in rules])():
        scale = np.max(np.abs(found.gradient))
        # Rounding is divided by ν.
        assert np.allclose(other.gradient, found.gradient, rtol=0, atol=1e-13 * scale / 0.02)
        assert np.allclose(slope, found.gradient, rtol=0, atol=1e-13 * scale / 0.02)
        for name in ("value", "adapted", "residual_norm"):
            assert np.allclose(getattr(other, name), getattr(found, name), rtol=1e-13)


def test_the_contrastive_rule_for_other_hyperparameters():
    """A penalty per parameter, exp(w), and a direct term in the outer loss."""

    def inner(x, w):
        return CURVED.support(x) + 0.5 * jnp.sum(jnp.exp(w["penalty"]) * x**2)

    def outer(x, w):
        return CURVED.query(x) * w["scale"] + 0.1 * jnp.sum(w["penalty"] ** 2)

    w = {"penalty": jnp.array([-0.5, 0.3, 0.1, -1.0]), "scale": jnp.array(1.3)}

    def through(w):
        point = descend(lambda x: inner(x, w), jnp.zeros(4), 500, 0.3)
        return outer(point, w)

    def contrast(w):
        arguments = inner, outer, w, jnp.zeros(4), 2e-3, 500, 0.3
        return contrastive_gradient(*arguments, rule=of_order(4))

    (value, expected), found = jax.jit(lambda w: (jax.value_and_grad(through)(w), contrast(w)))(w)
    assert np.allclose(found.value, value, rtol=1e-12)
    for name in w:
        assert np.allclose(found.gradient[name], expected[name], rtol=0, atol=1e-9)


def test_the_surrogate_lies_where_concavity_puts_it():
    """(M_ν - M_0)/ν <= F <= (M_0 - M_-ν)/ν, and ν -> M_ν is concave."""
    options = {"inner_steps": 300, "inner_step_size": 0.4}

    @jax.jit
    @jax.vmap
    def values(theta):
        nus = jnp.linspace(-0.3, 0.3, 7)
        m = jax.vmap(lambda nu: perturbed_value(CURVED, theta, 1.0, nu, **options))(nus)
        exact = proximal_reptile(1.0, **options)(CURVED, theta).value
        below = surrogate(CURVED, theta, 1.0, 0.1, **options, rule=FORWARD)
        return m, exact, below, surrogate(CURVED, theta, 1.0, 0.1, **options)

    thetas = jnp.asarray(np.random.default_rng(0).normal(size=(30, 4)))
    m, exact, below, between = values(thetas)
    assert np.all(np.diff(m, n=2, axis=1) < 0)
    assert np.all((m[:, 4] - m[:, 3]) / 0.1 <= exact)
    assert np.all(exact <= (m[:, 3] - m[:, 2]) / 0.1)
    assert np.allclose(below, (m[:, 4] - m[:, 3]) / 0.1, rtol=1e-12)
    assert np.allclose(between, (m[:, 4] - m[:, 2]) / 0.2, rtol=1e-12)


def test_hf_maml_is_within_its_bound_of_one_step_maml():
    """(α/2) ρ ε ||v||² for f̂ = Σ sin, where ρ = 1; of order ε² in fact, with a third derivative."""
    task = Task(lambda x: jnp.sum(jnp.sin(x)), lambda x: jnp.sum(x**2))

    @jax.jit
    @jax.vmap
    def errors(theta, spacing):
        exact, found = maml(1, 0.3)(task, theta), hf_maml(0.3, spacing)(task, theta)
        v = fo_maml(1, 0.3)(task, theta).gradient
        bound = 0.5 * 0.3 * spacing * jnp.sum(v**2)
        return jnp.linalg.norm(found.gradient - exact.gradient), bound

    rng = np.random.default_rng(0)
    thetas, spacings = rng.normal(size=(200, 3)), 10.0 ** rng.uniform(-3, 1, 200)
    error, bound = errors(jnp.asarray(thetas), jnp.asarray(spacings))
    assert np.all(error <= bound)
    assert np.max(error / bound) > 0.1


def test_fo_muml_stops_at_its_accuracy_or_says_that_it_did_not():
    task, theta = logistic_task(seed=3)
    found = jax.jit(lambda: fo_muml(0.5, 0.3, 0.05, 200)(task, theta))()
    assert found.info.accurate
    assert found.residual_norm <= 0.05 * np.linalg.norm(found.gradient)
    fewer = int(found.info.steps) - 1
    # With the step 1/λ the first step is FO-MAML's.
    before, first, adapted = jax.jit(
        lambda: (
            fo_muml(0.5, 0.3, 0.05, fewer)(task, theta),
            fo_muml(2.0, 0.5, 1e-9, 1)(task, theta).adapted,
            fo_maml(1, 0.5)(task, theta).adapted,
        )
    )()
    assert not before.info.accurate and before.info.steps == fewer
    assert before.residual_norm > 0.05 * np.linalg.norm(before.gradient)
    assert np.allclose(first, adapted, rtol=1e-14)


def test_proximal_reptile_is_the_gradient_of_the_envelope():
    envelope = lambda theta: perturbed_value(CURVED, theta, 0.5, 0.0, 300, 0.4)  # noqa: E731
    h = 1e-5
    unit = h * jnp.eye(4)
    expected = jax.jit(jax.vmap(lambda d: (envelope(POINT + d) - envelope(POINT - d)) / (2 * h)))(
        unit
    )
    found = proximal_reptile(0.5, 300, 0.4)(CURVED, POINT)
    assert np.allclose(found.gradient, expected, rtol=1e-8)
    assert np.allclose(jax.grad(envelope)(POINT), found.gradient, rtol=1e-12)


def test_conjugate_gradients_report_a_regularizer_below_the_most_negative_curvature():
    """Curvatures -3 and 1 of the support loss, λ = 2: the system is indefinite."""
    task = Task(lambda x: 0.5 * jnp.sum(jnp.array([-3.0, 1.0]) * x**2), jnp.sum)
    message = (
        r"regularizer must exceed the most negative curvature .* got 2\.0 where conjugate "
        r"gradients met the curvature -(\d\.?\d*); more than \1 is needed"
    )
    method = imaml(2.0, 3, 0.1, 4)
    with pytest.raises(ValueError, match=message):
        method(task, jnp.ones(2))
    stationary = Task(task.support, lambda x: jnp.sum(x**2))  # no system to solve at 0
    found, enough, damped, trivial = jax.jit(
        lambda: (
            method(task, jnp.ones(2)),
            imaml(3.1, 3, 0.1, 4)(task, jnp.ones(2)),
            imaml(2.0, 3, 0.1, 4, damping=0.6)(task, jnp.ones(2)),
            method(stationary, jnp.zeros(2)),
        )
    )()
    assert not found.finite and np.all(np.isnan(found.gradient))
    assert np.all(np.isfinite(found.adapted)) and found.info.solve.smallest_curvature < 0
    # Damping lowers what is needed: (1 + d) λ > 3.
    assert enough.finite and damped.finite and trivial.finite
    with pytest.raises(ValueError) as refused:
        imaml(1.0, 3, 0.1, 4, damping=0.4)(task, jnp.ones(2))
    met, needed = re.search(r"curvature -(\S+); more than (\S+) is", str(refused.value)).groups()
    assert float(needed) == pytest.approx(float(met) / 1.4, rel=1e-5)
    assert 1.4 < float(met) <= 3.0
    # No numbers, no verdict on the regularizer: not finite, and no error that would mislead.
    unknown = Task(task.support, lambda x: jnp.sum(jnp.sqrt(x - 9.0)))
    assert not method(unknown, jnp.ones(2)).finite
