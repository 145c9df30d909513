"""The numbered claims of the chapter "What to tune on", each on its own terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

from metagrad import least_squares, spectra
from metagrad.least_squares_limits import best_risk, harmless_noise, least_squares_risk
from metagrad.least_squares_tuning import tuned_by_training, tuned_by_validation
from metagrad.spectral_tasks import descend_in_eigenbasis, in_eigenbasis
from metagrad.stochastic_risk import stochastic_risk

SHAPES = ((6, 11), (11, 6))


def spectrum(samples, dimension, seed=0):
    """Nonzero eigenvalues of H, ascending, in NumPy, and the matrix they belong to."""
    inputs = np.random.default_rng(seed).normal(size=(samples, dimension))
    eigenvalues = np.linalg.svd(inputs, compute_uv=False)[::-1] ** 2 / samples
    return inputs, eigenvalues


def risk_of(shares, eigenvalues, samples, dimension, noise):
    """The formula of the chapter, in NumPy; the last axis runs over eigenvectors."""
    k = noise**2 * dimension / samples
    each = (1 - shares) ** 2 + k / eigenvalues * shares**2
    return 1 - len(eigenvalues) / dimension + np.sum(each, axis=-1) / dimension


def least_squares_risk_of(eigenvalues, samples, dimension, noise):
    return risk_of(np.ones_like(eigenvalues), eigenvalues, samples, dimension, noise)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_reaches_its_shares(shape):
    samples, dimension = shape
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=shape)
    parameter, noise = rng.normal(size=dimension), rng.normal(size=samples)
    targets = inputs @ parameter + noise
    for steps, step_size in ((1, 0.3), (7, 0.1), (40, 0.02)):
        x = np.zeros(dimension)
        for _ in range(steps):
            x = x - step_size * inputs.T @ (inputs @ x - targets) / samples
        left, singular, rows = np.linalg.svd(inputs, full_matrices=False)
        eigenvalues = singular**2 / samples
        solution = rows @ parameter + left.T @ noise / np.sqrt(samples * eigenvalues)
        shares = 1 - (1 - step_size * eigenvalues) ** steps
        assert_same(rows @ x, shares * solution, 1e-11)
        assert_same(rows.T @ (rows @ x), x, 1e-11)
    # Its last part is normal with variance σ²/(nλ): the map from the noise has these rows.
    of_noise = rows @ np.linalg.pinv(inputs)
    assert_same(of_noise @ of_noise.T, np.diag(1 / (samples * eigenvalues)), 1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_train_by_train_tends_to_the_minimax_step_and_to_least_squares(shape):
    inputs, eigenvalues = spectrum(*shape)
    law, noise = spectra.spectrum_of(jnp.asarray(inputs)), 0.7
    limit = 2 / (eigenvalues[0] + eigenvalues[-1])
    found = {t: jax.jit(tuned_by_training)(law, noise, t) for t in (10, 1000, 10**6)}
    for steps, made in found.items():
        # The two ends balance: (βL - 1)/(1 - βα) is a constant to the power 1/(2T - 1).
        assert abs(made.step_size / limit - 1) <= 20 / steps
        assert 1 / eigenvalues[-1] <= made.step_size <= 1 / eigenvalues[0]
    assert_same(found[10**6].risk, least_squares_risk_of(eigenvalues, *shape, noise), 1e-9)
    # One minimizer: the plain formula falls before it and rises after it.
    k = noise**2 * shape[1] / shape[0]
    grid = np.linspace(0, 2 / eigenvalues[-1], 400)
    losses = np.sum((eigenvalues + k) * (1 - grid[:, None] * eigenvalues) ** 20, axis=1)
    slopes = np.sign(np.diff(losses))
    assert np.count_nonzero(np.diff(slopes)) == 1
    assert abs(grid[np.argmin(losses)] - found[10].step_size) <= grid[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_risk_of_a_filter_is_a_distance_to_the_ridge(shape):
    samples, dimension = shape
    inputs, eigenvalues = spectrum(*shape)
    noise, rng = 0.8, np.random.default_rng(2)
    k = noise**2 * dimension / samples
    ridge = eigenvalues / (eigenvalues + k)
    least = 1 - len(eigenvalues) / dimension + np.sum(k / (eigenvalues + k)) / dimension
    assert_same(risk_of(ridge, eigenvalues, *shape, noise), least)
    for _ in range(20):
        shares = rng.uniform(-1, 2, size=len(eigenvalues))
        away = np.sum((1 + k / eigenvalues) * (shares - ridge) ** 2) / dimension
        assert_same(risk_of(shares, eigenvalues, *shape, noise), least + away)
    # (b): for a normal x* the risk of the posterior mean, from its covariance.
    covariance = np.linalg.inv(dimension * np.eye(dimension) + inputs.T @ inputs / noise**2)
    assert_same(np.trace(covariance), least, 1e-11)
    of_targets = covariance @ inputs.T / noise**2
    penalized = np.linalg.solve(
        inputs.T @ inputs / samples + k * np.eye(dimension), inputs.T / samples
    )
    assert_same(of_targets, penalized, 1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_the_validated_step_size_lies_between_the_votes(shape, noise):
    samples, dimension = shape
    _, eigenvalues = spectrum(*shape, seed=3)
    k = noise**2 * dimension / samples
    largest = eigenvalues[-1]
    m1, m2 = np.sum(eigenvalues) / dimension, np.sum(eigenvalues**2) / dimension
    for steps in (1, 2, 9, 64, 2000):
        votes = (1 - (1 + eigenvalues / k) ** (-1 / steps)) / eigenvalues
        assert np.all(np.diff(votes) < 0)  # steeper ones vote for less
        assert np.all(1 / (eigenvalues + k) <= steps * votes * (1 + 1e-12))
        assert np.all(steps * votes <= 1 / k)

        def risks(grid, steps=steps):
            shares = 1 - (1 - grid[:, None] * eigenvalues) ** steps
            return risk_of(shares, eigenvalues, samples, dimension, noise)

        grid = np.linspace(0, 1 / largest, 40_001)
        found = grid[np.argmin(risks(grid))]
        assert votes[-1] - grid[1] <= found <= votes[0] + grid[1]
        assert 1 / (largest + k) - steps * grid[1] <= steps * found
        assert steps * found <= 1 / k + steps * grid[1]
        if steps >= largest * m1 / (2 * m2 + k * m1):
            times = m1 / (2 * m2 + k * m1)  # the step size of the proof
            assert risks(np.array([times / steps]))[0] <= 1 - m1 * times + 1e-12
        if steps == 2000:  # (b): nothing beyond 1/L does better
            beyond = np.linspace(1 / largest, 3 / largest, 40_001)
            with np.errstate(over="ignore"):
                assert np.min(risks(beyond)) > np.min(risks(grid))


@pytest.mark.parametrize("ratio", [0.2, 0.7, 1.5, 4.0])
def test_the_limits_in_closed_form(ratio):
    law = spectra.marchenko_pastur(ratio)
    eigenvalues, weights = np.asarray(law.eigenvalues), np.asarray(law.weights)
    kept = min(1.0, 1 / ratio)  # nonzero eigenvalues, as a share of d
    m1, m2 = kept * np.sum(weights * eigenvalues), kept * np.sum(weights * eigenvalues**2)
    assert_same([m1, m2], [1.0, 1 + ratio])
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    assert abs(2 / (low + high) - 1 / (1 + ratio)) < 1e-15
    assert high <= 2 * (1 + ratio)  # the condition on T holds from T = 1 on
    for noise in (0.2, 1.0, 3.0):
        least_squares_one = spectra.risk(jnp.ones(200), law, noise)
        assert_same(least_squares_risk(ratio, noise), least_squares_one, 1e-11)
        ridge = spectra.ridge_shares(noise**2 * ratio, law.eigenvalues)
        best = best_risk(ratio, noise)
        assert_same(best, spectra.risk(ridge, law, noise), 1e-11)
        k = noise**2 * ratio
        assert abs(ratio * best**2 + (1 - ratio + k) * best - k) <= 1e-13 * (1 + k)
        for steps in (1, 5, 100):
            found = jax.jit(tuned_by_validation)(law, noise, steps).risk
            assert best - 1e-12 <= found <= 1 - 1 / (2 * (1 + ratio) + k)


@pytest.mark.parametrize("ratio", [0.2, 0.7, 1.5, 4.0])
def test_the_price_is_of_fourth_order_in_the_noise(ratio):
    law = spectra.marchenko_pastur(ratio)
    inverse_square = min(1.0, 1 / ratio) * jnp.sum(law.weights / law.eigenvalues**2)
    assert_same(inverse_square, 1 / abs(1 - ratio) ** 3, 1e-9)
    for noise in (0.01, 0.1, 1.0, 4.0):
        k = noise**2 * ratio
        gains = k**2 / (law.eigenvalues * (law.eigenvalues + k))
        price = least_squares_risk(ratio, noise) - best_risk(ratio, noise)
        exact = min(1.0, 1 / ratio) * jnp.sum(law.weights * gains)
        # The price is a difference of two risks: rounding is measured by these.
        assert abs(price - exact) <= 1e-12 * least_squares_risk(ratio, noise)
        assert exact <= noise**4 * ratio**2 / abs(1 - ratio) ** 3
    border = (abs(ratio - 1) / ratio) ** 0.5
    assert least_squares_risk(ratio, 0.999 * border) < 1 < least_squares_risk(ratio, 1.001 * border)
    if ratio > 1:  # there even the best filter gains little: within p, and yet worse than 0
        assert_same(best_risk(ratio, border), (1 - 1 / ratio) ** 0.5)
        share = (1 - 1 / ratio) ** -0.5 - 1
        assert_same(harmless_noise(ratio, share), border)
        assert harmless_noise(ratio, 1.1 * share) > border
    quotients = [
        least_squares_risk(ratio, s) / best_risk(ratio, s) for s in np.geomspace(0.1, 9, 40)
    ]
    assert np.all(np.diff(quotients) > 0)
    for share in (0.01, 0.3, 2.0):
        noise = harmless_noise(ratio, share)
        assert_same(least_squares_risk(ratio, noise), (1 + share) * best_risk(ratio, noise), 1e-11)
        if ratio < 1:
            square = share * (1 + share) * (1 - ratio) ** 2 / (ratio * (1 + share * (1 - ratio)))
            assert_same(noise**2, square)


def _tuned_on_tasks(samples, dimension, noise, steps, tasks, seed, grid):
    """Mean losses of truncated runs on random tasks, on their own and on fresh samples; errors."""

    @jax.jit
    def losses(key):
        keys = jax.random.split(key, 3)
        task = least_squares.draw_task(keys[0], samples, dimension, noise)
        direction = least_squares.on_sphere(keys[1], dimension)
        fresh = least_squares.draw_samples(keys[2], task.parameter, samples, noise)

        def outcome(step_size):
            run = least_squares.descend(
                task.inputs, task.targets, step_size, steps, 40 * noise, direction
            )
            error = jnp.sum((run.point - task.parameter) ** 2)
            return (
                least_squares.sample_loss(task.inputs, task.targets, run.point),
                least_squares.sample_loss(*fresh, run.point),
                error,
            )

        return jax.vmap(outcome)(grid)

    return [
        jnp.mean(part, axis=0)
        for part in jax.lax.map(losses, jax.random.split(jax.random.key(seed), tasks))
    ]


def test_with_few_samples_train_by_train_overfits_on_random_tasks():
    """60 dimensions, 30 samples, noise 3; tuned on 30 tasks, judged on 60 others."""
    grid, noise = jnp.logspace(-4.5, 2.5, 43), 3.0
    chosen = {}
    for steps in (20, 60):
        train, valid, _ = _tuned_on_tasks(30, 60, noise, steps, 30, 0, grid)
        errors = _tuned_on_tasks(30, 60, noise, steps, 60, 1, grid)[2]
        for name, losses in (("train", train), ("valid", valid)):
            best = int(jnp.argmin(losses))
            chosen[name, steps] = float(grid[best]), float(errors[best])
        # Wild step sizes are truncated, and lose in both.
        assert train[-1] > train[0] and valid[-1] > valid[0]
    for steps in (20, 60):
        step_size, error = chosen["train", steps]
        assert 0.2 < step_size < 0.6 and error > 0.5 * noise**2
        step_size, error = chosen["valid", steps]
        assert 0.01 < step_size * steps < 0.25 and error < 0.99
    assert chosen["valid", 60][0] < 0.5 * chosen["valid", 20][0]


def test_at_least_one_share_in_200_is_large():
    rng = np.random.default_rng(4)
    for samples, dimension in ((100, 400), (100, 200), (150, 200)):
        inputs = rng.normal(size=(samples, dimension))
        eigenvalues = np.linalg.eigvalsh(inputs @ inputs.T / samples)
        ratio = dimension / samples
        # Part (a) for the spectrum; the spread is close to γ, of which γ/3 is claimed.
        assert 0.01 * ratio <= eigenvalues[0] and eigenvalues[-1] <= 3.61 * ratio
        assert np.var(eigenvalues) >= ratio / 3
        for steps in (2, 3, 8, 100, 1000):
            least = 53 / steps
            for step_size in np.concatenate(
                [np.geomspace(least, 100 * least, 60), 2 / eigenvalues[eigenvalues < 2 / least]]
            ):
                with np.errstate(over="ignore"):
                    shares = 1 - (1 - step_size * eigenvalues) ** steps
                assert np.mean(np.abs(shares) >= 0.5) >= 1 / 200
    # (c), where nothing grows: a mean of many draws of x* and the noise is far above the bound.
    noise, step_size, steps = 2.0, 0.1, 600
    shares = 1 - (1 - step_size * eigenvalues) ** steps
    assert risk_of(shares, eigenvalues, samples, dimension, noise) >= noise**2 / 24000


def test_with_many_samples_train_by_train_is_nearly_optimal_on_random_tasks():
    """One training task is enough: the error over new tasks is dσ²/n but for a few percent."""
    samples, dimension, noise, steps = 1500, 4, 1.0, 6
    grid = jnp.linspace(0.05, 2.5, 50)

    @jax.jit
    def task_of(key):
        keys = jax.random.split(key)
        task = least_squares.draw_task(keys[0], samples, dimension, noise)
        return in_eigenbasis(task, least_squares.on_sphere(keys[1], dimension))

    @jax.jit
    def runs(task):
        return jax.vmap(lambda b: descend_in_eigenbasis(task, b, steps, 40 * noise))(grid)

    for seed in (0, 1):
        best = int(jnp.argmin(runs(task_of(jax.random.key(seed))).train_loss))
        assert 0.90 <= grid[best] <= 1.11
        keys = jax.random.split(jax.random.key(100 + seed), 400)
        errors = np.asarray(jax.lax.map(lambda key: runs(task_of(key)).error, keys))[:, best]
        target = dimension * noise**2 / samples
        # Five standard errors of the mean, and 5 % for the ε of the theorem.
        assert np.mean(errors) <= 1.05 * target + 5 * np.std(errors) / 20
        assert np.mean(errors) >= 0.95 * target - 5 * np.std(errors) / 20


def test_one_sample_at_a_time():
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(5, 9))
    lengths = np.sum(inputs**2, axis=1)
    law = spectra.spectrum_of(jnp.asarray(inputs))
    eigenvalues = np.asarray(law.eigenvalues)
    low, high = eigenvalues[0], eigenvalues[-1]
    assert high <= np.max(lengths)
    # (a), on paths.
    targets = rng.normal(size=5)
    solution = np.linalg.pinv(inputs) @ targets
    for step_size, sign in ((2 / np.max(lengths), -1), (2 / np.min(lengths), 1)):
        x, distances = np.zeros(9), []
        for row in rng.integers(0, 5, size=60):
            x = x - step_size * inputs[row] * (inputs[row] @ x - targets[row])
            distances.append(np.linalg.norm(x - solution))
        changes = np.diff(distances)
        assert np.all(sign * changes >= -1e-12 * np.abs(distances[1:]))
    # (b) and (c), exact means.
    noise, grid = 1.2, np.geomspace(1e-4, 2 / np.min(lengths), 120)
    made = jax.jit(jax.vmap(lambda b: stochastic_risk(inputs, b, 2000, noise)))(jnp.asarray(grid))
    fitted = noise**2 * np.sum(1 / (5 * eigenvalues)) + 5 / 9  # the mean of ||x_LS||²
    assert_same(least_squares_risk_of(eigenvalues, 5, 9, noise), 4 / 9 + fitted - 5 / 9)
    for steps in (1, 30, 400, 2000):
        shares = 1 - (1 - grid[:, None] * eigenvalues) ** steps
        with np.errstate(over="ignore"):
            plain = risk_of(shares, eigenvalues, 5, 9, noise)
        stochastic = np.asarray(made.risk[:, steps])
        calm = grid <= 2 / np.max(lengths)
        added = steps * grid**2 * np.max(lengths) * high * fitted
        assert np.all(stochastic[calm] >= plain[calm] * (1 - 1e-10))
        assert np.all(stochastic[calm] <= (plain + added)[calm] * (1 + 1e-10))
    best = int(np.argmin(made.train_loss[:, 2000]))
    assert low / (2 * np.max(lengths) * high) <= grid[best] < 2 / np.min(lengths)
    assert_same(made.risk[best, 2000], least_squares_risk_of(eigenvalues, 5, 9, noise), 1e-6)
    long = tuned_by_validation(law, noise, 2000)
    assert abs(np.min(made.risk[:, 2000]) / long.risk - 1) <= 0.01


def test_the_mean_over_orders_is_that_of_runs():
    """20000 random orders, parameters and noises, against the recursion."""
    rng, draws, noise, step_size, steps = np.random.default_rng(6), 20_000, 0.8, 0.04, 30
    inputs = rng.normal(size=(4, 7))
    truths = rng.normal(size=(draws, 7))
    truths /= np.linalg.norm(truths, axis=1, keepdims=True)
    targets = truths @ inputs.T + noise * rng.normal(size=(draws, 4))
    points = np.zeros((draws, 7))
    for _ in range(steps):
        rows = rng.integers(0, 4, size=draws)
        residuals = np.sum(inputs[rows] * points, axis=1) - targets[np.arange(draws), rows]
        points -= step_size * residuals[:, None] * inputs[rows]
    made = stochastic_risk(inputs, step_size, steps, noise)
    for found, expected in (
        (np.sum((points - truths) ** 2, axis=1), made.risk),
        (0.5 * np.mean((targets - points @ inputs.T) ** 2, axis=1), made.train_loss),
    ):
        assert expected.shape == (steps + 1,)
        assert abs(np.mean(found) - expected[-1]) <= 4.5 * np.std(found) / np.sqrt(draws)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stochastic_risk(jnp.ones((3, 2)), 0.1, 3, 1.0), "inputs must have shape"),
        (lambda: stochastic_risk(jnp.ones((2, 3)), 0.1, 3, 1.0), "inputs must have full rank"),
        (lambda: stochastic_risk(jnp.eye(2), -0.1, 3, 1.0), "step_size must be at least 0"),
        (lambda: stochastic_risk(jnp.eye(2), 0.1, 3, -1.0), "noise must be at least 0"),
        (lambda: least_squares_risk(0.0, 1.0), "ratio must be positive"),
        (lambda: best_risk(1.0, -1.0), "noise must be at least 0"),
        (lambda: harmless_noise(1.0, 0.0), "excess must be positive"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_center_wants_all_samples_and_a_strength_wants_fresh_ones():
    """20000 repetitions with 3 tasks in 2 dimensions; the minimizers by least squares."""
    rng, repeats, tasks, dimension = np.random.default_rng(7), 20_000, 3, 2
    samples, share, noise, spread = 10, 0.4, 1.5, 0.8
    center = np.array([1.0, -2.0])
    orthogonal = [np.linalg.qr(rng.normal(size=(n, dimension)))[0] * n**0.5 for n in (4, 6)]
    inputs = np.concatenate(orthogonal)
    assert_same(inputs.T @ inputs, samples * np.eye(dimension), 1e-12)
    hidden = center + spread * rng.normal(size=(repeats, tasks, dimension))
    targets = hidden @ inputs.T + noise * rng.normal(size=(repeats, tasks, samples))

    def run(parts, targets, strength):
        """The learner's point as a map of the center: x(c) = offset + slope c."""
        offset = targets @ parts / len(parts) / (1 + strength)
        return offset, strength / (1 + strength)

    def center_of(offset, slope, judged_inputs, judged_targets):
        """The c with the least sum of ||y - A(offset + slope c)||², by least squares."""
        left = judged_targets - offset @ judged_inputs.T
        rows = slope * np.tile(judged_inputs, (tasks, 1))
        return left.reshape(repeats, -1) @ np.linalg.pinv(rows).T

    def check(found, expected):
        errors = np.sum((found - center) ** 2, axis=1)
        assert abs(np.mean(errors) - expected) <= 4.5 * np.std(errors) / np.sqrt(repeats)
        means = 4.5 * np.std(found, axis=0) / np.sqrt(repeats)
        assert np.all(np.abs(np.mean(found, axis=0) - center) <= means)

    for strength in (0.5, 2.0):
        whole = center_of(*run(inputs, targets, strength), inputs, targets)
        check(whole, dimension / tasks * (spread**2 + noise**2 / samples))
        split = center_of(
            *run(orthogonal[0], targets[..., :4], strength), orthogonal[1], targets[..., 4:]
        )
        factor = (1 + 1 / strength) ** 2 / (1 - share) + 1 / (strength**2 * share)
        check(split, dimension / tasks * (spread**2 + noise**2 / samples * factor))
        assert factor > 1
        # The extra factor tends to 1 only if κ²θ grows, too.
        small = [(1 + 1 / k) ** 2 / (1 - t) + 1 / (k**2 * t) for k, t in ((1e4, 1e-4), (1e2, 1e-4))]
        assert small[0] < 1.001 and small[1] > 1.9
    # (b): a split chooses the strength that is best for the samples in the run.
    strengths = noise**2 / (4 * spread**2) * np.array([0.4, 0.7, 1.0, 1.4, 2.5])
    judged = []
    for strength in strengths:
        offset, slope = run(orthogonal[0], targets[..., :4], strength)
        left = targets[..., 4:] - (offset + slope * center) @ orthogonal[1].T
        judged.append(np.mean(left**2))
    assert np.argmin(judged) == 2
    # (b): the training loss increases with the strength; the error is smallest at σ²/(nω²).
    best = noise**2 / (samples * spread**2)
    losses, errors = [], []
    for strength in (0.0, 0.5 * best, best, 2 * best, 10 * best):
        offset, slope = run(inputs, targets, strength)
        points = offset + slope * center
        losses.append(np.mean((targets - points @ inputs.T) ** 2))
        errors.append(np.mean(np.sum((points - hidden) ** 2, axis=-1)))
        exact = dimension * (noise**2 / samples + strength**2 * spread**2) / (1 + strength) ** 2
        assert abs(errors[-1] / exact - 1) <= 0.03
    assert np.all(np.diff(losses) > 0) and np.argmin(errors) == 2
