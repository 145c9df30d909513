"""What the chapter "What to tune on" says about learned optimizers, against the stored numbers."""

import numpy as np

import experiments

RESULT = experiments.load("learned_optimizer")
BY_TRAIN, BY_VALIDATION = "train-by-train", "train-by-validation"


def verdict(data, case, first, second, when="horizon", measure="test_accuracy"):
    for item in RESULT[data][case]["comparisons"]:
        if (item["first"], item["second"]) == (first, second):
            return item[when][measure]["verdict"]
    raise AssertionError(f"{first} and {second} are not compared")


def seeds(data, case, method):
    return np.array(RESULT[data][case]["methods"][method]["test_accuracy_of_seeds"], float)


def test_learned_optimizers_overfit_where_the_chapter_says_so():
    pair = f"learned, {BY_VALIDATION}", f"learned, {BY_TRAIN}"
    for data in RESULT:
        for case in RESULT[data]:
            assert np.all(np.isfinite(seeds(data, case, pair[0])))
            assert verdict(data, case, *pair, measure="test_loss") == "better"
            methods = RESULT[data][case]["methods"]
            assert RESULT[data][case]["steps"][9] == RESULT[data][case]["meta_horizon"] == 500
            assert RESULT[data][case]["steps"][-1] == 1000
            # Train-by-train fits its samples better.
            fits = [methods[name]["train_accuracy"][9][0] for name in pair]
            assert fits[0] <= fits[1]
    assert verdict("digits", "few, clean", *pair) == "better"
    assert verdict("digits", "few, noisy", *pair) == "better"
    assert verdict("digits", "few, noisy", *pair, when="last") == "tie"
    assert verdict("digits", "few, noisy", pair[0], "learned, both") == "better"
    for kind in ("SGD", "Adam"):
        own = f"{kind}, {BY_VALIDATION}", f"{kind}, {BY_TRAIN}"
        assert verdict("digits", "few, noisy", *own) == "better"
        for case in RESULT["mnist1d"]:
            assert verdict("mnist1d", case, *own) == "worse"
            assert verdict("mnist1d", case, *own, measure="test_loss") == "better"


def test_what_did_not_go_well():
    noisy = np.sort(seeds("digits", "few, noisy", f"learned, {BY_VALIDATION}")[:, 9])
    assert noisy[0] < 0.65 and noisy[1] > 0.75
    # The worst of them is no better than train-by-train.
    assert noisy[0] < np.max(seeds("digits", "few, noisy", f"learned, {BY_TRAIN}")[:, 9])
    many = seeds("digits", "many, clean", f"learned, {BY_VALIDATION}")
    assert np.min(many[:, -1]) < 0.85 < 0.94 < np.min(many[:, 9])
    against = {
        (data, case): verdict(data, case, f"learned, {BY_VALIDATION}", f"SGD, {BY_VALIDATION}")
        for data in RESULT
        for case in RESULT[data]
    }
    assert [key for key, word in against.items() if word == "better"] == [("mnist1d", "few, noisy")]
    assert [key for key, word in against.items() if word == "worse"] == [("digits", "many, clean")]
    for case in RESULT["mnist1d"]:
        for made in RESULT["mnist1d"][case]["methods"].values():
            assert np.max(np.array(made["test_accuracy"])[:, 0]) < 0.32
