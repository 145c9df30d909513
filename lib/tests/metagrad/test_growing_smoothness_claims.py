"""The numbered claims of the chapter "A smoothness that grows, and steps that survive it"."""

import math
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from experiments import load
from metagrad.cosine_valley import Valley, valley_constants, valley_gradient, valley_point
from metagrad.divergence_window import divergence_window, lyapunov_exponent
from metagrad.growing_smoothness import (
    Smoothness,
    averaged_smoothness,
    bilevel_smoothness,
    largest_gradient,
    unrolled_smoothness,
)
from metagrad.outer_bounds import (
    clipped_choice,
    clipped_iterations,
    normalized_average,
    oracle_complexity,
    plain_choice,
    plain_iterations,
)
from metagrad.task_constants import convex_support, nonconvex_support

VALLEYS = ((1.0, 1.0, 1.0), (1.0, -1.0, 1.0), (0.0, -0.9, 1.0), (0.5, 0.8, 0.4))


class Line:
    """The cosine valley in plain numpy: its adapted point by bisection, then Newton."""

    def __init__(self, a, v, lam):
        self.a, self.v, self.lam = a, v, lam
        self.A, self.m = a + lam, a + lam - abs(v)
        self.L0, self.L1 = (lam / self.m) ** 2, lam * abs(v) / self.m**2
        self.edge = 2 * (self.A - v) ** 2 / lam**2  # 2/F''(0)

    def start(self, x):
        return x + (self.a * x - self.v * np.sin(x)) / self.lam

    def adapted(self, w):
        w = np.asarray(w, float)
        middle, reach = self.lam * w / self.A, abs(self.v) / self.A
        low, high = middle - reach, middle + reach
        for _ in range(9):
            half = (low + high) / 2
            below = self.start(half) < w
            low, high = np.where(below, half, low), np.where(below, high, half)
        x = (low + high) / 2
        for _ in range(5):
            x = x - self.lam * (self.start(x) - w) / (self.A - self.v * np.cos(x))
        return x

    def value(self, w):
        return self.adapted(w) ** 2 / 2

    def slope(self, w):
        x = self.adapted(w)
        return self.lam * x / (self.A - self.v * np.cos(x))

    def step_star(self):
        x = np.linspace(1e-4, 60, 600_001)
        product = (self.A - self.v * np.cos(x)) * (self.A - self.v * np.sin(x) / x)
        return 2 * product.min() / self.lam**2


@pytest.mark.parametrize("numbers", VALLEYS)
def test_the_valley_is_explicit_and_its_curvature_has_no_bound(numbers):
    a, v, lam = map(mpmath.mpf, numbers)

    def adapted(w):
        return mpmath.findroot(
            lambda x: a * x - v * mpmath.sin(x) + lam * (x - w),
            (lam * w - 1) / (a + lam),
            solver="newton" if abs(v) < 0.7 * (a + lam) else "secant",
            maxsteps=200,
        )

    def objective(w):
        return adapted(w) ** 2 / 2

    line = Line(*numbers)
    with mpmath.workdps(40):
        for x in (0.3, -2.0, 7.1):
            w = x + (a * x - v * mpmath.sin(x)) / lam
            made = valley_point(Valley(*numbers), x)
            assert abs(adapted(w) - x) < 1e-12
            assert abs(made.meta_parameter - float(w)) < 1e-13 * (1 + abs(float(w)))
            assert abs(made.value - float(objective(w))) < 1e-12
            assert abs(made.gradient - float(mpmath.diff(objective, w))) < 1e-9
            assert abs(made.curvature - float(mpmath.diff(objective, w, 2))) < 1e-7
    # Both signs, in proportion to x, at the places that the proof names.
    k = np.arange(10, 4000)
    x = np.pi / 2 + np.pi * k
    bends = np.asarray(valley_point(Valley(*numbers), x).curvature)
    signs = np.where(k % 2 == 0, 1.0, -1.0)
    lam, v = numbers[2], numbers[1]
    expected = lam**2 / line.A**2 - signs * lam**2 * v * x / line.A**3
    np.testing.assert_allclose(bends, expected, rtol=1e-9)
    assert bends.max() > 100 and bends.min() < -100
    # Only one stationary point, and a gradient that grows at most linearly.
    w = np.concatenate([np.linspace(-50, 50, 2000), [1e-3, -1e-3]])
    w = w[w != 0]
    assert np.all(np.sign(line.slope(w)) == np.sign(w))
    assert np.all(abs(line.slope(w)) <= line.L0 * abs(w) * (1 + 1e-9))


class Plane(NamedTuple):
    """A random nonconvex task in two dimensions: sums of cosines, and a bowl in the query."""

    directions: np.ndarray
    sizes: np.ndarray
    query_directions: np.ndarray
    query_sizes: np.ndarray
    bowl: float
    pull: float

    def constants(self):
        norms = np.linalg.norm(self.directions, axis=1)
        query = np.linalg.norm(self.query_directions, axis=1)
        L, rho = np.sum(abs(self.sizes) * norms**2), np.sum(abs(self.sizes) * norms**3)
        return L, rho, self.bowl + np.sum(abs(self.query_sizes) * query**2)

    def smoothness(self):
        L, rho, query = self.constants()
        m = self.pull - L
        return (self.pull / m) ** 2 * query, self.pull * rho / m**2

    def support_hessian(self, x):
        inner = np.cos(self.directions @ x) * self.sizes
        return -np.einsum("j,jk,jl->kl", inner, self.directions, self.directions)

    def adapted(self, w):
        x = w.copy()
        for _ in range(60):  # Newton's method; the inner problem is strongly convex
            g = -self.directions.T @ (self.sizes * np.sin(self.directions @ x))
            g = g + self.pull * (x - w)
            x = x - np.linalg.solve(self.support_hessian(x) + self.pull * np.eye(2), g)
            if np.linalg.norm(g) < 1e-13:
                break
        assert np.linalg.norm(g) < 1e-9
        return x

    def query_slope(self, x):
        wave = self.query_sizes * np.sin(self.query_directions @ x)
        return self.bowl * x - self.query_directions.T @ wave

    def slope(self, w):
        x = self.adapted(w)
        system = self.support_hessian(x) + self.pull * np.eye(2)
        return self.pull * np.linalg.solve(system, self.query_slope(x))

    def value(self, w):
        x = self.adapted(w)
        return self.bowl * x @ x / 2 + np.sum(self.query_sizes * np.cos(self.query_directions @ x))


def planes(seed, count):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        made = Plane(
            rng.normal(size=(3, 2)), rng.normal(size=3) * 0.5, rng.normal(size=(2, 2)),
            rng.normal(size=2), rng.uniform(0.3, 2.0), 1.0,
        )  # fmt: skip
        yield made._replace(pull=made.constants()[0] * rng.uniform(1.4, 4.0))


def test_growing_smoothness_holds_and_no_constant_can_be_lowered():
    rng = np.random.default_rng(1)
    worst = 0.0
    for task in planes(0, 40):
        L0, L1 = task.smoothness()
        L, rho, query = task.constants()
        made = bilevel_smoothness(nonconvex_support(task.pull, L, rho, query))
        np.testing.assert_allclose([float(made.at_rest), float(made.growth)], [L0, L1], rtol=1e-12)
        for _ in range(10):
            w = rng.normal(size=2) * 6
            other = w + rng.normal(size=2) * 10 ** rng.uniform(-2, 1)
            here, there = task.slope(w), task.slope(other)
            allowed = (L0 + L1 * np.linalg.norm(here)) * np.linalg.norm(w - other)
            ratio = np.linalg.norm(here - there) / allowed
            worst = max(worst, ratio)
    assert 0.05 < worst <= 1.0
    # The example that attains both constants, for any size of the gradient.
    lam, m, rho, query = 2.0, 1.3, 0.7, 1.9
    L0, L1 = (lam / m) ** 2 * query, lam * rho / m**2
    for size in (0.0, 1.0, 300.0):
        s, x = m * size / lam, 1e-7
        w = (m * x + rho * x**2 / 2) / lam  # integral of H/λ
        slope = lam * (s - query * x) / (m + rho * x)
        assert abs(abs(slope - size) / w / (L0 + L1 * size) - 1) < 1e-6


def test_the_mean_over_tasks_needs_its_spread():
    line = Line(1.0, 1.0, 1.0)
    assert line.L0 == line.L1 == 1.0
    # The mirrored pair of the proof: no gradient, and a curvature as large as one likes.
    for k in (50, 500):
        x = np.pi / 2 + 2 * np.pi * k
        center = line.start(x)
        mirrored = -line.slope(2 * center - (center + np.array([-1e-4, 0.0, 1e-4])))
        slope = (line.slope(center + np.array([-1e-4, 0.0, 1e-4])) + mirrored) / 2
        assert abs(slope[1]) < 1e-9 * abs(line.slope(center))
        bend = (slope[2] - slope[0]) / 2e-4
        assert abs(bend) > 0.9 * (x / 8 - 0.25)
    # With the spread in L0 the mean over shifted valleys obeys the inequality.
    rng = np.random.default_rng(2)
    for r in (1.0, 1.4):
        for shift in (1.0, 4.0, 9.0):
            w = rng.uniform(-40, 40, 400)
            other = w + rng.normal(size=400) * 10 ** rng.uniform(-3, 1.5, 400)
            parts = [line.slope(w + s) for s in (-shift, shift)]
            mean, there = (
                np.mean(parts, 0),
                np.mean([line.slope(other + s) for s in (-shift, shift)], 0),
            )
            zeta = max(float(np.max(np.mean(np.abs(parts), 0) - r * abs(mean))), 0.0)
            made = averaged_smoothness(Smoothness(line.L0, line.L1), zeta, slope=r)
            bound = (float(made.at_rest) + float(made.growth) * abs(mean)) * abs(w - other)
            assert np.all(abs(mean - there) <= bound * (1 + 1e-9))
            # (b): the root mean square of the deviations is a valid spread.
            rms = float(np.max(np.sqrt(np.mean((np.array(parts) - mean) ** 2, 0))))
            assert np.all(np.mean(np.abs(parts), 0) <= rms + abs(mean) + 1e-12)


def test_the_constants_of_K_steps_must_grow_with_K():
    # (a) for random nonconvex tasks
    rng = np.random.default_rng(4)
    worst = 0.0
    for task in planes(3, 25):
        L, rho, query = task.constants()
        beta, steps = rng.uniform(0.05, 0.6) / L, int(rng.integers(1, 6))
        q = 1 + beta * L
        L0 = q ** (2 * steps) * query
        L1 = beta * rho / (1 - beta * L) * sum((q**2 / (1 - beta * L)) ** k for k in range(steps))
        made = unrolled_smoothness(L, rho, query, beta, steps)
        np.testing.assert_allclose([float(made.at_rest), float(made.growth)], [L0, L1], rtol=1e-12)

        def slope(w, task=task, beta=beta, steps=steps):
            jacobian, x = np.eye(2), w
            for _ in range(steps):
                jacobian = jacobian @ (np.eye(2) - beta * task.support_hessian(x))
                wave = task.sizes * np.sin(task.directions @ x)
                x = x + beta * task.directions.T @ wave
            return jacobian @ task.query_slope(x)

        for _ in range(10):
            w = rng.normal(size=2) * 4
            other = w + rng.normal(size=2) * 10 ** rng.uniform(-2, 0.5)
            here = slope(w)
            allowed = (L0 + L1 * np.linalg.norm(here)) * np.linalg.norm(w - other)
            worst = max(worst, np.linalg.norm(here - slope(other)) / allowed)
    assert 0.02 < worst <= 1.0
    # (a) for convex losses
    made = unrolled_smoothness(2.0, 3.0, 4.0, 0.2, 5, convex=True)
    assert float(made.at_rest) == 4.0
    np.testing.assert_allclose(float(made.growth), 1.5 * (0.6**-5 - 1), rtol=1e-12)

    # (c) two starts far apart, in one dimension, with a convex support loss
    for beta, L, rho in ((0.3, 1.0, 0.5), (0.05, 7.0, 2.0), (0.9, 1.1, 3.0)):
        for steps in (1, 2, 5, 20):

            def run(w, beta=beta, L=L, rho=rho, steps=steps):
                """The product of the Jacobians from the start w, the slope summed up by pieces."""
                product, x = 1.0, w
                for _ in range(steps):
                    near = min(abs(x), L / rho)
                    product *= 1 - beta * (L - rho * near)
                    x -= beta * np.sign(x) * (L * near - rho * near**2 / 2)
                return product

            far = L / rho + (steps - 1) * beta * L**2 / (2 * rho)
            low, high = run(0.0), run(far)
            assert abs(high - 1) < 1e-12  # no step of the far run meets a curvature
            s, at_rest = 1e9, 4.0
            implied = ((high - low) * s / far - at_rest) / (low * s)
            power = (1 - beta * L) ** -steps - 1
            needed = rho / L * power / (1 + (steps - 1) * beta * L / 2)
            np.testing.assert_allclose(implied, needed, rtol=1e-6)
            allowed = float(unrolled_smoothness(L, rho, at_rest, beta, steps, convex=True).growth)
            assert implied <= allowed * (1 + 1e-12)
            assert allowed <= needed * (1 + (steps - 1) * beta * L / 2) * (1 + 1e-9)
    # At one point, in one dimension, linear growth suffices, as the text says after the proof.
    beta, L = 0.3, 2.0

    def bowl(x):
        """Convex, with second derivative 1 - cos x, and third derivative at most 1."""
        return x**2 / 2 + jnp.cos(x)

    for steps in (1, 4, 12):

        def judged(w, steps=steps):
            x = jax.lax.fori_loop(0, steps, lambda _, x: x - beta * (x - jnp.sin(x)), w)
            return 1.7 * jnp.cos(x) + 40 * x

        slope = jax.jacfwd(judged)
        at = jnp.linspace(-9.0, 9.0, 401)
        slopes, bends = jax.jit(jax.vmap(lambda w, f=slope: (f(w), jax.jacfwd(f)(w))))(at)
        bound = 1.7 + steps * beta / (1 - beta * L) * abs(slopes)
        assert bool(jnp.all(abs(bends) <= bound * (1 + 1e-12)))
    np.testing.assert_allclose(jax.grad(bowl)(0.7), 0.7 - np.sin(0.7), rtol=1e-12)

    # (b) and (d) by differentiating the runs
    beta, L, ell, r, s, most = 0.15, 2.0, 4.0, 0.3, 1.7, 7

    def derivatives(loss, query, at):
        """Of F after 1, ..., 7 steps: the first two derivatives."""

        def objective(w):
            def step(w, _):
                w = w - beta * jax.grad(loss)(w)
                return w, query(w)

            return jax.lax.scan(step, w, None, length=most)[1]

        slope = jax.jacfwd(objective)
        return map(np.asarray, jax.jit(lambda w: (slope(w), jax.jacfwd(slope)(w)))(at))

    def convex(z):
        return ell * z[1] ** 2 / 2 + r * z[0] ** 2 + r * (1 - jnp.cos(z[0])) * jnp.sin(z[1])

    hessian = jax.vmap(jax.hessian(convex))(jnp.asarray(rng.uniform(-9, 9, (500, 2))))
    assert float(jnp.min(jnp.linalg.eigvalsh(hessian))) >= -1e-12
    counts = np.arange(1, most + 1)
    slopes, bends = derivatives(lambda x: L * jnp.cos(x), lambda x: 1.5 * x**2, 0.0)
    assert np.all(slopes == 0)
    np.testing.assert_allclose(bends, (1 + beta * L) ** (2 * counts) * 3.0, rtol=1e-12)
    slopes, bends = derivatives(convex, lambda z: s * z[1], jnp.zeros(2))
    found = abs(bends[:, 0, 0]) / np.linalg.norm(slopes, axis=1)
    left = 1 - beta * ell
    terms = ((1 - 2 * beta * r) ** 2 / left) ** (counts - 1)
    np.testing.assert_allclose(found, beta * r / left * np.cumsum(terms), rtol=1e-12)
    assert found[-1] > 2 * found[-2] > 4 * found[-3]
    for r, ell in ((0.1, 0.4), (0.2, 0.9)):  # from ℓ = 4r on the ratio is above 1
        assert (1 - 2 * r) ** 2 > 1 - ell


def test_the_descent_lemma_and_the_steepest_slope():
    rng = np.random.default_rng(5)
    for numbers in VALLEYS:
        line = Line(*numbers)
        w, other = rng.uniform(-60, 60, (2, 2000))
        value, slope = line.value(w), line.slope(w)
        bend = line.L0 + line.L1 * abs(slope)
        bound = value + slope * (other - w) + bend * (other - w) ** 2 / 2
        assert np.all(line.value(other) <= bound * (1 + 1e-12) + 1e-12)
        for share in (0.2, 0.6, 1.0):
            step = share / bend
            decrease = value - line.value(w - step * slope)
            assert np.all(decrease >= step * slope**2 / 2 - 1e-12 * value)
        limit = line.L1 * value + np.sqrt(line.L1**2 * value**2 + 2 * line.L0 * value)
        assert np.all(abs(slope) <= limit * (1 + 1e-12))
        made = largest_gradient(Smoothness(line.L0, line.L1), float(value[0]))
        assert abs(made - limit[0]) < 1e-12 * limit[0]
    for task in planes(6, 15):
        L0, L1 = task.smoothness()
        w, other = rng.normal(size=(2, 2)) * 5
        g = task.slope(w)
        bend = L0 + L1 * np.linalg.norm(g)
        bound = task.value(w) + g @ (other - w) + bend * np.sum((other - w) ** 2) / 2
        assert task.value(other) <= bound + 1e-9


def follow(line, w, move, steps):
    """The points of a run on the line, and the gradients there."""
    points, slopes = [w], [line.slope(w)]
    for _ in range(steps):
        points.append(points[-1] - move(slopes[-1]))
        slopes.append(line.slope(points[-1]))
    return np.array(points), np.array(slopes)


@pytest.mark.parametrize("numbers", VALLEYS[:2])
def test_clipped_descent_needs_no_more_steps_than_stated(numbers):
    line = Line(*numbers)
    smooth = Smoothness(line.L0, line.L1)
    step, longest = map(float, clipped_choice(smooth))
    assert step == 1 / (2 * line.L0) and longest == 1 / (2 * line.L1)
    for start in (3.0, -21.0):
        points, slopes = follow(
            line, start, lambda g: g * min(step, longest / max(abs(g), 1e-300)), 500
        )
        values = line.value(points)
        g = abs(slopes[:-1])
        drop = g**2 / (4 * (line.L0 + line.L1 * g))
        assert np.all(np.diff(values) <= -drop + 1e-12)
        for tolerance in (1.0, 0.1, 0.01):
            bound = 4 * values[0] * (line.L0 / tolerance**2 + line.L1 / tolerance)
            made = float(clipped_iterations(smooth, values[0], tolerance))
            np.testing.assert_allclose(made, bound, rtol=1e-12)
            assert np.sum(g > tolerance) <= bound
        assert abs(slopes[-1]) < 1e-6


def test_a_fixed_step_that_knows_its_start_is_safe():
    line = Line(0.5, 0.8, 0.4)
    smooth = Smoothness(line.L0, line.L1)
    for start in (1.0, 6.0):
        gap = float(line.value(start))
        steepest = line.L1 * gap + math.sqrt(line.L1**2 * gap**2 + 2 * line.L0 * gap)
        step = 1 / (line.L0 + line.L1 * steepest)
        assert abs(float(plain_choice(smooth, gap)) - step) < 1e-12 * step
        points, slopes = follow(line, start, lambda g, step=step: step * g, 400)
        drops = -np.diff(line.value(points))
        assert np.all(drops >= step * slopes[:-1] ** 2 / 2 - 1e-12)
        tolerance = 0.05
        bound = 2 * gap / (step * tolerance**2)
        assert np.sum(abs(slopes) > tolerance) <= bound
        made = float(plain_iterations(smooth, gap, tolerance))
        np.testing.assert_allclose(made, bound, rtol=1e-12)
        simpler = line.L0 + 2 * line.L1**2 * gap + line.L1 * math.sqrt(2 * line.L0 * gap)
        assert bound <= 2 * gap * simpler / tolerance**2 * (1 + 1e-12)


class Bumpy(Line):
    """The same support loss, judged by a query loss with many minima."""

    bump, pace = 3.0, 1.3

    def __init__(self, *numbers):
        super().__init__(*numbers)
        self.L0 *= 1 + self.bump * self.pace**2

    def value(self, w):
        x = self.adapted(w)
        return x**2 / 2 + self.bump * np.cos(self.pace * x)

    def slope(self, w):
        x = self.adapted(w)
        slope = x - self.bump * self.pace * np.sin(self.pace * x)
        return self.lam * slope / (self.A - self.v * np.cos(x))


@pytest.mark.parametrize("numbers", VALLEYS[:3])
def test_on_a_line_the_step_one_over_the_smoothness_at_rest_is_safe(numbers):
    starts = np.concatenate([np.linspace(-200, 200, 61), [0.01]])
    bumpy = Bumpy(*numbers)
    for share in (1.0, 0.4):
        steps = 1500 if numbers[0] else 300  # with a = 0 the safe step is very small
        points, slopes = follow(bumpy, starts, lambda g, s=share: s * g / bumpy.L0, steps)
        moves = np.diff(points, axis=0)
        first = np.sign(moves[0])
        assert np.all(moves * first >= -1e-12)  # in one direction only
        assert np.all(np.diff(bumpy.value(points), axis=0) <= 1e-9)
        if numbers[0]:
            assert np.max(abs(slopes[-1])) < 1e-5
        # No sign change of F' between two neighbors: no stationary point is jumped over.
        inside = points[:-1] + np.linspace(0.02, 0.98, 25)[:, None, None] * moves
        some = np.arange(0, steps, max(steps // 30, 1))
        between = bumpy.slope(inside[:, some])
        assert np.all(between * first <= 1e-9)
    line = Line(*numbers)
    points, _ = follow(line, starts, lambda g: 1.99 / line.L0 * g, 2000 if numbers[0] else 500)
    assert np.all(abs(points[1:]) <= abs(points[:-1]) * (1 + 1e-12) + 1e-12)
    if numbers[0]:
        assert np.max(abs(points[-1])) < 1e-3


def bump(u):
    base = np.maximum(0.0, 1.0 - (u + 0.6) ** 2 / 9.0) / 0.96
    return base**3, -(2.0 / 3.0) * (u + 0.6) / 0.96 * base**2


def carousel(w, n, eta):
    r, phi = np.hypot(*w), np.arctan2(w[1], w[0])
    angle = 2 * np.pi / n
    b, _ = bump(np.log(r))
    return r**2 / eta * ((1 - np.cos(angle)) / 2 - np.sin(angle) / n * b * np.sin(n * phi))


def carousel_slope(w, n, eta):
    r, phi = np.hypot(*w), np.arctan2(w[1], w[0])
    angle = 2 * np.pi / n
    b, slope = bump(np.log(r))
    radial = 1 - np.cos(angle) - np.sin(angle) / n * (2 * b + slope) * np.sin(n * phi)
    tangential = -np.sin(angle) * b * np.cos(n * phi)
    out = w / r
    return r / eta * (radial * out + tangential * np.array([-out[1], out[0]]))


def test_the_carousel_has_growing_smoothness_and_turns_for_ever():
    u = np.linspace(-4, 3, 100_001)
    b, slope = bump(u)
    assert np.max(abs(2 * b + slope)) < 2.5 and b.max() <= 1.14
    assert np.all(b[(u < -3.6) | (u > 2.4)] == 0)
    np.testing.assert_allclose(bump(0.0), (1.0, -0.4 / 0.96), rtol=1e-12)
    rng = np.random.default_rng(7)
    for n, eta in ((4, 0.5), (9, 1.0), (40, 2.0), (300, 0.1)):
        angle = 2 * np.pi / n
        phi = rng.uniform(0, 2 * np.pi, 4000)
        w = np.exp(rng.uniform(-4.5, 3.0, 4000)) * np.array([np.cos(phi), np.sin(phi)])
        r, g = np.hypot(*w), carousel_slope(w, n, eta)
        h = 1e-6 * r
        for axis in (0, 1):  # the gradient is the gradient of F
            shift = np.eye(2)[axis][:, None] * h
            differences = (carousel(w + shift, n, eta) - carousel(w - shift, n, eta)) / (2 * h)
            np.testing.assert_allclose(
                differences, g[axis], atol=1e-6 * np.max(np.hypot(*g) / r) * r.max()
            )
        sizes = np.hypot(*g)
        most = (1.14 * np.sin(angle) + 1.8 * (1 - np.cos(angle))) / eta
        least = (1 - np.cos(angle)) * (1 - 2.5 / np.pi) / eta
        assert np.all(sizes <= most * r * (1 + 1e-12))
        assert np.all(np.sum(g * w, axis=0) / r >= least * r * (1 - 1e-9))  # along every ray
        # Pairs of points: with L0 a little above s, and the L1 of the proof.
        L0, r0 = 1.05 * most, math.exp(-3.6)
        small = 0.02 * r0
        assert most * (r0 + small) / (r0 - small) <= L0
        M = hessian_bound(n, eta)
        L1 = M / (least * small)
        other = w * np.exp(rng.normal(size=4000) * 0.3) + 0.01 * rng.normal(size=(2, 4000)) * r
        change = np.hypot(*(carousel_slope(other, n, eta) - g))
        assert np.all(change <= (L0 + L1 * sizes) * np.hypot(*(other - w)) * (1 + 1e-9))
        near = w / r * small * rng.uniform(0.01, 1, 4000)
        change = np.hypot(*(carousel_slope(w, n, eta) - carousel_slope(near, n, eta)))
        assert np.all(change <= L0 * np.hypot(*(w - near)) * (1 + 1e-9))
        # Enlarged: the same L0, any growth, and a cycle at any height.
        for size in (0.01, 700.0):

            def enlarged(z, size=size, n=n, eta=eta):
                return size * carousel_slope(z / size, n, eta)

            there = enlarged(size * other)
            change = np.hypot(*(there - enlarged(size * w)))
            allowed = L0 + L1 / size * np.hypot(*enlarged(size * w))
            assert np.all(change <= allowed * np.hypot(*(size * (other - w))) * (1 + 1e-9))
            first = np.array([[size], [0.0]])
            turned = size * np.array([np.cos(angle), np.sin(angle)])
            moved = (first - eta * enlarged(first))[:, 0]
            np.testing.assert_allclose(moved, turned, atol=1e-12 * size)
            height = size**2 * carousel(first / size, n, eta)
            expected = size**2 * (1 - np.cos(angle)) / (2 * eta)
            np.testing.assert_allclose(height, expected, rtol=1e-12)
        # As the meta-objective of a task without support loss: L0 = M, and the step 1/M is safe.
        task = bilevel_smoothness(convex_support(1.3, 0.0, 0.0, M))
        assert float(task.at_rest) == pytest.approx(M) and float(task.growth) == 0
        drop = carousel(w, n, eta) - carousel(w - g / M, n, eta)
        assert np.all(drop >= sizes**2 / (2 * M) * (1 - 1e-9))
        # The cycle, exactly, and that it attracts.
        corners = np.array([np.cos(angle * np.arange(n + 1)), np.sin(angle * np.arange(n + 1))])
        moved = corners - eta * carousel_slope(corners, n, eta)
        np.testing.assert_allclose(moved[:, :-1], corners[:, 1:], atol=1e-12)
        run = np.array([1.0 + 0.1 / n, 0.02 / n])
        for _ in range(int(40 / np.sin(angle) ** 2) + 200):
            run = run - eta * carousel_slope(run, n, eta)
        assert abs(np.hypot(*run) - 1) < 1e-3
        # The product of matrices that the proof forms.
        q = 1 - 0.4 / 0.96
        c, s = np.cos(angle), np.sin(angle)
        product = np.array([[c, s], [-s, c]]) @ np.array([[c, q * s], [q * s, c]])
        np.testing.assert_allclose(np.trace(product), 2 * c**2, atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(product), c**2 - q**2 * s**2, atol=1e-12)
        assert np.max(abs(np.linalg.eigvals(product))) < 1
    assert most * eta < 0.03  # a step of a few hundredths of 1/L0, and it still turns


def hessian_bound(n, eta):
    """A bound on the second derivatives from a fine grid of one sector."""
    u, phi = np.meshgrid(np.linspace(-3.8, 2.6, 400), np.linspace(0, 2 * np.pi / n, 60))
    w = np.exp(u) * np.array([np.cos(phi), np.sin(phi)])
    h = 1e-6 * np.exp(u)
    columns = []
    for axis in (0, 1):
        shift = np.eye(2)[axis][:, None, None] * h
        change = carousel_slope(w + shift, n, eta) - carousel_slope(w - shift, n, eta)
        columns.append(change / (2 * h))
    return 1.2 * float(np.sqrt(np.max(np.sum(np.array(columns) ** 2, axis=(0, 1)))))


@pytest.mark.parametrize("numbers", VALLEYS)
def test_which_plain_steps_survive_in_the_valley(numbers):
    line, lam = Line(*numbers), numbers[2]
    star = line.step_star()
    starts = np.concatenate([np.linspace(0.05, 120, 150), [1000.0]])
    # (a) below: from everywhere
    for share in (0.3, 0.98):
        points, _ = follow(line, starts, lambda g, s=share: s * star * g, 300)
        assert np.all(abs(points[1:]) <= abs(points[:-1]) * (1 + 1e-12) + 1e-12)
        assert np.all(abs(points[-1]) < 0.99 * starts)
    # (b), (c)
    many = 2 * line.A * line.m / lam**2
    if numbers[1] > 0:
        np.testing.assert_allclose(star, line.edge, rtol=1e-6)
        np.testing.assert_allclose(star, 2 / line.L0, rtol=1e-6)
        assert np.all(abs(starts - line.edge * line.slope(starts)) < starts)  # at η⋆ itself
    else:
        assert 2 / line.L0 < star < many * (1 - 1e-3) and many < line.edge
        product = (line.A - line.v * np.cos(np.pi + np.array([-1e-5, 1e-5]))) * (
            line.A - line.v * np.sinc(1 + np.array([-1e-5, 1e-5]) / np.pi)
        )
        slope = (product[1] - product[0]) / 2e-5
        np.testing.assert_allclose(slope, -line.m * abs(line.v) / np.pi, rtol=1e-5)
        for step in (1.0001 * star, 1.02 * star, 0.5 * (star + line.edge)):
            # A cycle between w and -w, from the intermediate value.
            w = np.linspace(1e-3, 60, 200_001)
            above = step * line.slope(w) / w > 2
            place = int(np.argmax(above))
            assert above[place] and not above[0]
            low, high = w[place - 1], w[place]
            for _ in range(60):
                half = (low + high) / 2
                low, high = (low, half) if step * line.slope(half) > 2 * half else (half, high)
            assert abs(low - step * line.slope(low) + low) < 1e-9
    # (d): a start that diverges, constructed backwards, through intervals chosen as in the proof
    eta = 1.3 * many
    p = np.pi if numbers[1] < 0 else 2 * np.pi
    with mpmath.workdps(60):
        a, v, pull, step = (mpmath.mpf(z) for z in (*numbers, eta))
        A, m = a + pull, a + pull - abs(v)
        R = mpmath.mpf("1.15")
        width = mpmath.acos((A - step * pull**2 / (A * (1 + R))) / abs(v))
        assert 0 < width < mpmath.pi

        def image(x):
            """λ times where the step leads from the adapted point x."""
            return A * x - v * mpmath.sin(x) - step * pull**2 * x / (A - v * mpmath.cos(x))

        k, intervals = 40, []
        for _ in range(7):  # the next interval within the image of this one, on the other side
            low = mpmath.mpf(p) + 2 * mpmath.pi * k
            intervals.append(low)
            nearest = -image(low + width) / A
            k = int(mpmath.ceil((nearest + 3 - p) / (2 * mpmath.pi)))
        target = intervals[-1] + width / 2
        for low in reversed(intervals[:-1]):
            # x in [low, low + width] whose image is that of -target
            wanted = -(A * target - v * mpmath.sin(target))
            left, right = low, low + width
            assert (image(left) - wanted) * (image(right) - wanted) < 0
            for _ in range(190):
                half = (left + right) / 2
                same = (image(half) - wanted) * (image(left) - wanted) > 0
                left, right = (half, right) if same else (left, half)
            target = left
        x, sizes = target, [target]
        for _ in range(6):
            w = image(x) / pull
            left, right = pull * w / A - 1, pull * w / A + 1
            for _ in range(190):
                half = (left + right) / 2
                below = A * half - v * mpmath.sin(half) < pull * w
                left, right = (half, right) if below else (left, half)
            x = left
            sizes.append(abs(x))
        assert m > 0
        assert all(after > (1 + R) / 2 * before for before, after in pairwise(sizes))


def test_the_exponent_of_the_far_field():
    x = (np.arange(400_000) + 0.5) * 2 * np.pi / 400_000
    for numbers in (*VALLEYS, (0.3, -1.0, 1.2), (0.0, 0.6, 0.7)):
        line, (_, v, lam) = Line(*numbers), numbers
        h = line.A - v * np.cos(x)
        for eta in (0.1, 0.9, 2.3, 7.7, 31.0):
            factors = abs(1 - eta * lam**2 / (line.A * h))
            mean = np.mean(h / line.A * np.log(np.maximum(factors, 1e-300)))
            made = float(lyapunov_exponent(Valley(*numbers), eta))
            assert abs(made - mean) < 2e-4
        window = divergence_window(Valley(*numbers))
        low = float(window.low)
        below = np.linspace(1e-3, 0.999, 60) * low
        above = np.linspace(1.001, 8.0, 60) * low
        exponents = lyapunov_exponent(Valley(*numbers), np.concatenate([below, above]))
        assert np.all(exponents[:60] < 0) and np.all(exponents[60:] > 0)
        assert abs(float(window.high) - line.edge) < 1e-9 * line.edge
        assert (low < line.edge) == (v < 0)
    # (c) over the whole range of v / A, at the edge
    for y in np.linspace(0.01, 0.99, 99):
        assert float(lyapunov_exponent(Valley(0.0, -y, 1.0), 2 * (1 + y) ** 2)) > 0.7 * y
        assert float(lyapunov_exponent(Valley(0.0, y, 1.0), 2 * (1 - y) ** 2)) < 0
    # (d): at one step size in the window, all starts with cos x = 1 are on attracting cycles.
    for numbers in ((1.0, -1.0, 1.0), (0.0, -0.9, 1.0), (0.5, -0.3, 0.4)):
        line, (_, v, lam) = Line(*numbers), numbers
        eta = 2 * line.A * (line.A - v) / lam**2
        assert eta < line.edge
        w = line.start(2 * np.pi * np.arange(1, 9))
        np.testing.assert_allclose(w - eta * line.slope(w), -w, rtol=1e-12)
        moved = (w + 1e-6 - eta * line.slope(w + 1e-6)) + w
        factor = -(line.A + v) / (line.A - v)
        np.testing.assert_allclose(moved, factor * 1e-6, rtol=0.02)
        run = w + 1e-4
        for _ in range(600):
            run = run - eta * line.slope(run)
        np.testing.assert_allclose(run, w, atol=1e-5)
    for y in np.linspace(0.01, 1, 100):
        C = 1 + 2 * y
        chi = math.log((C + math.sqrt(C**2 - y**2)) / (1 + math.sqrt(1 - y**2)))
        chi += math.sqrt(C**2 - y**2) - C + math.sqrt(1 - y**2) - 1
        assert chi > 0.59 * y
        if y < 0.995:
            assert abs(float(lyapunov_exponent(Valley(0.0, -y, 1.0), 2 * (1 + y))) - chi) < 1e-9


def test_what_the_text_says_of_the_fates_near_the_window():
    found = load("divergence_window")
    rows = {name: {row["step_size"]: row for row in found[name]["rows"]} for name in found}
    row = rows["convex"][8.4]
    assert row["arrived"] == row["left"] == 0 and row["exponent"] < 0
    for row in (rows["convex"][8.8], rows["nonconvex"][2.7]):
        assert row["exponent"] < 0 < 0.25 < row["left"] and row["arrived"] == 0
    for name in ("convex", "nonconvex"):
        low, high = found[name]["window"]
        assert all(r["left"] >= 0.9 for r in found[name]["rows"] if low < r["step_size"] < high)
    assert rows["convex"][12.0]["left"] < 1
    line = Line(1.0, -1.0, 1.0)
    assert 2 * line.A * (line.A - line.v) / line.lam**2 == 12.0  # where (d) has its cycles


def test_the_average_gradient_of_normalized_descent_stays_below_the_bound():
    line, runs, steps = Line(1.0, 1.0, 1.0), 40, 250
    smooth = Smoothness(line.L0, line.L1)
    rng = np.random.default_rng(8)
    start = np.array([8.0, -5.0])
    gap, first = float(np.sum(line.value(start))), float(np.linalg.norm(line.slope(start)))
    tight = 0.0
    for alpha, share, sigma, b, omega in (
        (1.0, 1.0, 0.0, 0.0, 0.0), (1.0, 0.3, 0.0, 0.5, 0.0), (0.3, 1.0, 1.0, 0.0, 0.0),
        (0.1, 1.0, 2.0, 0.2, 3 / 32), (1.0, 1.0, 1.0, 1.0, 3 / 32),
    ):  # fmt: skip
        eta = share * alpha / (8 * line.L1)
        w, d, total = np.tile(start, (runs, 1)), None, 0.0
        error, past = None, None
        for _ in range(steps):
            g = line.slope(w)
            size = np.linalg.norm(g, axis=1, keepdims=True)
            total += float(np.mean(size))
            noise = sigma / np.sqrt(2) * rng.normal(size=g.shape)
            # The bias is as mean as it may be: it points against the gradient.
            bias = -(b + omega * size) * g / np.maximum(size, 1e-12)
            found = g + bias + noise
            d = found if d is None else (1 - alpha) * d + alpha * found
            if error is not None:  # step 2 of the proof
                expected = (1 - alpha) * (error + past - g) + alpha * (bias + noise)
                np.testing.assert_allclose(d - g, expected, atol=1e-12)
            error, past = d - g, g
            unit = d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-300)
            inner = np.sum(g * unit, axis=1)  # step 1
            assert np.all(inner >= size[:, 0] - 2 * np.linalg.norm(error, axis=1) - 1e-9)
            w = w - eta * unit
        bound = 2 * gap / (eta * steps) + 5 * eta * line.L0 / alpha + 4 * b
        bound += 4 * math.sqrt(alpha) * sigma + 4 * (sigma + omega * first) / (alpha * steps)
        made = normalized_average(
            smooth, gap, steps, eta, momentum=1 - alpha, noise=sigma, bias=b,
            relative_bias=omega, first_gradient=first,
        )  # fmt: skip
        np.testing.assert_allclose(float(made), bound, rtol=1e-9)
        assert total / steps <= bound
        tight = max(tight, total / steps / bound)
    assert tight > 0.1


def test_the_steps_of_the_corollary_suffice():
    rng = np.random.default_rng(9)
    for _ in range(200):
        L0, L1, gap, eps = 10 ** rng.uniform(-2, 2, 4)
        sigma = 0.0 if rng.random() < 0.3 else 10 ** rng.uniform(-3, 2)
        alpha = min(1.0, eps**2 / (1024 * sigma**2)) if sigma else 1.0
        steps = math.ceil(
            max(3136 * L0 * gap / eps**2, 128 * L1 * gap / eps, 32 * sigma / eps) / alpha
        )
        eta = min(math.sqrt(alpha * gap / (L0 * steps)), alpha / (8 * L1))
        b = eps / 8
        bound = 2 * gap / (eta * steps) + 5 * eta * L0 / alpha + 4 * b
        bound += 4 * math.sqrt(alpha) * sigma + 4 * sigma / (alpha * steps)
        assert bound <= eps * (1 + 1e-9)
        # The same with a bias that is partly relative.
        omega, first = rng.uniform(0, 3 / 32), 10 ** rng.uniform(-2, 3)
        longest = max(64 * sigma / eps, 64 * omega * first / eps)
        steps = math.ceil(max(3136 * L0 * gap / eps**2, 128 * L1 * gap / eps, longest) / alpha)
        eta = min(math.sqrt(alpha * gap / (L0 * steps)), alpha / (8 * L1))
        made = normalized_average(
            Smoothness(L0, L1), gap, steps, eta, momentum=1 - alpha, noise=sigma, bias=b,
            relative_bias=omega, first_gradient=first,
        )  # fmt: skip
        assert float(made) <= eps * (1 + 1e-9)
    powers = {
        (order, stochastic, sampled): oracle_complexity(
            order, stochastic_solver=stochastic, sampled_tasks=sampled
        ).total
        for order in (1, 2)
        for stochastic in (False, True)
        for sampled in (False, True)
    }
    assert [powers[1, True, False], powers[2, True, False]] == [6, 5]
    assert [powers[1, True, True], powers[2, True, True]] == [8, 7]
    assert [powers[1, False, False], powers[2, False, True]] == [2, 4]


def test_short_steps_on_a_line_never_leave_the_start_behind():
    """|w| <= max(|w_0|, c) for clipped steps, whatever the step size, as the text says."""
    for numbers in VALLEYS:
        slope = jax.jit(jax.vmap(lambda w, n=numbers: valley_gradient(Valley(*n), w)))
        for eta in (0.5, 10.0, 300.0):
            w = first = jnp.linspace(-60.0, 60.0, 121)
            for _ in range(60):
                w = w - jnp.clip(eta * slope(w), -1.0, 1.0)
                assert bool(jnp.all(jnp.abs(w) <= jnp.maximum(jnp.abs(first), 1.0) + 1e-9))
    smooth = bilevel_smoothness(valley_constants(Valley(1.0, -1.0, 1.0)))
    assert float(smooth.at_rest) == float(smooth.growth) == 1.0
    # A step that is unstable at the minimum is not repaired: no rest, unless 0 is hit exactly.
    line = Line(1.0, 1.0, 1.0)
    for eta in (2.1, 2.5, 12.5):
        points, _ = follow(line, 30.5, lambda g, e=eta: np.clip(e * g, -1, 1), 300)
        assert np.min(abs(points[-50:])) > 0.1
