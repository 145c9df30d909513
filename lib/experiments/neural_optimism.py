"""Does looking ahead help networks whose step sizes are learned while they train?

A small analogue of the figure on ImageNet in *Optimistic Meta-Gradients*, with a protocol of our
own: element-wise step sizes tuned online by the plain or the bootstrapped meta-gradient, which is
the practice form of optimism; see `common.training`. Every gradient is paid for.

A seed draws the split of the data, the start and the mini-batches, the same for all methods:
differences are paired. Each method tries its candidates on the tuning seeds; the one with the
best validation accuracy, averaged over checkpoints and seeds, runs on the fresh seeds. SGD's grid
of step sizes contains the initial ones of the learned step sizes, and is five times as fine: these
have a meta step size to tune besides, and no method shall win by more candidates. Momentum and
Adam have grids like it, around scales of their own. "small start" fixes the initial step size at
0.03, about a tenth of what is best for SGD, and leaves only the meta step size to tune.

A run that blew up has accuracy 0 and an infinite loss. Intervals are over the fresh seeds, 95%,
one at a time: Student's for mean accuracies; for median losses between two order statistics. The
seeds share one data set, so that they speak of new splits, starts and mini-batches, not of new
data.
"""

import itertools
from typing import Any

import numpy as np

from experiments.common.intervals import mean_interval, median_interval, rounded
from experiments.common.training import COST, MEASURES, size, trainer

# A method's candidates are all combinations over its axes, each [first, last, how many] in
# geometric order: the step size, or the initial one and the meta step size.
LEARNED = [[0.1, 1.0, 6], [0.001, 0.03, 4]]
SMALL = [[0.03, 0.03, 1], [0.001, 0.1, 4]]
SETTINGS: dict[str, Any] = {
    "data_sets": {
        "digits": {"hidden": [100, 50], "split": [1000, 297], "gradients": 1200},
        "mnist1d": {"channels": 40, "split": [3500, 500], "gradients": 4000},
    },
    "methods": {
        "SGD": {"kind": "sgd", "grid": [[0.1, 1.0, 26]]},
        "momentum": {"kind": "momentum", "grid": [[0.01, 0.1, 26]]},
        "Adam": {"kind": "adam", "grid": [[0.002, 0.02, 26]]},
        "meta-gradient": {"kind": "meta-gradient", "grid": LEARNED},
        "bootstrapped": {"kind": "bootstrapped", "grid": LEARNED},
        "SGD, small step": {"kind": "sgd", "grid": [[0.03, 0.03, 1]]},
        "meta-gradient, small start": {"kind": "meta-gradient", "grid": SMALL},
        "bootstrapped, small start": {"kind": "bootstrapped", "grid": SMALL},
    },
    "momentum": 0.9,
    "batch_size": 32,
    "checkpoints": 8,
    "tuning_seeds": [1000, 3],  # first, how many
    "seeds": [0, 20],
    "comparisons": [  # the first with the second
        ["bootstrapped", "meta-gradient"],
        ["bootstrapped", "SGD"],
        ["meta-gradient", "SGD"],
        ["meta-gradient", "momentum"],
        ["meta-gradient", "Adam"],
        ["bootstrapped, small start", "meta-gradient, small start"],
        ["bootstrapped, small start", "SGD, small step"],
        ["meta-gradient, small start", "SGD, small step"],
    ],
}


def verdict(interval: list[float], equal: float, more_is_better: bool) -> str:
    """Say "better", "worse", or "tie" where the interval [middle, low, high] holds `equal`."""
    _, low, high = interval
    if low <= equal <= high:
        return "tie"
    return "better" if (low > equal) == more_is_better else "worse"


def of(runs: np.ndarray, name: str) -> np.ndarray:
    """Return one measure, shape (seeds, checkpoints); the loss is infinite where it blew up."""
    values = runs[..., MEASURES.index(name)].astype(float)
    return np.where(np.isfinite(values), values, np.inf)


def compare(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Compare two methods seed by seed.

    Args:
        first: what was measured, shape (seeds, checkpoints, measures).
        second: the same of the other method.

    Returns:
        For the test accuracy the mean difference, for the training loss the median ratio:
        [middle, low, high] at each checkpoint, and, with a verdict on the first method, for the
        last checkpoint and for the average over all (of a seed's ratios the geometric mean).
    """
    table = {}
    for name, more_is_better in (("test_accuracy", True), ("train_loss", False)):
        one, other = of(first, name), of(second, name)
        if more_is_better:
            values, equal, interval = one - other, 0.0, mean_interval
        else:
            both = np.isinf(one) & np.isinf(other)  # a tie
            values = np.log(np.where(both, 1.0, one)) - np.log(np.where(both, 1.0, other))
            equal, interval = 1.0, median_interval
        rows = np.array([interval(column) for column in (*values.T, values.mean(axis=1))])
        *each, average = (rounded(row) for row in (rows if equal == 0 else np.exp(rows)).tolist())
        table[name] = {
            "checkpoints": each,
            "average": average,
            "verdict_last": verdict(each[-1], equal, more_is_better),
            "verdict_average": verdict(average, equal, more_is_better),
        }
    return table


def summary(runs: np.ndarray) -> dict[str, Any]:
    """Return [middle, low, high] at each checkpoint, and of each seed the last value.

    The middle is the mean of the accuracies and the median of the losses; `last_train_loss` has
    None for a run that blew up, and `blown_up` counts these.
    """
    accuracies, losses = of(runs, "test_accuracy"), of(runs, "train_loss")
    last = rounded(losses[:, -1].tolist())
    return {
        "test_accuracy": [rounded(mean_interval(column)) for column in accuracies.T],
        "train_loss": [rounded(median_interval(column)) for column in losses.T],
        "last_test_accuracy": rounded(accuracies[:, -1].tolist()),
        "last_train_loss": [loss if np.isfinite(loss) else None for loss in last],
        "blown_up": int(np.isinf(losses[:, -1]).sum()),
    }


def candidates(grid: list[list[float]]) -> list[tuple[float, ...]]:
    """List all combinations of the values on the axes of a grid."""
    axes = [np.geomspace(first, last, int(count)) for first, last, count in grid]
    return list(itertools.product(*(rounded(axis.tolist(), 3) for axis in axes)))


def study(
    name: str,
    options: dict[str, Any],
    *,
    methods: dict[str, Any],
    comparisons: list[list[str]],
    tuning_seeds: list[int],
    seeds: list[int],
    **protocol: Any,
) -> dict[str, Any]:
    """Tune, train and compare the methods on one data set."""
    tuning, fresh = (range(first, first + count) for first, count in (tuning_seeds, seeds))
    validation = MEASURES.index("validation_accuracy")
    table: dict[str, Any] = {}
    runs: dict[str, np.ndarray] = {}
    for method, choice in methods.items():
        train = trainer(choice["kind"], name, options, **protocol)
        tried = candidates(choice["grid"])
        accuracies = train(list(itertools.product(tried, tuning)))[..., validation]
        scores = accuracies.reshape(len(tried), -1).mean(axis=1)
        best = tried[int(np.argmax(scores))]
        runs[method] = train([(best, seed) for seed in fresh])
        table[method] = {
            "cost": COST[choice["kind"]],
            "candidates": [list(candidate) for candidate in tried],
            "validation_accuracies": rounded(scores.tolist(), 4),
            "chosen": list(best),
            **summary(runs[method]),
        }
    compared = []
    for one, other in comparisons:
        # At the checkpoints k and k / ratio the two have taken equally many steps.
        ratio = table[one]["cost"] // table[other]["cost"]
        first, second = runs[one], runs[other]
        entry = {"first": one, "second": other, "equal_gradients": compare(first, second)}
        if ratio > 1:
            first = first[:, ratio - 1 :: ratio]
            entry["equal_steps"] = compare(first, second[:, : first.shape[1]])
        compared.append(entry)
    spacing = options["gradients"] // protocol["checkpoints"]
    return {
        "gradients": [spacing * k for k in range(1, protocol["checkpoints"] + 1)],
        "network_parameters": size(name, options),
        "methods": table,
        "comparisons": compared,
    }


def run(*, data_sets: dict[str, Any], **protocol: Any) -> dict[str, Any]:
    """Run the study on each data set.

    Returns:
        For each: the numbers of `gradients` at the checkpoints; `methods`, with the accuracy of
        each candidate, the one chosen, and intervals at the checkpoints; and `comparisons`, at
        equal numbers of gradients, and of steps where these differ.
    """
    return {name: study(name, options, **protocol) for name, options in data_sets.items()}
