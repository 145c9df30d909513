"""Implicit differentiation and its solvers: closed forms, refusals, and published mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimator_cases import Case, assert_tree_same
from metagrad_cases import FEATURES, LABELS, assert_same

from metagrad import implicit, meta_gradient, problems, truncated
from metagrad.estimators import conjugate_gradient, dense, neumann

# x* solves A x = B w; the outer loss is ||x - c||² / 2 + ||w||² / 20.
A = np.array([[1.1, 0.4, -0.2], [0.4, 0.9, 0.3], [-0.2, 0.3, 0.7]])
B = np.array([[1.0, -0.5], [0.3, 0.8], [-1.2, 0.4]])
C = np.array([0.5, -1.0, 0.25])
W = np.array([0.7, -0.4])
RATE = 1.1


def _split(x):
    return {"a": x[:2], "b": x[2]}


def _join(state):
    return jnp.append(state["a"], state["b"])


def _slope(state, w):
    """The optimality condition of the inner problem, A x - B w."""
    return _split(A @ _join(state) - B @ w["w"])


def _outer(state, w):
    return 0.5 * jnp.sum((_join(state) - C) ** 2) + 0.05 * jnp.sum(w["w"] ** 2)


def _descend(state, w, t):
    return jax.tree.map(lambda x, g: x - RATE * g, state, _slope(state, w))


CONVERGED = Case(_outer, _descend, {"w": jnp.asarray(W)}, _split(jnp.zeros(3)), 400)


def _truth(regularizer=0.0):
    """What the theorem says with the system scaled by β, as x - step(x) is."""
    x = np.linalg.solve(A, B @ W)
    v = np.linalg.solve(RATE * A + regularizer * np.eye(3), x - C)
    return {"w": RATE * B.T @ v + 0.1 * W}


SOLVERS = {"dense": dense(), "cg": conjugate_gradient(3), "neumann": neumann(300), "default": None}


@pytest.mark.parametrize("regularizer", [0.0, 0.3])
@pytest.mark.parametrize("name", SOLVERS)
def test_gradient_at_a_fixed_point(name, regularizer):
    method = implicit(SOLVERS[name], regularizer=regularizer)
    for found in (CONVERGED.estimate(method), jax.jit(lambda: CONVERGED.estimate(method))()):
        assert_tree_same(found.gradient, _truth(regularizer))
        x = np.linalg.solve(A, B @ W)
        assert_tree_same(found.value, np.array(0.5 * np.sum((x - C) ** 2) + 0.05 * W @ W))
        assert_tree_same(found.info.final_state, _split(x))
        assert float(found.info.optimality_norm) <= 1e-14
        assert bool(found.finite)


@pytest.mark.parametrize("name", SOLVERS)
def test_gradient_with_a_stated_optimality_condition(name):
    # A x - B w without the factor β, so that a regularizer weighs more against it.
    found = CONVERGED.estimate(implicit(SOLVERS[name], optimality=_slope, regularizer=0.2))
    x = np.linalg.solve(A, B @ W)
    v = np.linalg.solve(A + 0.2 * np.eye(3), x - C)
    assert_tree_same(found.gradient, {"w": B.T @ v + 0.1 * W})


def test_stopping_early_is_measured_and_biased():
    # After T steps from 0, x_T - x* = -(I - βA)^T x*, and optimality is βA (x_T - x*).
    found = CONVERGED._replace(inner_steps=3).estimate(implicit())
    best = np.linalg.solve(A, B @ W)
    off = -np.linalg.matrix_power(np.eye(3) - RATE * A, 3) @ best
    assert_same(found.info.optimality_norm, np.linalg.norm(RATE * A @ off))
    v = np.linalg.solve(A, best + off - C)
    assert_tree_same(found.gradient, {"w": B.T @ v + 0.1 * W})


@pytest.mark.parametrize("solver", [dense(), neumann(200)])
def test_a_step_without_symmetry_is_transposed(solver):
    jacobian = np.array([[0.5, 0.4], [-0.1, 0.3]])
    case = Case(
        lambda x, w: 0.5 * jnp.sum((x - C[:2]) ** 2),
        lambda x, w, t: jacobian @ x + w,
        jnp.asarray(W),
        jnp.zeros(2),
        200,
    )
    x = np.linalg.solve(np.eye(2) - jacobian, W)
    truth = np.linalg.solve((np.eye(2) - jacobian).T, x - C[:2])
    wrong = np.linalg.solve(np.eye(2) - jacobian, x - C[:2])
    found = case.estimate(implicit(solver))
    assert_same(found.gradient, truth)
    assert np.max(np.abs(truth - wrong)) > 0.1
    with pytest.raises(ValueError, match=r"solver must fit the system: .* asymmetry of 0\.\d+"):
        case.estimate(implicit(conjugate_gradient(2)))
    _refused_under_jit(case, implicit(conjugate_gradient(2)))


def _refused_under_jit(case, method):
    found = jax.jit(lambda w: case._replace(w=w).estimate(method))(case.w)
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(found.gradient))
    assert np.isfinite(found.value)
    assert not found.finite


def test_the_default_condition_is_the_last_step():
    # x_t = (t / 10) x + w: at T = 5 the Jacobian is 1/2.
    case = Case(
        lambda x, w: 3.0 * x, lambda x, w, t: t / 10.0 * x + w, jnp.array(1.0), jnp.array(2.0), 5
    )
    with jax.numpy_dtype_promotion("standard"):
        found = case.estimate(implicit())
    assert_same(found.gradient, 3.0 / 0.5)


HESSIAN = np.diag([2.0, -1.0])


def _saddle(regularizer):
    """The identity as step, at a point where H x = w with an indefinite H."""
    case = Case(
        lambda x, w: jnp.sum(x * np.array([1.0, 3.0])),
        lambda x, w, t: x,
        jnp.asarray(W),
        jnp.asarray(np.linalg.solve(HESSIAN, W)),
        1,
    )
    condition = lambda x, w: HESSIAN @ x - w  # noqa: E731
    return case, implicit(conjugate_gradient(2), condition, regularizer)


@pytest.mark.parametrize("regularizer", [0.0, 0.5])
def test_an_indefinite_system_is_refused(regularizer):
    case, method = _saddle(regularizer)
    # The first direction searched is ∂loss/∂x = (1, 3), the second one A-conjugate to it.
    first = (2 * 1 - 1 * 9) / 10 + regularizer
    message = (
        rf"regularizer must leave a positive definite system .* got {regularizer}, "
        rf"with which it met the curvature {first:.6g}; more than 0.7 is needed"
    )
    with pytest.raises(ValueError, match=message):
        case.estimate(method)
    _refused_under_jit(case, method)


def test_a_regularizer_above_the_most_negative_curvature_is_enough():
    case, method = _saddle(1.5)
    truth = np.linalg.solve(HESSIAN + 1.5 * np.eye(2), [1.0, 3.0])
    assert_same(case.estimate(method).gradient, truth)
    # dense() asks for no definiteness.
    case, _ = _saddle(0.0)
    method = implicit(dense(), lambda x, w: HESSIAN @ x - w)
    assert_same(case.estimate(method).gradient, np.array([0.5, -3.0]))


def _expanding():
    """x → 3 x / 2 + w, at its repelling fixed point x = -2 w."""
    return Case(
        lambda x, w: 0.5 * jnp.sum(x**2), lambda x, w, t: 1.5 * x + w, jnp.array(1.0), -2.0, 3
    )


@pytest.mark.parametrize("terms", [1, 5, 2000])
def test_a_neumann_series_that_grows_is_refused(terms):
    grown = f"{2.0 * 1.5**terms:.3g}" if terms < 1000 else "(inf|nan)"
    message = rf"solver must reduce the residual, got one that grew it from 2 to {grown}; neumann"
    with pytest.raises(ValueError, match=message):
        _expanding().estimate(implicit(neumann(terms)))
    _refused_under_jit(_expanding(), implicit(neumann(terms)))
    assert_same(_expanding().estimate(implicit()).gradient, 4.0)


def test_a_singular_system_is_refused():
    case = Case(
        lambda x, w: jnp.sum(x), lambda x, w, t: x, jnp.asarray(W), jnp.array([1.0, 2.0]), 1
    )
    # Along ∂loss/∂x = (1, 1) the curvature of this system is 0.
    method = implicit(conjugate_gradient(1), lambda x, w: np.array([1.0, -1.0]) * x - w)
    with pytest.raises(ValueError, match=r"regularizer must leave .* met the curvature 0;"):
        case.estimate(method)
    _refused_under_jit(case, method)
    # x - step(x) is 0 everywhere.
    with pytest.raises(ValueError, match=r"solver must reduce the residual, .* to nan;"):
        case.estimate(implicit())
    _refused_under_jit(case, implicit())


def test_a_loss_without_a_slope_is_no_fault_of_the_solver():
    """No error, as after a run that diverged, and no number either."""
    case = Case(
        lambda x, w: jnp.sqrt(x), lambda x, w, t: 0.5 * x + w, jnp.array(0.0), jnp.array(0.0), 2
    )
    found = case.estimate(implicit())
    assert found.value == 0.0 and np.isnan(found.gradient) and not found.finite


def test_neumann_is_truncated_backpropagation_at_the_fixed_point():
    loss = problems.logistic(FEATURES, LABELS)

    def step(x, w, t):
        return x - 1.5 * (jax.grad(loss)(x) + jnp.exp(w) * x)

    w = jnp.array([-1.0, -2.0])
    settled, _ = jax.lax.scan(lambda x, _: (step(x, w, 0), None), jnp.zeros(2), length=1000)
    case = Case(lambda x, w: loss(x) + 0.1 * jnp.sum(w**2), step, w, settled, 5)
    exact = case.estimate(implicit()).gradient
    for terms in (1, 2, 5):
        series = case.estimate(implicit(neumann(terms)))
        assert_same(series.gradient, case.estimate(truncated(terms)).gradient)
        # What is left out shrinks with the residual, and is not nothing.
        assert np.max(np.abs(series.gradient - exact)) > 1e-6


# -- the solvers alone ---------------------------------------------------------------------------

RIGHT = np.array([1.0, 1.5, 0.5])


def _apply(v):
    return A @ v


def test_conjugate_gradients_are_best_in_their_krylov_space():
    for steps in (1, 2, 3):
        v, info = jax.jit(lambda k=steps: conjugate_gradient(k)(_apply, jnp.asarray(RIGHT)))()
        space = np.stack([np.linalg.matrix_power(A, k) @ RIGHT for k in range(steps)], axis=1)
        best = space @ np.linalg.solve(space.T @ A @ space, space.T @ RIGHT)
        assert_same(v, best)
        residual = RIGHT - A @ best
        assert info.residual_norms.shape == (steps + 1,)
        assert_same(info.residual_norms[0], np.linalg.norm(RIGHT))
        assert abs(info.residual_norms[-1] - np.linalg.norm(residual)) <= 1e-12
        assert abs(info.residual_norm - np.linalg.norm(residual)) <= 1e-12
        assert float(info.asymmetry) <= 1e-15
    assert np.max(np.abs(v - np.linalg.solve(A, RIGHT))) <= 1e-14


def test_conjugate_gradients_report_the_curvature_of_their_directions():
    residual, direction, met = RIGHT, RIGHT, []
    for _ in range(3):
        met.append(direction @ A @ direction / (direction @ direction))
        pace = residual @ residual / (direction @ A @ direction)
        following = residual - pace * A @ direction
        direction = following + following @ following / (residual @ residual) * direction
        residual = following
    assert np.argmin(met) > 0
    for steps in (1, 2, 3):
        _, info = conjugate_gradient(steps)(_apply, jnp.asarray(RIGHT))
        assert_same(info.smallest_curvature, min(met[:steps]))
    # Once the residual is rounding, it stands still and looks no further.
    v, info = conjugate_gradient(12)(_apply, jnp.asarray(RIGHT))
    assert_same(v, np.linalg.solve(A, RIGHT))
    assert_same(info.smallest_curvature, min(met), 1e-9)
    assert info.residual_norms.shape == (13,)
    _rests(info.residual_norms)


def _rests(norms):
    """From the first residual that is rounding on, nothing moves."""
    rest = norms[norms <= np.finfo(float).eps * norms[0]]
    assert 1 < len(rest) < len(norms)
    assert np.all(rest == rest[0])


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_conjugate_gradients_go_on_until_the_residual_is_rounding(scale):
    # A condition number of 100 takes many steps, through residuals of every size.
    curvatures = jnp.logspace(0.0, 2.0, 30)
    _, info = conjugate_gradient(120)(lambda v: curvatures * v, jnp.full(30, scale))
    shares = np.asarray(info.residual_norms) / info.residual_norms[0]
    assert np.any((shares < 1e-9) & (shares > 1e-13))
    _rests(info.residual_norms)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_conjugate_gradients_at_rest_can_be_differentiated(jacobian):
    # A quotient by 0 that is not used would still make the derivative NaN.
    def solution(b):
        v, info = conjugate_gradient(12)(_apply, b)
        return v, info.smallest_curvature

    assert_same(jacobian(solution)(jnp.asarray(RIGHT))[0], np.linalg.inv(A))
    assert all(np.all(np.isfinite(leaf)) for leaf in jacobian(solution)(jnp.zeros(3)))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_conjugate_gradients_measure_asymmetry(scale):
    skewed = A + np.array([[0.0, 0.3, 0.0], [-0.3, 0.0, 0.1], [0.0, -0.1, 0.0]])
    _, info = conjugate_gradient(1)(lambda v: skewed @ v, jnp.asarray(scale * RIGHT))
    image = skewed @ RIGHT
    expected = abs(RIGHT @ skewed @ image - image @ skewed @ RIGHT) / (image @ image)
    assert expected > 0.01
    assert_same(info.asymmetry, expected)


def test_dense_reports_its_residual():
    tilted = A + np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    v, info = dense()(lambda v: tilted @ v, jnp.asarray(RIGHT))
    assert_same(v, np.linalg.solve(tilted, RIGHT))
    assert info.residual_norms.shape == (2,)
    assert_same(info.residual_norms[0], np.linalg.norm(RIGHT))
    assert float(info.residual_norm) == float(info.residual_norms[1]) <= 1e-14
    assert float(info.smallest_curvature) == np.inf and float(info.asymmetry) == 0.0


@pytest.mark.parametrize("step_size", [1.0, 0.4])
def test_neumann_sums_the_series(step_size):
    shrink = np.eye(3) - step_size * A
    v, info = neumann(6, step_size)(_apply, jnp.asarray(RIGHT))
    powers = [np.linalg.matrix_power(shrink, k) @ RIGHT for k in range(7)]
    assert_same(v, step_size * sum(powers[:6]))
    assert_same(info.residual_norms, [np.linalg.norm(p) for p in powers])
    assert float(info.residual_norm) == float(info.residual_norms[-1])
    assert_same(info.residual_norm, np.linalg.norm(RIGHT - A @ v))
    assert float(info.smallest_curvature) == np.inf and float(info.asymmetry) == 0.0


@pytest.mark.parametrize("solver", [dense(), conjugate_gradient(4), neumann(4)])
def test_a_zero_right_hand_side_gives_zero(solver):
    v, info = solver(_apply, jnp.zeros(3))
    assert v.tolist() == [0.0, 0.0, 0.0]
    assert float(info.residual_norm) == 0.0 and float(info.asymmetry) == 0.0
    assert float(info.smallest_curvature) == np.inf
    flat = CONVERGED._replace(loss=lambda state, w: jnp.sum(w["w"]))
    assert flat.estimate(implicit(solver)).gradient["w"].tolist() == [1.0, 1.0]


# -- mistakes in published implementations -------------------------------------------------------
# Each is written out as its mathematics and put through the check that this library passes.

_rng = np.random.default_rng(11)
_factor = _rng.normal(size=(6, 6))
PROXIMAL_H = _factor @ _factor.T / 6 + 0.2 * np.eye(6)
PROXIMAL_B = _rng.normal(size=6)
STRENGTH = 2.0


def _check_proximal(gradient_of):
    """The inner problem xᵀHx/2 + (λ/2)||x - w||² has the meta-gradient (I + H/λ)⁻¹ ∂loss/∂x."""
    truth = np.linalg.solve(np.eye(6) + PROXIMAL_H / STRENGTH, PROXIMAL_B)
    assert_same(gradient_of(PROXIMAL_H, STRENGTH, PROXIMAL_B), truth)


def _ours(hessian, strength, right):
    def condition(x, w):
        return hessian @ x + strength * (x - w)

    w = jnp.arange(1.0, 7.0)
    best = jnp.asarray(np.linalg.solve(hessian + strength * np.eye(6), strength * np.asarray(w)))
    method = implicit(conjugate_gradient(6), condition)
    return meta_gradient(
        lambda x, w: jnp.sum(right * x), lambda x, w, t: x, w, best, 1, method=method
    ).gradient


def _hand_written(keep_old=False, scale=1.0):
    """Conjugate gradients on (H + λI) v = b, with two mistakes to switch on."""

    def gradient(hessian, strength, right):
        matrix = hessian + strength * np.eye(6)
        v, residual, direction = np.zeros(6), right, right
        for _ in range(6):
            image = matrix @ direction
            pace = residual @ residual / (scale * (direction @ image))
            v = v + pace * direction
            following = residual - pace * image
            turn = following @ following / (residual @ residual)
            direction = (residual if keep_old else following) + turn * direction
            residual = following
        return strength * scale * v

    return gradient


def _wrong_system(hessian, strength, right):
    return np.linalg.solve(2 * np.eye(6) + hessian / (strength + 10), right)


def test_the_proximal_check_passes_what_is_right():
    _check_proximal(_ours)
    _check_proximal(_hand_written())


@pytest.mark.parametrize(
    "mistaken",
    [
        pytest.param(_hand_written(keep_old=True), id="direction from the old residual"),
        pytest.param(_hand_written(scale=0.3), id="scaled denominator, residual unscaled"),
        pytest.param(_wrong_system, id="2 I + H / (λ + 10) instead of I + H / λ"),
    ],
)
def test_the_proximal_check_catches_published_mistakes(mistaken):
    with pytest.raises(AssertionError):
        _check_proximal(mistaken)
    truth = np.linalg.solve(np.eye(6) + PROXIMAL_H / STRENGTH, PROXIMAL_B)
    found = mistaken(PROXIMAL_H, STRENGTH, PROXIMAL_B)
    assert np.linalg.norm(found - truth) > 0.1 * np.linalg.norm(truth)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: implicit(regularizer=-0.5),
            ValueError,
            "regularizer must be .* 0, got -0.5",
        ),
        (lambda: conjugate_gradient(0), ValueError, "steps must be .* at least 1, got 0"),
        (lambda: conjugate_gradient(2.0), TypeError, "steps must be an integer .* got 2.0"),
        (lambda: neumann(-1), ValueError, "terms must be .* at least 1, got -1"),
        (lambda: neumann(3, 0.0), ValueError, "step_size must be positive, got 0.0"),
        (
            lambda: meta_gradient(*CONVERGED, method=implicit(), every_step=True),
            ValueError,
            r"every_step must be False with implicit\(\)",
        ),
        (
            lambda: CONVERGED.estimate(implicit(optimality=lambda x, w: _join(x))),
            TypeError,
            "optimality must return a pytree like its first argument",
        ),
        (
            lambda: CONVERGED._replace(
                start={"a": jnp.zeros(2), "b": jnp.float32(0.0)},
                step=lambda x, w, t: x,
                loss=lambda x, w: jnp.sum(x["a"]),
            ).estimate(implicit()),
            TypeError,
            "start must hold arrays of one dtype here, got float32 and float64",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
