"""Quadratic families: every closed form against autodiff, or NumPy, of what it is the form of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

import livejax
from metagrad import quadratic_families as families
from metagrad import quadratic_fields as fields
from metagrad.tasks import task

LAMBDA, STEP_SIZE = 0.7, 0.11


def drawn(seed, tasks=4, d=3, one_curvature=False):
    """Random tasks: positive support curvatures, query curvatures of both signs."""
    rng = np.random.default_rng(seed)

    def matrices(shift):
        roots = rng.normal(size=(tasks, d, d))
        return roots @ roots.swapaxes(1, 2) / d - shift * np.eye(d)

    a, c = matrices(0.0), matrices(0.3)
    if one_curvature:
        a = np.broadcast_to(a[:1], a.shape)
    b, e = rng.normal(size=(2, tasks, d))
    return families.quadratics(*(jnp.asarray(part) for part in (a, b, c, e)))


def on_a_line(seed, tasks=3):
    a, b, c, e = np.random.default_rng(seed).uniform(0.2, 3, size=(4, tasks))
    return families.quadratics(*(jnp.asarray(part) for part in (a, b, c, e)))


FAMILIES = {"space": drawn(0), "line": on_a_line(1)}
INNERS = {
    "proximal": families.proximal(LAMBDA),
    "descent": families.descent(STEP_SIZE, 4),
    "regularized descent": families.descent(STEP_SIZE, 4, LAMBDA),
}


def start(family):
    shape = family.data.center.shape[1:]
    return jnp.asarray(np.random.default_rng(5).normal(size=shape))


def by_definition(one, theta, inner):
    """The inner solve written out with autodiff; the exact one is Newton's step."""
    regularizer = 0.0 if inner == "descent" else LAMBDA

    def objective(phi):
        return one.support(phi) + 0.5 * regularizer * jnp.sum((phi - theta) ** 2)

    if inner == "proximal":
        gradient, hessian = jax.grad(objective)(theta), jax.hessian(objective)(theta)
        if theta.ndim == 0:
            return theta - gradient / hessian
        return theta - jnp.linalg.solve(hessian, gradient)
    phi = theta
    for _ in range(4):
        phi = phi - STEP_SIZE * jax.grad(objective)(phi)
    return phi


def mean_over_tasks(family, of_task):
    count = family.data.center.shape[0]
    return sum(of_task(task(family, i)) for i in range(count)) / count


cases = pytest.mark.parametrize(
    ("where", "inner"), [(where, inner) for where in FAMILIES for inner in INNERS]
)


def test_the_losses_are_the_bowls_of_the_docstring():
    family = FAMILIES["space"]
    a, b, c, e = (np.asarray(part) for part in family.data)
    x = np.asarray(start(family))
    for i in range(4):
        one = task(family, i)
        assert_same(one.support(x), 0.5 * (x - b[i]) @ a[i] @ (x - b[i]))
        assert_same(one.query(x), 0.5 * (x - e[i]) @ c[i] @ (x - e[i]))


def test_query_losses_are_the_support_losses_unless_given():
    data = families.quadratics(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])).data
    assert_same(data.query_curvature, data.curvature)
    assert_same(data.query_center, data.center)


@cases
def test_adapted_points_and_meta_loss(where, inner):
    family, theta = FAMILIES[where], start(FAMILIES[where])
    points = families.adapted_points(family, theta, INNERS[inner])
    expected = [by_definition(task(family, i), theta, inner) for i in range(len(points))]
    assert_same(points, jnp.stack(expected))
    losses = [task(family, i).query(point) for i, point in enumerate(expected)]
    assert_same(families.meta_loss(family, theta, INNERS[inner]), np.mean(losses))


@cases
def test_maml_is_the_gradient_of_the_meta_loss_and_its_matrix_the_hessian(where, inner):
    family, theta = FAMILIES[where], start(FAMILIES[where])

    def written_out(theta):
        return mean_over_tasks(family, lambda one: one.query(by_definition(one, theta, inner)))

    field = fields.maml(family, INNERS[inner])
    assert_same(fields.value(field, theta), jax.grad(written_out)(theta), 1e-11)
    assert_same(field.matrix, jax.hessian(written_out)(theta), 1e-11)


@cases
def test_fo_maml_reptile_and_joint_training_are_their_definitions(where, inner):
    family, theta = FAMILIES[where], start(FAMILIES[where])
    definitions = {
        fields.fo_maml: lambda one: jax.grad(one.query)(by_definition(one, theta, inner)),
        fields.reptile: lambda one: theta - by_definition(one, theta, inner),
        lambda family, _: fields.joint_training(family): lambda one: jax.grad(one.query)(theta),
    }
    for method, definition in definitions.items():
        found = fields.value(method(family, INNERS[inner]), theta)
        assert_same(found, mean_over_tasks(family, definition), 1e-11)


def perturbed_solution(data, i, theta, nu):
    a, b, c, e = (np.asarray(part)[i] for part in data)
    matrix = a + nu * c + LAMBDA * np.eye(len(b))
    return np.linalg.solve(matrix, a @ b + nu * c @ e + LAMBDA * np.asarray(theta))


@pytest.mark.parametrize("nu", [0.3, 0.01])
def test_fo_b_maml_is_the_difference_of_perturbed_solutions(nu):
    family = FAMILIES["space"]
    theta = start(family)
    solved = {
        s: [perturbed_solution(family.data, i, theta, s * nu) for i in range(4)] for s in (-1, 0, 1)
    }
    low, middle, high = (np.array(solved[s]) for s in (-1, 0, 1))
    for difference, expected in (
        ("forward", -LAMBDA * (high - middle) / nu),
        ("symmetric", -LAMBDA * (high - low) / (2 * nu)),
    ):
        field = fields.fo_b_maml(family, LAMBDA, nu, difference)
        assert_same(fields.value(field, theta), expected.mean(axis=0), 1e-11)


@pytest.mark.parametrize(("difference", "order"), [("forward", 1), ("symmetric", 2)])
def test_fo_b_maml_rests_where_maml_does_up_to_a_power_of_the_perturbation(difference, order):
    goal = fields.rest_point(fields.maml(FAMILIES["space"], INNERS["proximal"]))
    gaps = []
    for nu in (1e-3, 1e-4):
        field = fields.fo_b_maml(FAMILIES["space"], LAMBDA, nu, difference)
        gaps.append(float(jnp.linalg.norm(fields.rest_point(field) - goal)))
    assert np.log10(gaps[0] / gaps[1]) == pytest.approx(order, abs=0.01)


def test_relative_errors_of_fo_b_maml_on_one_task_on_the_line():
    """The forward form shrinks by νc / (h + νc), the symmetric one grows by ν²c² / (h² - ν²c²)."""
    a, c, nu = 2.0, 3.0, 0.2
    one = families.quadratics(*(jnp.array([x]) for x in (a, 0.5, c, -1.0)))
    exact = fields.value(fields.maml(one, families.proximal(LAMBDA)), 0.0)
    h = a + LAMBDA
    for difference, error in (
        ("forward", -nu * c / (h + nu * c)),
        ("symmetric", (nu * c) ** 2 / (h**2 - (nu * c) ** 2)),
    ):
        found = fields.value(fields.fo_b_maml(one, LAMBDA, nu, difference), 0.0)
        assert float(found / exact) - 1 == pytest.approx(error, rel=1e-12)


# Where the methods come to rest.


@pytest.mark.parametrize("seed", range(5))
def test_rest_points_on_the_line_are_weighted_means_of_the_centers(seed):
    """With query = support: weights a λ² / (a + λ)² of MAML, a λ / (a + λ) of the others."""
    a, b = np.random.default_rng(seed).uniform(0.1, 4, size=(2, 3))
    family = families.quadratics(jnp.asarray(a), jnp.asarray(b))
    h, inner = a + LAMBDA, families.proximal(LAMBDA)
    q = 1 - STEP_SIZE * a
    steps = families.descent(STEP_SIZE, 4)
    weights = [
        (fields.maml(family, inner), a * LAMBDA**2 / h**2),
        (fields.fo_maml(family, inner), a * LAMBDA / h),
        (fields.reptile(family, inner), a * LAMBDA / h),
        (fields.joint_training(family), a),
        (fields.fo_b_maml(family, LAMBDA, 0.1), a * LAMBDA**2 / h / (h + 0.1 * a)),
        (
            fields.fo_b_maml(family, LAMBDA, 0.1, "symmetric"),
            a * LAMBDA**2 / (h**2 - (0.1 * a) ** 2),
        ),
        (fields.maml(family, steps), a * q**8),
        (fields.fo_maml(family, steps), a * q**4),
        (fields.reptile(family, steps), 1 - q**4),
    ]
    for field, weight in weights:
        assert_same(fields.rest_point(field), np.average(b, weights=weight))


def test_the_two_quadratics():
    """Fractions by hand."""
    family, inner = families.two_quadratics(), families.proximal(1.0)
    one_step = families.descent(0.1, 1)
    for method, of_bilevel, of_one_step in (
        (fields.maml, 9 / 34, 1 / 10),
        (fields.fo_maml, 9 / 14, 1 / 2),
        (fields.reptile, 9 / 14, 9 / 10),
    ):
        assert float(fields.rest_point(method(family, inner))) == pytest.approx(of_bilevel)
        assert float(fields.rest_point(method(family, one_step))) == pytest.approx(of_one_step)
    assert float(fields.rest_point(fields.joint_training(family))) == pytest.approx(0.9)
    query = families.quadratics(
        jnp.array([1.0, 9.0]), jnp.array([0.0, 1.0]), jnp.ones(2), jnp.array([0.5, 0.2])
    )
    for method, expected in ((fields.maml, 9 / 13), (fields.fo_maml, -1 / 3)):
        assert float(fields.rest_point(method(query, inner))) == pytest.approx(expected)


@pytest.mark.parametrize("regularizer", [0.1, 1.0, 10.0, 1000.0])
def test_the_error_of_fo_maml_on_two_quadratics(regularizer):
    """|F'| = v_1 v_2 λ |1 / (a_1 + λ) - 1 / (a_2 + λ)| / (2 (v_1 + v_2)), v = a λ / (a + λ)."""
    error = fields.fo_maml_error(families.two_quadratics(), families.proximal(regularizer))
    inverse = 1 / (np.array([1.0, 9.0]) + regularizer)
    v = np.array([1.0, 9.0]) * regularizer * inverse
    expected = v.prod() * regularizer * abs(inverse[0] - inverse[1]) / v.sum() / 2
    assert abs(float(error)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("inner", INNERS)
def test_fo_maml_is_right_for_one_task_and_for_one_support_curvature(inner):
    for seed in range(3):
        shared = drawn(seed, one_curvature=True)
        one = drawn(seed, tasks=1)
        for family in (shared, one):
            assert bool(fields.shares_support_curvature(family))
            assert jnp.linalg.norm(fields.fo_maml_error(family, INNERS[inner])) < 1e-12
        other = drawn(seed)
        assert not fields.shares_support_curvature(other)
        assert jnp.linalg.norm(fields.fo_maml_error(other, INNERS[inner])) > 1e-4


@cases
def test_the_error_of_fo_maml_is_a_covariance(where, inner):
    """mean_i (R_i - R) g_i, whatever R is: here a matrix drawn at random."""
    family = FAMILIES[where]
    rest = fields.rest_point(fields.fo_maml(family, INNERS[inner]))
    points = families.adapted_points(family, rest, INNERS[inner])
    d = rest.shape[0] if rest.ndim else 1
    slopes = jax.vmap(jax.grad(family.query))(points, family.data).reshape(-1, d)
    a = np.asarray(families.as_matrices(family).curvature)
    responses = np.eye(d) - np.asarray(INNERS[inner](jnp.asarray(a))) @ a
    responses = responses - np.random.default_rng(9).normal(size=(d, d))
    expected = np.einsum("nij,nj->i", responses, np.asarray(slopes)) / len(a)
    found = fields.fo_maml_error(family, INNERS[inner]).reshape(-1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


# What is refused, and what is kept.


def test_the_perturbation_limit_is_where_the_first_problem_stops_being_convex():
    for family in FAMILIES.values():
        limit = float(fields.perturbation_limit(family, LAMBDA))
        a, _, c, _ = families.as_matrices(family)
        d = a.shape[-1]

        def least(nu, a=a, c=c, d=d):
            return np.linalg.eigvalsh(np.asarray(a - nu * c) + LAMBDA * np.eye(d)).min()

        assert least(limit * (1 - 1e-6)) > 0 > least(limit * (1 + 1e-6))
        fields.fo_b_maml(family, LAMBDA, limit * (1 - 1e-6), "symmetric")
        fields.fo_b_maml(family, LAMBDA, limit * (1 + 1e-6), "forward")
        with pytest.raises(ValueError, match="perturbation must leave every"):
            fields.fo_b_maml(family, LAMBDA, limit * (1 + 1e-6), "symmetric")
    dome = families.quadratics(*(jnp.array([x]) for x in (1.0, 0.0, -1.0, 0.0)))
    assert float(fields.perturbation_limit(dome, LAMBDA)) == np.inf
    with pytest.raises(ValueError, match=r"smallest eigenvalue is -0\.3"):
        fields.fo_b_maml(dome, LAMBDA, 2.0, "forward")


def test_a_regularizer_too_small_for_the_curvature_is_refused():
    saddle = families.quadratics(jnp.array([1.0, -2.0]), jnp.zeros(2))
    assert_same(families.adapted_points(saddle, 1.0, families.proximal(3.0)), [0.75, 3.0])
    for refused in (
        lambda: families.adapted_points(saddle, 1.0, families.proximal(1.5)),
        lambda: fields.perturbation_limit(saddle, 1.5),
    ):
        with pytest.raises(ValueError, match=r"regularizer must leave .* eigenvalue is -0\.5"):
            refused()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: families.quadratics(jnp.ones((2, 3)), jnp.ones(2)), "curvature must have shape"),
        (lambda: families.quadratics(jnp.ones((2, 2, 3)), jnp.ones((2, 2))), "curvature must have"),
        (lambda: families.quadratics(jnp.ones(2), jnp.ones(3)), "center must have shape"),
        (
            lambda: families.quadratics(jnp.ones(2), jnp.ones(2), jnp.ones(1)),
            "query_curvature must",
        ),
        (lambda: families.quadratics(*[jnp.ones(2)] * 3, jnp.ones(1)), "query_center must have"),
        (
            lambda: families.quadratics(jnp.array([jnp.nan]), jnp.ones(1)),
            "curvature must be finite",
        ),
        (
            lambda: families.quadratics(jnp.array([[[1.0, 1.0], [0.0, 1.0]]]), jnp.ones((1, 2))),
            "differs from its transpose by up to 1",
        ),
        (lambda: families.proximal(0.0), "regularizer must be positive, got 0.0"),
        (lambda: families.descent(-1.0, 1), "inner_step_size must be positive, got -1.0"),
        (lambda: families.descent(1.0, 0), "inner_steps must be an integer of at least 1, got 0"),
        (lambda: families.descent(1.0, 1, -1.0), "regularizer must be at least 0"),
        (
            lambda: families.adapted_points(FAMILIES["line"], jnp.ones(1), INNERS["proximal"]),
            "theta must have shape",
        ),
        (
            lambda: fields.value(fields.joint_training(FAMILIES["space"]), jnp.ones(2)),
            "theta must have shape",
        ),
        (
            lambda: fields.fo_b_maml(FAMILIES["line"], 1.0, 0.1, "backward"),
            "difference must be 'forward' or 'symmetric', got 'backward'",
        ),
        (lambda: fields.fo_b_maml(FAMILIES["line"], 1.0, -0.1), "perturbation must be positive"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_single_precision_is_kept():
    family = families.quadratics(*(x.astype(jnp.float32) for x in drawn(2).data))
    for inner in INNERS.values():
        field = fields.maml(family, inner)
        assert field.matrix.dtype == field.offset.dtype == jnp.float32
        assert fields.rest_point(field).dtype == jnp.float32
    assert fields.fo_b_maml(family, 1.0, 0.1, "symmetric").matrix.dtype == jnp.float32


def test_a_live_figure_may_move_the_tasks():
    """Traced curvatures, regularizer and perturbation, and livejax compiles it."""

    def figure(a, regularizer, nu):
        family = families.quadratics(jnp.stack([a, 9.0]), jnp.array([0.0, 1.0]))
        inner = families.proximal(regularizer)
        steps = families.descent(0.1, 3)
        return [
            fields.rest_point(field)
            for field in (
                fields.maml(family, inner),
                fields.fo_maml(family, steps),
                fields.fo_b_maml(family, regularizer, nu, "symmetric"),
            )
        ] + [fields.perturbation_limit(family, regularizer)]

    arguments = jnp.array(1.0), jnp.array(1.0), jnp.array(0.1)
    plain, traced = figure(*arguments), jax.jit(figure)(*arguments)
    assert_same(jnp.stack(traced), jnp.stack(plain))
    assert livejax.compile(figure, *arguments).source
