from fractions import Fraction
from itertools import pairwise

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import FEATURES, LABELS, LOSSES, MINIMIZERS, assert_same, fixed_examples

from metagrad import problems

numbers = st.floats(-3.0, 3.0, allow_nan=False)


@pytest.mark.parametrize("name", LOSSES)
@fixed_examples
@given(x=st.tuples(numbers, numbers), direction=st.floats(0.0, 6.3))
def test_gradient_agrees_with_a_central_difference(name, x, direction):
    loss, x = jax.jit(LOSSES[name]), jnp.array(x)
    along = jnp.array([np.cos(direction), np.sin(direction)])
    width = 1e-5
    slope = (loss(x + width * along) - loss(x - width * along)) / (2 * width)
    exact = jnp.sum(jax.grad(loss)(x) * along)
    # Where a kink of Huber's slope lies in between, the difference is off by curvature * width.
    assert abs(slope - exact) <= 1e-4 * (1 + abs(exact))


@pytest.mark.parametrize("name", MINIMIZERS)
def test_minimizers_are_stationary_with_loss_zero(name):
    assert jnp.max(jnp.abs(jax.grad(LOSSES[name])(MINIMIZERS[name]))) <= 1e-15
    assert abs(LOSSES[name](MINIMIZERS[name])) <= 1e-15


@fixed_examples
@given(
    eigenvalues=st.tuples(st.floats(0.0, 9.0), st.floats(0.0, 9.0)),
    angle=st.floats(-7.0, 7.0),
    x=st.tuples(numbers, numbers),
    minimizer=st.tuples(numbers, numbers),
)
def test_quadratic_is_the_bowl_with_its_matrix(eigenvalues, angle, x, minimizer):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag(eigenvalues) @ turn.T
    matrix = (matrix + matrix.T) / 2
    offset = np.subtract(x, minimizer)
    scale = 1e-13 * (1 + max(eigenvalues) * np.sum(offset**2))
    expected = 0.5 * offset @ matrix @ offset
    loss = problems.quadratic(
        jnp.array(eigenvalues), rotation=angle, minimizer=jnp.array(minimizer)
    )
    same = problems.quadratic_from_matrix(matrix, minimizer=jnp.array(minimizer))
    assert abs(loss(jnp.array(x)) - expected) <= scale
    assert abs(same(jnp.array(x)) - expected) <= scale


def test_quadratic_rotation_turns_eigenvectors_counterclockwise():
    loss = problems.quadratic([1.0, 10.0], rotation=np.pi / 6)
    hessian = jax.hessian(loss)(jnp.zeros(2))
    first = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    assert_same(hessian @ first, first)


def test_quadratic_of_one_number():
    assert float(jax.grad(problems.quadratic(3.0, minimizer=1.0))(5.0)) == 12.0


def test_quadratic_accepts_traced_eigenvalues():
    # d/dq of q x²/2 is x²/2
    gradient = jax.grad(lambda q: problems.quadratic(q)(jnp.array([2.0, 4.0])))(jnp.ones(2))
    assert gradient.tolist() == [2.0, 8.0]
    curvatures = jnp.array([1.0, 2.0, 5.0])
    mapped = jax.vmap(lambda q: problems.quadratic(q)(2.0))(curvatures)
    assert mapped.tolist() == [float(problems.quadratic(q)(2.0)) for q in curvatures]


@fixed_examples
@given(curvature=st.floats(0.1, 9.0), half_width=st.floats(0.1, 2.0), x=numbers)
def test_huber_slope_is_the_clipped_bowl_slope(curvature, half_width, x):
    loss = problems.huber(curvature, half_width)
    slope = curvature * np.clip(x, -half_width, half_width)
    assert abs(jax.grad(loss)(x) - slope) <= 1e-14 * curvature * half_width
    # The slope integrates to the loss: a triangle up to the kink, then a rectangle.
    inside = min(abs(x), half_width)
    area = curvature * (inside**2 / 2 + (abs(x) - inside) * half_width)
    assert abs(loss(x) - area) <= 1e-13 * (1 + area)


def test_huber_sums_over_coordinates_and_traces_its_kink():
    assert float(problems.huber()(jnp.array([0.5, -3.0]))) == 0.125 + 2.5
    # Outside, c w (|x| - w/2) has derivative c (|x| - w) in the half-width w.
    assert float(jax.grad(lambda w: problems.huber(2.0, w)(3.0))(1.0)) == 4.0


def test_logistic_matches_its_definition():
    x, labels = jnp.array([0.3, -1.2]), np.asarray(LABELS)
    margins = labels * (np.asarray(FEATURES) @ np.asarray(x))
    expected = np.mean(np.log(1 + np.exp(-margins))) + 0.05 / 2 * np.sum(np.asarray(x) ** 2)
    assert_same(LOSSES["logistic"](x), expected, 1e-14)
    weights = -labels / (1 + np.exp(margins)) / len(labels)
    gradient = np.asarray(FEATURES).T @ weights + 0.05 * np.asarray(x)
    assert_same(jax.grad(LOSSES["logistic"])(x), gradient, 1e-13)


@pytest.mark.parametrize("label", [1, -1])
def test_logistic_does_not_overflow(label):
    loss = problems.logistic(jnp.array([[1.0]]), jnp.array([label]))
    x = jnp.array([-1e4 * label])  # wrong by a margin of 10000: exp would be infinite
    assert float(loss(x)) == 1e4
    assert jax.grad(loss)(x).tolist() == [-label]
    assert float(loss(-x)) == 0.0 and jax.grad(loss)(-x).tolist() == [0.0]


def test_log_cosh_matches_its_definition_near_and_far():
    x = jnp.array([0.7, -1.5])
    expected = np.log(np.cosh(0.7)) + 5 * np.log(np.cosh(1.5))
    assert_same(LOSSES["log_cosh"](x), expected, 1e-14)
    assert_same(jax.grad(LOSSES["log_cosh"])(x), [np.tanh(0.7), -5 * np.tanh(1.5)], 1e-14)
    assert jax.grad(LOSSES["log_cosh"])(jnp.array([1e5, -1e5])).tolist() == [1.0, -5.0]


@pytest.mark.parametrize("x", [1e-12, -3e-5, 0.02, -0.999, 1.0, 1.001, -40.0])
def test_log_cosh_keeps_its_digits_near_the_minimizer(x):
    with mpmath.workdps(60):
        exact = mpmath.log(mpmath.cosh(mpmath.mpf(x)))
    assert_same(problems.log_cosh(1.0)(jnp.asarray(x)), float(exact), 4e-15)
    assert_same(jax.grad(problems.log_cosh(1.0))(jnp.asarray(x)), np.tanh(x), 4e-15)
    curvature = jax.grad(jax.grad(problems.log_cosh(1.0)))(jnp.asarray(x))
    assert abs(curvature - np.cosh(x) ** -2) <= 1e-14


@fixed_examples
@given(
    breakpoints=st.lists(st.integers(-8, 8), min_size=1, max_size=4, unique=True).map(sorted),
    curvatures=st.lists(st.integers(0, 9), min_size=5, max_size=5),
    x=st.integers(-40, 40).map(lambda n: Fraction(n, 4)),
)
def test_piecewise_quadratic_integrates_its_curvature_twice(breakpoints, curvatures, x):
    curvatures = curvatures[: len(breakpoints) + 1]
    loss = problems.piecewise_quadratic(
        [float(b) for b in breakpoints], [float(c) for c in curvatures]
    )
    # In exact arithmetic: walk from 0 to x through the breakpoints in between.
    inside = [b for b in breakpoints if min(0, x) < b < max(0, x)]
    stops = [Fraction(0), *(inside if x > 0 else inside[::-1]), x]
    value = slope = Fraction(0)
    for start, stop in pairwise(stops):
        middle = (start + stop) / 2
        curvature = curvatures[sum(b < middle for b in breakpoints)]
        value += slope * (stop - start) + Fraction(curvature, 2) * (stop - start) ** 2
        slope += curvature * (stop - start)
    assert float(loss(float(x))) == float(value)
    assert float(jax.grad(loss)(float(x))) == float(slope)


def test_lessard_recht_packard_has_the_published_slopes():
    slope = jax.grad(problems.lessard_recht_packard())
    assert [float(slope(x)) for x in (-2.0, 0.0, 0.5, 1.5, 4.0)] == [-50.0, 0.0, 12.5, 25.5, 76.0]
    assert slope(jnp.array([1.5])).tolist() == [25.5]


def test_rosenbrock_has_its_gradient_and_is_not_convex():
    loss = problems.rosenbrock(a=2.0, b=10.0)
    x, y = -1.0, 0.5
    expected = [-2 * (2 - x) - 4 * 10 * x * (y - x**2), 2 * 10 * (y - x**2)]
    assert_same(jax.grad(loss)(jnp.array([x, y])), expected, 1e-15)
    assert float(loss(jnp.array([2.0, 4.0]))) == 0.0
    assert np.linalg.eigvalsh(jax.hessian(loss)(jnp.array([0.0, 1.0])))[0] < 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problems.quadratic([1.0, -2.0]), r"eigenvalues must be at least 0, got .*-2"),
        (lambda: problems.quadratic([1.0, np.nan]), r"eigenvalues must be finite, got .*nan"),
        (lambda: problems.quadratic(jnp.ones((2, 2))), r"eigenvalues must have shape \(n,\)"),
        (lambda: problems.quadratic([1.0], rotation=0.1), r"rotation\) must have shape \(2,\)"),
        (lambda: problems.quadratic([1.0, 2.0], rotation=[0.1]), r"rotation must have shape \(\)"),
        (lambda: problems.quadratic([1.0], minimizer=[0.0, 0.0]), r"minimizer must have shape"),
        (lambda: problems.quadratic_from_matrix([[1.0, 2.0]]), r"matrix must be a square matrix"),
        (
            lambda: problems.quadratic_from_matrix([[1.0, 0.5], [0.0, 1.0]]),
            r"matrix must be symmetric, .* differs from its transpose by up to 0.5",
        ),
        (
            lambda: problems.quadratic_from_matrix([[1.0, 2.0], [2.0, 1.0]]),
            r"matrix must be positive semidefinite, .* smallest eigenvalue is -1",
        ),
        (
            lambda: problems.quadratic_from_matrix(np.eye(2), minimizer=[0.0]),
            r"minimizer must have shape \(2,\), got shape \(1,\)",
        ),
        (lambda: problems.huber(curvature=-1.0), r"curvature must be positive, got -1.0"),
        (lambda: problems.huber(half_width=0.0), r"half_width must be positive, got 0.0"),
        (lambda: problems.logistic([1.0], [1.0]), r"features must have shape \(m, n\)"),
        (lambda: problems.logistic(np.eye(2), [1.0]), r"labels must have shape \(2,\)"),
        (lambda: problems.logistic(np.eye(2), [0.0, 1.0]), r"labels must each be -1 or \+1, got"),
        (lambda: problems.logistic(np.eye(2), [1.0, 1.0], -0.1), r"l2 must be at least 0, got"),
        (lambda: problems.log_cosh([0.0]), r"scales must be positive, got \[0.0\]"),
        (
            lambda: problems.piecewise_quadratic([2.0, 1.0], [1.0, 1.0, 1.0]),
            r"breakpoints must increase strictly, got \[2.0, 1.0\]",
        ),
        (
            lambda: problems.piecewise_quadratic([1.0], [1.0, -1.0]),
            r"curvatures must be at least 0, got",
        ),
        (
            lambda: problems.piecewise_quadratic([1.0], [1.0]),
            r"curvatures must have shape \(2,\), got shape \(1,\)",
        ),
        (lambda: problems.piecewise_quadratic(1.0, [1.0]), r"breakpoints must have shape \(n,\)"),
        (lambda: problems.lessard_recht_packard()(jnp.ones(2)), r"x must have shape \(\) or \(1,"),
        (lambda: problems.rosenbrock(b=0.0), r"b must be positive, got 0.0"),
        (lambda: problems.rosenbrock()(jnp.ones(3)), r"x must have shape \(2,\), got shape \(3,"),
        (lambda: problems.quadratic([1.0])(jnp.ones(3)), r"x must have shape \(1,\), got shape"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problems.quadratic(["a"]), r"eigenvalues must hold real numbers, got"),
        (lambda: problems.huber(curvature=1j), r"curvature must hold real numbers, got 1j"),
        (lambda: problems.quadratic([1.0, 2.0])([0.0, 0.0]), r"x must be an array .* got a list"),
    ],
)
def test_bad_types_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
