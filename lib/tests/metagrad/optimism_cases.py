"""Update rules and problems that several tests of the averaged form share."""

import jax
import jax.numpy as jnp

from metagrad import rules

START = jnp.array([-1.2, 1.0])
ROUNDS = 40
MATRIX = jnp.array([[1.0, 0.5], [-0.25, 0.75]])

# name -> (maker of the rule from a loss, w_0). The first three have a constant Jacobian.
RULES = {
    "proposal": (lambda loss: rules.proposal, START),
    "affine from x": (lambda loss: rules.affine(MATRIX), jnp.zeros(2)),
    "affine from c": (lambda loss: rules.affine(MATRIX, START), jnp.zeros(2)),
    "element-wise": (rules.element_wise, jnp.array([0.02, 0.01])),
    "full matrix": (rules.full_matrix, 0.02 * jnp.eye(2)),
    "meta-adagrad": (rules.meta_adagrad, jnp.array([9.0, 16.0])),
}
CONSTANT = ("proposal", "affine from x", "affine from c")


def random_weights(seed, rounds=ROUNDS):
    """Weights α_t of either growth, and hint weights γ_t between -α_t and 2 α_t."""
    weights_key, hints_key = jax.random.split(jax.random.key(seed))
    weights = jax.random.uniform(weights_key, (rounds,), minval=0.5, maxval=2.0)
    hints = weights * jax.random.uniform(hints_key, (rounds,), minval=-1.0, maxval=2.0)
    return weights, hints
