"""The memory of compiled meta-gradients: what must hold of any compiler, on a tiny network."""

import jax
import pytest

import experiments
from experiments.meta_memory import SETTINGS, makers, run
from metagrad.tasks import Task

OPTIONS = {
    name: SETTINGS[name]
    for name in ("regularizer", "inner_step_size", "perturbation", "cg_steps", "features")
}


@pytest.fixture(scope="module")
def tiny():
    return run(
        **OPTIONS,
        classes=3,
        samples=6,
        channels=[4, 16],
        depth=[1],
        inner_steps=[4, 32],
        base={"channels": 4, "depth": 1, "inner_steps": 4},
        methods=["MAML", "FO-MAML", "FO-B-MAML, symmetric"],
    )


def test_memory_of_maml_grows_with_the_steps_and_that_of_first_order_methods_does_not(tiny):
    table = tiny["inner_steps"]["methods"]
    assert table["MAML"][1] > 4 * table["MAML"][0]
    for name in ("FO-MAML", "FO-B-MAML, symmetric"):
        assert table[name][1] == pytest.approx(table[name][0], rel=0.02)


def test_memory_of_every_method_grows_with_the_channels(tiny):
    assert all(row[1] > 1.5 * row[0] for row in tiny["channels"]["methods"].values())


def test_sweeps_meet_at_the_base_and_weights_are_counted(tiny):
    for name in tiny["depth"]["methods"]:
        firsts = {tiny[sweep]["methods"][name][0] for sweep in ("channels", "depth", "inner_steps")}
        assert len(firsts) == 1
    # Kernel 5 into 4 channels, then 19 positions of them into 3 classes.
    assert tiny["depth"]["weights"] == [5 * 4 + 4 + 19 * 4 * 3 + 3]
    assert "JAX" in tiny["compiler"]


def test_every_method_of_the_settings_can_be_made():
    options = {name: value for name, value in OPTIONS.items() if name != "features"}
    available = makers(**options)
    assert set(SETTINGS["methods"]) == set(available)
    task = Task(lambda x: x**2, lambda x: 3.0 * x)
    for name in SETTINGS["methods"]:
        assert jax.eval_shape(lambda x: available[name](2)(task, x), 1.0).shape == ()  # noqa: B023
    base = SETTINGS["base"]
    assert all(base[sweep] in SETTINGS[sweep] for sweep in ("channels", "depth", "inner_steps"))


def test_what_the_chapter_says_of_the_stored_memory():
    result = experiments.load("meta_memory")
    shown = [name for name in SETTINGS["methods"] if not name.startswith(("one", "proximal"))]
    steps, channels = (result[sweep]["methods"] for sweep in ("inner_steps", "channels"))
    flat = [name for name in shown if not name.startswith("MAML")]
    for name in flat:  # from the second place on; at one step the compiler saves the loop
        assert max(steps[name][1:]) == min(steps[name][1:]) < 1.2 * steps[name][0], name
    assert steps["MAML"][-1] > 15 * steps["MAML"][0]
    steps_swept = result["inner_steps"]["values"]
    saved = steps["MAML"][-1] - steps["MAML, checkpointed"][-1]
    assert saved > 0.8 * (steps["MAML"][-1] - steps["MAML"][0])
    for name in shown:
        assert channels[name][-1] > 5 * channels[name][0], name
    for rule in ("FO-B-MAML, forward", "FO-B-MAML, symmetric"):
        for sweep in ("inner_steps", "channels", "depth"):
            rows = (result[sweep]["methods"][name] for name in ("iMAML", rule))
            assert all(
                0.95 < implicit / nudged < 1.67 for implicit, nudged in zip(*rows, strict=True)
            )
    assert 1.7 < steps["FO-B-MAML, symmetric"][-1] / steps["FO-MAML"][-1] < 2.1
    assert 2.5 < steps["MAML, checkpointed"][-1] / steps["MAML, checkpointed"][0] < 3.5
    assert 3.8 < steps["MAML"][-1] / steps["MAML"][steps_swept.index(10)] < 4.4
    for sweep in ("inner_steps", "channels", "depth"):
        for column in zip(*(result[sweep]["methods"][name] for name in shown), strict=True):
            assert column[0] == max(column)
            two = sorted(zip(column, shown, strict=True))[:2]
            assert {name for _, name in two} == {"FO-MAML", "Reptile"}
