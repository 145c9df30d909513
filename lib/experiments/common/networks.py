"""Two small classifiers: each a list of (weights, biases), float32, and a function for its logits.

Both have ReLU between the layers; weights are drawn with variance 2 / (inputs of a unit), biases
are 0.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Layers = list[tuple[jax.Array, jax.Array]]

WIDTHS = (5, 3, 3)  # of the convolutions' kernels, as in MNIST-1D's reference network


class Network(NamedTuple):
    """Attributes: a function from a key to layers, and one from (layers, inputs) to logits.

    The inputs have shape (examples, features), the logits (examples, classes).
    """

    draw: Callable[[jax.Array], Layers]
    logits: Callable[[Layers, jax.Array], jax.Array]


def dense(features: int, hidden: list[int], classes: int) -> Network:
    """Make a network of fully connected layers with the given numbers of hidden units."""
    sizes = [features, *hidden, classes]

    def logits(layers, inputs):
        *hidden_layers, last = layers
        for weights, biases in hidden_layers:
            inputs = jax.nn.relu(inputs @ weights + biases)
        return inputs @ last[0] + last[1]

    return Network(_draw(list(itertools.pairwise(sizes))), logits)


def convolutional(features: int, channels: int, classes: int) -> Network:
    """Make three convolutions along a series, each with stride 2 and padding 1, then a layer."""
    shapes, length, incoming = [], features, 1
    for width in WIDTHS:
        shapes.append((width * incoming, channels))
        length, incoming = (length + 2 - width) // 2 + 1, channels
    shapes.append((length * channels, classes))

    def logits(layers, inputs):
        *convolutions, last = layers
        values = inputs[..., None]
        for (weights, biases), width in zip(convolutions, WIDTHS, strict=True):
            padded = jnp.pad(values, ((0, 0), (1, 1), (0, 0)))
            count = (padded.shape[1] - width) // 2 + 1
            # As a product of matrices: XLA's convolution is slow on a CPU where vmap gives each
            # seed weights of its own.
            patches = [padded[:, i : i + 2 * count - 1 : 2] for i in range(width)]
            values = jax.nn.relu(jnp.concatenate(patches, axis=-1) @ weights + biases)
        return values.reshape(values.shape[0], -1) @ last[0] + last[1]

    return Network(_draw(shapes), logits)


def cross_entropy(network: Network) -> Callable[..., jax.Array]:
    """Return the loss: maps layers and (inputs, labels) to the mean cross-entropy."""

    def loss(layers, data):
        inputs, labels = data
        log_p = jax.nn.log_softmax(network.logits(layers, inputs))
        return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=-1))

    return loss


def accuracy(network: Network) -> Callable[..., jax.Array]:
    """Return a function: layers and (inputs, labels) to the share called rightly (NaN is wrong)."""

    def share(layers: Layers, data: Any) -> jax.Array:
        inputs, labels = data
        logits = network.logits(layers, inputs)
        right = (jnp.argmax(logits, axis=-1) == labels) & jnp.isfinite(logits).all(axis=-1)
        return jnp.mean(right.astype(jnp.float32))

    return share


def _draw(shapes: list[tuple[int, int]]) -> Callable[[jax.Array], Layers]:
    def draw(key):
        return [
            (
                jax.random.normal(part, shape, jnp.float32) * (2.0 / shape[0]) ** 0.5,
                jnp.zeros(shape[1], jnp.float32),
            )
            for part, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        ]

    return draw
