"""The stored scores against the exact second moments, which the game and the noise determine."""

import numpy as np
import pytest

import experiments
from experiments.noisy_games import SETTINGS, squared_distances

RESULT = experiments.load("noisy_games")
GAMES = RESULT["games"]
GRID = np.logspace(*SETTINGS["log10_step_sizes"])
CASES = [
    (game, noise, name)
    for game in SETTINGS["games"]
    for noise in SETTINGS["noises"]
    for name in SETTINGS["methods"]
]


def expected_squared_distances(game, noise, method, step_size, count):
    """E |z_t|² for t = 0, ..., count over starts and noise: no random number is drawn.

    The game splits into the pairs (x_i, y_i), z = (x, y) with the gradient A z + noise. After the
    first step, a plain gradient step after which m is its gradient, (z, m) obeys
    z' = z - η ((1 + o) (A z + ξ) - o m), m' = d m + (1 - d) (A z + ξ).
    """
    convexity = SETTINGS["games"][game]
    optimism, decay = method["optimism"], method["decay"]
    eye = np.eye(2)
    total = np.ones(count + 1)
    total[1:] = 0.0
    for coupling in SETTINGS["couplings"]:
        field = np.array([[convexity, coupling], [-coupling, convexity]])
        start = eye / (2 * len(SETTINGS["couplings"]))  # E z_0 z_0ᵀ on the unit sphere
        first = np.block([[eye - step_size * field], [field]])
        first_noise = np.block([[-step_size * eye], [eye]])
        moment = first @ start @ first.T + noise**2 * first_noise @ first_noise.T
        reach = step_size * (1 + optimism)
        matrix = np.block(
            [
                [eye - reach * field, step_size * optimism * eye],
                [(1 - decay) * field, decay * eye],
            ]
        )
        kick = np.block([[-reach * eye], [(1 - decay) * eye]])
        added = noise**2 * kick @ kick.T
        for t in range(1, count + 1):
            total[t] += np.trace(moment[:2, :2])
            moment = matrix @ moment @ matrix.T + added
    return total


def row(game, noise, name):
    return GAMES[game][str(noise)]["methods"][name]


@pytest.mark.parametrize(("game", "noise", "name"), CASES)
def test_the_score_is_near_its_expectation(game, noise, name):
    found = row(game, noise, name)
    count = SETTINGS["inner_steps"]
    expected = expected_squared_distances(
        game, noise, SETTINGS["methods"][name], found["step_size"], count
    )
    mean, low, high = found["score"]
    assert low <= mean <= high
    exact = expected[-SETTINGS["judged_steps"] :].mean()
    # 24 intervals at 95%: twice as wide, they should all hold.
    assert abs(mean - exact) <= (high - low) + 1e-3 * exact


@pytest.mark.parametrize(("game", "noise", "name"), CASES)
def test_the_tuned_step_size_is_nearly_the_best_of_the_grid(game, noise, name):
    if noise == 0.0:
        pytest.skip("scores below 1e-30 say nothing about tuning")
    count, method = SETTINGS["inner_steps"], SETTINGS["methods"][name]
    with np.errstate(over="ignore", invalid="ignore"):
        exact = [
            expected_squared_distances(game, noise, method, step_size, count)[-100:].mean()
            for step_size in GRID
        ]
    best = np.nanmin(exact)
    tuned = exact[int(np.argmin(np.abs(np.log(GRID / row(game, noise, name)["step_size"]))))]
    assert tuned <= 1.25 * best


@pytest.mark.parametrize("noise", SETTINGS["noises"])
def test_descent_ascent_never_gains_on_the_bilinear_game(noise):
    found = row("bilinear", noise, "descent-ascent")
    assert found["step_size"] == pytest.approx(GRID[0])
    assert found["score"][2] > 1.0


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_optimism_helps_on_the_noisy_bilinear_game_and_omega_more(noise):
    ratios = GAMES["bilinear"][str(noise)]["ratios"]
    assert ratios["optimistic / descent-ascent"][2] < 0.5
    assert ratios["omega / optimistic"][2] < 0.5


def test_strong_noise_takes_the_gain_of_optimism_but_not_all_of_omegas():
    ratios = GAMES["bilinear"]["0.5"]["ratios"]
    assert ratios["optimistic / descent-ascent"][1] > 0.8
    assert ratios["omega / descent-ascent"][2] < 0.8


@pytest.mark.parametrize(("noise", "left"), [(0.1, 2.0), (0.5, 1.5)])
def test_most_of_omegas_lead_is_strength(noise, left):
    def best(optimism, decay):
        method = {"optimism": optimism, "decay": decay}
        with np.errstate(over="ignore", invalid="ignore"):
            scores = [
                expected_squared_distances(
                    "bilinear", noise, method, step_size, SETTINGS["inner_steps"]
                )[-100:].mean()
                for step_size in GRID[4:16]  # from 0.005 to 0.3
            ]
        assert 0 < np.nanargmin(scores) < 11 or np.nanmin(scores) > 0.95  # the best is inside
        return np.nanmin(scores)

    untuned, tuned, average = best(1.0, 0.0), best(10.0, 0.0), best(1.0, 0.9)
    assert untuned > 2.5 * average
    assert average < tuned < left * average
    longer, longest = best(1.0, 0.98), best(1.0, 0.99)
    assert longest < longer < 0.6 * tuned  # when both are tuned, the average leads again


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
def test_on_the_convex_game_the_gain_of_optimism_is_small(noise):
    ratios = GAMES["strongly convex-concave"][str(noise)]["ratios"]
    assert 0.7 < ratios["optimistic / descent-ascent"][0] <= 1.05
    assert ratios["omega / optimistic"][2] < 1.0


def test_one_run_follows_the_recursion_by_hand():
    """Without noise, one pair: the first steps of optimistic gradient descent."""
    method = SETTINGS["methods"]["optimistic"]
    found = squared_distances(0.3, np.array([2.0]), 0.0, method, 0.1, 3, 5)
    field = np.array([[0.3, 2.0], [-2.0, 0.3]])
    # The field is a multiple of a rotation: squared distances do not depend on the direction.
    point, before, distances = np.array([1.0, 0.0]), None, [1.0]
    for _ in range(3):
        gradient = field @ point
        before = gradient if before is None else before
        point = point - 0.1 * (2 * gradient - before)
        before = gradient
        distances.append(float(point @ point))
    np.testing.assert_allclose(found, distances, rtol=1e-12)
