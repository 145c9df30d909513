"""Few-shot learning on MNIST-1D, meta-trained by every method.

5-way 5-shot episodes with labels permuted, classes drawn from all ten: meta-training on the
generator's 4000 training series, meta-test on its 1000 test series. A small convolutional network
whose last layer starts at 0 adapts by K steps on f̂(φ) + (λ/2) ||φ - θ||², the same for all methods
at the meta-test; MAML and FO-MAML take these steps in training, too. HF-MAML has one longer step
by definition. Reptile, proximal Reptile and FO-MuML do not split a task into support and query,
and get both sets in training. The outer step is normalized momentum, its size falling linearly
to 0, with one size for all methods: nothing is tuned.

A meta-seed draws the first weights, the episodes of meta-training and those of the meta-test, the
same for all methods: differences are paired. Intervals are over meta-seeds, Student's, 95%, one
at a time. A task whose estimate is not finite is left out of its batch, and counted.

At each checkpoint the method's meta-gradient on a few tasks is compared with the implicit one (a
long inner solve, many steps of conjugate gradients) and with that of K steps (MAML's). Tasks on
which the implicit system is not positive definite are left out of both, and counted.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from experiments.common import datasets
from experiments.common.intervals import mean_interval, rounded
from metagrad.difference_rules import FORWARD
from metagrad.few_shot import Episodes, Pool, accuracy, draw_episodes, few_shot_family, make_pool
from metagrad.inner import perturbed_objective, solve
from metagrad.outer_steps import average_from_first, unit_norm
from metagrad.small_networks import Network, conv_net
from metagrad.task_gradients import (
    Method,
    fo_b_maml,
    fo_maml,
    fo_muml,
    hf_maml,
    imaml,
    maml,
    mean_gradient,
    proximal_reptile,
    reptile,
)
from metagrad.tasks import Family, with_data

# Settings A and B of the notes (λ = 0.5 and 2) have inner loops that are partly unstable.
SETTINGS: dict[str, Any] = {
    "episode": {"ways": 5, "shots": 5, "queries": 15},
    "network": {"channels": 16, "depth": 3},
    "cases": {
        "C": {"regularizer": 1.0, "inner_step_size": 0.05, "inner_steps": 30, "seeds": [0, 3]},
    },
    "training": {
        "meta_steps": 300,
        "batch": 8,  # tasks in a meta-step
        "outer_step_size": 0.08,  # the first one
        "momentum": 0.9,
        "checkpoints": 5,
        "test_tasks": 200,
        "probe_tasks": 8,  # on which meta-gradients are compared
        "probe_steps": 600,
        "probe_cg_steps": 60,
    },
    "options": {
        "perturbation": 0.05,
        "cg_steps": 5,
        "one_step_size": 0.5,  # of HF-MAML
        "spacing": 0.01,
        "accuracy": 0.3,  # of FO-MuML
    },
    "methods": [
        "MAML",
        "FO-MAML",
        "Reptile",
        "proximal Reptile",
        "iMAML",
        "HF-MAML",
        "FO-MuML",
        "FO-B-MAML, forward",
        "FO-B-MAML, symmetric",
    ],
    "comparisons": [  # the first with the second
        ["FO-B-MAML, symmetric", "MAML"],
        ["FO-B-MAML, symmetric", "FO-B-MAML, forward"],
        ["FO-B-MAML, symmetric", "FO-MAML"],
        ["FO-B-MAML, forward", "FO-MAML"],
        ["FO-B-MAML, symmetric", "iMAML"],
        ["MAML", "FO-MAML"],
    ],
    # For a figure: the starts that the first meta-seed found, and two of its test episodes.
    "stored": {
        "methods": ["MAML", "FO-MAML", "FO-B-MAML, symmetric"],
        "episodes": 2,
    },
}
WHOLE = {"Reptile", "proximal Reptile", "FO-MuML"}  # get support and query set in training
UNTRAINED = "no meta-training"


class Inner(NamedTuple):
    """How a task is adapted to."""

    regularizer: float
    inner_step_size: float
    inner_steps: int


class Training(NamedTuple):
    """How a start is meta-trained and judged, see `SETTINGS`."""

    meta_steps: int
    batch: int
    outer_step_size: float
    momentum: float
    checkpoints: int
    test_tasks: int
    probe_tasks: int
    probe_steps: int
    probe_cg_steps: int


class Problem(NamedTuple):
    """Attributes: the network, what its tasks are drawn from, and [ways, shots, queries]."""

    network: Network
    train: Pool
    test: Pool
    episode: tuple[int, int, int]


def make_methods(
    inner: Inner,
    *,
    perturbation: float,
    cg_steps: int,
    one_step_size: float,
    spacing: float,
    accuracy: float,
) -> dict[str, Method]:
    """Return all methods by name."""
    lam, size, k = inner
    return {
        "MAML": maml(k, size, regularizer=lam),
        "FO-MAML": fo_maml(k, size, regularizer=lam),
        "Reptile": reptile(k, size),
        "proximal Reptile": proximal_reptile(lam, k, size),
        "iMAML": imaml(lam, k, size, cg_steps),
        "HF-MAML": hf_maml(one_step_size, spacing),
        "FO-MuML": fo_muml(lam, size, accuracy, k),
        "FO-B-MAML, forward": fo_b_maml(lam, perturbation, k, size, rule=FORWARD),
        "FO-B-MAML, symmetric": fo_b_maml(lam, perturbation, k, size),
    }


def family_of(problem: Problem, episodes: Episodes, whole: bool = False) -> Family:
    """Return the tasks of some episodes; `whole` puts the query set into the support loss."""
    family = few_shot_family(problem.network.apply, episodes)
    if not whole:
        return family
    _, shots, queries = problem.episode
    share = shots / (shots + queries)

    def both(theta, one):
        return share * family.support(theta, one) + (1 - share) * family.query(theta, one)

    return family._replace(support=both)


def finite_mean(gradients: Any) -> tuple[Any, jax.Array]:
    """Return the mean over the tasks whose gradient is finite (0 if none is), and who they are.

    Args:
        gradients: a pytree of arrays whose first axis is that of the tasks.
    """
    leaves = jax.tree.leaves(gradients)
    rows = jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)
    good = jnp.isfinite(rows).all(axis=1)
    return masked_mean(gradients, good), good


def masked_mean(gradients: Any, good: jax.Array) -> Any:
    """Return the mean over the tasks marked as good, 0 if there is none."""
    count = jnp.maximum(jnp.sum(good), 1)

    def mean(leaf):
        mask = good.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.sum(jnp.where(mask, leaf, 0), axis=0) / count.astype(leaf.dtype)

    return jax.tree.map(mean, gradients)


def task_gradients(family: Family, theta: Any, method: Method) -> Any:
    """Return the method's meta-gradients of all tasks, on a new first axis of every leaf."""
    return mean_gradient(family, theta, method).tasks.gradient


def trainer(problem: Problem, method: Method, whole: bool, training: Training) -> Any:
    """Compile a stretch of meta-training: (θ, optimizer state, keys) to both and who failed."""
    outer = optimizer(training)

    def step(carry, key):
        theta, state = carry
        episodes = draw_episodes(key, problem.train, training.batch, *problem.episode)
        family = family_of(problem, episodes, whole)
        gradient, good = finite_mean(task_gradients(family, theta, method))
        updates, state = outer.update(gradient, state)
        return (optax.apply_updates(theta, updates), state), jnp.sum(~good)

    def stretch(theta, state, keys):
        (theta, state), failed = jax.lax.scan(step, (theta, state), keys)
        return theta, state, jnp.sum(failed)

    return jax.jit(stretch)


def optimizer(training: Training) -> optax.GradientTransformation:
    """Return normalized momentum with a step size that falls linearly to 0."""
    schedule = optax.linear_schedule(training.outer_step_size, 0.0, training.meta_steps)
    return optax.chain(
        average_from_first(training.momentum),
        unit_norm(),
        optax.scale_by_learning_rate(schedule),
    )


def judge(problem: Problem, inner: Inner, training: Training) -> Any:
    """Compile the judgment of a start: (θ, key of the tasks) to what it is measured by.

    It returns the mean accuracy on test tasks after adapting, and for tasks of meta-training the
    implicit and the K-step meta-gradient, task by task.
    """
    lam, size, k = inner
    implicit = imaml(lam, training.probe_steps, size, training.probe_cg_steps)
    unrolled = maml(k, size, regularizer=lam)

    def adapted_accuracy(task, theta, one):
        point = solve(perturbed_objective(task, theta, lam), theta, k, size).point
        return accuracy(problem.network.apply(point, one.query_inputs), one.query_labels)

    def judged(theta, key):
        test_key, probe_key = jax.random.split(key)
        episodes = draw_episodes(test_key, problem.test, training.test_tasks, *problem.episode)
        family = family_of(problem, episodes)

        def one(data):
            return adapted_accuracy(with_data(family, data), theta, data)

        # A few at a time: less memory than all at once, and faster for it.
        accuracies = jax.lax.map(one, episodes, batch_size=min(10, training.test_tasks))
        probe = probe_family(problem, training, probe_key)
        return (
            jnp.mean(accuracies),
            task_gradients(probe, theta, implicit),
            task_gradients(probe, theta, unrolled),
        )

    return jax.jit(judged)


def probe_family(problem: Problem, training: Training, key: jax.Array, whole: bool = False) -> Any:
    """Return the tasks of meta-training on which meta-gradients are compared."""
    episodes = draw_episodes(key, problem.train, training.probe_tasks, *problem.episode)
    return family_of(problem, episodes, whole)


def prober(problem: Problem, method: Method, whole: bool, training: Training) -> Any:
    """Compile (θ, key) -> the method's meta-gradients of the tasks that `judge` looks at."""

    def probe(theta, key):
        _, probe_key = jax.random.split(key)
        return task_gradients(probe_family(problem, training, probe_key, whole), theta, method)

    return jax.jit(probe)


def cosine(one: Any, other: Any) -> float | None:
    """Return the cosine of the mean gradients over the tasks where both are finite."""
    good = finite_mean(one)[1] & finite_mean(other)[1]
    first, second = (
        np.asarray(ravel_pytree(masked_mean(tree, good))[0], float) for tree in (one, other)
    )
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return rounded([float(first @ second / length)], 3)[0] if length > 0 else None


def summary(rows: list[list[float]]) -> list[list[float | None]]:
    """Return [mean, low, high] for each column; without an interval if there is only one row."""
    columns = np.array(rows).T
    if columns.shape[1] < 2:
        return [[rounded([float(column[0])])[0], None, None] for column in columns]
    return [list(rounded(mean_interval(column))) for column in columns]


def compare(first: list[float], second: list[float]) -> dict[str, Any]:
    """Return [mean, low, high] of first - second over meta-seeds, and a verdict on the first."""
    [[mean, low, high]] = summary([[one - other] for one, other in zip(first, second, strict=True)])
    if low is None or high is None:
        return {"difference": [mean, None, None], "verdict": None}
    verdict = "tie" if low <= 0 <= high else "better" if low > 0 else "worse"
    return {"difference": [mean, low, high], "verdict": verdict}


def study(
    problem: Problem,
    inner: Inner,
    seeds: range,
    training: Training,
    methods: list[str],
    comparisons: list[list[str]],
    options: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Meta-train and test with every method and meta-seed; return tables, and starts by name."""
    every, rest = divmod(training.meta_steps, training.checkpoints)
    if rest or every < 1:
        raise ValueError(
            "training.meta_steps must be a positive multiple of training.checkpoints, got "
            f"{training.meta_steps} and {training.checkpoints}"
        )
    available = make_methods(inner, **options)
    measure = judge(problem, inner, training)
    keys = {seed: jax.random.split(jax.random.key(seed), 3) for seed in seeds}
    begins = {seed: problem.network.init(keys[seed][0]) for seed in seeds}
    before = {seed: measure(begins[seed], keys[seed][2]) for seed in seeds}
    untrained = [[float(before[seed][0])] for seed in seeds]
    table: dict[str, Any] = {
        UNTRAINED: {"accuracy": summary(untrained), "accuracy_of_seeds": untrained}
    }
    starts = {UNTRAINED: begins[seeds[0]]}
    for name in methods:
        whole = name in WHOLE
        stretch = trainer(problem, available[name], whole, training)
        probe = prober(problem, available[name], whole, training)
        accuracies, implicit, unrolled, failed, unposed = [], [], [], [], []
        for seed in seeds:
            theta, judged = begins[seed], before[seed]
            state = optimizer(training).init(theta)
            step_keys = jax.random.split(keys[seed][1], (training.checkpoints, every))
            seen = []
            skipped, odd = 0, 0
            for checkpoint in range(training.checkpoints + 1):
                if checkpoint:
                    theta, state, bad = stretch(theta, state, step_keys[checkpoint - 1])
                    skipped += int(bad)
                    judged = measure(theta, keys[seed][2])
                own = probe(theta, keys[seed][2])
                odd += int(jnp.sum(~finite_mean(judged[1])[1]))
                seen.append((float(judged[0]), cosine(own, judged[1]), cosine(own, judged[2])))
            columns = [list(column) for column in zip(*seen, strict=True)]
            accuracies.append(rounded(columns[0], 4))
            implicit.append(columns[1])
            unrolled.append(columns[2])
            failed.append(rounded([skipped / (training.meta_steps * training.batch)], 3)[0])
            unposed.append(
                rounded([odd / (training.probe_tasks * (training.checkpoints + 1))], 3)[0]
            )
            if seed == seeds[0]:
                starts[name] = theta
        table[name] = {
            "accuracy": summary(accuracies),
            "accuracy_of_seeds": accuracies,
            "cosine_to_implicit": implicit,
            "cosine_to_unrolled": unrolled,
            "share_not_finite": failed,
            "share_not_positive_definite": unposed,
        }
    last = {name: [row[-1] for row in entry["accuracy_of_seeds"]] for name, entry in table.items()}
    compared = [
        {"first": one, "second": other, **compare(last[one], last[other])}
        for one, other in comparisons
        if one in last and other in last
    ]
    steps = [every * k for k in range(training.checkpoints + 1)]
    return {"steps": steps, "methods": table, "comparisons": compared}, starts


def run(
    *,
    episode: dict[str, int],
    network: dict[str, int],
    cases: dict[str, Any],
    training: dict[str, Any],
    options: dict[str, Any],
    methods: list[str],
    comparisons: list[list[str]],
    stored: dict[str, Any],
) -> dict[str, Any]:
    """Run all cases.

    Returns:
        `cases`: for each the `steps` at the checkpoints, the first of them before meta-training;
        `methods`, with accuracies after adapting to test tasks, cosines of the method's
        meta-gradient with the implicit and the K-step one, for each meta-seed, and the shares of
        estimates that were not finite, and of implicit systems that were not positive definite;
        and `comparisons` of the last accuracies. `starts`: for the first case, the weights that
        the first meta-seed found, as one list in the order of `ravel_pytree`. `episodes`: test
        episodes for the figure.

    Raises:
        ValueError: if the checkpoints do not divide the meta-steps.
    """
    data = datasets.load("mnist1d")
    train = 4000  # as the generator splits them
    net = conv_net(
        data.inputs.shape[1],
        network["channels"],
        network["depth"],
        episode["ways"],
        zero_head=True,
        dtype=jnp.float32,
    )
    problem = Problem(
        net,
        make_pool(data.inputs[:train], data.labels[:train]),
        make_pool(data.inputs[train:], data.labels[train:]),
        (episode["ways"], episode["shots"], episode["queries"]),
    )
    result: dict[str, Any] = {"cases": {}}
    for name, case in cases.items():
        choice = dict(case)
        first, count = choice.pop("seeds")
        table, starts = study(
            problem,
            Inner(**choice),
            range(first, first + count),
            Training(**training),
            methods,
            comparisons,
            options,
        )
        result["cases"][name] = table
        if "starts" not in result:
            kept = [UNTRAINED, *(method for method in stored["methods"] if method in starts)]
            result["starts"] = {method: numbers(starts[method]) for method in kept}
    shown = draw_episodes(jax.random.key(0), problem.test, stored["episodes"], *problem.episode)
    result["episodes"] = [
        {
            "inputs": [rounded(row, 3) for row in np.asarray(one.inputs).tolist()],
            "labels": np.asarray(one.labels).tolist(),
            "query_inputs": [rounded(row, 3) for row in np.asarray(one.query_inputs).tolist()],
            "query_labels": np.asarray(one.query_labels).tolist(),
        }
        for one in (
            jax.tree.map(lambda leaf, i=i: leaf[i], shown) for i in range(stored["episodes"])
        )
    ]
    return result


def numbers(theta: Any) -> list[float]:
    """Return the weights as one list, to four digits."""
    return rounded(np.asarray(ravel_pytree(theta)[0], float).tolist(), 4)
