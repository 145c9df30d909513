"""The numbered claims of the chapter "The first-order MAML proof"."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from metagrad_cases import assert_same
from perturbed_cases import (
    descent,
    inner,
    meta_gradient,
    query,
    random_tasks,
    solve,
    solve_all,
    support,
)

from metagrad.scale_free_bounds import (
    scale_free_forward,
    scale_free_perturbation,
    scale_free_symmetric,
)
from metagrad.task_constants import largest_perturbation

CASES = 120
norm = jnp.linalg.norm


def over_tasks(function, seed, *extra):
    """`function(losses, constants, theta, share of ν_max, *extra)` over random tasks."""
    losses, constants = random_tasks(CASES, seed)
    rng = np.random.default_rng(seed + 100)
    shares = 10.0 ** -rng.uniform(0.0, 2.0, CASES)
    shares[:15] = 1.0
    theta = rng.normal(size=(CASES, 3)) * 3.0
    found = jax.jit(jax.vmap(function))(
        losses, constants, jnp.asarray(theta), jnp.asarray(shares), *extra
    )
    return jax.tree.map(np.asarray, found)


def normals(seed, scale=1.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(CASES, 3)) * scale)


def below(actual, bound, slack=1e-9):
    return np.all(np.isfinite(actual)) and np.all(actual <= bound * (1 + slack) + 1e-10)


def test_a_nudge_moves_the_solution_by_at_most_what_is_stated():
    """All three parts of the lemma, for both signs and starts that differ."""

    def measured(p, c, theta, share, step, kick):
        nu = share * largest_perturbation(c)
        x, plus, minus, less = solve_all(p, c, theta, (0.0 * nu, nu, -nu, -0.3 * nu))
        other = solve(p, c, theta + step, -nu)
        g, g_less = (norm(jax.grad(lambda y: query(p, y))(y)) for y in (x, less))
        left = c.strong_convexity - nu * c.query_smoothness
        point = minus + kick
        residual = norm(jax.grad(inner(p, c, theta, -nu))(point))
        return {
            "up": (norm(plus - x), nu * g / left),
            "down": (norm(minus - x), nu * g / left),
            "loose": (nu * g / left, 2 * nu * g / c.strong_convexity),
            "two nudges": (norm(minus - less), 0.7 * nu * g_less / left),
            "two starts": (norm(other - minus), c.regularizer * norm(step) / left),
            "certificate": (norm(point - minus), residual / left),
        }

    found = over_tasks(measured, 0, normals(1), normals(2, 0.3))
    for name, (actual, bound) in found.items():
        assert below(actual, bound), name
        assert np.max(actual / bound) > 0.1, name


def test_the_derivative_of_the_nudged_point_is_the_meta_gradient():
    """Against derivatives of the solution itself, in ν and in θ, by automatic differentiation."""

    def measured(p, c, theta, share):
        velocity = jax.jacfwd(lambda nu: solve(p, c, theta, nu))(0.0 * share)
        slope = jax.grad(lambda theta: query(p, solve(p, c, theta, 0.0)))(theta)
        return -c.regularizer * velocity, slope, meta_gradient(p, c, theta, solve(p, c, theta, 0.0))

    by_nudge, by_start, formula = over_tasks(measured, 3)
    scale = np.linalg.norm(formula, axis=1, keepdims=True)
    assert np.max(np.abs(by_nudge - formula) / scale) < 1e-9
    assert np.max(np.abs(by_start - formula) / scale) < 1e-9


def test_the_query_loss_need_not_have_a_second_derivative():
    """f' has a kink at the adapted point: the curve still has a derivative there, from both sides.

    f̂ = a y²/2 and f = s y + c± y²/2 with c₊ on the right and c₋ on the left, so that x = 0 for
    θ = 0 and x_ν = -ν s / (a + λ + ν c).
    """
    a, lam, s, right, left = 0.7, 1.3, 2.0, 3.0, -1.0
    for nu in (1e-4, -1e-4):
        c = left if nu > 0 else right  # to the left of 0 for ν > 0
        x = -nu * s / (a + lam + nu * c)
        assert abs(nu * (s + c * x) + a * x + lam * x) < 1e-15
        assert abs(-lam * x / nu - lam * s / (a + lam)) < 1e-3


def test_the_surrogate_is_the_mean_query_loss_along_the_curve():
    """(M_ν - M_0)/ν by quadrature of f(x_u), and the slopes of the value in ν and in θ."""
    nodes, weights = np.polynomial.legendre.leggauss(24)

    def measured(p, c, theta, share):
        nu = share * largest_perturbation(c)

        def value(theta, nu):
            return inner(p, c, theta, nu)(jax.lax.stop_gradient(solve(p, c, theta, nu)))

        along = jnp.asarray((nodes + 1) / 2) * nu
        points = jax.vmap(lambda u: solve(p, c, theta, u))(jnp.concatenate([along, -along]))
        losses = jax.vmap(lambda y: query(p, y))(points).reshape(2, -1)
        means = losses @ jnp.asarray(weights / 2)
        there, here, back = (value(theta, sign * nu) for sign in (1.0, 0.0, -1.0))
        ends = solve_all(p, c, theta, (0.0 * nu, nu, -nu))
        order = [query(p, ends[1]), means[0], query(p, ends[0]), means[1], query(p, ends[2])]
        # The value as a function, differentiated for real: no stop_gradient.
        full = jax.grad(lambda t: inner(p, c, t, nu)(solve(p, c, t, nu)))(theta)
        danskin = c.regularizer * (theta - ends[1])
        quotients = jnp.stack([(there - here) / nu, (here - back) / nu])
        return means, quotients, jnp.stack(order), full, danskin, jnp.abs(here) / nu

    means, quotients, order, full, danskin, scale = over_tasks(measured, 5)
    assert np.all(np.abs(means - quotients) <= 1e-9 * (1 + scale[:, None] + np.abs(means)))
    assert np.all(np.diff(order, axis=1) >= -1e-9 * (1 + np.abs(order[:, 1:])))
    assert_same(full, danskin, 1e-9)


def test_every_line_of_both_proofs():
    """Each quantity beside its bound, and the two identities from which the errors are read."""

    def measured(p, c, theta, share):
        nu = share * largest_perturbation(c)
        x, plus, minus = solve_all(p, c, theta, (0.0 * nu, nu, -nu))
        f, fhat = (lambda y: query(p, y)), (lambda y: support(p, y))
        slope, steep, bent = jax.grad(f)(x), jax.hessian(f)(x), jax.hessian(fhat)(x)
        third = jax.jacfwd(jax.hessian(fhat))(x)
        h, g, lam, m = (
            bent + c.regularizer * jnp.eye(3),
            norm(slope),
            c.regularizer,
            c.strong_convexity,
        )
        rho, flat, d = (
            c.hessian_lipschitz,
            c.query_smoothness,
            nu * g / (m - nu * c.query_smoothness),
        )

        def scaled(vector):
            return lam * jnp.linalg.solve(h, vector)

        lines, rests = {}, []
        for sign, point in ((1.0, plus), (-1.0, minus)):
            move = point - x
            s = jax.grad(f)(point) - slope
            r = jax.grad(fhat)(point) - jax.grad(fhat)(x) - bent @ move
            cubic = r - 0.5 * third @ move @ move
            rests.append((move, s - steep @ move, cubic))
            if sign > 0:
                lines["1"] = norm(move), d
                lines["2"] = norm(s), flat * d
                lines["3"] = norm(r), rho * d**2 / 2
                lines["4"] = norm(scaled(s)), lam / m * flat * d
                lines["5"] = norm(scaled(r)) / nu, lam / m * rho * d**2 / (2 * nu)
                error = -lam * move / nu - scaled(slope)
                lines["6"] = norm(error), lam / m * (flat * d + rho * d**2 / (2 * nu))
                forward = error, scaled(s) + scaled(r) / nu
            lines[f"rest of f {sign}"] = (
                norm(s - steep @ move),
                c.query_hessian_lipschitz * d**2 / 2,
            )
            lines[f"rest of f̂ {sign}"] = norm(cubic), c.third_lipschitz * d**3 / 6
        (up, s_up, r_up), (down, s_down, r_down) = rests
        half, middle = (up - down) / 2, (up + down) / 2
        bend, fourth = c.query_hessian_lipschitz * d**2 / 2, c.third_lipschitz * d**3 / 6
        offset = (nu * flat * d + rho * d**2 / 2 + nu * bend + fourth) / m
        mixed = third @ half @ middle
        parts = steep @ middle + (s_up + s_down) / 2 + mixed / nu + (r_up - r_down) / (2 * nu)
        error = -lam * half / nu - scaled(slope)
        lines["S"] = norm(middle), offset
        lines["S 3"] = norm(steep @ middle + (s_up + s_down) / 2), flat * offset + bend
        lines["S 4"] = norm(mixed) / nu, rho * d * offset / nu
        lines["S 5"] = norm(r_up - r_down) / (2 * nu), fourth / nu
        total = lam / m * ((flat + rho * d / nu) * offset + bend + fourth / nu)
        lines["S 6"] = norm(error), total
        a = g / m
        b = 2 * c.query_hessian_lipschitz * a**2 + 4 / 3 * c.third_lipschitz * a**3
        c1 = 2 * lam * g / m**2 * (flat + rho * a)
        c2 = lam / m * (2 * a / m * (flat + 2 * rho * a) * (flat + rho * a) + b)
        c3 = lam / m**2 * (flat + 2 * rho * a) * b
        lines["C1"] = lines["6"][1], c1 * nu
        lines["C2, C3"] = total, c2 * nu**2 + c3 * nu**3
        return lines, (forward, (error, scaled(parts))), g

    lines, identities, g = over_tasks(measured, 7)
    for name, (actual, bound) in lines.items():
        assert below(actual, bound, 1e-8), name
    for error, parts in identities:
        assert np.all(np.abs(error - parts) <= 1e-9 * (1 + g[:, None]))
    for name in ("1", "2", "4", "6", "S"):
        assert np.max(lines[name][0] / lines[name][1]) > 0.03, name


def test_a_kink_attains_the_limit_of_the_forward_bound():
    """f̂'' + λ = m + ρ|y - x| and f = g (y - x) + L_q (y - x)²/2 satisfy (A) and (B) around x.

    At x - t, t > 0, the slope of the nudged problem is ν (g - L_q t) - m t - ρ t²/2. The nudged
    point is its root, written so that nothing cancels.
    """
    rng = np.random.default_rng(21)
    for lam, m, rho, flat, g in [(1.0, 1.5, 1.0, 1.25, 2.0), *rng.uniform(0.3, 3.0, (50, 5))]:
        limit = lam * g / m**2 * (flat + rho * g / (2 * m))
        for nu, near in ((0.4 * m / flat, 0.0), (1e-3, 0.9), (1e-6, 1 - 1e-4)):
            stiff = m + nu * flat
            t = 2 * nu * g / (stiff + np.sqrt(stiff**2 + 2 * rho * nu * g))
            assert abs(nu * (g - flat * t) - m * t - rho * t**2 / 2) <= 1e-12 * nu * g
            # λ/m (s + r/ν), which is the error: the difference of both sides would be rounding.
            error = lam / m * (flat * t + rho * t**2 / (2 * nu))
            assert abs(lam * g / m - lam * t / nu - error) <= 1e-12 * (1 + lam * g / m)
            d = nu * g / (m - nu * flat)
            assert error <= lam / m * (flat * d + rho * d**2 / (2 * nu))
            assert near * limit * nu <= error <= limit * nu


def test_one_task_has_no_wrong_resting_points():
    """Where ∇f(x) = 0 both estimates are 0; elsewhere the move is at least νg/(λ + L + νL_q)."""

    def measured(p, c, theta, share):
        nu = share * largest_perturbation(c)
        f = lambda y: query(p, y)  # noqa: E731

        def newton(_, y):  # where it does not arrive the case is left out
            return y - jnp.linalg.solve(jax.hessian(f)(y) + 1e-12 * jnp.eye(3), jax.grad(f)(y))

        still = jax.lax.fori_loop(0, 60, newton, theta)
        arrived = norm(jax.grad(f)(still)) < 1e-12
        w = still + jax.grad(lambda y: support(p, y))(still) / c.regularizer
        ends = solve_all(p, c, w, (0.0 * nu, nu, -nu))
        rest = jnp.max(norm(ends - still[None], axis=1)) / (1 + norm(still))
        x, plus, minus = solve_all(p, c, theta, (0.0 * nu, nu, -nu))
        g = norm(jax.grad(f)(x))
        least = nu * g / (c.regularizer + c.smoothness + nu * c.query_smoothness)
        return arrived, rest, norm(plus - x), least, norm(plus - minus), g

    arrived, rest, move, least, chord, g = over_tasks(measured, 9)
    assert np.sum(arrived) > CASES / 4
    assert np.max(rest[arrived]) < 1e-9
    assert np.all(move >= least * (1 - 1e-9) - 1e-10) and np.all(g > 0) and np.all(chord > 0)


def test_the_contrastive_rule_and_the_penalty_are_the_same_estimate():
    def measured(p, c, theta, share, one, other):
        nu = share * largest_perturbation(c)

        def energy(y, w):
            return support(p, y) + 0.5 * c.regularizer * jnp.sum((y - w) ** 2)

        partial = jax.grad(energy, 1)
        contrast = (partial(one, theta) - partial(other, theta)) / nu
        x, plus = solve_all(p, c, theta, (0.0 * nu, nu))

        def penalty(y):
            return query(p, y) + (energy(y, theta) - energy(x, theta)) / nu

        value = inner(p, c, theta, nu)(plus) - inner(p, c, theta, 0.0)(x)
        return (
            contrast, -c.regularizer * (one - other) / nu, nu * jax.grad(penalty)(plus),
            penalty(plus) - value / nu, penalty(plus + one) - penalty(plus), nu,
        )  # fmt: skip

    contrast, estimate, slope, gap, higher, nu = over_tasks(measured, 11, normals(1), normals(2))
    assert_same(contrast, estimate, 1e-12)
    assert np.max(np.abs(slope)) < 1e-8 and np.max(np.abs(gap * nu)) < 1e-9
    assert np.all(higher > 0)


def test_the_scale_free_bounds_are_those_of_the_fixed_nudges():
    """The chapter's formulas, and the errors of estimates with noisy solves below them."""

    def measured(p, c, theta, share, noise):
        lam, m, rho, flat = (
            c.regularizer, c.strong_convexity, c.hessian_lipschitz, c.query_smoothness
        )  # fmt: skip
        r, delta, g0 = share, 0.01 * share**2, 0.5
        x = solve(p, c, theta, 0.0)
        exact = meta_gradient(p, c, theta, x)
        g = norm(jax.grad(lambda y: query(p, y))(x))
        nu = jnp.minimum(largest_perturbation(c), r / g)
        nu_two = jnp.minimum(largest_perturbation(c), r / jnp.maximum(g, g0))
        plus, above, beneath = solve_all(p, c, theta, (nu, nu_two, -nu_two))
        off = delta * noise / norm(noise)
        forward = -lam * (plus - x - 2 * off) / nu
        symmetric = -lam * (above - beneath - 2 * off) / (2 * nu_two)
        e, ratio = r / m, flat * r / g0
        ell = ratio + 2 * rho * e
        k = lam / m * (1 + ell / m)
        steep = 1 + c.smoothness / lam
        stated = [
            2 * lam * flat * r / m**2 + 4 * lam * flat * delta / m,
            steep * (2 * lam * rho * r / m**3 + 2 * lam * delta / r),
            2 * k * c.query_hessian_lipschitz * e**2 + lam * delta * (2 * flat / m + g0 / r),
            steep * (
                2 * lam / m**3 * ell * (ratio + rho * e)
                + 4 * k * c.third_lipschitz * e**2 / (3 * m) + lam * delta / r
            ),
        ]  # fmt: skip
        library = [*scale_free_forward(c, r, delta), *scale_free_symmetric(c, r, g0, delta)]
        given = [scale_free_perturbation(c, g, r), scale_free_perturbation(c, g, r, g0)]
        size = norm(exact)
        errors = [
            (norm(forward - exact), stated[0] + stated[1] * size),
            (norm(symmetric - exact), stated[2] + stated[3] * size),
            (norm(plus - x), 2 * r / m),
            (g, steep * size),
        ]
        return stated, library, given, [nu, nu_two], errors

    stated, library, given, nus, errors = over_tasks(measured, 13, normals(3))
    for one, other in zip([*stated, *nus], [*library, *given], strict=True):
        assert np.all(np.abs(one / other - 1) < 1e-9)
    for actual, bound in errors:
        assert below(actual, bound)
    assert np.max(errors[0][0] / errors[0][1]) > 0.02


def test_the_scale_free_bounds_with_a_query_gradient_that_is_computed():
    """The nudge from ||∇f|| at a point within δ of x; and the mean estimate over five tasks."""

    def measured(p, c, theta, share, noise):
        lam, m, rho, flat = (
            c.regularizer, c.strong_convexity, c.hessian_lipschitz, c.query_smoothness
        )  # fmt: skip
        tau, delta, g0 = 0.1 * share, 0.3 * share, 0.5
        off = delta * noise / norm(noise)
        x = solve(p, c, theta, 0.0)
        exact = meta_gradient(p, c, theta, x)
        g, computed = (norm(jax.grad(lambda y: query(p, y))(y)) for y in (x, x + off))
        nu = jnp.minimum(largest_perturbation(c), tau / computed)
        nu_two = jnp.minimum(largest_perturbation(c), tau / jnp.maximum(computed, g0))
        plus, above, beneath = solve_all(p, c, theta, (nu, nu_two, -nu_two))
        forward = -lam * (plus - x - 2 * off) / nu - exact
        symmetric = -lam * (above - beneath - 2 * off) / (2 * nu_two) - exact
        wider, e, ratio = tau + m * delta / 2, tau / m + delta / 2, flat * tau / g0
        ell = ratio + 2 * rho * e
        k = lam / m * (1 + ell / m)
        steep = 1 + c.smoothness / lam
        at_rest = (
            2 * lam * flat * wider / m**2
            + 4 * lam * flat * delta / m + 2 * lam * flat * delta**2 / tau
        )  # fmt: skip
        growth = steep * (2 * lam * rho * wider / m**3 + 2 * lam * delta / tau)
        at_rest_two = (
            2 * k * c.query_hessian_lipschitz * e**2
            + lam * delta * (2 * flat / m + g0 / tau) + lam * flat * delta**2 / tau
        )  # fmt: skip
        growth_two = steep * (
            2 * lam / m**3 * ell * (ratio + rho * e)
            + 4 * k * c.third_lipschitz * e**2 / (3 * m) + lam * delta / tau
        )  # fmt: skip
        beyond = nu * g / tau, nu * g / wider, norm(plus - x) / (2 * tau / m + delta)
        pairs = (forward, at_rest, growth), (symmetric, at_rest_two, growth_two)
        return beyond, pairs, exact

    beyond, pairs, exact = over_tasks(measured, 23, normals(4))
    assert np.max(beyond[0]) > 1.05  # the nudge of the exact g would not do this
    assert np.max(beyond[1]) <= 1 + 1e-12 and np.max(beyond[2]) <= 1 + 1e-9
    size = np.linalg.norm(exact, axis=1)
    groups = exact.reshape(-1, 5, 3)
    mean = groups.mean(1)
    zeta = np.linalg.norm(groups - mean[:, None], axis=2).mean(1)
    for error, at_rest, growth in pairs:
        length = np.linalg.norm(error, axis=1)
        assert below(length, at_rest + growth * size)
        assert np.max(length / (at_rest + growth * size)) > 0.02
        together = np.linalg.norm(error.reshape(-1, 5, 3).mean(1), axis=1)
        most, share = (number.reshape(-1, 5).max(1) for number in (at_rest, growth))
        assert below(together, most + share * (zeta + np.linalg.norm(mean, axis=1)))


def test_warm_starting_one_side_costs_what_is_proved():
    """And starting both at the warm point is a common start with a smaller distance."""
    steps = 6

    def measured(p, c, theta, share):
        nu = 1e-3 * share * largest_perturbation(c)
        lam, m, flat = c.regularizer, c.strong_convexity, c.query_smoothness
        x = solve(p, c, theta, 0.0)
        exact, g = meta_gradient(p, c, theta, x), norm(jax.grad(lambda y: query(p, y))(x))
        warm = descent(p, c, theta, 0.0, theta, steps)
        nudged, twice = (descent(p, c, theta, size, warm, steps) for size in (nu, 0.0 * nu))
        beta = 1.0 / (lam + c.smoothness + 0.5 * m)
        q, delta = 1 - beta * m, norm(warm - x)
        largest = g + flat * delta
        least = lam * (1 - q**steps) * delta / nu - lam * largest / (m - nu * flat) - lam * g / m
        wrong = norm(-lam * (nudged - warm) / nu - exact)
        both = norm(-lam * (nudged - twice) / nu - exact)
        d = nu * largest / (m - nu * flat)
        most = lam / m * (flat * d + c.hessian_lipschitz * d**2 / (2 * nu))
        drift = beta * (c.hessian_lipschitz * g / m + flat) * delta
        most += lam * (g / m * q**steps + drift * steps * q ** (steps - 1.0))
        return wrong, least, both, most

    wrong, least, both, most = over_tasks(measured, 15)
    assert np.all(wrong >= least * (1 - 1e-7))
    assert np.mean(least > 0) > 0.5 and np.max(least / wrong) > 0.3
    assert np.all(both <= most * (1 + 1e-6) + 1e-7)


def test_the_trap_is_as_stated():
    """In exact arithmetic, for nudges on both sides of the pole, and at it."""
    rng = np.random.default_rng(17)
    for _ in range(40):
        a, lam, c = (Fraction(int(k), 4) for k in rng.integers(1, 9, 3))
        b, e, w = (Fraction(int(k), 4) for k in rng.integers(-9, 9, 3))
        h = a + lam
        x = (a * b + lam * w) / h
        slope = c * (x - e)
        exact = lam * slope / h
        if slope == 0:
            continue

        def stationary(nu, a=a, b=b, c=c, e=e, h=h, lam=lam, w=w):
            """Where (h + νc) y = a b + λ w + ν c e."""
            return (a * b + lam * w + nu * c * e) / (h + nu * c)

        for u in (Fraction(1, 10), Fraction(1, 2), Fraction(9, 10), Fraction(13, 10), Fraction(2)):
            nu = u * h / c
            up, twice, down = stationary(nu), stationary(2 * nu), stationary(-nu)
            assert -lam * (up - x) / nu == exact / (1 + u)
            assert -lam * (up - down) / (2 * nu) == exact / (1 - u**2)
            three = -lam / nu * (-Fraction(3, 2) * x + 2 * up - twice / 2)
            share = 1 - 2 * u**2 / ((1 + u) * (1 + 2 * u))
            assert three == share * exact and 0 < share < 1
            weights = (-Fraction(11, 6), Fraction(3), -Fraction(3, 2), Fraction(1, 3))
            four = sum(k * stationary(j * nu) for j, k in enumerate(weights)) * -lam / nu
            assert four == exact * (1 - 6 * u**3 / ((1 + u) * (1 + 2 * u) * (1 + 3 * u)))
            beta, y = Fraction(1, 5), x + 1
            after = y - beta * (-nu * c * (y - e) + a * (y - b) + lam * (y - w))
            assert after - down == (1 + beta * (nu * c - h)) * (y - down)
            assert (h - nu * c < 0) == (u > 1)
        nu = h / c  # u = 1: the slope of the problem for -ν is a constant, and not 0
        slopes = {
            -nu * c * (y - e) + a * (y - b) + lam * (y - w) for y in (Fraction(-3), Fraction(5))
        }
        assert slopes == {-nu * slope}


def test_a_concave_query_loss_exchanges_the_signs():
    """c < 0: the forward estimate has its pole at |u| = 1, the three-point rule at |u| = ½."""
    a, lam, c, slope = Fraction(1), Fraction(1), Fraction(-1), Fraction(3)
    h = a + lam
    exact = lam * slope / h

    def move(nu):
        return -nu * slope / (h + nu * c)

    def forward(u):
        nu = u * h / -c
        return -lam * move(nu) / nu / exact

    def three(u):
        nu = u * h / -c
        return -lam / nu * (2 * move(nu) - move(2 * nu) / 2) / exact

    assert forward(Fraction(11, 10)) == -10
    near = Fraction(1, 1000)
    for share, pole in ((forward, Fraction(1)), (three, Fraction(1, 2))):
        assert min(abs(share(pole - near)), abs(share(pole + near))) > 100
        assert share(pole - near) * share(pole + near) < 0
        assert abs(share(pole / 2)) < 3
    for node in (1, 2):  # whether the node's problem has a minimizer
        for u in (Fraction(9, 10), Fraction(11, 10)):
            assert (h + node * (u / node * h / -c) * c > 0) == (u < 1)


def test_the_two_quadratics_of_the_sandwich():
    """Values by a grid, resting points by exact fractions; the chapter's exercise among them."""
    a, b = (Fraction(1), Fraction(9)), (Fraction(0), Fraction(1))

    def stiffness(nu):
        return [(1 + nu) * k / ((1 + nu) * k + 1) for k in a]

    grid = np.linspace(-4, 4, 400001)
    for nu, w in ((0.5, 0.3), (-0.5, -0.2), (1.0, 0.9)):
        for curved, center, stiff in zip(a, b, stiffness(Fraction(nu)), strict=True):
            energy = (1 + nu) * float(curved) / 2 * (grid - float(center)) ** 2
            assert_same(
                np.min(energy + 0.5 * (grid - w) ** 2),
                float(stiff) / 2 * (w - float(center)) ** 2,
                1e-6,
            )

    def rest(weights):
        return sum(k * z for k, z in zip(weights, b, strict=True)) / sum(weights)

    def difference(high, low):
        return [x - y for x, y in zip(stiffness(high), stiffness(low), strict=True)]

    one = Fraction(1)
    assert rest(difference(one, 0)) == Fraction(9, 190) / (Fraction(1, 6) + Fraction(9, 190))
    exact = rest([k / (k + 1) ** 2 for k in a])
    assert abs(float(exact) - 0.26471) < 1e-5 and rest(stiffness(0)) == Fraction(9, 14)
    distances = []
    for nu in (one, one / 2, one / 4, one / 8):
        forward, symmetric = rest(difference(nu, 0)), rest(difference(nu, -nu))
        distances.append((float(abs(forward - exact)), float(abs(symmetric - exact))))
    assert np.all(np.diff(distances, axis=0) < 0)
    tiny = [
        rest(difference(Fraction(1, 10**k), low)) for k, low in ((4, 0), (4, -Fraction(1, 10**4)))
    ]
    assert abs(tiny[0] - exact) < 1e-5 and abs(tiny[1] - exact) < 1e-7


# -- the task of the chapter ---------------------------------------------------------------------

TURN = np.array([[0.88, 0.48], [-0.48, 0.88]]) / np.hypot(0.88, 0.48)
CENTER, GOAL, WAVE = np.array([0.4, -0.3]), np.array([-1.3, 1.0]), np.array([0.8, 0.6])


def slopes(x, dtype=np.float64):
    """∇f̂ and ∇f of the chapter's task, by hand, in floats of this kind."""
    turn, center, goal, wave = (part.astype(dtype) for part in (TURN, CENTER, GOAL, WAVE))
    along, across = turn @ (x - center)
    first, second = (dtype(number) for number in (2.0, 0.6))
    pulls = np.array([first * np.tanh(dtype(0.8) * along), second * np.tanh(dtype(0.6) * across)])
    hat = dtype(0.5) * (x - center) + turn.T @ pulls.astype(dtype)
    return hat, (x - goal) + dtype(0.25) * wave * np.cos(wave @ x)


def test_the_chapters_task_has_the_constants_that_it_claims():
    """Second differences of the slopes, at pairs near and far, never exceed the constants."""
    smooth, rho, third, flat, rho_q, m = (
        2.1,
        2.5 * 0.8**3 * 4 / (3 * 3**0.5),
        2.048,
        1.25,
        0.25,
        1.5,
    )
    rng = np.random.default_rng(19)

    def hessians(x):
        step = 1e-4 * np.eye(2)
        pairs = [[s(x + e)[k] - s(x - e)[k] for e in step] for s in (slopes,) for k in (0, 1)]
        return [np.array(pair).T / 2e-4 for pair in pairs]

    ratios = []
    for _ in range(300):
        x = rng.normal(size=2) * 1.5
        y = x + rng.normal(size=2) * 10.0 ** rng.uniform(-1, 1)
        (hat_x, f_x), (hat_y, f_y) = hessians(x), hessians(y)
        gap, values = np.linalg.norm(x - y), np.linalg.eigvalsh(hat_x)
        assert values[0] + 1.0 >= m - 1e-6 and values[1] <= smooth + 1e-6
        bend, bend_f = (np.linalg.norm(u - v, 2) / gap for u, v in ((hat_x, hat_y), (f_x, f_y)))
        ratios.append(
            [bend / rho, bend_f / rho_q, np.linalg.norm(f_x, 2) / flat, values[1] / smooth]
        )
    assert np.all(np.max(ratios, axis=0) <= 1 + 1e-4) and np.all(np.max(ratios, axis=0) > 0.8)
    # One coordinate: the fourth derivative of 2.5 log cosh(0.8 u) is largest in size at u = 0.
    u = np.linspace(-6, 6, 20001)
    fourth = np.gradient(np.gradient(2.5 * 0.64 / np.cosh(0.8 * u) ** 2, u), u)
    assert 0.99 * third < np.max(np.abs(fourth)) <= third * (1 + 1e-4)


def test_single_precision_has_a_floor():
    """150 gradient steps in NumPy's float32: the least error is far above double precision's."""
    start = np.array([1.5, -1.0])

    def run(nu, dtype):
        x, begin = start.astype(dtype), start.astype(dtype)
        for _ in range(150):
            hat, outer = slopes(x, dtype)
            x = x - dtype(0.3) * (dtype(nu) * outer + hat + (x - begin))
        assert x.dtype == dtype
        return x

    x = run(0.0, np.float64)
    step = 1e-5 * np.eye(2)
    hessian = np.array([slopes(x + e)[0] - slopes(x - e)[0] for e in step]).T / 2e-5
    exact = np.linalg.solve(hessian + np.eye(2), slopes(x)[1])

    def errors(nus, dtype):
        found = []
        for nu in nus:
            plus, plain, minus = (
                run(signed, dtype).astype(np.float64) for signed in (nu, 0.0, -nu)
            )
            both = -(plus - plain) / nu - exact, -(plus - minus) / (2 * nu) - exact
            found.append([np.linalg.norm(error) / np.linalg.norm(exact) for error in both])
        return np.array(found)

    nus = np.logspace(-6, np.log10(0.4), 49)
    single, double = errors(nus, np.float32), errors(nus, np.float64)
    typical = np.array([np.median(single[k - 2 : k + 3], axis=0) for k in range(2, 47)])
    least, places = np.min(typical, axis=0), np.argmin(typical, axis=0)
    assert 3e-5 < least[0] < 2e-3 and 5e-7 < least[1] < 1e-4 and least[1] < least[0] / 5
    assert 3e-5 < nus[2 + places[0]] < nus[2 + places[1]] < 3e-2
    assert np.all(np.median(single[:7], axis=0) > 1e-3)  # at small nudges rounding rules
    assert np.all(np.max(double[:7], axis=0) < 1e-5)
