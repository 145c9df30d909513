"""Small networks as plain functions, for tasks that a page can adapt to while one watches.

A network is a pair of functions: `init` draws a tuple of `Layer`s from a key, `apply` maps layers
and a batch of inputs to outputs. A convolution is written as a sum over the places of its kernel,

    out[t] = Σ_i in[s t + i] W_i + b,

each term a product of matrices on every s-th position: there is no operation in it that livejax
does not compile, and it stays fast where `jax.vmap` gives each task weights of its own.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from metagrad import checks

ACTIVATIONS = {"silu": jax.nn.silu, "relu": jax.nn.relu, "tanh": jnp.tanh}
STRIDE, PADDING = 2, 1


class Layer(NamedTuple):
    """One layer.

    Attributes:
        weights: shape (inputs, outputs), or (kernel, inputs, outputs) for a convolution.
        biases: shape (outputs,).
    """

    weights: Float[Array, "*kernel inputs outputs"]
    biases: Float[Array, " outputs"]


Layers = tuple[Layer, ...]


class Network(NamedTuple):
    """A network.

    Attributes:
        init: maps a random key to layers.
        apply: maps layers and inputs of shape (samples, features) to outputs of shape
            (samples, outputs).
    """

    init: Callable[[jax.Array], Layers]
    apply: Callable[[Layers, Any], Float[Array, "samples outputs"]]


def mlp(
    features: int,
    hidden: Sequence[int],
    outputs: int,
    activation: str = "silu",
    zero_head: bool = False,
    dtype: Any = None,
) -> Network:
    """Fully connected layers, with an activation between them.

    Weights are normal with variance 2 / (inputs of a unit), biases 0.

    Args:
        features: numbers in an input, at least 1.
        hidden: units of each hidden layer; () for a linear map.
        outputs: numbers in an output, at least 1.
        activation: a key of `ACTIVATIONS`.
        zero_head: whether the last layer starts at 0: every output is then 0 at first.
        dtype: of the weights, floating-point; None for JAX's default.

    Raises:
        ValueError, TypeError: if a size is not a whole number of at least 1, or the activation
            or the dtype is not one of those allowed.

    >>> network = mlp(1, (40, 40), 1)
    >>> layers = network.init(jax.random.key(0))
    >>> [layer.weights.shape for layer in layers]
    [(1, 40), (40, 40), (40, 1)]
    >>> network.apply(layers, jnp.zeros((7, 1))).shape
    (7, 1)
    """
    sizes = [features, *hidden, outputs]
    for name, size in zip(["features", *["hidden"] * len(hidden), "outputs"], sizes, strict=True):
        checks.require_steps(name, size)
    shapes = list(itertools.pairwise(sizes))
    act = _activation(activation)

    def apply(layers, inputs):
        checks.require_shape("inputs", inputs, (jnp.shape(inputs)[0], features))
        *body, head = layers
        for layer in body:
            inputs = act(_affine(inputs, layer))
        return _affine(inputs, head)

    return Network(_init(shapes, zero_head, dtype), apply)


def conv_net(
    features: int,
    channels: int,
    depth: int,
    outputs: int,
    activation: str = "silu",
    zero_head: bool = False,
    dtype: Any = None,
) -> Network:
    """Convolutions along a series, each with stride 2 and padding 1, then one linear layer.

    The first kernel spans 5 positions and the others 3. With ReLU, 25 channels and depth 3 this
    is the reference network of MNIST-1D (Greydanus, 2020), but for how it is drawn. Weights are
    normal with variance 2 / (inputs of a unit), biases 0.

    Args:
        features: length of the series, at least 3.
        channels: of every convolution, at least 1.
        depth: how many convolutions, at least 1. Each about halves the length, down to 1.
        outputs: numbers in an output, at least 1.
        activation: a key of `ACTIVATIONS`.
        zero_head: whether the last layer starts at 0: every output is then 0 at first.
        dtype: of the weights, floating-point; None for JAX's default.

    Raises:
        ValueError, TypeError: as `mlp` does; if the series is shorter than 3.

    >>> network = conv_net(40, 25, 3, 10)
    >>> [layer.weights.shape for layer in network.init(jax.random.key(0))]
    [(5, 1, 25), (3, 25, 25), (3, 25, 25), (125, 10)]
    """
    for name, size in (("channels", channels), ("depth", depth), ("outputs", outputs)):
        checks.require_steps(name, size)
    checks.require_steps("features", features)
    if features < 3:
        raise ValueError(f"features must be at least 3 for a kernel of 5, got {features}")
    shapes: list[tuple[int, ...]] = []
    length, incoming = features, 1
    for width in (5, *[3] * (depth - 1)):
        shapes.append((width, incoming, channels))
        length, incoming = _positions(length, width), channels
    shapes.append((length * channels, outputs))
    act = _activation(activation)

    def apply(layers, inputs):
        checks.require_shape("inputs", inputs, (jnp.shape(inputs)[0], features))
        *body, head = layers
        values = jnp.asarray(inputs)[:, :, None]
        for layer in body:
            values = act(convolve(values, layer))
        return _affine(values.reshape(values.shape[0], -1), head)

    return Network(_init(shapes, zero_head, dtype), apply)


def convolve(values: Any, layer: Layer) -> Float[Array, "samples positions outputs"]:
    """One convolution with stride 2 and padding 1.

    Args:
        values: shape (samples, length, inputs).
        layer: weights of shape (kernel, inputs, outputs), and biases.

    >>> layer = Layer(jnp.array([[[1.0]], [[10.0]], [[100.0]]]), jnp.zeros(1))
    >>> convolve(jnp.array([[[1.0], [2.0], [3.0], [4.0]]]), layer).ravel().tolist()
    [210.0, 432.0]
    """
    width = layer.weights.shape[0]
    count = _positions(values.shape[1], width)
    padded = jnp.pad(values, ((0, 0), (PADDING, PADDING), (0, 0)))
    last = STRIDE * (count - 1) + 1
    terms = [
        jax.lax.slice_in_dim(padded, i, i + last, STRIDE, axis=1) @ weights
        for i, weights in enumerate(layer.weights)
    ]
    return sum(terms[1:], terms[0]) + layer.biases[None, None]


def number_of_weights(layers: Layers) -> int:
    """How many numbers the layers hold.

    >>> number_of_weights(mlp(2, (3,), 1).init(jax.random.key(0)))
    13
    """
    return sum(leaf.size for leaf in jax.tree.leaves(layers))


def _positions(length: int, width: int) -> int:
    return (length + 2 * PADDING - width) // STRIDE + 1


def _affine(inputs, layer):
    return inputs @ layer.weights + layer.biases[None]


def _activation(name: str) -> Callable[[Any], Any]:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return ACTIVATIONS[name]


def _init(shapes: list, zero_head: bool, dtype: Any) -> Callable[[jax.Array], Layers]:
    dtype = jnp.result_type(float) if dtype is None else jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be floating-point, got {dtype}")

    def init(key):
        checks.require_key(key, "the weights")
        layers = []
        for part, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True):
            inputs = 1
            for size in shape[:-1]:
                inputs *= size
            weights = jax.random.normal(part, shape, dtype) * (2.0 / inputs) ** 0.5
            layers.append(Layer(weights, jnp.zeros(shape[-1], dtype)))
        if zero_head:
            layers[-1] = Layer(*(jnp.zeros_like(leaf) for leaf in layers[-1]))
        return tuple(layers)

    return init
