"""The numbered claims of the chapter "Exploding and vanishing meta-gradients"."""

from itertools import pairwise, product

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from metagrad import make_run, meta_gradient
from metagrad.estimators import forward, reverse, shared, truncated
from metagrad.stepsize import contraction
from metagrad.tape import tangents, tape

# (curvatures, start): the chapter's own; an end of the spectrum twice; five in no order.
BOWLS = (
    ((1.0, 0.1), (0.6, 0.8)),
    ((3.0, 0.5, 3.0), (0.2, 0.9, -0.4)),
    ((0.7, 2.0, 0.3, 1.1, 1.9), (0.5, -0.1, 0.3, 0.6, 0.2)),
)
DIGITS = 60


class Exact:
    """A quadratic's naive objective in sixty digits, from powers alone."""

    def __init__(self, curvatures, start, *, unit=False):
        self.lam = [mpmath.mpf(lam) for lam in curvatures]
        self.x0 = [mpmath.mpf(x) for x in start]
        if unit:
            length = mpmath.sqrt(mpmath.fsum([x**2 for x in self.x0]))
            self.x0 = [x / length for x in self.x0]
        self.low, self.high = min(self.lam), max(self.lam)
        self.part_low, self.part_high = (
            mpmath.fsum([x**2 for lam, x in self.pairs() if lam == end])
            for end in (self.low, self.high)
        )
        self.length2 = mpmath.fsum([x**2 for x in self.x0])
        self.kink = 2 / (self.low + self.high)

    def pairs(self):
        return zip(self.lam, self.x0, strict=True)

    def loss(self, beta, steps):
        terms = [lam * (1 - beta * lam) ** (2 * steps) * x**2 for lam, x in self.pairs()]
        return mpmath.fsum(terms) / 2

    def slope(self, beta, steps):
        terms = [lam**2 * (1 - beta * lam) ** (2 * steps - 1) * x**2 for lam, x in self.pairs()]
        return -steps * mpmath.fsum(terms)

    def rate(self, beta):
        return max(abs(1 - beta * lam) for lam in self.lam)

    def step_sizes(self):
        edge = 2 / self.high
        shares = ("-0.3", "0", "0.1", "0.5", "0.9", "0.999", "1", "1.001", "1.2", "3")
        return [mpmath.mpf(share) * edge for share in shares]


@pytest.fixture(autouse=True)
def sixty_digits():
    with mpmath.workdps(DIGITS):
        yield


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_the_naive_objective_is_convex_and_its_slope_is_bounded_as_stated(curvatures, start):
    exact = Exact(curvatures, start, unit=True)
    edge = 2 / exact.high
    grid = sorted({*exact.step_sizes(), *(edge * k / 20 for k in range(1, 60))})
    for steps in (1, 2, 9, 60):
        slopes = [exact.slope(beta, steps) for beta in grid]
        assert all(one < two for one, two in pairwise(slopes))
        assert slopes[0] < 0 < slopes[-1]  # so there is a minimizer, and only one
        for beta, slope in zip(grid, slopes, strict=True):
            if beta < edge:
                bound = steps * mpmath.fsum(
                    [
                        lam**2 * abs(1 - beta * lam) ** (2 * steps - 1) * x**2
                        for lam, x in exact.pairs()
                    ]
                )
                assert abs(slope) <= bound * (1 + mpmath.mpf("1e-50"))
            if beta > edge:
                leading = exact.part_high * (beta * exact.high - 1) ** (2 * steps - 1)
                bound = steps * exact.high**2 * (leading - 1)
                assert slope * (1 + mpmath.mpf("1e-50")) >= bound
    # Far out, and for a long run, the second bound is nearly attained: it is no loose one.
    steps, beta = 400, 3 * edge
    leading = exact.part_high * (beta * exact.high - 1) ** (2 * steps - 1)
    bound = steps * exact.high**2 * (leading - 1)
    assert abs(exact.slope(beta, steps) / bound - 1) < 0.01


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_the_exact_rate_at_every_step_size(curvatures, start):
    exact = Exact(curvatures, start)
    low = min(exact.high * exact.part_high, exact.low * exact.part_low) / 2
    high = exact.high * exact.length2 / 2
    for beta in [*exact.step_sizes(), exact.kink]:
        rate = exact.rate(beta)
        if beta >= 0:
            made = contraction(float(beta), curvatures).item()
            assert abs(made - rate) < 1e-15 * (1 + abs(beta) * exact.high)
        for steps in (1, 2, 9, 60, 500):
            loss, slope = exact.loss(beta, steps), exact.slope(beta, steps)
            slack = 1 + mpmath.mpf("1e-50")
            assert low * rate ** (2 * steps) <= loss * slack
            assert loss <= high * rate ** (2 * steps) * slack
            bound = steps * exact.high**2 * exact.length2 * rate ** (2 * steps - 1)
            assert abs(slope) <= bound * slack
        # What is left of the exponent falls like log(T) / T.
        for steps in (1_000, 100_000):
            gap = mpmath.log(abs(exact.slope(beta, steps))) / steps - 2 * mpmath.log(rate)
            assert abs(gap) <= (mpmath.log(steps) + 12) / steps


def test_the_rate_fails_at_the_kink_exactly_where_both_ends_cancel():
    exact = Exact((4, 1), (1, 4))  # λ x is 4 at both ends, and all is exact in binary digits
    for steps in (1, 10, 1000):
        beta = mpmath.mpf(2) / 5
        terms = steps * 16 * exact.rate(beta) ** (2 * steps - 1)
        assert abs(exact.slope(beta, steps)) <= terms * mpmath.mpf("1e-50")
    uneven = Exact((4, 1), (1, 5))
    gap = mpmath.log(abs(uneven.slope(beta, 1000))) / 1000 - 2 * mpmath.log(uneven.rate(beta))
    assert abs(gap) < 0.02


def losses_in(dtype, curvatures, start, step_size, steps):
    """The loss after 1, ..., steps steps, computed in floats of the given kind."""
    curvatures, start, step_size = (jnp.asarray(v, dtype) for v in (curvatures, start, step_size))

    def step(x, _):
        x = x - step_size * (curvatures * x)
        return x, jnp.sum(curvatures * x**2) / 2

    return np.asarray(jax.jit(lambda x: jax.lax.scan(step, x, None, length=steps)[1])(start))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
@pytest.mark.parametrize("share", [0.2, 0.75, 1.2, 1.5])
def test_a_float_follows_the_loss_as_long_as_stated(dtype, curvatures, start, share):
    exact = Exact(curvatures, start)
    beta = float(mpmath.mpf(share) * 2 / exact.high)
    rate = float(exact.rate(mpmath.mpf(float(dtype(beta)))))
    low = float(min(exact.high * exact.part_high, exact.low * exact.part_low) / 2)
    high = float(exact.high * exact.length2 / 2)
    numbers = np.finfo(dtype)
    tiny, top = float(numbers.tiny), float(numbers.max)
    # Logarithms one by one: c / ω itself may leave the range.
    if rate < 1:
        safe = (np.log(low) - np.log(tiny)) / (2 * np.log(1 / rate))
        lost = (np.log(high) - np.log(tiny)) / (2 * np.log(1 / rate))
    else:
        safe = (np.log(top) - np.log(high)) / (2 * np.log(rate))
        lost = (np.log(top) - np.log(low)) / (2 * np.log(rate))
    assert 0 < safe <= lost
    last = int(safe)
    first = int(lost) + 1
    inside, outside = exact.loss(beta, last), exact.loss(beta, first)
    slack = mpmath.mpf("1.0001")  # the rounding of beta in single precision
    if rate < 1:
        assert inside * slack >= tiny > outside / slack
    else:
        assert inside / slack <= top < outside * slack
    # The same in the machine; its rounding may shift the step by one.
    made = losses_in(dtype, curvatures, start, beta, first + 3)
    assert np.isfinite(made[last - 3]) and made[last - 3] >= tiny
    assert made[first + 2] < tiny if rate < 1 else not np.isfinite(made[first + 2])
    # The rule of thumb, 44 and 354 over |log r|, is right to a tenth.
    rule = {np.float32: 44, np.float64: 354}[dtype] / abs(np.log(rate))
    assert 0.85 * rule < last < first < 1.15 * rule


def train(x, step_size, t):
    return x - step_size * x * (x**2 - 1)


def net_loss(x, step_size):
    return (x**2 - 1) ** 2 / 2


def exact_training(x, steps):
    """States, derivatives in the start and tangents in β at β = 2, by the recursions alone."""
    carried, tangent, rows = mpmath.mpf(1), mpmath.mpf(0), []
    for _ in range(steps):
        moved, slope = -x * (x**2 - 1), 1 - 2 * (3 * x**2 - 1)
        x, carried, tangent = x + 2 * moved, slope * carried, slope * tangent + moved
        rows.append((x, carried, tangent))
    return rows


def test_training_the_small_network_is_chaotic_as_stated():
    # The recursion is that of both layers, from equal weights.
    weights = jnp.array([0.7, 0.7])
    both = weights - 1.3 * jax.grad(lambda v: (v[0] * v[1] - 1) ** 2 / 2)(weights)
    alone = train(0.7, 1.3, 1)
    assert np.max(np.abs(np.asarray(both) - alone)) < 1e-14

    root = mpmath.sqrt(2)
    with mpmath.workdps(700):  # 1200 steps cost 573 digits
        theta = mpmath.mpf("0.8271828")
        rows = exact_training(mpmath.sqrt(2) * mpmath.cos(theta), 1200)
        for t, (x, carried, _) in enumerate(rows, start=1):
            angle = mpmath.mpf(3) ** t * theta
            assert abs(x - (-1) ** t * mpmath.sqrt(2) * mpmath.cos(angle)) < mpmath.mpf("1e-100")
            size = mpmath.mpf(3) ** t * abs(mpmath.sin(angle) / mpmath.sin(theta))
            assert abs(abs(carried) / size - 1) < mpmath.mpf("1e-80")
            assert abs(x) <= root and (x**2 - 1) ** 2 / 2 <= 0.5
        exponents = [mpmath.log(abs(rows[-1][k])) / 1200 for k in (1, 2)]
        assert all(abs(exponent - mpmath.log(3)) < 0.01 for exponent in exponents)
        # No periodic pattern: |x| comes near everything, in the second half of the run too.
        angles = [float(mpmath.acos(abs(x) / root)) for x, _, _ in rows[600:]]
        assert all(np.histogram(angles, bins=40, range=(0, np.pi / 2))[0])
        # X / x' settles, and not at zero.
        shares = [rows[t][2] / rows[t][1] for t in (200, 400, 1199)]
        assert abs(shares[0] - shares[2]) < mpmath.mpf("1e-85")
        assert abs(shares[1] - shares[2]) < mpmath.mpf("1e-180")
        assert abs(shares[2]) > 0.01


def test_the_limit_at_a_later_state_and_the_leading_term_of_the_tangent():
    # x_n' S(x_0) = X_n + S(x_n): the series may be cut anywhere.
    for theta in (mpmath.mpf("0.3"), mpmath.mpf("1.1"), mpmath.mpf("2.9")):
        rows = exact_training(mpmath.sqrt(2) * mpmath.cos(theta), 60)
        whole = rows[-1][2] / rows[-1][1]
        for n in (1, 2, 5):
            x, carried, tangent = rows[n - 1]
            later = exact_training(x, 60 - n)
            rest = later[-1][2] / later[-1][1]
            assert abs(carried * whole - tangent - rest) < mpmath.mpf("1e-20")
            # An odd recursion: from the opposite state the limit is the opposite one.
            opposite = exact_training(-x, 60 - n)
            assert abs(opposite[-1][2] / opposite[-1][1] + rest) < mpmath.mpf("1e-20")
    # x_n and its derivative in the step size as polynomials in x_0, in whole numbers, at 2.
    one = np.poly1d([1, 0])
    x, tangent = one, np.poly1d([0])
    for n in (1, 2, 3):
        x, tangent = (
            3 * x - 2 * x**3,
            x - x**3 + 3 * tangent - 6 * x**2 * tangent,
        )
        power = (3**n - 1) // 2
        assert x.order == tangent.order == 3**n
        assert x.coeffs[0] == (-2) ** power
        assert tangent.coeffs[0] == -power * (-2) ** (power - 1)
    # A start with S = 0 exists: the minimum itself.
    assert exact_training(mpmath.mpf(1), 9)[-1][1:] == ((-3) ** 9, 0)


def test_sharing_projects_and_trades_bias_for_noise_as_stated():
    steps, windows = 6, 2
    bowl, start = np.array([1.0, 0.3]), jnp.array([0.6, 0.8])
    schedule = jnp.array([0.3, 1.2, 0.5, 0.9, 0.2, 1.4])
    problem = (
        lambda x, _: jnp.sum(bowl * x**2) / 2,
        lambda x, w, t: x - w[t - 1] * bowl * x,
        schedule,
        start,
        steps,
    )
    exact = np.asarray(meta_gradient(*problem, method=reverse()).gradient)
    made = meta_gradient(*problem, method=shared(windows))
    parts = exact.reshape(windows, -1)
    means = parts.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(made.info.window_gradient, 3 * means[:, 0], rtol=1e-12)
    # A projection: what is lost stands at right angles to what is kept, and has the stated length.
    kept, lost = np.asarray(made.gradient), exact - np.asarray(made.gradient)
    assert abs(lost @ kept) < 1e-15
    assert abs(lost @ lost - np.sum((parts - means) ** 2)) < 1e-15
    # The mean over every pattern of signs is an expectation: noise of variance s² in each place.
    signs = np.array(list(product((-1.0, 1.0), repeat=steps)))
    within = np.mean((parts - means) ** 2, axis=1)
    border = np.sqrt(within * 3 / 2)  # here sharing and not sharing are equally good
    for size in (0.5 * border[0], 2.0 * border[0], 0.5 * border[1], 2.0 * border[1]):
        seen = (exact + size * signs).reshape(len(signs), windows, -1)
        errors = np.mean(np.sum((seen.mean(axis=2, keepdims=True) - parts) ** 2, axis=2), axis=0)
        np.testing.assert_allclose(errors, 3 * within + size**2, rtol=1e-10)
        plain = np.mean(np.sum((seen - parts) ** 2, axis=2), axis=0)
        np.testing.assert_allclose(plain, 3 * size**2, rtol=1e-10)
        np.testing.assert_array_equal(errors < plain, within < (1 - 1 / 3) * size**2)


@pytest.mark.parametrize("step_size", [0.4, 1.3, 1.7])
def test_a_window_bounds_the_growth_and_changes_nothing_on_a_quadratic(step_size):
    steps = 24
    run = make_run(net_loss, train, step_size, 0.3, steps)
    made = tape(run, step_size)
    before = np.asarray(made.states)[:-1]
    slopes = np.abs(1 - step_size * (3 * before**2 - 1))
    r, b = slopes.max(), np.abs(before * (before**2 - 1)).max()
    g = abs(float(made.adjoints[-1]))
    assert r > 1
    contributions = np.asarray(made.contributions)
    for window in (1, 2, 5, 24):
        kept = contributions[steps - window :].sum()
        assert abs(kept) <= b * g * (r**window - 1) / (r - 1) * (1 + 1e-12)
    last = contributions[-1]
    assert abs(last) <= b * g * (1 + 1e-12)

    # A step that multiplies by r and adds w attains the bound, b = g = 1.
    for r in (0.5, 1.7):
        made = tape(make_run(lambda x, w: x, lambda x, w, t, r=r: r * x + w, 0.2, 0.1, 9), 0.2)
        kept = float(jnp.sum(made.contributions[-4:]))
        assert abs(kept / ((r**4 - 1) / (r - 1)) - 1) < 1e-14

    for curvatures, start in BOWLS:
        lam, x0 = jnp.asarray(curvatures), jnp.asarray(start)
        pieces = (
            lambda x, b, lam=lam: jnp.sum(lam * x**2) / 2,
            lambda x, b, t, lam=lam: x - b * (lam * x),
            step_size,
            x0,
            steps,
        )
        whole = meta_gradient(*pieces, method=reverse()).gradient
        terms = steps * float(jnp.sum(lam**2 * jnp.abs(1 - step_size * lam) ** 47.0 * x0**2))
        for window in (1, 6, 12):
            kept = np.asarray(
                meta_gradient(*pieces, method=truncated(window)).info.window_gradients
            )
            assert np.max(np.abs(kept - whole * window / steps)) <= 1e-13 * terms


@pytest.mark.parametrize(("curvatures", "start"), (*BOWLS, ((2.0,), (3.0,))))
@pytest.mark.parametrize("threshold", [1e-9, 1e-3, np.inf])
def test_no_clipped_meta_learner_leaves_the_floor_sooner_than_stated(curvatures, start, threshold):
    exact = Exact(curvatures, start)
    low, high = 0.4 / float(exact.high), 1.9 / float(exact.high)
    worst = max(1 - low * float(exact.low), high * float(exact.high) - 1)
    assert worst < 1
    size = float(exact.high**2 * exact.length2)
    moved = []
    for steps in (3, 30, 60):
        for meta_step_size in (0.01, 10.0):
            longest = meta_step_size * steps * size * worst ** (2 * steps - 1)
            for first in (low, 1.2 * low, 0.97 * high, high):
                path = [first]
                while low <= path[-1] <= high and len(path) < 60:
                    slope = float(exact.slope(mpmath.mpf(path[-1]), steps))
                    clipped = slope * min(1.0, threshold / abs(slope))
                    path.append(path[-1] - meta_step_size * clipped)
                strides = np.abs(np.diff(path))
                assert np.all(strides <= longest * (1 + 1e-9) + 1e-15)
                assert len(strides) >= abs(path[-1] - path[0]) / longest * (1 - 1e-9) - 1e-9
                moved.append(strides.max() / longest)
    if threshold == np.inf:
        # The bound is of the right order, and one coordinate attains it.
        assert max(moved) > (0.999 if len(start) == 1 else 1e-3)


def test_the_tangent_of_the_network_explodes_while_its_loss_does_not():
    run = make_run(net_loss, train, 2.0, 0.3, 25)
    sizes = np.abs(np.asarray(tangents(run, 2.0, 1.0)))
    made = meta_gradient(net_loss, train, 2.0, 0.3, 25, method=forward())
    assert float(made.value) <= 0.5
    assert 0.8 < np.log(sizes[-1]) / 25 / np.log(3) < 1.2
