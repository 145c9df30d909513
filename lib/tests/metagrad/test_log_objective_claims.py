"""The numbered claims of the chapter "The log objective, and why backpropagation still fails"."""

import math
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import jupytext
import mpmath
import numpy as np
import pytest
from stepsize_cases import exact

import experiments
from experiments import step_size_learning as experiment
from metagrad import (
    log_meta_gradient,
    make_run,
    meta_gradient,
    renormalized,
    scaled_tangent,
    tune_step_size,
)
from metagrad.estimators import forward, reverse
from metagrad.renormalization import log_loss
from metagrad.stepsize_bounds import (
    gradient_bound_at,
    gradient_bounds,
    meta_steps_needed,
    secant_constant,
)
from metagrad.tape import tangents, tape

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "log_objective.md"
# (curvatures, start of length 1): of the chapter; an end of the spectrum twice; five in no order.
CHAPTER = (np.array([1.0, 0.1]), np.array([0.6, 0.8]))
BOWLS = (
    CHAPTER,
    (np.array([3.0, 0.5, 3.0]), np.array([0.2, 0.9, -0.4]) / math.sqrt(1.01)),
    (np.array([0.7, 2.0, 0.3, 1.1, 1.9]), np.array([0.5, -0.1, 0.3, 0.6, 0.2]) / math.sqrt(0.75)),
)
TINY, HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
SLACK = 1 + 1e-12


class Ends:
    """What the statements say about a quadratic in terms of the two ends of its spectrum."""

    def __init__(self, curvatures, start):
        self.low, self.high = curvatures.min(), curvatures.max()
        parts = [float(np.sum(start[curvatures == end] ** 2)) for end in (self.low, self.high)]
        self.share = min(parts)  # c²
        self.kink = 2 / (self.low + self.high)
        self.least = (self.high - self.low) / (self.high + self.low)

    def rate(self, beta):
        return max(abs(1 - beta * self.low), abs(1 - beta * self.high))


def minimizer(curvatures, start, steps):
    """β_T in sixty digits, by bisection on the sign of the exact slope."""
    lams = [mpmath.mpf(float(lam)) for lam in curvatures]
    parts = [mpmath.mpf(float(x)) ** 2 for x in start]
    low, high = 1 / max(lams), 1 / min(lams)
    for _ in range(190):
        middle = (low + high) / 2
        terms = [
            p * lam**2 * (1 - middle * lam) ** (2 * steps - 1)
            for lam, p in zip(lams, parts, strict=True)
        ]
        low, high = (middle, high) if mpmath.fsum(terms) > 0 else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_the_limit_has_a_cusp_and_the_curvature_grows_as_stated(curvatures, start):
    ends = Ends(curvatures, start)
    width = max(math.log(2 / (ends.share * ends.low)), abs(math.log(ends.high / 2)))
    for beta in np.concatenate([[0.0], np.linspace(0.03, 1.7, 12) * 2 / ends.high, [ends.kink]]):
        for steps in (1, 2, 9, 100, 3000):
            gap = float(exact(beta, curvatures, start, steps).objective)
            gap -= 2 * math.log(ends.rate(beta))
            assert abs(gap) <= width / steps * SLACK
    # Away from the kink the other terms have died out after 20000 steps.
    for share in (0.05, 0.5, 0.99, 1.01, 1.5, 4.0):
        beta = share * ends.kink
        slope = float(exact(beta, curvatures, start, 20_000).gradient)
        if share < 1:
            limit = -2 * ends.low / (1 - beta * ends.low)
        else:
            limit = 2 * ends.high / (beta * ends.high - 1)
        assert abs(slope / limit - 1) < 1e-9
    sides = [
        float(exact(ends.kink * (1 + d), curvatures, start, 10**7).gradient) for d in (-1e-5, 1e-5)
    ]
    assert abs(sides[0] / (-2 * ends.low / ends.least) - 1) < 1e-3
    assert abs(sides[1] / (2 * ends.high / ends.least) - 1) < 1e-3
    assert abs(sides[1] / sides[0] + ends.high / ends.low) < 2e-3 * ends.high / ends.low

    with mpmath.workdps(60):
        low, high = mpmath.mpf(float(ends.low)), mpmath.mpf(float(ends.high))
        for steps in (1, 2, 9, 100, 3000):
            best = minimizer(curvatures, start, steps)
            curvature = curvature_at(best, curvatures, start, steps)
            first = (4 * steps - 2) * low * high / ((1 - best * low) * (best * high - 1))
            second = (4 * steps - 2) * (2 * low * high / (high - low)) ** 2
            assert curvature >= first * (1 - mpmath.mpf("1e-40")) and first >= second
            if np.unique(curvatures).size == 2:
                assert abs(curvature / first - 1) < mpmath.mpf("1e-40")


def curvature_at(beta, curvatures, start, steps):
    """Φ'' from the quotient rule, at a step size of sixty digits."""
    lams = [mpmath.mpf(float(lam)) for lam in curvatures]
    weights = [mpmath.mpf(float(x)) ** 2 * lam for x, lam in zip(start, lams, strict=True)]
    a = [1 - beta * lam for lam in lams]
    rows = list(zip(weights, lams, a, strict=True))
    total = mpmath.fsum([w * ai ** (2 * steps) for w, _, ai in rows])
    first = mpmath.fsum([w * lam * ai ** (2 * steps - 1) for w, lam, ai in rows])
    second = mpmath.fsum([w * lam**2 * ai ** (2 * steps - 2) for w, lam, ai in rows])
    return 2 * (2 * steps - 1) * second / total - 4 * steps * (first / total) ** 2


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_the_slope_is_bounded_by_both_constants(curvatures, start):
    ends = Ends(curvatures, start)
    stated = 4 * ends.high**3 / (ends.share * ends.low * (ends.high - ends.low))
    grid = np.concatenate(
        [[0.0], ends.kink * np.geomspace(0.01, 30, 60), ends.kink + np.geomspace(1e-6, 1, 40)]
    )
    for steps in (1, 2, 9, 100, 3000):
        simple, sharp = gradient_bounds(curvatures, start, steps)
        assert abs(simple / stated - 1) < 1e-12
        root = (ends.high / (ends.share * ends.low)) ** (1 / (2 * steps))
        assert abs(sharp / (2 * ends.high / ends.least * root) - 1) < 1e-12
        assert sharp <= simple * SLACK
        bounds = jax.vmap(lambda beta: gradient_bound_at(beta, curvatures, start, steps))(grid)  # noqa: B023
        for beta, made in zip(grid, bounds, strict=True):
            size = abs(float(exact(beta, curvatures, start, steps).gradient))
            pointwise = 2 * ends.high / ends.rate(beta) * root
            assert abs(made / pointwise - 1) < 1e-12
            assert size <= pointwise * SLACK <= float(sharp) * SLACK**2
    # For long runs the sharp constant is attained, just right of the kink.
    steps = 10**6
    beta = ends.kink * (1 + 1e-4)
    size = float(exact(beta, curvatures, start, steps).gradient)
    assert size / float(gradient_bounds(curvatures, start, steps).sharp) > 0.99


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_the_slope_points_away_from_the_minimizer_as_strongly_as_stated(curvatures, start):
    ends = Ends(curvatures, start)
    tightest = math.inf
    for steps in (1, 2, 9, 100, 3000):
        with mpmath.workdps(60):
            best = float(minimizer(curvatures, start, steps))
        assert 1 / ends.high < best < 1 / ends.low
        for top in (0.5 / ends.high, 1 / ends.low, 7 / ends.low):
            m = 2 * ends.share * min(ends.low**3 / ends.high, 1 / top**2)
            if top >= 1 / ends.low:
                assert abs(secant_constant(curvatures, start, top) / m - 1) < 1e-12
            for beta in np.linspace(0, top, 41):
                distance = beta - best
                slope = float(exact(beta, curvatures, start, steps).gradient)
                assert distance * slope >= m * distance**2 * (1 - 1e-9)
                tightest = min(tightest, slope / (m * distance))
    assert tightest < 1000  # it is no empty statement


@pytest.mark.parametrize("steps", [2, 30, 1000])
@pytest.mark.parametrize("first", [0.0, 2.5])
def test_meta_descent_arrives_and_stays_as_stated(steps, first):
    curvatures, start = np.array([1.0, 0.8, 0.9]), np.array([0.6, 0.6, math.sqrt(0.28)])
    ends, eta, epsilon = Ends(curvatures, start), 0.1, 0.1
    bound = float(gradient_bounds(curvatures, start, steps).sharp)
    top = max(first, 1 / ends.low + eta * bound)
    m = 2 * ends.share * min(ends.low**3 / ends.high, 1 / top**2)
    promised = (eta * bound / epsilon + 1 + math.log(top / epsilon) / (2 * eta * m)) ** 2
    made = meta_steps_needed(epsilon, first, curvatures, start, steps, meta_step_size=eta)
    assert abs(float(made) / promised - 1) < 1e-9
    assert promised < 150_000
    count = math.ceil(promised) + 1000

    run = tune_step_size(
        lambda beta: log_meta_gradient(beta, curvatures, start, steps),
        first,
        count,
        meta_step_size=eta,
    )
    betas = np.asarray(run.step_sizes)
    with mpmath.workdps(60):
        best = float(minimizer(curvatures, start, steps))
    errors = np.abs(betas - best)
    assert np.all((betas >= 0) & (betas <= top * SLACK))
    assert np.all(errors[math.ceil(promised) :] <= epsilon)
    moves = eta / np.sqrt(np.arange(1, count + 1))
    one_step = np.maximum(np.maximum(0, 1 - moves * m) * errors[:-1], moves * bound)
    assert np.all(errors[1:] <= one_step * SLACK + 1e-12)


def test_the_number_of_meta_steps_is_of_the_order_stated():
    rng = np.random.default_rng(7)
    for _ in range(60):
        curvatures = np.exp(rng.normal(size=3))
        start = rng.normal(size=3)
        start /= np.linalg.norm(start)
        ends, steps = Ends(curvatures, start), int(rng.integers(1, 200))
        low, high, c2 = ends.low, ends.high, ends.share
        largest = (1 + rng.exponential()) / high  # M
        epsilon = rng.uniform(0.01, 1) / high
        first = rng.uniform(0, largest)
        needed = float(meta_steps_needed(epsilon, first, curvatures, start, steps))
        # The polynomial that the proof writes as poly.
        slope = 4 * high**3 / (c2 * low * (high - low))
        reach = 1 + high / low + high * slope
        inverse = (high**3 / low**3 + reach**2) / (2 * c2)
        polynomial = (high**3 * slope + high**2 + reach * inverse / 2) ** 2
        assert needed <= largest**6 / epsilon**2 * polynomial * SLACK


def descend(curvatures):
    """One step of gradient descent with the step size as the meta-parameter; and the loss."""

    def step(x, beta, t):
        return x - beta * (jnp.asarray(curvatures, beta.dtype) * x)

    def loss(x, beta):
        return 0.5 * jnp.sum(jnp.asarray(curvatures, beta.dtype) * x**2)

    return loss, step


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_intermediate_values_leave_while_all_contributions_are_equal(curvatures, start):
    ends, steps = Ends(curvatures, start), 120
    loss, step = descend(curvatures)
    c, condition = math.sqrt(ends.share), ends.high / ends.low
    for beta in np.array([0.0, 0.2, 0.8, 1.0, 1.3]) * 2 / ends.high:
        beta = jnp.asarray(beta)
        r = ends.rate(float(beta))
        made = tape(make_run(log_loss(loss, steps), step, beta, jnp.asarray(start), steps), beta)
        powers = r ** np.arange(steps + 1)
        states = np.linalg.norm(made.states, axis=1)
        assert np.all(c * powers <= states * (1 + 1e-11)) and np.all(states <= powers * (1 + 1e-11))
        seed = 1 / (steps * float(loss(made.states[-1], beta)))
        unit = r ** (-2 * steps) / steps
        assert 2 / ends.high * unit <= seed * (1 + 1e-11)
        assert seed <= 2 / (ends.share * ends.low) * unit * (1 + 1e-11)
        adjoints = np.linalg.norm(made.adjoints, axis=1) * steps * powers
        assert np.all(adjoints >= 2 * c / condition * (1 - 1e-11))
        assert np.all(adjoints <= 2 / c * math.sqrt(condition) * (1 + 1e-11))
        right = exact(float(beta), curvatures, start, steps)
        terms = float(right.magnitude) / steps  # what rounding errors are measured in
        gaps = np.asarray(made.contributions) - float(right.gradient) / steps
        assert np.max(np.abs(gaps)) < 1e-11 * terms


def plain_single(beta, steps, curvatures=CHAPTER[0], start=CHAPTER[1]):
    """(value, slope) of the log objective by plain jax.value_and_grad in single precision."""
    curvatures, start = jnp.asarray(curvatures, jnp.float32), jnp.asarray(start, jnp.float32)

    def objective(beta):
        x = jax.lax.scan(lambda x, _: (x - beta * (curvatures * x), None), start, None, steps)[0]
        return jnp.log(0.5 * jnp.sum(curvatures * x**2)) / steps

    value, slope = jax.jit(jax.value_and_grad(objective))(jnp.float32(beta))
    assert value.dtype == slope.dtype == jnp.float32
    return float(value), float(slope)


def log_square_at(beta, steps, curvatures, start):
    """The logarithm of the largest square of a coordinate of x_T."""
    factors = np.abs(1 - float(np.float32(beta)) * curvatures)
    return float(np.max(2 * steps * np.log(np.maximum(factors, 1e-300)) + np.log(start**2)))


def log_loss_at(beta, steps, curvatures, start):
    """log f(x_T), from the exact objective."""
    return float(exact(np.float32(beta), curvatures, start, steps).objective) * steps


SMALL = (np.array([0.05, 0.01]), CHAPTER[1])  # where squares overflow before the loss does


@pytest.mark.parametrize(("curvatures", "start"), [*BOWLS, SMALL])
def test_the_two_failures_come_where_they_are_announced(curvatures, start):
    # The machine rounds, so we stay a hundredth away from each border.
    ends, margin, silent, loud = Ends(curvatures, start), 0.01, 0, 0
    for share in (1.1, 1.25, 1.4):
        beta = share * 2 / ends.high
        r = ends.rate(beta)
        guess = round(44 / math.log(r))
        for steps in range(guess - 12, guess + 4):
            seed_lost = -math.log(TINY * steps)
            log_q = log_loss_at(beta, steps, curvatures, start) + math.log(2)
            stated = (
                seed_lost - math.log(ends.share * ends.high) + margin
                < 2 * steps * math.log(r)
                <= math.log(HUGE) - math.log(max(1, ends.high)) - margin
            )
            largest = max(log_q, log_square_at(beta, steps, curvatures, start))
            window = seed_lost + margin < log_q and largest <= math.log(HUGE) - margin
            assert window or not stated  # the second claim of (a) follows from the first
            if window:
                value, slope = plain_single(beta, steps, curvatures, start)
                assert math.isfinite(value) and slope == 0.0
                assert abs(value - (log_q - math.log(2)) / steps) < 1e-4
                silent += 1
        # (c): between the silence and the first infinite state, and after that.
        value, slope = plain_single(beta, round(70 / math.log(r)), curvatures, start)
        assert value == math.inf and slope == 0.0
        assert math.isnan(plain_single(beta, round(95 / math.log(r)), curvatures, start)[1])
    for share in (0.7, 0.85):
        beta = share * 2 / ends.high
        guess = round(44 / -math.log(ends.rate(beta)))
        for steps in (guess - 12, guess + 6):
            log_f = log_loss_at(beta, steps, curvatures, start)
            value, slope = plain_single(beta, steps, curvatures, start)
            if log_f < math.log(TINY) - margin:
                assert value == -math.inf and not math.isfinite(slope)
                loud += 1
    assert silent >= 6 and loud >= 1


def test_squares_may_overflow_before_the_loss():
    # Why (a) speaks of the squares: here Q would be in range, and the value is infinite.
    curvatures, start, beta = np.array([1e-3, 1e-4]), CHAPTER[1], 2500.0
    for steps in (112, 115, 119):
        log_q = log_loss_at(beta, steps, curvatures, start) + math.log(2)
        assert -math.log(TINY * steps) < log_q < math.log(HUGE)
        assert log_square_at(beta, steps, curvatures, start) > math.log(HUGE)
        assert plain_single(beta, steps, curvatures, start)[0] == math.inf


def test_the_slope_at_zero_does_not_depend_on_the_length():
    for curvatures, start in BOWLS:
        stated = -2 * np.sum(curvatures**2 * start**2) / np.sum(curvatures * start**2)
        for steps in (1, 20, 3000):
            assert abs(float(exact(0.0, curvatures, start, steps).gradient) / stated - 1) < 1e-12


def test_the_table_of_five_slopes():
    """What the text below the table says of it; the experiment has tests of its own."""
    result = experiments.load("step_size_learning")
    single, double, short = (
        "backpropagation, float32",
        "backpropagation, float64",
        "first order, float64",
    )

    def ends(kind, way, steps=None):
        chosen = [
            row["methods"][way] for row in result[kind]["runs"] if steps in (None, row["steps"])
        ]
        return tuple(
            sum(made[key] for made in chosen) for key in ("arrived", "not_finite", "exactly_zero")
        )

    assert ends("authors", "stable")[1:] == (0, 0)
    for steps in (20, 40, 80, 160):
        assert ends("authors", "stable", steps)[0] == 20
    assert ends("authors", single, 20)[0] == 0 and ends("authors", single, 10)[0] > 0
    for steps in (20, 40, 80):
        assert ends("authors", double, steps) == (20, 0, 0)
        assert ends("authors", short, steps)[0] < 20
    assert ends("authors", double, 160)[0] < 20
    assert max(high for _, high in result["authors"]["extremes"]) < 75
    assert ends("normalized", "stable")[0] == 5 * len(result["normalized"]["runs"])


def test_the_table_of_best_step_sizes():
    """What the text says of the best step size against the length of the run."""
    result = experiments.load("step_size_learning")
    shares = {}
    for kind in ("authors", "normalized"):
        found = result[kind]
        limits = [2 / (low + high) for low, high in found["extremes"]]
        np.testing.assert_allclose(found["limit"], limits, rtol=1e-4)
        shares[kind] = np.array(found["best"]) / np.array(found["limit"])[:, None]
        later = np.array(found["best_for"]) >= 5
        assert np.all(np.diff(shares[kind][:, later], axis=1) > 0)
        assert np.all(shares[kind][:, later] < 1)
        assert np.all(np.abs(shares[kind][:, -1] - 1) < 1e-4)
        # Why from below: the first gradient is smaller along the smallest curvature.
        for seed in range(5):
            columns = experiment.SETTINGS["kinds"][kind]["columns"]
            curvatures, start = experiment.problem(kind, seed, 20, columns)
            slopes = np.abs(curvatures * start)
            assert slopes[0] < slopes[-1]
    at_ten = shares["authors"][:, result["authors"]["best_for"].index(10)]
    assert at_ten.min() > 0.8 and at_ten.max() < 0.9
    first = np.concatenate([shares[kind][:, :2] for kind in shares])
    assert np.sum(first[:, 1] < first[:, 0]) == 2
    assert np.sum(first[:, 0] > 1) == 1


def chapter(*figures):
    """The names of the chapter after its first cells and the cells of the given figures."""
    names = {"__name__": "__main__"}
    cells = [
        c.source for c in jupytext.read(NOTEBOOK, fmt="md:myst").cells if c.cell_type == "code"
    ]
    wanted = [f'id="{figure}"' for figure in figures]
    for index, source in enumerate(cells):
        if index < 2 or any(mark in source for mark in ['id="fig-silent"', *wanted]):
            exec(compile(source, f"cell {index}", "exec"), names)
    return names


@contextmanager
def as_on_a_page():
    """JAX's own rules for shapes and dtypes; the tests of the library have stricter ones."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def page():
    with as_on_a_page():
        return chapter("fig-inspect", "fig-survivors", "fig-arrival")


@as_on_a_page()
def test_the_figure_fails_at_the_lengths_at_which_jax_fails(page, node):
    figure = jax.jit(page["silent"])
    compiled = page["livejax"].compile(page["silent"], jnp.array(2.5))
    grid = np.round(np.arange(1.3, 2.7501, 0.05), 2)
    keys = list(figure(jnp.array(2.5)))
    scripted = node.call(compiled.source, [[float(beta)] for beta in grid])
    for beta, outputs in zip(grid, scripted, strict=True):
        made = figure(jnp.array(beta))
        right, finite = int(made["right_until"]), int(made["finite_until"])
        in_script = dict(zip(sorted(keys), outputs, strict=True))
        assert in_script["right_until"] == right and in_script["finite_until"] == finite
        if abs(round(beta * 20) % 3):  # a third of the grid suffices for the slow check
            continue
        for steps in {right, right + 1, finite, finite + 1}:
            if steps > 400:
                continue
            value, slope = plain_single(beta, steps)
            exact_slope = float(log_meta_gradient(beta, *CHAPTER, steps))
            assert (steps <= right) == (abs(slope - exact_slope) < 0.01)
            assert (steps <= finite) == math.isfinite(value)
            if right < steps <= finite:
                assert slope == 0.0
        # Nothing hangs by a thread: rounding moves log f by about 1e-4 in 400 steps.
        for steps in (right, right + 1, finite, finite + 1):
            log_f = log_loss_at(beta, steps, *CHAPTER)
            log_q = log_f + math.log(2)
            gaps = (log_q + math.log(TINY * steps), log_q - math.log(HUGE), log_f - math.log(TINY))
            assert min(np.abs(gaps)) > 1e-3


@as_on_a_page()
def test_single_precision_is_right_or_zero_or_no_number(page):
    # The summaries of two figures know no fourth case.
    survivors = jax.jit(page["survivors"])
    for steps in range(10, 1001, 30):
        made = survivors(jnp.array(steps))
        assert int(made["right"] + made["mute"] + made["none"]) == 53
    inspect = jax.jit(page["inspect"])
    for beta in np.round(np.arange(1.0, 2.401, 0.05), 2):
        for renormalize in (False, True):
            made = inspect(jnp.array(beta), jnp.array(renormalize))
            assert made["right"] or made["mute"] or not np.isfinite(made["slope"])
            assert made["right"] or not renormalize
            assert bool(made["right"]) is bool(made["adjoint_count"])  # drawn if it is right
            assert np.all(np.isfinite(made["states"]))
            # The takeaway: it fails where the exact loss of the last state is outside the band.
            assert bool(made["right"]) is bool(TINY <= made["losses"][-1] <= HUGE)


@as_on_a_page()
def test_the_race_ends_as_its_takeaway_says(page):
    arrived, zero, none, elsewhere = range(4)
    race = jax.jit(page["race"])
    for first in np.round(np.arange(0.3, 2.751, 0.05), 2):
        made = race(jnp.array(first))
        outcome = np.asarray(made["outcomes"])
        assert np.all(outcome[0] == arrived)
        assert not np.any(outcome[1] == elsewhere)
        assert outcome[1][0] == arrived and outcome[1][-1] in (zero, none)


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_three_ways_stay_in_range_and_agree(curvatures, start):
    ends, steps = Ends(curvatures, start), 1500
    loss, step = descend(curvatures)
    c, condition = math.sqrt(ends.share), ends.high / ends.low
    for share in (0.3, 0.9, 1.3):
        beta = jnp.asarray(share * 2 / ends.high)
        r = ends.rate(float(beta))
        right = exact(float(beta), curvatures, start, steps)
        slope, terms = float(right.gradient), float(right.magnitude)
        # (a) as it is printed.
        factors = 1 - float(beta) * curvatures
        q, s = np.abs(factors) / r, np.sign(factors)
        above = np.sum(curvatures**2 * s * q ** (2 * steps - 1) * start**2)
        below = np.sum(curvatures * q ** (2 * steps) * start**2)
        assert abs(-2 / r * above / below - slope) < 1e-10 * terms
        assert ends.share * ends.low <= below * SLACK and below <= ends.high * SLACK
        assert abs(above) <= ends.high**2 * SLACK
        value = 2 * math.log(r) + math.log(0.5 * below) / steps
        assert abs(value - float(right.objective)) < 1e-12
        assert abs(float(log_meta_gradient(beta, curvatures, start, steps)) - slope) < 1e-13 * terms
        # (b) and (c), in single precision too.
        for dtype, tolerance in ((jnp.float64, 1e-9), (jnp.float32, 3e-2)):
            b, x0 = beta.astype(dtype), jnp.asarray(start, dtype)
            run = renormalized(loss, step, b, x0, steps)
            pieces = (run.loss, run.step, b, run.start, steps)
            for method in (reverse(), forward()):
                made = meta_gradient(*pieces, method=method)
                assert made.gradient.dtype == dtype
                assert abs(float(made.gradient) - slope) < tolerance * terms
        run = renormalized(loss, step, beta, jnp.asarray(start), steps)
        made = tape(run, beta)
        assert np.allclose(np.asarray(made.adjoints[1]) * steps, 2, rtol=1e-12)
        adjoints = np.linalg.norm(made.adjoints[0], axis=1)
        assert np.all(adjoints <= 2 / (c * steps) * math.sqrt(condition) * SLACK)
        logs = np.diff(np.asarray(made.states[1]))
        assert np.all(logs >= math.log(c * r) - 1e-9) and np.all(logs <= math.log(r) + 1e-9)
        moved = np.linalg.norm(tangents(run, beta, jnp.asarray(1.0))[0], axis=1)
        counted = np.arange(steps + 1)
        assert np.all(moved <= counted * ends.high / (c * r) * (1 + 1e-9) + 1e-12)


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_a_power_multiplies_relative_errors_as_stated(curvatures, start):
    rng = np.random.default_rng(3)
    worst = 0.0
    with mpmath.workdps(60):
        for steps in (1, 9, 1000):
            for delta in (1e-12, 1e-5, 1e-3):
                z = mpmath.mpf((1 + mpmath.mpf(delta)) / (1 - mpmath.mpf(delta))) ** (2 * steps)
                bound = z / (1 - mpmath.mpf(delta)) - 1
                for beta in (0.3, 1.02, 1.7) / curvatures.max():
                    right = exact(beta, curvatures, start, steps)
                    for _ in range(6):
                        errors = rng.choice([-1.0, 1.0], curvatures.size) * delta
                        total, above = mpmath.mpf(0), mpmath.mpf(0)
                        for lam, x, error in zip(curvatures, start, errors, strict=True):
                            a = (1 - mpmath.mpf(beta) * mpmath.mpf(lam)) * (1 + mpmath.mpf(error))
                            share = mpmath.mpf(lam) * a ** (2 * steps) * mpmath.mpf(x) ** 2
                            total, above = total + share, above + share * mpmath.mpf(lam) / a
                        gap = abs(-2 * above / total - right.gradient)
                        assert gap <= bound * right.magnitude
                        worst = max(worst, float(gap / (bound * right.magnitude)))
                if delta * steps < 1e-4:
                    assert abs(bound / ((4 * steps + 1) * mpmath.mpf(delta)) - 1) < 1e-3
    assert worst > 0.01  # errors do grow like that


@pytest.mark.parametrize(("curvatures", "start"), BOWLS)
def test_the_first_order_slope_explodes_in_exact_arithmetic(curvatures, start):
    ends = Ends(curvatures, start)
    lams, x0 = jnp.asarray(curvatures), jnp.asarray(start)

    def objective(beta, steps, stop):
        x = x0
        for _ in range(steps):
            gradient = lams * x
            x = x - beta * (jax.lax.stop_gradient(gradient) if stop else gradient)
        return jnp.log(0.5 * jnp.sum(lams * x**2)) / steps

    def stated(beta, steps):
        """S in sixty digits."""
        lam = [mpmath.mpf(float(v)) for v in curvatures]
        parts = [mpmath.mpf(float(v)) ** 2 for v in start]
        a = [(1 - mpmath.mpf(beta) * v) ** steps for v in lam]
        rows = list(zip(lam, parts, a, strict=True))
        above = mpmath.fsum([v * (p - p**2) * x for v, x, p in rows])
        return -above / (
            mpmath.mpf(beta) * steps * mpmath.fsum([v * p**2 * x for v, x, p in rows]) / 2
        )

    places = [0.3 * ends.kink, 0.8 * ends.kink, (ends.kink + 2 / ends.high) / 2, 2.6 / ends.high]
    with mpmath.workdps(60):
        for beta in places:
            for steps in (1, 2, 7):
                made = float(jax.grad(objective)(beta, steps, True))
                assert abs(made / float(stated(beta, steps)) - 1) < 1e-10
            full = float(jax.grad(objective)(beta, 1, False))
            assert abs(float(jax.grad(objective)(beta, 1, True)) - full) < 1e-12
            lows = max(
                abs(1 - beta * v)
                for v in np.unique(curvatures)
                if abs(1 - beta * v) < ends.rate(beta) * (1 - 1e-9)
            )
            r = mpmath.mpf(ends.rate(beta))
            for steps in (2000, 2001):
                if beta < ends.kink:
                    limit = -2 / (mpmath.mpf(beta) * steps) * r**-steps
                elif beta < 2 / ends.high:
                    limit = -2 / (mpmath.mpf(beta) * steps) * (-1) ** steps * r**-steps
                else:
                    limit = 2 / (mpmath.mpf(beta) * steps)
                # What is left: the other coordinates, and the power that was dropped.
                share = lows / ends.rate(beta)
                rest = 100 * share**2000 + float(r ** (-2000 if r > 1 else 2000)) + 1e-9
                assert rest < 0.1
                assert abs(float(stated(beta, steps) / limit) - 1) < rest


def test_scaled_tangents_need_the_loss_in_range():
    # What the chapter says of `scaled_tangent`: right as long as the loss is, and not longer.
    curvatures, start = CHAPTER
    loss, step = descend(curvatures)
    for steps, alive in ((2000, True), (2600, False)):
        run = make_run(loss, step, jnp.asarray(1.5), jnp.asarray(start), steps)
        made = scaled_tangent(run, jnp.asarray(1.5), jnp.asarray(1.0))
        assert (float(made.value) > 0) is alive
