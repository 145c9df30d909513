"""Learn an optimizer on many small tasks, tune SGD and Adam on the like, and train with them.

A task draws its samples from the pool of a data set without replacement; a label is replaced with
probability `noise` by one of the ten, uniformly: validation samples are as noisy as training
samples. Its network is small and fully connected. What depends on a meta-seed: the pool, and the
test samples that are left over; the tasks; the optimizer's first weights. All is in float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.common import datasets, networks
from metagrad.learned_optimizer import (
    Split,
    begin,
    init,
    learned_step,
    train_by_train,
    train_by_validation,
)
from metagrad.runs import make_run
from metagrad.truncated import truncated

JUDGES = {"train-by-train": train_by_train, "train-by-validation": train_by_validation}
BASELINES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "SGD": optax.sgd,
    "Adam": optax.adam,
}


class Pool(NamedTuple):
    """Where tasks draw from, and the samples, with their true labels, for the test."""

    inputs: jax.Array
    labels: jax.Array
    test: Any


class Task(NamedTuple):
    """A split, the layers to start from, and the mini-batch of step t = 1, 2, ..."""

    split: Split
    start: networks.Layers
    sample: Callable[[jax.Array], Any]


class Protocol(NamedTuple):
    """What is the same in all settings; see `experiments.learned_optimizer.SETTINGS`."""

    units: int
    window: int
    windows: int
    problems: int
    meta_step_size: float
    batch_size: int
    checkpoints: int
    every: int
    test_tasks: int
    tuning_tasks: int

    @property
    def horizon(self) -> int:
        """Steps of a run in meta-training and in tuning."""
        return self.window * self.windows


def make_pool(data: datasets.DataSet, test: int, key: jax.Array) -> Pool:
    """Set so many samples of a data set aside for the test, at random."""
    rows = jax.random.permutation(key, jnp.arange(data.labels.size, dtype=jnp.int32))
    kept, left = rows[test:], rows[:test]
    return Pool(data.inputs[kept], data.labels[kept], (data.inputs[left], data.labels[left]))


def draw_task(
    pool: Pool, network: networks.Network, sizes: Any, noise: Any, batch_size: int, key: jax.Array
) -> Task:
    """Draw a task with so many training and validation samples.

    Raises:
        ValueError: if the pool has too few samples.
    """
    total, (training, validation) = pool.labels.size, sizes
    if training + validation > total:
        raise ValueError(f"sizes must add up to at most {total}, got {sizes}")
    rows_key, wrong_key, label_key, start_key, batch_key = jax.random.split(key, 5)
    rows = jax.random.permutation(rows_key, jnp.arange(total, dtype=jnp.int32))
    rows = rows[: training + validation]
    wrong = jax.random.uniform(wrong_key, rows.shape, jnp.float32) < noise
    others = jax.random.randint(label_key, rows.shape, 0, 10, jnp.int32)
    inputs, labels = pool.inputs[rows], jnp.where(wrong, others, pool.labels[rows])
    known = inputs[:training], labels[:training]

    def sample(t):
        drawn = jax.random.fold_in(batch_key, t)
        chosen = jax.random.randint(drawn, (batch_size,), 0, training, jnp.int32)
        return known[0][chosen], known[1][chosen]

    fresh = inputs[training:], labels[training:]
    return Task(Split(known, fresh), network.draw(start_key), sample)


def meta_train(
    judge: str, task_for: Callable[[jax.Array], Task], loss: Any, protocol: Protocol, key: jax.Array
) -> tuple[Any, jax.Array, jax.Array]:
    """Learn an optimizer: one step of RMSProp for each window of each task, one task at a time.

    A window goes on with the state of the one before, with the new weights. One whose
    meta-gradient is not finite changes no weights; its task is spoiled, the next begins anew.

    Returns:
        The weights; for each window, shape (problems, windows), the meta-loss, averaged over its
        steps, and whether it was finite.
    """
    # The slots start at one, as in the authors' TensorFlow.
    rmsprop = optax.rmsprop(protocol.meta_step_size, decay=0.9, eps=1e-10, initial_scale=1.0)
    learner = optax.chain(optax.clip(1e4), rmsprop)
    init_key, task_key = jax.random.split(key)
    weights = init(init_key, protocol.units, jnp.float32)

    def problem(carry, key):
        task = task_for(key)
        step = learned_step(loss, task.sample)
        meta_loss = JUDGES[judge](loss, task.split)
        method = truncated(protocol.window)

        def window(carry, _):
            w, slots, state = carry
            # What `meta_gradient` does, less its other methods: no change of theirs concerns us.
            run = make_run(meta_loss, step, w, state, protocol.window, every_step=True)
            found = method(run, w, None)
            updates, new_slots = learner.update(found.gradient, slots)
            after = optax.apply_updates(w, updates), new_slots
            w, slots = jax.tree.map(lambda a, b: jnp.where(found.finite, a, b), after, (w, slots))
            return (w, slots, found.info.final_state), (found.value, found.finite)

        first = (*carry, begin(task.start))
        (*carry, _), seen = jax.lax.scan(window, first, None, length=protocol.windows)
        return tuple(carry), seen

    keys = jax.random.split(task_key, protocol.problems)
    (weights, _), (values, finite) = jax.lax.scan(problem, (weights, learner.init(weights)), keys)
    return weights, values, finite


def learned(weights: Any, loss: Any) -> Callable[[Task], tuple[Any, Any, Any]]:
    """Return, for a task, the first state, the step of a state, and the layers of a state."""

    def prepare(task):
        step = learned_step(loss, task.sample)
        return begin(task.start), lambda state, t: step(state, weights, t), lambda state: state[0]

    return prepare


def classical(kind: str, step_size: Any, loss: Any) -> Callable[[Task], tuple[Any, Any, Any]]:
    """Return the same for SGD or Adam with a constant step size."""
    optimizer = BASELINES[kind](step_size)

    def prepare(task):
        def step(state, t):
            layers, slots = state
            updates, slots = optimizer.update(jax.grad(loss)(layers, task.sample(t)), slots)
            return optax.apply_updates(layers, updates), slots

        return (task.start, optimizer.init(task.start)), step, lambda state: state[0]

    return prepare


def train(prepared: Any, measure: Any, checkpoints: int, every: int) -> jax.Array:
    """Train; return what was measured at each checkpoint, shape (checkpoints, measures)."""
    state, step, layers_of = prepared

    def stretch(state, k):
        ts = every * k + jnp.arange(1, every + 1, dtype=jnp.int32)
        state, _ = jax.lax.scan(lambda state, t: (step(state, t), None), state, ts)
        return state, measure(layers_of(state))

    return jax.lax.scan(stretch, state, jnp.arange(checkpoints, dtype=jnp.int32))[1]


def curves(
    prepare: Any,
    task_for: Any,
    test: Any,
    network: networks.Network,
    protocol: Protocol,
    key: jax.Array,
) -> jax.Array:
    """Train on the test tasks; return averages over them, shape (checkpoints, 3).

    Measured are the accuracy on the training labels as given, and accuracy and loss on the test
    samples. A network that blew up has accuracy 0; its loss is infinite or NaN.
    """
    loss, accuracy = networks.cross_entropy(network), networks.accuracy(network)

    def one(key):
        task = task_for(key)

        def measure(layers):
            fitted = accuracy(layers, task.split.training)
            return jnp.stack([fitted, accuracy(layers, test), loss(layers, test)])

        return train(prepare(task), measure, protocol.checkpoints, protocol.every)

    return jnp.mean(jax.lax.map(one, jax.random.split(key, protocol.test_tasks)), axis=0)


def tuning_scores(
    kind: str, step_sizes: Any, task_for: Any, loss: Any, protocol: Protocol, key: jax.Array
) -> jax.Array:
    """Return each step size's mean training and validation loss over a run, averaged over tasks.

    Shape (step sizes, 2); measured at every tenth step; infinite where a run blew up.
    """
    keys = jax.random.split(key, protocol.tuning_tasks)

    def score(step_size):
        def one(key):
            task = task_for(key)
            prepared = classical(kind, step_size, loss)(task)

            def measure(layers):
                return jnp.stack([loss(layers, part) for part in task.split])

            return jnp.mean(train(prepared, measure, protocol.horizon // 10, 10), axis=0)

        scores = jnp.mean(jax.lax.map(one, keys), axis=0)
        return jnp.where(jnp.isfinite(scores), scores, jnp.inf)

    return jax.lax.map(score, jnp.asarray(step_sizes, jnp.float32))
