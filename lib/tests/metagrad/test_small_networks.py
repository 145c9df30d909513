"""Small networks: against XLA's convolution and NumPy, as they start, and compiled for pages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metagrad_cases import assert_same

import livejax
from metagrad.small_networks import Layer, conv_net, convolve, mlp, number_of_weights

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("length", "width"), [(40, 5), (19, 3), (10, 3), (3, 5), (1, 3), (2, 3)])
def test_a_convolution_is_that_of_xla(length, width):
    values = jnp.asarray(RNG.normal(size=(4, length, 3)))
    layer = Layer(jnp.asarray(RNG.normal(size=(width, 3, 7))), jnp.asarray(RNG.normal(size=7)))
    expected = jax.lax.conv_general_dilated(
        values, layer.weights, (2,), [(1, 1)], dimension_numbers=("NWC", "WIO", "NWC")
    )
    assert_same(convolve(values, layer), expected + layer.biases[None, None])


def reference_net(layers, inputs, features, act):
    """MNIST-1D's network with XLA's convolution, channels before positions, as in its code."""
    values = inputs[:, None]
    *body, head = layers
    for layer in body:
        values = jax.lax.conv_general_dilated(
            values, layer.weights, (2,), [(1, 1)], dimension_numbers=("NCW", "WIO", "NCW")
        )
        values = act(values + layer.biases[None, :, None])
    return values.swapaxes(1, 2).reshape(len(inputs), -1) @ head.weights + head.biases[None]


@pytest.mark.parametrize(
    ("depth", "activation", "act"), [(3, "relu", jax.nn.relu), (7, "silu", jax.nn.silu)]
)
def test_a_conv_net_and_its_gradient_are_those_of_xla(depth, activation, act):
    network = conv_net(40, 6, depth, 4, activation)
    layers = network.init(KEY)
    inputs = jnp.asarray(RNG.normal(size=(5, 40)))

    def squares(net):
        return lambda layers: jnp.sum(net(layers) ** 2)

    one = squares(lambda layers: network.apply(layers, inputs))
    other = squares(lambda layers: reference_net(layers, inputs, 40, act))
    found, expected = (jax.jit(jax.value_and_grad(f))(layers) for f in (one, other))
    jax.tree.map(assert_same, found, expected)


def test_a_conv_net_has_no_convolution_in_it():
    network = conv_net(40, 4, 3, 5)
    text = str(
        jax.make_jaxpr(jax.grad(lambda w, x: jnp.sum(network.apply(w, x))))(
            network.init(KEY), jnp.ones((2, 40))
        )
    )
    assert "dot_general" in text and "conv" not in text.replace("convert", "")


def test_the_reference_network_of_mnist1d_has_its_size():
    """25 channels: 5 · 25 + 25, twice 3 · 25 · 25 + 25, and 125 · 10 + 10."""
    assert number_of_weights(conv_net(40, 25, 3, 10, "relu").init(KEY)) == 150 + 2 * 1900 + 1260


def test_an_mlp_is_written_out_in_numpy():
    network = mlp(3, (5, 4), 2, "tanh")
    layers = network.init(KEY)
    inputs = values = RNG.normal(size=(6, 3))
    for k, layer in enumerate(layers):
        values = values @ np.asarray(layer.weights) + np.asarray(layer.biases)
        values = np.tanh(values) if k < 2 else values
    assert_same(network.apply(layers, jnp.asarray(inputs)), values)
    assert len(mlp(3, (), 2).init(KEY)) == 1


@pytest.mark.parametrize(
    "make", [lambda **o: mlp(60, (500,), 3, **o), lambda **o: conv_net(40, 60, 3, 3, **o)]
)
def test_first_weights_keep_the_size_of_the_signal(make):
    for layer in make().init(KEY):
        fan_in = np.prod(layer.weights.shape[:-1])
        spread = float(layer.weights.std()) * np.sqrt(fan_in / 2)
        assert spread == pytest.approx(1.0, abs=4 / np.sqrt(2 * layer.weights.size))
        assert not layer.biases.any()
    *body, head = make(zero_head=True).init(KEY)
    assert not head.weights.any() and all(layer.weights.any() for layer in body)
    assert_same(body[0].weights, make().init(KEY)[0].weights)  # the key, not the head, decides


def test_single_precision_is_asked_for_and_kept():
    for network in (mlp(40, (3,), 2, dtype=jnp.float32), conv_net(40, 3, 3, 2, dtype=jnp.float32)):
        layers = network.init(KEY)
        assert {leaf.dtype for leaf in jax.tree.leaves(layers)} == {jnp.dtype("float32")}
        assert network.apply(layers, jnp.ones((2, 40), jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize("make", [lambda: mlp(8, (3,), 2), lambda: conv_net(8, 2, 2, 2)])
def test_livejax_compiles_a_step_of_training(make):
    network = make()

    def step(layers, inputs):
        slopes = jax.grad(lambda layers: jnp.sum(network.apply(layers, inputs) ** 2))(layers)
        return jax.tree.map(lambda x, g: x - 0.1 * g, layers, slopes)

    assert livejax.compile(step, network.init(KEY), jnp.ones((3, 8))).source


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mlp(0, (3,), 1), ValueError, "features must be an integer of at least 1, got 0"),
        (lambda: mlp(1, (3, 0), 1), ValueError, "hidden must be an integer of at least 1, got 0"),
        (lambda: mlp(1, (3,), 1.5), TypeError, "outputs must be an integer"),
        (lambda: mlp(1, (3,), 1, "gelu"), ValueError, "activation must be one of silu, relu, tanh"),
        (lambda: mlp(1, (), 1, dtype=jnp.int32), TypeError, "dtype must be floating-point"),
        (lambda: mlp(1, (), 1).init(3), TypeError, "key must be one random key"),
        (lambda: conv_net(2, 4, 3, 1), ValueError, "features must be at least 3"),
        (lambda: conv_net(40, 0, 3, 1), ValueError, "channels must be an integer"),
        (lambda: conv_net(40, 4, 0, 1), ValueError, "depth must be an integer"),
        (
            lambda: mlp(4, (), 1).apply(mlp(4, (), 1).init(KEY), jnp.ones((2, 3))),
            ValueError,
            r"inputs must have shape \(2, 4\), got shape \(2, 3\)",
        ),
        (
            lambda: conv_net(9, 2, 1, 1).apply(conv_net(9, 2, 1, 1).init(KEY), jnp.ones((2, 8))),
            ValueError,
            r"inputs must have shape \(2, 9\)",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
