"""Train-by-train and train-by-validation: runs against loops, risks against simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metagrad_cases import assert_same, fixed_examples

from metagrad import least_squares, spectra
from metagrad.least_squares_tuning import bayes_risk, tuned_by_training, tuned_by_validation
from metagrad.spectral_tasks import descend_in_eigenbasis, in_eigenbasis

SHAPES = [(12, 20), (20, 12), (15, 15)]


def _task(samples, dimension, noise=1.0, seed=0):
    keys = jax.random.split(jax.random.key(seed))
    task = least_squares.draw_task(keys[0], samples, dimension, noise)
    return task, least_squares.on_sphere(keys[1], dimension)


def _loop(task, step_size, steps, radius, direction, order=None):
    """Gradient descent, or stochastic descent, with its truncation, in NumPy."""
    X, y, _ = (np.asarray(part) for part in task)
    w = np.zeros(X.shape[1])
    for s in range(steps):
        rows = slice(None) if order is None else slice(order[s], order[s] + 1)
        w = w - step_size * X[rows].T @ (X[rows] @ w - y[rows]) / len(y[rows])
        if np.linalg.norm(w) >= radius:
            return radius * np.asarray(direction), True
    return w, False


@pytest.mark.parametrize(("samples", "dimension"), SHAPES)
def test_runs_are_the_loop_in_both_bases(samples, dimension):
    task, direction = _task(samples, dimension)
    seen = in_eigenbasis(task, direction)
    descend = jax.jit(lambda b: least_squares.descend(*task[:2], b, 30, 4.0, direction))
    spectral = jax.jit(lambda b: descend_in_eigenbasis(seen, b, 30, 4.0))
    found = set()
    for step_size in (0.0, 0.01, 0.2, 0.35, 0.6, 2.0, 1e100):
        point, truncated = _loop(task, step_size, 30, 4.0, direction)
        made, other = descend(step_size), spectral(step_size)
        found.add(truncated)
        assert_same(made.point, point, 1e-11) if point.any() else None
        assert bool(made.truncated) == bool(other.truncated) == truncated
        residual = np.asarray(task.targets) - np.asarray(task.inputs) @ point
        assert_same(other.train_loss, 0.5 * np.mean(residual**2), 1e-11)
        loss = least_squares.sample_loss(task.inputs, task.targets, made.point)
        assert_same(loss, other.train_loss, 1e-11)
        assert_same(other.error, np.sum((point - np.asarray(task.parameter)) ** 2), 1e-11)
    assert found == {False, True}


def test_stochastic_runs_are_the_loop():
    task, direction = _task(12, 20)
    order = least_squares.random_order(jax.random.key(3), 12, 50)
    assert order.shape == (50,) and set(np.unique(order)) <= set(range(12))
    for step_size, truncated in ((0.02, False), (0.3, True)):
        made = least_squares.descend(*task[:2], step_size, 50, 10.0, direction, order=order)
        point, cut = _loop(task, step_size, 50, 10.0, direction, np.asarray(order))
        assert cut == truncated == bool(made.truncated)
        assert_same(made.point, point)


def test_stochastic_descent_is_descent_on_average():
    task, direction = _task(8, 12)
    keys = jax.random.split(jax.random.key(5), 4000)

    @jax.jit
    def points(step_size):
        def one(key):
            order = least_squares.random_order(key, 8, 30)
            return least_squares.descend(*task[:2], step_size, 30, 1e9, direction, order=order)

        return jax.vmap(one)(keys).point

    found = points(0.05)
    mean = least_squares.descend(*task[:2], 0.05, 30, 1e9, direction).point
    errors = jnp.std(found, axis=0) / np.sqrt(4000)
    assert np.all(np.abs(jnp.mean(found, axis=0) - mean) <= 4.5 * errors)
    assert np.all(errors < 0.1 * np.max(np.abs(mean)))


def test_stochastic_descent_interpolates_at_1_over_d_and_is_truncated_at_4_over_d():
    task, direction = _task(50, 100, noise=2.0)
    order = least_squares.random_order(jax.random.key(1), 50, 6000)
    run = jax.jit(lambda b: least_squares.descend(*task[:2], b, 6000, 80.0, direction, order=order))
    gentle, wild = run(0.01), run(0.04)
    assert least_squares.sample_loss(*task[:2], gentle.point) < 1e-3 and not gentle.truncated
    assert wild.truncated


@pytest.mark.parametrize(("samples", "dimension"), SHAPES)
@pytest.mark.parametrize("steps", [1, 7, 200])
def test_risk_and_train_loss_given_the_inputs(samples, dimension, steps):
    """Means over w* and the noise for one X, by 20000 draws of both."""
    noise, step_size, draws = 0.7, 0.25, 20_000
    X = np.asarray(_task(samples, dimension)[0].inputs)
    rng = np.random.default_rng(steps)
    truths = rng.normal(size=(draws, dimension))
    truths /= np.linalg.norm(truths, axis=1, keepdims=True)
    targets = truths @ X.T + noise * rng.normal(size=(draws, samples))
    H, points = X.T @ X / samples, np.zeros((draws, dimension))
    for _ in range(steps):
        points = points - step_size * (points @ H - targets @ X / samples)
    errors = np.sum((points - truths) ** 2, axis=1)
    losses = 0.5 * np.mean((targets - points @ X.T) ** 2, axis=1)
    spectrum = spectra.spectrum_of(jnp.asarray(X))
    shares = spectra.descent_shares(step_size, steps, spectrum.eigenvalues)
    for draws_of_it, found in (
        (errors, spectra.risk(shares, spectrum, noise)),
        (losses, spectra.train_loss(shares, spectrum, noise)),
    ):
        spread = np.std(draws_of_it) / np.sqrt(draws)
        assert abs(np.mean(draws_of_it) - found) <= 4 * spread


def test_risk_of_ridge_given_the_inputs():
    noise, penalty, draws = 0.7, 0.9, 20_000
    X = np.asarray(_task(12, 20)[0].inputs)
    rng = np.random.default_rng(2)
    truths = rng.normal(size=(draws, 20))
    truths /= np.linalg.norm(truths, axis=1, keepdims=True)
    targets = truths @ X.T + noise * rng.normal(size=(draws, 12))
    points = np.linalg.solve(X.T @ X / 12 + penalty * np.eye(20), (targets @ X / 12).T).T
    errors = np.sum((points - truths) ** 2, axis=1)
    spectrum = spectra.spectrum_of(jnp.asarray(X))
    found = spectra.risk(spectra.ridge_shares(penalty, spectrum.eigenvalues), spectrum, noise)
    assert abs(np.mean(errors) - found) <= 4 * np.std(errors) / np.sqrt(draws)


def test_least_squares_itself():
    """Shares of 1: the mean over X is (1 - n/d) + σ² n/(d - n - 1), or σ² d/(n - d - 1)."""
    noise, rng = 1.3, np.random.default_rng(8)
    for samples, dimension in ((20, 50), (50, 20)):
        found = []
        for _ in range(400):
            spectrum = spectra.spectrum_of(jnp.asarray(rng.normal(size=(samples, dimension))))
            found.append(float(spectra.risk(jnp.ones(20), spectrum, noise)))
        if samples < dimension:
            mean = 1 - samples / dimension + noise**2 * samples / (dimension - samples - 1)
        else:
            mean = noise**2 * dimension / (samples - dimension - 1)
        assert abs(np.mean(found) - mean) <= 4 * np.std(found) / 20


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 2.0, 5.0])
def test_marchenko_pastur_moments(ratio):
    limit = spectra.marchenko_pastur(ratio)
    mean = lambda values: float(jnp.sum(limit.weights * values))  # noqa: E731
    # At γ = 1 the density has a pole, and the rule is exact for λ^k, k >= 1, only.
    tolerance = 1e-12 if ratio != 1.0 else 1e-2
    assert abs(mean(1.0) - 1) <= tolerance
    assert_same(mean(limit.eigenvalues), max(1.0, ratio), 1e-12)
    assert_same(mean(limit.eigenvalues**2), max(1.0, ratio) * (1 + ratio), 1e-12)
    if ratio != 1.0:
        assert_same(mean(1 / limit.eigenvalues), 1 / abs(1 - ratio), 1e-12)
    fine = spectra.marchenko_pastur(ratio, 20_000)
    shares = [spectra.descent_shares(0.1, 40, law.eigenvalues) for law in (limit, fine)]
    risks = [spectra.risk(g, law, 1.0) for g, law in zip(shares, (limit, fine), strict=True)]
    assert_same(*risks, 1e-12 if ratio != 1.0 else 1e-3)


@pytest.mark.parametrize(("samples", "dimension"), [(300, 600), (600, 300)])
def test_marchenko_pastur_is_the_limit(samples, dimension):
    rng = np.random.default_rng(4)
    spectrum = spectra.spectrum_of(jnp.asarray(rng.normal(size=(samples, dimension))))
    limit = spectra.marchenko_pastur(dimension / samples)
    for step_size, steps in ((0.02, 10), (0.2, 40)):
        for mean in (spectra.risk, spectra.train_loss):
            found = [
                mean(spectra.descent_shares(step_size, steps, law.eigenvalues), law, 1.0)
                for law in (spectrum, limit)
            ]
            # Smooth means over a spectrum differ from their limit by O(1/n).
            assert abs(found[0] - found[1]) <= 5.0 / samples


def test_shares():
    eigenvalues = jnp.array([1e-9, 0.1, 1.0, 2.0, 3.0, 5.0, 8.0])
    for steps in (1, 2, 5, 40):
        found = spectra.descent_shares(0.5, steps, eigenvalues)
        exact = -np.expm1(steps * np.log1p(-0.5 * np.asarray(eigenvalues[:2])))
        assert_same(found[:2], exact, 1e-14)
        assert abs(found[0] / (0.5e-9 * steps) - 1) < 1e-6  # no cancellation
        assert_same(found[2:], 1 - (1 - 0.5 * np.asarray(eigenvalues[2:])) ** steps, 1e-14)
    slope = jax.grad(lambda b: jnp.sum(spectra.descent_shares(b, 3, eigenvalues)))(0.5)
    assert_same(
        slope, np.sum(3 * np.asarray(eigenvalues) * (1 - 0.5 * np.asarray(eigenvalues)) ** 2)
    )
    many = spectra.descent_shares(2e-6, 10**6, eigenvalues)
    assert_same(many, spectra.flow_shares(2.0, eigenvalues), 1e-4)


@jax.jit
def _bayes_and_another(ratio, noise, shares):
    limit = spectra.marchenko_pastur(ratio, 50)
    kept = jnp.sum(limit.weights * limit.eigenvalues / (limit.eigenvalues + noise**2 * ratio))
    identity = 1.0 - jnp.minimum(1.0, 1.0 / ratio) * kept
    return bayes_risk(limit, noise), identity, spectra.risk(shares, limit, noise)


@fixed_examples
@given(st.floats(0.1, 8.0), st.floats(0.0, 5.0), st.integers(0, 10**6))
def test_nothing_beats_the_bayes_ridge(ratio, noise, seed):
    shares = np.random.default_rng(seed).uniform(-0.2, 1.2, size=50)
    best, identity, another = _bayes_and_another(ratio, noise, shares)
    assert another >= best - 1e-12
    assert abs(best - identity) <= 1e-12


@jax.jit
def _train_losses(grid, steps, law):
    def loss(step_size):
        return spectra.train_loss(
            spectra.descent_shares(step_size, steps, law.eigenvalues), law, 1.5
        )

    return jax.vmap(loss)(grid)


trained, validated = jax.jit(tuned_by_training), jax.jit(tuned_by_validation)


def test_train_by_train_in_the_limit():
    limit = spectra.marchenko_pastur(2.0)
    # Measured by another program.
    for noise, loss in ((1.0, 1.481), (2.0, 4.426), (4.0, 16.21)):
        assert abs(trained(limit, noise, 40).risk - loss) < 6e-4 * loss
    for ratio in (0.5, 2.0, 4.0):
        law = spectra.marchenko_pastur(ratio)
        for steps in (10**4, 10**6):  # at 10⁶ the loss itself is e^{-10⁶}
            found = trained(law, 1.0, steps)
            assert abs(found.step_size * (1 + ratio) - 1) <= 20 / steps
            assert_same(found.risk, spectra.risk(jnp.ones(200), law, 1.0), 1e-9)
    # The minimizer of the plain formula, where that can be computed.
    for ratio, steps in ((2.0, 3), (2.0, 20), (0.5, 8)):
        law = spectra.marchenko_pastur(ratio)
        best = trained(law, 1.5, steps)
        grid = best.step_size * (1 + jnp.linspace(-0.3, 0.3, 601))
        losses = _train_losses(grid, steps, law)
        assert abs(int(np.argmin(losses)) - 300) <= 1
        assert best.train_loss <= jnp.min(losses) + 1e-15


def test_train_by_validation_in_the_limit():
    limit = spectra.marchenko_pastur(2.0)
    for noise, loss in ((1.0, 0.784), (2.0, 0.908), (4.0, 0.971)):
        found = validated(limit, noise, 40)
        assert abs(found.risk - loss) < 6e-4
        # The price of a constant step instead of the best estimator: less than 1 %.
        assert bayes_risk(limit, noise) <= found.risk <= 1.008 * bayes_risk(limit, noise)
    for steps, scaled in ((40, 0.3446), (10**4, 0.3482)):
        assert abs(steps * validated(limit, 1.0, steps).step_size - scaled) < 1e-4
    for ratio in (0.5, 2.0):  # much noise: τ = 1 / (2 (γ + 1) + σ² γ)
        law, noise = spectra.marchenko_pastur(ratio), 30.0
        found = validated(law, noise, 10**5)
        expected = 1 / (2 * (1 + ratio) + noise**2 * ratio)
        assert abs(found.step_size * 10**5 / expected - 1) <= 5e-3
        assert abs((1 - found.risk) / expected - 1) <= 5e-3


@pytest.mark.parametrize(
    ("noise", "steps", "ratio"), [(0.0, 5, 2.0), (0.5, 1, 0.5), (3.0, 200, 4.0)]
)
def test_train_by_validation_finds_the_best_step_size(noise, steps, ratio):
    law = spectra.marchenko_pastur(ratio)
    found = validated(law, noise, steps)
    top = 2 / float(jnp.max(law.eigenvalues))
    grid = jnp.asarray(np.geomspace(1e-6 * top / steps, top, 4001))
    risks = jax.jit(
        jax.vmap(
            lambda b: spectra.risk(spectra.descent_shares(b, steps, law.eigenvalues), law, noise)
        )
    )(grid)
    assert found.risk <= jnp.min(risks) + 1e-14
    assert abs(found.step_size / grid[jnp.argmin(risks)] - 1) <= 0.01


def test_noise_decides_which_is_better():
    limit = spectra.marchenko_pastur(2.0)
    risks = {
        noise: (
            trained(limit, noise, 40).risk,
            validated(limit, noise, 40).risk,
        )
        for noise in (0.1, 0.25, 1.0, 4.0)
    }
    for by_training, by_validation in risks.values():
        assert by_validation <= by_training  # tuned on the risk itself
    assert risks[0.1][0] - risks[0.1][1] < 0.005 and risks[0.25][0] - risks[0.25][1] < 0.02
    assert risks[1.0][0] > 1.4 and risks[1.0][1] < 0.8  # worse, and better, than the start
    # Tuned on half of the samples, used with all of them.
    half = validated(spectra.marchenko_pastur(4.0), 1.0, 40, deployed=limit)
    assert risks[1.0][1] <= half.risk <= risks[1.0][1] + 0.05


def test_simulation_agrees_with_the_limit():
    """200 tasks with d = 100, n = 50: losses and errors at both tuned step sizes."""
    noise, steps = 2.0, 40
    limit = spectra.marchenko_pastur(2.0)
    made = {
        "train": tuned_by_training(limit, noise, steps),
        "valid": tuned_by_validation(limit, noise, steps),
    }
    sizes = jnp.stack([tuned.step_size for tuned in made.values()])

    @jax.jit
    def simulate(key):
        keys = jax.random.split(key)
        task = least_squares.draw_task(keys[0], 50, 100, noise)
        seen = in_eigenbasis(task, least_squares.on_sphere(keys[1], 100))
        return jax.vmap(lambda b: descend_in_eigenbasis(seen, b, steps, 40 * noise))(sizes)

    runs = jax.lax.map(simulate, jax.random.split(jax.random.key(6), 200))
    assert not np.any(runs.truncated)
    for index, tuned in enumerate(made.values()):
        for found, expected in (
            (runs.error[:, index], tuned.risk),
            (runs.train_loss[:, index], tuned.train_loss),
        ):
            spread = float(jnp.std(found)) / np.sqrt(200)
            # The limit differs from d = 100 by O(1/n) of itself.
            assert abs(jnp.mean(found) - expected) <= 4 * spread + expected / 50


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spectra.marchenko_pastur(0.0), ValueError, "ratio must be positive, got 0.0"),
        (lambda: spectra.marchenko_pastur(2.0, 0), ValueError, "nodes must be an integer of at"),
        (lambda: spectra.spectrum_of(jnp.ones(3)), ValueError, r"inputs must have shape \(n, d\)"),
        (
            lambda: spectra.descent_shares(-0.1, 3, jnp.ones(2)),
            ValueError,
            "step_size must be at least 0",
        ),
        (
            lambda: tuned_by_training(spectra.marchenko_pastur(2.0), -1.0, 3),
            ValueError,
            "noise must be at least 0",
        ),
        (
            lambda: tuned_by_validation(spectra.marchenko_pastur(2.0), -1.0, 3),
            ValueError,
            "noise must be at least 0",
        ),
        (
            lambda: least_squares.draw_task(jax.random.key(0), 0, 3, 1.0),
            ValueError,
            "samples must be an integer of at least 1, got 0",
        ),
        (lambda: least_squares.draw_task(0, 3, 3, 1.0), TypeError, "key must be one random key"),
        (
            lambda: least_squares.descend(jnp.eye(2), jnp.ones(3), 0.1, 3, 40.0, jnp.ones(2)),
            ValueError,
            r"targets must have shape \(2,\), got shape \(3,\)",
        ),
        (
            lambda: least_squares.descend(jnp.eye(2), jnp.ones(2), 0.1, 3, 0.0, jnp.ones(2)),
            ValueError,
            "radius must be positive",
        ),
        (
            lambda: least_squares.descend(
                jnp.eye(2), jnp.ones(2), 0.1, 3, 1.0, jnp.ones(2), order=jnp.array([0, 1])
            ),
            ValueError,
            r"order must have shape \(3,\), got shape \(2,\)",
        ),
    ],
)
def test_bad_values_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
