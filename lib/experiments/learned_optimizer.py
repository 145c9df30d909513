"""Does a learned optimizer overfit where it was meta-trained on the training loss?

A small version of the third experiment of Wang, Yuan, Wu and Ge, 2021, on other data sets: see
`metagrad.learned_optimizer` for the optimizer and `common.optimizer_learning` for the tasks.

*Train-by-train* meta-trains on the loss of the samples that a run trains on, *train-by-validation*
on that of fresh ones. "both" is train-by-train with training and validation samples put together:
it has seen as many samples as train-by-validation. At the meta-test every optimizer trains on
equally many samples of fresh tasks. SGD and Adam have a constant step size, chosen for each
meta-seed by the same two criteria: the training or the validation loss, averaged over the run.
Their tuning takes as many inner steps as one meta-training, `problems` runs: of each candidate on
`tuning_tasks` tasks.

Meta-seeds are independent but share one data set. Intervals over them are Student's, 95%, one at
a time. A meta-seed *failed* if a window of its meta-training was not finite, or if at the
meta-horizon its optimizer's test accuracy is below `failed_below` times that of SGD, tuned by the
same criterion. Failures stay in all the numbers.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import datasets, networks
from experiments.common.intervals import mean_interval, rounded
from experiments.common.optimizer_learning import (
    BASELINES,
    JUDGES,
    Protocol,
    classical,
    curves,
    draw_task,
    learned,
    make_pool,
    meta_train,
    tuning_scores,
)

SETTINGS: dict[str, Any] = {
    # Samples for training and for validation in a task; how many of the data set for the test.
    # MNIST-1D has no "many": it would take the time of everything else.
    "data_sets": {
        "digits": {"few": [150, 150], "many": [1000, 250], "test": 497},
        "mnist1d": {"few": [400, 400], "test": 1000},
    },
    "cases": {  # noise: the share of labels drawn anew; both: whether "both" is meta-trained too
        "few, clean": {"size": "few", "noise": 0.0, "both": False},
        "few, noisy": {"size": "few", "noise": 0.2, "both": True},
        "many, clean": {"size": "many", "noise": 0.0, "both": False},
    },
    "hidden": [16],
    "step_sizes": {"SGD": [0.01, 1.0, 12], "Adam": [0.0005, 0.05, 12]},  # geometric
    "protocol": {
        "units": 32,  # of the optimizer
        "window": 50,
        "windows": 10,
        "problems": 24,
        "meta_step_size": 0.01,
        "batch_size": 32,
        "checkpoints": 20,
        "every": 50,
        "test_tasks": 5,
        "tuning_tasks": 2,
    },
    "meta_seeds": [0, 5],  # first, how many
    "failed_below": 0.5,
}
PAIRS = [  # which are compared on the test samples
    ("learned, train-by-validation", "learned, train-by-train"),
    ("learned, train-by-validation", "learned, both"),
    ("SGD, train-by-validation", "SGD, train-by-train"),
    ("Adam, train-by-validation", "Adam, train-by-train"),
    ("learned, train-by-validation", "SGD, train-by-validation"),
    ("learned, train-by-validation", "Adam, train-by-validation"),
    ("learned, train-by-train", "SGD, train-by-train"),
    ("learned, train-by-train", "Adam, train-by-train"),
]
MEASURES = ("train_accuracy", "test_accuracy", "test_loss")
GROUPS = 8  # the meta-losses are stored as averages over so many stretches of meta-training


class Place(NamedTuple):
    """A data set, how many samples for training and validation, for the test, and the network."""

    data: datasets.DataSet
    sizes: tuple[int, int]
    test: int
    hidden: tuple[int, ...]


def prepared(place: Place, protocol: Protocol, seed: Any, noise: Any) -> Any:
    """Return the test samples, the network, its loss, keys, and a maker of tasks from sizes."""
    pool_key, *keys = jax.random.split(jax.random.key(seed), 4)
    pool = make_pool(place.data, place.test, pool_key)
    network = networks.dense(pool.inputs.shape[1], list(place.hidden), 10)

    def tasks(sizes):
        return lambda key: draw_task(pool, network, sizes, noise, protocol.batch_size, key)

    return pool.test, network, networks.cross_entropy(network), keys, tasks


def learned_run(place: Place, protocol: Protocol, judge: str) -> Any:
    """Compile meta-training and meta-test: a function of (meta-seed, noise).

    It returns curves, shape (checkpoints, 3), and of each window, shape (problems, windows), the
    meta-loss and whether it was finite.
    """
    training, validation = place.sizes
    sizes = (training + validation, 0) if judge == "both" else place.sizes

    @jax.jit
    def run(seed, noise):
        test, network, loss, keys, tasks = prepared(place, protocol, seed, noise)
        by = "train-by-train" if judge == "both" else judge
        weights, values, finite = meta_train(by, tasks(sizes), loss, protocol, keys[0])
        task_for = tasks(place.sizes)
        seen = curves(learned(weights, loss), task_for, test, network, protocol, keys[2])
        return seen, values, finite

    return run


def classical_run(place: Place, protocol: Protocol, kind: str, step_sizes: list[float]) -> Any:
    """Compile tuning and test of SGD or Adam: a function of (meta-seed, noise).

    It returns, for each criterion of `JUDGES`, curves, shape (2, checkpoints, 3), the number of
    the chosen step size, shape (2,), and its score, shape (2,).
    """

    @jax.jit
    def run(seed, noise):
        test, network, loss, keys, tasks = prepared(place, protocol, seed, noise)
        task_for = tasks(place.sizes)
        scores = tuning_scores(kind, step_sizes, task_for, loss, protocol, keys[1])
        chosen = jnp.argmin(scores, axis=0)

        def tested(number):
            prepare = classical(kind, jnp.array(step_sizes, jnp.float32)[number], loss)
            return curves(prepare, task_for, test, network, protocol, keys[2])

        return jax.lax.map(tested, chosen), chosen, jnp.min(scores, axis=0)

    return run


def measured(
    case: dict[str, Any], runs: dict[str, Any], seeds: range
) -> dict[str, tuple[Any, ...]]:
    """Run all methods with all meta-seeds: name -> what `runs` return, stacked on a new axis 0."""
    noise = np.float32(case["noise"])
    methods = [*BASELINES, *JUDGES, *["both"] * case["both"]]
    found = {}
    for method in methods:
        rows = [jax.device_get(runs[method](np.uint32(seed), noise)) for seed in seeds]
        found[method] = tuple(np.stack(part) for part in zip(*rows, strict=True))
    return found


def summary(seen: np.ndarray) -> dict[str, Any]:
    """Return [mean, low, high] at each checkpoint, and the numbers of each meta-seed.

    Args:
        seen: what `curves` measured, shape (meta-seeds, checkpoints, 3). Where the loss of a
            meta-seed is not finite it is None, and so are the three numbers.
    """
    table: dict[str, Any] = {}
    for k, name in enumerate(MEASURES):
        values = seen[..., k].astype(float)
        finite = np.isfinite(values)
        table[name] = [
            rounded(mean_interval(column)) if known.all() else [None, None, None]
            for column, known in zip(values.T, finite.T, strict=True)
        ]
        table[f"{name}_of_seeds"] = [
            [rounded([x], 4)[0] if known else None for x, known in zip(*row, strict=True)]
            for row in zip(values, finite, strict=True)
        ]
    return table


def stretches(values: np.ndarray, finite: np.ndarray) -> list[float | None]:
    """Return the mean meta-loss of each stretch of meta-training, None where it was not finite.

    Args:
        values: meta-losses, shape (problems, windows); the problems fall into `GROUPS` stretches.
        finite: whether value and gradient were finite, the same shape.
    """
    count = min(GROUPS, len(values))
    parts = zip(np.array_split(values, count), np.array_split(finite, count), strict=True)
    means = [float(v.mean(dtype=float)) if f.all() else None for v, f in parts]
    return [None if mean is None else rounded([mean], 4)[0] for mean in means]


def compare(first: np.ndarray, second: np.ndarray, more_is_better: bool) -> dict[str, Any]:
    """Compare two methods meta-seed by meta-seed.

    Args:
        first: of the first method, shape (meta-seeds,).
        second: of the second.
        more_is_better: False for a loss.

    Returns:
        [mean, low, high] of first - second, and a verdict on the first; None for both where a
        number is not finite.
    """
    differences = first.astype(float) - second.astype(float)
    if not np.isfinite(differences).all():
        return {"difference": None, "verdict": None}
    mean, low, high = rounded(mean_interval(differences))
    better = low > 0 if more_is_better else high < 0
    verdict = "tie" if low <= 0 <= high else "better" if better else "worse"
    return {"difference": [mean, low, high], "verdict": verdict}


def tabulate(
    found: dict[str, tuple[Any, ...]],
    step_sizes: dict[str, list[float]],
    at: int,
    failed_below: float,
) -> dict[str, Any]:
    """Turn what was measured into the tables of one case.

    Args:
        found: from `measured`.
        step_sizes: the candidates of each baseline.
        at: the checkpoint at the meta-horizon.
        failed_below: see `SETTINGS`.

    Raises:
        ValueError: if all step sizes of a baseline blew up.
    """
    methods: dict[str, Any] = {}
    curves_of: dict[str, np.ndarray] = {}  # shape (meta-seeds, checkpoints, 3)
    for kind in BASELINES:
        seen, chosen, scores = found[kind]
        if not np.isfinite(scores).all():
            raise ValueError(f"step_sizes must hold one for {kind} that does not blow up")
        for k, judge in enumerate(JUDGES):
            name = f"{kind}, {judge}"
            curves_of[name] = seen[:, k]
            sizes = [step_sizes[kind][number] for number in chosen[:, k]]
            methods[name] = {"step_sizes": sizes, **summary(seen[:, k])}
    for judge in (name for name in found if name not in BASELINES):
        seen, values, finite = found[judge]
        name = f"learned, {judge}"
        curves_of[name] = seen
        rival = curves_of["SGD, train-by-train" if judge == "both" else f"SGD, {judge}"]
        weak = seen[:, at, 1] < failed_below * rival[:, at, 1]
        skipped = (~finite).sum(axis=(1, 2))
        methods[name] = {
            "skipped_windows": skipped.tolist(),
            "failed": (weak | (skipped > 0)).tolist(),
            "meta_losses": [stretches(*each) for each in zip(values, finite, strict=True)],
            **summary(seen),
        }
    comparisons = []
    for pair in PAIRS:
        if not set(pair) <= set(curves_of):
            continue
        first, second = (curves_of[name] for name in pair)
        entry: dict[str, Any] = {"first": pair[0], "second": pair[1]}
        for when, column in (("horizon", at), ("last", -1)):
            entry[when] = {
                name: compare(first[:, column, k], second[:, column, k], name == "test_accuracy")
                for k, name in enumerate(MEASURES)
                if name != "train_accuracy"
            }
        comparisons.append(entry)
    return {"methods": methods, "comparisons": comparisons}


def run(
    *,
    data_sets: dict[str, Any],
    cases: dict[str, Any],
    hidden: list[int],
    step_sizes: dict[str, Any],
    protocol: dict[str, Any],
    meta_seeds: list[int],
    failed_below: float,
) -> dict[str, Any]:
    """Run on each data set all cases for which it has a size.

    Raises:
        ValueError: if there is no checkpoint at the meta-horizon.

    Returns:
        For each data set and case: `training`, `validation`, `noise`; the `steps` at the
        checkpoints and the `meta_horizon`; `methods`, with the accuracy on the training labels as
        given, and accuracy and loss on the test samples, whose labels are the true ones; and
        `comparisons` on the test samples at the meta-horizon and at the last checkpoint.
    """
    shared = Protocol(**protocol)
    steps = [shared.every * k for k in range(1, shared.checkpoints + 1)]
    if shared.horizon not in steps:
        raise ValueError(f"protocol must measure at step window * windows, got {protocol!r}")
    grids = {kind: rounded(np.geomspace(*axis).tolist(), 3) for kind, axis in step_sizes.items()}

    def of_size(name: str, size: str) -> dict[str, Any]:
        training, validation = data_sets[name][size]
        place = Place(
            datasets.load(name), (training, validation), data_sets[name]["test"], tuple(hidden)
        )
        runs = {  # compiled once for all cases of this size
            **{kind: classical_run(place, shared, kind, grids[kind]) for kind in BASELINES},
            **{judge: learned_run(place, shared, judge) for judge in [*JUDGES, "both"]},
        }
        return {
            case: {
                "training": training,
                "validation": validation,
                "noise": choice["noise"],
                "meta_horizon": shared.horizon,
                "steps": steps,
                **tabulate(
                    measured(choice, runs, range(meta_seeds[0], sum(meta_seeds))),
                    grids,
                    steps.index(shared.horizon),
                    failed_below,
                ),
            }
            for case, choice in cases.items()
            if choice["size"] == size
        }

    sizes = {choice["size"]: None for choice in cases.values()}
    jobs = [(name, size) for name in data_sets for size in sizes if size in data_sets[name]]
    # Compiling takes as long as running, on one core: two at a time.
    with ThreadPoolExecutor(max_workers=2) as workers:
        tables = list(workers.map(lambda job: of_size(*job), jobs))
    result: dict[str, Any] = {name: {} for name in data_sets}
    for (name, _), table in zip(jobs, tables, strict=True):
        result[name].update(table)
    return result
