"""How much memory does the meta-gradient of one task take?

The temporary memory of the compiled program (`memory_analysis().temp_size_in_bytes`): what XLA
allocates besides arguments and results, for one task with 50 support and 50 query series of
MNIST-1D's length, in float32 on a CPU. Nothing is run, and the numbers are those of one compiler.
Three sweeps: over the channels of a convolutional network, its depth, and the inner steps K.

The network is `metagrad.small_networks.conv_net`, whose convolutions gather windows: at the base
setting a tenth (MAML) to a third (FO-MAML) more memory than with XLA's own convolution. "one
gradient" is that of the support loss.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.common.intervals import rounded
from metagrad.difference_rules import FORWARD
from metagrad.few_shot import cross_entropy
from metagrad.small_networks import Network, conv_net, number_of_weights
from metagrad.task_gradients import fo_b_maml, fo_maml, imaml, maml, proximal_reptile, reptile
from metagrad.tasks import Task

SETTINGS: dict[str, Any] = {
    "features": 40,
    "classes": 10,
    "samples": 50,  # of the support and of the query set
    "regularizer": 1.0,
    "inner_step_size": 0.05,
    "perturbation": 0.05,
    "cg_steps": 5,
    "channels": [25, 50, 100, 150, 200, 250],
    "depth": [1, 3, 5, 8],
    "inner_steps": [1, 5, 10, 20, 50],
    "base": {"channels": 100, "depth": 3, "inner_steps": 10},  # where a sweep holds the others
    "methods": [
        "one gradient",
        "MAML",
        "MAML, checkpointed",
        "iMAML",
        "FO-MAML",
        "Reptile",
        "proximal Reptile",
        "FO-B-MAML, forward",
        "FO-B-MAML, symmetric",
    ],
}
Gradient = Callable[[Task, Any], Any]


def makers(
    regularizer: float, inner_step_size: float, perturbation: float, cg_steps: int
) -> dict[str, Callable[[int], Gradient]]:
    """Return for each method the function from K to its meta-gradient of a task."""
    lam, size, nu = regularizer, inner_step_size, perturbation
    methods: dict[str, Callable[[int], Any]] = {
        "MAML": lambda k: maml(k, size, regularizer=lam, checkpointed=False),
        "MAML, checkpointed": lambda k: maml(k, size, regularizer=lam),
        "iMAML": lambda k: imaml(lam, k, size, cg_steps),
        "FO-MAML": lambda k: fo_maml(k, size, regularizer=lam),
        "Reptile": lambda k: reptile(k, size),
        "proximal Reptile": lambda k: proximal_reptile(lam, k, size),
        "FO-B-MAML, forward": lambda k: fo_b_maml(lam, nu, k, size, rule=FORWARD),
        "FO-B-MAML, symmetric": lambda k: fo_b_maml(lam, nu, k, size),
    }

    def gradient_only(make: Callable[[int], Any]) -> Callable[[int], Gradient]:
        def of_steps(k: int) -> Gradient:
            method = make(k)
            return lambda task, theta: method(task, theta).gradient

        return of_steps

    found = {name: gradient_only(make) for name, make in methods.items()}
    return {"one gradient": lambda k: lambda task, theta: jax.grad(task.support)(theta), **found}


def temporary_bytes(gradient: Gradient, network: Network, samples: int, features: int) -> int:
    """Return the temporary memory of a compiled meta-gradient of one task.

    Raises:
        RuntimeError: if JAX's backend does not report it.
    """
    theta = jax.eval_shape(network.init, jax.random.key(0))
    inputs = jax.ShapeDtypeStruct((samples, features), jnp.float32)
    labels = jax.ShapeDtypeStruct((samples,), jnp.int32)

    def program(theta, inputs, labels, query_inputs, query_labels):
        task = Task(
            lambda w: cross_entropy(network.apply(w, inputs), labels),
            lambda w: cross_entropy(network.apply(w, query_inputs), query_labels),
        )
        return gradient(task, theta)

    compiled = jax.jit(program).lower(theta, inputs, labels, inputs, labels).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise RuntimeError("the compiler must report its memory, and this backend's does not")
    return int(analysis.temp_size_in_bytes)


def run(
    *,
    features: int,
    classes: int,
    samples: int,
    channels: list[int],
    depth: list[int],
    inner_steps: list[int],
    base: dict[str, int],
    methods: list[str],
    **options: Any,
) -> dict[str, Any]:
    """Compile everything.

    Returns:
        For each of the sweeps "channels", "depth" and "inner_steps": the `values`, the numbers of
        `weights` of the networks, and `methods`, with the MiB at each value. And the versions of
        JAX and its backend, as `compiler`.
    """
    available = makers(**options)
    known: dict[tuple[str, int, int, int], float] = {}

    def mebibytes(name: str, channels: int, depth: int, inner_steps: int) -> float:
        place = name, channels, depth, 1 if name == "one gradient" else inner_steps
        if place not in known:
            network = conv_net(features, channels, depth, classes, "relu", dtype=jnp.float32)
            gradient = available[name](inner_steps)
            size = temporary_bytes(gradient, network, samples, features)
            known[place] = rounded([size / 2**20], 4)[0]
        return known[place]

    def weights(channels: int, depth: int, inner_steps: int) -> int:
        network = conv_net(features, channels, depth, classes, dtype=jnp.float32)
        return number_of_weights(jax.eval_shape(network.init, jax.random.key(0)))

    sweeps = {"channels": channels, "depth": depth, "inner_steps": inner_steps}
    result: dict[str, Any] = {"compiler": f"JAX {jax.__version__}, {jax.default_backend()}"}
    for sweep, values in sweeps.items():
        places = [{**base, sweep: value} for value in values]
        result[sweep] = {
            "values": values,
            "weights": [weights(**place) for place in places],
            "methods": {name: [mebibytes(name, **place) for place in places] for name in methods},
        }
    return result
