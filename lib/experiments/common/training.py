"""Train a small network many times: a candidate setting, several seeds, a budget of gradients.

Kinds of training: optax's "sgd", "momentum" and "adam" with a constant step size; "meta-gradient"
and "bootstrapped" with element-wise step sizes exp(u), u tuned online by Adam, on the plain and
on the bootstrapped meta-gradient (one step ahead).

Counted are gradients on mini-batches. ∇f(x_t; batch t + 1) serves the meta-learner at step t and
is the gradient of step t + 1 too, so that a step costs `COST` gradients.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.common import datasets, networks
from metagrad.bootstrapped import bootstrapped_meta_learning
from metagrad.rules import element_wise

COST = {"sgd": 1, "momentum": 1, "adam": 1, "meta-gradient": 1, "bootstrapped": 2}
STEPS_AHEAD = {"meta-gradient": 0, "bootstrapped": 1}
GROUP = 4  # runs computed together
MEASURES = ("test_accuracy", "train_loss", "validation_accuracy")


def train(
    kind: str,
    candidate: Any,
    loss: Callable[..., Any],
    start: Any,
    sample: Callable[[jax.Array], Any],
    measure: Callable[[Any], jax.Array],
    *,
    gradients: int,
    checkpoints: int,
    momentum: float,
) -> jax.Array:
    """Train once; return what was measured at each checkpoint, shape (checkpoints, measures).

    Args:
        kind: a key of `COST`.
        candidate: the step size, or the initial one and the meta step size; a sequence.
        loss: maps layers and a mini-batch to a number.
        start: the layers at the start.
        sample: maps t = 1, 2, ... to a mini-batch.
        measure: maps layers to an array of shape (measures,).
        gradients: how many to spend; a multiple of the step's cost times `checkpoints`.
        checkpoints: how many, equally far apart.
        momentum: for "momentum".

    Raises:
        ValueError: if the gradients cannot be divided like this.
    """
    every, rest = divmod(gradients, COST[kind] * checkpoints)
    if rest or every < 1:
        unit = COST[kind] * checkpoints
        raise ValueError(f"gradients must be a positive multiple of {unit}, got {gradients}")
    steps = every * checkpoints
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure, start))

    def keep(t, layers):  # to measure takes longer than a step
        return jax.lax.cond(t % every == 0, measure, lambda _: nothing, layers)

    if kind in STEPS_AHEAD:
        kept = bootstrapped_meta_learning(
            loss,
            element_wise(loss, jnp.exp),
            start,
            jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.log(candidate[0])), start),
            optax.adam(candidate[1]),
            steps,
            steps_ahead=STEPS_AHEAD[kind],
            sample=sample,
            record=lambda state: keep(optax.tree.get(state.optimizer, "count"), state.point),
        ).kept
        return kept[every - 1 :: every]
    optimizer = {
        "sgd": optax.sgd(candidate[0]),
        "momentum": optax.sgd(candidate[0], momentum),
        "adam": optax.adam(candidate[0]),
    }[kind]

    def step(state, t):
        layers, inner = state
        updates, inner = optimizer.update(jax.grad(loss)(layers, sample(t)), inner)
        layers = optax.apply_updates(layers, updates)
        return (layers, inner), keep(t, layers)

    rounds = jnp.arange(1, steps + 1, dtype=jnp.int32)
    return jax.lax.scan(step, (start, optimizer.init(start)), rounds)[1][every - 1 :: every]


def network_for(options: dict[str, Any], features: int) -> networks.Network:
    """Return the network for ten classes: dense with "hidden", convolutional with "channels"."""
    if "hidden" in options:
        return networks.dense(features, options["hidden"], 10)
    return networks.convolutional(features, options["channels"], 10)


def size(name: str, options: dict[str, Any]) -> int:
    """Count the parameters of the network for a data set."""
    draw = network_for(options, datasets.load(name).inputs.shape[1]).draw
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(draw, jax.random.key(0))))


def trainer(
    kind: str, name: str, options: dict[str, Any], *, batch_size: int, **protocol: Any
) -> Callable[[list[tuple[Any, int]]], np.ndarray]:
    """Prepare training on a data set.

    Args:
        kind: a key of `COST`.
        name: of the data set.
        options: "gradients", "split" (how many examples to train and to validate on; the rest is
            for the test), and the network: "hidden" or "channels".
        batch_size: examples in a mini-batch, drawn with replacement.
        protocol: `checkpoints` and `momentum`, for `train`.

    Returns:
        A function of pairs (candidate, seed). It returns what was measured, shape
        (pairs, checkpoints, measures).
    """
    data = datasets.load(name)
    total, features = data.inputs.shape
    network = network_for(options, features)
    loss, accuracy = networks.cross_entropy(network), networks.accuracy(network)
    edges = np.cumsum(options["split"])

    def part(rows):
        return data.inputs[rows], data.labels[rows]

    def one(candidate, seed):
        split_key, start_key, batch_key = jax.random.split(jax.random.key(seed), 3)
        rows = jax.random.permutation(split_key, jnp.arange(total, dtype=jnp.int32))
        training, validation, test = jnp.split(rows, edges)

        def sample(t):
            key = jax.random.fold_in(batch_key, t)
            return part(training[jax.random.randint(key, (batch_size,), 0, edges[0], jnp.int32)])

        def measure(layers):
            values = accuracy(layers, part(test)), loss(layers, part(training))
            return jnp.stack([*values, accuracy(layers, part(validation))])

        start = network.draw(start_key)
        options_of_run = {"gradients": options["gradients"], **protocol}
        return train(kind, candidate, loss, start, sample, measure, **options_of_run)

    together = jax.jit(jax.vmap(one))

    def measured(pairs):
        # Groups of one size, the last one filled up, need one compilation.
        filled = [*pairs, *[pairs[-1]] * (-len(pairs) % GROUP)]
        values: list[np.ndarray] = []
        for i in range(0, len(filled), GROUP):
            numbers, seeds = zip(*filled[i : i + GROUP], strict=True)
            group = jnp.array(numbers, jnp.float32), jnp.array(seeds, jnp.uint32)
            values.extend(np.asarray(together(*group), float))
        return np.stack(values[: len(pairs)])

    return measured
