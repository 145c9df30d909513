"""Few-shot episodes: tasks of telling a few classes apart, cut from any labeled arrays.

An episode draws N of the classes, in random order, and calls them 0, ..., N - 1: what a label
means is known from the support examples alone (K of each class), and differs from episode to
episode. So a start that is good for all of them cannot do without adapting. Other examples of the
same classes are the query set. Source: Vinyals et al., 2016, whose N-way K-shot problem it is.

All draws are functions of a key and trace under `jax.jit`, so that a training loop may draw fresh
episodes at every step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from metagrad import checks
from metagrad.tasks import Family


class Pool(NamedTuple):
    """Labeled examples, sorted by class.

    Attributes:
        inputs: shape (examples, ...).
        members: the places of the examples of each class, shape (classes, largest class); a
            shorter row is filled up with zeros.
        counts: how many members a class has, shape (classes,).
    """

    inputs: Float[Array, "examples ..."]
    members: Int[Array, "classes largest"]
    counts: Int[Array, " classes"]


class Episodes(NamedTuple):
    """The data of n tasks; a single episode has no axis of tasks.

    Attributes:
        inputs: of the support examples, sorted by label, shape (n, N K, ...).
        labels: 0, ..., N - 1, int32, shape (n, N K).
        query_inputs: shape (n, N Q, ...).
        query_labels: int32, shape (n, N Q).
        classes: the class that each label stands for, int32, shape (n, N).
    """

    inputs: Float[Array, "..."]
    labels: Int[Array, "*tasks support"]
    query_inputs: Float[Array, "..."]
    query_labels: Int[Array, "*tasks query"]
    classes: Int[Array, "*tasks ways"]


def make_pool(inputs: Any, labels: Any) -> Pool:
    """Sort labeled examples by class.

    Args:
        inputs: shape (examples, ...), finite.
        labels: whole numbers; each different one is a class. Shape (examples,). They must be
            known: how many classes there are decides the shapes.

    Raises:
        ValueError: if the shapes do not fit one another.
        TypeError: if labels are not whole numbers, or traced.

    >>> pool = make_pool(jnp.zeros((5, 2)), np.array([7, 3, 7, 7, 3]))
    >>> pool.members.tolist(), pool.counts.tolist()
    ([[1, 4, 0], [0, 2, 3]], [2, 3])
    """
    inputs = checks.as_float("inputs", inputs)
    if not checks.is_known(labels):
        raise TypeError("labels must be known, got traced ones: they decide the shapes")
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be whole numbers, got an array of {labels.dtype}")
    if inputs.ndim == 0 or labels.shape != inputs.shape[:1] or labels.size == 0:
        raise ValueError(
            "inputs and labels must have the shapes (examples, ...) and (examples,), got "
            f"{inputs.shape} and {labels.shape}"
        )
    rows = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    members = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, places in zip(members, rows, strict=True):
        row[: len(places)] = places
    counts = np.array([len(places) for places in rows], np.int32)
    return Pool(inputs, jnp.asarray(members), jnp.asarray(counts))


def draw_episode(key: jax.Array, pool: Pool, ways: int, shots: int, queries: int) -> Episodes:
    """Draw one N-way K-shot episode.

    Every set of `ways` classes, every order of them, and every choice of different examples is
    equally likely. No example is both in the support and in the query set.

    Args:
        key: one random key; the same key, the same episode.
        pool: from `make_pool`.
        ways: N, from 1 to the number of classes.
        shots: K, support examples of each class, at least 1.
        queries: Q, query examples of each class, at least 1.

    Raises:
        ValueError: if there are not enough classes; if a class of the pool has fewer than
            shots + queries members (checked where the pool is known).

    >>> pool = make_pool(jnp.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1]))
    >>> episode = draw_episode(jax.random.key(0), pool, 2, 1, 2)
    >>> episode.labels.tolist(), episode.query_labels.tolist(), sorted(episode.classes.tolist())
    ([0, 1], [0, 0, 1, 1], [0, 1])
    """
    checks.require_key(key, "the episode")
    for name, number in (("ways", ways), ("shots", shots), ("queries", queries)):
        checks.require_steps(name, number)
    available, largest = pool.members.shape
    if ways > available:
        raise ValueError(f"ways must be at most {available}, the number of classes, got {ways}")
    fewest = int(np.min(np.asarray(pool.counts))) if checks.is_known(pool.counts) else largest
    if shots + queries > fewest:
        raise ValueError(
            f"shots + queries must be at most {fewest}, the members of the smallest class, got "
            f"{shots} + {queries}"
        )
    class_key, example_key = jax.random.split(key)
    classes = jax.random.permutation(class_key, available)[:ways].astype(jnp.int32)
    # A random order of a class's members: those that only fill up its row come last.
    scores = jax.random.uniform(example_key, (ways, largest), jnp.float32)
    real = jnp.arange(largest, dtype=jnp.int32)[None] < pool.counts[classes][:, None]
    order = jnp.argsort(jnp.where(real, scores, jnp.inf), axis=1)[:, : shots + queries]
    places = jnp.take_along_axis(pool.members[classes], order, axis=1)
    inputs = pool.inputs[places]  # (ways, shots + queries, ...)
    shape = inputs.shape[2:]
    names = jnp.arange(ways, dtype=jnp.int32)
    return Episodes(
        inputs[:, :shots].reshape(ways * shots, *shape),
        jnp.repeat(names, shots),
        inputs[:, shots:].reshape(ways * queries, *shape),
        jnp.repeat(names, queries),
        classes,
    )


def draw_episodes(
    key: jax.Array, pool: Pool, tasks: int, ways: int, shots: int, queries: int
) -> Episodes:
    """Draw n independent episodes; the arguments are those of `draw_episode`, which see.

    >>> pool = make_pool(jnp.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1]))
    >>> draw_episodes(jax.random.key(0), pool, 4, 2, 1, 2).query_inputs.shape
    (4, 4, 1)
    """
    checks.require_key(key, "the episodes")
    checks.require_steps("tasks", tasks)
    keys = jax.random.split(key, tasks)
    return jax.vmap(lambda key: draw_episode(key, pool, ways, shots, queries))(keys)


def few_shot_family(apply: Callable[[Any, Any], Any], episodes: Episodes) -> Family:
    """The family of mean cross-entropies of a network on episodes.

    Args:
        apply: maps parameters and inputs to logits, shape (examples, N), such as that of a
            `metagrad.small_networks.Network` with N outputs.
        episodes: from `draw_episodes`.
    """
    return Family(
        lambda parameters, one: cross_entropy(apply(parameters, one.inputs), one.labels),
        lambda parameters, one: cross_entropy(
            apply(parameters, one.query_inputs), one.query_labels
        ),
        episodes,
    )


def cross_entropy(logits: Any, labels: Any) -> Float[Array, ""]:
    """The mean of -log softmax(logits)[label] over examples.

    Args:
        logits: shape (examples, classes).
        labels: whole numbers from 0 to classes - 1, shape (examples,).

    >>> float(jnp.exp(cross_entropy(jnp.zeros((3, 4)), jnp.array([0, 1, 3]))))
    4.0
    """
    labels = _checked_labels(logits, labels)
    chosen = labels[:, None] == jnp.arange(logits.shape[1], dtype=labels.dtype)[None]
    return -jnp.sum(jnp.where(chosen, jax.nn.log_softmax(logits), 0.0)) / logits.shape[0]


def accuracy(logits: Any, labels: Any) -> Float[Array, ""]:
    """The share of examples called rightly: by the first of the largest logits. NaN is never right.

    >>> accuracy(jnp.array([[1.0, 2.0], [3.0, 0.0]]), jnp.array([1, 1])).item()
    0.5
    """
    labels = _checked_labels(logits, labels)
    called = jnp.argmax(logits, axis=1).astype(labels.dtype)
    right = (called == labels) & jnp.isfinite(logits).all(axis=1)
    return jnp.mean(right.astype(logits.dtype))


def _checked_labels(logits, labels):
    if jnp.ndim(logits) != 2:
        raise ValueError(f"logits must have shape (examples, classes), got {jnp.shape(logits)}")
    checks.require_shape("labels", labels, jnp.shape(logits)[:1])
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be whole numbers, got {labels.dtype}")
    checks.require_in("labels", labels, 0, jnp.shape(logits)[1] - 1)
    return labels
