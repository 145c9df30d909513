"""Meta-gradients as plain functions on JAX arrays, in reading order.

`problems` makes losses, `unroll` runs a step many times, `momentum` holds the classical
methods, `online` their meta-gradient form, `weights` and `averaged` the form that averages,
`ledger` its exact account, and `stability` says where heavy ball converges on a quadratic.
`checks` looks at what callers pass in.

Importing this package turns on JAX's 64-bit mode: the identities that it states hold to about
1e-15 in float64, and in float32 a reader could not tell them from coincidences.
"""

import jax

jax.config.update("jax_enable_x64", True)

from metagrad import (  # noqa: E402
    averaged,
    ledger,
    momentum,
    online,
    problems,
    stability,
    unroll,
    weights,
)
from metagrad.momentum import gradient_descent, heavy_ball, nesterov  # noqa: E402
from metagrad.online import averaged_meta_learning, online_meta_learning  # noqa: E402

__all__ = [
    "averaged",
    "averaged_meta_learning",
    "gradient_descent",
    "heavy_ball",
    "ledger",
    "momentum",
    "nesterov",
    "online",
    "online_meta_learning",
    "problems",
    "stability",
    "unroll",
    "weights",
]
