"""What the chapter on optimism says of networks, against the stored result."""

import itertools

import pytest

import experiments

RESULT = experiments.load("neural_optimism")


def table(data, first, second, count):
    entries = RESULT[data]["comparisons"]
    return next(e for e in entries if (e["first"], e["second"]) == (first, second))[count]


def verdicts(first, second, count):
    """All verdicts on the first method: data sets, accuracy and loss, last and average."""
    return [
        table(data, first, second, count)[measure][f"verdict_{when}"]
        for data in RESULT
        for measure, when in itertools.product(("test_accuracy", "train_loss"), ("last", "average"))
    ]


def test_the_look_ahead_does_not_pay_for_its_gradient():
    starts = ("", ", small start")
    pairs = [(f"bootstrapped{start}", f"meta-gradient{start}") for start in starts]
    gradients = [word for pair in pairs for word in verdicts(*pair, "equal_gradients")]
    steps = [word for pair in pairs for word in verdicts(*pair, "equal_steps")]
    assert len(gradients) == len(steps) == 16
    assert gradients.count("better") == 0
    assert gradients.count("worse") > 12
    assert steps.count("better") > 2 * steps.count("worse")
    # Nor does it beat tuned SGD on any count that is paid for.
    assert "better" not in verdicts("bootstrapped", "SGD", "equal_gradients")


def test_learned_step_sizes_win_on_one_data_set_only():
    for data, words in (("digits", ["tie", "worse"]), ("mnist1d", ["better", "better"])):
        against = table(data, "meta-gradient", "SGD", "equal_gradients")
        assert [against[m]["verdict_last"] for m in ("test_accuracy", "train_loss")] == words
    small = table("mnist1d", "meta-gradient, small start", "SGD, small step", "equal_gradients")
    assert small["test_accuracy"]["verdict_last"] == "worse"
    chosen = RESULT["mnist1d"]["methods"]["meta-gradient, small start"]
    assert chosen["chosen"] == min(chosen["candidates"])


@pytest.mark.parametrize("data", sorted(RESULT))
def test_the_order_of_the_comparisons_is_the_one_of_the_printed_table(data):
    names = ["bootstrapped", "meta-gradient", "SGD", "momentum", "Adam"]
    pairs = [(0, 1), (0, 2), (1, 2), (1, 3), (1, 4)]
    expected = [(names[i], names[j]) for i, j in pairs]
    small = ["bootstrapped, small start", "meta-gradient, small start", "SGD, small step"]
    expected += [(small[i], small[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [(e["first"], e["second"]) for e in RESULT[data]["comparisons"]] == expected
