"""Results in the words of figures and questions, which cannot hold a glued number.

book/typed_numbers.yml names the test of each. The function is the page's own, the one that the
figure draws; a range of a slider is walked through at its steps, or at a grid.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from collect import collect


def page(name):
    """Pages are a parameter, so that one worker runs all tests of a page and its cells once."""
    return pytest.mark.parametrize("name", [f"notebooks/{name}"])


def outputs(name, function, values, *others):
    """What the figure's function returns along a control; one array for each output."""
    run = jax.vmap(collect(name).names[function], (0, *(None for _ in others)))
    found = jax.jit(run)(jnp.asarray(values), *others)
    return {key: np.asarray(value) for key, value in found.items()}


@page("momentum")
def test_the_race_turns_where_it_says(name):
    momenta = np.arange(99) / 100
    race = outputs(name, "race", momenta)
    losses, best = race["final_heavy"], 74
    assert np.argmin(losses) == best and np.all(np.diff(losses[: best + 1]) < 0)
    # Several hundred steps of gradient descent, at the best momentum; at the end worse than none.
    assert 300 < race["catches_up"][best] < 1000 and losses[-1] > losses[0]


@page("momentum")
def test_too_much_trust_may_help_on_one_quadratic(name):
    final = outputs(name, "hint_dial", [1.0, 1.2])["final"]
    assert final[1] < 0.9 * final[0]


@page("momentum")
def test_a_smaller_step_breaks_the_cycle(name):
    starts = np.linspace(-4, 4, 81)
    at_best = outputs(name, "cycle", starts, 1 / 9, 4 / 9)
    smaller = outputs(name, "cycle", starts, 0.105, 4 / 9)
    assert at_best["cycles"].any() and smaller["converges"].all()
    assert round(100 * (1 - 9 * 0.105)) == 6


@page("differentiating")
def test_a_large_ridge_arrives_early(name):
    found = outputs(name, "stopping", [20, 25], 0.4)
    assert np.all(found["error_implied"] < 1e-8) and found["error_implied"][1] < 1e-9
    assert outputs(name, "stopping", [20], 0.5)["error_unrolled"][0] < 1e-9


@page("exploding")
def test_forty_starts_lose_their_digits(name):
    lost = outputs(name, "digits", np.arange(40))
    assert lost["single_lost"].max() <= 20 and lost["double_lost"].max() <= 40


@page("exploding")
def test_the_blurred_slope_is_known_as_it_says(name):
    """A finer grid for the same integral, as the second opinion."""
    names = collect(name).names

    def slope(step_size, count):
        offsets = np.linspace(-4, 4, count)
        weights = np.exp(-(offsets**2) / 2)
        steps = step_size + names["BLUR"] * offsets[:, None]
        x = np.broadcast_to(np.asarray(names["fresh"]), (count, names["RUNS"]))
        for _ in range(names["STEPS_WINDOW"]):
            x = x + steps * x * (1 - x**2)
        means = np.mean((x**2 - 1) ** 2 / 2, axis=1)
        return weights @ (offsets * means) / weights.sum() / names["BLUR"]

    places = range(0, 99, 4)
    off = [abs(names["blurred_slopes"][k] - slope(names["grid"][k], 4003)) for k in places]
    small, large = off[:10], off[10:]  # up to step size 1.26, and beyond
    assert max(small) < 0.001 and 0.01 < max(large) < 0.03


@page("exploding")
def test_the_best_window_shrinks_beyond_the_edge(name):
    grid = collect(name).names["grid"]
    best = outputs(name, "bargain", grid)["best"]
    assert np.all(best[grid <= 1] >= 14) and np.all(best[grid > 1.3] <= 6)


@page("first_order_maml")
def test_the_symmetric_resting_point_is_the_farther_one(name):
    nudges = np.arange(1, 51) / 50
    rests = outputs(name, "sandwich", nudges)
    forward, symmetric = (
        abs(rests[f"{which}_rest"] - rests["exact_rest"]) for which in ("below", "between")
    )
    np.testing.assert_array_equal(symmetric > forward, nudges > 0.45)


@page("maml")
def test_nudged_maml_rests_near_maml(name):
    curvatures = np.arange(2, 41) / 2
    for pull in np.geomspace(0.1, 10, 25):
        rests = outputs(name, "who_goes_where", curvatures, pull)
        assert np.all(abs(rests["fob_rest"] - rests["maml_rest"]) < 0.002)
    directions = jax.jit(collect(name).names["directions"])
    pulls = np.geomspace(0.2, 10, 25)
    assert max(directions(jnp.array([-1.4, 1.2]), pull)["fob_off"] for pull in pulls) < 0.01


@page("maml")
def test_joint_training_adapts_worse(name):
    run = collect(name).names["adaptation"]
    joint, rivals = 1, (2, 4, 5)  # in the order of the figure's control
    amplitudes, phases = np.linspace(1, 5, 9), np.linspace(0, 3.14, 9)
    for phase in phases:
        found = jax.jit(jax.vmap(run, (None, 0, None, None)))(joint, amplitudes, phase, 5)
        for rival in rivals:
            ratio = found[f"errors_{joint}"] / found[f"errors_{rival}"]
            assert np.all(ratio[:, 1:] > 1) and np.all(ratio[:, 5] >= 1.5)


@page("not_accelerated")
def test_every_power_of_the_weights_has_one_slope(name):
    found = outputs(name, "weights_dial", np.arange(61) / 20)
    for line in ("guarantee", "huber", "quadratic"):
        assert np.all(abs(found[f"{line}_slope"] + 1) < 0.01)
    assert np.all(np.diff(found["promised"]) > 0)


@page("optimism")
def test_guessing_pays_up_to_a_turn(name):
    angles = np.arange(1.0, 181.0)
    found = outputs(name, "guessing", angles)
    np.testing.assert_array_equal(found["last_with"] < found["last_without"], angles < 103)


@page("optimism")
def test_the_hint_gains_on_the_axes(name):
    angles = np.arange(46.0)
    found = outputs(name, "turned", angles)
    assert 4.5e6 < found["last_without"][0] / found["last_with"][0] < 5.5e6
    np.testing.assert_array_equal(found["last_with"] < found["last_without"], angles < 23)
    gains = found["total_without"] / found["total_with"]
    assert np.all(gains > 1) and np.argmax(gains) == 0 and np.argmin(gains) == 45
